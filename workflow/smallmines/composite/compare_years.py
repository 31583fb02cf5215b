"""The years of a block held against each other: do they lie on top of each other, and are they as bright?

Products of different processing can be shifted by up to a pixel (before baseline 03.00 there was no geometric refinement) and
differ by an offset of 1000. Both are measured on the Sentinel-2 composites: the shift by phase correlation of the near infrared in
squares of 256 px, the level as the median difference of each band where both years are clear. The ground changes between years,
so these are checks for gross errors, not calibrations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.core.raster import opened, strips
from smallmines.sensors.fetched import provider_in

SQUARE = 256
"""Side of the squares in px."""

SQUARES = 64
"""At most so many squares of a block are correlated."""

CLEAR_SHARE = 0.8
"""Least share of a square that is clear in both years."""

SIGNIFICANT = 3.0
"""Least ratio of the correlation's peak to the largest value away from it."""

MOST_SHIFT = 0.5
"""Pixels of shift that years of different providers may have."""

MOST_LEVEL = 500.0
"""Digital numbers that the median of any band may differ by, between years of different providers."""


def compare_years(
    years: Sequence[str],
    images: Sequence[str | Path],
    clear_paths: Sequence[str | Path],
    fetched: Sequence[str | Path],
    output: str | Path,
) -> None:
    """Write shift and level of each pair of successive years of a block.

    Args:
        images: `s2.tif` of each year.
        clear_paths: `clear.tif` of each year.
        fetched: `fetched/<year>/<block>/s2.json` of each year; says where the pixels come from.
        output: JSON: [{"years", "providers", "shift_px": {"x", "y"} or None, "squares", "level_dn": {band: difference} or None}].

    Raises:
        UserError: years of different providers are shifted or differ in level by more than a gross error's worth.
    """
    providers = [provider_in(path) for path in fetched]
    pairs = []
    for first, second in pairwise(range(len(years))):
        with opened(images[first]) as a, opened(images[second]) as b, opened(clear_paths[first]) as c, opened(clear_paths[second]) as d:
            shifts = [found for window in squares(a.shape) if (found := _shift_in((a, b), (c, d), window)) is not None]
            level = _level((a, b), (c, d))
        middle = np.median(np.array(shifts), axis=0).round(3).tolist() if shifts else None
        told = {
            "years": [years[first], years[second]],
            "providers": [providers[first], providers[second]],
            "shift_px": None if middle is None else {"x": middle[1], "y": middle[0]},
            "squares": len(shifts),
            "level_dn": level,
        }
        pairs.append(told)
        logger.info("%s and %s: shift %s px in %d squares, level %s", years[first], years[second], told["shift_px"], len(shifts), level)
    write_json(output, pairs)
    for told in pairs:
        _require_alike(told)


def _require_alike(told: dict[str, Any]) -> None:
    shift, level = told["shift_px"], told["level_dn"]
    away = max(abs(shift["x"]), abs(shift["y"])) if shift else 0.0
    apart = max(abs(value) for value in level.values()) if level else 0.0
    if away <= MOST_SHIFT and apart <= MOST_LEVEL:
        return
    text = f"shift {shift} px, level {level} DN"
    if told["providers"][0] == told["providers"][1]:
        logger.warning("%s and %s differ: %s", *told["years"], text)
        return
    raise UserError(
        f"Sentinel-2 of {' and '.join(told['years'])}, of {' and '.join(told['providers'])}, within {MOST_SHIFT} px and {MOST_LEVEL:g} DN",
        text,
        "take both years from one provider; the shift cannot be corrected here",
    )


def squares(shape: tuple[int, int]) -> Iterator[Window]:
    """At most `SQUARES` squares spread over a raster (one smaller one where it is smaller)."""
    height, width = shape
    tops, lefts = (range(0, max(1, size - SQUARE + 1), SQUARE) for size in shape)
    every = [(top, left) for top in tops for left in lefts]
    for top, left in every[:: -(-len(every) // SQUARES)]:
        yield Window(left, top, min(SQUARE, width), min(SQUARE, height))


Pair = tuple[rasterio.DatasetReader, rasterio.DatasetReader]


def _shift_in(images: Pair, clear_of_both: Pair, window: Window) -> tuple[float, float] | None:
    clear = np.logical_and(*(one.read(1, window=window) > 0 for one in clear_of_both))
    if clear.mean() < CLEAR_SHARE:
        return None
    band = S2_BANDS.index("B08") + 1
    values = [one.read(band, window=window).astype(np.float64) for one in images]
    return shift_of(*(np.where(clear, one - one[clear].mean(), 0.0) for one in values))


def shift_of(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float] | None:
    """By how many pixels (rows, columns) `second` lies below and right of `first`; None where the correlation has no clear peak.

    Phase correlation (Kuglin & Hines 1975), windowed, frequencies above half of Nyquist's left out; the peak to a part of a
    pixel by parabolas.
    """
    height, width = first.shape
    taper = np.outer(np.hanning(height), np.hanning(width))
    cross = np.conj(np.fft.fft2(first * taper)) * np.fft.fft2(second * taper)
    rows, cols = np.fft.fftfreq(height), np.fft.fftfreq(width)
    low = np.exp(-((rows[:, None] ** 2 + cols[None] ** 2) / (2 * 0.15**2)))
    size = np.abs(cross)
    surface = np.real(np.fft.ifft2(np.where(size > 0, cross / np.maximum(size, 1e-12), 0) * low))
    top, left = np.unravel_index(int(surface.argmax()), surface.shape)
    peak = surface[top, left]
    away = surface.copy()
    near = np.ix_(np.arange(top - 6, top + 7) % height, np.arange(left - 6, left + 7) % width)
    away[near] = -np.inf
    if peak <= 0 or peak < SIGNIFICANT * away.max():
        return None
    found = []
    for at, line in ((int(top), surface[:, left]), (int(left), surface[top])):
        before, here, after = (float(line[(at + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * here + after
        part = 0.0 if bend == 0 else 0.5 * (before - after) / bend
        found.append((at if at <= len(line) // 2 else at - len(line)) + part)
    return found[0], found[1]


def _level(images: Pair, clear_of_both: Pair) -> dict[str, float] | None:
    """The median of second − first by band, from every fourth row and column that is clear in both; None without such pixels."""
    parts = []
    for strip in strips(tuple(images[0].shape)):
        clear = np.logical_and(*(one.read(1, window=strip)[::4, ::4] > 0 for one in clear_of_both))
        first, second = (one.read(window=strip)[:, ::4, ::4].astype(np.int32) for one in images)
        parts.append((second - first)[:, clear])
    apart = np.concatenate(parts, axis=1)
    return dict(zip(S2_BANDS, np.median(apart, axis=1).tolist(), strict=True)) if apart.shape[1] else None
