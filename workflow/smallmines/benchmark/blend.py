"""Predict an image with a model of tiles: overlapping tiles, blended, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

Floats = NDArray[np.float32]

AT_ONCE = 16
"""Tiles that are predicted at a time."""


def starts(length: int, side: int) -> list[int]:
    """Return where tiles begin along an axis: every half side, the last at the end; one tile where the axis is shorter."""
    if length <= side:
        return [0]
    return [*range(0, length - side, max(1, side // 2)), length - side]


def weights(side: int) -> Floats:
    """Return the weight of the pixels of a tile (row, column): highest in the middle, falling in a straight line to the edges."""
    along = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32)
    return np.asarray(np.outer(along, along))


def blended(
    read: Callable[[Window], Floats], predict: Callable[[Floats], NDArray[np.uint8]], shape: tuple[int, int], side: int
) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield windows of full width from top to bottom, with the blended probability (uint8) and where no band has a gap.

    Memory: the bands of one row of tiles, and its sums.

    Args:
        read: window → (band, row, column) float32, NaN gaps.
        predict: tiles (tile, band, row, column) → uint8 (tile, row, column).
        shape: of the image.
        side: of the tiles in pixels. Beyond the image they have gaps.
    """
    height, width = shape
    tops, lefts, weight = starts(height, side), starts(width, side), weights(side)
    total, summed = np.zeros((2, side, max(width, side)), np.float32)
    for number, top in enumerate(tops):
        rows = min(side, height - top)
        strip = read(Window(0, top, width, rows))
        tiles = np.full((len(strip), side, max(width, side)), np.nan, np.float32)
        tiles[:, :rows, :width] = strip
        for begin in range(0, len(lefts), AT_ONCE):
            own = lefts[begin : begin + AT_ONCE]
            predicted = predict(np.stack([tiles[:, :, left : left + side] for left in own]))
            for left, tile in zip(own, predicted, strict=True):
                total[:, left : left + side] += tile * weight
                summed[:, left : left + side] += weight
        done = tops[number + 1] - top if number + 1 < len(tops) else rows
        result = np.rint(total[:done, :width] / summed[:done, :width]).astype(np.uint8)
        yield Window(0, top, width, done), result, np.asarray(np.isfinite(strip[:, :done]).all(axis=0))
        for sums in (total, summed):
            sums[: side - done] = sums[done:].copy()
            sums[side - done :] = 0
