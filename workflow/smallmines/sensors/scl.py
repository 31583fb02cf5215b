"""The scene classification of Sentinel-2 L2A: band name, classes, clear pixels, and how far the effect of clouds reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

SCL = "SCL"
"""Name of the scene classification among the bands of Sentinel-2."""

SCL_PIXEL = 20.0
"""Pixel size of the scene classification in m."""

VEGETATION = 4
"""Scene class of vegetation; stands for any clear class."""

DARK_CLASSES = (2, 3, 6)
"""Scene classes with dark pixels: dark areas, cloud shadow, water."""

BRIGHT_CLASSES = (8, 9, 10)
"""Scene classes that bright ground is mistaken for: cloud of medium and high probability, cirrus."""

CLOUD_CLASSES = (3, *BRIGHT_CLASSES)
"""Scene classes that are dilated where they are masked: cloud shadow, cloud of medium and high probability, cirrus."""


def cloud_reach(dilation: int, opening: int, geobox: GeoBox) -> tuple[int, int, int]:
    """Convert lengths in 20 m pixels of the scene classification to whole pixels of `geobox`, rounded up.

    Returns:
        Dilation, opening, and the margin that both need around a window.
    """
    pixel: float = abs(geobox.transform.a)
    dilation_px, opening_px = (math.ceil(length * SCL_PIXEL / pixel) for length in (dilation, opening))
    return dilation_px, opening_px, dilation_px + 2 * opening_px


def clear_mask(classes: NDArray[np.uint8], masked: Sequence[int]) -> NDArray[np.bool_]:
    """Return where the scene class is not masked; class 0 (no data) is never clear."""
    return ~is_class(classes, [0, *masked])


def is_class(classes: NDArray[np.uint8], wanted: Sequence[int]) -> NDArray[np.bool_]:
    """Return where the scene class is one of some classes."""
    table = np.zeros(256, bool)
    table[list(wanted)] = True
    return table[classes]
