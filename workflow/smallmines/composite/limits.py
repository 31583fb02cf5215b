"""Limits for what composites deliver: beyond some the run stops, beyond others the report says so.

Every check returns findings, sentences for the statistics of the composite, which the report shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from smallmines.composite.counts import BRIGHTEST, PixelCounts
from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS

BRIGHTEST_SHARE = 0.01
"""Share of the pixels above `BRIGHTEST` from which a composite stops; fewer are a finding."""

DARKEST = 50
"""DN without offset: the brightest of the ten bands' medians is above it over any ground. The darkest median of 118 dates over Flanders is
395 in that band; clear sea has 100 and more in B02. Reflectances from 0 to 1 stored as whole numbers are below it."""

CLEAR_SHARE = 0.8
"""Share of clear pixels of a Sentinel-2 composite below which it is a finding."""

BACKSCATTER = {"VV": (-28.0, 2.0), "VH": (-35.0, -4.0)}
"""dB: medians of gamma nought over a block of land. Measured medians: VV −14.5 to −7.7, VH −21.9 to −13.3 (snow, forest, coast, savanna,
made-up hills). Noise of the sensor is −22 and lower: dry sand and calm water come near it, which is why this is only a finding."""

LEVELS = (-60.0, 40.0)
"""dB: gamma nought of single pixels. Radar shadow is noise of −35 and more, ships and roofs have up to 30. Values that stand for no data,
such as 1e-9, are outside."""

HEIGHTS = (-500.0, 9000.0)
"""m: the shore of the Dead Sea is at −430, open pits reach −300, Everest is at 8849. Undeclared nodata (−9999, −32768) is outside."""


INLAND = 20.0
"""m: where nearly all ground lies higher, heights of exactly 0 are no sea."""


def check_sentinel2(block: str, counts: PixelCounts, names: Mapping[int, str], minimum_coverage: float) -> list[str]:
    """Check the Sentinel-2 composite of a block.

    Args:
        counts: of its pixels.
        names: id of each scene by index; a pixel of an index that is not there is of several.

    Raises:
        UserError: too few pixels were observed, or the digital numbers are no reflectances.
    """
    levels = counts.levels
    if levels.pixels == 0:
        return []
    require_coverage("Sentinel-2", block, 1 - levels.seen / levels.pixels, list(names.values()), minimum_coverage)
    medians, total = levels.medians(), int(levels.scenes.sum())
    if not medians:
        return [f"Sentinel-2 of block {block} has no pixel"]
    share = int(levels.bright.sum()) / total
    brightest = max(medians.values())
    if share > BRIGHTEST_SHARE or brightest < DARKEST:
        by_scene = levels.bright if share > BRIGHTEST_SHARE else levels.scenes
        order = [index for index in np.argsort(-by_scene, kind="stable").tolist() if by_scene[index] and index in names]
        listed = [f"{names[index]} ({by_scene[index]} px)" for index in order]
        raise UserError(
            f"reflectances in the Sentinel-2 composite of block {block}: not more than {100 * BRIGHTEST_SHARE:g} % of the pixels above DN "
            f"{BRIGHTEST}, the median of some band above {DARKEST} (both without the +1000 offset)",
            f"{100 * share:.1f} % of the pixels above, band medians from {min(medians.values())} to {brightest}; "
            f"from {', '.join(listed) or ', '.join(names.values())}",
            "look at the files of these items: their values are broken; leave the items out (sentinel2.exclude_items)",
        )
    findings = []
    if share:
        findings.append(f"Sentinel-2 of block {block}: {int(levels.bright.sum())} pixels above DN {BRIGHTEST}, which are no reflectances")
    if counts.clear_share < CLEAR_SHARE:
        findings.append(f"Sentinel-2 of block {block} is clear on {100 * counts.clear_share:.1f} % of the pixels only")
    flat = [band for band, histogram in zip(S2_BANDS, levels.counts, strict=True) if (histogram > 0).sum() == 1]
    if flat:
        findings.append(f"Sentinel-2 of block {block} has one and the same value everywhere in {', '.join(flat)}")
    return findings


def check_sentinel1(block: str, decibel: NDArray[np.float32], items: Sequence[str], minimum_coverage: float) -> list[str]:
    """Check the Sentinel-1 composite of a block.

    Args:
        decibel: (VV and VH, pixel) of the block's own cells, NaN = no data.
        items: ids of the items.

    Raises:
        UserError: too few pixels have data.
    """
    valid = np.isfinite(decibel[0])
    require_coverage("Sentinel-1", block, 1 - float(valid.mean()), items, minimum_coverage)
    if not valid.any():
        return [f"Sentinel-1 of block {block} has no pixel"]
    medians = dict(zip(BACKSCATTER, np.median(decibel[:, valid], axis=1).tolist(), strict=True))
    findings = [
        f"Sentinel-1 of block {block}: the median of {band} is {medians[band]:.1f} dB; land has {low:g} to {high:g}"
        for band, (low, high) in BACKSCATTER.items()
        if not low <= medians[band] <= high
    ]
    extreme = {
        band: int(((values < LEVELS[0]) | (values > LEVELS[1])).sum()) for band, values in zip(BACKSCATTER, decibel[:, valid], strict=True)
    }
    if any(extreme.values()):
        counted = " and ".join(f"{number} pixels of {band}" for band, number in extreme.items() if number)
        findings.append(f"Sentinel-1 of block {block}: {counted} lie outside {LEVELS[0]:g} to {LEVELS[1]:g} dB, which no ground has")
    if medians["VH"] > medians["VV"]:
        findings.append(f"Sentinel-1 of block {block}: VH is above VV in the median; they may be exchanged")
    return findings


def check_elevation(block: str, heights: NDArray[np.float32], items: Sequence[str], minimum_coverage: float) -> list[str]:
    """Check the elevation of a block.

    Args:
        heights: metres of the block's own pixels, NaN = no data.
        items: ids of the tiles.

    Raises:
        UserError: too few pixels have data, or heights are impossible.
    """
    valid = heights[np.isfinite(heights)]
    require_coverage("elevation", block, 1 - valid.size / heights.size, items, minimum_coverage)
    if valid.size and not HEIGHTS[0] <= valid.min() <= valid.max() <= HEIGHTS[1]:
        raise UserError(
            f"heights from {HEIGHTS[0]:g} to {HEIGHTS[1]:g} m in block {block}",
            f"{valid.min():.0f} to {valid.max():.0f} m, from {', '.join(items)}",
            "look at the tiles: nodata that the file does not declare is read as a height; use another provider (elevation.provider)",
        )
    zero = valid == 0
    lowest = float(np.quantile(valid[~zero], 0.05)) if (~zero).any() else 0.0
    if valid.size and valid.min() == valid.max():
        return [f"Elevation of block {block} is {valid.min():g} m everywhere"]
    if zero.any() and lowest > INLAND:
        return [
            f"Elevation of block {block}: {int(zero.sum())} pixels are exactly 0 m, and 95 % of the others above {lowest:.0f} m: perhaps "
            "nodata that the tiles do not declare"
        ]
    return []


def require_coverage(sensor: str, block: str, missing: float, items: Sequence[str], minimum: float) -> None:
    """Check that a composite has data on the share `minimum` of the block's own pixels.

    Raises:
        UserError: it has not.
    """
    if 1 - missing < minimum:
        raise UserError(
            f"{sensor} data on {100 * minimum:g} % of block {block} (minimum_coverage)",
            f"{100 * missing:.1f} % of the pixels without data, inside the footprints of {', '.join(items) or 'no item'}",
            "look at the files of these items: footprints promise more than the pixels hold; leave them out (exclude_items), allow more "
            "scenes (the year's dates, max_datatakes, the orbit), or lower minimum_coverage",
        )
