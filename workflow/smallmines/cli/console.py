"""Shared by all verbs: the option `--config`, errors without a traceback, tables."""

from __future__ import annotations

import errno
import math
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from smallmines.config.parse import read_config as read_config
from smallmines.core.errors import UserError
from smallmines.core.failures import explained

WRONG_PATHS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of the system where a path that was typed leads nowhere, or to a folder in place of a file, or the other way round."""

ConfigPath = Annotated[Path, typer.Option("--config", help="The run's configuration file.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print the three lines of a `UserError`, of a failing disk (`explained`) or of a wrong path, without a traceback; exit status 1."""
    try:
        yield
    except Exception as error:
        if (user_error := explained(error) or _of_path(error)) is None:
            raise
        sys.exit(str(user_error))


def _of_path(error: Exception) -> UserError | None:
    """Return the error to report where a path can be neither read nor written, else None."""
    if not isinstance(error, OSError) or error.errno not in WRONG_PATHS or error.filename is None:
        return None
    place = error.filename2 or error.filename  # of a rename, the target
    return UserError("files and folders that can be read and written", f"{place}: {error.strerror}", "name another file or folder")


def show(title: str, rows: list[dict[str, Any]], decimals: int = 3) -> None:
    """Print rows as a table that fits the terminal.

    Headers wrap at spaces where they must. A table that is too wide even so is printed as blocks of `name: value` lines, with as many
    rows side by side as fit. No value is shortened. The width is `COLUMNS`, else that of the terminal, unlimited where there is none.

    Args:
        rows: values by column; None, NaN and what a row lacks are shown as a dash.
        decimals: of floats.
    """
    width = shutil.get_terminal_size((10_000, 1)).columns
    typer.secho(textwrap.fill(title, min(width, 140)), bold=True)
    if not rows:
        print("none\n")
        return
    keys = list(dict.fromkeys(key for row in rows for key in row))
    names = [key.replace("_", " ") for key in keys]
    cells = [[_text(row.get(key), decimals) for key in keys] for row in rows]
    numeric = [any(isinstance(row.get(key), int | float) for row in rows) for key in keys]
    longest = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = _blocks(names, cells, width)
    whole, wrapped = [[name] for name in names], [name.split() for name in names]
    for headers, gap in ((whole, 2), (wrapped, 2), (wrapped, 1)):
        widths = [max([size, *map(len, header)]) for size, header in zip(longest, headers, strict=True)]
        if sum(widths) + gap * (len(widths) - 1) <= width:
            lines = _table(names, cells, widths, numeric, gap)
            break
    print("\n".join(line.rstrip() for line in lines), end="\n\n")


def _table(names: list[str], cells: list[list[str]], widths: list[int], numeric: list[bool], gap: int) -> list[str]:
    """Format a line per row under wrapped headers, columns `gap` spaces apart; numbers are flush right."""
    headers = [textwrap.wrap(name, size) if name else [""] for name, size in zip(names, widths, strict=True)]
    height = max(map(len, headers))
    padded = [[""] * (height - len(header)) + header for header in headers]
    lines = [*map(list, zip(*padded, strict=True)), ["─" * size for size in widths], *cells]
    return [
        (gap * " ").join(f"{cell:>{size}}" if right else f"{cell:<{size}}" for cell, size, right in zip(line, widths, numeric, strict=True))
        for line in lines
    ]


def _blocks(names: list[str], cells: list[list[str]], width: int) -> list[str]:
    """Format rows as blocks of `name: value` lines, as many rows side by side as fit."""
    indent = max(map(len, names)) + 1
    lines, start = [], 0
    while start < len(cells):
        sizes = [max(map(len, cells[start]))]
        for row in cells[start + 1 :]:
            size = max(map(len, row))
            if indent + sum(2 + other for other in (*sizes, size)) > width:
                break
            sizes.append(size)
        lines.append("")
        for name, *values in zip(names, *cells[start : start + len(sizes)], strict=True):
            lines.append(f"{name + ':':<{indent}}  " + "  ".join(f"{value:<{size}}" for value, size in zip(values, sizes, strict=True)))
        start += len(sizes)
    return lines


def _text(value: Any, decimals: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
