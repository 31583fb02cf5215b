"""Manifests and fetched lists: what is read is written again, byte by byte."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallmines.archive.search import read_archived
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.sensors.manifest import (
    ENTRIES,
    Datatake,
    Entry,
    Fallback,
    Fetched,
    FetchedItem,
    Manifest,
    ManifestItem,
    Orbit,
    Query,
    Scene,
    Sentinel1Entry,
    Sentinel2Datatake,
    Sentinel2Entry,
    fetched_of,
    read_fetched,
    read_manifest,
    write_fetched,
    write_manifest,
)

WINDOWS = {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}
TIME = "2016-01-05T10:34:22Z"
SQUARE = {"type": "Polygon", "coordinates": [[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]]}
ORBIT = Orbit("descending", 155, 2, {"2016": 1.0})
ITEMS = {
    "s2": Sentinel2Entry("a", 1, "S2A_20160105T103422", 1, TIME, "T30NXN", None, None, 500, True, "product"),
    "s1": Sentinel1Entry("a", 1, "S1A_009430", 1, TIME, None, *("descending", 155)),
    "dem": Entry("a", 1, "a", 1, TIME),
}


def manifest(sensor: str) -> Manifest:
    windows = {} if sensor == "dem" else {"2016": ["2016-01-01", "2016-01-31"]}
    query = Query("collection", "static" if sensor == "dem" else "2016", windows, {"provider": "static"})
    base = Manifest(
        sensor, "static", None, TIME, None, query, (ManifestItem(ITEMS[sensor], SQUARE, {"B02": "a.tif"}),), {"b": "too cloudy"}
    )
    if sensor == "s2":
        return replace(base, datatakes=(Sentinel2Datatake("take", None, 0.5, 1.0, ["a"], "2016-01-05", None, None),), notes=())
    if sensor == "s1":
        return replace(base, datatakes=(Datatake("take", 1, 1.0, 1.0, ["a"]),), notes=("a note",), orbit=ORBIT, orbits=(ORBIT,))
    return base


@pytest.mark.parametrize("sensor", ENTRIES)
def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, sensor: str) -> None:
    for number, content in enumerate(
        (manifest(sensor), replace(manifest(sensor), fallback=Fallback("cdse", "no answer", "older products")))
    ):
        path, again = tmp_path / f"{number}.json", tmp_path / "again.json"
        write_manifest(path, content)
        assert read_manifest(path) == content
        write_manifest(again, read_manifest(path))
        assert again.read_bytes() == path.read_bytes()


def test_a_manifest_of_an_earlier_version_does_not_say_what_declared_the_offset(tmp_path: Path) -> None:
    write_manifest(tmp_path / "new.json", manifest("s2"))
    content = read_json(tmp_path / "new.json")
    assert content["chosen"][0].pop("declared_by") == "product"
    write_json(tmp_path / "old.json", content)
    entry = read_manifest(tmp_path / "old.json").chosen[0].entry
    assert isinstance(entry, Sentinel2Entry)
    assert (entry.offset, entry.declared_by) == (True, "unknown")
    del content["chosen"][0]["offset"]
    write_json(tmp_path / "cut.json", content)
    with pytest.raises(KeyError, match="offset"):
        read_manifest(tmp_path / "cut.json")


def test_keys_of_a_manifest_are_those_of_its_sensor(tmp_path: Path) -> None:
    write_manifest(tmp_path / "dem.json", manifest("dem"))
    content = read_json(tmp_path / "dem.json")
    assert set(content) == {"sensor", "provider", "catalogue", "asked", "edition", "query", "chosen", "rejected"}
    assert set(content["chosen"][0]) == {"id", "index", "datatake", "rank", "datetime", "geometry", "hrefs"}
    write_manifest(tmp_path / "s2.json", manifest("s2"))
    content = read_json(tmp_path / "s2.json")
    assert content["chosen"][0]["cloud_cover"] is None, "Sentinel-2 states that it is not known"
    assert content["datatakes"][0]["haze"] is None
    assert content["rejected"] == [{"id": "b", "reason": "too cloudy"}]


def test_a_fetched_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = tmp_path / "B02.tif"
    pixels.touch()
    items = (FetchedItem(ITEMS["s2"], {"B02": str(pixels)}),)
    fetched: Fetched[Any] = Fetched("s2", "1", "static", None, None, (Scene("a", 1, 500), Scene("b", 2, 208)), items)
    path = tmp_path / "s2.json"
    write_fetched(path, fetched)
    assert read_fetched(path, Sentinel2Entry) == fetched
    assert fetched.provider_tags() == {}
    content = read_json(path)
    assert (content["fallback"], content["edition"]) == (None, None)
    assert content["items"][0]["baseline"] == 500
    pixels.unlink()
    with pytest.raises(UserError, match="1 missing"):
        read_fetched(path, Sentinel2Entry)
    assert fetched_of(content, Entry).provider == "static", "which needs no pixels"


def test_tags_name_the_fallback_and_the_edition() -> None:
    fallback = Fallback("earth_engine", "no account", "the 2021 edition of the DEM")
    fetched: Fetched[Entry] = Fetched("dem", "1", "aws", fallback, "2021", (Scene("a", 1),), ())
    assert fetched.provider_tags() == {"FALLBACK": "aws instead of earth_engine: the 2021 edition of the DEM", "EDITION": "2021"}


def test_an_archived_manifest_must_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "s2.json"
    write_manifest(path, manifest("s2"))
    assert read_archived(path, "s2", "2016", WINDOWS) == manifest("s2")
    content = read_json(path)
    del content["chosen"][0]["baseline"]
    for wrong, words in (
        (content, "KeyError: 'baseline'"),
        ({**content, "sensor": "s1"}, "sensor 's1' instead of 's2'"),
        ({**content, "chosen": []}, "no chosen items"),
        ([], "sensor None"),
    ):
        write_json(path, wrong)
        with pytest.raises(UserError, match=words):
            read_archived(path, "s2", "2016", WINDOWS)
