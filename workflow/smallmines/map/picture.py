"""Draw the map of a year: mines over Sentinel-2, with the units of the area of interest and a scale bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from smallmines.core import raster
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice
from smallmines.map.units import WHOLE_AOI, Unit, aoi_units
from smallmines.report import canvas

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

RGB = tuple(S2_BANDS.index(name) + 1 for name in ("B04", "B03", "B02"))

WIDEST = 9.0
"""Longer side of the map in inches."""

FOOT = 0.08
"""Room below the map for the scale bar, as a share of its height."""

CHANGE_COLOURS: Mapping[str, Colour] = MappingProxyType({"new": canvas.MINING, "gone": (0.1, 0.75, 1.0)})
CHANGE_WORDS = MappingProxyType({"new": "orange", "gone": "blue"})
"""Colours of areas of change, and their names."""

MOST_NAMES = 40
"""Most units whose names are written; more would cover the map."""


def draw_map(
    title: str,
    composites: Mapping[str, str],
    layers: Sequence[tuple[gpd.GeoDataFrame, Colour]],
    units: Sequence[Unit],
    lattice: Lattice,
    target: str | Path,
) -> None:
    """Draw polygons over Sentinel-2.

    Args:
        composites: `s2.tif` by block.
        layers: polygons in the CRS of the run, and their colour.
        units: of the area of interest, in the CRS of the run.
    """
    colours = overview(composites, lattice)
    box = lattice.geobox.boundingbox
    height, width = colours.shape[:2]
    longer = max(height, width)
    figure = canvas.figure(max(WIDEST * width / longer, 4.5) + 0.8, max(WIDEST * height / longer, 3.0) + 0.9)
    axes = figure.subplots()
    axes.imshow(colours, extent=(box.left, box.right, box.bottom, box.top), interpolation="nearest")
    for polygons, colour in layers:
        _polygons(axes, polygons, colour)
    _units(axes, units, box.bbox)
    axes.set_xlim(box.left, box.right)
    axes.set_ylim(box.bottom - FOOT * (box.top - box.bottom), box.top)
    axes.set(aspect="equal", xticks=[], yticks=[], xlabel="", ylabel="")
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    about = f"Sentinel-2 B04, B03, B02; {lattice.geobox.crs}"
    axes.text(1, 0, about, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=canvas.SOFT)
    canvas.ground_scale(axes)
    canvas.save(figure, target)


def overview(composites: Mapping[str, str], lattice: Lattice) -> canvas.Colours:
    """Return the composites of all blocks in natural colours on a decimated grid of the run, (row, column, 3), white outside the tiles."""
    shape = canvas.small(lattice.geobox.shape)
    rows, cols = (((np.arange(to) + 0.5) * size / to).astype(int) for to, size in zip(shape, lattice.geobox.shape, strict=True))
    bands = np.zeros((3, *shape), np.float32)
    own = np.zeros(shape, bool)
    for block, path in composites.items():
        place, inside, pixels = _block(block, path, lattice, rows, cols)
        bands[:, *place] = np.where(inside, pixels, bands[:, *place])
        own[place] |= inside
    colours = canvas.stretched(bands, own & (bands > 0).all(axis=0), gamma=canvas.GAMMA)
    colours[~own] = 1
    return colours


def _block(
    block: str, path: str, lattice: Lattice, rows: NDArray[np.int_], cols: NDArray[np.int_]
) -> tuple[tuple[slice, slice], NDArray[np.bool_], NDArray[np.float32]]:
    """Return the part of the decimated grid that a block's rectangle covers, where it is in the block's own cells, and the composite there.

    Args:
        rows, cols: row and column on the run's lattice of each pixel of the decimated grid.
    """
    top, left = lattice.offset(block)
    height, width = lattice.block(block).shape
    of_rows = slice(*np.searchsorted(rows, (top, top + height)).tolist())
    of_cols = slice(*np.searchsorted(cols, (left, left + width)).tolist())
    row, col = rows[of_rows] - top, cols[of_cols] - left
    side = lattice.tile_size
    cells = np.zeros((height // side, width // side), bool)
    for tile in lattice.tiles_of(block):
        cells[tile.row - top // side, tile.col - left // side] = True
    small = (max(1, len(row)), max(1, len(col)))
    with raster.opened(path) as source, rasterio.Env(GDAL_CACHEMAX=canvas.CACHE):
        raster.require_grid(source, lattice.block(block))
        pixels = source.read(list(RGB), out_shape=(3, *small), resampling=Resampling.average)
    return (of_rows, of_cols), cells[np.ix_(row // side, col // side)], pixels[:, : len(row), : len(col)].astype(np.float32)


def _polygons(axes: Axes, polygons: gpd.GeoDataFrame, colour: Colour) -> None:
    """Draw polygons with their outlines, so that those smaller than a pixel of the picture are seen."""
    if len(polygons):
        polygons.plot(ax=axes, facecolor=(*colour, 0.45), edgecolor=colour, linewidth=0.6, aspect=None)


def _units(axes: Axes, units: Sequence[Unit], bounds: tuple[float, float, float, float]) -> None:
    """Draw outlines and names of units inside some bounds; an area of interest without names gets no name."""
    import geopandas as gpd
    import matplotlib.patheffects as effects
    import shapely

    view = shapely.box(*bounds)
    halo = [effects.withStroke(linewidth=2.5, foreground="black")]
    for unit in units:
        gpd.GeoSeries([unit.shape]).boundary.plot(ax=axes, color="white", linewidth=0.9, aspect=None)
        shown = unit.shape.intersection(view)
        if unit.name != WHOLE_AOI and len(units) <= MOST_NAMES and not shown.is_empty:
            place = shown.representative_point()
            look: dict[str, Any] = {"color": "white", "fontsize": 9, "ha": "center", "va": "center", "path_effects": halo}
            axes.text(place.x, place.y, unit.name, **look, clip_on=True, parse_math=False)  # a name with $ is no formula


def write_picture(year: str, composites: Mapping[str, str], mines: str, aoi: str, lattice: Lattice, target: str | Path) -> None:
    """Draw the map of a year from files, see `draw_map`.

    Args:
        mines: `mines.parquet`. aoi: the area of interest.
    """
    import geopandas as gpd
    import matplotlib as mpl

    table = gpd.read_parquet(mines)
    title = f"{year}: {len(table):,} mapped mines, {table['area_ha'].sum():,.0f} ha in {len(lattice.tiles)} tiles"
    with mpl.rc_context(canvas.STYLE):
        draw_map(title, composites, [(table, canvas.MINING)], aoi_units(aoi, str(lattice.geobox.crs)), lattice, target)


def write_change_picture(
    years: tuple[str, str], composites: Mapping[str, str], areas: str | Path, aoi: str, lattice: Lattice, target: str | Path
) -> None:
    """Draw new and gone areas between two years over Sentinel-2 of the later one.

    Args:
        areas: `changes.parquet`. aoi: the area of interest.
    """
    import geopandas as gpd
    import matplotlib as mpl

    table = gpd.read_parquet(areas)
    layers = [(table[table["change"] == name], colour) for name, colour in CHANGE_COLOURS.items()]
    of_each = ", ".join(
        f"{len(own):,} areas {name} ({CHANGE_WORDS[name]}), {own['area_ha'].sum():,.0f} ha" for name, own in table.groupby("change")
    )
    title = f"{years[0]} to {years[1]}, mapped: {of_each or 'no change'}"
    with mpl.rc_context(canvas.STYLE):
        draw_map(title, composites, layers, aoi_units(aoi, str(lattice.geobox.crs)), lattice, target)
