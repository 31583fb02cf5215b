"""Place of the world: its outline, made up or given, the run's tiles that it touches, and the grid of the world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from miniature.layers import Window
from miniature.noise import rng_of
from smallmines.config.sections import Config, Grid, Year
from smallmines.core.errors import UserError
from smallmines.grid.make import blocks_of, fishnet, polygon
from smallmines.grid.utm import zone_at, zone_of
from smallmines.settings.grid import Grid as Lattice
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    import geopandas as gpd

MARGIN = 64
"""Pixels of land around the run's lattice, so that scenes reach beyond the area of interest."""
CENTRE = (610600.0, 690000.0)
"""Easting of the centre of a made-up area and its distance from the equator, m: 1° east of a zone's meridian, where two DEM tiles meet."""
FALSE_NORTHING = 10_000_000.0
"""Northing of the equator in the southern UTM zones."""
BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands of MGRS, 8° each, from 80° S."""


@dataclass(frozen=True)
class Place:
    """Place of the world.

    Attributes:
        aoi: the area of interest, in the grid's CRS.
        cells: the run's tiles (tile_id, row, col, block, geometry).
        geobox: the world's grid: the bounding rectangle of all tiles and `MARGIN` pixels around it.
    """

    aoi: gpd.GeoDataFrame
    cells: gpd.GeoDataFrame
    geobox: GeoBox
    tile_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the world."""
        return self.geobox.shape.y, self.geobox.shape.x

    def tiles(self, rows: slice | NDArray[np.intp], cols: slice | NDArray[np.intp]) -> NDArray[np.int32]:
        """Return the position in `cells` of each pixel's tile, (row, column), −1 outside.

        Args:
            rows, cols: slices or indices of the world.
        """
        positions = np.full((int(self.cells["row"].max()) + 1, int(self.cells["col"].max()) + 1), -1, np.int32)
        positions[self.cells["row"], self.cells["col"]] = np.arange(len(self.cells))
        positions = np.pad(positions, 1, constant_values=-1)
        y, x = (np.arange(part.start, part.stop) if isinstance(part, slice) else part for part in (rows, cols))
        of_pixels: NDArray[np.int32] = positions[np.ix_((y - MARGIN) // self.tile_size + 1, (x - MARGIN) // self.tile_size + 1)]
        return of_pixels

    def in_tiles(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window lie in tiles."""
        return self.tiles(*window.at) >= 0


@dataclass(frozen=True)
class Epoch:
    """A year of the world.

    Attributes:
        dates: first and last day of the acquisitions.
        number: position among the years, from 0.
        count: number of years.
        geobox: grid of the world.
    """

    dates: Year
    number: int
    count: int
    geobox: GeoBox
    seed: int


def centre_of(crs: str) -> tuple[float, float]:
    """Return easting and northing of the centre of a made-up area: 6.2° N, or 6.2° S in a southern UTM zone."""
    from pyproj import CRS

    zone = zone_of(CRS(crs))
    return (CENTRE[0], FALSE_NORTHING - CENTRE[1]) if zone and zone.south else CENTRE


def grid_zone(geobox: GeoBox) -> str:
    """Return the designator of the MGRS grid zone at the centre of a world, such as 30N: number of its UTM zone, letter of its latitude."""
    from pyproj import CRS, Transformer

    middle = geobox.transform @ (geobox.shape.x / 2, geobox.shape.y / 2)
    longitude, latitude = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(*middle)
    zone = zone_of(CRS(str(geobox.crs))) or zone_at(longitude, latitude)
    return f"{zone.number:02d}{BANDS[min(int((latitude + 80) // 8), len(BANDS) - 1)]}"


def window_in(outer: GeoBox, inner: GeoBox) -> tuple[slice, slice]:
    """Return the rows and columns of `outer` that `inner`, on the same lattice, covers."""
    row = round((inner.transform.f - outer.transform.f) / outer.transform.e)
    col = round((inner.transform.c - outer.transform.c) / outer.transform.a)
    return slice(row, row + inner.shape.y), slice(col, col + inner.shape.x)


def place(config: Config, tiles: int, seed: int, aoi: str | Path | None = None) -> Place:
    """Make an area that touches `tiles` cells of the config's lattice, or the nearest number that the outline allows.

    Args:
        aoi: vector file with the outline, which is shrunk about its centre if it touches more tiles; None: an irregular outline is
            made up.

    Raises:
        UserError: fewer tiles than blocks; an unusable AOI.
    """
    grid = config.grid
    if tiles < grid.blocks:
        raise UserError(f"at least {grid.blocks} tiles for {grid.blocks} blocks", f"{tiles}", "raise --tiles or lower grid.blocks")
    outline, largest = (_outline(seed), 2 * np.sqrt(tiles) * grid.resolution * grid.tile_size) if aoi is None else (_given(aoi, grid), 1.0)

    centre = centre_of(grid.crs) if aoi is None else None

    def area(size: float) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
        import geopandas as gpd

        scaled = gpd.GeoDataFrame({"name": ["miniature Earth"]}, geometry=[_scaled(outline, size, centre)], crs=grid.crs)
        return scaled, fishnet(scaled, settings_of(grid, Lattice))

    low, high = 0.0, largest
    best = area(high)
    for _ in range(48 if len(best[1]) > tiles or aoi is None else 0):
        middle = (low + high) / 2
        candidate = area(middle)
        count = len(candidate[1])
        if abs(count - tiles) < abs(len(best[1]) - tiles):
            best = candidate
        if count == tiles:
            break
        low, high = (middle, high) if count < tiles else (low, middle)
    touched, cells = best
    cells["block"] = blocks_of(cells, grid.blocks, grid.block_seed).astype(str)
    return Place(touched, cells, _world_grid(cells, grid), grid.tile_size)


def _outline(seed: int) -> Any:
    """Return an irregular polygon around (0, 0) with a radius of about 1."""
    import shapely

    rng = rng_of(seed, 1)
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    waves = np.arange(2, 16)
    sizes = rng.normal(0, 0.34 / waves**0.9)
    radius = np.exp((sizes[:, None] * np.cos(waves[:, None] * angle + rng.uniform(0, 2 * np.pi, len(waves))[:, None])).sum(axis=0))
    return shapely.Polygon(np.column_stack([1.12 * radius * np.cos(angle), 0.9 * radius * np.sin(angle)]))


def _given(path: str | Path, grid: Grid) -> Any:
    import geopandas as gpd

    try:
        table = gpd.read_file(path)
    except Exception as error:  # drivers raise various exceptions for unreadable files
        raise UserError(f"an area of interest GDAL can read at {path}", str(error), "check --aoi") from error
    return polygon(table, grid.crs)


def _scaled(outline: Any, size: float, centre: tuple[float, float] | None) -> Any:
    """Scale a made-up outline to a size in metres around `centre`, or a given one (None) about its own; size 1 leaves it as it is."""
    import shapely

    if centre:
        return shapely.make_valid(shapely.transform(outline, lambda points: np.round(np.asarray(centre) + size * points, 2)))
    if size == 1:
        return outline
    middle = np.asarray(outline.centroid.coords[0])
    return shapely.make_valid(shapely.transform(outline, lambda points: np.round(middle + size * (points - middle), 2)))


def _world_grid(cells: gpd.GeoDataFrame, grid: Grid) -> GeoBox:
    from affine import Affine

    west, south, east, north = cells.total_bounds
    margin, step = MARGIN * grid.resolution, grid.resolution
    shape = (round((north - south) / step) + 2 * MARGIN, round((east - west) / step) + 2 * MARGIN)
    return GeoBox(shape, Affine(step, 0, west - margin, 0, -step, north + margin), grid.crs)
