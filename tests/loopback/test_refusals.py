"""What archives refuse or lack: one message each, naming provider, item and remedy. docs/archives.md has the table of these cases."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from chain import Place
from services import Faults

from smallmines.core.errors import UserError
from smallmines.core.files import read_json

pytestmark = [pytest.mark.loopback, pytest.mark.heavy, pytest.mark.matrix]

Patch = pytest.MonkeyPatch


def wrong_keys(place: Place, patch: Patch) -> None:
    """S3 keys that the service does not know."""
    patch.setenv("AWS_ACCESS_KEY_ID", "someone-else")
    place.search("s2", place.settings("s2", "cdse"))


def missing_keys(place: Place, patch: Patch) -> None:
    """No S3 keys at all."""
    patch.delenv("AWS_ACCESS_KEY_ID")
    place.search("s2", place.settings("s2", "cdse"))


def wrong_password(place: Place, patch: Patch) -> None:
    """A wrong password for CDSE through HTTPS."""
    patch.setenv("CDSE_PASSWORD", "forgotten")
    place.search("s2", place.settings("s2", "cdse_https"))


def missing_password(place: Place, patch: Patch) -> None:
    """No account for CDSE through HTTPS."""
    patch.delenv("CDSE_PASSWORD")
    place.search("s2", place.settings("s2", "cdse_https"))


def missing_subscription(place: Place, patch: Patch) -> None:
    """Sentinel-1 asks for a subscription key."""
    patch.delenv("PC_SDK_SUBSCRIPTION_KEY")
    place.archives.faults = Faults(locked=("sentinel1-grd-rtc",))
    place.search("s1", place.settings("s1", "planetary_computer"))


def missing_google(place: Place, patch: Patch) -> None:
    """No Google credentials."""
    from smallmines.archive import earthengine

    earthengine._initialise.cache_clear()
    patch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    patch.setenv("HOME", str(place.folder))
    patch.setenv("NO_GCE_CHECK", "true")
    place.search("dem", place.settings("dem", "earth_engine"), "static")


def unknown_asset(place: Place, patch: Patch) -> None:
    """An image collection that Earth Engine does not have."""
    place.search("dem", place.settings("dem", "earth_engine", asset="COPERNICUS/DEM/GLO31"), "static")


def unknown_collection(place: Place, patch: Patch) -> None:
    """A catalogue without the collection."""
    patch.delitem(place.archives.collections["cdse"], "sentinel-2-l2a")
    place.search("s2", place.settings("s2", "cdse"))


def unreachable(place: Place, patch: Patch) -> None:
    """No answer at the catalogue's address."""
    place.search("s2", place.settings("s2", "cdse", catalogue={"cdse": "http://127.0.0.1:9/stac"}))


def always_busy(place: Place, patch: Patch) -> None:
    """A catalogue that only says 503."""
    place.archives.faults = Faults(down=("stac",))
    place.search("s2", place.settings("s2", "planetary_computer"))


def no_scene(place: Place, patch: Patch) -> None:
    """No scene in the dates."""
    place.search("s2", place.settings("s2", "cdse", max_cloud_cover=0.0))


def without_vh(place: Place, patch: Patch) -> None:
    """Sentinel-1 scenes of one polarisation."""
    items = copy.deepcopy(place.archives.collections["planetary_computer"]["sentinel-1-rtc"])
    for item in items:
        item["assets"].pop("vh")
    patch.setitem(place.archives.collections["planetary_computer"], "sentinel-1-rtc", items)
    place.search("s1", place.settings("s1", "planetary_computer"))


def partly_without_vh(place: Place, patch: Patch) -> None:
    """Some scenes of one polarisation, so that ground stays uncovered."""
    items = copy.deepcopy(place.archives.collections["planetary_computer"]["sentinel-1-rtc"])
    for item in items:
        if "055537" in item["id"].split("_")[4] or item["properties"]["sat:relative_orbit"] == 147:  # southern slices, other pass
            item["assets"].pop("vh")
    patch.setitem(place.archives.collections["planetary_computer"], "sentinel-1-rtc", items)
    settings = place.settings("s1", "planetary_computer")
    place.search("s1", settings)
    place.cover({"s1": settings})


def outside_coverage(place: Place, patch: Patch) -> None:
    """An area where the archive has nothing."""
    far = gpd.GeoDataFrame(geometry=[shapely.box(700000, 800000, 703000, 803000)], crs="EPSG:32630")
    far.to_file(place.folder / "resources/user/served/aoi.gpkg")
    place.search("s2", place.settings("s2", "cdse"))


def _spoilt(place: Place, patch: Patch, spoil: Callable[[bytes], bytes] | None) -> None:
    settings = place.settings("s2", "earth_search", max_datatakes=1)
    manifest = place.search("s2", settings)
    place.fetch("s2", settings)
    href = manifest["chosen"][0]["hrefs"]["B05"]
    good = place.archives.files[href]
    bad = place.folder / "bad.tif"
    if spoil:
        bad.write_bytes(spoil(good.read_bytes()))
    patch.setitem(place.archives.files, href, bad)
    for path in Path("pixels").glob("*/B05-*.tif"):
        path.unlink()
    place.fetch("s2", settings)


def corrupt_file(place: Place, patch: Patch) -> None:
    """A COG whose pixels were damaged."""
    _spoilt(place, patch, lambda data: data[: len(data) // 5] + b"\0" * (len(data) - len(data) // 5))


def cut_file(place: Place, patch: Patch) -> None:
    """A COG that ends too early."""
    _spoilt(place, patch, lambda data: data[: len(data) // 3])


def missing_file(place: Place, patch: Patch) -> None:
    """A file that the catalogue lists and that is not there."""
    _spoilt(place, patch, None)


CASES: dict[str, tuple[Callable[[Place, Patch], None], str]] = {
    "wrong S3 keys": (
        wrong_keys,
        r"access to S2\w+ SCL at s3:.* of the provider cdse[\s\S]*InvalidAccessKeyId[\s\S]*s3keysmanager",
    ),
    "no S3 keys": (missing_keys, r"S3 keys for the provider cdse[\s\S]*neither AWS_ACCESS_KEY_ID[\s\S]*s3keysmanager"),
    "wrong password (cdse_https)": (wrong_password, r"access to a token of the provider cdse_https[\s\S]*401[\s\S]*CDSE_PASSWORD"),
    "no account (cdse_https)": (missing_password, r"an account for the provider cdse_https[\s\S]*not set[\s\S]*set CDSE_USERNAME"),
    "subscription key wanted": (missing_subscription, r"provider planetary_computer[\s\S]*403[\s\S]*PC_SDK_SUBSCRIPTION_KEY"),
    "no Google credentials": (missing_google, r"Earth Engine, provider earth_engine[\s\S]*authorize[\s\S]*earthengine authenticate"),
    "unknown image collection": (unknown_asset, r"COPERNICUS/DEM/GLO31 of the provider earth_engine[\s\S]*not found[\s\S]*elevation.asset"),
    "unknown collection": (
        unknown_collection,
        r"a collection sentinel-2-l2a in http.*provider cdse[\s\S]*catalogue's address",
    ),
    "unreachable catalogue": (unreachable, r"an answer of the catalogue http://127.0.0.1:9/stac, provider cdse[\s\S]*fallbacks"),
    "busy catalogue": (always_busy, r"an answer of the catalogue .*planetary_computer[\s\S]*busy[\s\S]*run again later"),
    "no scene in the dates": (no_scene, r"s2 items for 2016 .*provider cdse[\s\S]*\d+ × too cloudy[\s\S]*widen the dates"),
    "scenes without VH": (without_vh, r"s1 items for 2016 .*planetary_computer[\s\S]*\d+ × bands missing: VH[\s\S]*widen"),
    "uncovered ground": (
        partly_without_vh,
        r"99 % of every block[\s\S]*2016/s1: block \d [\d.]+ % by \d+ scenes of planetary[\s\S]*VH[\s\S]*widen",
    ),
    "area outside coverage": (outside_coverage, r"s2 items for 2016 .*provider cdse[\s\S]*no item there and then[\s\S]*widen"),
    "damaged file": (corrupt_file, r"a readable S2\w+ B05 at http.*provider earth_search[\s\S]*run again"),
    "cut file": (cut_file, r"a readable S2\w+ B05 at http.*provider earth_search[\s\S]*run again"),
    "file not there": (missing_file, r"S2\w+ B05 at http.*provider earth_search[\s\S]*404[\s\S]*leave the item out"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_is_one_message_and_leaves_earlier_results(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case, pattern = CASES[name]
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    earlier = place.folder / "manifests/2016/s2.json.earlier"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("earlier")
    with pytest.raises(UserError, match=pattern) as caught:
        case(place, monkeypatch)
    told = str(caught.value)
    assert told.count("\n") == 2, "three lines: expected, found, do"
    assert "sig=" not in told
    assert earlier.read_text() == "earlier"
    for listed in place.folder.glob("fetched/*/*/*.json"):
        gone = [path for item in read_json(listed)["items"] for path in item["files"].values() if not Path(path).is_file()]
        assert all("B05" in path for path in gone), "the cache lost more than the file in question"
    assert not list(place.folder.glob("pixels/*/.*")), "half-written files"


def test_the_documents_list_every_case(repository: Path) -> None:
    text = (repository / "docs/archives.md").read_text()
    assert [name for name in CASES if f"| {name} |" not in text] == []
