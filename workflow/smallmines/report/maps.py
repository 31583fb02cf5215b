"""Maps of the tiles of a run: location, mining share, splits, change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import DEGREES, reproject, transformer
from smallmines.report import canvas
from smallmines.report.tables import degrees

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

REGION = 6.0
"""Degrees from the centre of the regional map to its edge, at least."""

SPLIT_COLOURS = {"train": "#a9bfd6", "val": "#e0b55b", "test": "#b5533c", "buffer": "#cfcfcf"}


@dataclass(frozen=True)
class TileGrid:
    """A value per tile as an image (row, column), NaN where there is no tile.

    Attributes:
        extent: west, east, south, north in the CRS.
    """

    values: NDArray[np.float64]
    extent: tuple[float, float, float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.values.shape
        return rows, cols


def tile_grid(rows: gpd.GeoDataFrame, values: Sequence[float] | NDArray[Any]) -> TileGrid:
    """Arrange one value per row of the index on the grid of tiles."""
    row, col = (rows[name].to_numpy(int) - int(rows[name].min()) for name in ("row", "col"))
    grid = np.full((row.max() + 1, col.max() + 1), np.nan)
    grid[row, col] = values
    west, south, east, north = rows.total_bounds.tolist()
    return TileGrid(grid, (west, east, south, north))


def location(index: gpd.GeoDataFrame, blocks: gpd.GeoDataFrame, target: str | Path) -> None:
    """Draw where the tiles are: a map of the region, and the tiles with their blocks, coordinates and a scale bar.

    Args:
        index: the dataset's index.
        blocks: grid/blocks.parquet.
    """
    tiles = index.drop_duplicates("tile_id")
    figure = canvas.figure(10.6, 5.0)
    region, near = figure.subplots(1, 2, width_ratios=(1, 1.45))
    _region(region, reproject(tiles, DEGREES).total_bounds)
    names = sorted(tiles["block"].unique(), key=int)
    for number, name in enumerate(names):
        tint = [1 - 0.42 * (1 - part) for part in canvas.colour(number)]
        tiles[tiles["block"] == name].plot(ax=near, color=tint, edgecolor="white", linewidth=0.6, aspect=None)
    _outlines(near, blocks)
    _frame(near, tiles.total_bounds.tolist())
    _degrees(near, str(tiles.crs))
    near.annotate("N", (0.965, 0.985), (0.965, 0.87), "axes fraction", arrowprops={"arrowstyle": "-|>", "color": canvas.INK}, ha="center")
    near.set(xlabel="", ylabel="")
    near.set_title(f"{len(tiles)} tiles in {len(names)} block{'s' * (len(names) > 1)} ({tiles.crs})")
    canvas.save(figure, target)


def _region(axes: Axes, bounds: NDArray[np.float64]) -> None:
    """Draw the countries around the tiles, and where the tiles are.

    Outlines: Natural Earth 1 : 110 million (public domain), rings of (longitude, latitude) by country, rounded to 0.01°.

    Args:
        bounds: west, south, east, north in degrees.
    """
    import shapely
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Rectangle

    west, south, east, north = bounds.tolist()
    x, y = (west + east) / 2, (south + north) / 2
    half = max(REGION, 3 * (north - south), 3 * (east - west) * np.cos(np.radians(y)))
    width = half / np.cos(np.radians(y))
    view = shapely.box(x - width, y - half, x + width, y + half)
    countries: Mapping[str, Any] = json.loads(Path(__file__).with_name("countries.json").read_text(encoding="utf-8"))
    axes.set_facecolor("#eef3f7")
    for name, rings in countries.items():
        parts = shapely.intersection(shapely.make_valid(shapely.polygons([shapely.linearrings(ring) for ring in rings])), view)
        if not (area := float(shapely.area(parts).sum())):
            continue
        axes.add_collection(PolyCollection([np.array(ring) for ring in rings], facecolor="#f4f1ea", edgecolor="#a7a08f", linewidth=0.7))
        place = parts[shapely.area(parts).argmax()].representative_point()
        if area > 0.02 * view.area and abs(place.x - x) < 0.85 * width and abs(place.y - y) < 0.93 * half:
            axes.text(place.x, place.y, name, fontsize=8, color=canvas.SOFT, ha="center", va="center", clip_on=True)
    axes.set_xlim(x - width, x + width)
    axes.set_ylim(y - half, y + half)
    axes.set_aspect(1 / np.cos(np.radians(y)))
    axes.spines[:].set_visible(True)
    colour = SPLIT_COLOURS["test"]
    axes.add_patch(Rectangle((west, south), east - west, north - south, facecolor="none", edgecolor=colour, linewidth=1.5, zorder=4))
    if max(east - west, north - south) < 0.05 * width:
        axes.plot(x, y, "s", markersize=9, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.8, zorder=4)
    step = _step(2 * half)
    axes.set_xticks(np.arange(np.ceil((x - width) / step), np.floor((x + width) / step) + 1) * step)
    axes.set_yticks(np.arange(np.ceil((y - half) / step), np.floor((y + half) / step) + 1) * step)
    axes.xaxis.set_major_formatter(lambda value, _: degrees(value, "EW"))
    axes.yaxis.set_major_formatter(lambda value, _: degrees(value, "NS"))
    canvas.ground_scale(axes, 111_320 * float(np.cos(np.radians(y))))
    axes.set_title("Location (red) and countries")


def _step(span: float, ticks: int = 7) -> float:
    """The smallest round step, in degrees, that gives at most so many ticks."""
    return next(step for power in range(-4, 3) for step in (base * 10.0**power for base in (1, 2, 5)) if span / step <= ticks)


def _degrees(axes: Axes, crs: str) -> None:
    """Label the axes of a projected map with longitudes along its lower edge and latitudes along its left edge."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    geographic = transformer(crs, DEGREES)
    lon, lat = geographic.transform([west, east, west], [south, south, north])
    step = max(_step(abs(lon[1] - lon[0])), _step(abs(lat[2] - lat[0])))
    meridians = np.arange(np.ceil(lon[0] / step), np.floor(lon[1] / step) + 1) * step
    parallels = np.arange(np.ceil(lat[0] / step), np.floor(lat[2] / step) + 1) * step
    across, _ = geographic.transform(meridians, np.full(len(meridians), lat[0]), direction="INVERSE")
    _, up = geographic.transform(np.full(len(parallels), lon[0]), parallels, direction="INVERSE")
    axes.set_xticks(across, [degrees(value, "EW") for value in meridians])
    axes.set_yticks(up, [degrees(value, "NS") for value in parallels])
    axes.tick_params(length=4)
    axes.spines[:].set_visible(True)


def _outlines(axes: Axes, blocks: gpd.GeoDataFrame, names: bool = True) -> None:
    """Draw the outlines of the blocks, with their names."""
    blocks.boundary.plot(ax=axes, color=canvas.INK, linewidth=1.1, aspect=None)
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for name, geometry in zip(blocks["block"], blocks.geometry, strict=True) if names else ():
        place = geometry.representative_point()
        axes.text(place.x, place.y, f"block {name}", ha="center", va="center", fontsize=9, bbox=box)


def _frame(axes: Axes, bounds: Sequence[float]) -> None:
    """Show the tiles with room for a scale bar below them, without ticks or frame."""
    west, south, east, north = bounds
    margin = 0.03 * max(east - west, north - south)
    axes.set_aspect("equal")
    axes.set_xlim(west - margin, east + margin)
    axes.set_ylim(south - 3 * margin, north + margin)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    canvas.ground_scale(axes)


def overview(index: gpd.GeoDataFrame, blocks: gpd.GeoDataFrame, year: str, target: str | Path) -> None:
    """Draw all tiles of a year by their share of mining, with the outlines of the blocks.

    Args:
        index: the dataset's index.
        blocks: grid/blocks.parquet.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    rows = index[index["year"].astype(str) == year]
    grid = tile_grid(rows, rows["mining_percent"].to_numpy())
    scale = PowerNorm(0.5, 0, max(float(np.nanmax(index["mining_percent"], initial=0)), 1.0))  # one for all years
    height = 5.0 * (grid.shape[0] + 1) / (grid.shape[1] + 1)
    figure = canvas.figure(6.4, min(max(height, 2.4), 8) + 0.6)
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(grid.values), extent=grid.extent, cmap="YlOrBr", norm=scale, interpolation="nearest")
    empty = np.ma.masked_where(grid.values != 0, np.zeros(grid.shape))
    axes.imshow(empty, extent=grid.extent, cmap="Greys", vmin=-0.2, vmax=1, interpolation="nearest")
    _outlines(axes, blocks)
    _frame(axes, rows.total_bounds.tolist())
    _degrees(axes, str(rows.crs))
    axes.set(xlabel="", ylabel="")
    count = int((rows["mining_percent"] == 0).sum())
    axes.set_title(f"{year}: {len(rows)} tiles, {count} without mining")
    figure.colorbar(ScalarMappable(scale, "YlOrBr"), ax=axes, shrink=0.7, label="mining in the tile, %").outline.set_visible(False)
    canvas.save(figure, target)


def splits_plot(index: gpd.GeoDataFrame, report: Mapping[str, Any], target: str | Path) -> None:
    """Draw the tiles by split for each year, and how much of the test place and year alone predict.

    Args:
        index: the dataset's index.
        report: the content of `splits.json`.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    years = sorted(index["year"].unique())
    names = list(SPLIT_COLOURS)
    colours = ListedColormap(list(SPLIT_COLOURS.values()))
    figure = canvas.figure(3.6 * len(years) + 4.6, 3.7)
    *maps, right = figure.subplots(1, len(years) + 1, width_ratios=[*(3.6 for _ in years), 4.2])
    for axes, year in zip(maps, years, strict=True):
        rows = index[index["year"] == year]
        grid = tile_grid(rows, [names.index(name) for name in rows["split"]])
        axes.imshow(grid.values, extent=grid.extent, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5, interpolation="nearest")
        _frame(axes, rows.total_bounds.tolist())
        axes.set_title(f"{year}, {report['source']}")
    present = [name for name in names if (index["split"] == name).any()]
    handles = [Patch(facecolor=SPLIT_COLOURS[name], label=f"{name}: {report['rows'][name]} pairs") for name in present]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(present))
    methods = {"in force": report["leakage"], **{name: method for name, method in report["methods"].items() if "error" not in method}}
    position = np.arange(len(methods))
    for key, marker, colour, label in (
        ("r2", "o", canvas.SERIES[0], "R² of the mining share (−1: −1 or less)"),
        ("auc", "s", canvas.SERIES[1], "AUC of any mining"),
    ):
        values = np.maximum(np.array([method[key] for method in methods.values()], np.float64), -1)
        right.plot(values, position, marker, color=colour, label=label, clip_on=False)
    ends = [np.array([method.get(key) for method in methods.values()], np.float64).clip(-1) for key in ("r2_low", "r2_high")]
    right.hlines(position, *ends, color=canvas.SERIES[0], linewidth=1.5, label="90 % interval of R²")
    right.axvline(0, color="#9aa3ad", linewidth=1)
    right.set_xlim(-1.05, 1.05)
    right.set_yticks(position, list(methods))
    right.invert_yaxis()
    right.grid(axis="x")
    right.legend(loc="upper center", bbox_to_anchor=(0.4, -0.08), ncols=1)
    right.set_title("Test predicted from place and year alone")
    canvas.save(figure, target)


def change_plot(index: gpd.GeoDataFrame, target: str | Path) -> None:
    """Draw the change of the mining share of each tile from each year to the next; with one year, a map of zeros that says so."""
    from matplotlib.colors import TwoSlopeNorm

    years = sorted(index["year"].unique())
    steps = list(pairwise(years)) or [(years[0], years[0])]
    rows, cols = int(np.ptp(index["row"])) + 1, int(np.ptp(index["col"])) + 1
    figure = canvas.figure(6.6 * len(steps), max(3.2, 5.6 * (rows + 1) / (cols + 1)))
    for axes, (before, after) in zip(figure.subplots(1, len(steps), squeeze=False)[0], steps, strict=True):
        early = index[index["year"] == before].set_index("tile_id")["mining_percent"]
        late = index[index["year"] == after]
        grid = tile_grid(late, late["mining_percent"].to_numpy() - early.reindex(late["tile_id"]).to_numpy())
        most = max(1.0, float(np.nanmax(np.abs(grid.values), initial=0)))
        shown = axes.imshow(grid.values, extent=grid.extent, cmap="PuOr_r", norm=TwoSlopeNorm(0, -most, most), interpolation="nearest")
        _frame(axes, late.total_bounds.tolist())
        axes.set_title("one year only" if before == after else f"{before} to {after}")
        figure.colorbar(shown, ax=axes, shrink=0.75, label="change of mining, % of the tile").outline.set_visible(False)
    canvas.save(figure, target)
