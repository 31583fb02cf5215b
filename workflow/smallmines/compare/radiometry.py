"""Tell the offset of Sentinel-2 in released patches, and put a difference of it into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import OFFSET, S2_BANDS
from smallmines.sensors.dark_pixels import QUANTILE, levels_of, offset_of_images

OFFSET_SLACK = 150.0
"""DN by which the biases of the ten bands may differ from ±1000 and still be explained by the offset of the radiometry."""


LEVELS = ("darkest", "dark_level", "green_level")
"""Levels of an image in DN that show the offset: smallest 0.1-percentile of the ten bands, and see `levels_of`."""


def levels_of_image(s2: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the levels of an image, see `LEVELS`; None without pixels that have all bands.

    Args:
        s2: (10, row, column) DN, NaN = no data.
    """
    pixels = s2[:, np.isfinite(s2).all(axis=0)]
    if not pixels.size:
        return None
    return (float(np.quantile(pixels, QUANTILE, axis=1, method="lower").min()), *levels_of(pixels))


def offset_of_levels(levels: NDArray[np.float64]) -> int | None:
    """Return the one offset of many images, (image, `LEVELS`) with NaN in the images without pixels; None: undecided."""
    minima, targets, vegetation = levels[np.isfinite(levels[:, 0])].T
    return offset_of_images(minima, targets, vegetation) if len(minima) else None


def levels_in_words(levels: NDArray[np.float64]) -> str:
    """Return the offset of images (image, `LEVELS`) and what shows it, in words."""
    offset = offset_of_levels(levels)
    what = "bright ground alone" if offset is None else f"{offset} DN"
    what += ", the offset was added several times" if offset and offset > OFFSET else ""
    seen = [f"darkest 0.1-percentile of the ten bands {np.min(levels[:, 0]):.0f}"]
    for name, values in zip(("dark ground", "vegetation"), levels[:, 1:].T, strict=True):
        seen += [f"{name} at {np.nanmedian(values):.0f}"] if np.isfinite(values).any() else []
    return f"{what} ({', '.join(seen)})"


def offset_between(bands: Mapping[str, Mapping[str, Any]]) -> int:
    """Return by how many times 1000 DN all ten of our bands are higher (negative: lower), 0 where it is not the offset that differs.

    Args:
        bands: as `pooled` returns them.
    """
    biases = [bands[name]["bias"] for name in S2_BANDS]
    if None in biases:
        return 0
    offset = OFFSET * round(float(np.median(biases)) / OFFSET)
    return offset if all(abs(bias - offset) < OFFSET_SLACK for bias in biases) else 0


def offsets_in_words(difference: int, offsets: Mapping[str, int | None]) -> str:
    """Say which side has which offset, for a difference of `offset_between` that is not 0.

    Args:
        offsets: of `ours` and `published`, by their pixels; None: undecided.
    """
    ours, published = offsets["ours"], offsets["published"]
    if ours is not None and published is not None and ours - published == difference:
        if {ours, published} == {0, OFFSET}:
            return f"only {'ours' if ours else 'the published'} carry the +1000 offset of the digital numbers (sentinel2.radiometry)"
        return f"ours have an offset of {ours} DN, the published of {published}: it was added more than once"
    higher = "ours" if difference > 0 else "the published"
    if abs(difference) == OFFSET:
        return (
            f"only {higher} carry the +1000 offset of the digital numbers (sentinel2.radiometry), or {higher} carry it twice: "
            "the pixels do not tell which"
        )
    return f"{higher} are {abs(difference)} DN higher in all bands of Sentinel-2: an offset was added more than once"
