"""Find the dataset that a folder holds, where it is named by a folder above it or within it."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.product import KINDS, parse_patch_name

TABLES = ("index.parquet", "facts.json", "labels.json", "croissant.json", "SHA256SUMS")
"""Files that make a folder a dataset's, beside a table of splits."""

SPLIT_FILES = re.compile(r"split.*\.csv$", re.IGNORECASE)
YEAR = re.compile(r"[12]\d{3}")
SHOWN = 8
"""Number of datasets that an error names."""


def locate(root: Path) -> tuple[Path, str]:
    """Return the dataset's folder and, where that is not `root` or only a part of a dataset, what it is, in words.

    A dataset has `<year>/IMAGE` or `<year>/MASK` with patches, or tables, in its folder. One such folder below `root` is taken, e.g.
    `dataset` below `results/<run>`. Several are one look-alike dataset where no tile and year is in two of them.

    Raises:
        UserError: several datasets, or the folder of the images or masks of a year.
    """
    if _is_dataset(root):
        return root, ""
    _refuse_a_kind(root)
    if YEAR.fullmatch(root.resolve().name) and _is_dataset(root.resolve().parent):
        return root, f"the year {root.resolve().name} of a dataset alone: its tables and documents lie in the folder above"
    datasets = [Path(folder) for folder in _datasets_below(root)]
    if len(datasets) == 1:
        return datasets[0], f"{datasets[0].relative_to(root).as_posix()}, the one dataset below {root}"
    names = Counter(name for folder in datasets for name in _patches_of(folder))
    if any(count > 1 for count in names.values()):
        listed = ", ".join(str(folder) for folder in datasets[:SHOWN]) + (" …" if len(datasets) > SHOWN else "")
        raise UserError(f"one dataset in {root}", f"{len(datasets)}: {listed}", "name one of them")
    return root, ""


def _is_dataset(folder: Path) -> bool:
    """Whether a folder has patches as `<year>/<kind>/<patch>`, or tables of a dataset."""
    names = os.listdir(folder)
    if any(name in TABLES or SPLIT_FILES.search(name) for name in names):
        return True
    return any(_has_patches(folder / name / kind) for name in sorted(names) if YEAR.fullmatch(name) for kind in KINDS)


def _has_patches(folder: Path) -> bool:
    return folder.is_dir() and any(parse_patch_name(name) is not None for name in os.listdir(folder))


def _datasets_below(root: Path) -> list[str]:
    """Return the folders below `root` with `<year>/<kind>` and patches in it, hidden ones left out."""
    datasets = []
    for parent, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        years = [name for name in folders if YEAR.fullmatch(name)]
        if parent != str(root) and any(_has_patches(Path(parent, year, kind)) for year in years for kind in KINDS):
            datasets.append(parent)
            folders.clear()
    return datasets


def _patches_of(folder: Path) -> set[tuple[str, str, str]]:
    """Return prefix, tile and year of the patches of a dataset."""
    names = [parse_patch_name(path.name) for path in folder.glob("*/*/*.tif*")]
    return {(parts.prefix, parts.tile_id, parts.year) for parts in names if parts is not None}


def _refuse_a_kind(root: Path) -> None:
    """Check that a folder is not that of the images or of the masks of a year.

    Raises:
        UserError: it is.
    """
    place = root.resolve()
    year = place.parent
    if place.name in KINDS and YEAR.fullmatch(year.name) and all((year / kind).is_dir() for kind in KINDS):
        found = f"the folder {place.name} of {year.name} alone"
        raise UserError(f"the folder of a dataset at {root}", found, f"name {os.path.relpath(year.parent)}")
