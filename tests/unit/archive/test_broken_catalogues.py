"""Broken and hostile catalogues: three lines or a right choice, no traceback, nothing outside the run's folders."""

from __future__ import annotations

import copy
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_builder import grid, product
from small_archive import COLLECTIONS, TILE, SmallArchive, chosen, clear_bands, footprint, on_the_area, reasons
from smallmines.archive.catalogue import _paged, _unique
from smallmines.core.errors import UserError
from smallmines.sensors.manifest import Item

GOOD, OTHER = product("20160105"), product("20160115")
SLICE = "S1A_IW_GRDH_1SDV_20160103T055512_20160103T055537_009430_0101DA_rtc"
SLICE_2022 = "S1A_IW_GRDH_1SDV_20220103T055512_20220103T055537_041455_0101DA_rtc"
BANDS = clear_bands(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallArchive]:
    """Two items of each satellite and one of elevation in a catalogue that nobody broke; addresses on the network fail without pauses."""
    made = SmallArchive(tmp_path_factory.mktemp("whole"))
    for name in (GOOD, OTHER):
        made.add_s2(name, TILE, BANDS)
    power = np.full((128, 128), 0.1, np.float32)
    for name in (SLICE, SLICE_2022):
        made.add_s1(name, TILE, power, power, ("descending", 155), **{"proj:transform": list(TILE.transform[:6]), "proj:shape": [128, 128]})
    made.add_dem("dem", grid(-2.2, 6.4, (360, 720), 1 / 3600, "EPSG:4326"), np.ones((360, 720), np.float32))
    made.save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDAL_HTTP_RETRY_DELAY", "0.001")
        patch.setenv("GDAL_HTTP_MAX_RETRY", "0")
        yield made


def documents(made: SmallArchive) -> dict[Path, str]:
    """Text of each JSON file of a catalogue."""
    return {path: path.read_text() for path in sorted(made.folder.rglob("*.json"))}


@pytest.fixture
def made(whole: SmallArchive) -> Iterator[SmallArchive]:
    """The catalogue for one test; its files are restored afterwards."""
    before = documents(whole)
    yield whole
    for path, text in before.items():
        path.write_text(text)


def three_lines(error: UserError) -> UserError:
    """The error, if it has three lines."""
    assert str(error).count("\n") == 2
    return error


def search(made: SmallArchive, sensor: str = "s2", **keys: Any) -> dict[str, Any]:
    """The manifest, or a `UserError` of three lines, within seconds; nothing is written beside the archive's folder."""
    began, beside = time.monotonic(), set(made.root.parent.iterdir())
    try:
        return made.search(sensor, **keys)
    except UserError as error:
        raise three_lines(error) from None
    finally:
        assert time.monotonic() - began < 10
        assert set(made.root.parent.iterdir()) == beside


def asset(value: Any, key: str = "href") -> Callable[[Any], Any]:
    return lambda item: item["assets"]["B02"].update({key: value})


def prop(**values: Any) -> Callable[[Any], Any]:
    return lambda item: item["properties"].update(values)


def top(**values: Any) -> Callable[[Any], Any]:
    return lambda item: item.update(values)


def polygon(*points: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [list(points)]}


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "id that leads out": (top(id="../../../pwned"), r"ids of 1 to 200 letters[\s\S]*'../../../pwned'[\s\S]*exclude_items"),
    "absolute id": (top(id="/tmp/pwned"), "'/tmp/pwned'"),
    "id with a slash": (top(id="a/b"), "'a/b'"),
    "empty id": (top(id=""), "''"),
    "id .": (top(id="."), r"'\.'"),
    "id ..": (top(id=".."), r"'\.\.'"),
    "number as id": (top(id=7), "7"),
    "null as id": (top(id=None), "None"),
    "list as id": (top(id=["a"]), "a"),
    "long id": (top(id="x" * 201), "xxx"),
    "id with a line feed": (top(id="a\n<script>"), r"a\\n<script>"),
    "id with a trailing line feed": (top(id="a\n"), r"a\\n"),
    "two items of one id": (top(id=OTHER), rf"two different items {OTHER}: their .*hrefs"),
    "datetime null": (prop(datetime=None), f"a STAC item {GOOD}"),
    "datetime garbage": (prop(datetime="yesterday"), f"a STAC item {GOOD}"),
    "datetime of the year 1": (prop(datetime="0001-01-01T00:00:00+14:00"), f"a STAC item {GOOD}"),
    "datetime a number": (prop(datetime=20160105), f"a STAC item {GOOD}"),
    "no properties": (lambda item: item.pop("properties"), f"a STAC item {GOOD}"),
    "properties a list": (top(properties=[]), f"a STAC item {GOOD}"),
    "assets a list": (top(assets=["B02"]), f"a STAC item {GOOD}"),
    "another type": (top(type="Catalog"), f"a STAC item {GOOD}"),
    "href of a text file": (asset("/etc/passwd"), f"a readable raster for {GOOD} B02 at /etc/passwd"),
    "href file:// of a text file": (asset("file:///etc/passwd"), f"a readable raster for {GOOD} B02 at /etc/passwd"),
    "href that leads out": (asset("../../../../../../../../etc/passwd"), "a readable raster"),
    "href of a VRT": (asset("<VRTDataset rasterXSize='1' rasterYSize='1'/>"), "a readable raster"),
    "href of an archive": (asset("/vsizip//etc/passwd"), "a readable raster"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_item_is_refused_by_name_and_can_be_left_out(made: SmallArchive, name: str) -> None:
    change, words = REFUSED[name]
    made.edit(made.item("s2", GOOD), change)
    with pytest.raises(UserError, match=words):
        search(made)
    identifier = json.loads(made.item("s2", GOOD).read_text()).get("id")
    if isinstance(identifier, str) and identifier != OTHER:
        assert chosen(search(made, exclude_items=(identifier,))) == [OTHER]


RADAR: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no orbit": (lambda item: item["properties"].pop("sat:relative_orbit"), "no pass direction or relative orbit"),
    "orbit a text": (prop(**{"sat:relative_orbit": "many"}), "no pass direction or relative orbit"),
    "orbit NaN": (prop(**{"sat:relative_orbit": float("nan")}), "no pass direction or relative orbit"),
    "orbit a list": (prop(**{"sat:relative_orbit": [155]}), "no pass direction or relative orbit"),
    "orbit of half": (prop(**{"sat:relative_orbit": 155.5}), "no pass direction or relative orbit"),
    "pass sideways": (prop(**{"sat:orbit_state": "sideways"}), "no pass direction or relative orbit"),
    "pass a list": (prop(**{"sat:orbit_state": ["ascending"]}), "no pass direction or relative orbit"),
    "polarisation missing": (lambda item: item["assets"].pop("vh"), "bands missing: VH"),
    "polarisation null": (lambda item: item["assets"].update(vh=None), "bands missing: VH"),
}


@pytest.mark.parametrize("name", RADAR)
def test_a_slice_without_what_is_needed_is_dropped_visibly(made: SmallArchive, name: str) -> None:
    change, reason = RADAR[name]
    third = SLICE.replace("20160103", "20160115").replace("009430", "009605")
    made.item("s1", third).parent.mkdir(exist_ok=True)
    for path in made.item("s1", SLICE).parent.glob("*.tif"):
        made.item("s1", third).with_name(path.name).write_bytes(path.read_bytes())
    made.item("s1", third).write_text(made.item("s1", SLICE).read_text())
    made.edit(made.item("s1", third), top(id=third))
    made.edit(made.item("s1", third), prop(datetime="2016-01-15T05:55:24Z"))
    made.edit(made.folder / "sentinel-1-rtc/collection.json", link("item", f"./{third}/{third}.json"))
    assert chosen(search(made, "s1")) == [SLICE, third]
    made.edit(made.item("s1", third), change)
    manifest = search(made, "s1")
    assert chosen(manifest) == [SLICE]
    assert manifest["dropped"] == [{"id": third, "reason": reason, "share": 1.0}]


@pytest.mark.parametrize(
    "change",
    [
        prop(platform=["S1A"]),
        prop(**{"sat:absolute_orbit": "x"}),
        prop(**{"sat:relative_orbit": "155"}),
        prop(**{"sat:orbit_state": "DESCENDING"}),
        top(geometry=None),
        lambda item: item["assets"]["vv"].update({"proj:transform": [1], "proj:shape": "x"}),
    ],
)
def test_odd_values_of_a_slice_change_nothing(made: SmallArchive, change: Callable[[Any], Any]) -> None:
    made.edit(made.item("s1", SLICE), change)
    manifest = search(made, "s1")
    assert chosen(manifest) == [SLICE]
    assert (manifest["orbit"]["orbit_state"], manifest["orbit"]["relative_orbit"]) == ("descending", 155)
    assert manifest["datatakes"][0]["covered_share"] == 1.0


ROUND = footprint(TILE)["coordinates"][0]
TAKEN: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "no geometry": (top(geometry=None, bbox=None), True),
    "geometry without coordinates": (top(geometry={"type": "Polygon", "coordinates": []}), True),
    "geometry NaN": (top(geometry=polygon([float("nan"), 6], [1, 6], [1, 7], [float("nan"), 6])), True),
    "geometry beyond the globe": (top(geometry=polygon([999, 999], [998, 999], [998, 998], [999, 999])), True),
    "geometry of two points": (top(geometry=polygon([0, 0], [1, 1])), True),
    "geometry a point": (top(geometry={"type": "Point", "coordinates": [0, 0]}), True),
    "geometry a text": (top(geometry="Polygon"), True),
    "geometry of texts": (top(geometry=polygon(["a", "b"], [1, 6], [1, 7], ["a", "b"])), True),
    "geometry that crosses itself": (top(geometry=polygon([-3, 5], [1, 8], [1, 5], [-3, 8], [-3, 5])), True),
    "geometry round the globe": (top(geometry=polygon([-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90])), True),
    "cloud cover a text": (prop(**{"eo:cloud_cover": "much"}), True),
    "cloud cover NaN": (prop(**{"eo:cloud_cover": float("nan")}), True),
    "platform a list": (prop(platform=["S2A"]), True),
    "baseline garbage": (prop(**{"processing:version": ["x"], "s2:processing_baseline": {"a": 1}}), True),
    "product name garbage": (prop(**{"s2:product_uri": 5, "s2:datatake_id": [], "grid:code": {}, "s2:generation_time": 3}), True),
    "grid garbage": (lambda item: item["assets"]["B02"].update({"proj:transform": "x", "proj:shape": [None], "proj:code": 5}), True),
    "grid of NaN": (lambda item: item["assets"]["SCL"].update({"proj:transform": [float("nan")] * 6, "proj:code": "EPSG:abc"}), True),
    "href file://": (lambda item: asset("file://" + item["assets"]["B02"]["href"])(item), True),
    "asset null": (lambda item: item["assets"].update(B02=None), False),
    "href null": (asset(None), False),
    "href empty": (asset(""), False),
    "href a number": (asset(5), False),
    "href missing": (lambda item: item["assets"]["B02"].pop("href"), False),
    "href of another scheme": (asset("ftp://127.0.0.1/B02.tif"), False),
    "href with a zero byte": (asset("B02\0.tif"), False),
    "no assets": (top(assets=None), False),
}


@pytest.mark.parametrize("name", TAKEN)
def test_odd_values_change_no_pixel_or_drop_the_item_visibly(made: SmallArchive, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, is_used = TAKEN[name]
    here = os.path.dirname(made.item("s2", GOOD))
    made.edit(made.item("s2", GOOD), lambda item: item["assets"]["B02"].update(href=f"{here}/B02.tif"))
    made.edit(made.item("s2", GOOD), change)
    manifest = search(made, method="earliest")
    assert chosen(manifest) == ([GOOD, OTHER] if is_used else [OTHER])
    if not is_used:
        assert reasons(manifest)[GOOD].startswith("bands missing: B02")
        assert manifest["dropped"][0]["share"] == 1.0
        assert f"s2 2016: {GOOD} is left out, 100.0 % of the area: bands missing: B02" in capsys.readouterr().out
    if name in ("no geometry", "geometry that crosses itself", "href file://"):
        assert np.array_equal(made.image(method="earliest"), on_the_area(BANDS))


def collection(made: SmallArchive) -> Path:
    return made.folder / "sentinel-2-l2a/collection.json"


def link(rel: str, href: Any) -> Callable[[Any], Any]:
    return lambda document: document["links"].append({"rel": rel, "href": href})


CATALOGUES: dict[str, tuple[Callable[[SmallArchive], Any], str | None]] = {
    "item half": (lambda made: os.truncate(made.item("s2", GOOD), 300), rf"JSON, at \S+{GOOD}.json"),
    "item empty": (lambda made: made.item("s2", GOOD).write_text(""), rf"JSON, at \S+{GOOD}.json"),
    "item a list": (lambda made: made.item("s2", GOOD).write_text("[]"), "a JSON object.*\nfound     a list"),
    "item nested without end": (lambda made: made.item("s2", GOOD).write_text("[" * 100_000), "RecursionError"),
    "item in another encoding": (lambda made: made.item("s2", GOOD).write_bytes(b"\xff\xfe{"), "UnicodeDecodeError"),
    "item gone": (lambda made: made.item("s2", GOOD).unlink(), "FileNotFoundError"),
    "catalogue half": (lambda made: os.truncate(made.folder / "catalog.json", 150), r"JSON, at \S+catalog.json"),
    "catalogue a list": (lambda made: (made.folder / "catalog.json").write_text("[]"), "a list"),
    "catalogue gone": (lambda made: (made.folder / "catalog.json").unlink(), "no file"),
    "collection gone": (lambda made: collection(made).unlink(), "FileNotFoundError"),
    "collection a loop": (lambda made: made.edit(collection(made), link("child", "../catalog.json")), None),
    "collection its own child": (lambda made: made.edit(collection(made), link("child", "./collection.json")), None),
    "an item twice in the links": (lambda made: made.edit(collection(made), link("item", f"./{GOOD}/{GOOD}.json")), None),
    "an item by two ways": (lambda made: made.edit(collection(made), link("item", f"../sentinel-2-l2a/./{GOOD}/{GOOD}.json")), None),
    "an item by file://": (lambda made: made.edit(collection(made), link("item", made.item("s2", GOOD).as_uri())), None),
    "a link to a text file": (lambda made: made.edit(collection(made), link("item", "/etc/passwd")), "JSON, at /etc/passwd"),
    "a link to a folder": (lambda made: made.edit(collection(made), link("item", "/etc")), "IsADirectoryError"),
    "a link to null": (lambda made: made.edit(collection(made), link("item", None)), "an address of each link `item`"),
    "a link to a number": (lambda made: made.edit(collection(made), link("child", 5)), "an address of each link `child`"),
    "a link with a zero byte": (lambda made: made.edit(collection(made), link("item", "a\0")), "an address of each link"),
    "links that are texts": (lambda made: made.edit(collection(made), top(links=["a"])), "links, a list of objects"),
    "links that are an object": (lambda made: made.edit(collection(made), top(links={"a": 1})), "links, a list of objects"),
    "no links": (lambda made: made.edit(collection(made), top(links=None)), "no item there and then"),
    "another collection": (
        lambda made: made.edit(collection(made), top(id="sentinel-2-l1c")),
        "found     cop-dem-glo-30, sentinel-1-rtc, sentinel-2-l1c",
    ),
    "a nested catalogue": (lambda made: _nest(made), None),
}


def _nest(made: SmallArchive) -> None:
    """Move the links to items into a catalogue below the collection."""
    content = json.loads(collection(made).read_text())
    below = {"type": "Catalog", "id": "2016", "links": [entry for entry in content["links"] if entry["rel"] == "item"]}
    content["links"] = [{"rel": "child", "href": "./below.json"}]
    collection(made).with_name("below.json").write_text(json.dumps(below))
    collection(made).write_text(json.dumps(content))


@pytest.mark.parametrize("name", CATALOGUES)
def test_links_are_followed_once_and_broken_files_are_named(made: SmallArchive, name: str) -> None:
    change, words = CATALOGUES[name]
    change(made)
    if words is None:
        assert sorted(chosen(search(made))) == [GOOD, OTHER]
    else:
        with pytest.raises(UserError, match=words):
            search(made)


@pytest.mark.parametrize("folder", ["a b", "é", "100%20", "a#b", "a?b=c&d", "a;b"])
def test_a_catalogue_in_a_folder_of_any_name(tmp_path: Path, folder: str) -> None:
    made = SmallArchive(tmp_path / folder)
    made.add_s2(GOOD, TILE, BANDS)
    made.save()
    manifest = made.search()
    assert manifest["chosen"][0]["hrefs"]["B05"] == str(made.item("s2", GOOD).with_name("B05.tif"))
    assert [item["id"] for item in made.fetch()["items"]] == [GOOD]


def test_an_item_with_an_address_that_never_answers_is_refused_at_once(made: SmallArchive) -> None:
    made.edit(made.item("s2", GOOD), asset("/vsicurl/http://127.0.0.1:9/x.tif"))
    with pytest.raises(UserError, match="a readable raster"):
        search(made)


def test_pages_that_come_again_end_the_search() -> None:
    pages = [{"features": [{"id": "a"}, {"id": "b"}]}, {"features": [{"id": "c"}]}]
    assert [item["id"] for item in _paged(pages, "https://example.org")] == ["a", "b", "c"]
    with pytest.raises(UserError, match="found     page 3 has the items of an earlier one"):
        list(_paged(itertools.cycle(pages), "https://example.org"))
    with pytest.raises(UserError, match="page 2 has"):
        list(_paged(itertools.repeat({"features": []}), "https://example.org"))


def test_an_item_that_pages_repeat_counts_once_and_two_of_one_id_are_refused() -> None:
    first, again = (Item("a", "2016-01-05T10:34:22Z", None, {"x": float("nan")}, {}, {}) for _ in range(2))
    assert [item.id for item in _unique([first, again], "https://example.org", ())] == ["a"]
    other = replace(first, properties={"x": 1})
    with pytest.raises(
        UserError, match=r"one item of each id in https://example\.org\nfound     two different items a: their properties differ"
    ):
        _unique([first, other], "https://example.org", ())
    assert len(_unique([first, other], "https://example.org", ("a",))) == 1, "the search leaves it out"


VALUES = st.sampled_from(
    [None, "", "x", "..", "../x", "/", 0, -1, 1e308, float("nan"), float("inf"), True, [], {}, ["x"], {"x": 1}, [[[0, 0]]], "\0", "2016", 5]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values of a JSON document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (
        [path, *(deep for key, child in children for deep in places(child, (*path, key)))]
        if path
        else [deep for key, child in children for deep in places(child, (key,))]
    )


def check_changed(whole: SmallArchive, data: st.DataObject) -> None:
    """Change one to three values of a catalogue: it is read, or refused in three lines; what is fetched lies in the cache."""
    before = documents(whole)
    sensor = data.draw(st.sampled_from(["s2", "s1", "dem"]), "sensor")
    files = [path for path in before if path.name == "catalog.json" or COLLECTIONS[sensor] in path.parts]
    try:
        for _ in range(data.draw(st.integers(1, 3), "changes")):
            path = data.draw(st.sampled_from(files), "file")
            path.write_text(json.dumps(changed(json.loads(path.read_text()), data)))
        try:
            manifest = search(whole, sensor)
            fetched = whole.fetch(sensor)
        except UserError as error:
            three_lines(error)
        else:
            for item in fetched["items"]:
                assert item["id"] in chosen(manifest)
                assert {Path(file).parent for file in item["files"].values()} == {whole.root / "pixels" / item["id"]}
    finally:
        for path, text in before.items():
            path.write_text(text)


def changed(content: Any, data: st.DataObject) -> Any:
    """A document with one value set, left out, or replaced by another of its values."""
    where = places(content)
    if not where:
        return content

    def at(path: tuple[Any, ...]) -> Any:
        value = content
        for key in path:
            value = value[key]
        return value

    *parents, last = data.draw(st.sampled_from(where), "place")
    target, action = at(tuple(parents)), data.draw(st.sampled_from(["set", "drop", "swap"]), "action")
    if action == "drop":
        del target[last]
    elif action == "swap":
        target[last] = copy.deepcopy(at(data.draw(st.sampled_from(where), "other")))
    else:
        target[last] = data.draw(VALUES, "value")
    return content


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_catalogue_it_is_read_or_refused(whole: SmallArchive, data: st.DataObject) -> None:
    check_changed(whole, data)


@pytest.mark.heavy
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_catalogue_it_is_read_or_refused_500(whole: SmallArchive, data: st.DataObject) -> None:
    check_changed(whole, data)
