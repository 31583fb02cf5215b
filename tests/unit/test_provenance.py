"""Digests of code, and writing at once or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smallmines import provenance
from smallmines.job import UserError, job


def names(rule: str) -> list[str]:
    return [entry.split(" ")[0] for entry in provenance.code(rule)]


def test_sources_follow_imports_in_functions_too() -> None:
    assert names("boundaries") == [
        "scripts/boundaries.py",
        "smallmines/aoi.py",
        "smallmines/config.py",
        "smallmines/grid.py",
        "smallmines/job.py",
        "smallmines/provenance.py",
        "smallmines/released.py",
    ]


def test_archive_rules_carry_a_number_instead_of_their_code() -> None:
    assert provenance.code("search") == ["search 1"]
    assert provenance.code("fetch") == ["fetch 1"]


def test_an_edit_changes_the_digest_and_a_touch_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "smallmines"
    (tmp_path / "scripts").mkdir()
    package.mkdir()
    (tmp_path / "scripts/one.py").write_text("from smallmines import a\n")
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    import smallmines.b\n")
    (package / "b.py").write_text("x = 1\n")
    (package / "c.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "WORKFLOW", tmp_path)

    def now() -> list[str]:
        provenance._imports.cache_clear()
        provenance._digest_of_source.cache_clear()
        return provenance.code("one")

    before = now()
    assert [entry.split(" ")[0] for entry in before] == ["scripts/one.py", "smallmines/a.py", "smallmines/b.py"]
    (package / "b.py").touch()
    (package / "c.py").write_text("x = 2\n")
    assert now() == before
    (package / "b.py").write_text("x = 2\n")
    assert [a == b for a, b in zip(now(), before, strict=True)] == [True, True, False]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    provenance.write_json(target, {"b": 1, "a": "é"})
    old = target.read_bytes()

    def fail() -> None:
        with provenance.written(target) as beside:
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
