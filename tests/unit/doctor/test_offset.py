"""The doctor on the offset: all patches against what is declared, and what confirmed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sections import Doctor
from smallmines.core.product import S2_BANDS
from smallmines.doctor.folder import Folder
from smallmines.doctor.offset import check

LIMITS = Doctor()
GREEN, BARE = (250, np.nan, 280), (1500, np.nan, np.nan)
"""Patches by darkest value, level of dark ground, level of vegetation, without offset."""


def rows(offset: int, patches: int = 20, kind: tuple[float, float, float] = GREEN, year: int = 2016, tags: str = "") -> pd.DataFrame:
    spread = np.random.default_rng(year).integers(-30, 30, patches)
    darkest, dark, green = (value + offset + spread for value in kind)
    table = {f"low_{band}": darkest + 200 * (number != 0) for number, band in enumerate(S2_BANDS)}
    names = [f"{number:04d}" for number in range(patches)]
    return pd.DataFrame(table | {"tile": names, "year": year, "dark_level": dark, "green_level": green, "image_tags": tags})


def folder(index: pd.DataFrame | None = None, facts: dict[str, str] | None = None) -> Folder:
    return Folder(Path(), pd.DataFrame(), (), (), index, None, None, facts)


def told(table: pd.DataFrame, where: Folder | None = None) -> list[tuple[str, str]]:
    return [(finding.severity, finding.check) for finding in check(where or folder(), table, LIMITS)]


PLUS, HARMONISED = "RADIOMETRY=dn_plus1000 RADIOMETRY_VERDICT=proved", "RADIOMETRY=dn_harmonised RADIOMETRY_VERDICT=proved"
WRONG = [("error", "offset")]


@pytest.mark.parametrize("kind", [GREEN, (300, 320, np.nan)])
@pytest.mark.parametrize(
    ("tags", "offset", "words"),
    [
        (PLUS, 1000, None),
        (PLUS, 0, "an offset of 0 DN in all patches of 2016"),
        (PLUS, 2000, "added twice"),
        (PLUS, 3000, "too large"),
        (HARMONISED, 0, None),
        (HARMONISED, 1000, "take off 1000"),
    ],
)
def test_all_patches_are_held_against_what_is_declared(kind: tuple[float, float, float], tags: str, offset: int, words: str | None) -> None:
    table = rows(offset, kind=kind, tags=tags)
    assert told(table) == ([] if words is None else WRONG)
    if words is not None:
        finding = next(iter(check(folder(), table, LIMITS)))
        assert words in f"{finding.found} {finding.remedy}"
        assert len(finding.tiles) == 20


def test_one_year_alone_is_found() -> None:
    table = pd.concat([rows(1000, tags=PLUS), rows(2000, year=2022, tags=PLUS)], ignore_index=True)
    findings = list(check(folder(), table, LIMITS))
    assert [finding.tiles[0] for finding in findings] == ["0000 2022"]


def test_an_offset_taken_off_twice() -> None:
    table = rows(0, tags=HARMONISED).assign(low_B02=1)
    assert "taken off that was not there" in next(iter(check(folder(), table, LIMITS))).found
    assert told(table.assign(low_B02=[1] * 10 + [150] * 10)) == []


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("declared", [("note", "unconfirmed offset")]),
        ("undecided", [("warning", "offset"), ("warning", "unconfirmed offset")]),
        ("proved", [("warning", "offset")]),
    ],
)
def test_bright_ground_is_no_error_and_a_warning_unless_metadata_declare_the_offset(verdict: str, expected: list[tuple[str, str]]) -> None:
    """What proved the offset was dark: it should be among the patches."""
    tags = f"RADIOMETRY=dn_plus1000 RADIOMETRY_VERDICT={verdict}"
    assert told(rows(1000, kind=BARE, tags=tags)) == expected
    assert ("warning", "offset") not in told(rows(0, kind=BARE, tags=tags))


def test_overcast_patches_of_an_offset_free_dataset_are_no_mixture() -> None:
    overcast = rows(0, patches=9, kind=(1700, np.nan, 1850), tags=HARMONISED)
    table = pd.concat([rows(0, patches=20, tags=HARMONISED), overcast], ignore_index=True)
    assert told(table) == []
    assert told(pd.concat([rows(0, patches=20, tags=HARMONISED), rows(1000, patches=9, tags=HARMONISED)], ignore_index=True)) == WRONG


def test_four_images_of_vegetation_are_no_more_than_a_warning() -> None:
    assert told(rows(2000, patches=4, tags=PLUS)) == [("warning", "offset")]
    assert told(rows(2000, patches=5, tags=PLUS)) == WRONG


def test_without_a_declaration_the_doctor_says_what_it_seems_to_be() -> None:
    finding = next(iter(check(folder(), rows(1000), LIMITS)))
    assert (finding.severity, finding.check) == ("note", "offset")
    assert "seem to have an offset of 1000" in finding.found
    assert told(rows(1000, kind=BARE)) == []


def test_the_declaration_comes_from_tags_then_index_then_facts() -> None:
    table = rows(2000)
    index = table.assign(tile_id=table["tile"], radiometry="dn_plus1000", radiometry_verdict="declared")
    assert told(table, folder(index)) == [*WRONG, ("note", "unconfirmed offset")]
    assert told(table, folder(None, {"radiometry": "dn_plus1000"})) == WRONG
    assert told(table.assign(image_tags=PLUS), folder(index.assign(radiometry="native"))) == WRONG


def test_what_nothing_confirmed_is_a_warning_and_metadata_are_a_note() -> None:
    for verdict, expected in (("proved", []), ("declared", ["note"]), ("undecided", ["warning"]), ("", [])):
        table = rows(1000, tags=f"RADIOMETRY=dn_plus1000 RADIOMETRY_VERDICT={verdict}")
        table.loc[:4, "image_tags"] = PLUS
        findings = list(check(folder(), table, LIMITS))
        assert [finding.severity for finding in findings] == expected
        assert all(finding.check == "unconfirmed offset" and len(finding.tiles) == 15 for finding in findings)


def test_no_patch() -> None:
    assert told(rows(0).iloc[:0]) == []
