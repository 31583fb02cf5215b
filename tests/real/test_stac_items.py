"""Items as the real services answered them: what the provider table makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pystac
import pytest

from smallmines.archive.catalogue import item_of
from smallmines.archive.choose_sentinel1 import orbit_of, pass_of
from smallmines.archive.choose_sentinel2 import Declared, product_of, radiometry_of
from smallmines.archive.providers import METADATA, provider_of
from smallmines.core.product import S2_BANDS

pytestmark = pytest.mark.real

SENTINEL2 = {
    "cdse": ["cdse/item_*.json", "cdse/search_02_6fb496b6.json"],
    "cdse_https": ["cdse/item_*.json"],
    "planetary_computer": ["planetary-computer/sentinel-2-l2a-pc.json", "planetary-computer/site*.geojson"],
    "earth_search": ["earth-search/item_*.json"],
}


def features(folder: Path, patterns: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        known = json.loads(path.read_text())
        found += known if isinstance(known, list) else known.get("features", [known])
    return found


def radiometry(folder: Path, name: str) -> dict[str, tuple[int, bool]]:
    """Baseline and offset of each item, by id, without reading any file."""
    provider, found = provider_of("s2", name), {}
    for one in features(folder, SENTINEL2[name]):
        item = item_of(pystac.Item.from_dict(one), provider)
        item.hrefs.pop(METADATA, None)
        product = product_of(item, provider)
        assert product is not None
        assert {*S2_BANDS, "SCL", "AOT"} <= set(item.hrefs)
        declared, _ = radiometry_of(item, product.baseline, provider)
        found[item.id] = declared.baseline, declared.offset
    return found


@pytest.mark.parametrize("name", ["cdse", "cdse_https"])
def test_the_copernicus_data_space_is_believed_by_name_not_by_its_constant_offset(shared_data: Path, name: str) -> None:
    folder = shared_data / "stac"
    for key, (baseline, offset) in radiometry(folder, name).items():
        assert f"_N{baseline:04d}_" in key
        assert offset
    provider = provider_of("s2", name)
    one = features(folder, ["cdse/item_*T35UPU*.json"])[0]
    assert one["assets"]["B02_10m"]["raster:offset"] == -0.1
    old = json.loads(json.dumps(one).replace("N0500", "N0214").replace('"05.00"', '"02.14"'))
    item = item_of(pystac.Item.from_dict(old), provider)
    item.hrefs.pop(METADATA)
    assert old["assets"]["B02_10m"]["raster:offset"] == -0.1, "which it says of every baseline"
    assert radiometry_of(item, 214, provider)[0] == Declared(214, False, "product")
    scheme = "s3://eodata/" if name == "cdse" else "https://zipper.dataspace.copernicus.eu/"
    assert all(href.startswith(scheme) for href in item.hrefs.values())


def test_the_planetary_computer_has_its_baseline_in_the_product_name(shared_data: Path) -> None:
    found = radiometry(shared_data / "stac", "planetary_computer")
    assert {offset for key, (_, offset) in found.items() if "MSIL2A_2020" in key} == {False}
    assert {value for key, value in found.items() if "MSIL2A_2024" in key} == {(510, True)}
    assert not any("_N0" in key for key in found)
    one = features(shared_data / "stac", ["planetary-computer/site1*.geojson"])[0]
    for name in ("s2:processing_baseline", "s2:product_uri"):
        one["properties"].pop(name)
    provider = provider_of("s2", "planetary_computer")
    item = item_of(pystac.Item.from_dict(one), provider)
    item.hrefs.pop(METADATA)
    product = product_of(item, provider)
    assert product is not None
    assert product.baseline == 212, "from the path of a file, where the metadata are missing"


def test_earth_search_says_which_pixels_lost_the_offset_and_lists_scenes_twice(shared_data: Path) -> None:
    found = radiometry(shared_data / "stac", "earth_search")
    assert found["S2A_32TMT_20200302_0_L2A"] == (214, False)
    assert found["S2A_32TMT_20200302_1_L2A"] == (500, False), "baseline 05.00, but the offset was taken off"
    provider = provider_of("s2", "earth_search")
    doubles = features(shared_data / "stac", ["earth-search/item*0302*"])
    twins = [product_of(item_of(pystac.Item.from_dict(one), provider), provider) for one in doubles]
    assert twins[0]
    assert twins[1]
    assert (twins[0].datatake, twins[0].tile) == (twins[1].datatake, twins[1].tile) == ("S2A_20200302T102021", "T32TMT")
    assert twins[0].baseline < twins[1].baseline


def test_sentinel1_and_elevation_of_the_planetary_computer(shared_data: Path) -> None:
    radar = provider_of("s1", "planetary_computer")
    items = [
        item_of(pystac.Item.from_dict(one), radar) for one in features(shared_data / "stac", ["planetary-computer/sentinel-1-rtc-pc.json"])
    ]
    assert {orbit_of(item) for item in items} == {("descending", 51)}
    assert {pass_of(item) for item in items} == {"S1A_053498"}, "slices of one pass"
    assert items[0].grids["VV"]["proj:code"] == "EPSG:32633"
    assert items[0].grids["VV"]["proj:shape"] == [12949, 27526]
    heights = provider_of("dem", "planetary_computer")
    tiles = [
        item_of(pystac.Item.from_dict(one), heights)
        for one in features(shared_data / "stac", ["planetary-computer/cop-dem-glo-30-pc.json"])
    ]
    assert all(tile.hrefs["DEM"].startswith("https://elevationeuwest.blob.core.windows.net/copernicus-dem/") for tile in tiles)
