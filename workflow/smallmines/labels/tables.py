"""Schemas of the tables of the label stage (pandera); reading and writing with validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.product import CLASSES
from smallmines.core.readable import read_parquet
from smallmines.core.software import FOREST, TABLES, TAG, of_packages

if TYPE_CHECKING:
    import pandas as pd

Name = Literal["samples", "decisions", "probabilities", "released", "labels"]

RELEASED = "released"
"""Provenance of labels that the masks of the release give, and annotator of samples that are drawn from them."""

PROVENANCES = ("manual", "predicted", "corrected", "confirmed", "adjudicated", "transferred", "imported", "disputed", "cloud", RELEASED)
"""Provenances of a label. `cloud`: predicted mining that Sentinel-2 never saw clearly, set to 0. `disputed`: people disagree; open."""

VALIDATED = ("manual", "corrected", "confirmed", "adjudicated", "transferred", "disputed")
"""Provenances of labels that people of this run decided on."""

CLEAR = 0.5
"""Smallest share of a segment seen clearly by Sentinel-2 for the segment to become mining by prediction alone."""


def schema(name: Name) -> Any:
    """Return the schema of a table: its columns in order with types and ranges; no other columns, one row per segment.

    probability: share of the forest's votes, which the threshold is compared with. calibrated: probability of mining in this area.
    """
    from smallmines.core.optional import pandera
    from smallmines.core.schemas import text_column

    pa = pandera()

    text, open_or_class = text_column(), pa.Check.isin([-1, 0, 1])
    segment = pa.Column("uint32", pa.Check.gt(0), unique=True)
    origin = text_column(pa.Check.isin(PROVENANCES))
    share = pa.Column("float32", pa.Check.in_range(0, 1))
    columns = {
        "samples": {"label": pa.Column("int8", pa.Check.isin([0, 1])), "subclass": text, "tile_id": text, "who": text},
        "decisions": {"label": pa.Column("int8", open_or_class), "provenance": origin, "who": text, "when": text, "event": text},
        "probabilities": {"probability": share, "entropy": share, "calibrated": share},
        "released": {"key": pa.Column("uint64", unique=True), "label": pa.Column("int8", pa.Check.isin([0, 1]))},
        "labels": {
            "key": pa.Column("uint64", unique=True),
            "label": pa.Column("int8", open_or_class),
            "provenance": origin,
            "probability": share,
            "who": text,
            "when": text,
        },
    }
    return pa.DataFrameSchema({"segment": segment, **columns[name]}, strict=True, ordered=True)


def read(path: str | Path, name: Name) -> pd.DataFrame:
    """Read and validate a table.

    Raises:
        UserError: the file does not match the schema.
    """
    import pandas as pd
    import pandera.errors

    try:
        table = pd.DataFrame(schema(name).validate(read_parquet(path)))
    except (pandera.errors.SchemaError, OSError) as error:
        raise UserError(f"a table of {name} at {path}", str(error).splitlines()[0], "delete the file and run again") from error
    table.attrs.clear()
    return table


def write(path: str | Path, table: pd.DataFrame, name: Name) -> None:
    """Validate a table and write it as Parquet, at once or not at all."""
    validated = schema(name).validate(table)
    with written(path) as beside:
        validated.attrs[TAG] = of_packages(FOREST if name == "probabilities" else TABLES)
        validated.to_parquet(beside, index=False)


def counts(samples: pd.DataFrame) -> str:
    """Describe samples in words: number and tiles of each class."""
    classes = [(name, samples[samples["label"] == value]) for value, name in reversed(list(enumerate(CLASSES)))]
    return ", ".join(f"{len(own)} {name} segments in {own['tile_id'].nunique()} tiles" for name, own in classes)


def lacking(samples: pd.DataFrame, folds: int) -> list[str]:
    """List the classes whose samples lie in fewer tiles than there are folds."""
    return [name for value, name in enumerate(CLASSES) if samples.loc[samples["label"] == value, "tile_id"].nunique() < folds]


def is_clear(features: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which segments count in shares of the area: those seen clearly (`CLEAR`), or all where none is."""
    clear: NDArray[np.bool_] = features["clear_share"].to_numpy() >= CLEAR
    return clear if clear.any() else ~clear
