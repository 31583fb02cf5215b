"""One experiment: train on samples of one part of a place, predict another part that shares no window with it, score against the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.assistant.places import Place, share_of_segments
from smallmines.labels.feature_table import matrix
from smallmines.segment.context import WINDOWS

if TYPE_CHECKING:
    import pandas as pd

GAP = max(WINDOWS)
"""Pixels between the interior points of two parts, so that their largest windows do not overlap."""

ENOUGH = 20
"""Fewest segments of a class on either side of a split."""


@dataclass(frozen=True)
class Subject:
    """A target on a place with its features.

    Attributes:
        name: of the place; target: class that plays the mines.
        table: features of the segments, with row and col of the interior point.
        area: pixels of each segment; positive: of these, pixels of the target.
    """

    name: str
    target: str
    table: pd.DataFrame
    area: NDArray[np.float64]
    positive: NDArray[np.float64]

    @property
    def label(self) -> NDArray[np.int8]:
        """1 where most of the segment is of the target, as a person would say (segment,)."""
        return (self.positive >= 0.5 * self.area).astype(np.int8)


def subjects(place: Place, table: pd.DataFrame) -> Iterator[Subject]:
    """Yield the targets of a place."""
    labels, area = place.labels(), table["area"].to_numpy(np.float64)
    for target, truth in place.targets.items():
        yield Subject(place.name, target, table, area, share_of_segments(labels, truth) * area)


def splits(subject: Subject, tile: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield positions to train on and to test on: every other field of a chessboard, tests at least `GAP` px inside theirs.

    The fields are tiles, and at least four gaps wide; on a small place two boards are used, the second moved by half a field. Splits that
    lack a class are left out.
    """
    side = max(tile, 4 * GAP)
    for shift in (0,) if side == tile else (0, side // 2):
        row, col = (subject.table[name].to_numpy(np.int64) + shift for name in ("row", "col"))
        black = (row // side + col // side) % 2 == 0
        core = np.logical_and.reduce([(value % side >= GAP) & (value % side < side - GAP) for value in (row, col)])
        for train, test in ((black, ~black & core), (~black, black & core)):
            counts = [np.bincount(subject.label[part], minlength=2).min() for part in (train, test)]
            if min(counts) >= ENOUGH:
                yield np.flatnonzero(train), np.flatnonzero(test)


def draw(subject: Subject, train: NDArray[np.intp], each: int, seed: int) -> NDArray[np.intp]:
    """Draw samples at random, `each` of both classes or as many as there are."""
    rng = np.random.default_rng(seed)
    own = subject.label[train]
    return np.concatenate([rng.permutation(train[own == value])[:each] for value in (0, 1)])


def features_of(subject: Subject, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the matrix of features of all segments."""
    return matrix(subject.table, names)


def scores(subject: Subject, test: NDArray[np.intp], probability: NDArray[np.float64]) -> dict[str, float]:
    """Return average precision by area, IoU of the pixels at the threshold of the true share, and the Brier score at 1 : 1.

    Args:
        probability: of the segments of `test`.
    """
    from sklearn.metrics import average_precision_score

    area, positive, label = subject.area[test], subject.positive[test], subject.label[test]
    weight = np.where(label == 1, 0.5 / (label == 1).sum(), 0.5 / (label == 0).sum())
    return {
        "ap": float(average_precision_score(label, probability, sample_weight=area)),
        "iou": iou_at_share(probability, area, positive),
        "brier": float(np.sum(weight * (probability - label) ** 2)),
    }


def iou_at_share(probability: NDArray[np.float64], area: NDArray[np.float64], positive: NDArray[np.float64]) -> float:
    """Return the IoU of the pixels where the most probable segments are mapped until their area is that of the target."""
    order = np.argsort(-probability, kind="stable")
    total, mapped = positive.sum(), np.cumsum(area[order])
    number = int(np.searchsorted(mapped, total)) + 1
    hit = positive[order[:number]].sum()
    return float(hit / (mapped[min(number, len(mapped)) - 1] + total - hit))


def interval(values: NDArray[np.float64], group: Sequence[str], seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Return the mean over groups of the groups' means, and its 95 % interval by bootstrap over groups."""
    names, code = np.unique(np.asarray(group, str), return_inverse=True)
    means = np.bincount(code, values) / np.bincount(code)
    again = np.random.default_rng(seed).integers(0, len(names), (draws, len(names)))
    low, high = np.quantile(means[again].mean(axis=1), [0.025, 0.975])
    return float(means.mean()), float(low), float(high)


def words(value: tuple[float, float, float], sign: str = "") -> str:
    """Write a mean with its interval, `0.55 (0.50–0.60)`."""
    mean, low, high = value
    return f"{mean:{sign}.3f} ({low:{sign}.3f} … {high:{sign}.3f})"


Row = Mapping[str, str | int | float]
