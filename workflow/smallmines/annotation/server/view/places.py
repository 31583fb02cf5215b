"""Where a segment lies in the label raster: its pixel, and windows around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox

Box = tuple[int, int, int, int]
"""First row, first column, last row + 1, last column + 1."""


def row_of(table: pd.DataFrame, segment: int) -> int:
    """Return the row of a segment in a table of all segments.

    Raises:
        UserError: there is no such segment.
    """
    if not 1 <= segment <= len(table):
        raise UserError(f"a segment of 1 to {len(table)}", f"{segment}", "choose another")
    return segment - 1


def pixels_at(geobox: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the pixels in which points lie, in the grid's CRS."""
    col, row = ~geobox.transform @ (np.asarray(x, np.float64), np.asarray(y, np.float64))
    return np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)


def widened(box: Box, by: int, shape: tuple[int, int]) -> Box:
    """Return a window with a margin on all sides, cut at the frame."""
    return max(box[0] - by, 0), max(box[1] - by, 0), min(box[2] + by, shape[0]), min(box[3] + by, shape[1])


def around(shape: tuple[int, int], row: int, col: int, radius: int) -> Box:
    """Return the square window around a pixel, cut at the frame."""
    return widened((row, col, row + 1, col + 1), radius, shape)


def reaches_edge(inside: NDArray[np.bool_], box: Box, shape: tuple[int, int]) -> bool:
    """Whether marked pixels of a window touch an edge behind which the raster goes on."""
    edges = ((inside[0], box[0] > 0), (inside[:, 0], box[1] > 0), (inside[-1], box[2] < shape[0]), (inside[:, -1], box[3] < shape[1]))
    return any(goes_on and edge.any() for edge, goes_on in edges)


def box_of(segments: NDArray[np.uint32], segment: int, row: int, col: int) -> Box:
    """Return the bounding box of a segment, which is connected, from one of its pixels."""
    radius = 16
    while True:
        box = around(segments.shape, row, col, radius)
        inside = segments[box[0] : box[2], box[1] : box[3]] == segment
        if not reaches_edge(inside, box, segments.shape):
            break
        radius *= 2
    rows, cols = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return box[0] + int(rows[0]), box[1] + int(cols[0]), box[0] + int(rows[-1]) + 1, box[1] + int(cols[-1]) + 1
