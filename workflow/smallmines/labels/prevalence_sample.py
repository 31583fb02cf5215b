"""Draw pixels that tell the prevalence, the share of the area that is mining, and estimate it from what people see there.

A stratified random sample of its own: the strata are ranges of the forest's probability, so that few pixels do, and the estimate
holds whatever the forest is worth, because every pixel has a known probability of being drawn. The accuracy sample must not be used:
it judges the maps, so it may train nothing, and the threshold is a part of the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.labels.accuracy import Estimate

if TYPE_CHECKING:
    import pandas as pd

STRATA = 5
"""Ranges of the probability from which equally many pixels are drawn."""

LEAST_DOUBT = 0.02
"""Least share of mining assumed in any range when its bounds are set: forests are overconfident."""

NONE = 1e-9
"""Stands for no pixel where a beta distribution needs a positive parameter."""

DRAWS = 4000
"""Random shares of each stratum from which the interval is read."""


def draw_sample(probability: NDArray[np.float64], area: NDArray[np.integer], number: int, seed: int) -> pd.DataFrame:
    """Draw pixels at random, without replacement, equally many in each range of the probability.

    The bounds of the ranges share out area times the standard deviation of the label that the probability promises, which makes equal
    numbers the best allocation (Neyman's).

    Args:
        probability: (segment,) of mining.
        area: (segment,) pixels.
        number: of pixels in total.

    Returns:
        segment (index from 0), pixel (of the segment, from 0 in row-major order), stratum, pixels (of the stratum), inclusion
        (probability of being drawn), in random order.

    Raises:
        UserError: there are no segments, or fewer than two pixels a stratum are asked for.
    """
    import pandas as pd

    if not len(area) or number < 2 * STRATA:
        raise UserError("segments, and a sample of ten pixels or more", f"{len(area)} segments, {number} pixels", "draw more pixels")
    order = np.argsort(probability, kind="stable")
    p = np.clip(probability[order], 0, 1)
    mass = np.cumsum(area[order] * np.sqrt(np.maximum(p * (1 - p), LEAST_DOUBT * (1 - LEAST_DOUBT))))
    stratum = np.minimum((STRATA * (mass - mass[0] / 2) / mass[-1]).astype(np.int64), STRATA - 1)
    end = np.cumsum(area[order].astype(np.int64))
    rng, parts = np.random.default_rng(seed), []
    for code in np.unique(stratum):
        members = np.flatnonzero(stratum == code)
        start, stop = int(end[members[0]] - area[order[members[0]]]), int(end[members[-1]])
        count = min(number // STRATA, stop - start)
        chosen = start + np.sort(rng.choice(stop - start, count, replace=False))
        place = np.searchsorted(end, chosen, side="right")
        parts.append(
            pd.DataFrame(
                {
                    "segment": order[place],
                    "pixel": chosen - (end[place] - area[order[place]].astype(np.int64)),
                    "stratum": code,
                    "pixels": stop - start,
                    "inclusion": count / (stop - start),
                }
            )
        )
    points = pd.concat(parts, ignore_index=True)
    return points.iloc[rng.permutation(len(points))].reset_index(drop=True)


def ignored_points(design: pd.DataFrame, number: int, year: str, block: str) -> str:
    """Say that a sample that is drawn already has other numbers of pixels than one of `number` pixels; empty where it has the same.

    Args:
        design: stratum and pixels of each drawn pixel.
        number: `assistant.prevalence_points`.
    """
    strata = design.groupby("stratum")["pixels"].agg(["size", "first"])
    if (strata["size"] == np.minimum(number // STRATA, strata["first"])).all():
        return ""
    home, before = f"prevalence/{year}/{block}", STRATA * int(strata["size"].max())
    return (
        f"the prevalence sample of {year}, block {block} has {len(design)} pixels and is drawn once: assistant.prevalence_points {number} "
        f"does not change it; set it back to {before}, or move {home}.csv, the folder {home} and its working copies away and draw again"
    )


def estimate_from_sample(
    points: pd.DataFrame, reference: NDArray[np.integer], calibrated: NDArray[np.float64], area: NDArray[np.integer], seed: int = 0
) -> Estimate:
    """Estimate the share of the area that is mining, with the forest's probability as auxiliary variable.

    The separate strata share one slope (combined regression estimator, Särndal, Swensson and Wretman 1992, doi
    10.1007/978-1-4612-4378-6, chapter 7), so that a probability that is worth nothing does no harm. The interval is that of the
    stratified share without the auxiliary variable, from beta distributions of each stratum's share (Brown, Cai and DasGupta 2001,
    doi 10.1214/ss/1009213286), moved by the regression; it holds where no pixel is mining.

    Args:
        points: as drawn; see `draw_sample`.
        reference: (point,) 1 mining, 0 not, negative where people gave no class, which counts as missing at random in its stratum.
        calibrated: (segment,) probability of mining at the shares of the area; any monotone score serves.
        area: (segment,) pixels.

    Raises:
        UserError: a stratum has no pixel with a class.
    """
    settled = reference >= 0
    names, code = np.unique(points["stratum"].to_numpy(), return_inverse=True)
    n = np.bincount(code[settled], minlength=len(names)).astype(np.float64)
    if (n == 0).any():
        raise UserError("a class at one pixel of each stratum at least", f"none in {int((n == 0).sum())}", "look at more of the pixels")
    size = np.zeros(len(names))
    size[code] = points["pixels"].to_numpy(np.float64)
    weight = size / size.sum()
    own, y = code[settled], reference[settled].astype(np.float64)
    x = calibrated[points["segment"].to_numpy()[settled]]
    positive = np.bincount(own, y, minlength=len(names)).astype(np.float64)
    mean_y, mean_x = positive / n, np.bincount(own, x, minlength=len(names)) / n
    inner_x, inner_y = x - mean_x[own], y - mean_y[own]
    factor = (weight / n)[own] * weight[own] / n[own]
    spread = float(factor @ inner_x**2)
    slope = float(np.clip(factor @ (inner_x * inner_y) / spread, 0, 1)) if spread > 0 else 0.0
    shift = slope * (float(np.average(calibrated, weights=area)) - float(weight @ mean_x))
    share = float(weight @ mean_y)
    value = float(np.clip(share + shift, 0, 1))
    low, high = (end + shift for end in _ends(positive, n, weight, seed))
    return Estimate(value, min(value, max(0.0, low)), max(value, min(1.0, high)))


def _ends(positive: NDArray[np.float64], n: NDArray[np.float64], weight: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the ends of the interval of a stratified share.

    As Clopper and Pearson's, the low end has one more negative, the high end one more positive pixel than were found; in the strata's
    shares of the area, so that the strata do not add up to five more.

    Args:
        positive, n, weight: positive pixels, pixels and share of the area of each stratum.
    """
    rng, shape = np.random.default_rng(seed), (DRAWS, len(n))
    lowest = rng.beta(positive + NONE, n - positive + weight, shape) @ weight
    highest = rng.beta(positive + weight, n - positive + NONE, shape) @ weight
    return float(np.quantile(lowest, 0.025)), float(np.quantile(highest, 0.975))
