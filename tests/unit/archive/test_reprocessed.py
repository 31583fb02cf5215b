"""Several products of one tile of one datatake: complementary parts are mosaicked, reprocessings dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive_builder import product
from small_archive import TILE, SmallArchive, chosen, clear_bands, footprint, on_the_area, part, reasons

ALL, UP, LOW = slice(0, 128), slice(0, 68), slice(60, 128)
BANDS = clear_bands(1)
FIRST, SECOND = product("20160105", made="20160105T100652"), product("20160105", made="20160105T130912")


def archive(folder: Path, products: dict[str, slice], stated: str = "data", bands: Any = None) -> SmallArchive:
    """Products with data on some rows of the tile. `stated`: footprints of the data, of the whole tile, missing, or garbage."""
    made = SmallArchive(folder)
    for name, rows in products.items():
        made.add_s2(name, TILE, part(bands[name] if bands else BANDS, rows))
    made.save()
    for name, rows in products.items():
        outline = {"data": footprint(TILE[rows]), "tile": footprint(TILE), "none": None, "garbage": {"type": "Polygon", "coordinates": []}}
        made.edit(made.item("s2", name), lambda item, outline=outline: item.update(geometry=outline[stated]))
    return made


@pytest.mark.parametrize("stated", ["data", "tile", "none", "garbage"])
def test_complementary_products_are_both_used(tmp_path: Path, stated: str) -> None:
    made = archive(tmp_path, {FIRST: UP, SECOND: LOW}, stated)
    image = made.image()
    assert np.array_equal(image, on_the_area(BANDS))
    manifest = made.search()
    assert chosen(manifest) == [SECOND, FIRST], "the later processing first"
    assert [item["rank"] for item in manifest["chosen"]] == [1, 1]
    assert manifest["rejected"] == []
    note = f"T30NXN of S2A_20160105T103422 comes in 2 complementary products, the first with data wins: {SECOND}, {FIRST}"
    assert note in manifest["notes"]
    assert manifest["datatakes"][0]["covered_share"] == 1.0


def test_where_they_overlap_the_later_processing_wins(tmp_path: Path) -> None:
    bands = {FIRST: clear_bands(1), SECOND: clear_bands(2)}
    image = archive(tmp_path, {FIRST: UP, SECOND: LOW}, bands=bands).image()
    old, new = (on_the_area(bands[name]) for name in (FIRST, SECOND))
    assert np.array_equal(image, np.concatenate([old[:, :28], new[:, 28:]], axis=1)), "row 60 of the tile is row 28 of the area"


OLD_UP, OLD_LOW = product("20160105", "30NXN", "0208", "20160105T100652"), product("20160105", "30NXN", "0208", "20160105T130912")
NEW = product("20160105", "30NXN", "0500", "20210528T081650")
NEWER = product("20160105", "30NXN", "0500", "20220528T081650")

THREE: dict[str, tuple[dict[str, slice], list[str], dict[str, str]]] = {
    "two halves and a reprocessing of the whole": (
        {OLD_UP: UP, OLD_LOW: LOW, NEW: ALL},
        [NEW],
        dict.fromkeys((OLD_UP, OLD_LOW), f"superseded by {NEW}: baseline 05.00 instead of 02.08, and the same ground"),
    ),
    "two halves and a reprocessing of the upper one": (
        {OLD_UP: UP, OLD_LOW: LOW, NEW: UP},
        [NEW, OLD_LOW],
        {OLD_UP: f"superseded by {NEW}: baseline 05.00 instead of 02.08, and the same ground"},
    ),
    "the whole and reprocessings of both halves": (
        {OLD_UP: ALL, NEW: UP, NEWER: LOW},
        [NEWER, NEW],
        {OLD_UP: f"superseded by {NEWER} and {NEW}: baseline 05.00 instead of 02.08, and the same ground"},
    ),
    "the whole and a reprocessing of the upper half": ({OLD_UP: ALL, NEW: UP}, [NEW, OLD_UP], {}),
    "the same ground, equal baseline, later processing": (
        {NEW: ALL, NEWER: ALL},
        [NEWER],
        {NEW: f"superseded by {NEWER}: processed 20220528081650 instead of 20210528081650, and the same ground"},
    ),
    "a later processing of less ground": ({NEW: ALL, NEWER: UP}, [NEWER, NEW], {}),
    "an empty later processing": ({NEW: ALL, NEWER: slice(0, 2)}, [NEW], {NEWER: "no data on the cells of the area"}),
}


@pytest.mark.parametrize("stated", ["data", "tile"])
@pytest.mark.parametrize("name", THREE)
def test_of_several_products_those_that_show_new_ground_are_used(tmp_path: Path, name: str, stated: str) -> None:
    products, expected, rejected = THREE[name]
    manifest = archive(tmp_path, products, stated).search()
    assert chosen(manifest) == expected
    if name != "an empty later processing" or stated == "tile":
        assert reasons(manifest) == rejected
    assert manifest["datatakes"][0]["covered_share"] == 1.0
    assert [item["index"] for item in manifest["chosen"]] == list(range(1, len(expected) + 1))


def test_a_reprocessing_may_lack_a_hundredth_of_the_ground(tmp_path: Path) -> None:
    """The area is sampled on 8 × 8 places: one row of them is an eighth, so the limit lies between none and a row."""
    made = archive(tmp_path / "a", {OLD_UP: ALL, NEW: slice(32, 128)})
    assert chosen(made.search()) == [NEW], "what lies outside the area does not count"
    made = archive(tmp_path / "b", {OLD_UP: ALL, NEW: slice(40, 128)})
    assert chosen(made.search()) == [NEW, OLD_UP]


def test_an_old_processing_whose_files_are_gone_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = archive(tmp_path, {OLD_UP: ALL, NEW: ALL})
    (made.item("s2", OLD_UP).with_name("SCL.tif")).unlink()
    manifest = made.search()
    assert chosen(manifest) == [NEW]
    assert reasons(manifest)[OLD_UP].startswith(f"superseded by {NEW}")
    assert "dropped" not in manifest
    made = archive(tmp_path / "halves", {OLD_UP: UP, NEW: LOW})
    (made.item("s2", OLD_UP).with_name("SCL.tif")).unlink()
    manifest = made.search()
    assert chosen(manifest) == [NEW]
    assert manifest["dropped"] == [
        {
            "id": OLD_UP,
            "reason": "file not there: the archive does not hold this processing of T30NXN",
            "share": pytest.approx(0.5, abs=0.1),
        }
    ]
    assert f"s2 2016: {OLD_UP} is left out, 50.0 % of the area: file not there" in capsys.readouterr().out


def test_other_tiles_and_datatakes_are_no_reprocessings(tmp_path: Path) -> None:
    made = SmallArchive(tmp_path)
    for name in (FIRST, product("20160105", tile="30NWN"), product("20160115")):
        made.add_s2(name, TILE, BANDS)
    made.save()
    assert len(chosen(made.search())) == 3
