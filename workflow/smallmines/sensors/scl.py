"""The scene classification of Sentinel-2 L2A: its name among the bands, which classes are clear, how far clouds reach."""

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


def cloud_reach(dilation: int, opening: int, geobox: GeoBox) -> tuple[int, int, int]:
    """Lengths in 20 m pixels of the scene classification as whole pixels of `geobox`, rounded up.

    Returns:
        Dilation, opening, and the margin that both need around a window.
    """
    pixel: float = abs(geobox.transform.a)
    grown, opened = (math.ceil(length * SCL_PIXEL / pixel) for length in (dilation, opening))
    return grown, opened, grown + 2 * opened


def clear_mask(classes: NDArray[np.uint8], masked: Sequence[int]) -> NDArray[np.bool_]:
    """Where a scene class is not masked; class 0 (no data) never is clear."""
    table = np.ones(256, bool)
    table[[0, *masked]] = False
    return table[classes]
