"""Items that are consistent in themselves and wrong: what is told, left out, or stops the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from archive_builder import product
from small_archive import TILE, SmallArchive, chosen, clear_bands, footprint, reasons
from smallmines.core.errors import UserError

FIRST, SECOND = product("20160105"), product("20160115")
SLICE = "S1A_IW_GRDH_1SDV_20160103T055512_20160103T055537_009430_0101DA_rtc"
BANDS = clear_bands(1)


@pytest.fixture
def made(tmp_path: Path) -> SmallArchive:
    """Two items of Sentinel-2."""
    archive = SmallArchive(tmp_path)
    for name in (FIRST, SECOND):
        archive.add_s2(name, TILE, BANDS)
    archive.save()
    return archive


def set_href(band: str, href: str) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["assets"][band].update(href=href)


def set_property(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["properties"].update({name: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_href("B02", "./B03.tif"), "files of another band: B02 is B03.tif, B02 and B03 are one file"),
        (set_property("processing:level", "L1C"), "no surface reflectance: Level-1C, top of atmosphere"),
        (set_property("s2:product_type", "S2MSI1C"), "no surface reflectance: Level-1C, top of atmosphere"),
    ],
)
def test_items_of_another_band_or_level_are_left_out_and_told(
    made: SmallArchive, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    made.edit(made.item("s2", SECOND), change)
    manifest = made.search()
    assert chosen(manifest) == [FIRST]
    assert reasons(manifest) == {SECOND: reason}
    assert f"{SECOND} is left out, 100.0 % of the area: {reason}" in capsys.readouterr().out


def test_two_dates_with_one_file_stop(made: SmallArchive) -> None:
    made.edit(made.item("s2", SECOND), set_href("B05", f"../{FIRST}/B05.tif"))
    with pytest.raises(UserError, match=r"B05\.tif as B05 of both"):
        made.search()


def test_a_time_without_a_zone_is_utc(made: SmallArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    made.edit(made.item("s2", SECOND), set_property("datetime", "2016-01-31T23:30:00"))
    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()
    try:
        manifest = made.search()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert {item["datetime"] for item in manifest["chosen"]} == {"2016-01-05T10:34:22Z", "2016-01-31T23:30:00Z"}


def test_a_footprint_with_exchanged_coordinates_is_that_of_the_file(made: SmallArchive) -> None:
    def exchange(content: dict[str, Any]) -> None:
        content["geometry"]["coordinates"] = [[[y, x] for x, y in ring] for ring in content["geometry"]["coordinates"]]

    made.edit(made.item("s2", SECOND), exchange)
    manifest = made.search()
    assert sorted(chosen(manifest)) == [FIRST, SECOND]
    assert manifest["notes"] == [f"{SECOND}: the catalogue states no usable footprint; the outline of B02 is used"]


def test_items_that_lie_elsewhere_are_named_with_their_distance(made: SmallArchive) -> None:
    ring = [[lon + 20, lat] for lon, lat in footprint(TILE)["coordinates"][0]]
    for name in (FIRST, SECOND):
        made.edit(made.item("s2", name), lambda item: item.update(geometry={"type": "Polygon", "coordinates": [ring]}))
    with pytest.raises(UserError, match=rf"2 × does not touch the cells of the area; the nearest item, {FIRST}, is 22\d\d km away"):
        made.search()


def test_cloud_cover_as_text_counts_and_a_missing_one_is_told(made: SmallArchive) -> None:
    made.edit(made.item("s2", SECOND), set_property("eo:cloud_cover", "95"))
    made.edit(made.item("s2", FIRST), set_property("eo:cloud_cover", None))
    manifest = made.search(max_cloud_cover=20)
    assert reasons(manifest) == {SECOND: "too cloudy: 95.0 % above 20.0 %"}
    assert manifest["notes"] == [f"max_cloud_cover is not applied to items without a cloud cover in the catalogue: {FIRST}"]


def test_ids_to_exclude_that_the_catalogue_lacks_are_told(made: SmallArchive) -> None:
    misspelt, another_year = f"{SECOND[:-1]}1", product("20220105")
    manifest = made.search(exclude_items=(misspelt, another_year))
    assert sorted(chosen(manifest)) == [FIRST, SECOND]
    assert manifest["notes"] == [f"sentinel2.exclude_items names {misspelt}, which the catalogue does not have; near: {SECOND}"]


@pytest.mark.parametrize(("scale", "offset"), [(2e-5, 0.0), (1e-4, -0.3)])
def test_another_scale_in_the_header_stops(made: SmallArchive, scale: float, offset: float) -> None:
    with rasterio.open(made.item("s2", FIRST).with_name("B05.tif"), "r+") as file:
        file.scales, file.offsets = (scale,), (offset,)
    made.search()
    with pytest.raises(UserError, match=r"values as they are stored for .* B05"):
        made.fetch()


def test_the_usual_scale_in_the_header_is_taken(made: SmallArchive) -> None:
    with rasterio.open(made.item("s2", FIRST).with_name("B05.tif"), "r+") as file:
        file.scales, file.offsets = (1e-4,), (-0.1,)
    made.search()
    assert len(made.fetch()["items"]) == 2


def test_fine_bands_of_20_m_are_refused(made: SmallArchive) -> None:
    made.add_s2(product("20160125"), TILE, BANDS)
    path = made.item("s2", product("20160125")).with_name("B03.tif")
    made.save()
    made.write(path, BANDS["B03"][::2, ::2], TILE.zoom_out(2), 0)
    made.search()
    with pytest.raises(UserError, match=r"pixels of 10 m for .* B03\nfound     pixels of 20 m"):
        made.fetch()


def test_polarisations_on_different_grids_are_refused(tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path)
    power = np.full((128, 128), 0.1, np.float32)
    for name in (SLICE, SLICE.replace("20160103", "20220103")):
        archive.add_s1(name, TILE, power, power, ("descending", 155))
    archive.save()
    with rasterio.open(archive.item("s1", SLICE).with_name("vh.tif"), "r+") as file:
        file.transform = Affine.translation(50, 0) @ TILE.transform
    with pytest.raises(UserError, match="the grid of VV"):
        archive.search("s1")
