"""Check structure: file names, pairs, form of the files, one lattice of tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.finding import Family, Finding
from smallmines.core.product import IMAGE, MASK, PATCH_BANDS, PatchFormat
from smallmines.doctor.folder import Folder, tile_names, tiles_of
from smallmines.doctor.measure import Measured

STRUCTURE = Family("structure", remedy="make the patches again")


def check(folder: Folder, measured: Measured) -> Iterator[Finding]:
    """Yield findings about the form of the files."""
    table = measured.table
    yield from _files(folder)
    for kind, form in (("image", IMAGE), ("mask", MASK)):
        files = table[table[kind].notna()]
        broken = files[files[f"{kind}_error"] != ""]
        if len(broken):
            reason = Counter(broken[f"{kind}_error"]).most_common(1)[0][0]
            found = f"{len(broken)} cannot: {reason}"
            yield STRUCTURE.error("unreadable", f"{kind}s that can be read", found, "copy the files again", tiles_of(broken))
        readable = files[files[f"{kind}_error"] == ""]
        yield from _form(readable, kind, form)
        for own in regions(folder, readable):
            yield from _place(own, kind)
    both = table[(table["image"].notna()) & (table["mask"].notna()) & (table["image_error"] == "") & (table["mask_error"] == "")]
    apart = both[[_grid_of(row, "image") != _grid_of(row, "mask") for row in both.to_dict("records")]]
    if len(apart):
        found = f"{len(apart)} pairs are not"
        yield STRUCTURE.error("mask elsewhere", "image and mask on the same pixels", found, "cut them again", tiles_of(apart))
    yield from _values(table)


def regions(folder: Folder, rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each region of a merged dataset, which has a lattice and years of its own; of other datasets all rows.

    Args:
        rows: tile and year of each, and other columns.
    """
    if folder.index is None or "origin_run" not in folder.index:
        return [rows]
    index = folder.index.drop_duplicates(["tile_id", "year"]).set_index(["tile_id", "year"])["origin_run"]
    region = index.reindex(pd.MultiIndex.from_frame(rows[["tile", "year"]])).fillna("").to_numpy()
    return [rows[region == name] for name in sorted(set(region))]


def _values(table: pd.DataFrame) -> Iterator[Finding]:
    if "other" in table and (wrong := table[table["other"].fillna(0) > 0]).size:
        values = " ".join(sorted(set(" ".join(wrong["strange"]).split())))
        yield STRUCTURE.error("mask values", "0, 1 and 255 in masks", f"{values} in {len(wrong)}", "make the masks again", tiles_of(wrong))
    if "nonfinite" in table and len(wrong := table[table["nonfinite"].fillna(0) > 0]):
        found = f"NaN or infinity in {len(wrong)} images"
        yield STRUCTURE.error("not finite", "finite values, −9999 where there is none", found, tiles=tiles_of(wrong))
    if "partial" in table and len(wrong := table[table["partial"].fillna(0) > 0]):
        expected = "Sentinel-2 nodata in all bands or none"
        yield STRUCTURE.error("nodata in some bands", expected, f"{len(wrong)} images", tiles=tiles_of(wrong))


def _files(folder: Folder) -> Iterator[Finding]:
    pairs = folder.pairs
    for kind, other in (("image", "mask"), ("mask", "image")):
        lone = pairs[pairs[kind].isna()]
        if len(lone):
            expected = f"an {kind} for each {other}".replace("an m", "a m")
            yield STRUCTURE.error(f"{kind} missing", expected, f"{len(lone)} {other}s have none", tiles=tiles_of(lone))
    if folder.doubles:
        found = f"{len(folder.doubles)} more"
        yield STRUCTURE.error("double", "one file for each tile and year", found, "remove one of each", folder.doubles)
    if folder.strange:
        found = f"{len(folder.strange)} others, e.g. {folder.strange[0]}"
        expected = "IMG_<country>_<tile>_<year>.tif and MASK_…"
        yield STRUCTURE.error("file names", expected, found, "rename or remove them", folder.strange)
    for own in regions(folder, pairs):
        by_year = own.groupby("year")["tile"].agg(set)
        for year, tiles in by_year.items():
            if missing := set().union(*by_year) - tiles:
                found = f"{len(missing)} tiles of other years are not in {year}"
                names = tile_names((tile, year) for tile in sorted(missing))
                yield STRUCTURE.error("years differ", "the same tiles in every year", found, tiles=names)
    if folder.index is not None:
        indexed = set(zip(folder.index["tile_id"], folder.index["year"], strict=True))
        present = set(zip(pairs["tile"], pairs["year"].astype(int), strict=True))
        problems = {"in the index but not in the folder": indexed - present, "in the folder but not in the index": present - indexed}
        for problem, wrong in problems.items():
            if wrong:
                found = f"{len(wrong)} tiles and years {problem}"
                yield STRUCTURE.error("index", "index and folder alike", found, tiles=tile_names(sorted(wrong)))
    if folder.part:
        yield STRUCTURE.note("folder", "the folder of a dataset", folder.part, "name that folder")
    for name, reason in folder.unreadable.items():
        yield STRUCTURE.error("table", f"a readable {name}", reason, "write it again", (name,))


def _form(files: pd.DataFrame, kind: str, form: PatchFormat) -> Iterator[Finding]:
    """Yield bands, types and nodata values that are not those of the released dataset."""
    if not len(files):
        return
    count = len(form.bands)
    wanted: dict[str, tuple[str, str, Any]] = {
        "bands": ("count", f"{count} band{'s' * (count > 1)} in {kind}s", count),
        "type": ("dtype", f"{form.dtype} in {kind}s", form.dtype),
        "nodata": ("nodata", f"nodata {form.nodata:g} in {kind}s", form.nodata),
    }
    for check, (column, expected, value) in wanted.items():
        wrong = files[files[f"{kind}_{column}"] != value]
        if len(wrong):
            found = ", ".join(f"{text} ({number})" for text, number in Counter(wrong[f"{kind}_{column}"].map(str)).most_common(3))
            yield STRUCTURE.error(check, expected, found, tiles=tiles_of(wrong))
    if kind == "image":
        named = files[files["image_bands"].map(any)]
        wrong = named[
            [len(names) == len(PATCH_BANDS) and names != PATCH_BANDS and set(names) == set(PATCH_BANDS) for names in named["image_bands"]]
        ]
        if len(wrong):
            found = f"{' '.join(wrong['image_bands'].iloc[0])} in {len(wrong)}"
            yield STRUCTURE.error("band order", f"bands in the order {' '.join(PATCH_BANDS)}", found, tiles=tiles_of(wrong))


def _grid_of(row: Any, kind: str) -> tuple[Any, ...]:
    return row[f"{kind}_crs"], row[f"{kind}_transform"], row[f"{kind}_shape"]


def _place(files: pd.DataFrame, kind: str) -> Iterator[Finding]:
    """Check for one CRS, shape and pixel size, corners on one lattice, and each tile in one place of its own in all years."""
    if not len(files):
        return
    usual: dict[str, Any] = {}
    for check, column in (("CRS", "crs"), ("size", "shape")):
        usual[check] = Counter(files[f"{kind}_{column}"]).most_common(1)[0][0]
        wrong = files[files[f"{kind}_{column}"] != usual[check]]
        if len(wrong):
            values = ", ".join(sorted({str(value) or "none" for value in wrong[f"{kind}_{column}"]})[:3])
            yield STRUCTURE.error(check, f"{usual[check]} as in most {kind}s", f"{values} in {len(wrong)}", tiles=tiles_of(wrong))
    if not usual["CRS"]:
        yield STRUCTURE.error("CRS", f"a CRS in {kind}s", "none")
    files = files[(files[f"{kind}_crs"] == usual["CRS"]) & (files[f"{kind}_shape"] == usual["size"])]
    transforms = np.array(files[f"{kind}_transform"].tolist())
    pixel_sizes = list(map(tuple, transforms[:, [0, 1, 3, 4]].tolist()))
    pixel = Counter(pixel_sizes).most_common(1)[0][0]
    wrong = files[[size != pixel for size in pixel_sizes]]
    if len(wrong):
        expected = f"pixels of {pixel[0]:g} × {-pixel[3]:g} as in most {kind}s"
        yield STRUCTURE.error("pixel size", expected, f"others in {len(wrong)}", tiles=tiles_of(wrong))
    height, width = usual["size"]
    corners = transforms[:, [2, 5]] / np.array([pixel[0] * width, pixel[3] * height])
    anchor = np.array([Counter(np.round(column % 1, 6) % 1).most_common(1)[0][0] for column in corners.T])
    distance = np.abs((corners - anchor + 0.5) % 1 - 0.5).max(axis=1)
    off = distance > 1e-4
    if off.any():
        found = f"{int(off.sum())} {kind}s off by up to {distance[off].max() * max(width, height):.2f} px"
        expected = f"corners of {kind}s on one lattice of tiles"
        yield STRUCTURE.error("lattice", expected, found, "cut them from the grid again", tiles_of(files[off]))
    corner = pd.Series([tuple(np.round(pair, 3)) for pair in transforms[:, [2, 5]].tolist()], files.index, dtype=object)
    placed = files.assign(place=corner)
    moved = placed[placed.groupby("tile")["place"].transform("nunique") > 1]
    if len(moved):
        found = f"{moved['tile'].nunique()} tiles elsewhere in another year"
        yield STRUCTURE.error("moved tile", "a tile in the same place in every year", found, tiles=tiles_of(moved))
    shared = placed[placed.groupby(["year", "place"])["tile"].transform("nunique") > 1]
    if len(shared):
        yield STRUCTURE.error("two tiles in one place", "one tile in each place", f"{len(shared)} share theirs", tiles=tiles_of(shared))
