"""Narrow stripes without data between elevation tiles, as they arise where tiles end a pixel before the next one begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallmines.composite.sampling import Piece, pasted

WIDEST = 2
"""Greatest width of a stripe in source pixels (60 m of GLO-30). Wider ones are ground that no tile knows."""

SHORTEST = 3
"""Smallest length of a stripe in source pixels: a shorter gap at the border of two tiles is a hole. With the margin of 2 px around the
windows of tiles, neighbouring blocks see the same."""

NOBODY = -1
"""Owner of a pixel without data."""


def fill_stripes(pieces: Sequence[Piece]) -> tuple[Piece, int]:
    """Merge windows of one lattice and fill the stripes between them, linearly from both sides.

    A stripe is up to `WIDEST` px wide and at least `SHORTEST` px long, along rows or columns, with data of different pieces on both sides.
    Gaps inside a piece, shorter ones, wider ones and the outside stay without data.

    Returns:
        The merged window, (row, column), and the number of source pixels that were filled.
    """
    whole = pasted(pieces)
    values, owner = whole.values.copy(), np.full(whole.values.shape, NOBODY, np.int32)
    for number, piece in enumerate(pieces):
        row, col = piece.row - whole.row, piece.col - whole.col
        part = owner[row : row + piece.values.shape[0], col : col + piece.values.shape[1]]
        part[(part == NOBODY) & np.isfinite(piece.values)] = number
    done = [np.zeros(values.shape, bool), np.zeros(values.shape, bool)]
    for _ in range(2):  # the second time, the crossings of stripes
        _fill_along_rows(values, owner, done[0])
        _fill_along_rows(values.T, owner.T, done[1].T)
    return Piece(whole.lattice, whole.row, whole.col, values), int((done[0] | done[1]).sum())


def _fill_along_rows(values: NDArray[np.float32], owner: NDArray[np.int32], done: NDArray[np.bool_]) -> None:
    """Fill stripes that run along columns, in place; `done` is True where that was done."""
    from scipy import ndimage

    for width in range(1, WIDEST + 1):
        inner = values.shape[1] - width - 1
        if inner < 1:
            return
        left, right = owner[:, :inner], owner[:, width + 1 :]
        gap = (left != NOBODY) & (right != NOBODY) & (left != right)
        for step in range(1, width + 1):
            gap &= owner[:, step : step + inner] == NOBODY
        # A stripe may go on beyond the window, hence the padding with the edge.
        long = np.pad(gap | done[:, 1 : 1 + inner], ((SHORTEST, SHORTEST), (0, 0)), mode="edge")
        gap &= ndimage.binary_opening(long, np.ones((SHORTEST, 1), bool))[SHORTEST:-SHORTEST]
        row, col = np.nonzero(gap)
        first, last = values[row, col], values[row, col + width + 1]
        for step in range(1, width + 1):
            values[row, col + step] = first + (last - first) * np.float32(step / (width + 1))
            owner[row, col + step] = owner[row, col if step == 1 else col + width + 1]
            done[row, col + step] = True
