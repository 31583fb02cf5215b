"""Shared fixtures: repository, real imagery, and a miniature with a finished run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "tests/loopback"))

from durations import seconds  # noqa: E402
from sharing import once  # noqa: E402
from workspace import SAME_ARITHMETIC, Workspace  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist hand out files in the order below. By itself it starts with the files of most tests, and ends with one long test alone."""
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no worker ends with a long one; the order within files stays."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(REPOSITORY / "tests").as_posix(), []).append(item)
    heavy = {name: sum(item.get_closest_marker("heavy") is not None for item in tests) for name, tests in files.items()}
    ordered = sorted(files, key=lambda name: -seconds(name, len(files[name]) - heavy[name], heavy[name]))
    items[:] = [item for name in ordered for item in files[name]]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real imagery (`SHARED_DATA`, default `../shared/data`); tests that need it are skipped if it is missing."""
    folder = Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no real imagery at {folder} (set SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def miniature(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A finished run of a dozen tiles in two years. It is read-only; edits belong in a `clone`.

    The workers of a session share one. It must be unchanged in the end.
    """

    def make(folder: Path) -> None:
        Workspace.miniature(repository, folder)

    workspace = Workspace(once(tmp_path_factory, "miniature", make), "small.yaml", "small", SAME_ARITHMETIC)
    before = state(workspace)
    yield workspace
    assert state(workspace) == before, "a test wrote into the shared miniature"


def state(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and time of every file of a workspace that tests must not change."""
    parts = (workspace.results, workspace.folder / "resources", workspace.folder / "workflow")
    files = ((path, path.stat()) for part in parts for path in part.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files}


@pytest.fixture
def clone(miniature: Workspace, tmp_path: Path) -> Workspace:
    """A finished miniature for one test, up to date."""
    return miniature.clone(tmp_path / "clone")
