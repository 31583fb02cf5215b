"""Measure what each round of labelling changed and what the forest learned from it, and advise when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.core.json_products import ForestParameters, read_product
from smallmines.core.layout import Layout
from smallmines.labels import tables
from smallmines.labels.agreement import agreements, read_overlap
from smallmines.labels.event_files import LABELS, RANKS, WITHDRAWN, Event
from smallmines.labels.feature_table import feature_names, matrix, usable, window_size
from smallmines.labels.forest import apart_of, fit, folds_of, predict, training_rows
from smallmines.labels.transfer import NO_DECISION
from smallmines.settings.assistant import Assistant
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 0.005
"""Smallest gain in F1 over the last two rounds that counts."""


@dataclass(frozen=True)
class Round:
    """One round of a block and year, over all annotators.

    Attributes:
        number: 0 is before the first decision.
        decisions: number in this round; corrected: of these, those that differ from the prediction.
        f1: of a forest trained on samples and all decisions so far, cross-validated over tiles on the samples, see `best_f1`.
    """

    number: int
    decisions: int
    corrected: int
    f1: float


def rounds_of(events: Sequence[Event]) -> pd.DataFrame:
    """Number the events of people by round: the n-th working copy of each person is their n-th round.

    Returns:
        key, who, label (1, 0, -1; -2: withdrawn), corrected (bool), round (1…), ordered by time.
    """
    import pandas as pd

    people = sorted((event for event in events if RANKS.get(event.provenance) == 1), key=lambda event: event.order)
    table = pd.DataFrame(
        {
            "key": np.array([event.key for event in people], np.uint64),
            "who": [event.annotator for event in people],
            "base": [event.base for event in people],
            "label": np.array([LABELS.get(event.label, NO_DECISION) for event in people], np.int64),
            "corrected": np.array([event.provenance == "corrected" and event.label != WITHDRAWN for event in people], bool),
        }
    )
    first = table.drop_duplicates(["who", "base"])
    number = first.groupby("who").cumcount() + 1
    table = table.merge(first[["who", "base"]].assign(round=number), on=["who", "base"], how="left")
    return table[["key", "who", "label", "corrected", "round"]]


def progress(block_year: BlockYear, threads: int = 1) -> list[Round]:
    """Return the rounds of a block and year, with the F1 of a forest after each.

    Raises:
        UserError: there are no samples, segments or metrics yet.
    """
    features = block_year.forest_features()
    samples = tables.read(block_year.product(Layout.samples), "samples")
    params = read_product(block_year.product(Layout.forest_metrics), ForestParameters)["forest"]
    settings = settings_of(block_year.config.assistant, Assistant)
    events = rounds_of(block_year.events()).merge(features[["key", "segment"]], on="key")
    count = len(features)
    x = matrix(features, usable([features], feature_names(settings.features)))
    tile = features["tile_id"].to_numpy(object)
    own = samples["segment"].to_numpy(np.int64) - 1
    final = training_labels(count, samples, latest(events))
    training = training_rows(x[own], final[own].astype(np.int8), samples["subclass"].to_numpy(object), features.iloc[own])
    folds, points = folds_of(training, settings), features[["x", "y"]].to_numpy(np.float64)
    apart = window_size(block_year.lattice.geobox) if settings.features == "context" else 0.0
    rounds = []
    for number in range(int(events["round"].max() if len(events) else 0) + 1):
        label = training_labels(count, samples, latest(events[events["round"] <= number]))
        probability = np.zeros(len(own))
        for _, test in folds:
            train = np.flatnonzero((label >= 0) & ~np.isin(tile, np.unique(training.groups[test])))
            train = train[apart_of(points[train], training.points[test], label[train], apart)]
            model = fit(x[train], label[train], params, settings.seed, threads)
            probability[test] = predict(model, training.x[test], [0, 1], threads)[:, 1]
        of_round = events[events["round"] == number]
        decisions = int((of_round["label"] != NO_DECISION).sum())
        rounds.append(Round(number, decisions, int(of_round["corrected"].sum()), best_f1(training.y, probability)))
    return rounds


def training_labels(count: int, samples: pd.DataFrame, decided: pd.DataFrame) -> NDArray[np.int64]:
    """Return the label of each segment that trains a forest, (count,): a decision, else a sample (1, 0); -1: none.

    Args:
        samples, decided: segment and label; a segment at most once in each.
    """
    label = np.full(count, -1, np.int64)
    for rows in (samples, decided):
        label[rows["segment"].to_numpy(np.int64) - 1] = rows["label"].to_numpy(np.int64)
    return label


def latest(events: pd.DataFrame) -> pd.DataFrame:
    """Return of each segment the latest class that a person still stands by.

    Args:
        events: rows of `rounds_of` with their segments.
    """
    own = events.drop_duplicates(["who", "segment"], keep="last")
    return own[own["label"] >= 0].drop_duplicates("segment", keep="last")


def best_f1(y: NDArray[np.int8], probability: NDArray[np.float64]) -> float:
    """Return F1 of mining at its best threshold, since the class shares of the training samples differ between rounds."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(y, probability)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def advice(rounds: Sequence[Round], differ: float) -> str:
    """Advise in words whether another round is worthwhile.

    Args:
        differ: share of the blind overlap that two people label differently, NaN where unknown.
    """
    if len(rounds) < 2:
        return "no round yet"
    last = rounds[-1]
    share = last.corrected / max(last.decisions, 1)
    reasons = []
    if not share:
        reasons.append("the last round changed nothing")
    elif share <= differ:
        reasons.append(f"the last round changed {100 * share:.1f} % of what was looked at, and two people differ in {100 * differ:.1f} %")
    if len(rounds) > 2 and (gain := last.f1 - rounds[-3].f1) < ENOUGH:
        reasons.append(f"the forest gained {gain:+.3f} in F1 over the last two rounds")
    return f"enough: {'; '.join(reasons)}" if reasons else f"go on: the last round changed {100 * share:.1f} % of what was looked at"


def differing(block_year: BlockYear) -> float:
    """Return the share of the blind overlap that two people label differently, the largest of all pairs; NaN where no two labelled it."""
    import pandas as pd

    overlap = [read_overlap(path) for path in block_year.user_files()["overlap"]]
    pairs = agreements(block_year.events(), pd.concat(overlap, ignore_index=True), block_year.config.labels.seed) if overlap else []
    return max((1 - pair.raw for pair in pairs), default=float("nan"))
