"""Thin cloud and haze that the scene classification misses: observations that are hazy against the other dates of the same pixel.

Haze adds light at short wavelengths. The haze-optimised transform (Zhang, Guindon & Cihlar 2002, doi 10.1016/S0034-4257(02)00034-2; here
B02 − 0.5 · B04 as in Zhu & Woodcock 2012) is nearly the same for vegetation, soil and tailings under clear sky and rises with haze. It is
compared between dates, never with a fixed level, so that a stable bright surface is no haze.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

BANDS = ("B02", "B04")
"""Bands that haze is found by."""

LEAST_DATES = 3
"""Minimum number of clear observations of a pixel: of two that differ, nothing says which one is right."""

EXCESS = 250
"""DN in B02 above the other dates from which an observation may be hazy."""

TRANSFORM = 120
"""DN of the haze-optimised transform above the other dates from which an observation may be hazy. Light that is added to B02 raises the
transform by half of it (white cloud) to 0.7 of it (haze).

`EXCESS`, `TRANSFORM` and `TOLERANCE` were measured on 12 months of a series over Flanders (118 dates, 186 000 clear observations). Of the
clear observations more than 300 DN above the median of the other dates, 14 % are left, and 5 % of all are removed besides. 98 % of the bare
ground on haze-free dates and 96 % of its brightest fifth stay."""

TOLERANCE = 0.2
"""Share of the other dates' transform that is added to `TRANSFORM`: the brightness of roofs and salt varies with sun and view, and a shadow
on another date takes up to a fifth of their transform."""


AT_ONCE = 2_000_000
"""Observations that are compared at a time; each takes some 60 bytes."""


def hazy(bands: Mapping[str, NDArray[np.int32]], clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which clear observations are hazy against the other clear observations of their pixel.

    An observation is hazy if B02 and the transform are both above the level of the other dates by more than the limits. The level is the
    median, of an even number the lower of the two in the middle, because haze only brightens. The darkest observation of a pixel is never
    hazy, so each pixel that is clear on some date stays clear on some date.

    Args:
        bands: the bands `BANDS` in digital numbers without offset, (date, …).
        clear: (date, …) True where an observation is clear.

    Returns:
        (date, …); False wherever fewer than `LEAST_DATES` observations are clear.
    """
    result = np.zeros(clear.shape, bool)
    enough = clear.sum(axis=0) >= LEAST_DATES
    if not enough.any():
        return result
    blue, red = (bands[name][:, enough] for name in BANDS)
    flags, clear = np.zeros(blue.shape, bool), clear[:, enough]
    for start in range(0, blue.shape[1], max(1, AT_ONCE // len(blue))):
        part = np.s_[:, start : start + max(1, AT_ONCE // len(blue))]
        transform = blue[part] - 0.5 * red[part]
        level = level_of_others(transform, clear[part])
        excess = blue[part] - level_of_others(blue[part], clear[part])
        flags[part] = clear[part] & (transform - level > TRANSFORM + TOLERANCE * np.abs(level)) & (excess > EXCESS)
    result[:, enough] = flags
    return result


def level_of_others(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return, for each value, the lower median of the other valid values along the first axis.

    Args:
        values, valid: (date, pixel).

    Returns:
        (date, pixel); without meaning where a value or all others are not valid.
    """
    comparable = np.where(valid, values, np.inf).astype(np.float64)
    ordered = np.sort(comparable, axis=0)
    middle = np.maximum(valid.sum(axis=0) - 2, 0) // 2  # of all values but one
    result = np.empty(comparable.shape)
    for row, value in zip(result, comparable, strict=True):
        place = (ordered < value).sum(axis=0)  # of the value itself, which is left out
        row[:] = np.take_along_axis(ordered, (middle + (middle >= place))[np.newaxis], axis=0)[0]
    return result
