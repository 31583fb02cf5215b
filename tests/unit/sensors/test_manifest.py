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
    BANDS,
    ENTRIES,
    Datatake,
    Dropped,
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
)
from smallmines.sensors.manifest_files import read_fetched, read_list, read_manifest, write_fetched, write_manifest

WINDOWS = {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}
TIME = "2016-01-05T10:34:22Z"
SQUARE = {"type": "Polygon", "coordinates": [[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]]}
ORBIT = Orbit("descending", 155, 2, {"2016": 1.0})
ITEMS = {
    "s2": Sentinel2Entry("a", 1, "S2A_20160105T103422", 1, TIME, "T30NXN", None, None, 500, True, declared_by="product"),
    "s1": Sentinel1Entry("a", 1, "S1A_009430", 1, TIME, None, *("descending", 155)),
    "dem": Entry("a", 1, "a", 1, TIME),
}


def manifest(sensor: str) -> Manifest:
    windows = {} if sensor == "dem" else {"2016": ["2016-01-01", "2016-01-31"]}
    query = Query("collection", "static" if sensor == "dem" else "2016", windows, {"provider": "static"})
    item = ManifestItem(ITEMS[sensor], SQUARE, dict.fromkeys(BANDS[sensor], "a.tif"))
    base = Manifest(
        sensor,
        "static",
        None,
        TIME,
        None,
        query,
        (item,),
        {"b": "too cloudy"},
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
    with pytest.raises(UserError, match=r"chosen\.0\.offset is missing"):
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
    assert read_list(path, Entry).provider == "static", "which needs no pixels"


def test_tags_name_the_fallback_and_the_edition() -> None:
    fallback = Fallback("earth_engine", "no account", "the 2021 edition of the DEM")
    fetched: Fetched[Entry] = Fetched("dem", "1", "aws", fallback, "2021", (Scene("a", 1),), ())
    assert fetched.provider_tags() == {"FALLBACK": "aws instead of earth_engine: the 2021 edition of the DEM", "EDITION": "2021"}


def test_a_cached_file_of_another_size_is_named(tmp_path: Path) -> None:
    pixels, path = tmp_path / "B02.tif", tmp_path / "s2.json"
    pixels.write_bytes(b"12345")
    item = FetchedItem(ITEMS["s2"], {"B02": str(pixels)}, {"B02": 5})
    write_fetched(path, Fetched("s2", "1", "static", None, None, (Scene("a", 1, 500),), (item,)))
    assert read_fetched(path, Sentinel2Entry).items == (item,)
    pixels.write_bytes(b"1234")
    with pytest.raises(
        UserError, match=r"1 cut or changed, first \S+B02.tif has 4 bytes instead of 5\ndo        delete \S+s2.json and run"
    ):
        read_fetched(path, Sentinel2Entry)


def _without(*keys: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def _with(value: Any, *keys: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def _twice(content: Any) -> None:
    content["chosen"].append(content["chosen"][0] | {"index": 2})


WRONG: dict[str, tuple[Any, str]] = {
    "a key is missing": (_without("chosen", 0, "baseline"), "chosen.0.baseline is missing"),
    "another type": (_with("500", "chosen", 0, "baseline"), "chosen.0.baseline is '500': Input should be a valid integer"),
    "true as a number": (_with(True, "chosen", 0, "index"), "chosen.0.index is True"),
    "an id that leads out of the cache": (_with("../../x", "chosen", 0, "id"), "chosen.0.id is '../../x' instead of"),
    "an id of dots": (_with("..", "chosen", 0, "id"), "chosen.0.id is '..' instead of"),
    "a long id": (_with("x" * 201, "chosen", 0, "id"), "chosen.0.id is 'x+' instead of"),
    "a band that leads out of the cache": (_with("x", "chosen", 0, "hrefs", "../B02"), "chosen.0.hrefs has ../B02"),
    "a band is missing": (_without("chosen", 0, "hrefs", "B05"), "chosen.0.hrefs has .* instead of B02"),
    "a null address": (_with(None, "chosen", 0, "hrefs", "B05"), "chosen.0.hrefs.B05 is None"),
    "a footprint without an area": (
        _with({"type": "Polygon", "coordinates": []}, "chosen", 0, "geometry"),
        "geometry is a Polygon without",
    ),
    "a point": (_with({"type": "Point", "coordinates": [0, 0]}, "chosen", 0, "geometry"), "chosen.0.geometry is a Point"),
    "one item twice": (_twice, "the id a is there twice"),
    "numbers from 0": (_with(0, "chosen", 0, "index"), "index 0 and rank 1 of a are out of order"),
    "an item that is a text": (_with("a", "chosen", 0), "chosen.0 is 'a' instead of an object"),
    "chosen is an object": (_with({}, "chosen"), "chosen is dict instead of a list"),
    "no query": (_without("query"), "query is None instead of an object"),
    "rejected without a reason": (_with([{"id": "b"}], "rejected"), "rejected.0.reason is missing"),
    "another sensor": (_with("s1", "sensor"), "chosen.0.orbit_state is missing"),
    "an unknown sensor": (_with(["s2"], "sensor"), r"sensor is \['s2'\] instead of one of s2, s1, dem"),
    "another year": (_with("2017", "query", "year"), "year '2017' instead of '2016'"),
    "other dates": (_with({}, "query", "windows"), "dates None instead of"),
    "nothing chosen": (_with([], "chosen"), "no chosen items"),
    "an unknown provider": (_with("nasa", "provider"), "nasa"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_archived_manifest_must_be_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s2.json"
    write_manifest(path, manifest("s2"))
    assert read_archived(path, "s2", "2016", WINDOWS) == manifest("s2")
    content = read_json(path)
    change, words = WRONG[name]
    change(content)
    write_json(path, content)
    with pytest.raises(UserError, match=words) as caught:
        read_archived(path, "s2", "2016", WINDOWS)
    assert str(caught.value).count("\n") == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', "\x00", "null", "[" * 10000])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s2.json"
    path.write_text(text)
    for read in (read_manifest, lambda path: read_list(path, Entry), lambda path: read_archived(path, "s2", "2016", WINDOWS)):
        with pytest.raises(UserError, match=f"{path}") as caught:
            read(path)
        assert str(caught.value).count("\n") == 2
    with pytest.raises(UserError, match="FileNotFoundError"):
        read_manifest(tmp_path / "gone.json")


def test_a_fetched_list_with_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s2.json"
    write_fetched(path, Fetched("dem", "1", "aws", None, None, (), (FetchedItem(replace(ITEMS["dem"], id="a/../b"), {}),)))
    with pytest.raises(UserError, match=r"the id 'a/\.\./b' has other characters"):
        read_list(path, Entry)


def test_a_manifest_of_an_earlier_version_has_no_dropped_items(tmp_path: Path) -> None:
    path = tmp_path / "s2.json"
    write_manifest(path, replace(manifest("s2"), dropped=(Dropped("b", "bands missing: B05", 0.25),)))
    assert read_manifest(path).dropped == (Dropped("b", "bands missing: B05", 0.25),)
    write_json(path, {key: value for key, value in read_json(path).items() if key != "dropped"})
    assert read_manifest(path) == manifest("s2")
