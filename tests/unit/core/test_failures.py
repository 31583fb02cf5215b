"""Failing disks and broken files: three lines that name the disk or the file, whatever a library raises."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from smallmines.cli.console import plain_errors
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.failures import explained
from smallmines.core.files import read_json, remedy, write_json
from smallmines.core.job import job
from smallmines.core.readable import read_parquet, unreadable
from smallmines.grid.lattice import read_lattice

REPOSITORY = Path(__file__).resolve().parents[3]
GEOBOX = GeoBox((64, 64), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Path]:
    """One file of each kind that a rule writes for another."""
    files = {"raster": tmp_path / "s2.tif", "table": tmp_path / "labels.parquet", "json": tmp_path / "grid.json"}
    values = np.random.default_rng(0).integers(1, 9000, (2, 64, 64)).astype(np.uint16)
    raster.write(files["raster"], values, GEOBOX, 0, ["B02", "B03"])
    pd.DataFrame({"segment": np.arange(500), "label": np.arange(500) % 2}).to_parquet(files["table"])
    write_json(files["json"], {"shape": [64, 64], "tile_size": 16})
    return files


def read_all(kind: str, path: Path) -> None:
    """Read a file as rules do."""
    {"raster": raster.read, "table": read_parquet, "json": read_json}[kind](path)


@pytest.mark.parametrize("kind", ["raster", "table", "json"])
@pytest.mark.parametrize("damage", ["empty", "half", "end", "garbage", "missing"])
def test_a_broken_file_is_named_with_what_to_do(good: dict[str, Path], kind: str, damage: str) -> None:
    path, content = good[kind], good[kind].read_bytes()
    assert not list(unreadable([path]))
    damaged = {"empty": b"", "half": content[: len(content) // 2], "end": content[:-8], "garbage": b"\x93" * len(content)}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(UserError) as refused:
        read_all(kind, path)
    assert str(path) in refused.value.expected
    assert refused.value.found
    do = "run the workflow again, which makes it" if damage == "missing" else f"delete {path} and run again, which makes it anew"
    assert refused.value.do == do
    assert [file for file, _ in unreadable([path])] == [path]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cut_of_a_raster_is_read_silently(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.tif"
    values = np.random.default_rng(1).integers(1, 9000, (3, 64, 64)).astype(np.uint16)
    raster.write(path, values, GEOBOX, 0, ["a", "b", "c"])
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    if not list(unreadable([path])):
        assert (raster.read(path) == values).all(), "what is read is right"
    else:
        with pytest.raises(UserError, match=re.escape(str(path))):
            raster.read(path)


@pytest.mark.parametrize("name", ["splits.csv", "README.md", "LICENSE", "MASK.sha256"])
def test_text_whose_last_line_does_not_end_is_cut(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content, broken in (("tile_id,split\n0001,train\n", False), ("tile_id,split\n0001,tr", True), ("", True), ("\ud800", True)):
        path.write_bytes(content.encode(errors="surrogatepass"))
        assert [file for file, _ in unreadable([path])] == ([path] if broken else [])


@pytest.mark.parametrize("content", [b"", b"\x78\x5e\x01", b"nonsense", bytes(100)])
def test_a_forest_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    from smallmines.annotation.checkout import _forest

    (tmp_path / "model.joblib").write_bytes(content)
    with pytest.raises(UserError, match=r"a readable random forest .*model\.joblib"):
        _forest(tmp_path / "model.joblib", len(content))


def test_a_verb_tells_a_full_disk_in_three_lines_and_leaves_bugs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"expected  room to write in {tmp_path}\nfound     .* MB free now"), plain_errors():
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "copy.gpkg"))
    with pytest.raises(ZeroDivisionError), plain_errors():
        1 / 0  # noqa: B018


def test_people_s_files_are_restored_and_patches_made_anew_with_their_folder(tmp_path: Path) -> None:
    for name in ("resources/user/a/base.parquet", "patches/1/IMG_GH_0001_2016.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    people, patch = tmp_path / "resources/user/a/base.parquet", tmp_path / "patches/1/IMG_GH_0001_2016.tif"
    assert remedy(people) == f"restore {people} from a backup"
    assert remedy(patch) == f"delete the folder {patch.parent} and run again, which makes it anew"


def test_the_raster_that_fails_is_named_and_no_other_that_is_open(good: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "s1.tif"
    shutil.copy(good["raster"], broken)
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size - 400)
    for first, second in ((broken, good["raster"]), (good["raster"], broken)):
        with pytest.raises(UserError, match=r"s1\.tif"), raster.opened(first) as a, raster.opened(second) as b:
            _ = b.read(), a.read()


def test_json_that_describes_no_lattice_is_refused(tmp_path: Path) -> None:
    for text in ("null", "[]", "{}", '{"shape": 3, "transform": [], "crs": "x", "tile_size": 1, "windows": {}, "cells": []}'):
        (tmp_path / "grid.json").write_text(text)
        with pytest.raises(UserError, match=r"the lattice of a run in .*grid\.json"):
            read_lattice(tmp_path / "grid.json")


def test_a_job_names_its_broken_input_whatever_is_raised(good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good["table"].write_bytes(good["table"].read_bytes()[:-20])
    monkeypatch.setattr(sys.modules["__main__"], "snakemake", SimpleNamespace(input=[str(tmp_path)], output=[]), raising=False)
    with pytest.raises(SystemExit) as ended, job(tmp_path / "logs/x.log"):
        raise TypeError("something deep inside a library")
    assert str(ended.value.code).startswith(f"expected  a readable file {good['table']}\nfound     ")
    assert str(ended.value.code).endswith(f"do        delete {good['table']} and run again, which makes it anew")


def test_a_job_whose_inputs_are_sound_keeps_the_traceback(good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "snakemake", SimpleNamespace(input=[str(tmp_path)], output=[]), raising=False)
    with pytest.raises(SystemExit, match="TypeError: a bug"), job(tmp_path / "logs/x.log"):
        raise TypeError("a bug")


@pytest.mark.parametrize(
    ("error", "expected", "do"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "{}/a.parquet"), "room to write in {}", "free some space on this disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "{}/a.parquet"), "room to write in {}", "ask for a larger quota"),
        (RuntimeError("{}/.a.7.tif, band 1: TIFFAppendToStrip:Write error"), "room to write in {}", "free some space on this disk"),
        (RuntimeError("sqlite3_exec(INSERT) failed: database or disk is full: {}/a.gpkg"), "room to write in {}", "free some space"),
        (OSError(errno.EROFS, "Read-only file system", "{}/a"), "a writable disk at {}", "mount it writable"),
        (OSError(errno.EIO, "Input/output error", "{}/a"), "a disk that can be read and written at {}", "check the disk"),
        (OSError(errno.ESTALE, "Stale file handle", "{}/a"), "a disk that can be read and written at {}", "check the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "{}/a"), "permission to read and write {}/a", "change owner or permissions"),
    ],
)
def test_what_the_system_refuses_is_told_with_its_place(tmp_path: Path, error: Exception, expected: str, do: str) -> None:
    if isinstance(error, OSError):
        error = type(error)(error.errno, error.strerror, str(error.filename).format(tmp_path))
    else:
        error = type(error)(str(error).format(tmp_path))
    wrapped = UserError("a readable raster", "something else", "delete it")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        user_error = explained(raised)
        assert user_error is not None
        assert user_error.expected == expected.format(tmp_path)
        assert do in user_error.do
        assert ("MB free now" in user_error.found) == expected.startswith("room")


def test_the_disk_with_least_space_is_named_where_no_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    for full in ("results", "temporary"):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, full=full: Usage(9e9, 0, 1e6 if Path(path).name == full else 5e9))
        user_error = explained(OSError(errno.ENOSPC, "No space left on device"), outputs=["results/a/b.tif"])
        assert user_error is not None
        assert user_error.expected == f"room to write in {tmp_path / full}"
        assert user_error.found.endswith("(1 of 9000 MB free now)")


def test_the_cache_that_is_full_is_named_and_not_the_source_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("results", "resources/automatic/pixels", "archive"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(9e9, 0, 1e6 if Path(path).name == "pixels" else 5e9))
    wrapped = UserError(f"a readable raster for A B02 at {tmp_path}/archive/B02.tif", "Write failed", "restore the file")
    wrapped.__cause__ = rasterio.errors.RasterioIOError("Write failed. See previous exception for details.")
    user_error = explained(wrapped, outputs=["results/fetched/2016/1/s2.json"])
    assert user_error is not None
    assert user_error.expected == f"room to write in {tmp_path}/resources/automatic/pixels"


def test_no_folder_for_temporary_files_and_no_other_exception_is_explained() -> None:
    user_error = explained(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/none']"))
    assert user_error is not None
    assert "TMPDIR" in user_error.do
    for bug in (ZeroDivisionError(), KeyError("crs"), FileNotFoundError(errno.ENOENT, "No such file", "/a")):
        assert explained(bug) is None


def test_a_log_that_cannot_be_made_ends_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemExit) as ended, job(tmp_path / "logs/x.log"):
        pass
    assert str(ended.value.code).startswith(f"expected  room to write in {tmp_path}\nfound     ")


def test_a_log_line_that_a_full_disk_refuses_hides_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="expected  ten bands"), job("/dev/full"):
        raise UserError("ten bands", "nine", "fetch again")
    assert capsys.readouterr().err == "", "no traceback of the logging"


def test_folders_of_another_proj_and_gdal_are_ignored_with_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "proj.db").write_bytes(b"another version")
    names = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH")
    uses = f"rasterio.crs.CRS.from_epsg(32630).to_epsg(), pyproj.CRS(4326).to_epsg(), *map(os.environ.get, {names})"
    code = f"import smallmines, os, rasterio.crs, pyproj; print({uses})"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow"), **dict.fromkeys(names, str(tmp_path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32630", "4326", "None", "None", "None", "None"]
    assert done.stderr.splitlines() == [f"{name}={tmp_path} is ignored: rasterio contains its own data" for name in names]


def test_folders_stay_where_rasterio_is_no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from smallmines.core.environment import remove_foreign_folders

    assert Path(rasterio.__file__).with_name("proj_data").is_dir()
    monkeypatch.setenv("PROJ_DATA", "/opt/conda/share/proj")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    remove_foreign_folders()
    assert os.environ["PROJ_DATA"] == "/opt/conda/share/proj"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "pixels").write_text("")
    for folder in (tmp_path / "pixels", tmp_path / "pixels" / "item"):
        with pytest.raises(OSError) as refused:  # noqa: PT011
            folder.mkdir()
        error = explained(refused.value)
        assert error is not None
        assert error.expected == f"a folder in the place of {folder}"
        assert error.do.startswith("move away the file that is there")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "pins.json").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_json(tmp_path / "pins.json", {})
    explanation = explained(error.value)
    assert explanation is not None
    assert explanation.expected == f"a file in the place of {tmp_path / 'pins.json'}"
    assert "move away the folder" in explanation.do
