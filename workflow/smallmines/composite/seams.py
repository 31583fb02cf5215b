"""Seams of a Sentinel-2 composite: the step in level where two scenes meet, beside the usual difference between neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.core.product import S2_BANDS
from smallmines.core.raster import opened, strips

SEVERAL = 255
"""Index of a pixel that is made of several scenes (median); such pixels have no seams."""


def seams(
    image: str | Path, source: str | Path, clear_path: str | Path, own: NDArray[np.bool_], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Measure the seams of a block, the longest first.

    A seam is the set of pairs of clear neighbours (in a row or a column) from two different scenes, in the block's own cells.

    Args:
        image: uint16 DN, ten bands.
        source: uint8 index of the scene of each pixel, 1 = the first of `names`.
        clear_path: uint8, 0 = not clear.
        own: (row, column) True in the block's own cells.
        names: ids of the scenes.

    Returns:
        Per pair of scenes: `scenes` (two ids), `numbers` (two indices), `pairs`, `km`, `step` (median difference first − second in DN,
        by band), `usual` (median absolute difference, by band, between the left or upper pixel of a pair and the pixel before it,
        where that is of the same scene; None without any).
    """
    steps: dict[tuple[int, int], list[NDArray[np.int32]]] = {}
    usual: dict[tuple[int, int], list[NDArray[np.int32]]] = {}
    with opened(image) as pixels, opened(source) as scenes, opened(clear_path) as clear:
        metres = abs(pixels.transform.a)
        for strip in strips((pixels.height, pixels.width)):
            above = min(2, strip.row_off)  # rows above the strip, so that no pair between strips is missed
            window = Window(0, strip.row_off - above, strip.width, strip.height + above)
            number = scenes.read(1, window=window)
            number[(clear.read(1, window=window) == 0) | ~own[window.toslices()] | (number == SEVERAL)] = 0
            dn = pixels.read(window=window).astype(np.int32)
            for numbers, step, beside in _pairs(number, dn, above):
                for pair in np.unique(numbers, axis=0):
                    of_pair = (numbers == pair).all(axis=1)
                    key = (int(pair[0]), int(pair[1]))
                    steps.setdefault(key, []).append(step[:, of_pair])
                    usual.setdefault(key, []).append(beside[:, of_pair])
    result = []
    for key in sorted(steps, key=lambda key: (-sum(part.shape[1] for part in steps[key]), key)):
        step, beside = np.concatenate(steps[key], axis=1), np.concatenate(usual[key], axis=1)
        result.append(
            {
                "scenes": [names[number - 1] for number in key],
                "numbers": list(key),
                "pairs": step.shape[1],
                "km": round(step.shape[1] * metres / 1000, 3),
                "step": dict(zip(S2_BANDS, np.median(step, axis=1).tolist(), strict=True)),
                "usual": dict(zip(S2_BANDS, _medians(beside), strict=True)),
            }
        )
    return result


def _medians(beside: NDArray[np.int32]) -> list[float | None]:
    """Return the median of each row without −1, which stands for no neighbour."""
    return [float(np.median(row[row >= 0])) if (row >= 0).any() else None for row in beside]


def _pairs(
    number: NDArray[np.uint8], dn: NDArray[np.int32], above: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]]:
    """Yield the pairs of neighbours of different scenes in a strip whose first `above` rows belong to the strip before.

    Yields:
        Across columns, then across rows: scene numbers (pair, 2), the lower first; difference lower − higher (band, pair); absolute
        difference between the pair's first pixel and the one before it, where that is of the same scene, else −1 (band, pair).
    """
    for turned in (False, True):
        scene, values = (number.T, dn.transpose(0, 2, 1)) if turned else (number[above:], dn[:, above:])
        left, right = scene[:, :-1], scene[:, 1:]
        row, col = np.nonzero((left != right) & (left > 0) & (right > 0))
        if turned and above:  # a pair counts in the strip that holds its lower pixel
            row, col = row[col + 1 >= above], col[col + 1 >= above]
        a, b = left[row, col], right[row, col]
        swap = np.where(a < b, 1, -1)
        step = (values[:, row, col] - values[:, row, col + 1]) * swap
        before = np.maximum(col - 1, 0)
        same = (col > 0) & (scene[row, before] == a)
        beside = np.where(same, np.abs(values[:, row, col] - values[:, row, before]), -1)
        yield np.sort(np.column_stack([a, b]), axis=1), step, beside
