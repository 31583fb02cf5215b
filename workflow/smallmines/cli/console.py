"""What all verbs share: the option --config, errors without a traceback, and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from smallmines.config.parse import parse_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError

ConfigPath = Annotated[Path, typer.Option("--config", help="The run's configuration file.", exists=True, dir_okay=False)]


def read_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UserError: it is not YAML, or not a configuration.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"YAML in {path}", str(error), "mend the file") from None
    if not isinstance(values, dict):
        raise UserError(f"keys and values in {path}", type(values).__name__, "write it as config/README.md describes")
    return parse_config(values)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with the three lines of a `UserError` and exit status 1, without a traceback."""
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
