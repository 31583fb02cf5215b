"""Fixtures of the tests of faults."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from faults.world import Record, make, state
from sharing import once
from workspace import SAME_ARITHMETIC, Workspace


@pytest.fixture(scope="session")
def finished(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished world, shared by all workers; tests work on clones."""
    folder = once(tmp_path_factory, "one", lambda folder: make(repository, folder))
    return Workspace(folder, "one.yaml", "one", SAME_ARITHMETIC)


@pytest.fixture(scope="session")
def right(finished: Workspace) -> dict[str, str]:
    """Checksums of the products of the run without faults."""
    return state(finished)


@pytest.fixture
def world(finished: Workspace, tmp_path: Path) -> Workspace:
    """A finished world of one test."""
    return finished.clone(tmp_path / "world")


@pytest.fixture
def unmade(finished: Workspace, tmp_path: Path) -> Workspace:
    """A world of one test before its first run."""
    return finished.clone(tmp_path / "world", finished=False)


@pytest.fixture(scope="session")
def record(repository: Path) -> Record:
    """Where trials are noted: FAULTS, default `.faults/record.jsonl`."""
    return Record(Path(os.environ.get("FAULTS", repository / ".faults/record.jsonl")))


@pytest.fixture(scope="session")
def strace() -> str:
    """Program that fails or kills at a system call; tests are skipped where it is missing or may not trace."""
    import subprocess

    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no strace (apt-get install strace), or it may not trace here")
    return found
