"""Read what lies in a dataset's folder, of this workflow, of the release or similar. Patches are recognised by their names alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.finding import Family, Finding
from smallmines.core.product import IMAGE, PATCH_NAME, parse_patch_name
from smallmines.dataset.split_files import YEAR, listed, read_rows
from smallmines.doctor.locate import locate

SPLIT_FILES = re.compile(r"split", re.IGNORECASE)
TEXT = (".md", ".txt", ".json", ".csv", ".jsonl", ".yaml", ".yml", ".geojson", ".html", ".xml", "")
"""Suffixes of files that are read as text."""


@dataclass(frozen=True)
class Folder:
    """Content of a dataset's folder.

    Attributes:
        pairs: one row per tile and year: tile, year (int), image, mask (paths from the folder, or None where there is none).
        doubles: files with the tile and year of another file.
        strange: TIFF files whose name is not that of a patch.
        index: tile_id (str), year (int) and the other columns of index.parquet, or None.
        splits: tile_id, year, split, or None.
        labels, facts: labels.json and facts.json, or None.
        unreadable: tables and documents that cannot be read: name and reason.
        part: what is examined, where that is not the folder that was named, or a part of a dataset; see `locate`.
    """

    root: Path
    pairs: pd.DataFrame
    doubles: tuple[str, ...]
    strange: tuple[str, ...]
    index: pd.DataFrame | None
    splits: pd.DataFrame | None
    labels: dict[str, Any] | None
    facts: dict[str, Any] | None
    unreadable: dict[str, str] = field(default_factory=dict)
    part: str = ""


def tile_names(pairs: Iterable[tuple[Any, Any]]) -> tuple[str, ...]:
    """Return tiles and years as findings name them, e.g. "0001 2016"."""
    return tuple(f"{tile} {year}" for tile, year in pairs)


def tiles_of(rows: pd.DataFrame, year: str = "year") -> tuple[str, ...]:
    """Return the tile and year of each row as findings name them; `year` is the column of the year."""
    return tile_names(zip(rows["tile"], rows[year], strict=True))


def read_folder(root: str | Path) -> Folder:
    """Find the patches of a folder and read its tables.

    Raises:
        UserError: there is no such folder, no patch in it, or several datasets; see `locate`.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"a folder at {root}", "none", "name the dataset's folder")
    try:
        root, part = locate(root)
    except OSError as error:
        raise UserError(f"a folder that can be read at {root}", str(error), "ask for the right to read it") from None
    files: dict[tuple[str, int], dict[str, Any]] = {}
    doubles: list[str] = []
    strange: list[str] = []
    unreadable: dict[str, str] = {}
    for path in sorted(root.rglob("*.tif*")):
        name = path.relative_to(root)
        if _is_hidden(name) or path.name.endswith(".xml"):
            continue
        if path.exists() and not path.is_file():  # a pipe would be waited for
            unreadable[name.as_posix()] = "something that is no file"
            continue
        parts = parse_patch_name(path.name)
        if parts is None:
            strange.append(name.as_posix())
            continue
        row = files.setdefault((parts.tile_id, int(parts.year)), {"image": None, "mask": None})
        kind = "image" if parts.prefix == IMAGE.prefix else "mask"
        if row[kind] is None:
            row[kind] = name.as_posix()
        else:
            doubles.append(name.as_posix())
    if not files:
        raise UserError(
            f"patches named IMG_<country>_<tile>_<year>.tif below {root}", "none", "name the folder that holds the years' folders"
        )
    pairs = pd.DataFrame([{"tile": tile, "year": year, **row} for (tile, year), row in files.items()])
    pairs = pairs.sort_values(["year", "tile"], ignore_index=True)
    index = _read(root / "index.parquet", _read_index, unreadable)
    labels, facts = (_read(root / name, _read_document, unreadable) for name in ("labels.json", "facts.json"))
    return Folder(root, pairs, tuple(doubles), tuple(strange), index, _read_splits(root, unreadable), labels, facts, unreadable, part)


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _read(path: Path, reader: Any, unreadable: dict[str, str]) -> Any:
    """Return `reader(path)`, or None where there is no such file or it cannot be read; the reason goes into `unreadable`."""
    if not path.is_file():
        return None
    try:
        return reader(path)
    except (OSError, ValueError, TypeError, LookupError, UserError) as error:
        unreadable[path.name] = (
            f"{error.found} (expected {error.expected})" if isinstance(error, UserError) else " ".join(str(error).split())[:300]
        )
        return None


def _read_document(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        ValueError: it holds something else.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f"a JSON {type(document).__name__} in place of an object")
    return document


def _read_index(path: Path) -> pd.DataFrame:
    """Read index.parquet, of this workflow or similar.

    Raises:
        ValueError: numbers or lists are of another type.
    """
    import pyarrow.parquet as pq

    table: pd.DataFrame = pq.read_table(path, partitioning=None).to_pandas()
    numbers = {str(name) for name in table if str(name).startswith("share_") or name in ("mining_percent", "validated_share")}
    if "scenes" in table and not table["scenes"].map(lambda scenes: scenes is None or isinstance(scenes, list | np.ndarray)).all():
        raise ValueError("the column scenes holds no lists")
    table = table.astype(dict.fromkeys(sorted(numbers), float))
    return table.assign(tile_id=table["tile_id"].astype(str), year=table["year"].astype(int))


def _read_splits(root: Path, unreadable: dict[str, str]) -> pd.DataFrame | None:
    """Read tables of splits of this workflow (tile_id, year, split) or of the release (patch_name, split), with what is wrong in them.

    Other tables whose names have "split" in them are left out. A tile and year named twice stays, for `leakage.check`.
    """
    parts = []
    for path in sorted(root.glob("*.csv")):
        if not SPLIT_FILES.search(path.name):
            continue
        rows = _read(path, read_rows, unreadable)
        if rows is None or "split" not in rows:
            continue
        if "patch_name" in rows:
            parts.append(rows["patch_name"].str.extract(PATCH_NAME)[["tile_id", "year"]].assign(split=rows["split"]))
        elif {"tile_id", "year"} <= set(rows):
            parts.append(rows[["tile_id", "year", "split"]])
    if not parts:
        return None
    splits: pd.DataFrame = pd.concat(parts, ignore_index=True)
    odd = splits[~splits["year"].fillna("").str.fullmatch(YEAR) | splits["split"].eq("")]
    if len(odd):
        examples = [" ".join(map(str, row)) for row in odd.fillna("?").itertuples(index=False)]
        unreadable["the table of splits"] = f"{len(odd)} rows are no tile, year and split: {listed(examples)}"
    splits = splits.drop(index=odd.index)
    return splits.astype({"year": int})


def of_known_form(family: Family, name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return the findings of a check on a document, or one finding where the document has not the form that this workflow writes."""
    try:
        return list(check())
    except (ValueError, TypeError, LookupError, AttributeError, UserError) as error:
        found = error.found if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return [family.error("form of a document", f"{name} in the form that this workflow writes", found, "write it again", (name,))]


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of every text file of the folder, without hidden files."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and path.suffix.lower() in TEXT and not _is_hidden(name):
            yield name.as_posix(), path.read_text(encoding="utf-8", errors="replace")
