"""Charts of the whole run: mining shares, radiometry, labels, the forests' metrics, examples of patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core import raster
from smallmines.core.json_products import BandStatistics, LabelQuality, SplitReport, read_product
from smallmines.core.log import logger
from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS
from smallmines.dataset.index import read_index
from smallmines.labels.tables import PROVENANCES
from smallmines.report import canvas, maps
from smallmines.report.pictures import RGB
from smallmines.report.tables import most_mining

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def class_share(index: pd.DataFrame, target: str | Path) -> None:
    """Draw the mean mining share by block and year, and the histogram of the tiles' shares."""
    from matplotlib.ticker import ScalarFormatter

    years, blocks = sorted(index["year"].unique()), sorted(index["block"].unique(), key=int)
    figure = canvas.figure(10.6, 4.0)
    left, right = figure.subplots(1, 2)
    means = index.groupby(["block", "year"])["mining_percent"].mean()
    every = index.groupby("year")["mining_percent"].mean()
    bins = ["0", *(f"{low}–{low + 10}" for low in range(0, 100, 10))]
    for position, year in enumerate(years):
        heights = [*(means.get((block, year), np.nan) for block in blocks), every[year]]
        _bars(left, position, len(years), np.nan_to_num(heights), f"{year} (mean {every[year]:.2f} %)", "{:.1f}")
        percent = index.loc[index["year"] == year, "mining_percent"].dropna().to_numpy()
        place = np.where(percent > 0, np.minimum(np.ceil(percent / 10), 10), 0).astype(int)
        _bars(right, position, len(years), np.bincount(place, minlength=len(bins)), f"{year}", "{:.0f}" if len(years) < 3 else "")
    left.set_xticks(range(len(blocks) + 1), [*(f"block {block}" for block in blocks), "all"], rotation=40 if len(blocks) > 6 else 0)
    left.set_ylabel("mean share of mining, %")
    left.set_title("Mining by block")
    right.set_xticks(range(len(bins)), bins, rotation=40)
    right.set_yscale("symlog", linthresh=1)
    right.set_xlabel("mining in the tile, %")
    right.set_ylabel("tiles")
    right.set_title("Tiles by share of mining")
    right.yaxis.set_major_formatter(ScalarFormatter())
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(years))
    for axes in (left, right):
        axes.margins(y=0.15)
    canvas.save(figure, target)


def _bars(axes: Axes, position: int, of: int, heights: Any, label: str, form: str) -> None:
    """Draw one series of grouped bars with its numbers on top."""
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
    """Draw IoU and F1 of the forest of each year and block, re-weighted and as drawn, at the threshold and at 0.5; and the importances.

    Args:
        metrics: the forests' metrics files by name, e.g. "2016, 1".
    """
    grey = canvas.SOFT
    looks: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
        (False, False): ("re-weighted to the block's shares, at the threshold", {"marker": "o", "color": canvas.SERIES[0], "s": 52}),
        (False, True): ("re-weighted, at 0.5", {"marker": "o", "facecolors": "white", "edgecolors": canvas.SERIES[0], "s": 40}),
        (True, False): ("as drawn, at the threshold: not map accuracy", {"marker": "x", "color": grey, "s": 36, "linewidths": 1}),
        (True, True): ("as drawn, at 0.5: not map accuracy", {"marker": "+", "color": grey, "s": 50, "linewidths": 1}),
    }
    names = list(metrics)
    documents = {name: read_product(file, dict[str, Any]) for name, file in metrics.items()}
    values = [(names.index(name), path, value) for name, document in documents.items() for path, value in scores(document)]
    importances = pd.DataFrame({name: document["importances"] for name, document in documents.items() if "importances" in document})
    width = max(4.4, 1 + 0.45 * len(metrics))
    figure = canvas.figure(2 * width + 3.8, max(4.2, 1.6 + 0.15 * len(importances)))
    *panels, right = figure.subplots(1, 3, width_ratios=[width, width, 3.8])
    for axes, measure in zip(panels, ("iou", "f1"), strict=True):
        for key, (label, look) in looks.items():
            points = [(place, value) for place, path, value in values if path[-1] == measure and series_of(path) == key]
            if points:
                axes.scatter(*zip(*points, strict=True), label=label, zorder=3, clip_on=False, **look)
        axes.set_title({"iou": "IoU of mining, prediction alone", "f1": "F1 of mining, prediction alone"}[measure])
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axes.set_xlabel("year, block")
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_ylim(0, 1)
        axes.grid(axis="y")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    _importances(right, importances)
    canvas.save(figure, target)


def _importances(axes: Axes, importances: pd.DataFrame) -> None:
    """Draw the importance of each feature, the largest mean on top: a dot for each forest, coloured by year.

    Args:
        importances: a row for each feature, a column for each forest, e.g. "2016, 1".
    """
    ordered = importances.loc[importances.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    at = np.arange(len(ordered))
    years = sorted({str(name).split(", ")[0] for name in ordered})
    axes.barh(at, ordered.mean(axis=1), color=canvas.SOFT, alpha=0.35)
    for position, year in enumerate(years):
        own = ordered[[name for name in ordered if str(name).split(", ")[0] == year]]
        colour = canvas.SERIES[position % len(canvas.SERIES)]
        axes.plot(own.to_numpy().ravel(), np.repeat(at, own.shape[1]), ".", color=colour, markersize=5, label=year)
    axes.set_yticks(at, [str(name) for name in ordered.index], fontsize=7)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("dot: forest of a block; bar: mean")
    axes.set_title("Importance of features")
    if len(years):
        axes.legend(fontsize=7, loc="lower right")


def labels_plot(quality: Mapping[str, Any], target: str | Path) -> None:
    """Draw where the labels come from, how well annotators agree, and how accurate the masks are.

    Args:
        quality: the content of `dataset/labels.json`.
    """
    years = sorted(quality["years"])
    kappas = [
        (f"{year}, block {block}", pair["kappa"], pair["low"], pair["high"])
        for year in years
        for block, pairs in quality["years"][year]["agreement"]["blocks"].items()
        for pair in pairs
    ]
    accuracies = list(_accuracies(quality["years"], years))
    figure = canvas.figure(12, max(4.2, 1.2 + 0.3 * max(len(kappas), len(accuracies))))
    origin, agree, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    names = [name for name in PROVENANCES if any(name in quality["years"][year]["provenance"] for year in years)]
    for position, year in enumerate(years):
        shares = [100 * quality["years"][year]["provenance"].get(name, {"area_share": 0})["area_share"] for name in names]
        _bars(origin, position, len(years), shares, f"{year} ({100 * quality['years'][year]['validated_share']:.1f} % reviewed)", "{:.2g}")
    origin.set_xticks(range(len(names)), names, rotation=40, ha="right")
    origin.set_yscale("symlog", linthresh=0.1)
    origin.set_ylim(0, 900)
    origin.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    origin.set_ylabel("share of the area, %")
    origin.set_title("Provenance of the labels")
    origin.legend(loc="upper right")
    _intervals(agree, kappas, "no segment was labelled\nblind by two people")
    agree.set_title("Cohen's κ in the blind overlap")
    _intervals(right, accuracies, "no accuracy sample\nwas interpreted")
    right.set_title("Accuracy of the masks")
    canvas.save(figure, target)


def _accuracies(quality_of_years: Mapping[str, Any], years: Sequence[str]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, value and 95 % interval of each measure of accuracy of each year that has an accuracy sample."""
    measures = {
        "overall": ("overall",),
        "user's, mining": ("users", "mining"),
        "producer's, mining": ("producers", "mining"),
        "IoU, mining": ("iou",),
    }
    for label, path in measures.items():
        for year in years:
            value: Any = quality_of_years[year]["accuracy"]
            for key in path if value else ():
                value = value[key]
            if value:
                yield f"{label}, {year}", value["value"], value["low"], value["high"]


def _intervals(axes: Axes, rows: Sequence[tuple[str, Any, Any, Any]], nothing: str) -> None:
    """Draw values with their 95 % intervals, one per line; `nothing` is written where there are none."""
    axes.set_xlim(0, 1.02)
    if not rows:
        axes.text(0.5, 0.5, nothing, ha="center", va="center", transform=axes.transAxes, fontsize=10, color=canvas.SOFT)
        axes.set_yticks([])
        return
    at = np.arange(len(rows))
    value, low, high = np.array([row[1:] for row in rows], np.float64).T  # None becomes NaN
    axes.hlines(at, low, high, color=canvas.SERIES[0], linewidth=2)
    axes.plot(value, at, "o", color=canvas.SERIES[0], clip_on=False)
    axes.set_xlim(min(0.0, float(np.nanmin(low, initial=0)) - 0.02), 1.02)
    axes.set_yticks(at, [row[0] for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("value and 95 % interval")


def radiometry_plot(statistics: Mapping[str, Mapping[str, Any]], target: str | Path) -> None:
    """Draw the quantiles of each band by year.

    Args:
        statistics: by year, as `band_statistics` gives them.
    """
    figure = canvas.figure(10.6, 4.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=[10, 2.6, 1.6])
    step = 0.72 / max(len(statistics), 2)
    for axes, bands, unit in ((left, PATCH_BANDS[:10], "DN"), (middle, PATCH_BANDS[10:12], "dB"), (right, PATCH_BANDS[12:], "m")):
        for position, (year, of_band) in enumerate(sorted(statistics.items())):
            colour = canvas.SERIES[position % len(canvas.SERIES)]
            at = np.arange(len(bands)) + (position - (len(statistics) - 1) / 2) * step
            quantiles_at = [
                (place, of_band[band]["quantiles"]) for place, band in zip(at, bands, strict=True) if of_band[band]["quantiles"]
            ]
            places, values = (
                np.array([place for place, _ in quantiles_at]),
                np.array([quantiles for _, quantiles in quantiles_at]).reshape(-1, 7),
            )
            axes.vlines(places, values[:, 0], values[:, 6], color=colour, linewidth=1)
            axes.bar(places, values[:, 4] - values[:, 2], 0.55 * step, values[:, 2], color=colour, alpha=0.5, linewidth=0)
            axes.hlines(values[:, 3], places - 0.275 * step, places + 0.275 * step, color=colour, linewidth=2.2, label=year)
        axes.set_xticks(range(len(bands)), bands)
        axes.set_xlim(-0.6, len(bands) - 0.4)
        axes.set_title({"DN": "Sentinel-2, DN", "dB": "Sentinel-1, dB", "m": "Elevation, m"}[unit])
        axes.grid(axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(statistics))
    canvas.save(figure, target)


def examples(index: pd.DataFrame, folder: Path, target: str | Path) -> None:
    """Draw image and mask of the tiles with most mining, each tile in its year with most.

    Args:
        folder: the dataset's folder, where the index's paths start.
    """
    from matplotlib.patches import Patch

    chosen = most_mining(index)
    figure = canvas.figure(1.9 * len(chosen) + 0.3, 4.6)
    axes = figure.subplots(2, len(chosen), squeeze=False)
    for column, row in enumerate(chosen.to_dict("records")):
        bands = raster.read(folder / row["image"], bands=RGB)
        colours = canvas.stretched(bands, (bands != IMAGE_NODATA).all(axis=0), gamma=canvas.GAMMA)
        mask = raster.read(folder / row["mask"])[0]
        times = max(1, 512 // mask.shape[0])
        large = canvas.enlarged(colours, times)
        for place, image, title in (
            (axes[0, column], large, f"{row['tile_id']}, {row['year']}"),
            (axes[1, column], canvas.masked(large, canvas.enlarged(mask, times)), f"{row['mining_percent']:.1f} % mining"),
        ):
            place.imshow(image, interpolation="nearest")
            place.set_title(title)
            place.set_axis_off()
    label = "mining (mask) over Sentinel-2 B04, B03, B02"
    handle = Patch(facecolor=(*canvas.MINING, 0.5), edgecolor=canvas.MINING, label=label)
    figure.legend(handles=[handle], loc="outside lower center")
    canvas.save(figure, target)


def plots(sources: Mapping[str, str], metrics: Mapping[str, str], statistics: Mapping[str, str], targets: Mapping[str, Any]) -> None:
    """Draw all plots of a run.

    Args:
        sources: paths of index, blocks, label_quality (labels.json) and splits (splits.json).
        metrics: the forests' metrics files by "year, block"; empty without forests.
        statistics: the bands' statistics files by year.
        targets: paths of location, class_share, change, radiometry, labels, splits, metrics, examples and, by year, overview.
    """
    import geopandas as gpd
    import matplotlib as mpl

    table, outlines = read_index(sources["index"]), gpd.read_parquet(sources["blocks"])
    with mpl.rc_context(canvas.STYLE):
        maps.location(table, outlines, targets["location"])
        class_share(table, targets["class_share"])
        maps.change_plot(table, targets["change"])
        radiometry_plot({year: read_product(path, dict[str, BandStatistics]) for year, path in statistics.items()}, targets["radiometry"])
        labels_plot(read_product(sources["label_quality"], LabelQuality), targets["labels"])
        maps.splits_plot(table, read_product(sources["splits"], SplitReport), targets["splits"])
        if metrics:
            metrics_plot(metrics, targets["metrics"])
        examples(table, Path(sources["index"]).parent, targets["examples"])
        for year, target in zip(statistics, targets["overview"], strict=True):
            maps.overview(table, outlines, year, target)
    logger.info("%d plots", 7 + bool(metrics) + len(statistics))
