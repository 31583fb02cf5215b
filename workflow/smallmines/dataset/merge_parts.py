"""Read a finished dataset that is to be merged with others: its tables and documents, after a check of its seal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.core.json_products import Facts, LabelQuality, read_product
from smallmines.core.product import KINDS
from smallmines.dataset.index import read_index
from smallmines.dataset.seal import SUMS, read_sums
from smallmines.dataset.splits import read_splits

if TYPE_CHECKING:
    import geopandas as gpd

FILES = (
    "index.parquet",
    "splits.csv",
    "labels.json",
    "accuracy_points.csv",
    "facts.json",
    "LICENSE",
    "README.md",
    "DATASHEET.md",
    "croissant.json",
    "stac/collection.json",
    SUMS,
)
"""Files of a finished dataset beside its patches, their lists and the items of its catalogue."""

RESTORE = "restore the folder, or make it again: snakemake seal, then verify"
SOURCES_ASK = re.compile(r"^The sources it is made from ask for .*:\n\n(?P<lines>(?:.+\n)*)", re.MULTILINE)
"""Pattern of the attributions in LICENSE, one a line."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many of it are done, and of how many."""


@dataclass(frozen=True)
class Part:
    """A finished dataset of one run: a region of the merged one.

    Attributes:
        name: of the region: that of the run, made unique among the parts.
        index: as `index.read_index` returns it.
        splits: tile_id, year, split, fold.
        points: accuracy_points.csv.
        labels, facts: labels.json and facts.json.
        licence: SPDX identifier.
        authors, attributions: as its documents state them.
        sums: checksum by path of all its files.
        seal: SHA-256 of its SHA256SUMS.
    """

    name: str
    folder: Path
    index: gpd.GeoDataFrame
    splits: pd.DataFrame
    points: pd.DataFrame
    labels: dict[str, Any]
    facts: dict[str, Any]
    licence: str
    authors: tuple[str, ...]
    attributions: tuple[str, ...]
    sums: Mapping[str, str]
    seal: str

    @property
    def country(self) -> str:
        """ISO code of the country, in all file names."""
        return str(self.facts["country"])

    @property
    def windows(self) -> dict[str, tuple[str, str]]:
        """First and last day of acquisitions by year."""
        return {year: (values["start"], values["end"]) for year, values in self.facts["years"].items()}

    @property
    def crs(self) -> str:
        """CRS of its grid, as its documents name it."""
        return str(self.facts["crs"])

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        return int(self.index.attrs["tile_size"])

    @property
    def patches(self) -> list[str]:
        """Paths of images and masks from the dataset's folder."""
        return [*self.index["image"], *self.index["mask"]]


def read_parts(folders: Sequence[Path], threads: int = 1, progress: Progress = lambda what, done, count: None) -> list[Part]:
    """Read the datasets in the order given and check every file against their seals.

    Raises:
        UserError: fewer than two; a folder is no finished dataset, is given twice, is itself merged, or its seal is broken.
    """
    if len(folders) < 2:
        raise UserError("two finished datasets or more", f"{len(folders)}", "name the folders results/<run>/dataset of two or more runs")
    places = [folder.resolve() for folder in folders]
    if twice := sorted({str(place) for place in places if places.count(place) > 1}):
        raise UserError("each dataset once", f"{twice[0]} twice", "name every folder once")
    for folder in folders:
        require_finished(folder)
    names = region_names([str(read_product(folder / "facts.json", Facts)["run"]) for folder in folders])
    seals = {folder: read_sums(folder / SUMS) for folder in folders}
    files = [(folder, name, checksum) for folder, sums in seals.items() for name, checksum in sums.items()]
    with ThreadPoolExecutor(threads) as pool:
        broken = []
        for number, altered in enumerate(pool.map(_altered, files), 1):
            broken += [altered] if altered else []
            progress("checking seals", number, len(files))
    if broken:
        found = f"{len(broken)} with other content, e.g. {broken[0]}"
        raise UserError(f"files as {SUMS} lists them", found, RESTORE)
    return [read_part(folder, name, sums) for (folder, sums), name in zip(seals.items(), names, strict=True)]


def _altered(entry: tuple[Path, str, str]) -> str:
    """Return the path of a file that is not as listed, else an empty text."""
    folder, name, checksum = entry
    return "" if sha256(folder / name) == checksum else str(folder / name)


def require_finished(folder: Path) -> None:
    """Check that a folder is a dataset that this workflow has finished, of one run.

    Raises:
        UserError: it lacks documents, or is a merged dataset.
    """
    expected = f"a finished dataset of this workflow in {folder}"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        found = f"no {missing[0]}" + (f" and {len(missing) - 1} other files missing" if len(missing) > 1 else "")
        raise UserError(expected, found, "name results/<run>/dataset of a finished run; a released folder without these files is no input")
    if "regions" in read_json(folder / "facts.json"):
        raise UserError(f"{expected}, made by one run", "a merged dataset", "name the datasets that it was merged from, and the new ones")


def region_names(runs: Sequence[str]) -> list[str]:
    """Return a name for each run, in order: its own, with a number where an earlier one has it."""
    names: list[str] = []
    for run in runs:
        candidates: Iterator[str] = (run if number == 1 else f"{run}-{number}" for number in range(1, len(runs) + 1))
        names.append(next(name for name in candidates if name not in names))
    return names


def read_part(folder: Path, name: str, sums: Mapping[str, str]) -> Part:
    """Read a dataset.

    Args:
        name: of the region.
        sums: its SHA256SUMS.

    Raises:
        UserError: a table or document has not the form that this workflow writes, or they name different patches.
    """
    index = read_index(folder / "index.parquet")
    listed = {path for path in sums if path.count("/") == 2 and path.split("/")[1] in KINDS}
    if (indexed := {*index["image"], *index["mask"]}) != listed:
        odd = sorted(indexed ^ listed)
        raise UserError(f"the same patches in index.parquet and {SUMS} of {folder}", f"{len(odd)} in one only, e.g. {odd[0]}", RESTORE)
    collection = read_json(folder / "stac/collection.json")
    asked = SOURCES_ASK.search((folder / "LICENSE").read_text(encoding="utf-8"))
    return Part(
        name,
        folder,
        index,
        read_splits(folder / "splits.csv", index),
        pd.read_csv(folder / "accuracy_points.csv", dtype={"year": str, "block": str, "stratum": str, "who": str}),
        read_product(folder / "labels.json", LabelQuality),
        read_product(folder / "facts.json", Facts),
        str(collection["license"]),
        tuple(str(provider["name"]) for provider in collection["providers"]),
        tuple(asked["lines"].splitlines()) if asked else (),
        sums,
        sha256(folder / SUMS),
    )
