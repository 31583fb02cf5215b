"""The Sentinel-1 composite against independent formulas, at fringes, joins and block borders."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from archive_builder import ArchiveBuilder, grid, write_grid
from sections import asked, cache
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite.sentinel1 import circular_mean, composite, eroded
from smallmines.config.imagery import Sentinel1
from smallmines.core.files import read_json
from smallmines.settings.fetch import FetchSentinel1

FOOTPRINTS = {"plus": np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), "box": np.ones((3, 3))}


@pytest.mark.parametrize("kernel", ["plus", "box"])
def test_circular_mean_is_the_mean_of_the_neighbours_with_data(kernel: Any) -> None:
    rng = np.random.default_rng(0)
    power = rng.gamma(4, 0.05, (40, 50))
    power[rng.random((40, 50)) < 0.2] = np.nan
    expected = ndimage.generic_filter(power, np.nanmean, footprint=FOOTPRINTS[kernel], mode="constant", cval=np.nan)
    done = circular_mean(power, kernel)
    assert np.array_equal(np.isnan(done), np.isnan(power))
    assert np.allclose(done, np.where(np.isnan(power), np.nan, expected), rtol=1e-12, equal_nan=True)


def test_the_plus_weighs_a_fifth_each() -> None:
    power = np.zeros((5, 5))
    power[2, 2] = 1.0
    assert np.allclose(circular_mean(power, "plus"), 0.2 * np.pad(FOOTPRINTS["plus"], 1))


def test_borders_and_fringes_are_eroded_but_not_specks() -> None:
    footprint = np.zeros((80, 90), bool)
    footprint[10:70, 8:85] = True
    footprint[40, 40] = False
    footprint[20:23, 50:53] = False
    kept = eroded(footprint, 10)
    rows, cols = np.indices(footprint.shape)
    inside = np.minimum(np.minimum(rows - 9, 70 - rows), np.minimum(cols - 7, 85 - cols))
    assert np.array_equal(kept, footprint & (inside > 10))
    assert eroded(footprint, 0) is footprint
    hole = footprint.copy()
    hole[35:45, 35:45] = False
    assert not eroded(hole, 10)[40, 50]
    assert eroded(hole, 10)[40, 60]


def test_the_end_of_the_array_is_a_border() -> None:
    assert eroded(np.ones((40, 40), bool), 10).sum() == 20 * 20


SLICES = (
    "S1A_IW_GRDH_1SDV_20160103T055512_20160103T055537_009430_0101DA_rtc",
    "S1A_IW_GRDH_1SDV_20160103T055537_20160103T055602_009430_0101DA_rtc",
    "S1A_IW_GRDH_1SDV_20160115T055512_20160115T055537_009605_0106A3_rtc",
)
BLOCKS = {"1": (0, 0, 2, 2), "2": (1, 1, 2, 3), "3": (0, 0, 3, 4)}


class Place:
    """Two slices that meet in the area, with zero fringes at their sides, and a second pass with a void."""

    def __init__(self, folder: Path, crs: str = "EPSG:32630", corner: tuple[float, float] = (599500, 700500), geobox: Any = None) -> None:
        self.folder = folder
        rng = np.random.default_rng(5)
        self.power = [rng.gamma(4, 0.05, (2, 100, 240)).astype(np.float32) for _ in range(2)] + [
            rng.gamma(4, 0.05, (2, 200, 240)).astype(np.float32)
        ]
        self.power[0][:, :, :30] = 0
        self.power[1][:, :, :25] = 0
        self.power[1] *= np.float32(1.1)
        self.power[2][:, 90:120, 90:130] = -32768
        x, y = corner
        archive = ArchiveBuilder(folder / "archive")
        for name, power, top in zip(SLICES, self.power, (0, 100, 0), strict=True):
            archive.add_s1(name, grid(x, y - 10 * top, power.shape[1:], crs=crs), *power, ("descending", 155))
        self.catalogue = archive.save()
        self.geobox = geobox or grid(600000, 700000, (96, 128))
        self.grid = write_grid(folder / "grid.json", self.geobox, 32, BLOCKS)

    def make(self, block: str, erosion: int = 10, kernel: Any = "plus") -> tuple[np.ndarray, dict]:
        config = Sentinel1(provider="static", catalogue=str(self.catalogue), border_erosion_px=erosion, kernel=kernel)
        manifest, fetched = self.folder / "s1.json", self.folder / f"fetched{block}.json"
        search("s1", "2016", {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}, asked(config), self.grid, manifest)
        fetch("s1", block, self.grid, manifest, cache(self.folder / "pixels"), FetchSentinel1(erosion), fetched)
        output, stats = self.folder / f"s1-{block}.tif", self.folder / f"s1-{block}.json"
        composite(block, self.grid, fetched, config, {"image": output, "stats": stats})
        with rasterio.open(output) as source:
            assert source.descriptions == ("VV", "VH")
            assert source.units == ("dB", "dB")
            assert np.isnan(source.nodata)
            assert source.tags()["RELATIVE_ORBIT"] == "155"
            return source.read(), read_json(stats)


@pytest.mark.parametrize("kernel", ["plus", pytest.param("box", marks=pytest.mark.heavy)])
def test_values_follow_the_definition(tmp_path: Path, kernel: Any) -> None:
    place = Place(tmp_path)
    done, stats = place.make("3", kernel=kernel)
    first = np.concatenate(place.power[:2], axis=1).astype(float)
    second = place.power[2].astype(float)
    first[first <= 0], second[second <= 0] = np.nan, np.nan
    outside = np.zeros(first.shape[1:], bool)
    outside[:100, :30], outside[100:, :25] = True, True
    first[:, ndimage.distance_transform_edt(np.pad(~outside, 1))[1:-1, 1:-1] <= 10] = np.nan
    void = np.zeros(outside.shape, bool)
    void[90:120, 90:130] = True
    second[:, ndimage.distance_transform_edt(np.pad(~void, 1))[1:-1, 1:-1] <= 10] = np.nan
    with np.errstate(all="ignore"):
        mean = np.nanmean([first, second], axis=0)
        smooth = [ndimage.generic_filter(band, np.nanmean, footprint=FOOTPRINTS[kernel]) for band in mean]
        expected = 10 * np.log10(np.where(np.isnan(mean), np.nan, smooth))[:, 50:146, 50:178]
    assert np.allclose(done, expected, atol=1e-5, equal_nan=True)
    assert np.isfinite(done).all()
    assert stats["nodata_share"] == 0.0


def test_the_join_stays_closed_and_its_step_is_reported(tmp_path: Path) -> None:
    place = Place(tmp_path)
    # One pass alone: the second is cut away by its dates.
    done, stats = place.make("1")
    assert np.isfinite(done).all()
    (join,) = stats["joins"]
    assert join["items"] == list(SLICES[:2])
    assert join["step_db"]["VV"] == pytest.approx(-10 * np.log10(1.1), abs=0.25)
    first = next(one for one in stats["passes"] if one["pass"] == "S1A_009430")
    assert first["share"] == 1.0
    assert len(first["items"]) == 2


def test_blocks_agree_on_shared_pixels(tmp_path: Path) -> None:
    place = Place(tmp_path)
    whole, _ = place.make("3")
    for block, window in (("1", np.s_[:, 0:64, 0:64]), ("2", np.s_[:, 32:96, 32:128])):
        assert np.array_equal(place.make(block)[0], whole[window], equal_nan=True), block


def test_blocks_agree_in_another_zone_and_off_the_metre(tmp_path: Path) -> None:
    # Zone 31's scenes on a grid of zone 30 whose corner is no whole number of metres.
    geobox = grid(831501.0403820039, 699499.252334285, (96, 128))
    place = Place(tmp_path, crs="EPSG:32631", corner=(166600, 700400), geobox=geobox)
    whole, _ = place.make("3")
    assert np.isfinite(whole).mean() > 0.3
    for block, window in (("1", np.s_[:, 0:64, 0:64]), ("2", np.s_[:, 32:96, 32:128])):
        assert np.array_equal(place.make(block)[0], whole[window], equal_nan=True), block


def test_slices_of_two_zones_keep_the_join_closed(tmp_path: Path) -> None:
    # The same pass, one slice delivered in zone 30, the next in zone 31; both hold the same constant.
    archive = ArchiveBuilder(tmp_path / "archive")
    values = np.full((2, 400, 400), 0.1, np.float32)
    archive.add_s1(SLICES[0], grid(830000, 700000, (100, 400)), *values[:, :100], ("descending", 155))
    x, y = 166030.0, 699040.0
    archive.add_s1(SLICES[1], grid(x - 300, y + 800, (400, 400), crs="EPSG:32631"), *values, ("descending", 155))
    place = Place.__new__(Place)
    place.folder, place.catalogue, place.geobox = tmp_path, archive.save(), grid(831000, 699500, (96, 128))
    place.grid = write_grid(tmp_path / "grid.json", place.geobox, 32, BLOCKS)
    done, stats = place.make("3")
    assert stats["passes"][0]["share"] == 1.0
    assert np.allclose(done, -10.0, atol=1e-5)
