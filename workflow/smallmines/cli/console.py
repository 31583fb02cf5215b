"""Shared by all verbs: the option `--config`, errors without a traceback, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from smallmines.config.parse import read_config as read_config
from smallmines.core.errors import UserError

ConfigPath = Annotated[Path, typer.Option("--config", help="The run's configuration file.", exists=True, dir_okay=False)]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print the three lines of a `UserError` without a traceback and exit with status 1."""
    try:
        yield
    except UserError as error:
        sys.exit(str(error))


def show(title: str, rows: list[dict[str, Any]], decimals: int = 3) -> None:
    """Print rows as a table."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE, padding=0)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if isinstance(rows[0][name], str) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{value:.{decimals}f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
