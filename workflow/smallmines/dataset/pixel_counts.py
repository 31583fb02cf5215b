"""Count the pixels of a patch pair, in one place for `verify` and the doctor: classes, gaps, values that break the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import IMAGE_NODATA, MASK_NODATA, S1, S2


@dataclass(frozen=True)
class ImageCounts:
    """Values of an image.

    Attributes:
        valid: (band, row, column), False where a value is nodata or not finite.
        nonfinite: number of NaN and infinite values.
        partial: pixels with Sentinel-2 data in some bands only.
        fraction: share of the valid Sentinel-2 values that are not whole numbers; 0 without any.
        outside: number of valid Sentinel-2 values outside 1 to 65535.
    """

    valid: NDArray[np.bool_]
    nonfinite: int
    partial: int
    fraction: float
    outside: int


@dataclass(frozen=True)
class MaskCounts:
    """Pixels of a mask by class; `strange` are other values than 0, 1 and 255, at most five."""

    mining: int
    background: int
    unlabelled: int
    strange: tuple[int, ...]


@dataclass(frozen=True)
class PairCounts:
    """Pixels of an image and its mask.

    Attributes:
        s2_gap, s1_gap, dem_gap: pixels without data of that source in at least one band.
        unsupported: pixels with a class but without Sentinel-2 data.
        unused: pixels with Sentinel-2 data but without a class.
    """

    s2_gap: int
    s1_gap: int
    dem_gap: int
    unsupported: int
    unused: int


def count_image(image: NDArray[np.float32]) -> ImageCounts:
    """Count the values of a (band, row, column) image."""
    finite = np.isfinite(image)
    valid = finite & (image != IMAGE_NODATA)
    values = image[S2][valid[S2]]
    return ImageCounts(
        valid,
        nonfinite=int((~finite).sum()),
        partial=int((valid[S2].any(axis=0) & ~valid[S2].all(axis=0)).sum()),
        fraction=float((values != np.floor(values)).mean()) if values.size else 0.0,
        outside=int(((values < 1) | (values > 65535)).sum()),
    )


def count_mask(mask: NDArray[Any]) -> MaskCounts:
    """Count the classes of a (row, column) mask."""
    mining, background, unlabelled = (int((mask == value).sum()) for value in (1, 0, MASK_NODATA))
    return MaskCounts(mining, background, unlabelled, tuple(np.setdiff1d(mask, (0, 1, MASK_NODATA))[:5].tolist()))


def count_gaps(image: NDArray[Any]) -> tuple[int, int]:
    """Count the pixels of a (band, row, column) image without Sentinel-1 in at least one band, and those without elevation."""
    return int((image[S1] == IMAGE_NODATA).any(axis=0).sum()), int((image[-1] == IMAGE_NODATA).sum())
