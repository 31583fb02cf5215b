"""A small made archive, served on loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import planetary_computer.settings
import pytest
from chain import Place
from services import Archives, Faults, serving

from miniature.make import make_world
from sharing import once
from smallmines.archive.signing import forget_signatures
from smallmines.config.sections import Config


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    """A world of eight tiles in two years, and its services."""
    years = {year: {"start": f"{year}-01-01", "end": f"{year}-01-31"} for year in (2016, 2022)}
    config = Config.model_validate({"run": "served", "grid": {"blocks": 2}, "years": years})
    archive = "resources/automatic/served/archive"

    def make(folder: Path) -> None:
        make_world(config, tiles=8, root=folder)
        with serving(folder / archive):
            pass  # which writes the JP2 files

    root = tmp_path_factory.mktemp("served") / "clone"
    own = shutil.ignore_patterns("service-account.json")  # holds the port
    shutil.copytree(once(tmp_path_factory, "served", make), root, copy_function=os.link, ignore=own)
    with serving(root / archive) as archives:
        yield archives


@pytest.fixture
def archives(made: Archives, monkeypatch: pytest.MonkeyPatch) -> Archives:
    """The services without faults, and an environment that leads the clients to them."""
    made.faults = Faults()
    made.page = 1000
    made.asked.clear()
    forget_signatures()
    planetary_computer.settings.Settings.get.cache_clear()  # the library reads its environment once
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    return made


@pytest.fixture
def place(archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A working folder for one run."""
    shutil.copytree(archives.root.parents[2] / "user", tmp_path / "resources/user")
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, archives)
