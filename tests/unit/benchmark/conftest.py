"""Fixtures of the benchmark's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_pack import packed
from smallmines.benchmark.pack import Pack


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pack of a made dataset of 36 tiles of 16 × 16 px in two years."""
    folder: Path = tmp_path_factory.mktemp("made")
    packed(folder)
    return folder / "pack"


@pytest.fixture(scope="session")
def pack(pack_folder: Path) -> Pack:
    """That pack, open."""
    return Pack.open(pack_folder)
