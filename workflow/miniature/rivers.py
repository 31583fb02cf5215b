"""Drainage of the miniature Earth: every cell of 80 m, and so every stream, drains to the border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miniature.noise import Field, Noise

COARSE = 8
"""Side in pixels of a cell of the drainage network; divides the side of a window."""

STREAM = 220
"""Cells of 80 m upstream from which on a stream is drawn: 1.4 km²."""


@dataclass(frozen=True)
class Rivers:
    """Drainage tree of the coarse cells, in rows.

    Attributes:
        parent: index of the next cell downstream; an outlet's own index.
        depth: cells down to the outlet.
        length: metres down to the outlet.
        accumulated: cells upstream, the cell itself included.
        xy: drawn position (column, row) in pixels.
    """

    grid: tuple[int, int]
    parent: NDArray[np.intp]
    depth: NDArray[np.int64]
    length: NDArray[np.float64]
    accumulated: NDArray[np.float64]
    xy: NDArray[np.float64]

    def channels(self, chosen: NDArray[np.bool_]) -> NDArray[np.object_]:
        """Return the channels that leave the chosen cells as polygons in pixels; channels are wider where more land drains into them."""
        import shapely

        lines = shapely.linestrings(np.stack([self.xy[chosen], self.xy[self.parent[chosen]]], axis=1))
        half_width = 0.38 + 0.011 * np.sqrt(self.accumulated[chosen])
        return np.asarray(shapely.buffer(lines, half_width, quad_segs=3), object)

    def fall(self) -> Field:
        """Return the distance to the outlet along the water in m, smoothed over divides, (row, column) of the cells."""
        from scipy.ndimage import gaussian_filter

        return np.asarray(gaussian_filter(self.length.reshape(self.grid), 5), np.float32)

    def downstream(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of a number per cell, (row, column), over all cells upstream of each cell."""
        return accumulated(source.ravel(), self.parent, self.depth)


def drained(hills: Noise, shape: tuple[int, int], rng: np.random.Generator) -> Rivers:
    """Drain the land: each cell follows the cheapest path to an outlet at the border; high ground costs more.

    A shortest-path tree has no pits, so every stream reaches the border.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    rows, cols = (-(-side // COARSE) for side in shape)
    middles = (np.minimum(np.arange(count) * COARSE + COARSE // 2, side - 1) for count, side in zip((rows, cols), shape, strict=True))
    height = hills(*middles) + 0.25 * rng.standard_normal((rows, cols))
    index = np.arange(rows * cols).reshape(rows, cols)
    cost = np.exp(1.3 * height)
    starts, ends, costs = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, rows - dy), slice(max(0, -dx), cols - max(0, dx)))
        b = (slice(dy, rows), slice(max(0, dx), cols + min(0, dx)))
        starts.append(index[a].ravel())
        ends.append(index[b].ravel())
        costs.append(((cost[a] + cost[b]) * np.hypot(dy, dx)).ravel())
    graph = coo_array((np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends))), shape=(index.size, index.size)).tocsr()
    border = np.concatenate([index[-1], index[:, 0]])
    pieces = np.array_split(border, max(2, len(border) // 130))
    outlets = [int(piece[np.argmin(height.ravel()[piece])]) for piece in pieces]
    _, parent, _ = dijkstra(graph, directed=False, indices=outlets, min_only=True, return_predecessors=True)
    own = np.arange(index.size)
    parent = np.where(parent < 0, own, parent).astype(np.intp)
    y, x = np.divmod(own, cols)
    xy = np.column_stack([x, y]) * COARSE + rng.uniform(0.1, 0.9, (index.size, 2)) * COARSE
    for _ in range(3):
        xy = (xy + xy[parent]) / 2
    step = np.hypot(*(xy - xy[parent]).T) * 10
    depth, length = _to_outlet((parent != own).astype(np.int64), parent), _to_outlet(step, parent)
    return Rivers((rows, cols), parent, depth, length, accumulated(np.ones(index.size), parent, depth), xy)


def _to_outlet(step: NDArray[Any], parent: NDArray[np.intp]) -> NDArray[Any]:
    """Return the sum of `step` along the path to the outlet, by pointer doubling."""
    total, jump = step.copy(), parent.copy()
    while (jump != jump[jump]).any():
        total = total + np.where(jump != np.arange(jump.size), total[jump], 0)
        jump = jump[jump]
    return total + 0


def accumulated(value: NDArray[np.float64], parent: NDArray[np.intp], depth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum of `value` over all cells upstream, level by level from the farthest."""
    total = value.copy()
    order = np.argsort(depth, kind="stable")
    edges = np.searchsorted(depth[order], np.arange(1, depth.max() + 2))
    for level in range(len(edges) - 1, 0, -1):
        members = order[edges[level - 1] : edges[level]]
        np.add.at(total, parent[members], total[members])
    return total
