"""Structure: names, pairs, form of the files, one lattice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.patches import IMAGE_NODATA, MASK_NODATA
from smallmines.doctor.folder import Finding, Folder
from smallmines.doctor.measure import BANDS, Measured

FORM = {"image": (BANDS, "float32", IMAGE_NODATA), "mask": (1, "uint8", float(MASK_NODATA))}
"""Bands, type and nodata of the files, as in the release."""


def names(rows: pd.DataFrame) -> tuple[str, ...]:
    """Tile and year of each row, as findings name them."""
    return tuple(f"{tile} {year}" for tile, year in zip(rows["tile"], rows["year"], strict=True))


def check(folder: Folder, measured: Measured) -> Iterator[Finding]:
    """Everything about the form of the files; see the module."""
    table = measured.table
    yield from _files(folder)
    for kind, (count, dtype, nodata) in FORM.items():
        there = table[table[kind].notna()]
        broken = there[there[f"{kind}_error"] != ""]
        if len(broken):
            why = Counter(broken[f"{kind}_error"]).most_common(1)[0][0]
            yield _finding("unreadable", f"{kind}s that can be read", f"{len(broken)} cannot: {why}", "copy the files again", names(broken))
        good = there[there[f"{kind}_error"] == ""]
        yield from _form(good, kind, count, dtype, nodata)
        yield from _place(good, kind)
    both = table[(table["image"].notna()) & (table["mask"].notna()) & (table["image_error"] == "") & (table["mask_error"] == "")]
    apart = both[[_place_of(row, "image") != _place_of(row, "mask") for row in both.to_dict("records")]]
    if len(apart):
        yield _finding("mask elsewhere", "image and mask on the same pixels", f"{len(apart)} pairs are not", "cut them again", names(apart))
    if "other" in table and (odd := table[table["other"].fillna(0) > 0]).size:
        values = " ".join(sorted(set(" ".join(odd["strange"]).split())))
        yield _finding("mask values", "0, 1 and 255 in masks", f"{values} in {len(odd)}", "make the masks again", names(odd))
    if "nonfinite" in table and len(odd := table[table["nonfinite"].fillna(0) > 0]):
        yield _finding("not finite", "finite values, −9999 where there is none", f"NaN or infinity in {len(odd)} images", "", names(odd))
    if "partial" in table and len(odd := table[table["partial"].fillna(0) > 0]):
        yield _finding("nodata in some bands", "Sentinel-2 nodata in all bands or none", f"{len(odd)} images", "", names(odd))


def _finding(check: str, expected: str, found: str, remedy: str, tiles: tuple[str, ...], severity: str = "error") -> Finding:
    return Finding(severity, "structure", check, expected, found, remedy or "make the patches again", tiles)


def _files(folder: Folder) -> Iterator[Finding]:
    pairs = folder.pairs
    for kind, other in (("image", "mask"), ("mask", "image")):
        lone = pairs[pairs[kind].isna()]
        if len(lone):
            told = f"{len(lone)} {other}s have none"
            yield _finding(f"{kind} missing", f"an {kind} for each {other}".replace("an m", "a m"), told, "", names(lone))
    if folder.doubles:
        yield _finding("double", "one file for each tile and year", f"{len(folder.doubles)} more", "remove one of each", folder.doubles)
    if folder.strange:
        told = f"{len(folder.strange)} others, e.g. {folder.strange[0]}"
        yield _finding("file names", "IMG_<country>_<tile>_<year>.tif and MASK_…", told, "rename or remove them", folder.strange)
    counts = pairs.groupby("year")["tile"].agg(set)
    for year, tiles in counts.items():
        missing = set().union(*counts) - tiles
        if missing:
            told = f"{len(missing)} tiles of other years are not in {year}"
            yield _finding("years differ", "the same tiles in every year", told, "", tuple(f"{tile} {year}" for tile in sorted(missing)))
    if folder.index is not None:
        known = set(zip(folder.index["tile_id"], folder.index["year"], strict=True))
        here = set(zip(pairs["tile"], pairs["year"].astype(int), strict=True))
        for told, some in (("in the index but not in the folder", known - here), ("in the folder but not in the index", here - known)):
            if some:
                tiles = tuple(f"{tile} {year}" for tile, year in sorted(some))
                yield _finding("index", "index and folder alike", f"{len(some)} tiles and years {told}", "", tiles)
    for name, why in folder.unreadable.items():
        yield _finding("table", f"a readable {name}", why, "write it again", (name,))


def _form(good: pd.DataFrame, kind: str, count: int, dtype: str, nodata: float) -> Iterator[Finding]:
    tests: dict[str, tuple[str, Any]] = {
        "bands": (f"{count} band{'s' * (count > 1)} in {kind}s", good.get(f"{kind}_count") == count),
        "type": (f"{dtype} in {kind}s", good.get(f"{kind}_dtype") == dtype),
        "nodata": (f"nodata {nodata:g} in {kind}s", good.get(f"{kind}_nodata") == nodata),
    }
    columns = {"bands": "count", "type": "dtype", "nodata": "nodata"}
    for check, (expected, right) in tests.items():
        odd = good[~right] if len(good) else good
        if len(odd):
            values = ", ".join(f"{value} ({number})" for value, number in Counter(odd[f"{kind}_{columns[check]}"].map(str)).most_common(3))
            yield _finding(check, expected, values, "", names(odd))
    if kind == "image" and len(good):
        named = good[good["image_bands"].map(any)]
        odd = named[[len(one) == BANDS and one != PATCH_BANDS and set(one) == set(PATCH_BANDS) for one in named["image_bands"]]]
        if len(odd):
            told = f"{' '.join(odd['image_bands'].iloc[0])} in {len(odd)}"
            yield _finding("band order", f"bands in the order {' '.join(PATCH_BANDS)}", told, "", names(odd))


def _place_of(row: Any, kind: str) -> tuple[Any, ...]:
    return row[f"{kind}_crs"], row[f"{kind}_transform"], row[f"{kind}_shape"]


def _place(good: pd.DataFrame, kind: str) -> Iterator[Finding]:
    """One CRS, shape and pixel size; corners on one lattice of tiles; a tile in the same place in every year, and alone there."""
    if not len(good):
        return
    usual: dict[str, Any] = {}
    for check, column in (("CRS", "crs"), ("size", "shape")):
        usual[check] = Counter(good[f"{kind}_{column}"]).most_common(1)[0][0]
        odd = good[good[f"{kind}_{column}"] != usual[check]]
        if len(odd):
            values = ", ".join(sorted({str(value) or "none" for value in odd[f"{kind}_{column}"]})[:3])
            yield _finding(check, f"{usual[check]} as in most {kind}s", f"{values} in {len(odd)}", "", names(odd))
    if not usual["CRS"]:
        yield _finding("CRS", f"a CRS in {kind}s", "none", "", ())
    fine = good[(good[f"{kind}_crs"] == usual["CRS"]) & (good[f"{kind}_shape"] == usual["size"])]
    transforms = np.array(fine[f"{kind}_transform"].tolist())
    sizes = Counter(map(tuple, transforms[:, [0, 1, 3, 4]].tolist()))
    common = sizes.most_common(1)[0][0]
    odd = fine[[tuple(one) != common for one in transforms[:, [0, 1, 3, 4]].tolist()]]
    if len(odd):
        yield _finding(
            "pixel size", f"pixels of {common[0]:g} × {-common[3]:g} as in most {kind}s", f"others in {len(odd)}", "", names(odd)
        )
    height, width = usual["size"]
    corners = transforms[:, [2, 5]] / np.array([common[0] * width, common[3] * height])
    anchor = np.array([Counter(np.round(column % 1, 6) % 1).most_common(1)[0][0] for column in corners.T])
    off = np.abs((corners - anchor + 0.5) % 1 - 0.5).max(axis=1) > 1e-4
    if off.any():
        pixels = np.abs((corners - anchor + 0.5) % 1 - 0.5).max(axis=1)[off].max() * max(width, height)
        told = f"{int(off.sum())} {kind}s off by up to {pixels:.2f} px"
        yield _finding("lattice", f"corners of {kind}s on one lattice of tiles", told, "cut them from the grid again", names(fine[off]))
    where = fine.assign(place=[tuple(np.round(corner, 3)) for corner in transforms[:, [2, 5]].tolist()])
    moved = where.groupby("tile")["place"].transform("nunique") > 1
    if moved.any():
        told = f"{where[moved]['tile'].nunique()} tiles elsewhere in another year"
        yield _finding("moved tile", "a tile in the same place in every year", told, "", names(where[moved]))
    shared = where.groupby(["year", "place"])["tile"].transform("nunique") > 1
    if shared.any():
        yield _finding("two tiles in one place", "one tile in each place", f"{int(shared.sum())} share theirs", "", names(where[shared]))
