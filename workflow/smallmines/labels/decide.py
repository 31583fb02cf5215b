"""Decide the label of each segment: people's decisions win over the prediction of the assistant."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Inputs:
    """Products of a block and year that its labels are decided from.

    Attributes:
        features, samples, decisions, probabilities: tables.
        metrics: `metrics.json` of the assistant, which holds its threshold.
        released: table `released`; None where no labels come from a release.
    """

    features: str | Path
    samples: str | Path
    decisions: str | Path
    probabilities: str | Path
    metrics: str | Path
    released: str | Path | None = None


def decide(inputs: Inputs, labels_out: str | Path) -> None:
    """Write the table `labels` of a block and year."""
    table = label_segments(
        read_features(inputs.features),
        tables.read(inputs.samples, "samples"),
        tables.read(inputs.decisions, "decisions"),
        tables.read(inputs.probabilities, "probabilities"),
        read_product(inputs.metrics, ForestThreshold)["threshold"],
        None if inputs.released is None else tables.read(inputs.released, "released"),
    )
    tables.write(labels_out, table, "labels")
    for provenance, own in table.groupby("provenance")["label"]:
        logger.info("%s: %d segments mining, %d not, %d open", provenance, *((own == value).sum() for value in (1, 0, -1)))


def label_segments(
    features: pd.DataFrame,
    samples: pd.DataFrame,
    decisions: pd.DataFrame,
    probabilities: pd.DataFrame,
    threshold: float,
    released: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Label each segment by the first of these that there is.

    A decision; a sample; an imported label; a released label; the prediction `probability >= threshold`. Samples whose annotator is
    `imported` or `released` count as imported or released labels.

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
    masks = samples["who"].isin([tables.RELEASED, "imported"])
    samples = samples.assign(provenance=samples["who"].where(masks, "manual"), when="")
    decided = decisions["provenance"] != "imported"
    weakest = [] if released is None else [_released_rows(released, table)]
    of = {name: samples[samples["provenance"] == name] for name in (tables.RELEASED, "imported", "manual")}
    ordered = (*weakest, of[tables.RELEASED], of["imported"], decisions[~decided], of["manual"], decisions[decided])
    for rows in ordered:  # from the weakest to the strongest
        for column in ("label", "provenance", "who", "when"):
            table.loc[rows["segment"], column] = rows[column].to_numpy()
    return table.reset_index().astype({"segment": "uint32", "label": "int8"})


def _released_rows(released: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return released labels with the columns of decisions.

    Raises:
        UserError: they are of another segmentation.
    """
    if not released["segment"].isin(table.index).all() or (table.loc[released["segment"], "key"].to_numpy() != released["key"]).any():
        raise UserError("released labels of the present segmentation", "labels of another", "run again with --forcerun released_labels")
    return released.assign(provenance=tables.RELEASED, who=tables.RELEASED, when="")


def predicted(
    probability: NDArray[np.floating], clear_share: NDArray[np.floating], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the assistant predicts mining, and where it would if Sentinel-2 had seen the segment clearly."""
    mining = probability.astype(np.float64).round(4) >= threshold
    cloudy = mining & (clear_share < tables.CLEAR)
    return mining & ~cloudy, cloudy
