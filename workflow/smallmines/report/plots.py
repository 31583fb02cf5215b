"""Plots of the whole run: shares of mining, the assistant's metrics, an overview map per year, examples of patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core import raster
from smallmines.core.files import read_json
from smallmines.core.log import logger
from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS
from smallmines.dataset.index import read_index
from smallmines.labels.tables import PROVENANCES
from smallmines.report import canvas
from smallmines.report.pictures import RGB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXAMPLES = 6


def class_share(index: pd.DataFrame, target: str | Path) -> None:
    """Mean mining share by block and year, and how many tiles have how much."""
    from matplotlib.ticker import ScalarFormatter

    years, blocks = sorted(index["year"].unique()), sorted(index["block"].unique(), key=int)
    made = canvas.figure(11, 4.2)
    left, right = made.subplots(1, 2)
    means = index.groupby(["block", "year"])["mining_percent"].mean()
    every = index.groupby("year")["mining_percent"].mean()
    bins = ["0", *(f"{low}–{low + 10}" for low in range(0, 100, 10))]
    for position, year in enumerate(years):
        heights = [*(means.get((block, year), np.nan) for block in blocks), every[year]]
        _bars(left, position, len(years), np.nan_to_num(heights), f"{year} (mean {every[year]:.2f} %)", "{:.1f}")
        percent = index.loc[index["year"] == year, "mining_percent"].dropna().to_numpy()
        place = np.where(percent > 0, np.minimum(np.ceil(percent / 10), 10), 0).astype(int)
        _bars(right, position, len(years), np.bincount(place, minlength=len(bins)), f"{year}", "{:.0f}" if len(years) < 3 else "")
    left.set_xticks(range(len(blocks) + 1), [*(f"block {block}" for block in blocks), "all"])
    left.set_ylabel("mean share of mining in %")
    left.set_title("Mining by block", fontsize=12)
    right.set_xticks(range(len(bins)), bins, rotation=40)
    right.set_yscale("symlog", linthresh=1)
    right.set_xlabel("mining in the tile in %")
    right.set_ylabel("tiles")
    right.set_title("Tiles by share of mining", fontsize=12)
    right.yaxis.set_major_formatter(ScalarFormatter())
    right.tick_params(axis="x", labelsize=9)
    made.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(years), frameon=False)
    for axes in (left, right):
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    canvas.save(made, target)


def _bars(axes: Axes, position: int, of: int, heights: Any, label: str, form: str) -> None:
    """One series of grouped bars with its numbers on top."""
    width = 0.8 / of
    at = np.arange(len(heights)) - 0.4 + width * (position + 0.5)
    bars = axes.bar(at, heights, width, color=canvas.SERIES[position % len(canvas.SERIES)], label=label)
    if form:
        axes.bar_label(bars, [form.format(height) if height else "" for height in heights], fontsize=7, padding=1)


def scores(metrics: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every IoU and F1 in a metrics file, with the keys that lead to it."""
    if isinstance(metrics, Mapping):
        for key, value in metrics.items():
            yield from scores(value, (*path, str(key).lower()))
    elif path and path[-1] in ("iou", "f1") and isinstance(metrics, int | float):
        yield path, float(metrics)


def series_of(path: Sequence[str]) -> tuple[bool, bool]:
    """Whether a score is of the sample as drawn (else re-weighted to the area), and whether it is at 0.5 (else at the threshold)."""
    return "as_drawn" in path, "0.5" in path


def metrics_plot(metrics: Mapping[str, str | Path], target: str | Path) -> None:
    """IoU and F1 of each year and block: re-weighted and as drawn, at the threshold and at 0.5.

    Args:
        metrics: the assistant's metrics files by name, e.g. "2016, 1".
    """
    looks: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
        (False, False): ("re-weighted to the block's shares, at the threshold", {"marker": "o", "color": canvas.SERIES[0], "s": 60}),
        (False, True): ("re-weighted, at 0.5", {"marker": "o", "facecolors": "white", "edgecolors": canvas.SERIES[0], "s": 45}),
        (True, False): ("as drawn, at the threshold: not map accuracy", {"marker": "x", "color": "#777777", "s": 40}),
        (True, True): ("as drawn, at 0.5: not map accuracy", {"marker": "+", "color": "#777777", "s": 55}),
    }
    values = [(name, path, value) for name, file in metrics.items() for path, value in scores(read_json(file))]
    made = canvas.figure(max(8.0, 2 + 0.9 * len(metrics)), 4.6)
    for axes, measure in zip(made.subplots(1, 2, sharey=True), ("iou", "f1"), strict=True):
        for key, (label, look) in looks.items():
            points = [(list(metrics).index(name), value) for name, path, value in values if path[-1] == measure and series_of(path) == key]
            if points:
                axes.scatter(*zip(*points, strict=True), label=label, zorder=3, **look)
        axes.set_title({"iou": "IoU of mining", "f1": "F1 of mining"}[measure], fontsize=12)
        axes.set_xticks(range(len(metrics)), list(metrics), rotation=40, ha="right")
        axes.set_xlim(-0.6, len(metrics) - 0.4)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = made.axes[0].get_legend_handles_labels()
    if handles:
        made.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    made.suptitle("Assistant, cross-validated over tiles; by year and block", fontsize=12)
    canvas.save(made, target)


def labels_plot(known: Mapping[str, Any], target: str | Path) -> None:
    """Where the labels come from, how well people agree, and how accurate the masks are.

    Args:
        known: the content of `dataset/labels.json`.
    """
    years = sorted(known["years"])
    made = canvas.figure(13, 4.4)
    origin, agree, right = made.subplots(1, 3, width_ratios=(1.25, 1, 1))
    names = [name for name in PROVENANCES if any(name in known["years"][year]["provenance"] for year in years)]
    for position, year in enumerate(years):
        shares = [100 * known["years"][year]["provenance"].get(name, {"area_share": 0})["area_share"] for name in names]
        _bars(origin, position, len(years), shares, f"{year} ({100 * known['years'][year]['validated_share']:.1f} % looked at)", "{:.3g}")
    origin.set_xticks(range(len(names)), names, rotation=40, ha="right")
    origin.set_yscale("symlog", linthresh=0.1)
    origin.set_ylim(0, 300)
    origin.set_ylabel("share of the area in %")
    origin.set_title("Where the labels come from", fontsize=12)
    origin.legend(frameon=False, fontsize=9)
    kappas = [
        (f"{year}, {block}", pair["kappa"], pair["low"], pair["high"])
        for year in years
        for block, pairs in known["years"][year]["agreement"]["blocks"].items()
        for pair in pairs
    ]
    _intervals(agree, kappas, "no blind overlap looked at by two people")
    agree.set_title("Cohen's κ in the blind overlap", fontsize=12)
    figures = {
        "overall": ("overall",),
        "user's, mining": ("users", "mining"),
        "producer's, mining": ("producers", "mining"),
        "IoU, mining": ("iou",),
    }
    rows = []
    for label, path in figures.items():
        for year in years:
            value: Any = known["years"][year]["accuracy"]
            for key in path if value else ():
                value = value[key]
            if value:
                rows.append((f"{label}, {year}", value["value"], value["low"], value["high"]))
    _intervals(right, rows, "no accuracy sample looked at")
    right.set_title("Accuracy of the masks", fontsize=12)
    canvas.save(made, target)


def _intervals(axes: Axes, rows: Sequence[tuple[str, Any, Any, Any]], nothing: str) -> None:
    """Values with their 95 % intervals, one a line."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, 1.02)
    if not rows:
        axes.text(0.5, 0.5, nothing, ha="center", va="center", transform=axes.transAxes, fontsize=10, color="#777777")
        axes.set_yticks([])
        return
    at = np.arange(len(rows))
    value, low, high = np.array([row[1:] for row in rows], np.float64).T  # None becomes NaN
    axes.hlines(at, low, high, color=canvas.SERIES[0], linewidth=2)
    axes.plot(value, at, "o", color=canvas.SERIES[0])
    axes.set_yticks(at, [row[0] for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel("value and 95 % interval")


def overview(index: Any, blocks: Any, year: str, target: str | Path) -> None:
    """Map of all tiles of a year by their share of mining, with the blocks' outlines.

    Args:
        index: the dataset's index (GeoDataFrame).
        blocks: grid/blocks.parquet (GeoDataFrame).
    """
    import shapely
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    rows = index[index["year"].astype(str) == year]
    west, south, east, north = rows.total_bounds
    share = np.full((int(rows["row"].max()) + 1, int(rows["col"].max()) + 1), np.nan)
    share[rows["row"], rows["col"]] = rows["mining_percent"]
    first = int(rows["row"].min()), int(rows["col"].min())
    share = share[first[0] :, first[1] :]
    scale = Normalize(0, max(float(np.nanmax(share, initial=0)), 1.0))
    made = canvas.map_figure(share.shape, 1.2)
    axes = made.subplots()
    none = np.ma.masked_not_equal(np.where(np.isnan(share), 1, share), 0)
    extent = (west, east, south, north)
    axes.imshow(np.ma.masked_invalid(share), extent=extent, cmap="viridis", norm=scale, interpolation="nearest")
    axes.imshow(none, extent=extent, cmap="Greys", vmin=-0.2, vmax=1, interpolation="nearest")
    lines = [np.asarray(ring.coords) for geometry in blocks.geometry for ring in shapely.get_rings(shapely.get_parts(geometry)).tolist()]
    axes.add_collection(LineCollection([line[:, :2] for line in lines], colors="black", linewidths=1.4))
    for name, geometry in zip(blocks["block"], blocks.geometry, strict=True):
        place = geometry.representative_point()
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        axes.text(place.x, place.y, f"block {name}", ha="center", va="center", fontsize=11, bbox=box)
    margin = 0.01 * (east - west)
    axes.set_xlim(west - margin, east + margin)
    axes.set_ylim(south - margin, north + margin)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    empty = int((rows["mining_percent"] == 0).sum())
    axes.set_title(f"{year}: mining by tile ({len(rows)} tiles, {empty} of them without mining, grey)", fontsize=12)
    made.colorbar(ScalarMappable(scale, "viridis"), ax=axes, shrink=0.7, label="mining in the tile in %")
    canvas.save(made, target)


def splits_plot(index: Any, report: Mapping[str, Any], target: str | Path) -> None:
    """Map of the tiles by split, for each year, and what the split in force and the others leak.

    Args:
        index: the dataset's index (GeoDataFrame).
        report: the content of `splits.json`.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours = {"train": "#8fb8de", "val": "#f2b134", "test": "#c8553d", "buffer": "#bbbbbb"}
    years = sorted(index["year"].unique())
    made = canvas.figure(5.2 * (len(years) + 1), 5)
    *maps, right = made.subplots(1, len(years) + 1)
    names = list(colours)
    for axes, year in zip(maps, years, strict=True):
        rows = index[index["year"] == year]
        first = int(rows["row"].min()), int(rows["col"].min())
        grid = np.full((int(rows["row"].max()) - first[0] + 1, int(rows["col"].max()) - first[1] + 1), np.nan)
        grid[rows["row"] - first[0], rows["col"] - first[1]] = [names.index(name) for name in rows["split"]]
        axes.imshow(grid, cmap=ListedColormap(list(colours.values())), vmin=-0.5, vmax=len(names) - 0.5, interpolation="nearest")
        axes.set_title(f"{year} ({report['source']})", fontsize=12)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    present = [name for name in names if (index["split"] == name).any()]
    labels = [f"{name}: {report['rows'][name]} tiles and years" for name in present]
    handles = [Patch(facecolor=colours[name], label=label) for name, label in zip(present, labels, strict=True)]
    made.legend(handles=handles, loc="outside lower center", ncols=len(present), frameon=False)
    found = {"in force": report["leakage"], **{name: one for name, one in report["methods"].items() if "error" not in one}}
    at = np.arange(len(found))
    for key, marker, colour, label in (
        ("r2", "o", canvas.SERIES[0], "R² of the class share"),
        ("auc", "s", canvas.SERIES[1], "AUC of any mining"),
    ):
        right.plot(np.maximum(np.array([one[key] for one in found.values()], np.float64), -1), at, marker, color=colour, label=label)
    right.axvline(0, color="#999999", linewidth=1)
    right.set_xlim(-1.05, 1.05)
    right.set_xlabel("−1: −1 or less", fontsize=9)
    right.set_yticks(at, list(found))
    right.invert_yaxis()
    right.grid(axis="x", color="#dddddd")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize=9, loc="lower left")
    right.set_title("What place and year alone tell of the test", fontsize=12)
    canvas.save(made, target)


def change_plot(index: pd.DataFrame, target: str | Path) -> None:
    """Map of what became of the mining share of each tile, from each year to the next; where there is one year, that is said."""
    from itertools import pairwise

    from matplotlib.colors import TwoSlopeNorm

    years = sorted(index["year"].unique())
    pairs = list(pairwise(years)) or [(years[0], years[0])]
    first = index["row"].min(), index["col"].min()
    shape = (int(index["row"].max() - first[0]) + 1, int(index["col"].max() - first[1]) + 1)
    made = canvas.figure(6.2 * len(pairs), max(3.2, 5.6 * shape[0] / shape[1]))
    for axes, (before, after) in zip(made.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        grids = []
        for year in (before, after):
            rows = index[index["year"] == year]
            grid = np.full(shape, np.nan)
            grid[rows["row"] - first[0], rows["col"] - first[1]] = rows["mining_percent"]
            grids.append(grid)
        change = grids[1] - grids[0]
        most = max(1.0, float(np.nanmax(np.abs(change), initial=0)))
        drawn = axes.imshow(change, cmap="PuOr_r", norm=TwoSlopeNorm(0, -most, most), interpolation="nearest")
        axes.set_title("one year only" if before == after else f"{before} to {after}", fontsize=12)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        made.colorbar(drawn, ax=axes, shrink=0.75, label="mining, change in % of the tile")
    canvas.save(made, target)


def radiometry_plot(statistics: Mapping[str, Mapping[str, Any]], target: str | Path) -> None:
    """Quantiles of each band by year: what a model will see.

    Args:
        statistics: by year, as `publish.facts.band_statistics` gives them.
    """
    made = canvas.figure(11, 4.4)
    left, middle, right = made.subplots(1, 3, width_ratios=[10, 2.4, 1.6])
    for axes, bands, unit in ((left, PATCH_BANDS[:10], "DN"), (middle, PATCH_BANDS[10:12], "dB"), (right, PATCH_BANDS[12:], "m")):
        for position, (year, one) in enumerate(sorted(statistics.items())):
            colour = canvas.SERIES[position % len(canvas.SERIES)]
            at = np.arange(len(bands)) + (position - (len(statistics) - 1) / 2) * 0.28
            known = [(place, one[band]["quantiles"]) for place, band in zip(at, bands, strict=True) if one[band]["quantiles"]]
            places, values = [place for place, _ in known], np.array([quantiles for _, quantiles in known]).reshape(-1, 7)
            axes.vlines(places, values[:, 0], values[:, 6], color=colour, linewidth=1)
            axes.vlines(places, values[:, 2], values[:, 4], color=colour, linewidth=7, alpha=0.55)
            axes.plot(places, values[:, 3], "o", color=colour, markersize=4, label=year)
        axes.set_xticks(range(len(bands)), bands)
        axes.set_ylabel(unit)
        axes.grid(axis="y", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    made.suptitle("Values by band: median, middle half, 1 % to 99 %", fontsize=12)
    canvas.save(made, target)


def examples(index: pd.DataFrame, folder: Path, target: str | Path) -> None:
    """Image and mask of the tiles with most mining, each tile in its year with most.

    Args:
        folder: the dataset's folder, where the index's paths start.
    """
    from matplotlib.patches import Patch

    most = index.sort_values(["mining_percent", "tile_id", "year"], ascending=[False, True, True]).drop_duplicates("tile_id").head(EXAMPLES)
    made = canvas.figure(2.1 * len(most) + 0.3, 5.0)
    axes = made.subplots(2, len(most), squeeze=False)
    for column, row in enumerate(most.to_dict("records")):
        bands = raster.read(folder / row["image"], bands=RGB)
        colours = canvas.stretched(bands, (bands != IMAGE_NODATA).all(axis=0), gamma=canvas.GAMMA)
        mask = raster.read(folder / row["mask"])[0]
        times = max(1, 512 // mask.shape[0])
        large = canvas.enlarged(colours, times)
        canvas.show(axes[0, column], large, f"{row['tile_id']}, {row['year']}", 0)
        canvas.show(axes[1, column], canvas.masked(large, canvas.enlarged(mask, times)), f"{row['mining_percent']:.1f} % mining", 0)
    label = "mining (mask) over Sentinel-2 B04, B03, B02"
    made.legend(
        handles=[Patch(facecolor=(*canvas.MINING, 0.5), edgecolor=canvas.MINING, label=label)], loc="outside lower center", frameon=False
    )
    canvas.save(made, target)


def plots(
    index: str,
    blocks: str,
    quality: str,
    splits: str,
    metrics: Mapping[str, str],
    statistics: Mapping[str, str],
    years: Sequence[str],
    targets: Mapping[str, Any],
) -> None:
    """All plots of a run.

    Args:
        quality, splits: labels.json and splits.json.
        metrics: the assistant's metrics files by "year, block".
        statistics: the bands' statistics files by year.
        targets: paths of class_share, change, radiometry, labels, splits, metrics, examples and, by year, overview.
    """
    import geopandas as gpd

    table = read_index(index)
    outlines = gpd.read_parquet(blocks)
    class_share(table, targets["class_share"])
    change_plot(table, targets["change"])
    radiometry_plot({year: read_json(path) for year, path in statistics.items()}, targets["radiometry"])
    labels_plot(read_json(quality), targets["labels"])
    splits_plot(table, read_json(splits), targets["splits"])
    metrics_plot(metrics, targets["metrics"])
    examples(table, Path(index).parent, targets["examples"])
    for year, target in zip(years, targets["overview"], strict=True):
        overview(table, outlines, year, target)
    logger.info("%d plots", 7 + len(years))
