"""Figures of the benchmark's page: scores with intervals, reliability, and example predictions."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.benchmark.metrics import HALF
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.runs import PREDICTED, read_split, rows_of
from smallmines.benchmark.table import Score
from smallmines.core.readable import read_parquet
from smallmines.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RGB = ("B04", "B03", "B02")
KINDS = ("best", "median", "worst")


def encoded(figure: Figure) -> str:
    """Return a figure as PNG in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        canvas.save(figure, path)
        return base64.b64encode(path.read_bytes()).decode()


def scores_figure(table: pd.DataFrame, titles: Mapping[tuple[str, str], str], threshold: str) -> str:
    """Draw the IoU of each row with its interval, one panel a split."""
    table = table[(table["threshold"] == threshold) & (table["stopped"] == "")]
    splits = list(dict.fromkeys(table["split"]))
    rows = list(dict.fromkeys(zip(table["row"], table["variant"], strict=True)))
    figure = canvas.figure(3.6 + 3.0 * len(splits), 1.4 + 0.34 * len(rows))
    panels = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axes, split in zip(panels, splits, strict=True):
        own = table[table["split"] == split].drop_duplicates(["row", "variant"])
        at = [rows.index(key) for key in zip(own["row"], own["variant"], strict=True)]
        iou = own["iou"].to_numpy(np.float64)
        reach = [np.nan_to_num(iou - own["iou_low"].to_numpy()), np.nan_to_num(own["iou_high"].to_numpy() - iou)]
        axes.errorbar(iou, at, xerr=reach, fmt="o", color=canvas.SERIES[0], ecolor=canvas.SERIES[4], elinewidth=2, markersize=5)
        axes.set_title(split.replace("_", " "))
        axes.set_xlim(0, 1)
        axes.set_xlabel("IoU of mining")
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(rows)), [titles[row] for row in rows])
    panels[0].invert_yaxis()
    return encoded(figure)


def reliability_figure(
    bins: Mapping[tuple[str, str, str], Sequence[Mapping[str, float]]], titles: Mapping[tuple[str, str], str], split: str
) -> str:
    """Draw the observed share of mining over the predicted probability, in bins of equal numbers of pixels, of the rows of a split."""
    figure = canvas.figure(9.0, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=canvas.FAINT, linewidth=1.5)
    shown = [(key, own) for key, own in bins.items() if key[0] == split and len(own) > 1]
    for number, ((_, row, variant), own) in enumerate(shown):
        predicted, observed = ([entry[name] for entry in own] for name in ("predicted", "observed"))
        axes.plot(predicted, observed, "o-", markersize=4, color=canvas.colour(number), label=titles[row, variant])
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_xlabel("predicted probability of mining")
    axes.set_ylabel("observed share of mining")
    if shown:
        figure.legend(loc="outside right upper")
    return encoded(figure)


def example_rows(counts: pd.DataFrame) -> dict[str, int]:
    """Return the rows of the pack with the best, the median and the worst IoU at 0.5 of the tiles with mining; none without any."""
    tp, fp, fn = (counts[f"{name}_half"].to_numpy(np.float64) for name in ("tp", "fp", "fn"))
    own = np.flatnonzero(tp + fn > 0)
    if not len(own):
        return {}
    order = own[np.argsort((tp / np.maximum(tp + fp + fn, 1))[own], kind="stable")]
    places = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    return {name: int(counts["row"].iloc[place]) for name, place in places.items()}


def examples_figure(pack: Pack, score: Score) -> str | None:
    """Draw image, mask and prediction of the best, median and worst tile of a fitted row; None without mining in its test."""
    chosen = example_rows(read_parquet(score.counts))
    if not chosen:
        return None
    predicted = rows_of(read_split(score.split_file, pack), *PREDICTED)
    probability = np.load(score.predicted, mmap_mode="r")
    figure = canvas.figure(6.6, 7.0)
    panels = figure.subplots(len(KINDS), 3)
    for line, kind in zip(panels, KINDS, strict=True):
        row = np.array([chosen[kind]])
        colours, mask = natural_colours(pack, row), pack.masks(row)[0]
        own = probability[int(np.searchsorted(predicted, row[0]))]
        drawn = np.where(mask == 255, 255, own >= HALF).astype(np.uint8)
        tile = f"{pack.tiles['tile_id'].iloc[row[0]]}, {pack.years[row[0]]}"
        metres = float(pack.about["pixel"][0])
        pictures = ((colours, f"{kind}: tile {tile}"), (canvas.masked(colours, mask), "mask"), (canvas.masked(colours, drawn), "predicted"))
        for number, (axes, (picture, title)) in enumerate(zip(line, pictures, strict=True)):
            canvas.show(axes, picture, title, 0 if number else metres)
            axes.set_title(title, fontsize=9)
    return encoded(figure)


def natural_colours(pack: Pack, row: NDArray[np.int64]) -> canvas.Colours:
    """Return a tile in natural colours, stretched; grey where it has gaps."""
    image = pack.read(row, RGB)[0]
    valid = np.isfinite(image).all(axis=0)
    return canvas.stretched(np.nan_to_num(image), valid, gamma=canvas.GAMMA)
