"""Places of tiles of several lattices in one frame of rows and columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import DEGREES, transformer

Floats = NDArray[np.float64]

METRES_A_DEGREE = 111_320
"""Length of a degree of the equator in m."""

WIDEST_GAP = 50
"""Greatest distance in tiles between two regions that is kept; nothing is measured beyond 20."""


def cells_in_one_frame(crs: NDArray[np.object_], left: Floats, top: Floats, side: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of tiles of several CRS in one frame, from 0.

    The tiles of a CRS keep their places on its grid; as a whole they are shifted to where they lie on the ground, to about a tile. Rows and
    columns without a tile are left out beyond `WIDEST_GAP`, so that regions far apart take no room.

    Args:
        crs: of each tile, as text.
        left, top: upper left corners in m.
        side: of a tile in m.
    """
    row, col = (np.round(axis / side).astype(np.int64) for axis in (-top, left))
    lon, lat = np.zeros(len(crs)), np.zeros(len(crs))
    for name in set(crs):
        own = crs == name
        lon[own], lat[own] = transformer(name, DEGREES).transform(left[own] + side / 2, top[own] - side / 2)
    south, east = -lat * METRES_A_DEGREE / side, lon * METRES_A_DEGREE * np.cos(np.radians(lat.mean())) / side
    for name in set(crs):
        own = crs == name
        row[own] += round(float(np.median(south[own] - row[own])))
        col[own] += round(float(np.median(east[own] - col[own])))
    return _without_gaps(row), _without_gaps(col)


def _without_gaps(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return positions from 0, with gaps of at most `WIDEST_GAP`."""
    used, at = np.unique(positions, return_inverse=True)
    steps = np.minimum(np.diff(used), WIDEST_GAP)
    return np.asarray(np.concatenate([[0], np.cumsum(steps)])[at], np.int64)
