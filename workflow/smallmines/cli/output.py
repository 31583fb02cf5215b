"""Output of a verb: tables for the terminal, or one JSON document on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from smallmines.cli.console import show

Json = Annotated[bool, typer.Option("--json", help="Print the rows as JSON on standard output in place of tables.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too; -: print them in place of the table.")]

STDOUT = Path("-")
"""Value of `JsonFile` for standard output."""


class Output:
    """Tables and messages of a verb.

    Attributes:
        as_json: collect the rows for one JSON document; messages go to standard error.
        tables: rows by name of their table.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def table(self, title: str, rows: list[dict[str, Any]], name: str = "rows", decimals: int = 3) -> None:
        """Show a table, or keep its rows for the document."""
        if self.as_json:
            self.tables[name] = rows
        else:
            show(title, rows, decimals)

    def message(self, text: str) -> None:
        """Print a message."""
        print(text, file=sys.stderr if self.as_json else sys.stdout)


@contextmanager
def output(as_json: bool) -> Iterator[Output]:
    """Yield the output of a verb; with `as_json`, print its document at the end: a list of rows, or lists by the name of their table."""
    collected = Output(as_json)
    yield collected
    if as_json:
        print_json(collected.tables["rows"] if list(collected.tables) == ["rows"] else collected.tables)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, NaN as null."""
    print(json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """Convert a value to what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a number of NumPy
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
