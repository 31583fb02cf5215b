"""Dilation by a disk, exact and in time that grows with the radius, not with a distance transform of every pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return the pixels of (row, column) whose centre lies within `radius` px (Euclidean) of that of a True pixel.

    Equal to `scipy.ndimage.distance_transform_edt(~mask) <= radius` for a mask with a True pixel; False without one. The disk is a stack
    of rows: rows of equal half width are added at once, so a radius of r takes 4 r passes over booleans.
    """
    result = mask.copy()
    wide = mask.copy()
    height, width = mask.shape
    for half in range(radius + 1):
        if half and half < width:
            wide[:, half:] |= mask[:, :-half]
            wide[:, :-half] |= mask[:, half:]
        # Rows of the disk at these distances have this half width.
        reach = math.isqrt(radius * radius - half * half)
        next_reach = math.isqrt(radius * radius - (half + 1) ** 2) if half < radius else -1
        for row in range(next_reach + 1, reach + 1):
            if row == 0:
                result |= wide
            elif row < height:
                result[row:] |= wide[:-row]
                result[:-row] |= wide[row:]
    return result
