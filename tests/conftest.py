"""Shared fixtures: where the package, the repository and the real imagery are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "tests/loopback"))

from workspace import Workspace  # noqa: E402


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery (`SHARED_DATA`, default `../shared/data`); tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real imagery at {folder} (set SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def miniature(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small miniature on which the whole workflow ran once."""
    folder = tmp_path_factory.mktemp("miniature") / "clone"
    folder.mkdir()
    return Workspace.miniature(repository, folder)
