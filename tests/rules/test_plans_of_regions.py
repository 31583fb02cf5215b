"""The worked examples of other countries are planned offline, with an area in place of the downloaded boundaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from worked_regions import PLACES, config_of, stand_in
from workspace import Workspace

pytestmark = [pytest.mark.rules, pytest.mark.heavy]


@pytest.mark.parametrize("run", PLACES)
def test_a_region_is_planned_offline(repository: Path, tmp_path: Path, run: str) -> None:
    workspace = Workspace.make(repository, tmp_path, f"config/regions/{run}.yaml", run)
    assert workspace.planned("annotate")["boundaries"] == 1
    stand_in(run, tmp_path / f"resources/automatic/{run}/boundaries.geojson")
    blocks = config_of(run).grid.blocks
    planned = workspace.planned("annotate")
    assert "boundaries" not in planned
    assert (planned["grid"], planned["search"], planned["composite_dem"]) == (1, 5, blocks)
    assert {planned[rule] for rule in ("composite_s2", "composite_s1", "segment", "describe", "context", "candidates")} == {2 * blocks}
