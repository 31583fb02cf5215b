"""Fixtures of the benchmark's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_pack import packed
from smallmines.benchmark.pack import Pack


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The pack of a made dataset of 36 tiles of 16 × 16 px in two years. Read-only."""
    folder: Path = tmp_path_factory.mktemp("pack")
    return packed(folder)
