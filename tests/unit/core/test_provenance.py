"""Writing at once or not at all, and the frame of a job."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smallmines.core import files
from smallmines.core.errors import UserError
from smallmines.core.job import job


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
