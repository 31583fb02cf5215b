"""Files that cannot be read: cut short, emptied, or overwritten with something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.core.errors import UserError
from smallmines.core.files import remedy

if TYPE_CHECKING:
    import pandas as pd


def unreadable(paths: Iterable[str | Path]) -> Iterator[tuple[Path, str]]:
    """Yield the files that cannot be read to their end, with the reason. Of a folder, all files are read.

    Rasters are decoded whole, tables of Parquet read, JSON parsed, and lines of text must end. Other kinds count as readable.
    """
    for path in map(Path, paths):
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if reason := problem(file):
                yield file, reason


def require_readable(paths: Iterable[str | Path]) -> None:
    """Read files whose checksum is about to be published: it would vouch for what is left of a file.

    Raises:
        UserError: one cannot be read to its end, see `unreadable`.
    """
    for path, reason in unreadable(paths):
        raise UserError(f"a readable file {path}", reason, remedy(path))


def problem(path: Path) -> str:
    """Return why a file cannot be read to its end, empty where it can."""
    check = CHECKS.get(path.suffix)
    return "" if check is None else _reason(check, path)


def raster_problem(path: Path) -> str:
    """Return why a raster of any format cannot be read to its end, empty where it can."""
    return _reason(_raster, path)


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table.

    Not with `pandas.read_parquet`, which opens the file in Python: pyarrow's threads give back its buffers when Python has ended,
    and some calls end with SIGABRT.

    Raises:
        UserError: the file is missing, cut short, or no such table.
    """
    import pyarrow.parquet as pq

    try:
        table: pd.DataFrame = pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None).to_pandas()
        return table
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are of these
        raise UserError(f"a readable Parquet table {path}", innermost(error), remedy(path)) from error


def _reason(check: Callable[[Path], None], path: Path) -> str:
    try:
        check(path)
    except Exception as error:
        return innermost(error)
    return ""


def innermost(error: BaseException) -> str:
    """Return one line with the message of an exception's first cause, which names the fault; rasterio's own says "see previous"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


def _raster(path: Path) -> None:
    import rasterio

    with rasterio.open(path) as source:
        for _, window in source.block_windows(1):
            source.read(window=window)


def _table(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(path)


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _text(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    if not content.endswith("\n"):
        raise ValueError(f"its last line does not end ({len(content)} characters)")


CHECKS: Mapping[str, Callable[[Path], None]] = {
    ".tif": _raster,
    ".jp2": _raster,
    ".parquet": _table,
    ".json": _json,
    ".geojson": _json,
    ".csv": _text,
    ".md": _text,
    ".sha256": _text,
    "": _text,
}
"""Check of a kind of file by suffix. Every text that a rule writes ends with the end of a line."""
