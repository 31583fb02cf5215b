"""Draw the accuracy sample of the masks and estimate accuracy and area from it.

A stratified random sample of pixels, interpreted without knowing the map (good practice of Olofsson et al. 2014, doi
10.1016/j.rse.2014.02.015). The strata are those of the day of the draw; people correct the map afterwards, so the strata are no
longer the map's classes, and the estimators are Stehman's for that case (2014, doi 10.1080/01431161.2014.930207).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

EDGE = 5
"""Distance in pixels from the edge of a mapped mine, on either side, within which pixels form strata of their own."""

SURE = {"mining": 0.8, "not_mining": 0.1}
"""A mapped class is sure where the probability of mining is at least (mining), or less than (not mining), this."""

SMALLEST = 200
"""Strata of fewer pixels are merged with the other stratum of their class and nearness to the edge."""

LEAST = 20
"""Least number of points in a stratum, as far as it has pixels."""

GUESS = (0.02, 0.15)
"""Least share of the other class assumed when the points are allocated: in strata away from edges, and near edges, where forests are
overconfident."""

Z = 1.959963984540054
"""Quantile of the normal distribution for a 95 % interval."""


def strata(mask: NDArray[np.uint8], segments: NDArray[np.uint32], probability: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the stratum of each pixel (row, column) of a block: 4 · mining + 2 · near an edge + unsure; -1 outside the segments.

    Args:
        mask: 1 mining, 0 not, 255 open or no data (an open pixel counts by its probability).
        segments: label raster, 0 outside.
        probability: of mining, by segment id from 0.
    """
    mining = np.where(mask > 1, probability[segments] >= 0.5, mask == 1)
    near = _near_edge(mining)
    sure = np.where(mining, probability[segments] >= SURE["mining"], probability[segments] < SURE["not_mining"])
    stratum: NDArray[np.int8] = (4 * mining + 2 * near + ~sure).astype(np.int8)
    stratum[segments == 0] = -1
    count = np.bincount(stratum[stratum >= 0], minlength=8)
    for sure_stratum in range(0, 8, 2):
        if 0 < min(count[sure_stratum], count[sure_stratum + 1]) < SMALLEST:
            stratum[stratum == sure_stratum + 1] = sure_stratum
    return stratum


def strata_of_mask(mask: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the stratum of each pixel of a mask without probabilities: 4 · mining + 2 · near an edge; -1 where there is no class.

    Where pixels near or far from an edge are fewer than `SMALLEST`, they form one stratum with the others of their class.

    Args:
        mask: 1 mining, 0 not, 255 no class (row, column).
    """
    mining = mask == 1
    stratum: NDArray[np.int8] = (4 * mining + 2 * _near_edge(mining)).astype(np.int8)
    stratum[mask > 1] = -1
    count = np.bincount(stratum[stratum >= 0], minlength=8)
    for far in (0, 4):
        if 0 < min(count[far], count[far + 2]) < SMALLEST:
            stratum[stratum == far + 2] = far
    return stratum


def _near_edge(mining: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels lie within `EDGE` of the edge of a mapped mine."""
    from scipy.ndimage import maximum_filter, minimum_filter

    near: NDArray[np.bool_] = maximum_filter(mining, 2 * EDGE + 1) != minimum_filter(mining, 2 * EDGE + 1)
    return near


def risk_of(stratum: NDArray[np.int8], segments: NDArray[np.uint32], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of p · (1 - p) of the forest over the pixels of each of the eight strata, 0 where there are none.

    Args:
        segments, probability: as in `strata`.
    """
    inside = stratum >= 0
    count = np.bincount(stratum[inside], minlength=8)
    doubt = (probability * (1 - probability))[segments[inside]]
    return np.asarray(np.bincount(stratum[inside], doubt, minlength=8) / np.maximum(count, 1), np.float64)


def draw(stratum: NDArray[np.int8], risk: NDArray[np.float64], number: int, seed: int) -> pd.DataFrame:
    """Draw pixels at random in each stratum, more where the map is less certain (Neyman allocation by the forest's uncertainty).

    Args:
        stratum: of each pixel (row, column); -1 is never drawn.
        risk: of each stratum, see `risk_of`; 0 without a forest.
        number: of points in total; each stratum gets at least `LEAST`.

    Returns:
        row, col, stratum, pixels (of the stratum), inclusion (probability of being drawn), in random order.
    """
    import pandas as pd

    count = np.bincount(stratum[stratum >= 0], minlength=8)
    least = np.array([share * (1 - share) for share in GUESS])[np.arange(8) // 2 % 2]
    wanted = count * np.sqrt(np.maximum(risk, least))
    shares = np.round(number * wanted / max(wanted.sum(), 1)).astype(np.int64)
    shares = np.minimum(np.maximum(shares, LEAST), count)
    rng = np.random.default_rng(seed)
    flat, parts = stratum.ravel(), []
    for code in np.flatnonzero(count):
        members = np.flatnonzero(flat == code)
        chosen = members[np.sort(rng.choice(len(members), shares[code], replace=False))]
        row, col = np.divmod(chosen, stratum.shape[1])
        parts.append(
            pd.DataFrame({"row": row, "col": col, "stratum": code, "pixels": count[code], "inclusion": shares[code] / count[code]})
        )
    if not parts:
        raise UserError("pixels with a class", "none: no Sentinel-2 data, or no released mask", "look at composite and mask of the block")
    points = pd.concat(parts, ignore_index=True)
    return points.iloc[rng.permutation(len(points))].reset_index(drop=True)


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95 % interval; NaN where it cannot be made."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a map, by the pixels of a sample.

    Attributes:
        points: number drawn; settled: of these, those to which people gave one class.
        overall: share of the area with a class that is mapped correctly.
        users: user's accuracy by class, the share of the area mapped as a class that belongs to it.
        producers: producer's accuracy by class, the share of the area of a class that is mapped as it.
        iou: area that is mining and mapped as mining, over area that is either.
        mining_ha: area of mining by the reference; mapped_ha: by the map at the points, for comparison.
    """

    points: int
    settled: int
    overall: Estimate
    users: dict[str, Estimate]
    producers: dict[str, Estimate]
    iou: Estimate
    mining_ha: Estimate
    mapped_ha: Estimate


def accuracy(points: pd.DataFrame, pixel_ha: float) -> Accuracy:
    """Estimate accuracy and area from interpreted points.

    Args:
        points: stratum (any name), pixels (in the stratum), reference (see `pixel_samples.interpreted`), mapped (1, 0; other values:
            no class).
        pixel_ha: area of a pixel in ha.

    Raises:
        UserError: a stratum has fewer than two points that people settled.
    """
    settled = points[points["reference"] >= 0]
    lack = sorted(set(points["stratum"]) - set(settled["stratum"][settled["stratum"].duplicated()]))
    if lack:
        raise UserError(
            "at least two points of each stratum with a class",
            f"fewer in {len(lack)} of {points['stratum'].nunique()} strata ({', '.join(map(str, lack[:3]))} …)",
            "look at more points of the accuracy sample, and check them in",
        )
    names, code = np.unique(settled["stratum"].astype(str), return_inverse=True)
    size = settled.groupby("stratum", sort=False)["pixels"].first().rename(index=str)[names].to_numpy(np.float64)
    reference, mapped = settled["reference"].to_numpy(), settled["mapped"].to_numpy()
    total = float(size.sum())
    classes = {"mining": 1, "not_mining": 0}

    def share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Estimate:
        return ratio(part & whole, whole, code, size)

    def hectares(part: NDArray[np.bool_]) -> Estimate:
        fraction = ratio(part, np.ones(len(part), bool), code, size)
        return Estimate(*(value * total * pixel_ha for value in (fraction.value, fraction.low, fraction.high)))

    right = mapped == reference
    return Accuracy(
        len(points),
        len(settled),
        share(right, (mapped == 0) | (mapped == 1)),
        {name: share(right, mapped == value) for name, value in classes.items()},
        {name: share(right, reference == value) for name, value in classes.items()},
        share((mapped == 1) & (reference == 1), (mapped == 1) | (reference == 1)),
        hectares(reference == 1),
        hectares(mapped == 1),
    )


def ratio(part: NDArray[np.bool_], whole: NDArray[np.bool_], stratum: NDArray[np.intp], size: NDArray[np.float64]) -> Estimate:
    """Estimate the share of `whole` that is `part` from a stratified sample: Stehman 2014, equations 27 to 29.

    Args:
        part, whole: of each point.
        stratum: number of each point's stratum, 0…; each with two points at least.
        size: pixels of each stratum.
    """
    y, x = part.astype(np.float64), whole.astype(np.float64)
    n = np.bincount(stratum, minlength=len(size)).astype(np.float64)
    mean_y, mean_x = (np.bincount(stratum, values, minlength=len(size)) / n for values in (y, x))
    total_x = float(size @ mean_x)
    if total_x == 0:
        return Estimate(*[float("nan")] * 3)
    value = float(size @ mean_y) / total_x
    residual = y - value * x
    centred = residual - (mean_y - value * mean_x)[stratum]
    variance = np.bincount(stratum, centred**2, minlength=len(size)) / (n - 1)
    error = np.sqrt(np.sum(size**2 * (1 - n / size) * variance / n)) / total_x
    return Estimate(value, max(0.0, value - Z * error), min(1.0, value + Z * error))
