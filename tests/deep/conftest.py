"""Fixtures of the tests of networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallmines.config.benchmark import Benchmark, read_rows
from smallmines.settings.benchmark import Network, settings_of_row


@pytest.fixture(scope="session")
def settings(repository: Path) -> dict[str, Network]:
    """Settings of all rows of networks."""
    own = read_rows(repository / "config/benchmark", Benchmark())
    return {f"{row.name}/{row.variant}": settings_of_row(row.values) for row in own if row.deep}


@pytest.fixture(autouse=True)
def four_blocks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Cut Prithvi to its first four blocks, except in heavy tests."""
    if request.node.get_closest_marker("heavy"):
        return
    from terratorch.models.backbones import prithvi_vit

    from smallmines.benchmark.deep import networks

    monkeypatch.setitem(prithvi_vit.prithvi_cfgs, "prithvi_eo_v2_300", {**prithvi_vit.prithvi_cfgs["prithvi_eo_v2_300"], "depth": 4})
    monkeypatch.setitem(networks.PRITHVI_LAYERS, "prithvi_300", ("prithvi_eo_v2_300", (0, 1, 2, 3)))
