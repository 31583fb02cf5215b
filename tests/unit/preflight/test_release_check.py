"""What the rules that read a release need before they run."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from smallmines.config.sections import Config
from smallmines.preflight.release import check_release

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 100 MB free."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))


def config(path: str | None = None) -> Config:
    years = {"2016": {"start": "2016-01-01", "end": "2016-01-31"}}
    return Config.model_validate({"run": "x", "years": years, "labels": {"source": "released_masks"}, "released": {"path": path}})


def test_room_for_the_download_is_wanted(room: None) -> None:
    assert check_release(config(), ["grid", "segment"]) == []
    assert check_release(config(), ["released"]) == []
    (error,) = check_release(config(), ["released", "released_images"])
    assert str(error).splitlines()[:2] == [
        "expected  5520 MB of room in resources/automatic/released for the release",
        "found     100 MB free",
    ]


def test_the_local_release_must_be_there(room: None) -> None:
    (error,) = check_release(config("SmallMinesDS"), ["released"])
    assert "no such file: SmallMinesDS" in str(error)
    Path("SmallMinesDS").mkdir()
    assert check_release(config("SmallMinesDS"), ["released", "released_images"]) == []
