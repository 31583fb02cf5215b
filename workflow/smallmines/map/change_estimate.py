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

DRAWS = 4000
"""Random shares of each stratum from which an interval is read."""


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

    The estimate is that of a stratified sample. A class with fewer than `FEWEST` points by the reference has no interval (NaN).

    Args:
        stratum: (point,) of each drawn point.
        pixels: (point,) pixels of its stratum.
        reference: (point,) see `reference_class`; points without a class count as missing at random in their stratum.

    Raises:
        UserError: a stratum without a point that has a class.
    """
    names, code = np.unique(stratum, return_inverse=True)
    settled = reference >= 0
    n = np.bincount(code[settled], minlength=len(names)).astype(np.float64)
    if (n == 0).any():
        lacking = ", ".join(STRATA[int(name)] for name in names[n == 0])
        raise UserError("a point with a class in each stratum of the change sample", f"none in {lacking}", "look at more of its points")
    size = np.zeros(len(names))
    size[code] = pixels
    total_ha, weight = float(size.sum()) * pixel_ha, size / size.sum()
    result = {}
    for value, name in enumerate(CLASSES):
        positive = np.bincount(code[settled], reference[settled] == value, minlength=len(names)).astype(np.float64)
        share = float(weight @ (positive / n))
        low, high = interval(positive, n, weight) if positive.sum() >= FEWEST else (float("nan"),) * 2
        result[name] = Estimate(share * total_ha, min(low, share) * total_ha, max(high, share) * total_ha)
    return result


def interval(positive: NDArray[np.float64], n: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a stratified share.

    Those of a sum of beta distributions, one a stratum, as Jeffreys' interval of a single share (Brown, Cai and DasGupta 2001, doi
    10.1214/ss/1009213286), with his half point shared by the strata as they share the area. A normal interval is too narrow where a few
    points that the maps missed weigh most.

    Args:
        positive, n, weight: points of the class, points, and share of the area of each stratum.
    """
    rng, half = np.random.default_rng(0), weight / 2
    drawn = rng.beta(positive + half, n - positive + half, (DRAWS, len(n))) @ weight
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
