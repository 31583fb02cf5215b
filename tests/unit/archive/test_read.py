"""Reading: exact copies, choices by index, windows with margins, the cache and its errors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from archive_builder import ArchiveBuilder, grid, product, ten_bands, write_grid
from sections import asked, cache, fetching
from small_archive import TILE, SmallArchive, clear_bands, on_the_area
from smallmines.archive.fetch import fetch
from smallmines.archive.read import read_on_grid, source_window
from smallmines.archive.search import search
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.core.errors import UserError
from smallmines.core.files import digest, read_json
from smallmines.core.raster import write
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.footprint import touches
from smallmines.sensors.manifest import Sentinel2Entry
from smallmines.sensors.manifest_files import read_fetched
from smallmines.sensors.scl import cloud_reach

RNG = np.random.default_rng(1)


def source_of(path: Path, array: np.ndarray, geobox: object) -> rasterio.DatasetReader:
    write(path, array, geobox, 0, ["x"])
    return rasterio.open(path)


def test_the_same_lattice_is_copied_and_the_outside_is_nodata(tmp_path: Path) -> None:
    values = RNG.integers(1, 9000, (40, 50)).astype(np.uint16)
    with source_of(tmp_path / "a.tif", values, grid(600000, 700000, (40, 50))) as source:
        got = read_on_grid(source, grid(600100, 699900, (40, 60)), "nearest")
    expected = np.zeros((40, 60), np.uint16)
    expected[:30, :40] = values[10:, 10:]
    assert np.array_equal(got, expected)


def test_a_lattice_off_the_metre_is_copied_too(tmp_path: Path) -> None:
    x, y = 790236.0403820039, 7198039.252334285
    values = RNG.integers(1, 9000, (40, 50)).astype(np.uint16)
    with source_of(tmp_path / "a.tif", values, grid(x, y, (40, 50), crs="EPSG:32722")) as source:
        got = read_on_grid(source, grid(x, y, (40, 50), crs="EPSG:32722")[7:39, 3:33], "nearest")
    assert np.array_equal(got, values[7:39, 3:33])


def test_twenty_metres_become_four_equal_pixels(tmp_path: Path) -> None:
    values = RNG.integers(1, 9000, (20, 20)).astype(np.uint16)
    with source_of(tmp_path / "a.tif", values, grid(600000, 700000, (20, 20), 20)) as source:
        assert np.array_equal(read_on_grid(source, grid(600000, 700000, (40, 40)), "nearest"), np.kron(values, np.ones((2, 2), np.uint16)))
        bilinear = read_on_grid(source, grid(600000, 700000, (40, 40)), "bilinear")
    # The centre of a 10 m pixel lies a quarter of a 20 m pixel from the nearest centre.
    v = values.astype(float)
    assert bilinear[9, 13] == np.floor(0.75 * (0.75 * v[4, 6] + 0.25 * v[4, 7]) + 0.25 * (0.75 * v[5, 6] + 0.25 * v[5, 7]) + 0.5)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_another_zone_gives_overlapping_blocks_the_same_pixels(tmp_path: Path, resampling: str) -> None:
    values = RNG.integers(1, 9000, (300, 300)).astype(np.uint16)
    # Around 0° the zones 30 and 31 meet.
    with source_of(tmp_path / "a.tif", values, grid(166600, 700000, (300, 300), crs="EPSG:32631")) as source:
        whole = grid(831500, 699500, (200, 200))
        all_of_it = read_on_grid(source, whole, resampling)
        assert np.count_nonzero(all_of_it) > 20000
        for window in (np.s_[0:200, 0:120], np.s_[33:150, 77:200], np.s_[150:200, 1:90]):
            assert np.array_equal(read_on_grid(source, whole[window], resampling), all_of_it[window])


def test_reach_of_clouds_is_in_pixels_of_the_grid() -> None:
    assert cloud_reach(3, 2, grid(0, 0, (1, 1))) == (6, 4, 14)
    assert cloud_reach(3, 2, grid(0, 0, (1, 1), 30)) == (2, 2, 6)


def test_a_footprint_touches_with_slack() -> None:
    square = {"type": "Polygon", "coordinates": [[[-2.0, 6.0], [-1.9, 6.0], [-1.9, 6.1], [-2.0, 6.1], [-2.0, 6.0]]]}
    near = grid(621720 + 300, 670000, (100, 100))
    assert touches(square, near)
    assert not touches(square, grid(621720 + 1500, 670000, (100, 100)))
    assert touches(None, near)


class Place:
    """An archive with one Sentinel-2 item, one slice and one elevation tile, and a grid of two blocks over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.geobox = grid(600000, 700000, (64, 96))
        self.bands = ten_bands((160, 160))
        self.scl = RNG.integers(4, 6, (80, 80)).astype(np.uint8)
        self.power = RNG.gamma(4, 0.05, (2, 200, 200)).astype(np.float32)
        self.heights = RNG.normal(200, 20, (60, 60)).astype(np.float32)
        archive = ArchiveBuilder(folder / "archive")
        archive.add_s2(product("20160105"), grid(599680, 700320, (160, 160)), self.bands | {"SCL": self.scl})
        slice_name = "S1A_IW_GRDH_1SDV_20160103T055512_20160103T055537_009430_0101DA_rtc"
        archive.add_s1(slice_name, grid(599500, 700500, (200, 200)), *self.power, ("descending", 155))
        lon, lat = -2.0998, 6.337
        archive.add_dem("Copernicus_DSM_COG_10_N06_00_W003_00_DEM", grid(lon, lat, (60, 60), 1 / 3600, "EPSG:4326"), self.heights)
        self.catalogue = archive.save()
        self.grid = write_grid(folder / "grid.json", self.geobox, 32, {"1": (0, 0, 2, 2), "2": (0, 1, 2, 2)})

    def fetch(self, sensor: str, block: str = "1", reading: int = 1, **settings: object) -> dict:
        import datetime as dt

        year = "static" if sensor == "dem" else "2016"
        windows = {} if sensor == "dem" else {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}
        kind = {"s2": Sentinel2, "s1": Sentinel1, "dem": Elevation}[sensor]
        manifest, output = self.folder / f"{sensor}.json", self.folder / f"fetched-{sensor}-{block}.json"
        section = kind(provider="static", catalogue=str(self.catalogue), **(DEFAULTS[sensor] | settings))
        search(sensor, year, windows, asked(section), self.grid, manifest)
        fetch(sensor, block, self.grid, manifest, cache(self.folder / "pixels", reading), fetching(section), output)
        return read_json(output)


DEFAULTS: dict[str, dict] = {"s2": {"cloud_dilation_px": 1, "cloud_opening_px": 0}, "s1": {"border_erosion_px": 2}, "dem": {}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_sentinel2_comes_onto_the_block_as_it_is(place: Place) -> None:
    (item,) = place.fetch("s2", "2")["items"]
    assert (item["rank"], item["index"], item["baseline"], item["offset"]) == (1, 1, 500, True)
    with (
        rasterio.open(item["files"]["B04"]) as red,
        rasterio.open(item["files"]["B11"]) as swir,
        rasterio.open(item["files"]["SCL"]) as scl,
    ):
        assert np.array_equal(red.read(1), place.bands["B04"][32:96, 64:128])
        assert np.array_equal(swir.read(1), place.bands["B11"][16:48, 32:64]), "in pixels of 20 m, as in the archive"
        assert np.array_equal(scl.read(1), place.scl[15:49, 31:65])
        assert swir.transform.a == scl.transform.a == 20


def test_radar_and_elevation_are_exact_windows_with_a_margin(place: Place) -> None:
    (item,) = place.fetch("s1")["items"]
    margin = 2 + 8
    with rasterio.open(item["files"]["VH"]) as vh:
        assert (vh.transform[2], vh.transform[5]) == (600000 - 10 * margin, 700000 + 10 * margin)
        assert np.array_equal(vh.read(1), place.power[1, 50 - margin : 50 + 64 + margin, 50 - margin : 50 + 64 + margin])
        assert vh.nodata == -32768
    (item,) = place.fetch("dem")["items"]
    with rasterio.open(item["files"]["DEM"]) as dem:
        row, col = round((6.337 - dem.transform.f) * 3600), round((dem.transform.c + 2.0998) * 3600)
        assert np.array_equal(dem.read(1), place.heights[row : row + dem.height, col : col + dem.width])
        assert 24 <= dem.height <= 28


def test_the_cache_is_used_again_and_follows_a_changed_source(place: Place) -> None:
    first = place.fetch("s2")["items"][0]["files"]
    times = {path: os.stat(path).st_mtime_ns for path in first.values()}
    assert place.fetch("s2")["items"][0]["files"] == first
    assert {path: os.stat(path).st_mtime_ns for path in first.values()} == times
    assert not [path for path in (place.folder / "pixels").rglob(".*") if path.is_file()]
    Path(first["B02"]).write_bytes(Path(first["B02"]).read_bytes()[:300])
    place.fetch("s2")
    with rasterio.open(first["B02"]) as source:
        assert np.array_equal(source.read(1), place.bands["B02"][32:96, 32:96])
    band = next((place.folder / "archive").rglob("B02.tif"))
    os.utime(band, ns=(1, 1))
    again = place.fetch("s2")["items"][0]["files"]
    assert [name for name in first if again[name] != first[name]] == ["B02"]


@pytest.mark.parametrize("sensor", ["s2", "s1", "dem"])
def test_another_reading_version_reads_again_and_version_1_reads_nothing_again(place: Place, sensor: str) -> None:
    first = place.fetch(sensor)["items"][0]["files"]
    times = {path: os.stat(path).st_mtime_ns for path in first.values()}
    second = place.fetch(sensor, reading=2)["items"][0]["files"]
    assert not set(first.values()) & set(second.values())
    for band, path in first.items():
        with rasterio.open(path) as old, rasterio.open(second[band]) as new:
            assert np.array_equal(old.read(), new.read())
    assert place.fetch(sensor, reading=1)["items"][0]["files"] == first
    assert {path: os.stat(path).st_mtime_ns for path in first.values()} == times


def test_names_of_version_1_are_those_from_before_there_were_versions(place: Place) -> None:
    """No finished cache is downloaded again: grid, resampling or margin, address, size and time, as always."""
    for sensor, how in (("s2", "nearest"), ("s1", 10), ("dem", 2)):
        item = place.fetch(sensor)["items"][0]
        band = {"s2": "B11", "s1": "VH", "dem": "DEM"}[sensor]
        chosen = next(one for one in read_json(place.folder / f"{sensor}.json")["chosen"] if one["id"] == item["id"])
        href = Path(chosen["hrefs"][band])
        block = read_lattice(place.grid).block("1")
        parts = [
            str(block.crs),
            list(block.transform[:6]),
            list(block.shape),
            how,
            str(href),
            [href.stat().st_size, href.stat().st_mtime_ns],
        ]
        assert Path(item["files"][band]).name == f"{band}-{digest(parts)}.tif"


def test_a_broken_asset_is_named(place: Place) -> None:
    band = next((place.folder / "archive").rglob("B8A.tif"))
    band.write_bytes(band.read_bytes()[: band.stat().st_size // 2])
    with pytest.raises(UserError, match=r"S2A_MSIL2A_20160105\S+ B8A at \S+B8A\.tif"):
        place.fetch("s2")
    band.unlink()
    with pytest.raises(UserError, match=r"B8A\.tif"):
        place.fetch("s2")


def damage(path: Path) -> None:
    """Overwrite bytes in the middle of a file; its size stays."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)


def test_damaged_pixels_of_the_cache_are_named_and_fetched_again(tmp_path: Path) -> None:
    made, bands = SmallArchive(tmp_path), clear_bands(1)
    made.add_s2(product("20160105"), TILE, bands)
    made.save()
    made.image()
    (item,) = made.fetch()["items"]
    path = Path(item["files"]["B04"])
    assert item["sizes"]["B04"] == path.stat().st_size
    damage(path)
    with pytest.raises(
        UserError, match=rf"readable pixels in the cached file {path}\n[\s\S]*delete it and its list below results/<run>/fetched/"
    ):
        made.composite()
    made.fetch()
    with rasterio.open(path) as cached:
        assert np.array_equal(cached.read(1), on_the_area(bands)[2])
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=r"1 cut or changed, first \S+B04\S+ has \d+ bytes instead of \d+"):
        made.composite()


def test_a_lost_file_of_the_cache_is_named(place: Place) -> None:
    place.fetch("s2")
    shutil.rmtree(place.folder / "pixels")
    with pytest.raises(UserError, match="11 missing"):
        read_fetched(place.folder / "fetched-s2-1.json", Sentinel2Entry)


def test_a_source_of_unknown_datum_is_not_shifted_by_a_guess(tmp_path: Path) -> None:
    """Local files keep such a CRS; GDAL would take its coordinates for WGS 84."""
    box, ones = grid(600000, 700000, (40, 50)), np.ones((40, 50), np.uint16)
    with source_of(tmp_path / "a.tif", ones, box) as source:
        assert source_window(source, box, 0) == Window(0, 0, 50, 40)
    elsewhere = grid(600000, 700000, (40, 50), crs="+proj=utm +zone=30 +ellps=clrk80 +units=m")
    with source_of(tmp_path / "b.tif", ones, elsewhere) as source, pytest.raises(UserError, match="Unknown"):
        source_window(source, box, 0)
