"""What the miniature is measured against: the same figures of real images."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.difficulty import REAL, difficulty, real_tiles
from sections import Segmentation

pytestmark = [pytest.mark.real, pytest.mark.heavy]


@pytest.mark.parametrize("place", list(REAL))
def test_the_bounds_that_the_miniature_is_held_to_are_those_of_real_images(shared_data: Path, place: str) -> None:
    name, positive = REAL[place]
    tiles = real_tiles(shared_data / "terramesh", name, positive)
    assert tiles.cube.shape == (64, 10, 28, 28)
    found = difficulty(tiles, Segmentation(), trees=30, pixels=20_000)
    assert min(found["lag1"]) >= 0.88
    assert max(found["lag1"]) <= 0.99
    assert found["first_three_components"] >= 0.95
    assert found["segments_per_mpx"] == pytest.approx({"Tanzania": 93_112, "Brazil": 64_373}[place], rel=0.01)
    assert found["share"] == pytest.approx({"Tanzania": 0.4313, "Brazil": 0.0661}[place], abs=1e-3)
    assert 0.15 < found["forest_iou"] < 0.75
