"""The label assistant: one random forest per block and year proposes mining or not for every segment.

Features as in the authors' working code: segment means of the ten Sentinel-2 bands / 10000 and of the DEM / 500.
Fitting uses all threads (its result does not depend on them); predictions are made by one thread per chunk of
segments and rounded to four decimals before anything is compared, so that they are the same everywhere.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES, S2_BANDS
from smallmines.labels import prevalence, tables
from smallmines.segment.features import read_features
from smallmines.settings.assistant import Assistant

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier


FEATURES = (*S2_BANDS, "DEM")
SCALES = np.array([10000.0] * len(S2_BANDS) + [500.0])
"""Divisors of the features: digital numbers to reflectance, metres to about 1."""

CHUNK = 50_000
"""Segments predicted at a time by one thread."""

ENOUGH = 100_000
"""Segments from which the prevalence is estimated, at even steps through the block: more change nothing and take minutes."""

Params = dict[str, int]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """Samples with their features.

    Attributes:
        x: (sample, feature) float32, scaled.
        y: (sample,) int8, 1 mining, 0 not.
        subclass: (sample,) text.
        groups: (sample,) tile of each sample; folds never split one.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int8]
    subclass: NDArray[np.object_]
    groups: NDArray[np.object_]


def assist(
    block: str,
    features: Mapping[str, str],
    samples: Mapping[str, str],
    settings: Assistant,
    threads: int,
    probabilities_out: str | Path,
    metrics_out: str | Path,
    model_out: str | Path,
) -> None:
    """Train, choose the threshold, predict every segment of a block; write probabilities, metrics and model.

    Args:
        block: the block that is predicted.
        features, samples: paths of the tables by block; other blocks are used only when this block lacks a class
            and `settings.on_missing_class` is `pooled_model`.

    Raises:
        UserError: a class with samples in fewer tiles than there are folds.
    """
    own = tables.read(samples[block], "samples")
    pooled = bool(tables.lacking(own, settings.folds)) and settings.on_missing_class == "pooled_model"
    used = sorted(samples) if pooled else [block]
    people = {name: tables.read(samples[name], "samples") for name in used}
    segments = {name: read_features(features[name]) for name in used}
    training = training_of(people, segments)
    together = counts_of(people)
    if lack := tables.lacking(together, settings.folds):
        raise UserError(
            f"samples of both classes in at least {settings.folds} tiles (assistant.folds)",
            tables.counts(together),
            f"add samples of {' and '.join(lack)}",
        )
    if pooled:
        logger.warning("block %s has %s: the forest is trained on blocks %s together", block, tables.counts(own), ", ".join(used))
    logger.info("training on %s", tables.counts(together))
    table = segments[block]
    x, filled = matrix(table)
    area = table["area"].to_numpy(np.float64)
    counted = table["clear_share"].to_numpy() >= tables.CLEAR
    if not counted.any():
        counted[:] = True

    folds = folds_of(training, settings)
    best, tried, out_of_fold = tune(training, folds, settings, threads)
    logger.info("best of %d forests: %s", len(tried), best)
    model = fit(training.x, training.y, best, settings.seed, threads, oob=True)
    of_classes = predict(model, x, [0, 1], threads)
    probability = of_classes[:, 1]

    if settings.prevalence == "estimate":
        found, how = estimate_prevalence(
            training, settings.folds, best, x[counted], area[counted], of_classes[counted], settings.seed, threads
        )
        half = round(predicted_share(probability[counted], area[counted], 0.5), 4)
        share, how = round(float(np.sqrt(found * half)), 4), {**how, "predicted_at_half": half}
    else:
        share, how = settings.prevalence, {"source": "configuration"}
    mines = np.isin(table["segment"], own.loc[own["label"] == 1, "segment"])
    least = round(float(area[mines].sum() / area.sum()), 4)
    if settings.prevalence == "estimate" and share < least:  # look-alikes explain all of it: the estimate has failed
        logger.warning(
            "estimated prevalence %.4f is below the %.4f sampled as mining: that is used; better set assistant.prevalence", share, least
        )
        how, share = {**how, "source": "area of the mining samples", "estimate": share}, least
    logger.info("prevalence %.4f (%s)", share, how["source"])
    if settings.threshold == "match_prevalence":
        threshold = matching_threshold(probability[counted], area[counted], share)
    else:
        threshold = settings.threshold
    predicted = {f"{at:g}": predicted_share(probability[counted], area[counted], at) for at in sorted({threshold, 0.5})}
    logger.info(
        "threshold %.4f: %.4f of the area is predicted mining (%.4f at 0.5)", threshold, predicted[f"{threshold:g}"], predicted["0.5"]
    )

    versions = library_versions()
    metrics = {
        "block": block,
        "trained_on_blocks": used,
        "features": list(FEATURES),
        "samples": {
            name: {"segments": int((training.y == value).sum()), "tiles": len(set(training.groups[training.y == value].tolist()))}
            for value, name in enumerate(CLASSES)
        },
        "segments": len(table),
        "segments_without_dem": filled,
        "missing_dem": "median of the block",
        "clear_area_share": float(area[counted].sum() / area.sum()),
        "forest": best,
        "folds": settings.folds,
        "brier_score_of_folds": tried,
        "out_of_bag_accuracy": float(model.oob_score_),
        "prevalence": {"share": share, **how},
        "threshold": threshold,
        "threshold_rule": settings.threshold if isinstance(settings.threshold, str) else "number",
        "predicted_share_of_clear_area": predicted,
        "out_of_fold": {
            "as_drawn": {
                "note": "at the samples' class shares: NOT map accuracy",
                **{f"{at:g}": scores(training.y, out_of_fold, at, None) for at in sorted({threshold, 0.5})},
            },
            "at_class_shares_of_the_area": {
                "note": "re-weighted to the prevalence; assumes samples that are typical of their class",
                **{f"{at:g}": scores(training.y, out_of_fold, at, share) for at in sorted({threshold, 0.5})},
            },
        },
        "importances": dict(zip(FEATURES, model.feature_importances_.tolist(), strict=True)),
        "versions": versions,
    }
    metrics = rounded(metrics)
    metrics["threshold"] = threshold
    write_json(metrics_out, metrics)
    result = table[["segment"]].assign(probability=probability.astype(np.float32), entropy=entropy(probability))
    tables.write(probabilities_out, result, "probabilities")
    save(
        model_out,
        {
            "model": model,
            "features": FEATURES,
            "scales": SCALES,
            "threshold": threshold,
            "versions": versions,
            "dem_fill": dem_median(table),
        },
    )


# --- data -----------------------------------------------------------------------------------------------------------------


def training_of(people: Mapping[str, pd.DataFrame], segments: Mapping[str, pd.DataFrame]) -> Training:
    """The samples of some blocks (tables `samples`) with the features of their segments, in block and segment order."""
    names = sorted(people)
    parts = [matrix(segments[name])[0][people[name]["segment"].to_numpy(np.int64) - 1] for name in names]
    table = counts_of(people)
    return Training(
        np.concatenate(parts), table["label"].to_numpy(np.int8), table["subclass"].to_numpy(object), table["tile_id"].to_numpy(object)
    )


def counts_of(people: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The samples of some blocks in one table, in block order."""
    import pandas as pd

    return pd.concat([people[name] for name in sorted(people)], ignore_index=True)


def matrix(features: pd.DataFrame) -> tuple[NDArray[np.float32], int]:
    """Scaled features (segment, feature) float32, and how many segments without a height got the median of the block."""
    values = features[list(FEATURES)].to_numpy(np.float64)
    missing = ~np.isfinite(values[:, -1])
    values[missing, -1] = dem_median(features)
    return (values / SCALES).astype(np.float32), int(missing.sum())


def dem_median(features: pd.DataFrame) -> float:
    """Median height in m of the segments that have one; 0 where none has."""
    heights = features["DEM"].to_numpy(np.float64)
    heights = heights[np.isfinite(heights)]
    return float(np.median(heights)) if len(heights) else 0.0


# --- the forest -----------------------------------------------------------------------------------------------------------


def fit(x: NDArray[np.float32], y: NDArray[Any], params: Params, seed: int, threads: int, oob: bool = False) -> RandomForestClassifier:
    """A forest; the same whatever the threads."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**params, random_state=seed, n_jobs=threads, oob_score=oob).fit(x, y)


def predict(model: RandomForestClassifier, x: NDArray[np.float32], classes: Sequence[int], threads: int) -> Floats:
    """Probabilities (row, class) rounded to four decimals; a class the forest has not seen gets 0.

    One thread per chunk of rows: with several threads inside, scikit-learn's sums differ in the last bits between runs.
    """
    model.set_params(n_jobs=1)
    chunks = [x[start : start + CHUNK] for start in range(0, len(x), CHUNK)]
    one: Callable[[NDArray[np.float32]], Floats] = model.predict_proba
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        found = list(pool.map(one, chunks))
    result = np.zeros((len(x), len(classes)))
    columns = [list(classes).index(value) for value in model.classes_.tolist()]
    if found:
        result[:, columns] = np.concatenate(found).round(4)
    return result


def folds_of(training: Training, settings: Assistant) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train and to test on, for each fold; tiles are never split, classes are spread."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=settings.seed)
    return list(splitter.split(training.x, training.y, training.groups))


def cross_predict(
    x: NDArray[np.float32],
    y: NDArray[Any],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    params: Params,
    seed: int,
    threads: int,
) -> Floats:
    """Out-of-fold probabilities (sample, class) for the classes 0.. of `y`."""
    classes = list(range(int(y.max()) + 1))
    result = np.zeros((len(y), len(classes)))
    for train, test in folds:
        result[test] = predict(fit(x[train], y[train], params, seed, threads), x[test], classes, threads)
    return result


def tune(
    training: Training, folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], settings: Assistant, threads: int
) -> tuple[Params, list[dict[str, float]], Floats]:
    """The forest with the lowest out-of-fold Brier score (mean squared error of the probability).

    Returns:
        Its parameters, all that were tried with their scores, and its out-of-fold probabilities of mining (sample,).
    """
    tried: list[dict[str, float]] = []
    out_of_fold: list[Floats] = []
    choices = sorted(product(set(settings.trees), set(settings.max_depth), set(settings.min_samples_split)))
    grid = [{"n_estimators": trees, "max_depth": depth, "min_samples_split": split} for trees, depth, split in choices]
    for params in grid:
        found = cross_predict(training.x, training.y, folds, params, settings.seed, threads)[:, 1]
        out_of_fold.append(found)
        tried.append({**params, "brier": round(float(np.mean((found - training.y) ** 2)), 6)})
    best = int(np.argmin([one["brier"] for one in tried]))
    return grid[best], tried, out_of_fold[best]


# --- threshold and figures ------------------------------------------------------------------------------------------------


def estimate_prevalence(
    training: Training,
    folds: int,
    params: Params,
    x: NDArray[np.float32],
    area: Floats,
    of_classes: Floats,
    seed: int,
    threads: int,
) -> tuple[float, dict[str, Any]]:
    """Share of mining in the area of the segments `x` by expectation maximisation, and how it was found; see `smallmines.prevalence`.

    The larger of the estimates by types and by two classes: each fails towards 0, where the other classes can explain all there is.

    Its folds do split tiles, unlike those of the metrics: the forest will be used on the very tiles that were sampled.

    Args:
        of_classes: probabilities of the segments `x` (segment, class 0 and 1) by the forest of all samples. A forest of the two classes in
            the other order is the same to the last digit (Gini's sums of two terms), so none is trained.
    """
    from sklearn.model_selection import StratifiedKFold

    types = prevalence.types_of(training.x, training.y, training.subclass, seed)
    some = slice(None, None, -(-len(x) // ENOUGH))
    shares = {}
    for name, code in (("of_types", types.code), ("of_two_classes", 1 - training.y.astype(np.int64))):
        splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(training.x, code))
        out_of_fold = cross_predict(training.x, code, splits, params, seed, threads)
        if name == "of_two_classes":
            everywhere = of_classes[some, ::-1]
        else:
            everywhere = predict(fit(training.x, code, params, seed, threads), x[some], list(range(int(code.max()) + 1)), threads)
        shares[name] = round(prevalence.estimate(out_of_fold, code, everywhere, area[some]), 4)
    return max(shares.values()), {"source": "estimate", **shares, "types_from": types.source, "types": types.number}


def matching_threshold(probability: Floats, area: Floats, share: float) -> float:
    """The probability at which the predicted share of the area is nearest to `share`; of equally near ones the higher.

    At least 0.0001: a segment with probability 0 is never mining.
    """
    levels, place = np.unique(probability, return_inverse=True)
    above = np.cumsum(np.bincount(place, weights=area)[::-1])[::-1] / area.sum()
    levels, above = np.append(levels, 1.0001), np.append(above, 0.0)
    usable = levels > 0
    levels, above = levels[usable], above[usable]
    distance = np.abs(above - share).round(12)
    return float(levels[np.flatnonzero(distance == distance.min())[-1]].round(4))


def predicted_share(probability: Floats, area: Floats, threshold: float) -> float:
    """Share of the area at or above a probability."""
    return float(area[probability >= threshold].sum() / area.sum())


def scores(y: NDArray[np.int8], probability: Floats, threshold: float, share: float | None) -> dict[str, float]:
    """Precision, recall, F1 and IoU of mining at a threshold.

    Args:
        share: share of mining to which the samples are weighted; None: as they are.
    """
    weight = np.ones(len(y)) if share is None else np.where(y == 1, share / (y == 1).sum(), (1 - share) / (y == 0).sum())
    called = probability >= threshold
    hit, false, missed = (float(weight[choice].sum()) for choice in (called & (y == 1), called & (y == 0), ~called & (y == 1)))

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole > 0 else 0.0

    return {
        "precision": ratio(hit, hit + false),
        "recall": ratio(hit, hit + missed),
        "f1": ratio(2 * hit, 2 * hit + false + missed),
        "iou": ratio(hit, hit + false + missed),
    }


def entropy(probability: Floats) -> NDArray[np.float32]:
    """Binary entropy in bits, 0 where certain, 1 at 0.5."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.clip(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), 0, 1).round(4).astype(np.float32)


# --- files ----------------------------------------------------------------------------------------------------------------


def library_versions() -> dict[str, str]:
    """Versions that a saved model needs to be loaded."""
    import sklearn

    return {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Write a model with what belongs to it (joblib, compressed)."""
    import joblib

    with written(path) as beside:
        joblib.dump(content, beside, compress=3)


def rounded(value: Any) -> Any:
    """A JSON-able value with its numbers rounded to six decimals."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value
