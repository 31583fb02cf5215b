"""The Sentinel-2 composite, pixel by pixel, and that neighbouring blocks agree."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archive_builder import ArchiveBuilder, grid, product, ten_bands, write_grid
from sections import asked, cache, fetching
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite import sentinel2
from smallmines.composite.observations import (
    CLEAR,
    CLOUDY,
    NEAR,
    NONE,
    Surface,
    accept_stable,
    confirmed_by_another_date,
    first_clear,
    median,
    mosaic,
    near_cloud,
)
from smallmines.composite.seams import SEVERAL
from smallmines.composite.sentinel2 import composite
from smallmines.config.imagery import Sentinel2
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS

MASKED = (0, 1, 3, 8, 9, 10, 11)


def surface(values: list[int], source: int, grades: list[int]) -> Surface:
    """One row of pixels, one band."""
    grade = np.array([grades], np.uint8)
    dn = np.where(grade > 0, np.array([values], np.uint16), 0).astype(np.uint16)[np.newaxis]
    return Surface(dn, np.where(grade > 0, source, 0).astype(np.uint8), grade, np.zeros(grade.shape, bool))


TAKES = [
    surface([10, 11, 12, 13, 14, 15], 1, [CLEAR, CLOUDY, CLOUDY, CLOUDY, NONE, NONE]),
    surface([20, 21, 22, 23, 24, 25], 2, [CLEAR, CLEAR, CLOUDY, NEAR, CLOUDY, NONE]),
    surface([30, 31, 32, 33, 34, 35], 3, [CLEAR, CLEAR, CLOUDY, NEAR, CLOUDY, NONE]),
]


def test_the_first_clear_one_wins_and_gaps_are_filled_by_grade_then_rank() -> None:
    done = first_clear(iter(TAKES), "keep")
    assert done.dn[0, 0].tolist() == [10, 21, 12, 23, 24, 0]
    assert done.source[0].tolist() == [1, 2, 1, 2, 2, 0]
    assert done.grade[0].tolist() == [CLEAR, CLEAR, CLOUDY, NEAR, CLOUDY, NONE]


def test_unclear_pixels_can_become_nodata() -> None:
    done = first_clear(TAKES, "nodata")
    assert done.dn[0, 0].tolist() == [10, 21, 0, 0, 0, 0]
    assert done.source[0].tolist() == [1, 2, 0, 0, 0, 0]


def test_the_median_of_an_even_number_is_the_lower_middle() -> None:
    done = median(TAKES, "keep")
    assert done.dn[0, 0].tolist() == [20, 21, 12, 23, 24, 0]
    assert done.source[0].tolist() == [SEVERAL, SEVERAL, 1, 2, 2, 0]


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint16, (5, 4), elements=st.integers(1, 60000)), arrays(np.uint8, (5, 4), elements=st.integers(0, 3)))
def test_median_against_numpy(values: np.ndarray, grades: np.ndarray) -> None:
    takes = [surface(row.tolist(), number, grade.tolist()) for number, (row, grade) in enumerate(zip(values, grades, strict=True), 1)]
    done = median(takes, "keep")
    for pixel in range(4):
        clear = values[grades[:, pixel] == CLEAR, pixel]
        if clear.size:
            assert done.dn[0, 0, pixel] == np.quantile(clear, 0.5, method="inverted_cdf")


def test_clouds_grow_by_a_disk_but_specks_do_not() -> None:
    classes = np.full((60, 60), 4, np.uint8)
    classes[20:31, 20:31] = 9
    classes[45, 45] = 8
    cloud = np.argwhere(np.isin(classes, (8, 9)))
    clear = np.argwhere(~np.isin(classes, (8, 9)))
    pixels = np.argwhere(np.ones((60, 60), bool))
    distance = np.hypot(*(cloud[:, np.newaxis] - clear[np.newaxis]).transpose(2, 0, 1)).min(axis=1)
    inner = cloud[distance > 4]
    assert 9 <= len(inner) <= 25
    expected = (np.hypot(*(pixels[:, np.newaxis] - inner[np.newaxis]).transpose(2, 0, 1)).min(axis=1) <= 10).reshape(60, 60)
    grown = near_cloud(classes, MASKED, 6, 4)
    assert np.array_equal(grown, expected)
    assert expected[25, 14:20].all()
    core = near_cloud(classes, MASKED, 0, 0)
    assert np.array_equal(core, np.isin(classes, (8, 9)))
    assert not grown[40:, 40:].any()
    everything = near_cloud(classes, MASKED, 6, 0)
    assert everything[45, 51]
    assert not everything[45, 52]
    assert not near_cloud(classes, (0, 1), 6, 0).any()


def test_within_a_datatake_the_first_item_by_order_wins_where_it_has_data() -> None:
    a, b = np.full((1, 1, 4), 100, np.uint16), np.full((1, 1, 4), 200, np.uint16)
    valid = np.array([[True, True, False, False]]), np.array([[True, True, True, False]])
    scl = [np.array([[4, 9, 9, 0]], np.uint8), np.array([[9, 4, 4, 4]], np.uint8)]
    done = mosaic([(3, a, valid[0]), (5, b, valid[1])], scl, MASKED)
    assert done.source.tolist() == [[3, 3, 5, 0]]
    assert done.dn[0].tolist() == [[100, 100, 200, 0]]
    assert done.grade.tolist() == [[CLEAR, CLOUDY, NEAR, NONE]]
    assert done.bright.tolist() == [[False, True, False, False]]


SOIL = [1250, 1660, 2090, 2320, 2460, 2590, 2740, 2810, 3230, 2600]
THICK = [5200, 5050, 5150, 5250, 5450, 5550, 5650, 5650, 3900, 3000]
POND = [300, 500, 600, 620, 500, 450, 400, 350, 120, 80]


def dates(*spectra: list[int]) -> np.ndarray:
    """One pixel on several dates, (datatake, band, pixel)."""
    return np.array(spectra, np.int32)[:, :, np.newaxis]


def test_bright_ground_called_cloud_on_every_date_is_confirmed_by_a_second_one() -> None:
    flag = np.ones((3, 1), bool)
    brighter = [round(1.1 * value) for value in SOIL]
    assert confirmed_by_another_date(dates(THICK, SOIL, brighter), ~flag, flag, 0.12).tolist() == [1]
    assert confirmed_by_another_date(dates(THICK, SOIL, [round(1.3 * value) for value in SOIL]), ~flag, flag, 0.12).tolist() == [-1]
    assert confirmed_by_another_date(dates(THICK, THICK, THICK), ~flag, flag, 0.12).tolist() == [-1], "clouds agree with each other"
    changed = [*SOIL[:9], 3200]
    assert confirmed_by_another_date(dates(SOIL, changed, THICK), ~flag, flag, 0.12).tolist() == [-1], "one band is enough to differ"


def test_near_a_cloud_agreement_is_enough_and_a_shadow_confirms_nothing() -> None:
    near = np.array([[True], [True]])
    assert confirmed_by_another_date(dates(POND, [value + 50 for value in POND]), near, ~near, 0.12).tolist() == [0]
    assert confirmed_by_another_date(dates(POND, POND), ~near, near, 0.12).tolist() == [-1], "water that is called cloud is not soil"
    assert confirmed_by_another_date(dates(SOIL, SOIL), np.array([[True], [False]]), np.zeros((2, 1), bool), 0.12).tolist() == [-1]


@pytest.mark.parametrize("offset", [0, 1000])
def test_a_stable_pixel_becomes_clear_with_its_best_observation(offset: int) -> None:
    def take(spectra: list[list[int]], grades: list[int], source: int, bright: list[bool]) -> Surface:
        dn = (np.array(spectra).T[:, np.newaxis] + offset).astype(np.uint16)
        return Surface(dn, np.full((1, 3), source, np.uint8), np.array([grades], np.uint8), np.array([bright]))

    takes = [
        take([THICK, SOIL, SOIL], [CLOUDY, CLOUDY, CLOUDY], 1, [True, True, False]),
        take([SOIL, SOIL, SOIL], [CLOUDY, CLEAR, CLOUDY], 2, [True, False, True]),
        take([[value + 20 for value in SOIL], SOIL, SOIL], [NEAR, CLOUDY, NEAR], 3, [False, True, False]),
    ]
    done = first_clear(takes, "keep")
    assert accept_stable(done, takes, 0.12, offset).tolist() == [[True, False, True]]
    assert done.source.tolist() == [[2, 2, 2]]
    assert done.grade.tolist() == [[CLEAR, CLEAR, CLEAR]]
    assert done.dn[:, 0, 0].tolist() == [value + offset for value in SOIL]
    assert not accept_stable(first_clear(takes, "keep"), takes, 0, offset).any()


WHOLE = grid(600000, 700000, (96, 128))


class Place:
    """Three datatakes, the second in two overlapping tiles, over a grid with two overlapping blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(3)
        archive = ArchiveBuilder(folder / "archive")
        self.dn: dict[str, np.ndarray] = {}
        self.scl: dict[str, np.ndarray] = {}
        west, east, both = grid(599680, 700320, (160, 96)), grid(600320, 700320, (160, 128)), grid(599680, 700320, (160, 192))
        for number, (day, tile, geobox, baseline, share) in enumerate(
            (
                ("20160105", "30NXN", both, "0500", 0.10),
                ("20160115", "30NWN", west, "0208", 0.15),
                ("20160115", "30NXN", east, "0500", 0.15),
                ("20160125", "30NXN", both, "0208", 0.20),
            )
        ):
            name = product(day, tile, baseline)
            shape = tuple(geobox.shape)
            bands = ten_bands(shape, number, *((1100, 4000) if baseline == "0500" else (100, 3000)))
            bands["B03"][:, :3] = 0
            classes = np.where(rng.random((shape[0] // 2, shape[1] // 2)) < share, 9, 5).astype(np.uint8)
            classes[30:44, 20:34] = 8
            archive.add_s2(name, geobox, bands | {"SCL": classes})
            self.dn[name], self.scl[name] = self.spread(bands, geobox), self.spread({"SCL": classes}, geobox)[0]
        self.catalogue = archive.save()
        blocks = {"1": (0, 0, 3, 3), "2": (1, 1, 2, 3), "3": (0, 0, 3, 4)}
        self.grid = write_grid(folder / "grid.json", WHOLE, 32, blocks)

    @staticmethod
    def spread(bands: dict[str, np.ndarray], geobox: Any) -> np.ndarray:
        """The bands on the lattice `WHOLE`, made with numpy alone."""
        north, west = round((geobox.transform.f - 700000) / 10), round((geobox.transform.c - 600000) / 10)
        full = []
        for band in bands.values():
            fine = band if band.shape == tuple(geobox.shape) else np.kron(band, np.ones((2, 2), band.dtype))
            target = np.zeros((300, 300), band.dtype)
            target[100 - north : 100 - north + fine.shape[0], 100 + west : 100 + west + fine.shape[1]] = fine
            full.append(target[100:196, 100:228])
        return np.stack(full)

    def make(self, block: str, **settings: Any) -> dict[str, Path]:
        config = Sentinel2(provider="static", catalogue=str(self.catalogue), **({"cloud_dilation_px": 2, "cloud_opening_px": 1} | settings))
        manifest, fetched = self.folder / "s2.json", self.folder / f"fetched{block}.json"
        search("s2", "2016", {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}, asked(config), self.grid, manifest)
        fetch("s2", block, self.grid, manifest, cache(self.folder / "pixels"), fetching(config), fetched)
        outputs = {name: self.folder / block / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {
            "stats": self.folder / block / "s.json"
        }
        composite(block, self.grid, fetched, config, outputs)
        return outputs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("s2"))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.parametrize("changes", [{}, {"method": "median"}, {"unclear": "nodata"}, {"cloud_opening_px": 0, "cloud_dilation_px": 4}])
def test_blocks_and_strips_do_not_show(place: Place, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    whole = place.make("3", **changes)
    expected = {name: read(whole[name]) for name in ("image", "source", "clear_mask")}
    monkeypatch.setattr(sentinel2, "strips", lambda shape: sentinel2_strips(shape, 17))
    for block, window in (("1", np.s_[:, 0:96, 0:96]), ("2", np.s_[:, 32:96, 32:128])):
        made = place.make(block, **changes)
        for name, values in expected.items():
            assert np.array_equal(read(made[name]), values[window]), name


sentinel2_strips = sentinel2.strips


def test_pixels_are_those_of_the_scene_they_name(place: Place) -> None:
    made = place.make("3")
    image, source, clear = read(made["image"]), read(made["source"])[0], read(made["clear_mask"])[0]
    with rasterio.open(made["source"]) as opened:
        names = opened.tags()["ITEMS"].split(",")
    assert set(np.unique(source)) == {1, 2, 3, 4}
    for index, name in enumerate(names, 1):
        mine = source == index
        raw = place.dn[name]
        scl = place.scl[name]
        plus = 0 if "_N0500_" in name else 1000
        assert np.array_equal(image[:, mine], raw[:, mine] + plus)
        assert (scl[mine & (clear == 1)] == 5).all()
    first = place.scl[names[0]]
    assert (source[(first != 5)] != 1).mean() > 0.5


def test_tags_and_stats_tell_how_it_was_made(place: Place) -> None:
    made = place.make("1", radiometry="dn_harmonised")
    with rasterio.open(made["image"]) as source:
        tags = source.tags()
        assert source.descriptions == S2_BANDS
        assert (source.dtypes[0], source.nodata) == ("uint16", 0)
    assert (tags["RADIOMETRY"], tags["CLOUDS"], tags["METHOD"]) == ("dn_harmonised", "scl", "best_scene")
    assert sorted(tags["BASELINES"].split(",")) == ["02.08", "02.08", "05.00", "05.00"]
    stats = read_json(made["stats"])
    assert tags["RADIOMETRY_VERDICT"] == stats["verdict"] == "proved"
    assert {scene["declared_by"] for scene in stats["scenes"]} == {"product"}
    source, clear = read(made["source"])[0], read(made["clear_mask"])[0]
    for scene in stats["scenes"]:
        assert scene["share"] == pytest.approx((source == scene["index"]).mean(), abs=1e-6)
    assert stats["unclear_share"] == pytest.approx(((clear == 0) & (source > 0)).mean(), abs=1e-6)
    assert stats["kept_pixels"] == (clear == 2).sum() == sum(stats["kept_pixels_of_tiles"].values())
    best = [scene["index"] for scene in stats["scenes"] if scene["rank"] == 1]
    assert stats["fill_share"] == pytest.approx((~np.isin(source, best)).mean(), abs=1e-6)


def test_without_a_mask_everything_is_clear_and_tagged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    made = place.make("1", clouds="none")
    assert read(made["clear_mask"]).all()
    with rasterio.open(made["image"]) as source:
        assert source.tags()["CLOUDS"] == "none"
    assert "NOT masked" in caplog.text


def test_native_refuses_the_mixture(place: Place) -> None:
    with pytest.raises(UserError, match="native"):
        place.make("1", radiometry="native")


def test_the_same_bytes_twice(place: Place) -> None:
    first = {name: path.read_bytes() for name, path in place.make("1").items()}
    assert {name: path.read_bytes() for name, path in place.make("1").items()} == first


def test_a_lying_baseline_stops_the_composite_and_leaves_nothing(tmp_path: Path) -> None:
    archive = ArchiveBuilder(tmp_path / "archive")
    archive.add_s2(
        product("20160105"), grid(600000, 700000, (64, 64)), ten_bands((64, 64), 0, 200, 3000) | {"SCL": np.full((32, 32), 4, np.uint8)}
    )
    place = Place.__new__(Place)
    place.folder, place.catalogue = tmp_path, archive.save()
    place.grid = write_grid(tmp_path / "grid.json", grid(600000, 700000, (64, 64)), 32, {"1": (0, 0, 2, 2)})
    with pytest.raises(UserError, match=r"offset of 1000, as product of \S+ says \(baseline 05\.00\)"):
        place.make("1")
    assert not list((tmp_path / "1").glob("*.tif"))


def test_mixed_baselines_give_the_composite_of_one_baseline(tmp_path: Path) -> None:
    """The same ground in two tiles and two dates, once all with the offset, once half of the products without."""
    box = grid(600000, 700000, (64, 64))
    halves = {"30NWN": box[:, :40], "30NXN": box[:, 24:]}
    images = []
    for name, old in (("one", ()), ("mixed", (("20160105", "30NXN"), ("20160115", "30NWN")))):
        archive = ArchiveBuilder(tmp_path / name / "archive")
        for number, day in enumerate(("20160105", "20160115")):
            ground = ten_bands((64, 64), number, 60, 4000)
            classes = np.where(np.random.default_rng(number).random((32, 32)) < 0.3, 9, 6).astype(np.uint8)
            for tile, geobox in halves.items():
                cols = slice(0, 40) if tile == "30NWN" else slice(24, 64)
                half = slice(cols.start // 2, cols.stop // 2)
                offset = 0 if (day, tile) in old else 1000
                bands = {band: values[:, half if values.shape[1] == 32 else cols] + np.uint16(offset) for band, values in ground.items()}
                made = product(day, tile, "0500" if offset else "0208")
                archive.add_s2(made, geobox, bands | {"SCL": classes[:, half]})
        place = Place.__new__(Place)
        place.folder, place.catalogue = tmp_path / name, archive.save()
        place.grid = write_grid(tmp_path / name / "grid.json", box, 32, {"1": (0, 0, 2, 2)})
        outputs = place.make("1")
        images.append(
            (
                read(outputs["image"]),
                read(outputs["clear_mask"]),
                [item["offset"] for item in read_json(tmp_path / name / "s2.json")["chosen"]],
            )
        )
    assert sorted(images[0][2]) == [True] * 4
    assert sorted(images[1][2]) == [False, False, True, True]
    assert np.array_equal(images[0][0], images[1][0])
    assert np.array_equal(images[0][1], images[1][1])
    assert images[0][0].min() == 1060
