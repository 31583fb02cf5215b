"""Encode the pixels of segments as text (footprints) that stays valid under another segmentation or area of interest.

A footprint is a list of runs `y x n`, joined by `|`: n pixels eastwards, of which the first has its upper left corner
x · resolution east and y · resolution north of the CRS's origin (rounded to whole pixels).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Horizontal runs of pixels of some segments, sorted by owner, then row by row; arrays of equal length (int64).

    Attributes:
        owner: position of the segment in the list of segments.
        row, col: first pixel on the grid (may lie outside of it).
        length: number of pixels.
    """

    owner: Ints
    row: Ints
    col: Ints
    length: Ints

    def pixels(self, shape: tuple[int, int]) -> tuple[Ints, Ints]:
        """Return row-major index and owner of every pixel within `shape`, in the order of the runs."""
        owner = np.repeat(self.owner, self.length)
        row = np.repeat(self.row, self.length)
        first = np.repeat(np.cumsum(self.length) - self.length, self.length)
        col = np.repeat(self.col, self.length) + np.arange(len(owner)) - first
        inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        return (row * shape[1] + col)[inside], owner[inside]


def runs_of(segments: NDArray[np.integer[Any]], ids: NDArray[np.integer[Any]]) -> Runs:
    """Return the runs of some segments of a label raster (row, column).

    Args:
        ids: the segments; a run's owner is the position of its segment in this list.
    """
    place = np.full(max(int(segments.max(initial=0)), int(ids.max(initial=0))) + 1, -1, np.int64)
    place[ids] = np.arange(len(ids))
    parts = []
    for top in range(0, segments.shape[0], 512):
        owner = place[segments[top : top + 512]]
        change = np.ones(owner.shape, bool)
        change[:, 1:] = owner[:, 1:] != owner[:, :-1]
        row, col = np.nonzero(change)
        length = np.diff(np.append(row * owner.shape[1] + col, owner.size))
        owned = owner[row, col]
        wanted = owned >= 0
        parts.append(np.stack([owned[wanted], row[wanted] + top, col[wanted], length[wanted]]))
    runs = np.concatenate(parts, axis=1) if parts else np.empty((4, 0), np.int64)
    return Runs(*runs[:, np.argsort(runs[0], kind="stable")])


def encode(runs: Runs, count: int, geobox: GeoBox) -> list[str]:
    """Return the footprint of each owner 0..count; `runs` lie on the grid `geobox`."""
    left, top = _origin(geobox)
    texts = [f"{y} {x} {n}" for y, x, n in zip((top - runs.row).tolist(), (left + runs.col).tolist(), runs.length.tolist(), strict=True)]
    ends = np.searchsorted(runs.owner, np.arange(count + 1)).tolist()
    return ["|".join(texts[start:end]) for start, end in itertools.pairwise(ends)]


def decode(footprints: Sequence[str], geobox: GeoBox) -> Runs:
    """Return the runs of some footprints on a grid of the same CRS and resolution.

    Raises:
        ValueError: a text is not a footprint.
    """
    left, top = _origin(geobox)
    texts = [text for text in footprints if text]
    numbers = np.array(" ".join(texts).replace("|", " ").split(), np.int64)
    if len(numbers) % 3 or len(numbers) != 3 * sum(text.count("|") + 1 for text in texts):
        raise ValueError("a footprint is not made of runs `y x n`")
    y, x, length = numbers.reshape(-1, 3).T
    counts = [text.count("|") + 1 if text else 0 for text in footprints]
    owner = np.repeat(np.arange(len(footprints)), counts)
    return Runs(owner, top - y, x - left, length)


def _origin(geobox: GeoBox) -> tuple[int, int]:
    """Return the upper left corner of a grid in pixels from the CRS's origin: east, north."""
    step_x, _, x, _, step_y, y = tuple(geobox.transform)[:6]
    return round(x / step_x), round(y / -step_y)
