"""The choice among an archive's items, and what the manifest says about it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive_builder import ArchiveBuilder, grid, product, ten_bands, write_grid
from sections import asked
from small_archive import SmallArchive, chosen, clear_bands, on_the_area, part, write_plain
from smallmines.archive.choice import area_of
from smallmines.archive.search import search, why_rejected
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.grid.lattice import read_lattice

WHOLE = grid(600000, 700000, (64, 64))
TILE = grid(599680, 700320, (128, 128))
WINDOWS = {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31)), "2022": (dt.date(2022, 1, 1), dt.date(2022, 1, 31))}
VEGETATION, CLOUD = 4, 9


def scl(cloudy_rows: int) -> np.ndarray:
    """Cloud on so many of the 64 rows of the area (even), vegetation elsewhere."""
    classes = np.full((64, 64), VEGETATION, np.uint8)
    classes[16 : 16 + cloudy_rows // 2] = CLOUD
    return classes


def run(tmp_path: Path, archive: ArchiveBuilder, settings: Any = None, year: str = "2016", sensor: str = "s2", blocks: Any = None) -> dict:
    catalogue = str(archive.save())
    grid_json = write_grid(tmp_path / "grid.json", WHOLE, 32, blocks or {"1": (0, 0, 2, 2)})
    kind = {"s2": Sentinel2, "s1": Sentinel1, "dem": Elevation}[sensor]
    windows = {} if sensor == "dem" else WINDOWS if sensor == "s1" else {year: WINDOWS[year]}
    output = tmp_path / f"{sensor}-{year}.json"
    search(sensor, year, windows, asked(kind(provider="static", catalogue=catalogue, **(settings or {}))), grid_json, output)
    return read_json(output)


def reasons(manifest: dict) -> dict[str, str]:
    return {item["id"]: item["reason"] for item in manifest["rejected"]}


def days(manifest: dict) -> list[str]:
    return [item["datetime"][8:10] for item in manifest["chosen"]]


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveBuilder:
    builder = ArchiveBuilder(tmp_path / "archive")
    builder.write = write_plain  # type: ignore[method-assign]
    return builder


def test_a_product_of_an_unpublished_baseline_is_rejected_and_supersedes_nothing(tmp_path: Path, archive: ArchiveBuilder) -> None:
    bands = ten_bands((128, 128)) | {"SCL": scl(0)}
    archive.add_s2(product("20160105"), TILE, bands)
    archive.add_s2(product("20160105", baseline="9999"), TILE, bands)
    manifest = run(tmp_path, archive)
    assert [(item["id"], item["declared_by"]) for item in manifest["chosen"]] == [(product("20160105"), "product")]
    assert reasons(manifest)[product("20160105", baseline="9999")].startswith("baseline not published: 9999")


def test_every_rejected_item_has_its_reason(tmp_path: Path, archive: ArchiveBuilder) -> None:
    bands = ten_bands((128, 128)) | {"SCL": scl(0)}
    archive.add_s2(product("20160105"), TILE, bands)
    archive.add_s2(product("20160105", baseline="0208", made="20160105T140000"), TILE, bands)
    archive.add_s2(product("20160105", made="20200101T000000"), TILE, bands)
    archive.add_s2(product("20160201"), TILE, bands)
    archive.add_s2(product("20160131"), TILE, {name: band for name, band in bands.items() if name not in ("B05", "SCL")})
    archive.add_s2(product("20160112", tile="30NYN"), grid(650000, 700000, (128, 128)), bands)
    archive.add_s2(product("20160113"), TILE, bands, cloud_cover=81.5)
    archive.add_s2(product("20160114"), TILE, {name: np.zeros_like(band) for name, band in bands.items()})
    manifest = run(tmp_path, archive, {"max_cloud_cover": 80})
    best = product("20160105")
    assert [item["id"] for item in manifest["chosen"]] == [best]
    assert reasons(manifest) == {
        product("20160105", baseline="0208", made="20160105T140000"): f"superseded by {best}: baseline 05.00 instead of 02.08, "
        "and the same ground",
        product("20160105", made="20200101T000000"): f"superseded by {best}: processed 20210528081650 instead of 20200101000000, "
        "and the same ground",
        product("20160201"): "outside the dates: 2016-02-01",
        product("20160131"): "bands missing: B05, SCL",
        product("20160112", tile="30NYN"): "does not touch the cells of the area",
        product("20160113"): "too cloudy: 81.5 % above 80.0 %",
        product("20160114"): "no data on the cells of the area",
    }
    assert manifest["query"]["windows"] == {"2016": ["2016-01-01", "2016-01-31"]}
    assert manifest["chosen"][0]["baseline"] == 500
    assert manifest["chosen"][0]["offset"] is True


def test_datatakes_are_ranked_by_the_clear_share_of_the_cells(tmp_path: Path, archive: ArchiveBuilder) -> None:
    for day, rows, cover in (("20160103", 40, 1.0), ("20160110", 16, 60.0), ("20160117", 16, 10.0), ("20160124", 56, 5.0)):
        archive.add_s2(product(day), TILE, ten_bands((128, 128)) | {"SCL": scl(rows)}, cloud_cover=cover)
    manifest = run(tmp_path, archive)
    assert days(manifest) == ["10", "17", "03", "24"]
    assert [take["clear_share"] for take in manifest["datatakes"]] == [0.75, 0.75, 0.375, 0.125]
    assert [take["rank"] for take in manifest["datatakes"]] == [1, 2, 3, 4]
    assert days(run(tmp_path, archive, {"method": "earliest"})) == ["03", "10", "17", "24"]
    assert days(run(tmp_path, archive, {"method": "least_cloudy"})) == ["03", "24", "17", "10"]
    limited = run(tmp_path, archive, {"max_datatakes": 2, "minimum_clear_share": 0.2})
    assert days(limited) == ["10", "17"]
    assert reasons(limited)[product("20160103")] == "beyond max_datatakes: 2"
    assert reasons(limited)[product("20160124")] == "datatake too cloudy: clear on 0.125 of what it covers"


def test_without_a_cloud_mask_coverage_ranks_and_no_classification_is_needed(tmp_path: Path, archive: ArchiveBuilder) -> None:
    half = {
        name: np.where(np.arange(band.shape[1]) < band.shape[1] // 2, band, 0).astype(np.uint16)
        for name, band in ten_bands((128, 128)).items()
    }
    archive.add_s2(product("20160103"), TILE, half)
    archive.add_s2(product("20160110"), TILE, ten_bands((128, 128)))
    manifest = run(tmp_path, archive, {"clouds": "none"})
    assert days(manifest) == ["10", "03"]
    assert [take["clear_share"] for take in manifest["datatakes"]] == [1.0, 0.5]
    assert "SCL" not in manifest["chosen"][0]["hrefs"]


def test_tiles_of_a_datatake_are_ranked_together(tmp_path: Path, archive: ArchiveBuilder) -> None:
    bands = ten_bands((128, 128))
    archive.add_s2(product("20160110", tile="30NWN"), grid(599360, 700320, (128, 128)), bands | {"SCL": scl(0)})
    archive.add_s2(product("20160110", tile="30NXN"), TILE, bands | {"SCL": scl(64)})
    archive.add_s2(product("20160117", tile="30NXN"), TILE, bands | {"SCL": scl(20)})
    manifest = run(tmp_path, archive)
    # The western tile ends in the middle of the area; it wins where both have data.
    shares = {take["datatake"]: take["clear_share"] for take in manifest["datatakes"]}
    assert shares["S2A_20160110T103422"] == 1.0
    assert [item["rank"] for item in manifest["chosen"]] == [1, 1, 2]
    assert [item["index"] for item in manifest["chosen"]] == [1, 2, 3]
    assert [item["tile"] for item in manifest["chosen"]] == ["T30NWN", "T30NXN", "T30NXN"]


def test_only_cells_of_the_area_count(tmp_path: Path) -> None:
    lattice = read_lattice(write_grid(tmp_path / "grid.json", WHOLE, 32, {"1": (0, 0, 2, 2)}, outside=[(0, 1)]))
    area = area_of(lattice)
    assert area.geobox.shape == (8, 8)
    assert area.share(np.ones((8, 8), bool)) == 1.0
    assert area.cells.sum() == 48
    # Its pixel centres are those of every eighth pixel of the lattice.
    x, y = area.geobox.transform @ (0.5, 0.5)
    assert (x, y) == WHOLE.transform @ (4.5, 4.5)


def slice_id(day: str, orbit: int, start: str = "055512") -> str:
    return f"S1A_IW_GRDH_1SDV_{day}T{start}_{day}T235959_{orbit:06d}_0101DA_rtc"


def add_slice(
    archive: ArchiveBuilder, day: str, number: int, orbit: tuple[str, int], geobox: Any = TILE, start: str = "055512", **assets: Any
) -> None:
    ones = np.ones(tuple(geobox.shape), np.float32)
    archive.add_s1(slice_id(day, number, start), geobox, ones, ones, orbit, **assets)


def test_one_orbit_is_chosen_for_all_years(tmp_path: Path, archive: ArchiveBuilder) -> None:
    west = grid(599360, 700320, (128, 96))
    both = ("descending", 155), ("ascending", 147)
    add_slice(archive, "20160103", 9430, both[0])
    add_slice(archive, "20220103", 41455, both[0])
    # Three items in 2016, but in 2022 only half of the area.
    for day, number in (("20160104", 9440), ("20160116", 9610), ("20160128", 9780)):
        add_slice(archive, day, number, both[1])
    add_slice(archive, "20220104", 41460, both[1], west)
    manifests = {year: run(tmp_path, archive, year=year, sensor="s1") for year in WINDOWS}
    assert {(m["orbit"]["orbit_state"], m["orbit"]["relative_orbit"]) for m in manifests.values()} == {both[0]}
    assert [item["id"] for item in manifests["2016"]["chosen"]] == [slice_id("20160103", 9430)]
    assert reasons(manifests["2016"])[slice_id("20160104", 9440)] == "other orbit: ascending 147"
    assert reasons(manifests["2016"])[slice_id("20220103", 41455)] == "outside the dates: 2022-01-03"
    assert manifests["2022"]["orbits"][1]["covered_share"] == {"2016": 1.0, "2022": pytest.approx(0.5, abs=0.02)}
    chosen = run(tmp_path, archive, {"relative_orbit": 147}, sensor="s1")["chosen"]
    assert [(item["datatake"], item["rank"]) for item in chosen] == [("S1A_009440", 1), ("S1A_009610", 2), ("S1A_009780", 3)]
    with pytest.raises(UserError, match="6 × other orbit"):
        run(tmp_path, archive, {"relative_orbit": 1}, sensor="s1")


def test_a_wrong_transform_of_the_catalogue_is_reported(tmp_path: Path, archive: ArchiveBuilder) -> None:
    right = list(TILE.transform[:6])
    add_slice(archive, "20160103", 9430, ("descending", 155), **{"proj:transform": right, "proj:shape": [128, 128]})
    add_slice(archive, "20160115", 9605, ("descending", 155), **{"proj:transform": [10.0, 0.0, 600160.0, *right[3:]]})
    add_slice(archive, "20220103", 41455, ("descending", 155))
    notes = run(tmp_path, archive, sensor="s1")["notes"]
    assert [note.split(":")[0] for note in notes] == [f"{slice_id('20160115', 9605)} {band}" for band in ("VV", "VH")]
    assert "600160.0" in notes[0]
    assert "599680.0" in notes[0]


def test_elevation_tiles_are_all_chosen(tmp_path: Path, archive: ArchiveBuilder) -> None:
    near, far = grid(-2.2, 6.4, (360, 720), 1 / 3600, "EPSG:4326"), grid(3.0, 6.4, (36, 36), 1 / 3600, "EPSG:4326")
    archive.add_dem("B", near, np.ones((360, 720), np.float32))
    archive.add_dem("A", near, np.ones((360, 720), np.float32))
    archive.add_dem("C", far, np.ones((36, 36), np.float32))
    manifest = run(tmp_path, archive, year="static", sensor="dem")
    assert [item["id"] for item in manifest["chosen"]] == ["A", "B"]
    assert reasons(manifest) == {"C": "does not touch the cells of the area"}


def test_nothing_usable_says_what_was_there(tmp_path: Path, archive: ArchiveBuilder) -> None:
    archive.add_s2(product("20160201"), TILE, ten_bands((128, 128)))
    archive.add_s2(product("20160202"), TILE, ten_bands((128, 128)))
    with pytest.raises(UserError, match=r"s2 items for 2016[\s\S]*2 × outside the dates"):
        run(tmp_path, archive)
    with pytest.raises(UserError, match=r"a collection sentinel-1-rtc[\s\S]*sentinel-2-l2a"):
        run(tmp_path, archive, sensor="s1")


def test_a_missing_catalogue_names_its_path_and_what_to_do(tmp_path: Path) -> None:
    grid_json = write_grid(tmp_path / "grid.json", WHOLE, 32, {"1": (0, 0, 2, 2)})
    for catalogue, words in (("nowhere/catalog.json", r"nowhere/catalog\.json[\s\S]*make demo"), (None, "config key `catalogue`")):
        with pytest.raises(UserError, match=words):
            search("dem", "static", {}, asked(Elevation(provider="static", catalogue=catalogue)), grid_json, tmp_path / "x.json")


def test_the_manifest_is_the_same_twice(tmp_path: Path, archive: ArchiveBuilder) -> None:
    archive.add_s2(product("20160105"), TILE, ten_bands((128, 128)) | {"SCL": scl(4)})
    run(tmp_path, archive)
    first, second = read_json(tmp_path / "s2-2016.json"), run(tmp_path, archive)
    assert {key: value for key, value in second.items() if key != "asked"} == {key: value for key, value in first.items() if key != "asked"}


def test_items_of_the_grids_zone_win_over_those_of_the_next_zone(tmp_path: Path) -> None:
    """At 0° the zones 30 and 31 meet; the names of the tiles would put zone 30 first."""
    own = SmallArchive(tmp_path, grid(173200, 697000, (64, 64), crs="EPSG:32631"))
    west, x, y = grid(172880, 697320, (128, 128), crs="EPSG:32631"), 836400, 697900
    bands, wide = clear_bands(1), ten_bands((160, 160), 2) | {"SCL": np.full((80, 80), 4, np.uint8)}
    own.add_s2(product("20160105", tile="31NBG"), west, bands)
    own.add_s2(product("20160105", tile="30NZM"), grid(x, y, (160, 160)), wide)
    own.save()
    image = own.image()
    manifest = own.search()
    assert [(item["tile"], item["index"]) for item in manifest["chosen"]] == [("T31NBG", 1), ("T30NZM", 2)]
    assert np.array_equal(image, on_the_area(bands)), "an exact copy"


def radar(archive: ArchiveBuilder, day: str, number: int, orbit: tuple[str, int], power: Any, geobox: Any = TILE) -> str:
    name = slice_id(day, number)
    values = np.broadcast_to(np.float32(power), tuple(geobox.shape)).copy()
    archive.add_s1(name, geobox, values, values, orbit)
    return name


@pytest.mark.parametrize("nothing", [0.0, -32768.0, np.nan, np.inf])
def test_orbits_are_ranked_by_pixels_not_by_footprints(tmp_path: Path, archive: ArchiveBuilder, nothing: float) -> None:
    """Two scenes of an orbit are empty inside intact footprints, one of another orbit covers three quarters."""
    part_of = np.full((128, 128), nothing, np.float32)
    part_of[:, 48:] = 0.1
    for year, number in (("2016", 9430), ("2022", 41455)):
        for day in ("03", "15"):
            radar(archive, f"{year}01{day}", number + int(day), ("ascending", 147), nothing)
        radar(archive, f"{year}0105", number, ("descending", 155), part_of)
    manifest = run(tmp_path, archive, sensor="s1")
    assert [item["orbit_state"] for item in manifest["chosen"]] == ["descending"]
    assert [(orbit["relative_orbit"], orbit["covered_share"]) for orbit in manifest["orbits"]] == [
        (155, {"2016": 0.75, "2022": 0.75}),
        (147, {"2016": 0.0, "2022": 0.0}),
    ]
    assert manifest["datatakes"][0]["covered_share"] == 0.75


def test_an_empty_pass_of_the_chosen_orbit_is_dropped_visibly(
    tmp_path: Path, archive: ArchiveBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    orbit = ("descending", 155)
    good = [radar(archive, f"{year}0105", number, orbit, 0.1) for year, number in (("2016", 9430), ("2022", 41455))]
    empty = radar(archive, "20160117", 9605, orbit, 0.0)
    manifest = run(tmp_path, archive, sensor="s1")
    assert [item["id"] for item in manifest["chosen"]] == good[:1]
    assert manifest["dropped"] == [{"id": empty, "reason": "no data on the cells of the area", "share": 1.0}]
    assert f"s1 2016: {empty} is left out, 100.0 % of the area: no data" in capsys.readouterr().out


def test_slices_of_one_second_complement_each_other_and_a_second_processing_is_dropped(tmp_path: Path) -> None:
    """A catalogue that states only the day, with two halves of the area and a later processing of the upper one."""
    made, orbit, ones = SmallArchive(tmp_path), ("descending", 155), np.full((128, 128), 0.1, np.float32)
    names = {"up": "009430_0101DA", "low": "009430_0101DB", "again": "009430_0101DC", "2022": "041455_0101DA"}
    ids = {}
    for key, end in names.items():
        year = "2022" if key == "2022" else "2016"
        ids[key] = f"S1A_IW_GRDH_1SDV_{year}0105T000000_{year}0105T235959_{end}_rtc"
        box = {"up": TILE[:70], "again": TILE[:70], "low": TILE[60:], "2022": TILE}[key]
        made.add_s1(ids[key], box, ones[: box.shape.y], ones[: box.shape.y], orbit)
    made.save()
    manifest = made.search("s1")
    assert chosen(manifest) == [ids["low"], ids["again"]]
    assert manifest["datatakes"][0]["covered_share"] == 1.0
    assert reasons(manifest)[ids["up"]] == f"superseded by {ids['again']} and {ids['low']}: the same acquisition and the same ground"


def test_slices_in_the_grids_crs_come_first(tmp_path: Path, archive: ArchiveBuilder) -> None:
    orbit, foreign = ("descending", 155), grid(-65500, 703500, (300, 300), crs="EPSG:32631")
    for year, number in (("2016", 9430), ("2022", 41455)):
        ones = np.full((300, 300), 0.1, np.float32)
        archive.add_s1(slice_id(f"{year}0105", number, "055512"), foreign, ones, ones, orbit)
        archive.add_s1(slice_id(f"{year}0105", number, "055537"), TILE, ones[:128, :128], ones[:128, :128], orbit)
    manifest = run(tmp_path, archive, sensor="s1")
    assert [item["id"][26:32] for item in manifest["chosen"]] == ["055537", "055512"]
    assert [item["index"] for item in manifest["chosen"]] == [1, 2]


def test_a_scene_of_zeros_under_a_clear_classification_does_not_win(
    tmp_path: Path, archive: ArchiveBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, zero = clear_bands(1), {band: np.zeros_like(values) for band, values in clear_bands(1).items()}
    archive.add_s2(product("20160103"), TILE, zero | {"SCL": whole["SCL"]})
    archive.add_s2(product("20160110"), TILE, part(whole, slice(48, 128)) | {"SCL": whole["SCL"]})
    archive.add_s2(product("20160117"), TILE, whole | {"SCL": scl(40)})
    archive.add_s2(product("20160124"), TILE, whole | {"SCL": np.zeros((64, 64), np.uint8)})
    manifest = run(tmp_path, archive)
    assert days(manifest) == ["10", "17"]
    assert [take["clear_share"] for take in manifest["datatakes"]] == [0.75, 0.375, 0.0, 0.0]
    assert [item["id"] for item in manifest["dropped"]] == [product("20160103"), product("20160124")]
    assert capsys.readouterr().out.count("no data on the cells of the area") == 2


def test_what_is_dropped_for_no_ranking_has_reason_and_share(
    tmp_path: Path, archive: ArchiveBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    bands = clear_bands(1)
    west = grid(599680, 700320, (128, 64))
    archive.add_s2(product("20160105"), TILE, bands)
    archive.add_s2("S2A_MSIL2A_20160106T103422_without_baseline", TILE, bands)
    half = {name: values[:, : values.shape[1] // 2] for name, values in bands.items() if name != "B05"}
    archive.add_s2(product("20160107"), west, half)
    archive.add_s2(product("20160201"), TILE, {"B02": bands["B02"]})
    manifest = run(tmp_path, archive)
    assert manifest["dropped"] == [
        {"id": "S2A_MSIL2A_20160106T103422_without_baseline", "reason": "no processing baseline", "share": 1.0},
        {"id": product("20160107"), "reason": "bands missing: B05", "share": 0.5},
    ]
    out = capsys.readouterr().out
    assert f"s2 2016: {product('20160107')} is left out, 50.0 % of the area: bands missing: B05" in out
    assert "20160201" not in out, "outside the dates"
    assert chosen(manifest) == [product("20160105")]


def test_reasons_are_grouped_with_their_numbers() -> None:
    assert why_rejected({}) == ""
    assert why_rejected({"a": "bands missing: B05"}) == "1 × bands missing: B05"
    reasons = {
        "a": "too cloudy: 95.0 % above 80 %",
        "b": "too cloudy: 81.5 % above 80 %",
        "c": "superseded by S2A: baseline 05.00",
        "d": "x",
    }
    assert why_rejected(reasons) == "2 × too cloudy, such as 81.5 % above 80 %; 1 × superseded: by S2A: baseline 05.00; 1 × x"
    assert (
        why_rejected({"a": "bands missing: B05", "b": "bands missing: B05", "c": "bands missing: VH"}) == "3 × bands missing, such as B05"
    )
