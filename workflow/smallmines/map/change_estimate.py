"""Draw the change sample, and estimate gain and loss of mining between two years from what people see at its pixels.

A map of change is the difference of two maps, whose errors add up, so that its areas are no estimate. A stratified random sample of
pixels, each looked at in both years, is (Olofsson et al. 2014, doi 10.1016/j.rse.2014.02.015). Change that the maps missed lies near
mines more often than elsewhere, and a missed pixel of the large stratum of stable land weighs more than all others together: land
around mapped mines is a stratum of its own (Olofsson et al. 2020, doi 10.1016/j.rse.2019.111492).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.dataset.change import CLASSES, GONE, NEW, STABLE_MINING, STABLE_OTHER, grown
from smallmines.labels.accuracy import Estimate
from smallmines.map.intervals import interval

if TYPE_CHECKING:
    import pandas as pd

BUFFER_PX = 10
"""Width in pixels of the stratum around mapped mines of either year: 100 m."""

STRATA = (*CLASSES, "buffer")
"""Strata of the sample by number: the classes of change, and stable other land within `BUFFER_PX` of a mine of either year."""

BUFFER = len(CLASSES)

LEAST = 50
"""Least number of points in a stratum, as far as it has pixels (Olofsson et al. 2014: 50 to 100 in rare classes)."""

GUESS = (0.005, 0.3, 0.3, 0.1, 0.05)
"""Share of each stratum, by number, whose class of change is assumed to be another one when the points are allocated."""

FEWEST = 5
"""Points of a class by the reference from which an interval is given."""


def strata(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the stratum of each pixel (row, column) of a map of change: numbers of `STRATA`, 255 unknown.

    The map must reach `BUFFER_PX` beyond the pixels that are used.
    """
    mined = (classes == NEW) | (classes == GONE) | (classes == STABLE_MINING)
    result = classes.copy()
    result[(classes == STABLE_OTHER) & grown(mined, BUFFER_PX)] = BUFFER
    return result


def allocation(pixels: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Return the points of each stratum: Neyman's allocation with the assumed errors, and `LEAST` at least.

    Args:
        pixels: of each stratum.
        number: of points in total; more where `LEAST` asks for them.
    """
    guess = np.array(GUESS)
    wanted = pixels * np.sqrt(guess * (1 - guess))
    shares = np.round(number * wanted / max(float(wanted.sum()), 1.0)).astype(np.int64)
    return np.asarray(np.minimum(np.maximum(shares, LEAST), pixels))


def draw(parts: Callable[[], Iterable[tuple[int, int, NDArray[np.uint8]]]], number: int, seed: int) -> pd.DataFrame:
    """Draw pixels at random in each stratum, in two passes over the map.

    Args:
        parts: yields the windows of the map without overlap, always in the same order: first row, first column, strata (row, column).
        number: of points in total, see `allocation`.

    Returns:
        row, col (of the map), stratum (number), pixels (of the stratum), inclusion (probability of being drawn), in random order.

    Raises:
        UserError: the map has no pixel with a class.
    """
    import pandas as pd

    pixels = np.zeros(256, np.int64)
    for _, _, stratum in parts():
        pixels += np.bincount(stratum.ravel(), minlength=256)
    pixels = pixels[: len(STRATA)]
    if not pixels.sum():
        raise UserError("pixels with a class in both years", "none", "look at the masks of both years")
    points = allocation(pixels, number)
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.choice(int(all_), int(own), replace=False)) for all_, own in zip(pixels, points, strict=True)]
    passed, rows = np.zeros(len(STRATA), np.int64), []
    for top, left, stratum in parts():
        for code, own in enumerate(chosen):
            members = np.flatnonzero(stratum.ravel() == code)
            begin, end = np.searchsorted(own, [passed[code], passed[code] + len(members)])
            row, col = np.divmod(members[own[begin:end] - passed[code]], stratum.shape[1])
            rows.append(pd.DataFrame({"row": row + top, "col": col + left, "stratum": code}))
            passed[code] += len(members)
    table = pd.concat(rows, ignore_index=True)
    of_point = table["stratum"].to_numpy()
    table = table.assign(pixels=pixels[of_point], inclusion=points[of_point] / pixels[of_point])
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def reference_class(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of change of points by the labels that people gave in both years: values of `CLASSES`, −1 without one.

    Args:
        first, last: 1 mining, 0 not, negative: none that counts.
    """
    table = np.array([[STABLE_OTHER, NEW], [GONE, STABLE_MINING]])
    settled = (first >= 0) & (last >= 0)
    return np.where(settled, table[np.maximum(first, 0), np.maximum(last, 0)], -1)


def estimates(
    stratum: NDArray[np.integer], pixels: NDArray[np.integer], reference: NDArray[np.integer], pixel_ha: float
) -> dict[str, Estimate]:
    """Estimate the area of each class of change in ha, with 95 % intervals.

    The estimate is that of a stratified sample. A class with fewer than `FEWEST` points by the reference has no interval (NaN). What a
    stratum holds in which no point has a class is unknown: no class has an area then (NaN), and the intervals reach from none to all of it.

    Args:
        stratum: (point,) of each drawn point.
        pixels: (point,) pixels of its stratum.
        reference: (point,) see `reference_class`; points without a class count as missing at random in their stratum.
    """
    names, code = np.unique(stratum, return_inverse=True)
    settled = reference >= 0
    n = np.bincount(code[settled], minlength=len(names)).astype(np.float64)
    size = np.zeros(len(names))
    size[code] = pixels
    known = n > 0
    unknown_pixels, n, of_known = float(size[~known].sum()), n[known], size[known]
    result = {}
    for value, name in enumerate(CLASSES):
        positive = np.bincount(code[settled], reference[settled] == value, minlength=len(names)).astype(np.float64)[known]
        total = float(of_known @ (positive / n))
        low, high = interval(positive, n, of_known) if positive.sum() >= FEWEST else (float("nan"),) * 2
        ends = min(low, total), max(high, total) + unknown_pixels
        result[name] = Estimate(*(end * pixel_ha for end in (float("nan") if unknown_pixels else total, *ends)))
    return result


def unknown_strata(stratum: NDArray[np.integer], reference: NDArray[np.integer]) -> list[int]:
    """Return the strata of which no point has a class, see `estimates`."""
    return sorted(set(stratum.tolist()) - set(stratum[reference >= 0].tolist()))
