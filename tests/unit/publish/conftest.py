"""A dataset of two years and its shards, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharded import make_dataset, make_shards


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="session")
def shards(dataset: Path) -> Path:
    return make_shards(dataset, dataset.parent / "huggingface")
