"""The change sample from the draw to the areas: one design, years that stay those of the draw, check-ins that are never passed over."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from place import edit, make_place
from smallmines.annotation import checkout_files
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout_files import CheckedOut
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.annotation.status import change_samples_of
from smallmines.config.parse import parse_config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import PixelSample
from smallmines.core.product import S2_BANDS
from smallmines.dataset.change import CLASSES
from smallmines.map.change_estimate import BUFFER
from smallmines.map.change_totals import SampleFiles, read_points, totals, totals_schema, write_totals

KINDS: tuple[PixelSample, ...] = ("change_before", "change_after")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlockYear:
    """The later year of a run with a map of change: some new mines in the north, one that is gone in the south."""
    monkeypatch.setattr(checkout_files, "OUTLINES", 0)  # no files for Google Earth
    block_year = with_years(make_place(tmp_path, "2022"), "2016", "2022")
    lattice = block_year.lattice
    classes = np.zeros(lattice.geobox.shape, np.uint8)
    classes[8:20, 10:40], classes[90:100, 30:50], classes[60:70, 70:90], classes[:4] = 1, 2, 3, 255
    for block in ("1", "2"):
        box = lattice.block(block)
        raster.write(block_year.layout.mask("2022", block), np.zeros(box.shape, np.uint8), box, 255, ["mining"])
    for year in ("2016", "2022"):
        s2 = np.full((10, *lattice.block("1").shape), int(year), np.uint16)
        raster.write(block_year.layout.s2(year, "1"), s2, lattice.block("1"), 0, S2_BANDS)
    raster.write(block_year.layout.change("2016", "2022"), classes, lattice.geobox, 255, ["change"])
    return block_year


def with_years(block_year: BlockYear, *years: str) -> BlockYear:
    """The same run with other years."""
    dates = {int(year): {"start": f"{year}-01-01", "end": f"{year}-01-31"} for year in years}
    settings = {**block_year.config.model_dump(mode="json"), "years": dates, "map": {"change_points": 50}}
    return replace(block_year, config=parse_config(settings))


def look(block_year: BlockYear, kind: PixelSample, says: str = "not_mining", person: str = "A01") -> CheckedOut:
    """Check out a sample, label all of it alike and check it in."""
    given = checkout_pixel_sample(block_year, person, kind)
    edit(given.path, "UPDATE segments SET label = ?, evidence = 'Google Earth', evidence_date = '2016-02-01'", says)
    checkin(block_year.user, given.path)
    return given


def look_at_all(place: BlockYear) -> None:
    for block in ("1", "2"):
        for kind in KINDS:
            look(replace(place, block=block), kind)


def files_of(block_year: BlockYear) -> SampleFiles:
    """The files of the sample as the rule lists them."""
    user = block_year.layout.user
    blocks = block_year.config.blocks
    designs = [user.pixel_sample(kind, "2022", block) for kind in KINDS for block in blocks]
    references = [[str(path) for block in blocks for path in user.references(kind, "2022", block).glob("*.jsonl")] for kind in KINDS]
    return SampleFiles([str(path) for path in designs if path.exists()], *references)


def designs_of(block_year: BlockYear) -> list[Path]:
    return [Path(path) for path in files_of(block_year).designs]


def test_people_look_at_the_earlier_year_on_top_for_before_and_at_the_later_one_for_after(place: BlockYear) -> None:
    for kind, year in zip(KINDS, ("2016", "2022"), strict=True):
        project = checkout_pixel_sample(place, "A01", kind).path.with_suffix(".qgs").read_text()
        legend = project[project.index("<layer-tree-group") :]
        images = [other for other in ("2016", "2022") if legend.index(f"{year} true colour") <= legend.index(f"{other} true colour")]
        assert len(images) == 2, f"{kind}: {year} lies on top"


def test_a_year_between_makes_the_sample_that_of_other_years(place: BlockYear, tmp_path: Path) -> None:
    """The files keep their names, which are those of the later year alone."""
    for kind in KINDS:
        look(place, kind)
    lattice, files = place.lattice, files_of(place)
    points = read_points(files, ("2016", "2022"), lattice)
    assert points is not None
    assert (points["before"] >= 0).sum() > 150
    with pytest.raises(UserError, match=r"a change sample from 2019 on(.|\n)*one from 2016 on"):
        read_points(files, ("2019", "2022"), lattice)
    later = with_years(place, "2016", "2019", "2022")
    for kind in KINDS:
        with pytest.raises(UserError, match="a change sample from 2019 on"):
            checkout_pixel_sample(later, "A02", kind)
    with pytest.raises(UserError, match="the first year of the run"):
        checkout_pixel_sample(with_years(place, "2022", "2024"), "A02", "change_before")


def test_check_ins_without_their_design_are_never_passed_over(place: BlockYear) -> None:
    look(place, "change_after")
    for path in designs_of(place):
        path.unlink()
    with pytest.raises(UserError, match=r"the design of a change sample\n.*1 check-ins"):
        read_points(files_of(place), ("2016", "2022"), place.lattice)
    for kind in KINDS:  # neither a block nor a kind that has none of its own draws anew
        for block in ("1", "2"):
            with pytest.raises(UserError, match=r"the design .*change_after/2022/1\.csv of the check-ins"):
                checkout_pixel_sample(replace(place, block=block), "A01", kind)
    assert not designs_of(place)


def test_a_design_that_is_gone_is_taken_from_the_others_and_one_that_was_edited_is_refused(place: BlockYear) -> None:
    look(place, "change_before")
    first, *others = designs_of(place)
    content = first.read_bytes()
    first.unlink()
    checkout_pixel_sample(place, "A02", "change_before")
    assert first.read_bytes() == content
    table = pd.read_csv(others[0])
    table.assign(earlier_year=2010).to_csv(others[0], index=False)
    with pytest.raises(UserError, match="one design of the change sample"):
        read_points(files_of(place), ("2016", "2022"), place.lattice)


def test_the_table_says_what_land_the_sample_is_of(place: BlockYear, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A tenth of the land gets a class after the draw: the areas of the sample are those of the land of the draw."""
    change, lattice = place.layout.change("2016", "2022"), place.lattice
    with caplog.at_level(logging.WARNING):
        write_totals(str(change), SampleFiles([], [], []), ("2016", "2022"), lattice, tmp_path / "none.csv")
        assert pd.read_csv(tmp_path / "none.csv")["sampled_ha"].isna().all()
        look_at_all(place)
        write_totals(str(change), files_of(place), ("2016", "2022"), lattice, tmp_path / "same.csv")
        same = pd.read_csv(tmp_path / "same.csv")
        assert same["mapped_ha"].sum() == pytest.approx(same["sampled_ha"][0])
        assert same["area_ha"].sum() == pytest.approx(same["sampled_ha"][0])
        assert not caplog.records
        classes = raster.read(change)[0]
        classes[classes == 255] = 0
        raster.write(change, classes, lattice.geobox, 255, ["change"])
        write_totals(str(change), files_of(place), ("2016", "2022"), lattice, tmp_path / "more.csv")
    more = pd.read_csv(tmp_path / "more.csv")
    assert more["mapped_ha"].sum() > same["mapped_ha"].sum()
    assert more["area_ha"].tolist() == same["area_ha"].tolist()
    assert "area_ha is of the land of the draw" in caplog.text


def test_the_status_says_how_far_people_are(place: BlockYear) -> None:
    assert change_samples_of(place.config, place.root) == []
    look(place, "change_before")
    look(place, "change_before", "mining", "A02")  # nobody knows now
    look(place, "change_after", "unsure")
    look(replace(place, block="2"), "change_before")
    rows = change_samples_of(place.config, place.root)
    first, second = (row["drawn"] for row in rows)
    assert list(rows[0]) == ["year", "block", "drawn", "looked_at_before", "looked_at_after", "with_class"]
    assert [list(row.values()) for row in rows] == [[2022, "1", first, first, first, 0], [2022, "2", second, second, 0, 0]]
    assert first + second == len(pd.read_csv(designs_of(place)[0]))
    look(replace(place, block="2"), "change_after", "mining")
    assert change_samples_of(place.config, place.root)[1]["with_class"] == second


@pytest.mark.heavy
def test_points_that_two_people_see_differently_or_unsurely_are_of_no_class(place: BlockYear) -> None:
    look_at_all(place)
    for block in ("1", "2"):
        look(replace(place, block=block), "change_after", "mining", "A02")
    points = read_points(files_of(place), ("2016", "2022"), place.lattice)
    assert points is not None
    assert set(points["after"]) == {-1}
    table = totals(str(place.layout.change("2016", "2022")), points, place.lattice).set_index("change")
    assert table["points"].sum() == 0
    assert table["area_ha"].isna().all()
    assert table[["low", "high"]].isna().all(axis=None)
    assert all(text.startswith("unknown: no point with a class in stable_other (") for text in table.loc[list(CLASSES), "why"])


def test_a_stratum_in_which_no_point_has_a_class_is_unknown_and_the_rest_is_given(place: BlockYear) -> None:
    """All points of the buffer are unsure: no class has an area, and no interval leaves out that all of the buffer may be of the class."""
    change = str(place.layout.change("2016", "2022"))
    look_at_all(place)
    points = read_points(files_of(place), ("2016", "2022"), place.lattice)
    assert points is not None
    points.loc[:, ["before", "after"]] = 0
    points.loc[points.index[:40], "after"] = 1  # enough of them for an interval
    before = totals(change, points, place.lattice).set_index("change")
    assert before.loc["new", "area_ha"] > 0
    points.loc[points["stratum"] == BUFFER, "after"] = -1
    table = totals_schema().validate(totals(change, points, place.lattice)).set_index("change")
    buffer_ha = points.loc[points["stratum"] == BUFFER, "pixels"].iloc[0] / 100
    assert table["area_ha"].isna().all()
    assert table.loc["stable_other", ["low", "high"]].notna().all()
    assert table.loc["stable_other", "high"] - table.loc["stable_other", "low"] > buffer_ha
    assert table.loc["stable_other", "why"] == f"unknown: no point with a class in buffer ({buffer_ha:.1f} ha)"
    assert table.loc["gone", "why"].endswith("; no interval: fewer than 5 points")
    assert table.loc["gone", ["low", "high"]].isna().all()


def test_a_block_that_nobody_looked_at_is_not_missing_by_chance(place: BlockYear) -> None:
    """What was seen in one block says nothing of the others."""

    def table() -> pd.DataFrame:
        points = read_points(files_of(place), ("2016", "2022"), place.lattice)
        return totals(str(place.layout.change("2016", "2022")), points, place.lattice)

    other = replace(place, block="2")
    for block_year, kind in ((place, "change_before"), (place, "change_after"), (other, "change_before")):
        look(block_year, kind)  # type: ignore[arg-type]  # a name of a kind
        assert table()["area_ha"].isna().all()
    (why,) = table()["why"].unique()
    assert why.startswith("too few points looked at in both years: 0 of ")
    assert why.endswith(" in block 2")
    look(other, "change_after")
    assert table()["area_ha"].notna().all()
