"""Measure what the other year's means would do as features: the masks' IoU, and the change between years that both masks make up.

Samples are drawn from the whole block in each year on its own; masks are made at the threshold of the true share.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/other_year.py --worlds FOLDER [--each 150] [--seeds 2] [--jobs N]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from bench.assistant import experiment, extra
from bench.assistant.curve import FOREST, at_random
from bench.assistant.experiment import Row, Subject
from bench.assistant.places import Place
from bench.assistant.worlds import all_places, rows_of_all
from smallmines.cli.console import plain_errors, show
from smallmines.core import raster
from smallmines.core.product import S2_BANDS
from smallmines.labels.feature_table import feature_names, matrix
from smallmines.labels.forest import fit, predict
from smallmines.segment.features import features

if TYPE_CHECKING:
    import pandas as pd

Years = tuple[Place, Place]
Bits = NDArray[np.bool_]


def means_of(place: Place, other: Place) -> pd.DataFrame:
    """Return the means of the other year's bands over the segments of a place, columns `B02_other` …"""
    labels = place.labels()
    with raster.opened(other.s2) as s2, raster.opened(other.clear) as clear, raster.opened(other.dem) as dem:
        table = features(labels, s2, clear, dem, place.lattice, place.block)
    return table[list(S2_BANDS)].add_suffix("_other")


def mask_of(subject: Subject, labels: NDArray[np.uint32], columns: tuple[str, ...], each: int, seed: int) -> Bits:
    """Return the mask of the block (row, column) by a forest of some samples, at the threshold of the true share."""
    x, samples = matrix(subject.table, columns), at_random(subject, each, seed)
    votes = predict(fit(x[samples], subject.label[samples], FOREST, seed, 1), x, [0, 1], 1)[:, 1]
    order = np.argsort(-votes, kind="stable")
    number = int(np.searchsorted(np.cumsum(subject.area[order]), subject.positive.sum())) + 1
    mapped = np.zeros(len(votes) + 1, bool)
    mapped[1 + order[:number]] = True
    return np.asarray(mapped[labels])


def rows_of(years: Years, each: int, seeds: int) -> list[Row]:
    """Return IoU and change of a block in two years, with and without the other year's means."""
    import pandas as pd

    subjects, labels = [], []
    for place, other in (years, years[::-1]):
        table = pd.concat([extra.everything(place), means_of(place, other)], axis=1)
        subjects += list(experiment.subjects(place, table))
        labels.append(place.labels())
    seen = (labels[0] > 0) & (labels[1] > 0)
    truth = [place.targets["mining"] for place in years]
    same = seen & (truth[0] == truth[1])
    changed = seen & (truth[0] != truth[1])
    rows: list[Row] = []
    kinds: tuple[Literal["paper", "context"], ...] = ("paper", "context")
    for kind in kinds:
        for more in ("", " + the other year's means"):
            columns = (*feature_names(kind), *((f"{band}_other" for band in S2_BANDS) if more else ()))
            for seed in range(seeds):
                masks = [mask_of(subject, label, columns, each, seed) for subject, label in zip(subjects, labels, strict=True)]
                differ = masks[0] != masks[1]
                iou = np.mean([(mask & true)[seen].sum() / (mask | true)[seen].sum() for mask, true in zip(masks, truth, strict=True)])
                rows.append(
                    {
                        "world": years[0].name.split(",")[0],
                        "features": kind + more,
                        "iou": float(iou),
                        "false": float(differ[same].mean()),
                        "found": float(differ[changed].mean()),
                    }
                )
    return rows


def main(
    worlds: Annotated[Path, typer.Option(help="Folder of miniature worlds (see worlds.py).", file_okay=False)],
    each: Annotated[int, typer.Option(min=5, help="Samples of each class.")] = 150,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of samples.")] = 2,
    jobs: Annotated[int, typer.Option(min=1, help="Blocks measured at a time.")] = 1,
) -> None:
    """Measure the other year's means."""
    import pandas as pd

    with plain_errors():
        places = all_places(None, worlds)["miniature worlds"]
        by_block: dict[tuple[str, str], list[Place]] = {}
        for place in places:
            by_block.setdefault((place.name.split(",")[0], place.block), []).append(place)
        pairs: list[Years] = [(first, second) for first, second in by_block.values()]
        table = pd.DataFrame(rows_of_all(pairs, partial(rows_of, each=each, seeds=seeds), jobs))
        names = {"iou": "IoU", "false": "unchanged ground called changed", "found": "changed ground called changed"}
        show(
            "The other year's means as features",
            [
                {"features": str(kind)}
                | {words: experiment.words(experiment.interval(own[key].to_numpy(), own["world"].tolist())) for key, words in names.items()}
                for kind, own in table.groupby("features", sort=False)
            ],
        )


if __name__ == "__main__":
    typer.run(main)
