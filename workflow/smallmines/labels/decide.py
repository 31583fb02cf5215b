"""Decide the label of each segment: people's decisions win over the prediction of the assistant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.json_products import ForestThreshold, read_product
from smallmines.core.log import logger
from smallmines.labels import tables
from smallmines.segment.features import read_features

if TYPE_CHECKING:
    import pandas as pd


def decide(
    features: str | Path, samples: str | Path, decisions: str | Path, probabilities: str | Path, metrics: str | Path, labels_out: str | Path
) -> None:
    """Write the table `labels` of a block and year.

    Args:
        features, samples, decisions, probabilities: tables of the block and year.
        metrics: `metrics.json` of the assistant, which holds its threshold.
    """
    table = label_segments(
        read_features(features),
        tables.read(samples, "samples"),
        tables.read(decisions, "decisions"),
        tables.read(probabilities, "probabilities"),
        read_product(metrics, ForestThreshold)["threshold"],
    )
    tables.write(labels_out, table, "labels")
    for provenance, own in table.groupby("provenance")["label"]:
        logger.info("%s: %d segments mining, %d not, %d open", provenance, *((own == value).sum() for value in (1, 0, -1)))


def label_segments(
    features: pd.DataFrame, samples: pd.DataFrame, decisions: pd.DataFrame, probabilities: pd.DataFrame, threshold: float
) -> pd.DataFrame:
    """Label each segment by a decision, else a sample, else an imported label, else the prediction `probability >= threshold`.

    Samples whose annotator is `imported` count as imported.

    A prediction of mining on a segment seen clearly by less than `tables.CLEAR` becomes 0 with provenance `cloud`.

    Raises:
        UserError: the tables are of different segmentations.
    """
    import pandas as pd

    ids = features["segment"]
    if not (ids.equals(probabilities["segment"]) and samples["segment"].isin(ids).all() and decisions["segment"].isin(ids).all()):
        raise UserError(
            "tables of one segmentation", "segments that differ", "delete the block's people/ and assistant/ folders and run again"
        )
    probability = probabilities["probability"].to_numpy()
    mining, cloudy = predicted(probability, features["clear_share"].to_numpy(), threshold)
    table = pd.DataFrame(
        {
            "segment": ids,
            "key": features["key"],
            "label": mining.astype(np.int8),
            "provenance": np.where(cloudy, "cloud", "predicted").astype(object),
            "probability": probability,
            "who": "",
            "when": "",
        }
    ).set_index("segment")
    samples = samples.assign(provenance=np.where(samples["who"] == "imported", "imported", "manual"), when="")
    decided = decisions["provenance"] != "imported"
    manual = samples["provenance"] == "manual"
    for rows in (samples[~manual], decisions[~decided], samples[manual], decisions[decided]):  # from the weakest to the strongest
        for column in ("label", "provenance", "who", "when"):
            table.loc[rows["segment"], column] = rows[column].to_numpy()
    return table.reset_index().astype({"segment": "uint32", "label": "int8"})


def predicted(
    probability: NDArray[np.floating], clear_share: NDArray[np.floating], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the assistant predicts mining, and where it would if Sentinel-2 had seen the segment clearly."""
    mining = probability.astype(np.float64).round(4) >= threshold
    cloudy = mining & (clear_share < tables.CLEAR)
    return mining & ~cloudy, cloudy
