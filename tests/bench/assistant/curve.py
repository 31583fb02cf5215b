"""Measure how good masks are by the number of labelled segments of a block, and draw the curve.

Labels are the truth of each segment. The mask of the whole block is scored by the IoU of its pixels at the threshold of the true share.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/curve.py [--images FOLDER] [--worlds FOLDER] [--every 3] [--seeds 2]
    [--jobs N] [--picture PNG] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from bench.assistant import experiment, extra
from bench.assistant.experiment import Subject
from bench.assistant.places import Place
from bench.assistant.worlds import all_places, rows_of_all
from smallmines.annotation.queue import review_queue
from smallmines.cli.console import plain_errors, show
from smallmines.config.sections import Queue
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.labels.assistant import entropy
from smallmines.labels.candidates import draw, rank_within
from smallmines.labels.feature_table import feature_names, matrix
from smallmines.labels.forest import fit, predict
from smallmines.settings.candidates import Candidates

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["paper", "context"]
Rows = NDArray[np.intp]

NUMBERS = (100, 300, 1000, 2000)
"""Labelled segments of each class, or half of the candidates."""

FOREST = {"n_estimators": 200, "max_depth": 15, "min_samples_split": 5}
ROUND = 700
"""Most segments of a round of the queue."""

FEWEST = 20
"""Segments of a round below which the queue counts as empty."""

LINES: Mapping[str, tuple[str, Kind, str]] = {
    "paper, at random by class": ("random", "paper", "#9aa3ad"),
    "paper, queue": ("queue", "paper", "#000000"),
    "context, at random by class": ("random", "context", "#56b4e9"),
    "context, queue": ("queue", "context", "#0072b2"),
    "paper, candidates by area (before)": ("by area", "paper", "#cc79a7"),
    "context, candidates by area": ("by area", "context", "#d55e00"),
    "context, candidates by cluster (now)": ("by cluster", "context", "#009e73"),
}
"""Way to choose, features, colour of each line."""


def masks_iou(subject: Subject, x: NDArray[np.float32], samples: Rows, seed: int) -> tuple[float, NDArray[np.float64]]:
    """Return the IoU of the block's mask, and the probability of each segment, by a forest of some samples; 0 where a class lacks."""
    label = subject.label
    if len(np.unique(label[samples])) < 2:
        return 0.0, np.full(len(label), 0.5)
    probability = predict(fit(x[samples], label[samples], FOREST, seed, 1), x, [0, 1], 1)[:, 1]
    return experiment.iou_at_share(probability, subject.area, subject.positive), probability


def at_random(subject: Subject, each: int, seed: int) -> Rows:
    """Draw `each` segments of both classes, or as many as there are."""
    return experiment.draw(subject, np.arange(len(subject.table)), each, seed)


def by_queue(subject: Subject, x: NDArray[np.float32], seed: int) -> Iterator[tuple[int, float]]:
    """Yield number of labels of each class and IoU: the first 100 of each class at random, then rounds of the review queue."""
    chosen = at_random(subject, NUMBERS[0], seed)
    for number in (number for number in NUMBERS if 2 * number <= len(subject.table) // 2):
        while (left := min(2 * number, len(subject.table) - 1) - len(chosen)) > 0:
            _, probability = masks_iou(subject, x, chosen, seed)
            looked_at = np.full(len(probability), "predicted", object)
            looked_at[chosen] = "corrected"
            table = subject.table.assign(
                probability=probability,
                entropy=entropy(probability),
                provenance=looked_at,
                label=np.where(looked_at == "corrected", subject.label, probability >= 0.5).astype(int),
            )
            queue = review_queue(table, Queue(size=min(ROUND, left)), seed, np.empty(0, np.int64), None, None)
            more = np.union1d(chosen, queue["segment"].to_numpy(np.int64) - 1)
            if len(more) - len(chosen) < FEWEST:  # the queue has next to nothing left
                break
            chosen = more
        yield number, masks_iou(subject, x, chosen, seed)[0]


def by_area(table: pd.DataFrame, number: int, seed: int) -> Rows:
    """Draw candidates as before: strata of spectral clusters and heights by area, with a floor of a tenth of an even share."""
    from sklearn.cluster import KMeans

    bands = table[list(S2_BANDS)].to_numpy(np.float64)
    cluster = KMeans(12, n_init=3, random_state=seed).fit_predict((bands - bands.mean(axis=0)) / bands.std(axis=0))
    height = np.searchsorted(np.nanquantile(table["DEM"], [0.25, 0.5, 0.75]), table["DEM"].to_numpy())
    stratum = np.unique(cluster * 4 + height, return_inverse=True)[1]
    area = table["area"].to_numpy(np.float64)
    share = np.bincount(stratum, area) / area.sum()
    wanted = np.maximum(number // (10 * len(share)), np.round(number * share)).astype(int)
    race = np.random.default_rng(seed).exponential(size=len(table)) / area
    return np.flatnonzero(rank_within(stratum, race) < wanted[stratum])


def by_cluster(table: pd.DataFrame, number: int, seed: int) -> Rows:
    """Draw candidates as the rule `candidates` does."""
    drawn = draw(table, feature_names("context"), Candidates(candidates=number, clusters=100, seed=seed))
    return np.asarray(drawn["segment"].to_numpy(np.int64) - 1)


def runs(subject: Subject, seeds: int) -> Iterator[experiment.Row]:
    """Yield the IoU of each line of `LINES` at each number of labels."""
    draws: Mapping[str, Callable[[int, int], Rows]] = {
        "random": lambda number, seed: at_random(subject, number, seed),
        "by area": lambda number, seed: by_area(subject.table, 2 * number, seed),
        "by cluster": lambda number, seed: by_cluster(subject.table, 2 * number, seed),
    }
    most = len(subject.table) // 2
    for seed in range(seeds):
        for line, (way, kind, _) in LINES.items():
            x = matrix(subject.table, feature_names(kind))
            scores = (
                by_queue(subject, x, seed)
                if way == "queue"
                else ((number, masks_iou(subject, x, draws[way](number, seed), seed)[0]) for number in NUMBERS)
            )
            for number, iou in scores:
                if 2 * number <= most:
                    yield {"place": subject.name, "target": subject.target, "seed": seed, "line": line, "labels": 2 * number, "iou": iou}


def rows_of(place: Place, seeds: int) -> list[experiment.Row]:
    """Return the IoU of all targets of a place."""
    return [row for subject in experiment.subjects(place, extra.everything(place)) for row in runs(subject, seeds)]


def groups(table: pd.DataFrame) -> list[str]:
    """Return the place that counts once in an interval: a world, or a target of an image."""
    place = table["place"].str.split(",").str[0]
    return [str(name) for name in place.where(table["target"] == "mining", place + table["target"])]


def summary(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a row for each line: IoU with its interval by number of labels."""
    rows = []
    for line, own in table.groupby("line", sort=False):
        row = {"labels": str(line)}
        for number, part in own.groupby("labels"):
            row[str(number)] = experiment.words(experiment.interval(part["iou"].to_numpy(), groups(part)))
        rows.append(row)
    return rows


def picture(tables: Mapping[str, pd.DataFrame], target: Path) -> None:
    """Draw the lines of each kind of places, with 95 % intervals over places."""
    from smallmines.report import canvas

    figure = canvas.figure(6.2 * len(tables), 4.8)
    for axes, (kind, table) in zip(np.ravel(figure.subplots(1, len(tables))), tables.items(), strict=True):
        for place, (line, (way, _, colour)) in enumerate(LINES.items()):
            own = table[table["line"] == line]
            numbers = sorted(set(own["labels"]))
            means, low, high = np.transpose(
                [experiment.interval(part["iou"].to_numpy(), groups(part)) for part in (own[own["labels"] == number] for number in numbers)]
            )
            x = np.array(numbers) * 1.03 ** (place - len(LINES) / 2)
            style = {"random": ":", "queue": "-", "by area": "--", "by cluster": "-"}[way]
            axes.errorbar(
                x, means, [means - low, high - means], color=colour, linestyle=style, marker="o", markersize=4, capsize=2, label=line
            )
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number}" for number in numbers])
        axes.minorticks_off()
        axes.set_xlabel("labelled segments in the block")
        axes.set_ylabel("IoU of the mask at the true share")
        axes.set_title(f"{kind} ({len(set(groups(table)))} {'worlds' if 'world' in kind else 'targets'}; bars: 95 % interval)", fontsize=10)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    canvas.save(figure, target)


def main(
    images: Annotated[Path | None, typer.Option(help="Real images in TerraMesh's layout.", file_okay=False)] = None,
    worlds: Annotated[Path | None, typer.Option(help="Folder of miniature worlds (see worlds.py).", file_okay=False)] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th block and year of the worlds.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of samples.")] = 2,
    jobs: Annotated[int, typer.Option(min=1, help="Places measured at a time.")] = 1,
    picture_path: Annotated[Path | None, typer.Option("--picture", help="Draw the curve.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all runs to this file.")] = None,
) -> None:
    """Measure masks by the number of labels."""
    import pandas as pd

    with plain_errors():
        tables = {}
        for kind, places in all_places(images, worlds).items():
            chosen = places[::every] if kind == "miniature worlds" else places
            tables[kind] = pd.DataFrame(rows_of_all(chosen, partial(rows_of, seeds=seeds), jobs))
            show(f"{kind}: IoU by number of labelled segments", summary(tables[kind]))
        if json:
            write_json(json, {kind: table.to_dict("records") for kind, table in tables.items()})
        if picture_path:
            picture(tables, picture_path)


if __name__ == "__main__":
    typer.run(main)
