"""What lies in a dataset's folder: ours, the release, or a look-alike. Patches are known by their names alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.patch_files import NAME

SPLIT_FILES = re.compile(r"split", re.IGNORECASE)
TEXT = (".md", ".txt", ".json", ".csv", ".jsonl", ".yaml", ".yml", ".geojson", ".html", ".xml", "")
"""Suffixes of files that are read as text."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong, or could be.

    Attributes:
        severity: error (not to be published), warning (look at it), note.
        family, check: which check found it.
        expected, found: in words, with numbers.
        remedy: what to do.
        tiles: the patches or files it is about, e.g. "0001 2016"; empty: the whole dataset.
    """

    severity: str
    family: str
    check: str
    expected: str
    found: str
    remedy: str
    tiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """A dataset's folder.

    Attributes:
        pairs: one row per tile and year: tile, year (int), image, mask (paths from the folder, or None where there is none).
        doubles: files whose tile and year another file has, too.
        strange: TIFF files whose name is not that of a patch.
        index: tile_id (str), year (int) and the other columns of index.parquet, or None.
        splits: tile_id, year, split, or None.
        labels, facts: labels.json and facts.json, or None.
        unreadable: tables and documents that could not be read: name and why.
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


def read_folder(root: str | Path) -> Folder:
    """Look at a folder.

    Raises:
        UserError: there is no such folder, or no patch in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"a folder at {root}", "none", "name the dataset's folder")
    found: dict[tuple[str, int], dict[str, Any]] = {}
    doubles: list[str] = []
    strange: list[str] = []
    for path in sorted(root.rglob("*.tif*")):
        name = path.relative_to(root).as_posix()
        known = NAME.fullmatch(path.name)
        if any(part.startswith(".") for part in Path(name).parts) or path.name.endswith(".xml"):
            continue
        if known is None:
            strange.append(name)
            continue
        row = found.setdefault((known[2], int(known[3])), {"image": None, "mask": None})
        kind = "image" if known[1] == "IMG" else "mask"
        if row[kind] is None:
            row[kind] = name
        else:
            doubles.append(name)
    if not found:
        raise UserError(
            f"patches named IMG_<country>_<tile>_<year>.tif below {root}", "none", "name the folder that holds the years' folders"
        )
    pairs = pd.DataFrame([{"tile": tile, "year": year, **row} for (tile, year), row in found.items()])
    pairs = pairs.sort_values(["year", "tile"], ignore_index=True)
    unreadable: dict[str, str] = {}
    index = _read(root / "index.parquet", _index, unreadable)
    labels, facts = (_read(root / name, read_json, unreadable) for name in ("labels.json", "facts.json"))
    return Folder(root, pairs, tuple(doubles), tuple(strange), index, _splits(root, unreadable), labels, facts, unreadable)


def _read(path: Path, reader: Any, unreadable: dict[str, str]) -> Any:
    if not path.is_file():
        return None
    try:
        return reader(path)
    except (OSError, ValueError, KeyError, UserError) as error:
        unreadable[path.name] = str(error).splitlines()[0]
        return None


def _index(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table.assign(tile_id=table["tile_id"].astype(str), year=table["year"].astype(int))


def _splits(root: Path, unreadable: dict[str, str]) -> pd.DataFrame | None:
    """Ours (tile_id, year, split) or the release's (patch_name, split; the names lack the country)."""
    parts = []
    for path in sorted(root.glob("*.csv")):
        if not SPLIT_FILES.search(path.name):
            continue
        table = _read(path, lambda one: pd.read_csv(one, dtype=str), unreadable)
        if table is None or "split" not in table:
            continue
        if {"tile_id", "year"} <= set(table):
            parts.append(table[["tile_id", "year", "split"]])
        elif "patch_name" in table:
            named = table["patch_name"].str.extract(NAME)[[1, 2]].set_axis(["tile_id", "year"], axis=1)
            parts.append(named.assign(split=table["split"]))
    if not parts:
        return None
    known: pd.DataFrame = pd.concat(parts, ignore_index=True).dropna(subset=["tile_id", "year"])
    known["year"] = known["year"].astype(int)
    return known


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every file of the folder that is text, hidden ones left out."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and path.suffix.lower() in TEXT and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), path.read_text(encoding="utf-8", errors="replace")
