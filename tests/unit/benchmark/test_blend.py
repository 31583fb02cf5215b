"""Overlapping tiles are blended the same as on a whole image in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.benchmark.blend import blended, starts, weights

SIDE = 8


def predict(tiles: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A model that sees where in its tile a pixel is, and its value."""
    place = np.add.outer(np.arange(SIDE), np.arange(SIDE)) * 3
    return (np.nan_to_num(tiles[:, 0]) + place).clip(0, 255).astype(np.uint8)


def whole(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same with all sums in memory."""
    height, width = image.shape[1:]
    padded = np.full((len(image), max(height, SIDE), max(width, SIDE)), np.nan, np.float32)
    padded[:, :height, :width] = image
    total, summed = np.zeros((2, *padded.shape[1:]))
    for top in starts(height, SIDE):
        for left in starts(width, SIDE):
            part = np.s_[top : top + SIDE, left : left + SIDE]
            total[part] += predict(padded[None, :, *part])[0] * weights(SIDE)
            summed[part] += weights(SIDE)
    return np.rint(total / summed).astype(np.uint8)[:height, :width]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_strips_give_what_the_whole_image_gives(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 200, (2, height, width)).astype(np.float32)
    image[:, rng.random((height, width)) < 0.1] = np.nan
    result, gap = np.zeros((height, width), np.uint8), np.zeros((height, width), bool)
    seen = 0

    def read(window: Window) -> NDArray[np.float32]:
        assert window.width == width
        return image[:, window.row_off : window.row_off + window.height]

    for window, values, valid in blended(read, predict, (height, width), SIDE):
        rows = slice(window.row_off, window.row_off + window.height)
        assert window.row_off == seen
        seen += window.height
        result[rows], gap[rows] = values, ~valid
    assert seen == height
    np.testing.assert_allclose(result, whole(image), atol=1)  # sums of float32
    np.testing.assert_array_equal(gap, np.isnan(image).any(axis=0))


@pytest.mark.parametrize("length", [1, SIDE, SIDE + 1, 3 * SIDE, 3 * SIDE + 5])
def test_tiles_cover_an_axis_and_end_with_it(length: int) -> None:
    own = starts(length, SIDE)
    covered = {place for start in own for place in range(start, start + SIDE)}
    assert covered >= set(range(length))
    assert max(covered) == max(length, SIDE) - 1
    assert sorted(set(own)) == own
