"""Decide from pixels whether Sentinel-2 digital numbers carry the +1000 offset, with and without a scene classification.

Water, shadow and closed vegetation are dark in some band everywhere on Earth: without the offset below DN 500. They are recognised by
differences between bands, which a common offset does not change. What their darkest band holds is then the offset plus a small number.
Ground without them (desert, snow, cloud) decides nothing, unless it is too dark for an offset.

Measured on 121 real images without the offset (118 dates of one place in Flanders, and one image each of savanna, rain forest and snow),
as they are and with 1000 and 2000 added: no image is decided wrongly, with or without its scene classification. Of the 58 dates with
less than half cloud, all are decided without the offset, and 51 (53 with the scene classification) with it. The classes of dark ground
alone decide 28 of them with the offset, none without a scene classification, and one overcast date wrongly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import OFFSET, PROVES_NONE, S2_BANDS, SUGGESTS_OFFSET
from smallmines.sensors.scl import BRIGHT_CLASSES, DARK_CLASSES, VEGETATION, is_class

DARK_RANGE = 500
"""Dark targets have less than this in their darkest band, without offset: in half of the real images up to 270, in 95 % up to 730.
Where haze lifts them beyond, they decide nothing."""

QUANTILE = 0.001
"""The percentile that is compared, as a share; also the minimum share of dark targets."""

LEAST_TARGETS = 10
"""Minimum number of pixels of dark targets."""

TARGET_QUANTILE = 0.05
"""The quantile of the dark targets' darkest bands that is their level: low, since some bright pixels are taken for targets."""

WATER_SWIR, WATER_GREEN, WATER_BRIGHT, WATER_NEAR = 60, 100, 1500, 50
"""DN. On water B11 and B12 are alike, B03 is above B11, no band is far above B11 (on snow some are), B8A is not above B04."""

SHADOW_RANGE = 300
"""DN. Greatest difference between the bands of a shadow; bright surfaces differ in proportion to their brightness."""

CANOPY = 3500
"""DN. Least difference of B08 and B04 over closed vegetation. Thin cloud shrinks it: from 3000 on, three overcast dates are decided
wrongly, from 3500 on none."""

CANOPY_CLASSIFIED = 2500
"""DN. The same where the scene classification says vegetation, and so no cloud."""

VEGETATED = 2000
"""DN. Least difference of B08 and B04 over vegetation, which many images of a data set show, if none of the targets above."""

VEGETATION_RANGE = 700
"""Median over images of the level of vegetation without offset, at most. In clear real images the level is 50 to 800, half of them
below 270; one image decides nothing, for thin cloud adds 1000 as well."""

LEAST_IMAGES = 5
"""Minimum number of images with vegetation whose levels are compared."""

MOST_STRAY = 0.01
"""Maximum share of images with values that are too dark for an offset, in a data set with one: broken images."""

AT_ONCE = 1 << 15
"""Number of pixels that are worked on at a time: their differences stay in the processor's cache."""

NOTHING_CLASSES = (0, 1)
"""Scene classes without a measurement: no data, saturated or defective."""

B02, B03, B04, B08, B8A, B11, B12 = (S2_BANDS.index(name) for name in ("B02", "B03", "B04", "B08", "B8A", "B11", "B12"))


@dataclass(frozen=True)
class Evidence:
    """What pixels say about the offset.

    Attributes:
        offset: 0, 1000, or 2000 and more where it was added several times; None: undecided.
        minimum: the smallest 0.1-percentile of the ten bands in DN; None without valid pixels.
        level: of the dark targets in DN; None where they are too few.
        target_share: share of the valid pixels that are dark targets, six digits.
    """

    offset: int | None
    minimum: int | None
    level: int | None
    target_share: float

    def __str__(self) -> str:
        """Return the numbers in words."""
        targets = "too few dark targets" if self.level is None else f"dark targets at {self.level}"
        return f"darkest 0.1-percentile of the ten bands {self.minimum}, {targets} ({100 * self.target_share:.2f} % of the pixels)"


class DarkPixels:
    """Histograms of digital numbers, collected strip by strip.

    DN 0 (nodata) and 1 (saturated or detector edge) do not count.

    Attributes:
        counts: by band and digital number, int64 (band, 65536).
        targets: by digital number of the darkest band, pixels of dark targets, int64 (65536).
        valid: number of valid pixels.
    """

    def __init__(self, bands: int = len(S2_BANDS)) -> None:
        """Start with empty histograms of `bands` bands."""
        self.counts = np.zeros((bands, 65536), np.int64)
        self.targets = np.zeros(65536, np.int64)
        self.valid = 0

    def add(self, dn: NDArray[np.uint16], valid: NDArray[np.bool_], scl: NDArray[np.uint8] | None = None) -> None:
        """Count the pixels of `dn` (band, row, column) that are `valid` (row, column); `scl` (row, column) are the scene classes."""
        rows = max(1, AT_ONCE // max(1, dn.shape[2]))
        for top in range(0, dn.shape[1], rows):
            part = np.s_[top : top + rows]
            pixels = dn[:, part].reshape(len(dn), -1) if valid[part].all() else dn[:, part][:, valid[part]]
            for counts, band in zip(self.counts, pixels, strict=True):
                _count(band, counts)
            self.valid += pixels.shape[1]
            targets = dark_targets(pixels, None if scl is None else scl[part][valid[part]])
            _count(pixels[:, targets].min(axis=0), self.targets)
        self.counts[:, :2] = 0

    def evidence(self) -> Evidence:
        """Decide from the histograms."""
        minimum = min((value for value in (quantile_of(counts) for counts in self.counts) if value is not None), default=None)
        number = int(self.targets.sum())
        level = quantile_of(self.targets, TARGET_QUANTILE) if number >= max(LEAST_TARGETS, QUANTILE * self.valid) else None
        return Evidence(offset_of(minimum, level), minimum, level, round(number / self.valid, 6) if self.valid else 0.0)


def _count(values: NDArray[np.uint16], counts: NDArray[np.int64]) -> None:
    """Add how often each value occurs to `counts`, up to the greatest value that does: most of the 65536 do not."""
    part = np.bincount(values)
    counts[: len(part)] += part


def dark_targets(pixels: NDArray[Any], scl: NDArray[np.uint8] | None = None) -> NDArray[np.bool_]:
    """Return which pixels are water, shadow or closed vegetation, by differences between bands that no common offset changes.

    Args:
        pixels: (band, pixel) DN of `S2_BANDS`.
        scl: (pixel) scene classes: those of dark ground count as well, clouds do not.
    """
    b02, b03, b04, b08, b8a, b11, b12 = (pixels[band].astype(np.int32) for band in (B02, B03, B04, B08, B8A, B11, B12))
    brightest, darkest = (extreme.astype(np.int32) for extreme in (pixels.max(axis=0), pixels.min(axis=0)))
    water = (np.abs(b11 - b12) <= WATER_SWIR) & (b03 - b11 >= WATER_GREEN) & (brightest - b11 <= WATER_BRIGHT) & (b8a - b04 <= WATER_NEAR)
    shadow = (brightest - darkest <= SHADOW_RANGE) & (b02 >= b12)
    hazeless = b12 >= b02
    green = b08 - b04
    targets: NDArray[np.bool_] = water | shadow | (hazeless & (green >= CANOPY))
    if scl is not None:
        targets &= ~is_class(scl, [*NOTHING_CLASSES, *BRIGHT_CLASSES])
        targets |= is_class(scl, DARK_CLASSES) | ((scl == VEGETATION) & hazeless & (green >= CANOPY_CLASSIFIED))
    return targets


def offset_of(minimum: int | None, level: int | None) -> int | None:
    """Return the offset that pixels prove; None: undecided.

    Args:
        minimum: the smallest 0.1-percentile over the ten bands. One band alone is misleading: bright soil raises B11 and B12.
        level: of dark targets; None: there are too few.

    Returns:
        0 for a minimum below 800, because no surface is darker than −2 % reflectance; n · 1000 where the level of dark targets lies
        between n · 1000 − 100 and n · 1000 + 500 and nothing is darker than that; else None.
    """
    if minimum is None or minimum < PROVES_NONE:
        return None if minimum is None else 0
    if level is None:
        return None
    offset = _offset_at(level, DARK_RANGE)
    return offset if offset and minimum >= offset - (OFFSET - SUGGESTS_OFFSET) else None


def _offset_at(level: float, width: int) -> int | None:
    """Return the multiple of 1000 that a level lies above by less than `width`, or below by at most 100; None: there is none."""
    offset = OFFSET * int((level + OFFSET - SUGGESTS_OFFSET) // OFFSET)
    return offset if level < offset + width else None


def levels_of(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return the levels of dark targets and of vegetation in an image, for `offset_of_images`; NaN where there are too few pixels.

    Args:
        pixels: (band, pixel) DN of `S2_BANDS`, of any type.
    """
    dn = pixels.astype(np.int32)
    darkest = dn.min(axis=0) if dn.size else np.array([], np.int32)
    vegetation = (dn[B08] - dn[B04] >= VEGETATED) & (dn[B12] >= dn[B02])
    least = max(LEAST_TARGETS, QUANTILE * dn.shape[1])

    def level(mask: NDArray[np.bool_]) -> float:
        return float(np.quantile(darkest[mask], TARGET_QUANTILE, method="lower")) if mask.sum() >= least else float("nan")

    return level(dark_targets(dn)) if dn.size else float("nan"), level(vegetation)


def offset_of_images(minima: NDArray[np.float64], targets: NDArray[np.float64], vegetation: NDArray[np.float64]) -> int | None:
    """Return the one offset of many images; None: undecided. An image of vegetation alone decides nothing, many of them do.

    Args:
        minima: (image) smallest 0.1-percentile of the ten bands.
        targets, vegetation: (image) see `levels_of`.
    """
    if (minima < PROVES_NONE).mean() > MOST_STRAY:
        return 0
    usable = np.isfinite(targets) & (minima >= PROVES_NONE)
    decided = Counter(
        offset
        for minimum, level in zip(minima[usable], targets[usable], strict=True)
        if (offset := offset_of(int(minimum), int(level))) is not None
    )
    if decided:
        offset, number = decided.most_common(1)[0]
        if number >= (1 - MOST_STRAY) * decided.total():
            return offset
    green = vegetation[np.isfinite(vegetation)]
    return _offset_at(float(np.median(green)), VEGETATION_RANGE) if len(green) >= LEAST_IMAGES else None


def quantile_of(histogram: NDArray[np.int64], quantile: float = QUANTILE) -> int | None:
    """Return the smallest value with at least this share of the histogram's counts at or below it; None without counts."""
    total = int(histogram.sum())
    if total == 0:
        return None
    return int(np.searchsorted(np.cumsum(histogram), max(1, int(np.ceil(quantile * total)))))
