"""Change between two years: classes of pixels from two masks, without the noise at the edges of mines.

Segments of two years have different outlines, so that masks of a mine that did not change differ along its edge. A difference counts as
change where some of it lies farther than a tolerance from the mines of the other year, and where it is as large as the smallest area.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.core.product import MASK_NODATA

CLASSES = ("stable_other", "new", "gone", "stable_mining")
"""Names of the classes of change; the position of a class is its value in rasters. 255: unknown in either year."""

STABLE_OTHER, NEW, GONE, STABLE_MINING = range(len(CLASSES))
UNKNOWN = MASK_NODATA

COLOURS = {
    STABLE_OTHER: (244, 241, 234, 255),
    NEW: (230, 64, 13, 255),
    GONE: (26, 153, 230, 255),
    STABLE_MINING: (140, 86, 75, 255),
}
"""Colours of the classes (red, green, blue, alpha): new orange, gone blue, stable mining brown."""

TOLERANCE_OF_A_TILE = 1
"""Tolerance in pixels of the loaders, which compute the change within a tile, see `change_classes`."""

SIDE = 2048
"""Side of the windows in pixels in which change is computed."""

NEIGHBOURS = np.ones((3, 3), bool)
"""A pixel and its eight neighbours."""


def seen(mask: NDArray[np.uint8], clear: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask that is 255, too, where Sentinel-2 saw no ground (clear is 0) and nobody decided that it is a mine.

    Masks are 0 there, see `labels.mask.make_mask`, which would make mines under a cloud new or gone.
    """
    return np.where((clear == 0) & (mask == 0), np.uint8(UNKNOWN), mask)


def change_classes(first: NDArray[np.uint8], last: NDArray[np.uint8], tolerance: int, smallest: int) -> NDArray[np.uint8]:
    """Return the class of change of each pixel (row, column): values of `CLASSES`, 255 unknown.

    A difference that does not count takes the class of the mine that it lies at: stable mining within the tolerance of one that both years
    have, else stable other.

    Args:
        first, last: masks of the two years: 1 mining, 0 not, 255 unknown.
        tolerance: distance in pixels (the larger of rows and columns) up to which two outlines of a mine may differ.
        smallest: pixels of the smallest area of change, connected by edges or corners.
    """
    unknown = (first > 1) | (last > 1)
    before, after = (first == 1) & ~unknown, (last == 1) & ~unknown
    stable = before & after
    # edges of a mine that lies partly in land that the other year does not know are edges, too
    new = counted(after & ~before, first == 1, tolerance, smallest)
    gone = counted(before & ~after, last == 1, tolerance, smallest)
    noise = (before ^ after) & ~new & ~gone
    result = np.full(first.shape, STABLE_OTHER, np.uint8)
    result[stable | (noise & grown(stable, max(tolerance, 1)))] = STABLE_MINING
    result[new], result[gone], result[unknown] = NEW, GONE, UNKNOWN
    return result


def counted(difference: NDArray[np.bool_], other: NDArray[np.bool_], tolerance: int, smallest: int) -> NDArray[np.bool_]:
    """Return the pixels of a difference that count as change.

    Args:
        difference: mining in one year only.
        other: mining in the other year.
        tolerance, smallest: see `change_classes`.
    """
    from scipy.ndimage import label

    core = difference & ~grown(other, tolerance)
    kept = difference & grown(core, tolerance)
    if smallest > 1:
        areas, number = label(kept, NEIGHBOURS)
        kept &= (np.bincount(areas.ravel(), minlength=number + 1) >= smallest)[areas]
    return np.asarray(kept, bool)


def grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return the pixels within a distance of a mask, in pixels, the larger of rows and columns."""
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(mask, 2 * pixels + 1, mode="constant"), bool) if pixels else mask


def halo(tolerance: int, smallest: int) -> int:
    """Return the pixels around a window that its classes can depend on.

    Of an area that reaches farther, `smallest` connected pixels lie within.
    """
    return smallest + 3 * tolerance + 1


def windows(shape: tuple[int, int], margin: int, side: int = SIDE) -> Iterator[tuple[Window, Window, tuple[slice, slice]]]:
    """Yield windows that cover a raster, each with the window to read, `margin` pixels larger, and its place in that one."""
    height, width = shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows, cols = min(side, height - top), min(side, width - left)
            above, before = min(margin, top), min(margin, left)
            read = Window(
                left - before,
                top - above,
                min(width, left + cols + margin) - left + before,
                min(height, top + rows + margin) - top + above,
            )
            yield Window(left, top, cols, rows), read, (slice(above, above + rows), slice(before, before + cols))
