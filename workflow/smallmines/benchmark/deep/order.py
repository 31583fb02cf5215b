"""Order and augmentation of the tiles of an epoch, from seed and epoch alone: a run that is continued sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.pack import Rows

TURNS = {"none": 1, "flips": 4, "turns": 8}
"""Number of the symmetries of a square by `augment`: none, both flips, and these with quarter turns."""


def batches(rows: Rows, size: int, seed: int, epoch: int, shuffle: bool, augment: str) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
    """Yield the rows of each batch of an epoch, and the number of the symmetry of each row, see `turned`.

    The last batch is left out where it has one tile and others have more: layers that normalise a batch need two.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows) if shuffle else rows
    turn = rng.integers(TURNS[augment], size=len(rows))
    for start in range(0, len(order), size):
        own = order[start : start + size]
        if len(own) > 1 or size == 1 or len(order) == 1:
            yield own, turn[start : start + size]


def turned(image: NDArray[Any], turn: int) -> NDArray[Any]:
    """Return an image (…, row, column) under a symmetry of the square: 1 flips columns, 2 flips rows, 4 turns by 90°, and their sums."""
    if turn & 1:
        image = image[..., ::-1]
    if turn & 2:
        image = image[..., ::-1, :]
    if turn & 4:
        image = np.rot90(image, axes=(-2, -1))
    return image
