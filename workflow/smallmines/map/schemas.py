"""What the schemas of the map's tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallmines.core.optional import pandera
from smallmines.core.schemas import text_column


def table_schema(columns: Mapping[str, Any], meanings: Mapping[str, str]) -> Any:
    """Return the schema of a table (pandera) that has these columns, in this order, and no others.

    Args:
        columns: of pandera, by name.
        meanings: what each column holds, by name.
    """
    for name, column in columns.items():
        column.description = meanings[name]
    return pandera().DataFrameSchema(dict(columns), strict=True, ordered=True)


def day_column() -> Any:
    """Return a column of days (pandera): texts YYYY-MM-DD, or empty."""
    return text_column(pandera().Check.str_matches(r"^(\d{4}-\d{2}-\d{2})?$"))


def tiles_column() -> Any:
    """Return a column of sorted lists of tile ids (pandera), none empty."""
    pa = pandera()
    return pa.Column(object, pa.Check(_is_sorted_list, element_wise=True))


def hectares_column(nullable: bool = False) -> Any:
    """Return a column of areas in ha (pandera)."""
    pa = pandera()
    return pa.Column("float64", pa.Check.ge(0), nullable=nullable)


def _is_sorted_list(value: Any) -> bool:
    return len(value) > 0 and list(value) == sorted(set(value))
