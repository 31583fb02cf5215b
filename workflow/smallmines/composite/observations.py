"""Observations of Sentinel-2 and how they become a composite, pixel by pixel.

A pixel comes from the first datatake by rank that sees it clearly, or is the median of the clear observations. A pixel that is never
clear keeps its best observation or becomes nodata. The best is one that is only near a cloud before one in a cloud, then the first by
rank. Where tiles of a datatake overlap, the first tile with data wins.

A pixel is clear if its scene class is not masked and no cloud (classes 3, 8, 9, 10 where they are masked) lies within the dilation
radius. Clouds that hold no disk of the opening radius are not dilated: on bright tailings the classification sees specks of cloud on
every date, and with a margin around each of them the mines would never be clear.

Thin cloud that the scene classification misses is hazy against the other dates; such an observation does not count as clear, see
`sensors/haze.py`.

Bright tailings and roofs can be classified as cloud on every date. A pixel that is never clear counts as clear if two dates agree on
it, see `confirmed_by_another_date`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from smallmines.composite.seams import SEVERAL
from smallmines.core.morphology import dilated
from smallmines.core.product import S2_BANDS
from smallmines.sensors.haze import BANDS as HAZE_BANDS
from smallmines.sensors.haze import hazy
from smallmines.sensors.scl import BRIGHT_CLASSES, CLOUD_CLASSES, clear_mask, is_class

NONE, CLOUDY, NEAR, CLEAR = 0, 1, 2, 3
"""Grades of an observation, the best last: no data, of a masked class, near a cloud, clear."""

KEPT = 2
"""Value in `clear.tif` of a pixel that counts as clear because it is stable; 1 is clear, 0 is not."""

SOIL_RATIO = 1.5
"""Minimum ratio of B11 to B02 of ground that is classified as cloud. In a series of 118 dates over Flanders 99.8 % of bare soil and
0.3 % of high-probability cloud exceed it."""

STABLE_DN = 60
"""Digital numbers by which two observations may differ in addition to the relative tolerance: noise and thin haze."""


@dataclass(frozen=True)
class Surface:
    """The observation of a strip by one datatake, or a composite of several.

    Attributes:
        dn: uint16 (band, row, column) in the radiometry of the composite, 0 = nodata in all bands.
        source: uint8 (row, column), index of the scene, 0 = none.
        grade: uint8 (row, column), see `NONE`.
        bright: (row, column) True where the scene class is one that bright ground is mistaken for.
    """

    dn: NDArray[np.uint16]
    source: NDArray[np.uint8]
    grade: NDArray[np.uint8]
    bright: NDArray[np.bool_]


def first_clear(takes: Iterable[Surface], unclear: str) -> Surface:
    """Return the first clear observation by rank.

    Where none is clear: the first of the best grade if `unclear` is `keep`, nodata if it is `nodata`.
    """
    result: Surface | None = None
    for take in takes:
        if result is None:
            result = Surface(np.zeros_like(take.dn), np.zeros_like(take.source), np.zeros_like(take.grade), np.zeros_like(take.bright))
        better = take.grade > result.grade
        if unclear == "nodata":
            better &= take.grade == CLEAR
        for kept, new in ((result.dn, take.dn), (result.source, take.source), (result.grade, take.grade)):
            np.copyto(kept, new, where=better)
    assert result is not None
    return result


def median(takes: Iterable[Surface], unclear: str) -> Surface:
    """Return the median of the clear observations, band by band; of an even number the lower of the two in the middle.

    With the lower one every value is a measured one, and of two observations it is the less hazy one. Pixels with fewer than two clear
    observations are as in `first_clear`.
    """
    surfaces = list(takes)
    result = first_clear(surfaces, unclear)
    count = np.sum([take.grade == CLEAR for take in surfaces], axis=0)
    several = count > 1
    if several.any():
        middle = (count[several] - 1) // 2
        for band, target in enumerate(result.dn):
            values = np.stack([np.where(take.grade == CLEAR, take.dn[band], np.uint16(65535))[several] for take in surfaces])
            values.sort(axis=0)
            target[several] = np.take_along_axis(values, middle[np.newaxis], axis=0)[0]
        result.source[several] = SEVERAL
    return result


def accept_stable(done: Surface, takes: Sequence[Surface], tolerance: float, offset: int) -> NDArray[np.bool_]:
    """Accept pixels that are never clear but stable: set them to clear, in place, with the stable observation of the best rank.

    Args:
        done: the composite; changed in place.
        takes: the datatakes in rank order.
        tolerance: relative difference within which observations agree; 0: no pixel is stable.
        offset: of the digital numbers.

    Returns:
        (row, column) True where a pixel was set.
    """
    kept = np.zeros(done.grade.shape, bool)
    if tolerance == 0 or len(takes) < 2:
        return kept
    never = np.max([take.grade for take in takes], axis=0) < CLEAR
    row, col = np.nonzero(never & (np.sum([take.grade > NONE for take in takes], axis=0) > 1))
    dn = np.stack([take.dn[:, row, col] for take in takes]).astype(np.int32) - offset
    near = np.stack([take.grade[row, col] == NEAR for take in takes])
    bright = np.stack([take.bright[row, col] & (take.grade[row, col] > NONE) for take in takes])
    best = confirmed_by_another_date(dn, near, bright, tolerance)
    for rank, take in enumerate(takes):
        y, x = row[best == rank], col[best == rank]
        done.dn[:, y, x], done.source[y, x], done.grade[y, x] = take.dn[:, y, x], take.source[y, x], CLEAR
        kept[y, x] = True
    return kept


def confirmed_by_another_date(
    dn: NDArray[np.int32], near: NDArray[np.bool_], bright: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int64]:
    """Return the index of the first observation of each pixel that another date confirms, −1 where none is confirmed.

    Two observations confirm each other if no band differs by more than `tolerance` of the smaller one plus `STABLE_DN`, and if both
    may show the ground: they are near a cloud, or are classified as cloud but much brighter in B11 than in B02. Soil and roofs are;
    cloud is not, because water and ice absorb in the short-wave infrared. Agreement alone is not enough, because two thick clouds look
    alike. Cloud shadow confirms nothing.

    Args:
        dn: (datatake, band, pixel) without offset.
        near, bright: (datatake, pixel) True where the observation is near a cloud; is classified as cloud.
        tolerance: relative difference within which observations agree.
    """
    soil = dn[:, S2_BANDS.index("B11")] > SOIL_RATIO * dn[:, S2_BANDS.index("B02")]
    usable = near | (bright & soil)
    confirmed = np.zeros(usable.shape, bool)
    for first, second in combinations(range(len(dn)), 2):
        both = np.flatnonzero(usable[first] & usable[second])
        a, b = dn[first][:, both], dn[second][:, both]
        agree = (np.abs(a - b) <= tolerance * np.minimum(a, b) + STABLE_DN).all(axis=0)
        confirmed[np.ix_((first, second), both[agree])] = True
    return np.where(confirmed.any(axis=0), confirmed.argmax(axis=0), -1)


def without_haze(takes: Sequence[Surface], offset: int) -> tuple[list[Surface], NDArray[np.bool_]]:
    """Return the datatakes with hazy observations graded as near a cloud, and which ones these are, (datatake, row, column).

    Args:
        takes: the datatakes of a strip.
        offset: of the digital numbers.
    """
    bands = {band: np.stack([take.dn[S2_BANDS.index(band)] for take in takes]).astype(np.int32) - np.int32(offset) for band in HAZE_BANDS}
    are_hazy = hazy(bands, np.stack([take.grade == CLEAR for take in takes]))
    graded = [replace(take, grade=np.where(is_hazy, np.uint8(NEAR), take.grade)) for take, is_hazy in zip(takes, are_hazy, strict=True)]
    return graded, are_hazy


def near_cloud(classes: NDArray[np.uint8], masked: Sequence[int], dilation: int, opening: int) -> NDArray[np.bool_]:
    """Return the pixels within `dilation` px (Euclidean) of a masked cloud or shadow that holds a disk of radius `opening` px.

    Args:
        classes: scene classes with a margin of dilation + 2 · opening px, in which the result is not exact.
        masked: scene classes that are masked; only those among `CLOUD_CLASSES` count.
        dilation, opening: in px.
    """
    core = is_class(classes, [cloud_class for cloud_class in CLOUD_CLASSES if cloud_class in masked])
    if opening and core.any():
        core = ~dilated(~core, opening)
    return dilated(core, dilation + opening) if core.any() else core


def mosaic(
    parts: Sequence[tuple[int, NDArray[np.uint16], NDArray[np.bool_]]],
    scl: Sequence[NDArray[np.uint8]] | None,
    masked: Sequence[int],
    reach: tuple[int, int, int] = (0, 0, 0),
) -> Surface:
    """Merge the items of a datatake; the first one with data wins.

    Args:
        parts: per item the index of the scene, uint16 (band, row, column) and where it is valid.
        scl: per item the scene classes with the margin on each side; None: every valid pixel is clear.
        masked: scene classes that are masked.
        reach: dilation, opening and margin in px, see `cloud_reach`.
    """
    index, dn, valid = parts[0]
    result, source = np.where(valid, dn, np.uint16(0)), np.where(valid, index, 0).astype(np.uint8)
    for index, dn, valid in parts[1:]:
        fresh = valid & (source == 0)
        np.copyto(result, dn, where=fresh)
        source[fresh] = index
    if scl is None:
        return Surface(result, source, np.where(source > 0, CLEAR, NONE).astype(np.uint8), np.zeros(source.shape, bool))
    height, width = source.shape
    dilation, opening, margin = reach
    inner = np.s_[margin : margin + height, margin : margin + width]
    classes = scl[0].copy()
    clear, bright = np.zeros_like(valid), np.zeros_like(valid)
    for (index, _, _), item_classes in zip(parts, scl, strict=True):
        np.copyto(classes, item_classes, where=classes == 0)
        clear |= (source == index) & clear_mask(item_classes[inner], masked)
        bright |= (source == index) & is_class(item_classes[inner], BRIGHT_CLASSES)
    near = near_cloud(classes, masked, dilation, opening)[inner]
    grade = np.select([source == 0, ~clear, near], [NONE, CLOUDY, NEAR], CLEAR)
    return Surface(result, source, grade.astype(np.uint8), bright)
