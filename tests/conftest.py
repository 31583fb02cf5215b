"""Shared fixtures: where the package, the repository and the real imagery are, and a miniature on which the whole workflow ran."""

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

from sharing import once  # noqa: E402
from workspace import SAME_ARITHMETIC, Workspace  # noqa: E402

LONG = ("e2e/", "golden/", "unit/test_world", "real/test_triples", "loopback/", "real/", "rules/")
"""Files to begin with, so that no worker ends with a long one alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; within them the order stays."""

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(REPOSITORY / "tests").as_posix()
        return next((number for number, start in enumerate(LONG) if name.startswith(start)), len(LONG))

    items.sort(key=place)


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
def miniature(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A dozen tiles in two years with their archive made and everything run once. Only to be read: edits belong in a `clone`.

    The workers of a session share one. In the end it must be as it was.
    """

    def make(folder: Path) -> None:
        Workspace.miniature(repository, folder)

    workspace = Workspace(once(tmp_path_factory, "miniature", make), "small.yaml", "small", SAME_ARITHMETIC)
    before = state(workspace)
    yield workspace
    assert state(workspace) == before, "a test wrote into the shared miniature"


def state(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of every file of a workspace that a test may not change."""
    parts = (workspace.results, workspace.folder / "resources", workspace.folder / "workflow")
    files = ((path, path.stat()) for part in parts for path in part.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): (known.st_ino, known.st_size, known.st_mtime_ns) for path, known in files}


@pytest.fixture
def clone(miniature: Workspace, tmp_path: Path) -> Workspace:
    """A finished miniature of the test's own, with nothing to be done."""
    return miniature.clone(tmp_path / "clone")
