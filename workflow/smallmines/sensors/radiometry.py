"""The radiometry of Sentinel-2 L2A: which items carry the +1000 offset, conversion, and a check against dark pixels.

Since processing baseline 04.00 the digital numbers are DN = 10000 · reflectance + 1000 (`BOA_ADD_OFFSET` −1000 in the
product's metadata), before it DN = 10000 · reflectance. Whether an item has the offset follows from its baseline, never
from its date: archives are reprocessed. 0 is nodata in both and stays reserved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.log import logger

Radiometry = Literal["dn_plus1000", "dn_harmonised", "native"]
OFFSET = 1000
FIRST_BASELINE_WITH_OFFSET = 400
DARK_CLASSES = (2, 3, 6)
"""Scene classes with dark pixels: dark areas, cloud shadow, water."""

PROVES_NONE = 800
SUGGESTS_OFFSET = 900
QUANTILE = 0.001

_PRODUCT = re.compile(r"_N(\d{4})(?=_|$)")


def read_metadata(xml: str) -> tuple[int | None, list[int] | None]:
    """Baseline and offsets of the ten and more bands in a product's MTD_MSIL2A.xml; None where it does not say.

    Products before baseline 04.00 name no offsets (`BOA_ADD_OFFSET`): an empty list then.
    """
    from xml.etree import ElementTree

    try:
        tree = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None, None
    texts = {name: [(one.text or "").strip() for one in tree.iter() if one.tag.rpartition("}")[2] == name] for name in _WANTED}
    found = re.fullmatch(r"(\d{2})\.(\d{2})", (texts["PROCESSING_BASELINE"] or [""])[0])
    if not found:
        return None, None
    return int(found[1] + found[2]), [int(float(text)) for text in texts["BOA_ADD_OFFSET"]]


_WANTED = ("PROCESSING_BASELINE", "BOA_ADD_OFFSET")


def declared_offset(item: str, offsets: Sequence[int]) -> bool:
    """Whether a product's metadata declare the +1000 offset.

    Raises:
        UserError: they declare another one, or not the same for all bands.
    """
    if set(offsets) - {0, -OFFSET} or len(set(offsets)) > 1:
        raise UserError(
            f"one BOA_ADD_OFFSET of 0 or −{OFFSET} for all bands of {item}",
            f"{sorted(set(offsets))} in its MTD_MSIL2A.xml",
            "leave the item out: no rule is known for it",
        )
    return -OFFSET in offsets


def baseline_of(identifier: str, properties: Mapping[str, Any], places: Sequence[str], href: str = "") -> int | None:
    """The processing baseline as an integer (05.00 → 500), from the first of `places` that has one; None without any.

    Args:
        places: see `Provider.baseline`; `metadata` is read elsewhere.
        href: of one of the item's files, for the place `href`.
    """
    for place in places:
        if place == "product":
            for text in (str(properties.get("s2:product_uri") or "").removesuffix(".SAFE"), identifier):
                if found := _PRODUCT.search(text):
                    return int(found[1])
        elif place == "href":
            if found := _PRODUCT.search(href.split("?")[0].replace(".SAFE", "_")):
                return int(found[1])
        elif found := re.fullmatch(r"(\d{2})\.?(\d{2})", str(properties.get(place) or "")):
            return int(found[1] + found[2])
    return None


def has_offset(baseline: int) -> bool:
    """Whether digital numbers of this baseline carry the +1000 offset."""
    return baseline >= FIRST_BASELINE_WITH_OFFSET


def to_radiometry(dn: NDArray[np.uint16], offset_present: bool, radiometry: Radiometry) -> NDArray[np.uint16]:
    """Convert digital numbers, of any shape; nodata 0 stays 0, and no value becomes 0 or wraps around.

    Args:
        dn: uint16, 0 = nodata.
        offset_present: whether `dn` carries the +1000.
        radiometry: the one wanted; `native` returns `dn`.

    Returns:
        uint16: `dn` itself where nothing is to do, else min(dn + 1000, 65535) or max(dn − 1000, 1).
    """
    if radiometry == "native" or offset_present == (radiometry == "dn_plus1000"):
        return dn
    if offset_present:
        shifted = np.where(dn > OFFSET, dn - np.uint16(OFFSET), np.uint16(1))
    else:
        shifted = np.minimum(dn, np.uint16(65535 - OFFSET)) + np.uint16(OFFSET)
    return np.where(dn == 0, np.uint16(0), shifted).astype(np.uint16)


def require_one_offset(offsets: Mapping[str, bool]) -> None:
    """Refuse `native` for items of which some have the offset and some have not.

    Raises:
        UserError: with both kinds named.
    """
    if len(set(offsets.values())) > 1:
        kinds = {flag: ", ".join(sorted(name for name, one in offsets.items() if one == flag)) for flag in (True, False)}
        raise UserError(
            "items of one radiometry for sentinel2.radiometry native",
            f"with the +1000 offset: {kinds[True]}; without: {kinds[False]}",
            "set sentinel2.radiometry to dn_plus1000 or dn_harmonised",
        )


def quantile_of(histogram: NDArray[np.int64], quantile: float = QUANTILE) -> int | None:
    """The smallest value with at least this share of the histogram's counts at or below it; None without counts."""
    total = int(histogram.sum())
    if total == 0:
        return None
    return int(np.searchsorted(np.cumsum(histogram), max(1, int(np.ceil(quantile * total)))))


class DarkPixels:
    """Histograms of an item's source digital numbers, collected strip by strip.

    DN 0 (nodata) and 1 (saturated or detector edge) do not count.
    """

    def __init__(self, bands: int) -> None:
        """Empty histograms of so many bands."""
        self.counts = np.zeros((bands, 65536), np.int64)
        self.valid = 0
        self.dark = 0

    def add(self, dn: NDArray[np.uint16], valid: NDArray[np.bool_], scl: NDArray[np.uint8] | None) -> None:
        """Count the pixels `valid` (row, column) of `dn` (band, row, column), and of them those of the dark classes."""
        for counts, band in zip(self.counts, dn, strict=True):
            counts += np.bincount(band[valid], minlength=65536)
        self.counts[:, :2] = 0
        self.valid += int(valid.sum())
        if scl is not None:
            self.dark += int((np.isin(scl, DARK_CLASSES) & valid).sum())

    @property
    def minimum(self) -> int | None:
        """The 0.1-percentile of each band, the smallest over the bands; None without valid pixels."""
        found = [value for value in (quantile_of(counts) for counts in self.counts) if value is not None]
        return min(found) if found else None

    @property
    def dark_present(self) -> bool:
        """Whether the dark classes hold so many pixels that the percentile lies among them."""
        return self.dark > 0 and self.dark >= QUANTILE * self.valid


def verdict(minimum: int | None, dark_present: bool) -> Literal["none", "offset", "undecided"]:
    """What the pixels say about the +1000 offset.

    Args:
        minimum: the smallest 0.1-percentile over the ten bands. One band alone misleads: bright soil lifts B11 and B12.
        dark_present: whether there are dark pixels at all.

    Returns:
        `none` below 800, for no surface is darker than −2 % reflectance; `offset` from 900 on where there are dark
        pixels; else `undecided`.
    """
    if minimum is not None and minimum < PROVES_NONE:
        return "none"
    if minimum is not None and minimum >= SUGGESTS_OFFSET and dark_present:
        return "offset"
    return "undecided"


def check_offset(item: str, baseline: int, declared: bool, pixels: DarkPixels) -> dict[str, Any]:
    """Hold an item's declared offset against its pixels.

    Returns:
        What was found, for the stats: verdict, minimum, share of dark pixels.

    Raises:
        UserError: they contradict each other, with both numbers. Undecided only warns.
    """
    minimum = pixels.minimum
    says = verdict(minimum, pixels.dark_present)
    text = f"{item}: baseline {baseline / 100:05.2f}, darkest 0.1-percentile of the ten bands {minimum}"
    if says == "undecided":
        if pixels.valid:
            logger.warning("%s: the pixels cannot confirm whether the +1000 offset is there", text)
    elif (says == "offset") != declared:
        raise UserError(
            f"digital numbers {'with' if declared else 'without'} the +1000 offset, as baseline {baseline / 100:05.2f} of {item} says",
            f"a darkest 0.1-percentile of {minimum} over the ten bands, which means {'no offset' if says == 'none' else 'an offset'} "
            f"(below {PROVES_NONE}: none; from {SUGGESTS_OFFSET} on, with dark pixels: offset)",
            "find out which is true: the item's metadata or pixels were altered on their way; leave the item out of the catalogue",
        )
    share = round(pixels.dark / pixels.valid, 6) if pixels.valid else 0.0
    return {"verdict": says, "minimum": minimum, "dark_share": share}
