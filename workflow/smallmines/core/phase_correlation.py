"""Parts of a phase correlation (Kuglin & Hines 1975): taper, low-pass filter, and the peak to a fraction of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW_PASS = 0.15
"""Standard deviation of the low-pass filter in cycles per pixel."""


def taper(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return a Hann window of (rows, columns), 0 at the edges."""
    return np.outer(np.hanning(shape[0]), np.hanning(shape[1]))


def low_pass(rows: NDArray[np.floating[Any]], cols: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return a Gaussian low-pass filter at frequencies in cycles per pixel, (rows, columns)."""
    weights: NDArray[np.float64] = np.exp(-((rows[:, None] ** 2 + cols[None] ** 2) / (2 * LOW_PASS**2)))
    return weights


def surroundings(shape: tuple[int, int], top: int, left: int, reach: int) -> tuple[NDArray[np.int64], ...]:
    """Return the index of all pixels within `reach` rows and columns of a pixel of a periodic surface."""
    height, width = shape
    return np.ix_(np.arange(top - reach, top + reach + 1) % height, np.arange(left - reach, left + reach + 1) % width)


def peak_position(surface: NDArray[np.float64], top: int, left: int) -> tuple[float, float]:
    """Return the position (rows, columns) of the peak at pixel (`top`, `left`) of a periodic surface.

    Parabolas through the neighbours give the fraction of a pixel. Positions in the second half of the surface are negative.
    """
    position = []
    for index, line in ((top, surface[:, left]), (left, surface[top])):
        before, here, after = (float(line[(index + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * here + after
        fraction = 0.0 if bend == 0 else 0.5 * (before - after) / bend
        position.append((index if index <= len(line) // 2 else index - len(line)) + fraction)
    return position[0], position[1]
