"""The doctor on damaged folders: it reports, and never breaks off."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from fake_results import make_results, publish
from smallmines.compare.pairs import find_patches
from smallmines.config.doctor import Doctor
from smallmines.core.errors import UserError
from smallmines.doctor.examine import Examined, examine, write
from smallmines.doctor.folder import read_folder
from smallmines.settings.doctor import Doctor as Limits
from smallmines.settings.parameters import settings_of

LIMITS = settings_of(Doctor(), Limits)

Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(make_results(tmp_path_factory.mktemp("made"), side=32))


@pytest.fixture(scope="module")
def sound(made: Path) -> set[tuple[str, str]]:
    return checks(examine(made, LIMITS))


def checks(examined: Examined) -> set[tuple[str, str]]:
    return {(finding.family, finding.check) for finding in examined.findings}


def content(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def half(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[: (folder / name).stat().st_size // 2])


def table(**columns: Any) -> Damage:
    def change(folder: Path) -> None:
        index = gpd.read_parquet(folder / "index.parquet")
        index.assign(**columns).to_parquet(folder / "index.parquet")

    return change


def raster(name: str, **form: Any) -> Damage:
    def change(folder: Path) -> None:
        profile = {"driver": "GTiff", "height": 32, "width": 32, "count": 13, "dtype": "float32", "crs": "EPSG:32630", **form}
        profile["transform"] = rasterio.Affine(10, 0, 600000, 0, -10, 699680)
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(np.ones((profile["count"], profile["height"], profile["width"]), profile["dtype"]))

    return change


def image(tile: str) -> str:
    return f"2016/IMAGE/IMG_GH_{tile}_2016.tif"


def mask(tile: str) -> str:
    return f"2016/MASK/MASK_GH_{tile}_2016.tif"


Damages = tuple[tuple[Damage, tuple[str, str]], ...]
ROUNDS: dict[str, Damages] = {
    "lists": (
        (content("facts.json", b"[]"), ("structure", "table")),
        (content("croissant.json", b"[]"), ("documents", "form of a document")),
        (content("labels.json", b"[1]"), ("structure", "table")),
        (table(mining_percent="x"), ("structure", "table")),
        (half(image("0001")), ("structure", "unreadable")),
        (raster(image("0002"), count=3), ("structure", "bands")),
    ),
    "other forms": (
        (content("facts.json", b'{"years": 3}'), ("documents", "form of a document")),
        (content("croissant.json", b'{"distribution": 3}'), ("documents", "form of a document")),
        (content("labels.json", b'{"years": [1]}'), ("labels", "form of a document")),
        (table(tile_id=None), ("structure", "index")),
        (raster(image("0001"), dtype="complex64"), ("structure", "unreadable")),
        (raster(mask("0002"), count=2, dtype="uint8"), ("structure", "bands")),
        (content("other.parquet", b"PAR1"), ("documents", "not sealed")),
    ),
    "no text": (
        (content("facts.json", b"\0\xff"), ("structure", "table")),
        (content("croissant.json", b"{"), ("documents", "form of a document")),
        (content("SHA256SUMS", b"\xff\xfe\0"), ("documents", "checksums")),
        (half("index.parquet"), ("structure", "table")),
        (content(image("0001"), b""), ("structure", "unreadable")),
        (raster(image("0002"), width=1, height=1), ("structure", "size")),
    ),
    "numbers": (
        (content("facts.json", b'{"years": {"2016": null}}'), ("documents", "form of a document")),
        (table(scenes=3), ("structure", "table")),
        (content("splits.csv", b"tile_id;year;split\n"), ("structure", "table")),
        (raster(image("0001"), crs=None), ("structure", "CRS")),
        (raster(mask("0002"), count=1, dtype="uint8", height=64), ("structure", "mask elsewhere")),
    ),
}


@pytest.mark.parametrize("name", ROUNDS)
def test_damage_is_reported(made: Path, sound: set[tuple[str, str]], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "dataset"))
    for damage, expected in ROUNDS[name]:
        assert expected not in sound
        damage(folder)
    examined = examine(folder, LIMITS)
    assert {expected for _, expected in ROUNDS[name]} - checks(examined) == set()
    write(examined, "made up", tmp_path / "doctor.json", tmp_path / "doctor.html")


def test_patches_of_a_few_pixels_are_examined(tmp_path: Path) -> None:
    examined = examine(publish(make_results(tmp_path, side=16)), LIMITS)
    write(examined, "made up", tmp_path / "doctor.json", tmp_path / "doctor.html")
    assert not any(shift["assessable"] for shift in examined.shifts)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("facts.json", b'"x"', "a JSON str in place of an object"),
        ("labels.json", b"null", "a JSON NoneType in place of an object"),
        ("index.parquet", b"", "index.parquet|size is 0 bytes"),
    ],
)
def test_reasons_of_tables_that_cannot_be_read(made: Path, tmp_path: Path, name: str, data: bytes, words: str) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "dataset"))
    (folder / name).write_bytes(data)
    assert re.search(words, read_folder(folder).unreadable[name])


def test_pipes_in_the_place_of_patches_and_tables_are_named_not_waited_for(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "dataset"))
    pipe = "2016/MASK/MASK_GH_9999_2016.tif"
    os.mkfifo(folder / pipe)
    os.mkfifo(folder / "more.parquet")
    assert read_folder(folder).unreadable == {pipe: "something that is no file"}
    assert ("structure", "table") in checks(examine(folder, LIMITS))
    with pytest.raises(UserError, match="patches that are files"):
        find_patches(folder)
