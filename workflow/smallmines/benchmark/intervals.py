"""95 % intervals of scores by bootstrap over spatial blocks, paired between models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sums = dict[str, Floats]
"""Counts summed by block (block,), or by draw (draw,), by column."""

DRAWS = 2000
LEVEL = 0.95
LEAST_BLOCKS = 5
"""Fewer blocks give no interval."""

WIDENED = 3.0
"""Chosen by simulation: blocks whose mining area is spread like a gamma distribution of shape 0.7 or 0.3 (a few blocks hold most of it),
500 tests each. Expanded percentiles alone hold the true IoU in 0.87 to 0.90 of the tests with 5 to 16 blocks of shape 0.3; widened in 0.93
to 0.98 with 5 to 60 blocks of both shapes (`tests/unit/benchmark/test_intervals.py`)."""

APPROXIMATE = 20
"""Below this number of blocks an interval is called approximate."""


def block_sums(counts: Mapping[str, NDArray[Any]], block: NDArray[np.int64], number: int) -> Sums:
    """Return the sums of counts (tile,) over the tiles of each block (block,).

    Args:
        block: number of the block of each tile, from 0.
        number: of blocks; those without a tile of the test have 0.
    """
    weights = {name: np.asarray(values, np.float64) for name, values in counts.items()}
    return {name: np.asarray(np.bincount(block, own, number), np.float64) for name, own in weights.items()}


def drawn_blocks(number: int, seed: int = 0) -> Floats:
    """Return how often each block is in each draw (draw, block). Models with the same blocks and seed get the same draws: paired."""
    return np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), DRAWS).astype(np.float64)


def drawn_sums(sums: Sums, drawn: Floats) -> Sums:
    """Return the sums of each draw (draw,)."""
    return {name: drawn @ values for name, values in sums.items()}


def limits(values: Floats, estimate: float, blocks: int, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Return the interval of a score; NaN with fewer than `LEAST_BLOCKS` blocks, or where most draws have no value.

    The percentiles are expanded for the number of blocks (Hesterberg 2015, doi 10.1080/00031305.2015.1089789), as Student's t expands a
    normal interval, and the distances from the estimate are multiplied by 1 + `WIDENED` / blocks, see there.

    Args:
        values: of all draws (draw,).
        estimate: the score itself.
        bounds: that the score cannot leave.
    """
    finite = values[np.isfinite(values)]
    if blocks < LEAST_BLOCKS or len(finite) < len(values) / 2 or not np.isfinite(estimate):
        return float("nan"), float("nan")
    tail, factor = expanded_tail(blocks), 1 + WIDENED / blocks
    low, high = np.percentile(finite, (100 * tail, 100 * (1 - tail)))
    return max(bounds[0], float(estimate - factor * (estimate - low))), min(bounds[1], float(estimate + factor * (high - estimate)))


def expanded_tail(blocks: int) -> float:
    """Return the share of draws left out at each end: below 2.5 %, the less the fewer the blocks."""
    from scipy.stats import norm, t

    return float(norm.cdf(-np.sqrt(blocks / (blocks - 1)) * t.ppf(1 - (1 - LEVEL) / 2, blocks - 1)))


def coverage(make: Callable[[np.random.Generator], Sums], score: Callable[[Sums], Floats], truth: float, times: int) -> float:
    """Return the share of simulated tests whose interval holds the truth.

    Args:
        make: draws the sums by block of one test.
        score: of sums.
        truth: score of all blocks that there could be.
    """
    rng = np.random.default_rng(0)
    held = 0
    for number in range(times):
        sums = make(rng)
        blocks = len(next(iter(sums.values())))
        estimate = float(score({name: values.sum(keepdims=True) for name, values in sums.items()})[0])
        low, high = limits(score(drawn_sums(sums, drawn_blocks(blocks, number))), estimate, blocks)
        held += low <= truth <= high
    return held / times
