"""The miniature on which the whole workflow ran once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workspace import Workspace

TILES = 12


@pytest.fixture(scope="session")
def miniature(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with its archive made and everything run once."""
    folder = tmp_path_factory.mktemp("miniature") / "clone"
    folder.mkdir()
    made = Workspace.make(repository, folder, "small.yaml", "small")
    shutil.copy2(repository / "tests/e2e/small.yaml", folder / "small.yaml")
    made.smallmines("world", "make", "--config", "small.yaml", "--tiles", str(TILES))
    made.snakemake()
    return made
