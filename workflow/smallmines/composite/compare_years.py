"""Check co-registration and radiometric level between the years of a block.

Products of different processing can be shifted by up to a pixel (before baseline 03.00 there was no geometric refinement) and can
differ by an offset of 1000. Both are measured on the Sentinel-2 composites: the shift by phase correlation of the near infrared in
squares of 256 px, the level as the median difference of each band where both years are clear. The ground changes between years, so
these checks find gross errors; they are no calibration.
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
from smallmines.core.phase_correlation import low_pass, peak_position, surroundings, taper
from smallmines.core.product import S2_BANDS
from smallmines.core.raster import opened, strips
from smallmines.sensors.manifest import Entry
from smallmines.sensors.manifest_files import read_list
from smallmines.sensors.radiometry import VERDICT_TAG, jump_of

SQUARE = 256
"""Side of a square in px."""

SQUARES = 64
"""Maximum number of squares of a block."""

CLEAR_SHARE = 0.8
"""Minimum share of a square that is clear in both years."""

SIGNIFICANT = 3.0
"""Minimum ratio of the correlation's peak to the largest value away from it."""

PEAK_REACH = 6
"""Rows and columns beside the peak that belong to it."""

MOST_SHIFT = 0.5
"""Maximum shift in px between years of different providers."""

MOST_LEVEL = 500.0
"""Maximum difference of the median of a band in digital numbers between years of different providers."""

STEP = 4
"""The level is measured on every 4th row and column."""


def compare_years(
    years: Sequence[str],
    images: Sequence[str | Path],
    clear_paths: Sequence[str | Path],
    fetched: Sequence[str | Path],
    output: str | Path,
) -> None:
    """Measure shift and level of each pair of successive years of a block and write them.

    Args:
        years: names of the years.
        images: `s2.tif` of each year.
        clear_paths: `clear.tif` of each year.
        fetched: `fetched/<year>/<block>/s2.json` of each year, which names the provider.
        output: JSON: [{"years", "providers", "verdicts", "shift_px": {"x", "y"} or None, "squares", "level_dn": {band: difference} or
            None}].

    Raises:
        UserError: years of different providers are shifted by more than `MOST_SHIFT` or differ by more than `MOST_LEVEL`, or years of
            which one has an unproved offset differ by it.
    """
    providers = [read_list(path, Entry).provider for path in fetched]
    comparisons = []
    for first, second in pairwise(range(len(years))):
        with opened(images[first]) as a, opened(images[second]) as b, opened(clear_paths[first]) as c, opened(clear_paths[second]) as d:
            shifts = [shift for window in squares(a.shape) if (shift := _shift_in((a, b), (c, d), window)) is not None]
            level = _level((a, b), (c, d))
            verdicts = [image.tags().get(VERDICT_TAG, "undecided") for image in (a, b)]
        median = np.median(np.array(shifts), axis=0).round(3).tolist() if shifts else None
        comparison = {
            "years": [years[first], years[second]],
            "providers": [providers[first], providers[second]],
            "verdicts": verdicts,
            "shift_px": None if median is None else {"x": median[1], "y": median[0]},
            "squares": len(shifts),
            "level_dn": level,
        }
        comparisons.append(comparison)
        shift_px = comparison["shift_px"]
        logger.info("%s and %s: shift %s px in %d squares, level %s", years[first], years[second], shift_px, len(shifts), level)
    write_json(output, comparisons)
    for comparison in comparisons:
        _check_alike(comparison)


def _check_alike(comparison: dict[str, Any]) -> None:
    """Check a comparison against the limits; warn only where both years come from one provider and their level differs by no offset."""
    shift, level = comparison["shift_px"], comparison["level_dn"]
    largest_shift = max(abs(shift["x"]), abs(shift["y"])) if shift else 0.0
    largest_difference = max(abs(value) for value in level.values()) if level else 0.0
    if largest_shift <= MOST_SHIFT and largest_difference <= MOST_LEVEL:
        return
    text = f"shift {shift} px, level {level} DN"
    years, providers = comparison["years"], comparison["providers"]
    if level and jump_of(list(level.values())) and comparison["verdicts"] != ["proved", "proved"]:
        raise UserError(
            f"one radiometric level in {' and '.join(years)}, whose offsets are {' and '.join(comparison['verdicts'])}",
            f"a difference of {np.median(list(level.values())):+.0f} DN in all ten bands, which is the offset of Sentinel-2",
            "find out in which year items have another offset than they declare (stats.json of the composites), and leave them out",
        )
    if providers[0] == providers[1]:
        logger.warning("%s and %s differ: %s", *years, text)
        return
    raise UserError(
        f"Sentinel-2 of {' and '.join(years)}, of {' and '.join(providers)}, within {MOST_SHIFT} px and {MOST_LEVEL:g} DN",
        text,
        "take both years from one provider; the shift cannot be corrected here",
    )


def squares(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield at most `SQUARES` squares spread over a raster (one smaller square where the raster is smaller)."""
    height, width = shape
    tops, lefts = (range(0, max(1, size - SQUARE + 1), SQUARE) for size in shape)
    corners = [(top, left) for top in tops for left in lefts]
    for top, left in corners[:: -(-len(corners) // SQUARES)]:
        yield Window(left, top, min(SQUARE, width), min(SQUARE, height))


Pair = tuple[rasterio.DatasetReader, rasterio.DatasetReader]


def _shift_in(images: Pair, clear_masks: Pair, window: Window) -> tuple[float, float] | None:
    """Return the shift in a square; None where too little is clear or the correlation has no clear peak."""
    clear = np.logical_and(*(mask.read(1, window=window) > 0 for mask in clear_masks))
    if clear.mean() < CLEAR_SHARE:
        return None
    band = S2_BANDS.index("B08") + 1
    pixels = [image.read(band, window=window).astype(np.float64) for image in images]
    return shift_of(*(np.where(clear, values - values[clear].mean(), 0.0) for values in pixels))


def shift_of(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return by how many pixels (rows, columns) `second` lies below and right of `first`; None if the correlation has no clear peak.

    Phase correlation with a taper and a low-pass filter; the peak to a fraction of a pixel by parabolas.
    """
    shape = first.shape
    cross = np.conj(np.fft.fft2(first * taper(shape))) * np.fft.fft2(second * taper(shape))
    size = np.abs(cross)
    phase = np.where(size > 0, cross / np.maximum(size, 1e-12), 0)
    surface = np.real(np.fft.ifft2(phase * low_pass(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]))))
    top, left = (int(index) for index in np.unravel_index(int(surface.argmax()), shape))
    peak = surface[top, left]
    away = surface.copy()
    away[surroundings(shape, top, left, PEAK_REACH)] = -np.inf
    if peak <= 0 or peak < SIGNIFICANT * away.max():
        return None
    return peak_position(surface, top, left)


def _level(images: Pair, clear_masks: Pair) -> dict[str, float] | None:
    """Return the median of second − first by band over every 4th row and column that is clear in both; None without such pixels."""
    parts = []
    for strip in strips(tuple(images[0].shape)):
        clear = np.logical_and(*(mask.read(1, window=strip)[::STEP, ::STEP] > 0 for mask in clear_masks))
        first, second = (image.read(window=strip)[:, ::STEP, ::STEP].astype(np.int32) for image in images)
        parts.append((second - first)[:, clear])
    differences = np.concatenate(parts, axis=1)
    return dict(zip(S2_BANDS, np.median(differences, axis=1).tolist(), strict=True)) if differences.shape[1] else None
