"""What composites deliver is held against limits: what stops, what is reported, and what neither."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from archive_builder import ArchiveBuilder, grid, product, ten_bands, write_grid
from sections import asked, cache, fetching
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite import elevation, sentinel1
from smallmines.composite.counts import PixelCounts
from smallmines.composite.limits import check_elevation, check_sentinel1, check_sentinel2, require_coverage
from smallmines.composite.observations import CLEAR, CLOUDY, NONE, Surface
from smallmines.composite.sentinel2 import composite
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS

STRIP = rasterio.windows.Window(0, 0, 40, 40)
FOREST = (250, 450, 300, 800, 2400, 2900, 3000, 3100, 1700, 800)
DESERT = (2500, 3400, 4600, 4800, 5000, 5100, 5200, 5300, 6600, 6200)
SNOW = (9900, 9800, 9700, 9650, 9600, 9500, 9400, 9200, 1100, 1200)
SUNLIT_SNOW = tuple(round(1.3 * value) for value in SNOW)
SEA = (160, 90, 40, 25, 15, 12, 10, 8, 4, 3)
CLOUD = (15800, 14600, 14000, 14600, 13900, 13300, 14400, 12900, 6800, 5700)


def counted(spectrum: tuple[int, ...], grade: int = CLEAR, offset: int = 1000, seed: int = 0, share: float = 1.0) -> PixelCounts:
    """Counts of 40 × 40 own pixels of scene 1 with a little noise; only a share of them was observed."""
    rng = np.random.default_rng(seed)
    dn = np.array(spectrum)[:, np.newaxis, np.newaxis] * rng.normal(1, 0.05, (10, 40, 40)) + offset
    seen = rng.random((40, 40)) < share
    dn = np.where(seen, np.clip(dn, 1, 65535), 0).astype(np.uint16)
    surface = Surface(dn, seen.astype(np.uint8), np.where(seen, grade, NONE).astype(np.uint8), np.zeros((40, 40), bool))
    counts = PixelCounts(np.ones((40, 40), bool), 40, offset, 1)
    counts.add(STRIP, [surface], surface, np.zeros((40, 40), bool))
    return counts


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("spectrum", [FOREST, DESERT, SNOW, SUNLIT_SNOW, SEA])
def test_real_surfaces_pass(spectrum: tuple[int, ...], offset: int) -> None:
    assert check_sentinel2("1", counted(spectrum, offset=offset), {1: "a"}, 0.99) == []


def test_clouds_everywhere_are_reported_and_do_not_stop() -> None:
    assert check_sentinel2("1", counted(CLOUD, CLOUDY), {1: "a"}, 0.99) == ["Sentinel-2 of block 1 is clear on 0.0 % of the pixels only"]


@pytest.mark.parametrize("spectrum", [(64000,) * 10, (*FOREST[:9], 30000), (1,) * 10, (0.2,) * 10])
def test_values_that_are_no_reflectances_stop_and_name_the_item(spectrum: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="S2A_broken \\(1600 px\\)") as error:
        check_sentinel2("3", counted(spectrum), {1: "S2A_broken", 2: "S2A_sound"}, 0.99)
    assert "block 3" in error.value.expected
    assert "S2A_sound" not in error.value.found


def test_a_few_pixels_beyond_are_reported_and_one_percent_stops() -> None:
    counts = counted(FOREST)
    counts.levels.bright[1] = 16
    assert check_sentinel2("1", counts, {1: "a"}, 0.99) == ["Sentinel-2 of block 1: 16 pixels above DN 20000, which are no reflectances"]
    counts.levels.bright[1] = 17
    with pytest.raises(UserError, match="1\\.1 % of the pixels above"):
        check_sentinel2("1", counts, {1: "a"}, 0.99)


def test_a_band_of_one_value_is_reported() -> None:
    counts = counted(FOREST)
    counts.levels.counts[3] = 0
    counts.levels.counts[3, 1800] = 1600
    assert check_sentinel2("1", counts, {1: "a"}, 0.99) == ["Sentinel-2 of block 1 has one and the same value everywhere in B05"]


def test_too_few_observed_pixels_stop_and_the_key_relaxes_it() -> None:
    counts = counted(FOREST, share=0.34)
    with pytest.raises(UserError, match=r"6\d\.\d % of the pixels without data, inside the footprints of a") as error:
        check_sentinel2("1", counts, {1: "a"}, 0.99)
    assert "lower minimum_coverage" in error.value.do
    assert len(check_sentinel2("1", counts, {1: "a"}, 0.3)) == 1, "the clear share is still reported"


def test_exactly_the_minimum_is_enough() -> None:
    require_coverage("Sentinel-1", "1", 0.01, [], 0.99)
    require_coverage("Sentinel-1", "1", 1.0, [], 0.0)
    with pytest.raises(UserError):
        require_coverage("Sentinel-1", "1", 0.0101, [], 0.99)


def radar(vv: float, vh: float) -> np.ndarray:
    return np.random.default_rng(1).normal([[vv], [vh]], 1.0, (2, 900)).astype(np.float32)


@pytest.mark.parametrize(("vv", "vh"), [(-8, -14), (-14.5, -22), (-22, -30), (-24, -32), (-4, -10)])
def test_backscatter_of_land_desert_and_water_passes(vv: float, vh: float) -> None:
    assert check_sentinel1("1", radar(vv, vh), ["a"], 0.99) == []


@pytest.mark.parametrize(
    ("vv", "vh", "finding"),
    [
        (45, 38, "the median of VV is 45.0 dB; land has -28 to 2"),
        (-8, -48, "the median of VH is -48.0 dB; land has -35 to -4"),
        (-18, -9, "VH is above VV in the median"),
    ],
)
def test_backscatter_far_outside_is_reported_and_does_not_stop(vv: float, vh: float, finding: str) -> None:
    assert any(finding in text for text in check_sentinel1("7", radar(vv, vh), ["a"], 0.99))


def test_radar_and_elevation_without_enough_data_stop() -> None:
    decibel = radar(-8, -14)
    decibel[:, :90] = np.nan
    with pytest.raises(UserError, match=r"10\.0 % of the pixels without data, inside the footprints of a, b"):
        check_sentinel1("1", decibel, ["a", "b"], 0.99)
    heights = np.full(900, 200, np.float32)
    check_elevation("1", heights, ["a"], 0.99)
    heights[:90] = np.nan
    with pytest.raises(UserError, match=r"10\.0 % of the pixels without data"):
        check_elevation("1", heights, ["a"], 0.99)
    check_elevation("1", heights, ["a"], 0.9)


@pytest.mark.parametrize("height", [-9999, -32768, 32767])
def test_undeclared_nodata_is_no_height(height: float) -> None:
    heights = np.full(900, 200, np.float32)
    heights[5] = height
    with pytest.raises(UserError, match=f"{height} m|{height:.0f}") as error:
        check_elevation("2", heights, ["tile"], 0.99)
    assert "tile" in error.value.found
    check_elevation("2", np.linspace(-430, 8849, 900, dtype=np.float32), ["tile"], 0.99)


@pytest.mark.parametrize(("minimum", "stops"), [(0.99, True), (0.4, False)])
def test_a_radar_scene_of_zeros_in_its_footprint_stops_before_the_composite_is_written(tmp_path: Path, minimum: float, stops: bool) -> None:
    archive = ArchiveBuilder(tmp_path / "archive")
    power = np.full((100, 140), 0.1, np.float32)
    power[:, 70:] = 0
    name = "S1A_IW_GRDH_1SDV_20160103T181120_20160103T181145_009330_00D7E6_rtc"
    archive.add_s1(name, grid(599800, 700200, power.shape), power, power / 4, ("descending", 155))
    config = Sentinel1(provider="static", catalogue=str(archive.save()), border_erosion_px=2)
    lattice = write_grid(tmp_path / "grid.json", grid(600000, 700000, (64, 96)), 32, {"1": (0, 0, 2, 3)})
    search("s1", "2016", {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}, asked(config), lattice, tmp_path / "s1.json")
    fetch("s1", "1", lattice, tmp_path / "s1.json", cache(tmp_path / "pixels"), fetching(config), tmp_path / "f.json")
    outputs = {"image": tmp_path / "s1.tif", "stats": tmp_path / "stats.json"}
    with pytest.raises(UserError, match=f"inside the footprints of {name}") if stops else nullcontext():
        sentinel1.composite("1", lattice, tmp_path / "f.json", config, outputs, minimum)
    assert outputs["image"].exists() != stops


def test_a_gap_between_elevation_tiles_stops_before_the_composite_is_written(tmp_path: Path) -> None:
    archive = ArchiveBuilder(tmp_path / "archive")
    whole = grid(-2.1, 6.35, (140, 120), 1 / 3600, "EPSG:4326")
    archive.add_dem("west", whole[:, :20], np.full((140, 20), 200.0))
    lattice = write_grid(tmp_path / "grid.json", grid(600003.7, 700001.3, (96, 128)), 32, {"1": (0, 0, 3, 4)})
    config = Elevation(provider="static", catalogue=str(archive.save()))
    search("dem", "static", {}, asked(config), lattice, tmp_path / "dem.json")
    fetch("dem", "1", lattice, tmp_path / "dem.json", cache(tmp_path / "pixels"), fetching(config), tmp_path / "f.json")
    with pytest.raises(UserError, match=r"\d\d\.\d % of the pixels without data, inside the footprints of west"):
        elevation.composite("1", lattice, tmp_path / "f.json", config, {"image": tmp_path / "d.tif", "stats": tmp_path / "s.json"}, 0.99)
    assert not (tmp_path / "d.tif").exists()


def run(folder: Path, scenes: Mapping[str, Mapping[str, np.ndarray]], **settings: Any) -> tuple[dict[str, Any], dict[str, str], np.ndarray]:
    """Statistics, tags and image of a block of 64 × 64 px, made of scenes by day."""
    archive = ArchiveBuilder(folder / "archive")
    for day, bands in scenes.items():
        archive.add_s2(product(day), grid(599680, 700320, (128, 128)), bands)
    config = Sentinel2(provider="static", catalogue=str(archive.save()), **settings)
    lattice = write_grid(folder / "grid.json", grid(600000, 700000, (64, 64)), 32, {"1": (0, 0, 2, 2)})
    search("s2", "2016", {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}, asked(config), lattice, folder / "s2.json")
    fetch("s2", "1", lattice, folder / "s2.json", cache(folder / "pixels"), fetching(config), folder / "f.json")
    outputs = {name: folder / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {"stats": folder / "stats.json"}
    composite("1", lattice, folder / "f.json", config, outputs, 0.99)
    with rasterio.open(outputs["image"]) as source:
        return read_json(outputs["stats"]), source.tags(), source.read()


def scene(seed: int, scl: int | np.ndarray = 5) -> dict[str, np.ndarray]:
    classes = np.full((64, 64), scl, np.uint8) if isinstance(scl, int) else scl.astype(np.uint8)
    return ten_bands((128, 128), seed) | {"SCL": classes}


def test_class_0_is_no_data_whatever_the_bands_hold(tmp_path: Path) -> None:
    no_data = np.random.default_rng(0).random((64, 64)) < 0.92
    broken = {name: np.full(band.shape, 64000, np.uint16) for name, band in scene(1).items()} | {
        "SCL": np.where(no_data, 0, 4).astype(np.uint8)
    }
    (tmp_path / "alone").mkdir()
    with pytest.raises(UserError, match=r"9\d\.\d % of the pixels without data"):
        run(tmp_path / "alone", {"20160105": broken})
    assert not (tmp_path / "alone" / "image.tif").exists()
    (tmp_path / "filled").mkdir()
    with pytest.raises(UserError, match=r"% of the pixels above.*from S2A_MSIL2A_20160105T103422_N0500_R108_T30NXN_20210528T081650 \("):
        run(tmp_path / "filled", {"20160105": broken, "20160115": scene(2, np.where(no_data, 5, 9))})
    broken["SCL"] = np.zeros((64, 64), np.uint8)
    (tmp_path / "zero").mkdir()
    stats, _, image = run(tmp_path / "zero", {"20160105": broken, "20160115": scene(2)})
    assert image.max() < 4000
    assert [finding for finding in stats["findings"] if "unassessed" not in finding] == []


def test_a_scene_of_zeros_in_its_footprint_stops(tmp_path: Path) -> None:
    bands = scene(1)
    bands["B02"][:, :80] = 0
    with pytest.raises(UserError, match="of the pixels without data, inside the footprints of S2A_"):
        run(tmp_path, {"20160105": bands})


def test_findings_go_into_the_statistics(tmp_path: Path) -> None:
    stats, tags, _ = run(tmp_path, {"20160105": scene(1, 9), "20160115": scene(2, 9)}, stable_tolerance=0)
    assert stats["findings"] == [
        "Sentinel-2 of block 1 is clear on 0.0 % of the pixels only",
        "Haze of Sentinel-2 of block 1 is unassessed: fewer than 3 clear dates",
    ]
    assert tags["HAZE"] == "unassessed"


def smooth(haze: int = 0) -> dict[str, np.ndarray]:
    """A forest on every date, through haze on some."""
    part = (1.0, 0.8, 0.7, 0.5, 0.4, 0.4, 0.3, 0.3, 0.1, 0.1)
    return {
        band: np.full((128 // (1 if band in ("B02", "B03", "B04", "B08") else 2),) * 2, 1000 + value + round(haze * share), np.uint16)
        for band, value, share in zip(S2_BANDS, FOREST, part, strict=True)
    } | {"SCL": np.full((64, 64), 4, np.uint8)}


@pytest.mark.parametrize(("haze", "state"), [("auto", "corrected"), ("never", "not corrected")])
def test_a_hazy_date_is_left_out_whatever_its_rank(tmp_path: Path, haze: str, state: str) -> None:
    scenes = {"20160105": smooth(500), "20160115": smooth(), "20160125": smooth(20)}
    stats, tags, image = run(tmp_path, scenes, haze=haze, method="earliest")
    assert tags["HAZE"] == state
    assert stats["haze"]["state"] == state
    assert set(np.unique(image[0])) == ({1750} if haze == "never" else {1250})
    if state == "corrected":
        assert stats["haze"]["assessed_share"] == 1.0
        assert stats["haze"]["hazy_share_of_clear"] == {"S2A_20160105T103422": 1.0, "S2A_20160115T103422": 0.0, "S2A_20160125T103422": 0.0}
    manifest = read_json(tmp_path / "s2.json")
    assert {take["date"]: take["hazy_share"] for take in manifest["datatakes"]} == {"2016-01-05": 1.0, "2016-01-15": 0.0, "2016-01-25": 0.0}


def test_the_best_scene_is_the_one_without_haze(tmp_path: Path) -> None:
    run(tmp_path, {"20160105": smooth(500), "20160115": smooth(), "20160125": smooth(20)})
    assert [take["date"] for take in read_json(tmp_path / "s2.json")["datatakes"]] == ["2016-01-15", "2016-01-25", "2016-01-05"]


@pytest.mark.heavy
def test_products_with_the_optical_thickness_are_not_corrected_unless_always(tmp_path: Path) -> None:
    scenes = {
        day: bands | {"AOT": np.full((64, 64), 80, np.uint16)}
        for day, bands in {"20160105": smooth(500), "20160115": smooth(), "20160125": smooth()}.items()
    }
    for haze, level, state in (("auto", 1750, "not corrected"), ("always", 1250, "corrected")):
        folder = tmp_path / haze
        folder.mkdir()
        _, tags, image = run(folder, scenes, haze=haze, method="earliest")
        assert set(np.unique(image[0])) == {level}
        assert tags["HAZE"] == state
        assert {take["hazy_share"] for take in read_json(folder / "s2.json")["datatakes"]} == {None}


def test_an_optical_thickness_that_is_listed_and_not_there_is_missing(tmp_path: Path) -> None:
    thickness = {"AOT": np.full((64, 64), 80, np.uint16)}
    archive = ArchiveBuilder(tmp_path / "archive")
    for day, haze in (("20160105", 500), ("20160115", 0), ("20160125", 0)):
        archive.add_s2(product(day), grid(599680, 700320, (128, 128)), smooth(haze) | thickness)
    catalogue = archive.save()
    for file in (tmp_path / "archive").rglob("AOT.tif"):
        file.unlink()
    lattice = write_grid(tmp_path / "grid.json", grid(600000, 700000, (64, 64)), 32, {"1": (0, 0, 2, 2)})
    config = Sentinel2(provider="static", catalogue=str(catalogue))
    search("s2", "2016", {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}, asked(config), lattice, tmp_path / "s2.json")
    manifest = read_json(tmp_path / "s2.json")
    assert [take["hazy_share"] for take in manifest["datatakes"]] == [0.0, 0.0, 1.0]
    assert {item["optical_thickness"] for item in manifest["chosen"]} == {False}


def test_two_dates_are_unassessed_and_unchanged(tmp_path: Path) -> None:
    stats, tags, image = run(tmp_path, {"20160105": smooth(500), "20160115": smooth()}, method="earliest")
    assert tags["HAZE"] == "unassessed"
    assert set(np.unique(image[0])) == {1750}
    assert stats["haze"] == {"state": "unassessed"}


def test_three_dates_that_are_nowhere_clear_together_are_unassessed(tmp_path: Path) -> None:
    third = np.indices((64, 64))[1] % 3
    scenes = {f"201601{day}": smooth() | {"SCL": np.where(third == n, 9, 4).astype(np.uint8)} for n, day in enumerate(("05", "15", "25"))}
    stats, tags, _ = run(tmp_path, scenes, cloud_dilation_px=0, cloud_opening_px=0)
    assert tags["HAZE"] == "unassessed"
    assert stats["haze"]["state"] == "unassessed"
    assert stats["findings"][-1] == "Haze of Sentinel-2 of block 1 is unassessed: fewer than 3 clear dates"
    with rasterio.open(tmp_path / "clear_mask.tif") as source:
        assert source.tags()["HAZE"] == "unassessed"


def test_backscatter_of_no_ground_is_a_finding() -> None:
    decibel = np.stack([np.full(100, -10, np.float32), np.full(100, -17, np.float32)])
    assert check_sentinel1("1", decibel, ["a"], 0.99) == []
    decibel[0, :7], decibel[1, :2] = -90, 300
    (finding,) = check_sentinel1("1", decibel, ["a"], 0.99)
    assert "7 pixels of VV and 2 pixels of VH lie outside -60 to 40 dB" in finding


def test_heights_of_zero_inland_and_flat_ground_are_findings() -> None:
    heights = np.linspace(200, 260, 100, dtype=np.float32)
    assert check_elevation("1", heights, ["a"], 0.99) == []
    heights[:5] = 0
    assert "5 pixels are exactly 0 m, and 95 % of the others above 20" in check_elevation("1", heights, ["a"], 0.99)[0]
    coast = np.concatenate([np.zeros(50), np.linspace(0.1, 30, 50)]).astype(np.float32)
    assert check_elevation("1", coast, ["a"], 0.99) == []
    assert check_elevation("1", np.zeros(9, np.float32), ["a"], 0.99) == ["Elevation of block 1 is 0 m everywhere"]
