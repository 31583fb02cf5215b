"""Every provider gives the pixels of the static catalogue, through the real clients, also while services stumble."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from chain import Place, pixels, tags
from services import Archives, Faults

from smallmines.archive import connections
from smallmines.archive.access import try_providers
from smallmines.archive.providers import provider_of
from smallmines.archive.search import footprint
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.grid.lattice import read_lattice

pytestmark = [pytest.mark.loopback, pytest.mark.heavy, pytest.mark.matrix]

COMBINATIONS = [
    ("s2", "cdse"),
    ("s2", "cdse_https"),
    ("s2", "planetary_computer"),
    ("s2", "earth_search"),
    ("s1", "planetary_computer"),
    ("dem", "earth_engine"),
    ("dem", "planetary_computer"),
    ("dem", "aws"),
]
FEW = {"s2": {"max_datatakes": 2}, "s1": {}, "dem": {}}


def static(place: Place, sensor: str) -> Path:
    """The composite of the static catalogue."""
    image = place.composite(sensor, place.settings(sensor, "static", **FEW[sensor]), year_of(sensor))
    return image.rename(place.folder / "expected.tif")


def year_of(sensor: str) -> str:
    return "static" if sensor == "dem" else "2016"


@pytest.mark.parametrize(("sensor", "provider"), COMBINATIONS)
def test_a_provider_gives_the_pixels_of_the_static_catalogue(place: Place, sensor: str, provider: str) -> None:
    expected = static(place, sensor)
    image = place.composite(sensor, place.settings(sensor, provider, **FEW[sensor]), year_of(sensor))
    assert np.array_equal(pixels(image), pixels(expected), equal_nan=sensor != "s2")
    manifest = read_json(place.folder / f"manifests/{year_of(sensor)}/{sensor}.json")
    assert manifest["provider"] == provider
    assert "fallback" not in manifest
    different = {key for key, value in tags(expected).items() if tags(image).get(key) != value}
    assert different <= ({"ITEMS"} if provider in ("planetary_computer", "earth_search") else set())
    assert tags(image).get("EDITION") == ("2021" if provider in ("planetary_computer", "aws") and sensor == "dem" else None)


@pytest.mark.parametrize(
    ("sensor", "provider"), [("s2", "cdse"), ("s2", "cdse_https"), ("s1", "planetary_computer"), ("dem", "earth_engine")]
)
def test_stumbling_services_change_no_pixel(place: Place, sensor: str, provider: str) -> None:
    settings = place.settings(sensor, provider, **FEW[sensor])
    expected = static(place, sensor)
    place.archives.faults = Faults(rate=0.05 if sensor != "dem" else 0.25, expire_after=25 if sensor == "s1" else None)
    image = place.composite(sensor, settings, year_of(sensor))
    assert np.array_equal(pixels(image), pixels(expected), equal_nan=sensor != "s2")
    statuses = [status for _, _, status in place.archives.asked]
    assert sum(status in (429, 503) for status in statuses) >= (1 if sensor == "dem" else 2)
    if sensor == "s1":
        assert 403 in statuses, "no token expired"
        assert sum(name == "sas" for name, _, _ in place.archives.asked) >= 2


def test_a_killed_download_goes_on_where_it_was(place: Place) -> None:
    settings = place.settings("s2", "cdse", **FEW["s2"])
    place.search("s2", settings)
    wanted = place.fetch("s2", settings)
    files = [Path(path) for item in read_json(wanted)["items"] for path in item["files"].values()]
    digests = {path.as_posix(): sha256(path) for path in files}
    for path in files:
        path.unlink()
    wanted.unlink()
    place.archives.faults = Faults(slow=0.03)
    program = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1]); from pathlib import Path;"
        "from smallmines.archive.fetch import Cache, fetch; from smallmines.settings.fetch import FetchSentinel2;"
        "settings = FetchSentinel2('nearest', 3, 2, 'warpedvrt');"
        "fetch('s2', '1', 'grid.json', 'manifests/2016/s2.json', Cache(Path('pixels'), 1), settings, 'killed.json')"
    )
    running = subprocess.Popen([sys.executable, "-c", program, json.dumps(sys.path)], cwd=place.folder)
    while sum(path.is_file() for path in files) < 5:
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    there = {path for path in files if path.is_file()}
    assert 5 <= len(there) < len(files)
    place.archives.faults = Faults()
    place.archives.asked.clear()
    place.fetch("s2", settings)
    assert {path.as_posix(): sha256(path) for path in files} == digests
    again = {path.split("/")[-1] for service, path, _ in place.archives.asked if service == "s3"}
    keys = {
        (item["id"], band): item["hrefs"][band].split("/")[-1]
        for item in read_json("manifests/2016/s2.json")["chosen"]
        for band in item["hrefs"]
    }
    assert not again & {keys[path.parent.name, path.name.split("-")[0]] for path in there}, "fetched again"
    assert again == {keys[path.parent.name, path.name.split("-")[0]] for path in files if path not in there}
    place.archives.asked.clear()
    place.fetch("s2", settings)
    assert not place.archives.asked


def test_both_readers_give_the_same_bytes(place: Place) -> None:
    settings = place.settings("s2", "cdse", **FEW["s2"])
    place.search("s2", settings)
    lists = []
    for reader in ("warpedvrt", "stackstac"):
        listed = place.fetch("s2", settings.model_copy(update={"reader": reader}))
        files = [path for item in read_json(listed)["items"] for path in item["files"].values()]
        lists.append({path: sha256(path) for path in files})
        for path in files:
            Path(path).unlink()
    assert lists[0] == lists[1]
    assert len(lists[0]) >= 22


def test_a_search_asks_for_all_pages_and_repeats_what_is_refused(place: Place) -> None:
    place.archives.faults = Faults(rate=0.2, services=("stac",))
    place.archives.page = 4
    found = place.search("s2", place.settings("s2", "planetary_computer", max_cloud_cover=100), year="2022")
    listed = len(found["chosen"]) + len(found["rejected"])
    items = place.archives.collections["planetary_computer"]["sentinel-2-l2a"]
    where = shapely.geometry.shape(footprint(read_lattice(place.grid())))
    over = [item for item in items if shapely.geometry.shape(item["geometry"]).intersects(where)]
    assert listed == sum(item["properties"]["datetime"].startswith("2022-01") for item in over) > 4
    pages = [status for service, path, status in place.archives.asked if service == "stac" and path.endswith("/search")]
    assert pages.count(200) == -(-listed // 4)
    assert {429, 503} & {status for service, _, status in place.archives.asked if service == "stac"}


def test_manifests_hold_no_signature_and_tell_what_was_asked(place: Place) -> None:
    manifest = place.search("s1", place.settings("s1", "planetary_computer"))
    text = (place.folder / "manifests/2016/s1.json").read_text()
    assert "sig=" not in text
    assert manifest["catalogue"] == place.archives.catalogue("planetary_computer")
    assert manifest["query"]["collection"] == "sentinel-1-rtc"
    assert manifest["asked"].startswith("20")
    assert all(href.startswith("http://sentinel1euwestrtc.blob") for item in manifest["chosen"] for href in item["hrefs"].values())


def test_a_fallback_is_used_only_where_allowed_and_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    place.archives.faults = Faults(down=("s3",))
    with pytest.raises(UserError, match="cdse"):
        place.search("s2", place.settings("s2", "cdse", **FEW["s2"]))
    place.archives.collections["cdse"], kept = {}, place.archives.collections["cdse"]
    try:
        settings = place.settings("s2", "cdse", fallbacks=("planetary_computer",), **FEW["s2"])
        image = place.composite("s2", settings)
    finally:
        place.archives.collections["cdse"] = kept
    manifest = read_json(place.folder / "manifests/2016/s2.json")
    assert manifest["provider"] == "planetary_computer"
    assert manifest["fallback"]["instead_of"] == "cdse"
    assert "offset" in manifest["fallback"]["differs"]
    assert tags(image)["FALLBACK"].startswith("planetary_computer instead of cdse: ")


def test_an_archived_manifest_takes_the_place_of_a_search(place: Place) -> None:
    settings = place.settings("s2", "cdse", **FEW["s2"])
    first = place.search("s2", settings)
    kept = place.folder / "kept.json"
    kept.write_bytes((place.folder / "manifests/2016/s2.json").read_bytes())
    place.archives.asked.clear()
    assert place.search("s2", settings, archived=kept) == first
    assert not place.archives.asked
    with pytest.raises(UserError, match="year '2016' instead of '2022'"):
        place.search("s2", settings, year="2022", archived=kept)


def test_coverage_and_size_are_known_before_anything_is_downloaded(place: Place) -> None:
    settings: dict[str, Any] = {"s2": place.settings("s2", "cdse", **FEW["s2"]), "s1": place.settings("s1", "planetary_computer")}
    for sensor, one in settings.items():
        place.search(sensor, one)
    found = place.cover(settings)
    assert set(found["2016/s2"]["blocks"].values()) == {1.0}
    assert found["2016/s2"]["cached"] == 0
    assert found["2016/s2"]["files"] == sum(
        len(item["files"]) for block in "12" for item in read_json(place.fetch("s2", settings["s2"], block=block))["items"]
    )
    assert found["2016/s2"]["bytes"] > 1e6
    again = place.cover(settings)
    assert again["2016/s2"]["cached"] == found["2016/s2"]["files"]
    assert again["2016/s2"]["bytes"] == 0


def test_a_provider_gets_no_more_connections_than_it_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    provider = provider_of("s2", "cdse")
    program = (
        "import json, sys, time; sys.path[:0] = json.loads(sys.argv[1]);"
        "from smallmines.archive.connections import connection; from smallmines.archive.providers import provider_of\n"
        "with connection(provider_of('s2', 'cdse')):\n"
        "    open(f'in-{sys.argv[2]}', 'w').close(); time.sleep(60)"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, json.dumps(sys.path), str(number)]) for number in range(6)]
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("in-*"))) < provider.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        holders = {int(path.name[3:]) for path in tmp_path.glob("in-*")}
        assert len(holders) == provider.connections == 4
        started[holders.pop()].kill()  # a killed job gives its connection back
        while len(list(tmp_path.glob("in-*"))) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for one in started:
            one.kill()
    assert (tmp_path / connections.FOLDER).is_dir()


def test_earth_engine_is_asked_in_parts_below_its_limit(archives: Archives, monkeypatch: pytest.MonkeyPatch) -> None:
    from rasterio.windows import Window

    from smallmines.archive import earthengine

    provider = provider_of("dem", "earth_engine")
    earthengine.connect(provider, archives.catalogue("earth_engine"), None)
    name, path = next(iter(archives.images.items()))
    image = earthengine.open_image(f"ee://{name}", "DEM", provider)
    monkeypatch.setattr(earthengine, "REQUEST_BYTES", 40_000)
    archives.asked.clear()
    found = image.read(1, Window(3, 2, 60, image.height - 2))
    with rasterio.open(path) as source:
        assert np.array_equal(found, source.read(1, window=Window(3, 2, 60, image.height - 2)))
    assert sum(path.endswith(":computePixels") for _, path, _ in archives.asked) == -(-(image.height - 2) // (40_000 // 240))


def test_without_the_products_metadata_and_haze_a_search_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for href in [one for one in place.archives.files if one.endswith(("MTD_MSIL2A.xml", "_AOT.tif"))]:
        monkeypatch.setitem(place.archives.files, href, place.folder / "gone")
    manifest = place.search("s2", place.settings("s2", "planetary_computer", **FEW["s2"]))
    assert {item["baseline"] for item in manifest["chosen"]} <= {208, 500}
    assert any("no metadata" in note for note in manifest["notes"])
    assert {one["haze"] for one in manifest["datatakes"]} == {None}


def test_haze_is_measured_and_can_be_limited(place: Place) -> None:
    seen = {one["datatake"]: one["haze"] for one in place.search("s2", place.settings("s2", "cdse"))["datatakes"]}
    assert all(0.05 < haze < 1.5 for haze in seen.values())
    limit = sorted(seen.values())[1]
    manifest = place.search("s2", place.settings("s2", "cdse", max_haze=limit))
    assert {item["datatake"] for item in manifest["chosen"]} == {name for name, haze in seen.items() if haze <= limit}
    assert any("too hazy" in item["reason"] for item in manifest["rejected"])


def test_first_contact_tries_every_provider_and_says_what_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cdse", "cdse_https", "planetary_computer", "earth_search")
    sentinel2 = {"provider": names[0], "fallbacks": names[1:], "catalogue": {name: place.archives.catalogue(name) for name in names}}
    values: dict[str, Any] = {
        "run": "served",
        "grid": {"blocks": 2},
        "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}},
        "sentinel2": sentinel2,
        "sentinel1": {"catalogue": place.archives.catalogue("planetary_computer")},
        "elevation": {"catalogue": place.archives.catalogue("earth_engine")},
    }
    config = Config.model_validate(values)
    (place.folder / "results/served/grid").mkdir(parents=True)
    place.grid().rename(place.folder / "results/served/grid/grid.json")
    tried = list(try_providers(config))
    assert [(one.sensor, one.provider, one.role) for one in tried] == [
        ("s2", "cdse", "first choice"),
        *(("s2", name, "fallback") for name in names[1:]),
        ("s1", "planetary_computer", "first choice"),
        ("dem", "earth_engine", "first choice"),
    ]
    assert all(one.works and "16 × 16 px" in one.found for one in tried), [one.found for one in tried if not one.works]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    first = next(iter(try_providers(config)))
    assert not first.works
    assert "AWS_ACCESS_KEY_ID" in first.do
    assert not list(place.folder.glob("**/pixels")), "nothing is kept"
