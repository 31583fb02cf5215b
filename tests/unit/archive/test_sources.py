"""Files that are not what their catalogue says are refused by name; exact conversions are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from archive_builder import grid, product
from small_archive import TILE, SmallArchive, chosen, clear_bands, footprint, on_the_area
from smallmines.archive.sources import zone_of
from smallmines.core.errors import UserError

NAME = product("20160105")
SLICE = "S1A_IW_GRDH_1SDV_20160103T055512_20160103T055537_009430_0101DA_rtc"
SLICE_2022 = "S1A_IW_GRDH_1SDV_20220103T055512_20220103T055537_041455_0101DA_rtc"
BANDS = clear_bands(1)


def archive(folder: Path) -> SmallArchive:
    made = SmallArchive(folder)
    made.add_s2(NAME, TILE, BANDS)
    ones = np.full((128, 128), 0.1, np.float32)
    for name in (SLICE, SLICE_2022):
        made.add_s1(name, TILE, ones, ones, ("descending", 155))
    made.add_dem("dem", grid(-2.2, 6.4, (360, 720), 1 / 3600, "EPSG:4326"), np.ones((360, 720), np.float32))
    made.save()
    return made


def rewrite(path: Path, values: Any = None, **profile: Any) -> None:
    """Write a file again, with other values or another header."""
    with rasterio.open(path) as source:
        array, header = source.read() if values is None else values(source.read()), source.profile
    path.unlink()
    header |= {"dtype": str(array.dtype), "count": array.shape[0], "driver": "GTiff"} | profile
    kept = {key: header[key] for key in ("driver", "dtype", "count", "width", "height", "crs", "transform", "nodata")}
    with rasterio.open(path, "w", **kept) as target:
        target.write(array)


def shifted(metres: float) -> Affine:
    return Affine.translation(metres, metres) @ TILE.transform


FILES = {"s2": (NAME, "B05"), "scl": (NAME, "SCL"), "b02": (NAME, "B02"), "s1": (SLICE, "vh"), "dem": ("dem", "data")}
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "s2 uint8": ("s2", {"values": lambda a: (a >> 8).astype(np.uint8)}, "whole numbers of 16 or 32 bits for .* B05\nfound     uint8 in"),
    "s2 float": ("s2", {"values": lambda a: (a / 10000).astype(np.float32)}, "found     float32 in"),
    "s2 float NaN": ("b02", {"values": lambda a: np.full(a.shape, np.nan, np.float32)}, "whole numbers.* B02"),
    "s2 complex": ("s2", {"values": lambda a: a.astype(np.complex64), "nodata": None}, "found     complex64"),
    "s2 negative": (
        "s2",
        {"values": lambda a: -(a // 4).astype(np.int16)},
        "digital numbers from 0 to 65535.*\nfound     1024 other values, such as -",
    ),
    "s2 one negative": (
        "s2",
        {"values": lambda a: np.where(np.indices(a.shape)[1] == 20, -5, a).astype(np.int16)},
        "32 other values, such as -5",
    ),
    "s2 above 16 bits": ("s2", {"values": lambda a: a.astype(np.int32) + 70000}, "from 0 to 65535"),
    "s2 two bands": ("s2", {"values": lambda a: np.concatenate([a, a])}, "one band for .* B05\nfound     2 bands"),
    "s2 without CRS": ("s2", {"crs": None}, "a CRS for .* B05\nfound     none"),
    "s2 of the next zone": ("s2", {"crs": "EPSG:32631"}, "EPSG:32630, the zone of T30NXN, for .* B05\nfound     EPSG:32631"),
    "s2 of the other hemisphere": ("s2", {"crs": "EPSG:32730"}, "EPSG:32630, the zone of T30NXN"),
    "s2 in degrees": ("s2", {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, -2.1, 0, -1e-4, 6.34)}, "EPSG:32630, the zone"),
    "s2 30 km off": (
        "s2",
        {"transform": shifted(30_000)},
        "a file under the footprint .*at least 95 %.* B05\nfound     0 % of it at x 629680",
    ),
    "scl 255": ("scl", {"values": lambda a: np.where(a == 4, 255, a).astype(np.uint8)}, "scene classes from 0 to 11 for .* SCL"),
    "scl float": ("scl", {"values": lambda a: a.astype(np.float32)}, "whole numbers for .* SCL"),
    "scl 30 km off": ("scl", {"transform": Affine.translation(30_000, 0) @ TILE.transform @ Affine.scale(2)}, "under the footprint"),
    "s1 whole numbers": (
        "s1",
        {"values": lambda a: (a * 1000).astype(np.uint16), "nodata": 0},
        "floating-point numbers for .* VH\nfound     uint16",
    ),
    "s2 of 60 m": ("s2", {"transform": TILE.transform @ Affine.scale(6)}, "pixels of 10 or 20 m for .* B05\nfound     pixels of 60 m"),
    "s2 south-up": ("s2", {"transform": Affine(20, 0, 599680, 0, 20, 699040)}, "a north-up grid for .* B05"),
    "s1 rotated": ("s1", {"transform": TILE.transform @ Affine.rotation(5)}, "a north-up grid for .* VH"),
    "s1 off": ("s1", {"transform": shifted(-30_000)}, "a file under the footprint .* VH"),
    "s1 without CRS": ("s1", {"crs": None}, "a CRS for .* VH"),
    "dem complex": ("dem", {"values": lambda a: a.astype(np.complex64), "nodata": None}, "real numbers for dem DEM"),
    "dem off": ("dem", {"transform": Affine(1 / 3600, 0, 10, 0, -1 / 3600, 6.4)}, "a file under the footprint .* dem DEM"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_contradicts_its_catalogue_stops(tmp_path: Path, name: str) -> None:
    key, changes, words = WRONG[name]
    sensor = {"s1": "s1", "dem": "dem"}.get(key, "s2")
    made = archive(tmp_path)
    item, band = FILES[key]
    rewrite(made.item(sensor, item).with_name(f"{band}.tif"), **changes)

    def run() -> None:
        made.search(sensor)
        made.fetch(sensor)

    with pytest.raises(UserError, match=words) as caught:
        run()
    section = {"s2": "sentinel2", "s1": "sentinel1", "dem": "elevation"}[sensor]
    assert f"name it in `{section}.exclude_items`" in str(caught.value)
    assert str(caught.value).count("\n") == 2
    assert not list(tmp_path.glob("pixels/*/.*")), "half-written files"


SAME: dict[str, tuple[dict[str, Any], Callable[[Any], Any] | None]] = {
    "int16": ({"values": lambda a: a.astype(np.int16)}, None),
    "int32": ({"values": lambda a: a.astype(np.int32)}, None),
    "uint32": ({"values": lambda a: a.astype(np.uint32)}, None),
    "int16 with its own nodata": (
        {"values": lambda a: np.where(a < 2000, -9999, a).astype(np.int16), "nodata": -9999},
        lambda a: np.where(a < 2000, 0, a),
    ),
    "no nodata": ({"nodata": None}, None),
}


@pytest.mark.parametrize("name", SAME)
def test_whole_numbers_of_other_types_are_converted_exactly(tmp_path: Path, name: str) -> None:
    changes, expected = SAME[name]
    made = archive(tmp_path)
    rewrite(made.item("s2", NAME).with_name("B05.tif"), **changes)
    made.search()
    (item,) = made.fetch()["items"]
    with rasterio.open(item["files"]["B05"]) as cached, rasterio.open(item["files"]["SCL"]) as classes:
        b05 = on_the_area(BANDS | {"B05": expected(BANDS["B05"]) if expected else BANDS["B05"]})[3]
        assert np.array_equal(cached.read(1).repeat(2, 0).repeat(2, 1), b05)
        assert (cached.dtypes, classes.dtypes) == (("uint16",), ("uint8",))


def test_wide_scene_classes_are_converted_exactly(tmp_path: Path) -> None:
    made = archive(tmp_path)
    rewrite(made.item("s2", NAME).with_name("SCL.tif"), lambda a: np.where(np.indices(a.shape)[1] < 28, -1, a.astype(np.int16)), nodata=-1)
    assert made.search()["datatakes"][0]["covered_share"] == 0.625, "rows 28 to 48 of 16 to 48"
    (item,) = made.fetch()["items"]
    with rasterio.open(item["files"]["SCL"]) as classes:
        assert classes.dtypes == ("uint8",)
        assert np.unique(classes.read(1)).tolist() == [0, 4]


def test_a_clipped_file_lies_in_the_footprint_of_its_whole_tile(tmp_path: Path) -> None:
    made = archive(tmp_path)
    made.edit(made.item("s2", NAME), lambda item: item.update(geometry=footprint(grid(590000, 710000, (3000, 3000)))))
    assert np.array_equal(made.image(), on_the_area(BANDS))


def test_a_wrong_grid_in_the_catalogue_is_noted(tmp_path: Path) -> None:
    made = archive(tmp_path)
    made.edit(made.item("s2", NAME), lambda item: item["assets"]["SCL"].update({"proj:code": "EPSG:32631", "proj:shape": [64, 64]}))
    assert made.search()["notes"] == [
        f"{NAME} SCL: proj:code of the catalogue EPSG:32631 contradicts the file's header EPSG:32630, which is used"
    ]


def test_an_item_can_be_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = archive(tmp_path)
    made.add_s2(product("20160115"), TILE, BANDS)
    made.save()
    made.item("s2", NAME).with_name("B05.tif").write_bytes(b"II*\0")
    manifest = made.search(exclude_items=(NAME,))
    assert chosen(manifest) == [product("20160115")]
    assert manifest["dropped"] == [{"id": NAME, "reason": "excluded: exclude_items names it", "share": 1.0}]
    assert f"{NAME} is left out, 100.0 % of the area: excluded" in capsys.readouterr().out
    assert manifest["query"]["settings"]["exclude_items"] == [NAME]
    assert "exclude_items" not in made.search()["query"]["settings"]


def test_zones_of_tiles() -> None:
    assert [zone_of(tile) for tile in ("T30NXN", "T05MKB", "T60CWS", "T01XAA")] == ["EPSG:32630", "EPSG:32705", "EPSG:32760", "EPSG:32601"]
    assert [zone_of(tile) for tile in (None, "", "x", "T61NXN", "T00NXN", "T30IXN", "30NXN", "T30NXN\n")] == [None] * 8
    assert CRS.from_string(str(zone_of("T05MKB"))).to_epsg() == 32705
