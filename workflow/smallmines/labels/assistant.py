"""The label assistant: a random forest per block and year gives every segment a probability of mining, and a threshold.

The threshold is set by the prevalence, the share of the area that is mining (see `smallmines.labels.prevalence`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables
from smallmines.labels.calibration import Calibration, calibrate
from smallmines.labels.feature_table import feature_names, matrix, medians, missing, read_table, scales, usable, window_size
from smallmines.labels.forest import (
    Training,
    Tuned,
    fit,
    out_of_bag,
    pooled,
    predict,
    training_of,
    tune,
)
from smallmines.labels.prevalence import Prevalence, find_prevalence
from smallmines.labels.sampled_prevalence import SampleFiles, prevalence_by_sample, read_points
from smallmines.labels.threshold import ClearSegments, Threshold, find_threshold
from smallmines.settings.assistant import Assistant

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier


WARN_FROM = 0.05
"""Share of the segments without a feature from which the log warns."""


@dataclass(frozen=True)
class Inputs:
    """Files that the assistant reads.

    Attributes:
        features, context, samples: paths of tables by block; no context for the features of the paper.
        grid: `grid.json`.
        sample: the prevalence sample, where `assistant.prevalence` is `sample`.
    """

    features: Mapping[str, str]
    context: Mapping[str, str]
    samples: Mapping[str, str]
    grid: str | Path
    sample: SampleFiles | None = None


@dataclass(frozen=True)
class Outputs:
    """Paths of the assistant's products."""

    probabilities: str | Path
    metrics: str | Path
    model: str | Path


@dataclass(frozen=True)
class Result:
    """The assistant of a block and year, as described by its metrics.

    Attributes:
        trained_on: blocks whose samples were used.
        segments: number of segments of the block.
        features: names of the features.
        missing: of features that some segments lack, the number of these segments.
        clear_area_share: share of the block's area in `ClearSegments`.
    """

    block: str
    trained_on: Sequence[str]
    training: Training
    tuned: Tuned
    model: RandomForestClassifier
    segments: int
    features: Sequence[str]
    missing: Mapping[str, int]
    clear_area_share: float
    prevalence: Prevalence
    threshold: Threshold
    calibration: Calibration


def assist(block: str, inputs: Inputs, settings: Assistant, threads: int, outputs: Outputs) -> None:
    """Train a forest, choose the threshold and predict every segment of a block; write probabilities, metrics and model.

    Args:
        block: the block that is predicted.
        inputs: other blocks are used only when this block lacks a class and `settings.on_missing_class` is `pooled_model`.

    Raises:
        UserError: a class has samples in fewer tiles than there are folds.
    """
    points = None if inputs.sample is None else read_points(inputs.sample)
    samples_by_block = read_samples(block, inputs.samples, settings)
    segments = {name: read_table(inputs.features[name], inputs.context.get(name)) for name in {block: None, **samples_by_block}}
    table = segments[block]
    names, lacking = usable_features(block, segments, settings)
    x = matrix(table, names)
    training = training_of(samples_by_block, segments, lambda name: x if name == block else matrix(segments[name], names))
    apart = window_size(read_lattice(inputs.grid).geobox) if settings.features == "context" else 0.0
    tuned = tune(training, settings, threads, apart)
    logger.info("best of %d forests: %s", len(tuned.tried), tuned.params)
    model = fit(training.x, training.y, tuned.params, settings.seed, threads, oob=True)
    probabilities = predict(model, x, [0, 1], threads)

    clear = clear_segments(table, x, probabilities, samples_by_block[block])

    def by_samples() -> Prevalence:
        return find_prevalence(training, tuned.params, clear, settings, threads)

    if inputs.sample is None or points is None:
        prevalence = by_samples()
    else:
        prevalence = prevalence_by_sample(inputs.sample, points, table, probabilities[:, 1], clear, by_samples, settings.seed)
    threshold = find_threshold(clear, prevalence.share, settings)
    clear_share = float(clear.area.sum() / table["area"].sum())
    calibration = calibrate(out_of_bag(model)[:, 1], training.y, clear, prevalence.share)
    result = Result(
        block, list(samples_by_block), training, tuned, model, len(table), names, lacking, clear_share, prevalence, threshold, calibration
    )

    write_json(outputs.metrics, metrics(result, settings))
    votes = probabilities[:, 1]
    predicted = table[["segment"]].assign(
        probability=votes.astype(np.float32), entropy=entropy(votes), calibrated=calibration.probability(votes).astype(np.float32)
    )
    tables.write(outputs.probabilities, predicted, "probabilities")
    save(
        outputs.model,
        {
            "model": model,
            "features": names,
            "scales": scales(names),
            "threshold": threshold.value,
            "versions": library_versions(),
            "fill": medians(table, names),
        },
    )


def usable_features(block: str, segments: Mapping[str, pd.DataFrame], settings: Assistant) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """Return the features of the forest, and the number of the block's segments without a value, by feature; warn where many lack.

    Args:
        segments: tables of features of the block, and of those whose samples train the forest.
    """
    wanted = feature_names(settings.features)
    names, lacking = usable(segments.values(), wanted), missing(segments[block], wanted)
    if left_out := [name for name in wanted if name not in names]:
        which = " or ".join(sorted(segments))
        logger.warning("block %s: the forest does without %s, which most segments of block %s lack", block, ", ".join(left_out), which)
    if some := [name for name in names if lacking.get(name, 0) > WARN_FROM * len(segments[block])]:
        share = max(lacking[name] for name in some) / len(segments[block])
        text = "block %s: up to %.0f %% of the segments have no %s; the block's median stands there, so have samples in that part, too"
        logger.warning(text, block, 100 * share, ", ".join(some))
    return names, lacking


def clear_segments(table: pd.DataFrame, x: NDArray[np.float32], probabilities: NDArray[np.float64], samples: pd.DataFrame) -> ClearSegments:
    """Select the segments of a block that count in shares of the area; see `ClearSegments`."""
    label = np.full(len(table), -1, np.int8)
    label[samples["segment"].to_numpy(np.int64) - 1] = samples["label"].to_numpy(np.int8)
    clear = tables.is_clear(table)
    return ClearSegments(x[clear], table["area"].to_numpy(np.float64)[clear], probabilities[clear], label[clear])


def read_samples(block: str, paths: Mapping[str, str], settings: Assistant) -> dict[str, pd.DataFrame]:
    """Read the samples that train the forest of a block, by block: its own, or those of all blocks where it lacks a class.

    Raises:
        UserError: a class has samples in fewer tiles than there are folds.
    """
    own = tables.read(paths[block], "samples")
    lacks_class = bool(tables.lacking(own, settings.folds)) and settings.on_missing_class == "pooled_model"
    samples = {name: own if name == block else tables.read(paths[name], "samples") for name in (sorted(paths) if lacks_class else [block])}
    together = pooled(samples)
    if lack := tables.lacking(together, settings.folds):
        raise UserError(
            f"samples of both classes in at least {settings.folds} tiles (assistant.folds)",
            tables.counts(together),
            f"add samples of {' and '.join(lack)}",
        )
    if lacks_class:
        logger.warning("block %s has %s: the forest is trained on blocks %s together", block, tables.counts(own), ", ".join(samples))
    logger.info("training on %s", tables.counts(together))
    return samples


# --- metrics and files ----------------------------------------------------------------------------------------------------


def metrics(result: Result, settings: Assistant) -> dict[str, Any]:
    """Return the document `metrics.json`; numbers are rounded to six decimals, but for the threshold."""
    training, threshold, share = result.training, result.threshold, result.prevalence.share
    levels = list(threshold.predicted_share)

    def scores_at(class_share: float | None) -> dict[str, dict[str, float]]:
        return {f"{level:g}": scores(training.y, result.tuned.out_of_fold, level, class_share) for level in levels}

    document = rounded(
        {
            "block": result.block,
            "trained_on_blocks": list(result.trained_on),
            "features": list(result.features),
            "features_left_out": [name for name in feature_names(settings.features) if name not in result.features],
            "samples": {
                name: {"segments": int((training.y == value).sum()), "tiles": len(set(training.groups[training.y == value].tolist()))}
                for value, name in enumerate(CLASSES)
            },
            "segments": result.segments,
            "segments_without": dict(result.missing),
            "without_a_value": "median of the block",
            "clear_area_share": result.clear_area_share,
            "forest": result.tuned.params,
            "folds": settings.folds,
            "brier_score_of_folds": result.tuned.tried,
            "out_of_bag_accuracy": float(result.model.oob_score_),
            "prevalence": result.prevalence.document(),
            "threshold_rule": threshold.rule,
            "calibration": asdict(result.calibration),
            "predicted_share_of_clear_area": {f"{level:g}": value for level, value in threshold.predicted_share.items()},
            "out_of_fold": {
                "as_drawn": {"note": "at the samples' class shares: NOT map accuracy", **scores_at(None)},
                "at_class_shares_of_the_area": {
                    "note": "re-weighted to the prevalence; assumes samples that are typical of their class",
                    **scores_at(share),
                },
            },
            "importances": dict(zip(result.features, result.model.feature_importances_.tolist(), strict=True)),
            "versions": library_versions(),
        }
    )
    return {**document, "threshold": threshold.value}


def scores(y: NDArray[np.int8], probability: NDArray[np.float64], threshold: float, share: float | None) -> dict[str, float]:
    """Return precision, recall, F1 and IoU of mining at a threshold.

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


def entropy(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the binary entropy in bits, rounded to four decimals: 0 where certain, 1 at 0.5."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.clip(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), 0, 1).round(4).astype(np.float32)


def library_versions() -> dict[str, str]:
    """Return the versions that a saved model needs to be loaded."""
    import sklearn

    return {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Write a model and its metadata (joblib, compressed)."""
    import joblib

    with written(path) as beside:
        joblib.dump(content, beside, compress=3)


def rounded(value: Any) -> Any:
    """Round the numbers in a JSON-able value to six decimals."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
