"""Merge finished datasets of several runs into one: each a region with a lattice of its own, with ids that are unique in all.

Patches whose id stays are hard links of the parts' files. The others are written anew with the same pixels, since the tag TILE_ID names
the tile. All tables, documents, the catalogue and the seal are made anew.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import link_or_copy, remove, sha256, write_json, written
from smallmines.core.log import logger
from smallmines.core.product import FORMATS, IMAGE, KINDS, PatchFormat, patch_profile
from smallmines.dataset import merge_tables as tables
from smallmines.dataset import stac
from smallmines.dataset.band_statistics import band_statistics
from smallmines.dataset.documents import DOCUMENTS, write_documents
from smallmines.dataset.merge_checks import border, require_mergeable
from smallmines.dataset.merge_facts import merged_facts, merged_windows, statements
from smallmines.dataset.merge_parts import Part, Progress, read_parts
from smallmines.dataset.seal import write_sums
from smallmines.settings.publish import Documents

if TYPE_CHECKING:
    import geopandas as gpd

SCRATCH = ".patches"
"""Folder in which patches are written before they get their place: writing looks through the folder for what killed jobs left."""

TABLES = ("index.parquet", "splits.csv", "labels.json", "accuracy_points.csv")


@dataclass(frozen=True)
class Statement:
    """What people state about the merged dataset.

    Attributes:
        name: id of the STAC collection, in the place of a run's name.
        about: as in the section `publish`; empty title and authors are taken from the parts.
        licence: SPDX identifier; None: that of all parts.
        location_r2: limit of R² from which place tells the class share (`doctor.location_r2`).
    """

    name: str
    about: Documents
    licence: str | None
    location_r2: float


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes:
        facts: of the merged dataset.
        files: numbers of patches that were linked, copied and rewritten.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, int]


def merge(
    folders: Sequence[Path],
    target: Path,
    statement: Statement,
    threads: int = 1,
    progress: Progress = lambda what, done, count: None,
) -> Merged:
    """Merge the datasets in the order given into `target`. The same datasets in the same order give the same bytes.

    Args:
        folders: finished datasets, `results/<run>/dataset`.
        target: the new folder; it appears when it is whole.

    Raises:
        UserError: something lies at `target`; a dataset is not finished or its seal is broken, see `merge_parts.read_parts`; they cannot be
            merged, see `merge_checks.require_mergeable`.
    """
    require_free(target, folders)
    parts = read_parts(folders, threads, progress)
    licence = require_mergeable(parts, statement.licence, progress)
    about = statements(parts, replace(statement.about, license=licence))
    with written(target) as beside:
        beside.mkdir()
        result = _write(parts, beside, replace(statement, about=about), threads, progress)
    logger.info("%d patches of %d regions in %s", result.facts["patches"], len(parts), target)
    return result


def require_free(target: Path, folders: Sequence[Path]) -> None:
    """Check that nothing lies at the target, and that it lies in none of the datasets.

    Raises:
        UserError: there is something.
    """
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        found = "a folder that is not empty" if target.is_dir() else "a file or link"
        raise UserError(f"nothing at {target}, or an empty folder", found, "name another folder with --out, or move this one away")
    if inside := [folder for folder in folders if target.resolve().is_relative_to(folder.resolve())]:
        raise UserError(f"{target} outside the datasets", f"it lies in {inside[0]}", "name another folder with --out")


def _write(parts: Sequence[Part], folder: Path, statement: Statement, threads: int, progress: Progress) -> Merged:
    """Write all files of the merged dataset."""
    ids = tables.new_ids(parts)
    columns = tables.index_columns(parts)
    regions = [tables.merged_rows(part, own, columns) for part, own in zip(parts, ids, strict=True)]
    regions, files = _place(parts, regions, folder, threads, progress)
    _write_lists(regions, folder)
    windows = [part.windows for part in parts]
    with written(folder / "index.parquet") as beside:
        tables.flat_index(regions, windows, statement.name).to_parquet(beside, index=False)
    tables.merged_splits(parts, ids).to_csv(folder / "splits.csv", index=False, lineterminator="\n")
    points = tables.merged_points(parts)
    points.to_csv(folder / "accuracy_points.csv", index=False, lineterminator="\n")
    labels = tables.merged_labels(parts, points)
    write_json(folder / "labels.json", labels)
    statistics = {}
    years = merged_windows(parts)
    for number, year in enumerate(years, 1):
        statistics[year] = band_statistics(sorted((folder / year / IMAGE.kind).glob("*.tif")))
        progress("measuring bands", number, len(years))
    facts = {
        **merged_facts(parts, regions, labels, statistics, statement.about, statement.name, statement.location_r2),
        "tile_ids": "kept" if all(old == new for own in ids for old, new in own.items()) else "renumbered",
        "border": border(parts),
    }
    write_documents(facts, statement.about, folder)
    items = (item for rows, own in zip(regions, windows, strict=True) for item in stac.items(rows, own, statement.name))
    collection = folder / "stac/collection.json"
    stac.write_items(items, years, statement.name, statement.about, facts, collection)
    lists = sorted(folder.glob("*/*.sha256"))
    write_sums(folder, lists, [*(folder / name for name in (*TABLES, *DOCUMENTS)), collection])
    return Merged(facts, files)


def _place(
    parts: Sequence[Part], regions: Sequence[gpd.GeoDataFrame], folder: Path, threads: int, progress: Progress
) -> tuple[list[gpd.GeoDataFrame], dict[str, int]]:
    """Link or write all patches; return the rows with their checksums, and how many were linked, copied, rewritten."""
    years = {str(year) for rows in regions for year in rows["year"]}
    for year in years:
        for kind in KINDS:
            (folder / year / kind).mkdir(parents=True)
    count: Counter[str] = Counter(linked=0, copied=0, rewritten=0)
    placed: list[gpd.GeoDataFrame] = []
    done, total = 0, 2 * sum(map(len, regions))
    with ThreadPoolExecutor(threads) as pool:
        for part, rows in zip(parts, regions, strict=True):
            own = part.index.set_index(["tile_id", "year"])
            origins = own.loc[list(zip(rows["origin_tile_id"], rows["year"], strict=True))]
            checksums: dict[str, list[str]] = {}
            for column in ("image", "mask"):
                sources, names = origins[column].tolist(), rows[column].tolist()
                work: Callable[[str, str, str], tuple[str, str]] = _patch_writer(part, folder)
                results = []
                for result in pool.map(work, sources, names, rows["tile_id"].tolist()):
                    results.append(result)
                    done += 1
                    progress("writing patches", done, total)
                count.update(how for how, _ in results)
                checksums[f"{column}_sha256"] = [checksum for _, checksum in results]
            placed.append(rows.assign(**checksums))
    remove(folder / SCRATCH)
    return placed, dict(count)


def _patch_writer(part: Part, folder: Path) -> Callable[[str, str, str], tuple[str, str]]:
    """Return a function that puts a patch of a part into the folder, given its path there and here and its new tile id.

    It returns linked, copied or rewritten, and the checksum.
    """

    def place(source: str, name: str, tile_id: str) -> tuple[str, str]:
        if source == name:
            return link_or_copy(part.folder / source, folder / name), part.sums[source]
        beside = folder / SCRATCH / Path(name).name
        rewrite(part.folder / source, beside, FORMATS[Path(name).parent.name], tile_id)
        os.replace(beside, folder / name)
        return "rewritten", sha256(folder / name)

    return place


def rewrite(source: Path, target: Path, form: PatchFormat, tile_id: str) -> None:
    """Write a patch with the same pixels, form and tags, but with another tag TILE_ID; the old one becomes ORIGIN_TILE_ID.

    Raises:
        OSError: the pixels read back are others.
    """
    with raster.opened(source) as patch:
        array, geobox, units = patch.read(), raster.geobox_of(patch), tuple(text or "" for text in patch.units)
        tags = {key: value for key, value in patch.tags().items() if key != "AREA_OR_POINT"}
    tags |= {"ORIGIN_TILE_ID": tags.get("TILE_ID", ""), "TILE_ID": tile_id}
    raster.write(target, array, geobox, form.nodata, form.bands, dict(sorted(tags.items())), units, **patch_profile(geobox.shape.y))
    if not np.array_equal(raster.read(target), array, equal_nan=array.dtype.kind == "f"):
        raise OSError(f"{target} has other pixels than {source} when it is read back")


def _write_lists(regions: Sequence[gpd.GeoDataFrame], folder: Path) -> None:
    """Write the checksum lists `<year>/<kind>.sha256`."""
    lines: dict[Path, list[str]] = {}
    for rows in regions:
        for column in ("image", "mask"):
            for name, checksum in zip(rows[column], rows[f"{column}_sha256"], strict=True):
                year, kind, file = name.split("/")
                lines.setdefault(folder / year / f"{kind}.sha256", []).append(f"{checksum}  {kind}/{file}\n")
    for path, listed in lines.items():
        with written(path) as beside:
            beside.write_text("".join(sorted(listed, key=lambda line: line.partition("  ")[2])), encoding="ascii")
