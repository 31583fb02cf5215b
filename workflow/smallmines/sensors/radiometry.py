"""The radiometry of Sentinel-2 L2A: whether an item carries the +1000 offset, conversion, and a check against dark pixels.

Since processing baseline 04.00 the digital numbers are DN = 10000 · reflectance + 1000 (`BOA_ADD_OFFSET` −1000 in the product's
metadata), before it DN = 10000 · reflectance. Whether an item has the offset follows from its baseline, never from its date, because
archives are reprocessed. 0 is nodata in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.sensors.scl import DARK_CLASSES

Radiometry = Literal["dn_plus1000", "dn_harmonised", "native"]
"""Radiometry of the composites: with the +1000 offset, without it, or as delivered."""

OFFSET = 1000
"""Digital numbers that are added to 10000 · reflectance."""

FIRST_BASELINE_WITH_OFFSET = 400
"""Baseline 04.00."""

PUBLISHED_BASELINES = range(100, 600)
"""Baselines of ESA's products up to 05.xx, for which the rule is known. 99.99 is a product of somebody's own Sen2Cor, with or without
the offset; a baseline to come may have another offset. Both need the product's metadata."""

PROVES_NONE = 800
"""A darkest percentile below this proves that there is no offset: no surface is darker than −2 % reflectance."""

SUGGESTS_OFFSET = 900
"""A darkest percentile from this value on means that there is an offset, if there are dark pixels."""

QUANTILE = 0.001
"""The percentile that is compared, as a share."""

_PRODUCT = re.compile(r"_N(\d{4})(?=_|$)")


def read_metadata(xml: str) -> tuple[int | None, list[int] | None]:
    """Return baseline and offsets of all bands from a product's MTD_MSIL2A.xml; both None where it states no baseline.

    Published products before baseline 04.00 have no offsets (`BOA_ADD_OFFSET`): the list is empty. The offsets are None where the file
    lacks them though products of its baseline have them.
    """
    from xml.etree import ElementTree

    try:
        tree = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None, None

    def texts(name: str) -> list[str]:
        return [(element.text or "").strip() for element in tree.iter() if element.tag.rpartition("}")[2] == name]

    baseline = re.fullmatch(r"(\d{2})\.(\d{2})", (texts("PROCESSING_BASELINE") or [""])[0])
    if not baseline:
        return None, None
    number = int(baseline[1] + baseline[2])
    offsets = [int(float(text)) for text in texts("BOA_ADD_OFFSET")]
    before = number in PUBLISHED_BASELINES and not has_offset(number)
    return number, offsets if offsets or before else None


def declared_offset(item: str, offsets: Sequence[int]) -> bool:
    """Return whether a product's metadata declare the +1000 offset.

    Raises:
        UserError: they declare another offset, or not the same for all bands.
    """
    if set(offsets) - {0, -OFFSET} or len(set(offsets)) > 1:
        raise UserError(
            f"one BOA_ADD_OFFSET of 0 or −{OFFSET} for all bands of {item}",
            f"{sorted(set(offsets))} in its MTD_MSIL2A.xml",
            "leave the item out: no rule is known for it",
        )
    return -OFFSET in offsets


def baseline_of(identifier: str, properties: Mapping[str, Any], places: Sequence[str], href: str = "") -> int | None:
    """Return the processing baseline as an integer (05.00 → 500) from the first of `places` that states one; None without any.

    Args:
        identifier: id of the item.
        properties: properties of the item.
        places: see `Provider.baseline`; `metadata` is ignored, see `read_metadata`.
        href: of one of the item's files, for the place `href`.
    """
    for place in places:
        if place == "product":
            for text in (str(properties.get("s2:product_uri") or "").removesuffix(".SAFE"), identifier):
                if match := _PRODUCT.search(text):
                    return int(match[1])
        elif place == "href":
            if match := _PRODUCT.search(href.split("?")[0].replace(".SAFE", "_")):
                return int(match[1])
        elif match := re.fullmatch(r"(\d{2})\.?(\d{2})", str(properties.get(place) or "")):
            return int(match[1] + match[2])
    return None


def has_offset(baseline: int) -> bool:
    """Return whether digital numbers of this baseline carry the +1000 offset."""
    return baseline >= FIRST_BASELINE_WITH_OFFSET


def to_radiometry(dn: NDArray[np.uint16], offset_present: bool, radiometry: Radiometry) -> NDArray[np.uint16]:
    """Convert digital numbers, of any shape; nodata 0 stays 0, and no value becomes 0 or wraps around.

    Args:
        dn: uint16, 0 = nodata.
        offset_present: whether `dn` carries the +1000.
        radiometry: of the result; `native` returns `dn`.

    Returns:
        uint16: `dn` itself if no conversion is needed, else min(dn + 1000, 65535) or max(dn − 1000, 1).
    """
    if radiometry == "native" or offset_present == (radiometry == "dn_plus1000"):
        return dn
    if offset_present:
        shifted = np.where(dn > OFFSET, dn - np.uint16(OFFSET), np.uint16(1))
    else:
        shifted = np.minimum(dn, np.uint16(65535 - OFFSET)) + np.uint16(OFFSET)
    return np.where(dn == 0, np.uint16(0), shifted).astype(np.uint16)


def require_one_offset(offsets: Mapping[str, bool]) -> None:
    """Check, for `native`, that either all items have the offset or none has.

    Args:
        offsets: by item, whether it has the offset.

    Raises:
        UserError: some have it; lists both kinds.
    """
    if len(set(offsets.values())) > 1:
        kinds = {flag: ", ".join(sorted(name for name, has_it in offsets.items() if has_it == flag)) for flag in (True, False)}
        raise UserError(
            "items of one radiometry for sentinel2.radiometry native",
            f"with the +1000 offset: {kinds[True]}; without: {kinds[False]}",
            "set sentinel2.radiometry to dn_plus1000 or dn_harmonised",
        )


def quantile_of(histogram: NDArray[np.int64], quantile: float = QUANTILE) -> int | None:
    """Return the smallest value with at least this share of the histogram's counts at or below it; None without counts."""
    total = int(histogram.sum())
    if total == 0:
        return None
    return int(np.searchsorted(np.cumsum(histogram), max(1, int(np.ceil(quantile * total)))))


class DarkPixels:
    """Histograms of an item's digital numbers as delivered, collected strip by strip.

    DN 0 (nodata) and 1 (saturated or detector edge) do not count.

    Attributes:
        counts: by band and digital number, int64 (band, 65536).
        valid: number of valid pixels.
        dark: number of valid pixels of the dark classes.
    """

    def __init__(self, bands: int) -> None:
        """Start with empty histograms of `bands` bands."""
        self.counts = np.zeros((bands, 65536), np.int64)
        self.valid = 0
        self.dark = 0

    def add(self, dn: NDArray[np.uint16], valid: NDArray[np.bool_], scl: NDArray[np.uint8] | None) -> None:
        """Count the pixels of `dn` (band, row, column) that are `valid` (row, column), and those of the dark classes by `scl`."""
        for counts, band in zip(self.counts, dn, strict=True):
            counts += np.bincount(band[valid], minlength=65536)
        self.counts[:, :2] = 0
        self.valid += int(valid.sum())
        if scl is not None:
            self.dark += int((np.isin(scl, DARK_CLASSES) & valid).sum())

    @property
    def minimum(self) -> int | None:
        """The smallest 0.1-percentile of the bands; None without valid pixels."""
        percentiles = [value for value in (quantile_of(counts) for counts in self.counts) if value is not None]
        return min(percentiles) if percentiles else None

    @property
    def dark_present(self) -> bool:
        """Whether the dark classes hold enough pixels to contain the percentile."""
        return self.dark > 0 and self.dark >= QUANTILE * self.valid


def verdict(minimum: int | None, dark_present: bool) -> Literal["none", "offset", "undecided"]:
    """Decide from the pixels whether the +1000 offset is present.

    Args:
        minimum: the smallest 0.1-percentile over the ten bands. One band alone is misleading: bright soil raises B11 and B12.
        dark_present: whether there are dark pixels.

    Returns:
        `none` below 800, because no surface is darker than −2 % reflectance; `offset` from 900 on if there are dark pixels; else
        `undecided`.
    """
    if minimum is not None and minimum < PROVES_NONE:
        return "none"
    if minimum is not None and minimum >= SUGGESTS_OFFSET and dark_present:
        return "offset"
    return "undecided"


def check_offset(item: str, baseline: int, declared: bool, pixels: DarkPixels) -> dict[str, Any]:
    """Check an item's declared offset against its pixels; warn if they do not decide.

    Args:
        item: id of the item.
        baseline: processing baseline as an integer.
        declared: whether the offset is declared.
        pixels: histograms of the item.

    Returns:
        For the stats: verdict, minimum, share of dark pixels.

    Raises:
        UserError: declaration and pixels contradict each other.
    """
    minimum = pixels.minimum
    decision = verdict(minimum, pixels.dark_present)
    text = f"{item}: baseline {baseline / 100:05.2f}, darkest 0.1-percentile of the ten bands {minimum}"
    if decision == "undecided":
        if pixels.valid:
            logger.warning("%s: the pixels cannot confirm whether the +1000 offset is there", text)
    elif (decision == "offset") != declared:
        raise UserError(
            f"digital numbers {'with' if declared else 'without'} the +1000 offset, as baseline {baseline / 100:05.2f} of {item} says",
            f"a darkest 0.1-percentile of {minimum} over the ten bands, which means {'no offset' if decision == 'none' else 'an offset'} "
            f"(below {PROVES_NONE}: none; from {SUGGESTS_OFFSET} on, with dark pixels: offset)",
            "find out which is true: the item's metadata or pixels were altered on their way; leave the item out of the catalogue",
        )
    share = round(pixels.dark / pixels.valid, 6) if pixels.valid else 0.0
    return {"verdict": decision, "minimum": minimum, "dark_share": share}
