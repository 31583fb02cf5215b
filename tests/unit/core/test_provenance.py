"""Writing at once or not at all, and the frame of a job."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from smallmines.core import files
from smallmines.core.errors import UserError
from smallmines.core.job import job

WORKFLOW = Path(__file__).resolve().parents[3] / "workflow"


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"b": 1, "a": "é"})
    old = target.read_bytes()

    def fail() -> None:
        with files.written(target) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_bytes() == old
    assert list(tmp_path.iterdir()) == [target]
    assert old == b'{\n "a": "\xc3\xa9",\n "b": 1\n}\n'


def test_what_a_killed_job_left_of_the_same_target_is_swept(tmp_path: Path) -> None:
    """Not what a living process writes, nor what belongs to other targets, nor what another host may still write."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    host, parent = files._host(), os.getppid()
    names = {
        f".a.{ended.pid}.json": True,  # as earlier versions named it
        f".a.{ended.pid}@{host}.json": True,
        f".a.{ended.pid}@{host}.tif": False,
        f".b.{ended.pid}@{host}.json": False,
        ".a.notes.json": False,
        f".a.{parent}@{host}.json": False,
        f".a.{ended.pid}@elsewhere.json": False,
        f".a.{ended.pid}@gone.json": True,
        f".a.1@{host}.json": True,
    }
    for name in names:
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / f".a.{ended.pid}@gone.json", (time.time() - 90_000,) * 2)
    began = psutil.Process(1).create_time()
    os.utime(tmp_path / f".a.1@{host}.json", (began - 3600,) * 2)  # the process of this number began later
    files.write_json(tmp_path / "a.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *(name for name, swept in names.items() if not swept)}


def test_folders_that_killed_jobs_left_are_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".otb.{ended.pid}@{files._host()}", f".IMAGE.{ended.pid}@{files._host()}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.tif").touch()
    with files.temporary_folder(tmp_path / "otb") as folder:
        assert folder.is_dir()
        (folder / "x").touch()
    with files.written(tmp_path / "IMAGE") as beside:
        beside.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["IMAGE"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_job_killed_while_it_writes_leaves_nothing_after_the_next(tmp_path: Path, kind: str) -> None:
    code = f"""
import os, signal
from smallmines.core.files import temporary_folder, written
with {"written" if kind == "file" else "temporary_folder"}({str(tmp_path / "a.tif")!r}) as beside:
    (beside if {kind == "file"} else beside / "x").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(WORKFLOW)}, check=False)
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with files.written(tmp_path / "a.tif") as beside:
        beside.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_user_error_ends_a_job_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, job(tmp_path / "logs/x.log"):
        raise UserError("ten bands", "nine", "fetch again")
    assert ended.value.code == "expected  ten bands\nfound     nine\ndo        fetch again"
    log = (tmp_path / "logs/x.log").read_text()
    assert "found     nine" in log
    assert "Traceback" not in log


def test_a_defect_keeps_its_traceback_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ZeroDivisionError"), job(tmp_path / "x.log"):
        1 / 0  # noqa: B018
    assert "Traceback" in (tmp_path / "x.log").read_text()


def test_no_secret_reaches_a_log_or_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    told = (
        "https://account.blob.core.windows.net/c/B02.tif?sv=2021&sig=abc%2Bdef refused; key wJalrXUtnFEMI; Authorization: Bearer eyJhbGci.x"
    )
    with pytest.raises(SystemExit) as caught, job(tmp_path / "x.log"):
        raise RuntimeError(told)
    for text in (str(caught.value), (tmp_path / "x.log").read_text()):
        assert "https://account.blob.core.windows.net/c/B02.tif?…" in text
        assert not any(secret in text for secret in ("sig=a", "abc%2B", "wJalr", "eyJ"))


def test_a_full_disk_is_told_as_such_whoever_tells_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="room to write"), job(tmp_path / "x.log"):
        raise OSError(errno.ENOSPC, "No space left on device")
    told = UserError("a readable raster", "something else", "delete it")
    told.__cause__ = RuntimeError("Write failed. See previous exception for details.")
    with pytest.raises(SystemExit, match=r"found +Write failed"), job(tmp_path / "x.log"):
        raise told
