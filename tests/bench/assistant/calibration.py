"""Measure how far the forest's votes and the calibrated probabilities are from the truth of whole blocks, and draw the curve.

Samples are drawn at random, as many of each class; the calibration gets the estimated prevalence. Segments that were sampled do not count.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/calibration.py [--images FOLDER] [--worlds FOLDER] [--every 3] [--each 150]
    [--jobs N] [--picture PNG]
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from bench.assistant import experiment, extra
from bench.assistant.curve import FOREST, at_random, groups
from bench.assistant.experiment import Subject
from bench.assistant.places import Place
from bench.assistant.worlds import all_places, rows_of_all
from smallmines.cli.console import plain_errors, show
from smallmines.labels.calibration import calibrate
from smallmines.labels.feature_table import feature_names, matrix
from smallmines.labels.forest import fit, predict, training_rows
from smallmines.labels.prevalence import estimate
from smallmines.labels.threshold import ClearSegments

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

EDGES = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0001])
"""Bins of probability of the curve."""


def bins_of(probability: Floats, area: Floats, positive: Floats) -> list[tuple[float, float, float]]:
    """Return of each bin its area, the sum of probability × area, and the true area."""
    code = np.searchsorted(EDGES, probability, side="right") - 1
    parts = (np.bincount(code, values, minlength=len(EDGES) - 1) for values in (area, probability * area, positive))
    return list(zip(*(part.tolist() for part in parts), strict=True))


def rows_of(subject: Subject, kind: Literal["paper", "context"], each: int, seed: int) -> list[experiment.Row]:
    """Return the bins of votes and of calibrated probabilities."""
    x, samples = matrix(subject.table, feature_names(kind)), at_random(subject, each, seed)
    label = np.full(len(x), -1, np.int8)
    label[samples] = subject.label[samples]
    names = np.full(len(samples), "", object)
    training = training_rows(x[samples], label[samples], names, subject.table.iloc[samples])
    model = fit(training.x, training.y, FOREST, seed, 1, oob=True)
    votes = predict(model, x, [0, 1], 1)
    clear = ClearSegments(x, subject.area, votes, label)
    share = estimate(training, FOREST, clear, seed, 1).share
    calibrated = calibrate(model.oob_decision_function_[:, 1], training.y, clear, share).probability(votes[:, 1])
    unseen, rows = label < 0, []
    for name, probability in (("votes", votes[:, 1]), ("calibrated", calibrated)):
        bins = bins_of(probability[unseen], subject.area[unseen], subject.positive[unseen])
        of = {"place": subject.name, "target": subject.target, "features": kind, "probability": name}
        rows += [of | {"bin": place, "area": area, "expected": expected, "true": true} for place, (area, expected, true) in enumerate(bins)]
    return rows


def rows_of_place(place: Place, each: int) -> list[experiment.Row]:
    """Return the bins of all targets of a place, with both sets of features."""
    features: tuple[Literal["paper", "context"], ...] = ("paper", "context")
    subjects = experiment.subjects(place, extra.everything(place))
    return [row for subject in subjects for name in features for row in rows_of(subject, name, each, 0)]


def error(table: pd.DataFrame) -> tuple[float, float, float]:
    """Return the expected calibration error (Naeini et al. 2015): mean over the area of |probability − truth| by bin, with its interval."""
    off = table.assign(off=(table["expected"] - table["true"]).abs()).groupby(["place", "target"])[["off", "area"]].sum().reset_index()
    return experiment.interval((off["off"] / off["area"]).to_numpy(), groups(off))


def picture(tables: Mapping[str, pd.DataFrame], target: Path) -> None:
    """Draw truth against probability, of all places together."""
    from smallmines.report import canvas

    figure = canvas.figure(5.2 * len(tables), 4.8)
    for axes, (kind, table) in zip(np.ravel(figure.subplots(1, len(tables))), tables.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#9aa3ad", linewidth=1)
        for number, ((features, name), own) in enumerate(table.groupby(["features", "probability"], sort=False)):
            total = own.groupby("bin")[["area", "expected", "true"]].sum()
            total = total[total["area"] > 0]
            style = {"votes": ":", "calibrated": "-"}[str(name)]
            x, y = total["expected"] / total["area"], total["true"] / total["area"]
            axes.plot(x, y, style, color=canvas.SERIES[(number // 2) * 5], marker="o", markersize=4, label=f"{features}, {name}")
        axes.set_xlabel("probability of mining")
        axes.set_ylabel("true share of the area")
        axes.set_title(kind, fontsize=10)
        axes.legend(fontsize=8)
        axes.set_aspect("equal")
    canvas.save(figure, target)


def main(
    images: Annotated[Path | None, typer.Option(help="Real images in TerraMesh's layout.", file_okay=False)] = None,
    worlds: Annotated[Path | None, typer.Option(help="Folder of miniature worlds (see worlds.py).", file_okay=False)] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th block and year of the worlds.")] = 3,
    each: Annotated[int, typer.Option(min=5, help="Samples of each class.")] = 150,
    jobs: Annotated[int, typer.Option(min=1, help="Places measured at a time.")] = 1,
    picture_path: Annotated[Path | None, typer.Option("--picture", help="Draw the curve.")] = None,
) -> None:
    """Measure the calibration."""
    import pandas as pd

    with plain_errors():
        tables, rows = {}, []
        for kind, places in all_places(images, worlds).items():
            chosen = places[::every] if kind == "miniature worlds" else places
            tables[kind] = pd.DataFrame(rows_of_all(chosen, partial(rows_of_place, each=each), jobs))
            for (name, probability), own in tables[kind].groupby(["features", "probability"], sort=False):
                rows.append(
                    {"places": kind, "features": name, "probability": probability, "calibration error": experiment.words(error(own))}
                )
        show("Calibration (mean over the area of |probability − truth|)", rows)
        if picture_path:
            picture(tables, picture_path)


if __name__ == "__main__":
    typer.run(main)
