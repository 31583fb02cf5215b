"""The random forest of the label assistant: training samples, fitting, prediction, choice of parameters.

Fitting uses all threads; its result does not depend on their number. Prediction uses one thread per chunk of segments and
rounds to four decimals before anything is compared, so that the probabilities are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.settings.assistant import Assistant

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier


CHUNK = 50_000
"""Segments predicted at a time by one thread."""

CHUNK_OF_SOME = 10_000
"""Segments predicted at a time by one thread where each is predicted by some trees."""

OUT_OF_BAG = 94
"""Of 256: the share of trees that do not see a sample, 1 / e."""

FLOOR = 1 / 300
"""Added to shares of votes before the logarithm: the resolution of 300 trees."""

Params = dict[str, int]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Rows to train on and rows to test on, for each fold."""


@dataclass(frozen=True)
class Training:
    """Samples with their features.

    Attributes:
        x: (sample, feature) float32, scaled.
        y: (sample,) int8, 1 mining, 0 not.
        subclass: (sample,) text.
        groups: (sample,) tile of each sample; folds never split a tile.
        area: (sample,) float64, pixels of its segment.
        points: (sample, 2) float64, x and y of the interior point of its segment.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int8]
    subclass: NDArray[np.object_]
    groups: NDArray[np.object_]
    area: NDArray[np.float64]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """Parameters of a forest and how they were chosen.

    Attributes:
        params: those with the lowest out-of-fold Brier score.
        tried: all parameters that were tried, each with its score `brier`.
        out_of_fold: (sample,) float64, probability of mining by forests that did not see the sample.
    """

    params: Params
    tried: list[dict[str, float]]
    out_of_fold: NDArray[np.float64]


def training_of(
    samples: Mapping[str, pd.DataFrame], segments: Mapping[str, pd.DataFrame], x_of: Callable[[str], NDArray[np.float32]]
) -> Training:
    """Join samples to the features of their segments, in block and segment order.

    Args:
        samples: tables `samples` by block.
        segments: tables of features by block.
        x_of: returns the matrix (segment, feature) of a block.
    """
    import pandas as pd

    rows = {block: samples[block]["segment"].to_numpy(np.int64) - 1 for block in sorted(samples)}
    x = np.concatenate([x_of(block)[own] for block, own in rows.items()])
    described = pd.concat([segments[block].iloc[own] for block, own in rows.items()], ignore_index=True)
    table = pooled(samples)
    return training_rows(x, table["label"].to_numpy(np.int8), table["subclass"].to_numpy(object), described)


def training_rows(x: NDArray[np.float32], y: NDArray[np.int8], subclass: NDArray[np.object_], described: pd.DataFrame) -> Training:
    """Return samples with features `x`, whose tile, area and point are those of the rows `described` of tables of features."""
    points = described[["x", "y"]].to_numpy(np.float64)
    return Training(x, y, subclass, described["tile_id"].to_numpy(object), described["area"].to_numpy(np.float64), points)


def pooled(samples: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the samples of some blocks, in block order."""
    import pandas as pd

    return pd.concat([samples[block] for block in sorted(samples)], ignore_index=True)


def fit(x: NDArray[np.float32], y: NDArray[Any], params: Params, seed: int, threads: int, oob: bool = False) -> RandomForestClassifier:
    """Fit a forest; the result does not depend on `threads`."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**params, random_state=seed, n_jobs=threads, oob_score=oob).fit(x, y)


def out_of_bag(model: RandomForestClassifier) -> NDArray[np.float64]:
    """Return the shares of votes (sample, class) by the trees that did not see a sample; NaN where all did (scikit-learn has 0)."""
    votes = np.asarray(model.oob_decision_function_, np.float64)
    return np.where(votes.sum(axis=1, keepdims=True) > 0, votes, np.nan)


def predict(model: RandomForestClassifier, x: NDArray[np.float32], classes: Sequence[int], threads: int) -> NDArray[np.float64]:
    """Return probabilities (row, class) rounded to four decimals; 0 for a class that the forest has not seen.

    One thread per chunk of rows: with several threads inside, scikit-learn's sums differ in the last bits between runs.
    """
    model.set_params(n_jobs=1)
    chunks = [x[start : start + CHUNK] for start in range(0, len(x), CHUNK)]
    predict_chunk: Callable[[NDArray[np.float32]], NDArray[np.float64]] = model.predict_proba
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        predicted = list(pool.map(predict_chunk, chunks))
    result = np.zeros((len(x), len(classes)))
    columns = [list(classes).index(value) for value in model.classes_.tolist()]
    if predicted:
        result[:, columns] = np.concatenate(predicted).round(4)
    return result


def predict_by_some(model: RandomForestClassifier, x: NDArray[np.float32], seed: int, threads: int) -> NDArray[np.float64]:
    """Return probabilities (row, class) as out-of-bag ones are: each row by a random 37 % of the trees, rounded to four decimals."""
    kept = np.random.default_rng(seed).integers(0, 256, (len(x), len(model.estimators_)), np.uint8) < OUT_OF_BAG

    def part(start: int) -> NDArray[np.float64]:
        rows, own = x[start : start + CHUNK_OF_SOME], kept[start : start + CHUNK_OF_SOME]
        total = np.zeros((len(rows), len(model.classes_)))
        for tree, chosen in zip(model.estimators_, own.T, strict=True):
            total[chosen] += tree.predict_proba(rows[chosen], check_input=False) if chosen.any() else 0
        return np.asarray(total / np.maximum(total.sum(axis=1, keepdims=True), 1e-9))

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        parts = list(pool.map(part, range(0, len(x), CHUNK_OF_SOME)))
    return np.asarray(np.concatenate(parts).round(4))


def folds_of(training: Training, settings: Assistant, apart: float = 0.0) -> Folds:
    """Split the samples into folds that never split a tile and spread the classes."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=settings.seed)
    folds = list(splitter.split(training.x, training.y, training.groups))
    if not apart:
        return folds
    return [(train[apart_of(training.points[train], training.points[test], training.y[train], apart)], test) for train, test in folds]


def apart_of(points: NDArray[np.float64], others: NDArray[np.float64], y: NDArray[Any], distance: float) -> NDArray[np.bool_]:
    """Return which points lie at least `distance` in x or y from all others (point,); all of them where a class would be lost.

    Args:
        points, others: (point, 2); y: (point,) class of each of `points`.
    """
    from scipy.spatial import cKDTree

    nearest, _ = cKDTree(others).query(points, p=np.inf)
    kept = nearest >= distance
    return np.asarray(kept | (len(np.unique(y[kept])) < len(np.unique(y))))


def cross_predict(x: NDArray[np.float32], y: NDArray[Any], folds: Folds, params: Params, seed: int, threads: int) -> NDArray[np.float64]:
    """Return out-of-fold probabilities (sample, class) for the classes 0.. of `y`."""
    classes = list(range(int(y.max()) + 1))
    result = np.zeros((len(y), len(classes)))
    for train, test in folds:
        result[test] = predict(fit(x[train], y[train], params, seed, threads), x[test], classes, threads)
    return result


def tune(training: Training, settings: Assistant, threads: int, apart: float = 0.0) -> Tuned:
    """Choose the parameters with the lowest out-of-fold Brier score (mean squared error of the probability).

    Args:
        apart: least distance in x or y between the points of training and test samples, in the unit of the CRS.
    """
    folds = folds_of(training, settings, apart)
    tried: list[dict[str, float]] = []
    out_of_fold: list[NDArray[np.float64]] = []
    choices = sorted(product(set(settings.trees), set(settings.max_depth), set(settings.min_samples_split)))
    grid = [{"n_estimators": trees, "max_depth": depth, "min_samples_split": split} for trees, depth, split in choices]
    for params in grid:
        probability = cross_predict(training.x, training.y, folds, params, settings.seed, threads)[:, 1]
        out_of_fold.append(probability)
        tried.append({**params, "brier": round(float(np.mean((probability - training.y) ** 2)), 6)})
    best = int(np.argmin([result["brier"] for result in tried]))
    return Tuned(grid[best], tried, out_of_fold[best])
