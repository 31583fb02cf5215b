"""Fit a forest to labels and predict all segments of a block, in a process: `python -m smallmines.annotation.server.view.refit JOB`.

Features, parameters and seed are those of the run's forest: with the run's samples alone it gives the run's probabilities.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.environment import prepare
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, written
from smallmines.core.readable import read_parquet

JOB_FILE, LABELS_FILE, RESULT_FILE = "job.json", "labels.npz", "result.npz"
"""Files of a job's folder: what to do; segment, label and own (segments with an own label of the person); what came out."""

NICE = 10
"""Added to the process's niceness: the server goes first."""

CHUNK = 50_000
"""Segments predicted at a time."""


@dataclass(frozen=True)
class Job:
    """A refit.

    Attributes:
        tables: folder with `features.parquet` and `metrics.json` of the run.
        features: path of the features (segment, feature), as `feature_rows` writes them.
        names: of these features.
        settings: keys of `assistant`.
        threshold: of the run, for where its prevalence is not known.
    """

    tables: str
    features: str
    names: tuple[str, ...]
    settings: dict[str, Any]
    threshold: float


def refit(folder: Path) -> None:
    """Fit and predict; write probability (segment,) float32, threshold, own, seconds, and the segments that trained the forest.

    Raises:
        UserError: a product of the run cannot be read, or lacks the forest's parameters.
    """
    began = time.monotonic()
    job = Job(**read_json(folder / JOB_FILE))
    metrics = read_json(Path(job.tables) / "metrics.json")
    if "forest" not in metrics:
        raise UserError("the parameters of the forest in metrics.json", "none", "run the workflow up to the masks again")
    with np.load(folder / LABELS_FILE) as content:
        segment, label, own = content["segment"], content["label"], content["own"]
    probability = _probability(job, metrics, segment - 1, label)
    threshold = _threshold(job, metrics, probability)
    with written(folder / RESULT_FILE) as beside, beside.open("wb") as file:
        seconds = round(time.monotonic() - began, 1)
        np.savez(file, probability=probability.astype(np.float32), threshold=threshold, own=own, segment=segment, seconds=seconds)


def _probability(job: Job, metrics: dict[str, Any], rows: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of mining of each segment by a forest fitted to some rows."""
    import pandas as pd

    from smallmines.labels.feature_table import matrix, medians
    from smallmines.labels.forest import fit, predict

    names = [name for name in metrics.get("features", job.names) if name in job.names]
    table = pd.DataFrame(np.load(job.features, mmap_mode="r"), columns=list(job.names))
    fill = medians(table, names)
    model = fit(matrix(table.iloc[rows], names, fill), label.astype(np.int8), metrics["forest"], job.settings["seed"], 1)
    starts = range(0, len(table), CHUNK)
    parts = [predict(model, matrix(table.iloc[start : start + CHUNK], names, fill), [0, 1], 1)[:, 1] for start in starts]
    return np.concatenate(parts)


def _threshold(job: Job, metrics: dict[str, Any], probability: NDArray[np.float64]) -> float:
    """Return the threshold of the configuration, or that at which the share of the area is the run's prevalence, or the run's."""
    from smallmines.labels.tables import is_clear
    from smallmines.labels.threshold import matching_threshold

    given, share = job.settings["threshold"], metrics.get("prevalence", {}).get("share")
    if given != "match_prevalence":
        return float(given)
    if share is None:
        return job.threshold
    table = read_parquet(Path(job.tables) / "features.parquet", ["area", "clear_share"])
    clear = is_clear(table)
    return matching_threshold(probability[clear], table["area"].to_numpy(np.float64)[clear], float(share))


def main() -> None:
    """Run the refit of a folder; say in one line what a user can correct."""
    prepare()
    os.nice(NICE)
    try:
        refit(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"expected {error.expected}, found {error.found}; {error.do}")


if __name__ == "__main__":
    main()
