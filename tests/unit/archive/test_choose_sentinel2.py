"""What the archive declares about the radiometry of a Sentinel-2 item, and by what."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive_builder import product
from miniature.optical import product_metadata
from smallmines.archive.choose_sentinel2 import Declared, product_of, radiometry_of, undeclared
from smallmines.archive.providers import METADATA, provider_of
from smallmines.core.errors import UserError
from smallmines.sensors.manifest import Item

STATIC = provider_of("s2", "static")


def item(name: str, xml: Path | str | None = None, **properties: object) -> Item:
    hrefs = {"B02": f"{name}/B02.tif"} | ({} if xml is None else {METADATA: str(xml)})
    return Item(name, "2016-01-05T10:34:22Z", None, properties, hrefs, {})


def metadata(folder: Path, baseline: str, offset: int) -> Path:
    path = folder / f"MTD_{baseline}_{offset}.xml"
    path.write_text(product_metadata("S2A", baseline, offset))
    return path


@pytest.mark.parametrize(
    ("name", "properties", "declared"),
    [
        (product("20160105", baseline="0208"), {}, Declared(208, False, "product")),
        (product("20160105", baseline="0500"), {"s2:processing_baseline": "05.00"}, Declared(500, True, "product")),
        ("scene", {"s2:processing_baseline": "04.00"}, Declared(400, True, "s2:processing_baseline")),
        ("scene", {"processing:version": "02.14"}, Declared(214, False, "processing:version")),
    ],
)
def test_the_place_of_the_baseline_is_kept(name: str, properties: dict[str, str], declared: Declared) -> None:
    found = product_of(item(name, **properties), STATIC)
    assert found is not None
    assert radiometry_of(item(name, **properties), found.baseline, STATIC) == (declared, [])


def test_a_path_and_a_property_of_the_provider_are_named() -> None:
    earth_search = provider_of("s2", "earth_search")
    there = item("S2A_30NXN", **{"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True})
    declared, notes = radiometry_of(there, 500, earth_search)
    assert declared == Declared(500, False, "earthsearch:boa_offset_applied")
    assert "taken off" in notes[-1]
    path = Item("a", "2016-01-05T10:34:22Z", None, {}, {"B02": f"s3://x/{product('20160105')}.SAFE/B02.jp2"}, {})
    assert radiometry_of(path, 500, earth_search) == (Declared(500, True, "href"), [])


def test_the_products_metadata_come_first(tmp_path: Path) -> None:
    name = product("20160105", baseline="0500")
    there = item(name, metadata(tmp_path, "02.08", 0))
    declared, notes = radiometry_of(there, 500, STATIC)
    assert declared == Declared(208, False, "metadata")
    assert notes == [f"{name}: baseline 208, but product says 500"]


@pytest.mark.parametrize("cut", ["<html>captive portal", "absent"])
def test_metadata_that_say_nothing_declare_nothing(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "MTD_MSIL2A.xml"
    if cut != "absent":
        path.write_text(cut)
    declared, notes = radiometry_of(item(product("20160105"), path), 500, STATIC)
    assert declared == Declared(500, True, "product")
    assert "no metadata with a baseline at" in notes[0]


def test_metadata_without_the_offsets_do_not_declare_one(tmp_path: Path) -> None:
    declared, notes = radiometry_of(item(product("20160105"), metadata(tmp_path, "05.00", 0)), 500, STATIC)
    assert declared == Declared(500, True, "product")
    assert "no BOA_ADD_OFFSET" in notes[0]


@pytest.mark.parametrize("baseline", ["9999", "0000", "0099", "0600"])
def test_a_baseline_that_is_not_published_needs_metadata(tmp_path: Path, baseline: str) -> None:
    name = product("20160105", baseline=baseline)
    assert f"baseline not published: {baseline}," in str(undeclared(item(name), int(baseline), STATIC))
    assert undeclared(item(name, tmp_path / "absent.xml"), int(baseline), STATIC) is not None
    assert undeclared(item(name, metadata(tmp_path, "99.99", 0)), int(baseline), STATIC) is not None, "no offset is stated"
    own = item(name, metadata(tmp_path, "99.99", 1000))
    assert undeclared(own, int(baseline), STATIC) is None
    assert radiometry_of(own, int(baseline), STATIC)[0] == Declared(9999, True, "metadata")
    assert undeclared(item(name, metadata(tmp_path, "03.01", 0)), int(baseline), STATIC) is None


@pytest.mark.parametrize("baseline", [100, 204, 214, 301, 400, 500, 511, 599])
def test_a_published_baseline_needs_none(baseline: int) -> None:
    assert undeclared(item(product("20160105", baseline=f"{baseline:04d}")), baseline, STATIC) is None


@pytest.mark.parametrize("text", ["", "nan", "1e400", "abc", "-1000,-1000", "-1000.5"])
def test_offsets_that_are_no_whole_numbers_declare_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "MTD.xml"
    path.write_text(product_metadata("S2A", "05.00", 1000).replace(">-1000<", f">{text}<", 1))
    declared, notes = radiometry_of(item(product("20160105"), path), 500, STATIC)
    assert declared == Declared(500, True, "product")
    assert "no BOA_ADD_OFFSET that can be read" in notes[0]


def test_metadata_of_another_product_declare_nothing(tmp_path: Path) -> None:
    path = tmp_path / "MTD.xml"
    path.write_text(product_metadata(product("20160115", baseline="0208"), "02.08", 0))
    declared, notes = radiometry_of(item(product("20160105"), path), 500, STATIC)
    assert declared == Declared(500, True, "product")
    assert "of this product" in notes[0]


def test_another_scale_of_reflectances_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "MTD.xml"
    xml = product_metadata("S2A", "05.00", 1000)
    for value, stops in (("10000", False), ("10000.0", False), ("20000", True)):
        path.write_text(xml.replace("<BOA_ADD", f"<BOA_QUANTIFICATION_VALUE>{value}</BOA_QUANTIFICATION_VALUE><BOA_ADD", 1))
        if stops:
            with pytest.raises(UserError, match=r"found     20000 in its MTD_MSIL2A\.xml"):
                radiometry_of(item(product("20160105"), path), 500, STATIC)
        else:
            assert radiometry_of(item(product("20160105"), path), 500, STATIC)[0] == Declared(500, True, "metadata")
