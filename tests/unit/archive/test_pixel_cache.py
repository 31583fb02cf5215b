"""The cache of pixels: what runs list, what may be removed, and the stubs that stay."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from smallmines.archive.pixel_cache import CachedFile, cached_files, files_or_stubs, removable, remove, stub_of
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.software import gathered
from smallmines.sensors.manifest import Fetched, FetchedItem, Sentinel1Entry
from smallmines.sensors.manifest_files import read_fetched, write_fetched

BOX = GeoBox.from_bbox((600000, 700000, 600640, 700640), "EPSG:32630", resolution=10)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(name: str, software: str = "gdal 3.10.3, numpy 2.4.6") -> str:
    path = f"resources/automatic/pixels/item/{name}.tif"
    raster.write(path, np.full(BOX.shape, 0.25, np.float32), BOX, -32768.0, ["VV"], {"ITEM": "item", "SOFTWARE": software})
    return path


def listed(run: str, block: str, *files: str, composed: bool = True) -> Path:
    """Write a list of fetched files, and its composite."""
    path = Path(f"results/{run}/fetched/2016/{block}/s1.json")
    entry = Sentinel1Entry("item", 1, "S1A_1", 1, "2016-01-03T05:55:00Z", "S1A", "descending", 155)
    bands = {Path(file).stem: file for file in files}
    sizes = {band: os.path.getsize(file) for band, file in bands.items()}
    write_fetched(path, Fetched("s1", block, "static", None, None, (), (FetchedItem(entry, bands, sizes),)))
    for suffix in ("tif", "json") if composed else ():
        product = Path(f"results/{run}/composites/2016/{block}/s1.{suffix}")
        product.parent.mkdir(parents=True, exist_ok=True)
        product.touch()
    return path


def names(files: Iterable[CachedFile]) -> list[str]:
    return [file.path.stem for file in files]


def test_files_of_no_run_of_one_and_of_several() -> None:
    old, first, both, waits = (pixels(name) for name in ("old", "first", "shared", "waits"))
    Path("resources/automatic/pixels/item/.VV-1.12@host.tif").touch()
    listed("a", "1", first, both)
    listed("b", "1", both)
    unfinished = listed("a", "2", first, waits, composed=False)
    files = {file.path.stem: file for file in cached_files()}
    assert {name: file.runs for name, file in files.items()} == {"old": (), "first": ("a",), "shared": ("a", "b"), "waits": ("a",)}
    assert {name: file.waiting for name, file in files.items()} == {"old": (), "first": (unfinished,), "shared": (), "waits": (unfinished,)}
    assert files["old"].size == os.path.getsize(old)
    assert files["old"].item == "item"
    assert names(removable(files.values(), None)) == ["old"]
    assert names(removable(files.values(), "a")) == []
    for suffix in ("tif", "json"):
        product = Path(f"results/a/composites/2016/2/s1.{suffix}")
        product.parent.mkdir(parents=True, exist_ok=True)
        product.touch()
    assert names(removable(cached_files(), "a")) == ["first", "waits"]
    assert names(removable(cached_files(), "b")) == []


def test_a_composite_older_than_its_list_is_still_to_be_made() -> None:
    path = listed("a", "1", pixels("VV"))
    os.utime("results/a/composites/2016/1/s1.json", (1, 1))
    assert cached_files()[0].waiting == (path,)


def test_of_a_removed_file_the_tags_stay_and_its_list_counts_them_alike() -> None:
    first, second, old = pixels("VV"), pixels("VH", "gdal 3.9.0, numpy 2.4.6"), pixels("old")
    path = listed("a", "1", first, second)
    before = gathered({"cached pixels": files_or_stubs(path)})
    assert before["versions"]["gdal"] == ["3.10.3", "3.9.0"]
    size = os.path.getsize(first)
    remove(removable(cached_files(), "a"))
    assert names(cached_files()) == ["old"]
    assert gathered({"cached pixels": files_or_stubs(path)}) == before
    with rasterio.open(stub_of(Path(first))) as stub:
        assert (stub.shape, stub.read(1).tolist(), stub.tags()["ITEM"]) == ((1, 1), [[-32768.0]], "item")
    with pytest.raises(UserError, match="2 missing, first resources/automatic/pixels/item/VH"):
        read_fetched(path, Sentinel1Entry)
    pixels("VV")
    assert os.path.getsize(first) == size
    assert set(files_or_stubs(path)) == {Path(first), stub_of(Path(second))}, "fetched again"
    remove(removable(cached_files(), None))
    assert not Path(old).exists()
    assert not stub_of(Path(old)).exists(), "no run asks for its tags"


def test_a_file_that_is_missing_without_a_stub_is_named() -> None:
    first, second = pixels("VV"), pixels("VH")
    path = listed("a", "1", first, second)
    Path(first).unlink()
    with pytest.raises(UserError, match="1 missing, first resources/automatic/pixels/item/VV"):
        files_or_stubs(path)
    pixels("VV")
    remove(removable(cached_files(), "a"))
    stub_of(Path(first)).unlink()
    with pytest.raises(UserError, match="missing: resources/automatic/pixels/item/VV"):
        files_or_stubs(path)


def test_nothing_is_removed_while_a_run_goes_on() -> None:
    pixels("old")
    lock = Path(".snakemake/locks/0.input.lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(UserError, match="no run that is going on"):
        remove(cached_files())
    lock.unlink()
    remove(cached_files())
    assert not Path("resources/automatic/pixels/item").exists(), "an empty folder goes too"


def test_files_that_cannot_be_read_are_removed_without_a_stub() -> None:
    files = [pixels(name) for name in ("VV", "VH", "empty")]
    path = listed("a", "1", *files)
    os.truncate(files[0], 60)
    os.truncate(files[2], 0)
    broken = remove(removable(cached_files(), "a"))
    assert sorted(names(broken)) == ["VV", "empty"]
    assert cached_files() == []
    assert [stub_of(Path(file)).is_file() for file in files] == [False, True, False]
    with pytest.raises(UserError, match=f"delete {path} and run again"):
        files_or_stubs(path)
