"""Contracts of the tables of the label stage (pandera)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.product import CLASSES
from smallmines.core.software import FOREST, TABLES, TAG, of_packages

if TYPE_CHECKING:
    import pandas as pd

Name = Literal["samples", "decisions", "probabilities", "labels"]

PROVENANCES = ("manual", "predicted", "corrected", "confirmed", "adjudicated", "transferred", "imported", "disputed", "cloud")
"""Where a label may come from. `cloud`: predicted mining that Sentinel-2 never saw clearly, set to 0.
`disputed`: people disagree, left open."""

VALIDATED = ("manual", "corrected", "confirmed", "adjudicated", "transferred", "disputed")
"""Labels of segments that people have looked at."""


CLEAR = 0.5
"""A segment of which a smaller share was seen clearly cannot become mining by prediction alone."""


def schema(name: Name) -> Any:
    """The contract of a table: its columns in order with types and ranges; others are refused, each segment stands once."""
    from smallmines.core.optional import pandera

    pa = pandera()

    text, open_or_class = pa.Column(str), pa.Check.isin([-1, 0, 1])
    segment = pa.Column("uint32", pa.Check.gt(0), unique=True)
    origin = pa.Column(str, pa.Check.isin(PROVENANCES))
    share = pa.Column("float32", pa.Check.in_range(0, 1))
    columns = {
        "samples": {"label": pa.Column("int8", pa.Check.isin([0, 1])), "subclass": text, "tile_id": text, "who": text},
        "decisions": {"label": pa.Column("int8", open_or_class), "provenance": origin, "who": text, "when": text, "event": text},
        "probabilities": {"probability": share, "entropy": share},
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
    """Read a table and hold it to its contract.

    Raises:
        UserError: the file breaks it.
    """
    import pandas as pd
    import pandera.errors

    try:
        table = pd.DataFrame(schema(name).validate(pd.read_parquet(path)))
    except (pandera.errors.SchemaError, OSError) as error:
        raise UserError(f"a table of {name} at {path}", str(error).splitlines()[0], "delete the file and run again") from error
    table.attrs.clear()
    return table


def write(path: str | Path, table: pd.DataFrame, name: Name) -> None:
    """Hold a table to its contract and write it as Parquet, at once or not at all."""
    checked = schema(name).validate(table)
    with written(path) as beside:
        checked.attrs[TAG] = of_packages(FOREST if name == "probabilities" else TABLES)
        checked.to_parquet(beside, index=False)


def counts(people: pd.DataFrame) -> str:
    """The samples in words: number and tiles of each class."""
    classes = [(name, people[people["label"] == value]) for value, name in reversed(list(enumerate(CLASSES)))]
    return ", ".join(f"{len(own)} {name} segments in {own['tile_id'].nunique()} tiles" for name, own in classes)


def lacking(people: pd.DataFrame, folds: int) -> list[str]:
    """Classes whose samples lie in fewer tiles than there are folds."""
    return [name for value, name in enumerate(CLASSES) if people.loc[people["label"] == value, "tile_id"].nunique() < folds]
