"""The radiometry of Sentinel-2 L2A: whether an item carries the +1000 offset, conversion, and the verdict on what is declared.

Since processing baseline 04.00 the digital numbers are DN = 10000 · reflectance + 1000 (`BOA_ADD_OFFSET` −1000 in the product's
metadata), before it DN = 10000 · reflectance. Whether an item has the offset follows from its baseline, never from its date, because
archives are reprocessed. 0 is nodata in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.product import OFFSET
from smallmines.sensors.dark_pixels import Evidence
from smallmines.sensors.manifest import Sentinel2Entry

Verdict = Literal["proved", "declared", "undecided"]
"""What confirms a declared offset: the pixels; the product's own metadata; nothing but a name or a catalogue."""

VERDICT_TAG = "RADIOMETRY_VERDICT"
"""Tag of `s2.tif` and of images with the weakest verdict on the items in a block's composite."""

VERDICTS: tuple[Verdict, ...] = ("proved", "declared", "undecided")
"""The best first."""

SETTLES = (
    "what settles it: a provider whose items have the product's metadata (MTD_MSIL2A.xml), dates on which water, shadow or closed "
    "vegetation is seen, or sentinel2.clouds: scl"
)
"""What a user can do about an undecided offset."""

Radiometry = Literal["dn_plus1000", "dn_harmonised", "native"]
"""Radiometry of the composites: with the +1000 offset, without it, or as delivered."""

FIRST_BASELINE_WITH_OFFSET = 400
"""Baseline 04.00."""

PUBLISHED_BASELINES = range(100, 600)
"""Baselines of ESA's products up to 05.xx, for which the rule is known. 99.99 is a product of somebody's own Sen2Cor, with or without
the offset; a baseline to come may have another offset. Both need the product's metadata."""

JUMP, JUMP_SPREAD = 100, 200
"""DN. Two images of one place differ by the offset where their median difference is within 100 of ±1000 and the ten bands' differences
lie within 200. Of 3192 pairs of a clear and an overcast date of one real place, without an offset between them, none does; within 150
and 300 three do."""

_PRODUCT = re.compile(r"_N(\d{4})(?=_|$)")


QUANTIFICATION = 10_000
"""Digital numbers of a reflectance of 1 (`BOA_QUANTIFICATION_VALUE`)."""


class Metadata(NamedTuple):
    """What a product's MTD_MSIL2A.xml says.

    Attributes:
        baseline: processing baseline as an integer; None: not stated.
        offsets: `BOA_ADD_OFFSET` of all bands. Published products before baseline 04.00 have none: the list is empty. None where the
            file lacks them though products of its baseline have them, or where one is no whole number.
        product: name of the product; empty: not stated.
        quantifications: all values of `BOA_QUANTIFICATION_VALUE`, as they are written.
    """

    baseline: int | None
    offsets: list[int] | None
    product: str = ""
    quantifications: tuple[str, ...] = ()


def read_metadata(xml: str) -> Metadata:
    """Read a product's MTD_MSIL2A.xml; without a baseline nothing else is taken from it."""
    from xml.etree import ElementTree

    try:
        tree = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, LookupError):  # the last two: an encoding that Python does not know
        return Metadata(None, None)

    def texts(name: str) -> list[str]:
        return [(element.text or "").strip() for element in tree.iter() if element.tag.rpartition("}")[2] == name]

    baseline = re.fullmatch(r"(\d{2})\.(\d{2})", (texts("PROCESSING_BASELINE") or [""])[0])
    if not baseline:
        return Metadata(None, None)
    number = int(baseline[1] + baseline[2])
    stated = texts("BOA_ADD_OFFSET")
    offsets = [int(text.split(".")[0]) for text in stated if re.fullmatch(r"-?\d{1,9}(\.0*)?", text, re.ASCII)]
    before = number in PUBLISHED_BASELINES and not has_offset(number)
    are_whole = len(offsets) == len(stated) and bool(offsets or before)
    return Metadata(number, offsets if are_whole else None, (texts("PRODUCT_URI") or [""])[0], tuple(texts("BOA_QUANTIFICATION_VALUE")))


def require_quantification(item: str, metadata: Metadata) -> None:
    """Check that reflectances are stored as `QUANTIFICATION` says.

    Raises:
        UserError: the product's metadata state another value.
    """
    if other := [text for text in metadata.quantifications if not re.fullmatch(rf"{QUANTIFICATION}(\.0*)?", text)]:
        raise UserError(
            f"a BOA_QUANTIFICATION_VALUE of {QUANTIFICATION} for {item}",
            f"{', '.join(other)[:80]} in its MTD_MSIL2A.xml",
            "leave the item out (sentinel2.exclude_items): its digital numbers have another scale",
        )


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
        shifted = np.maximum(dn, np.uint16(OFFSET + 1)) - np.uint16(OFFSET)
    else:
        shifted = np.minimum(dn, np.uint16(65535 - OFFSET)) + np.uint16(OFFSET)
    shifted *= dn != 0
    return shifted


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


def jump_of(differences: Sequence[float]) -> int:
    """Return +1000 or −1000 where the median differences of all bands (DN) are those of an offset, else 0."""
    middle = float(np.median(differences))
    alike = max(differences) - min(differences) <= JUMP_SPREAD
    return next((offset for offset in (OFFSET, -OFFSET) if alike and abs(middle - offset) <= JUMP), 0)


def check_offset(entry: Sentinel2Entry, evidence: Evidence) -> Verdict:
    """Check an item's declared offset against its pixels.

    Returns:
        `proved` by the pixels; else `declared` where the product's metadata state the offset, `undecided` where only a name or a
        catalogue does.

    Raises:
        UserError: declaration and pixels contradict each other.
    """
    declared = OFFSET * entry.offset
    if evidence.offset is None:
        return "declared" if entry.declared_by == "metadata" else "undecided"
    if evidence.offset != declared:
        raise UserError(
            f"digital numbers with an offset of {declared}, as {entry.declared_by} of {entry.id} says "
            f"(baseline {entry.baseline / 100:05.2f})",
            f"an offset of {evidence.offset}: {evidence}",
            "find out which is true: the item's metadata or pixels were altered on their way; leave the item out of the catalogue",
        )
    return "proved"


def report_undecided(verdicts: Mapping[str, Verdict], evidence: Mapping[str, Evidence], action: str) -> Verdict:
    """Report items whose offset nothing confirms, and return the verdict on all items: the weakest one.

    Args:
        verdicts: of `check_offset`, by item that has pixels in the composite.
        evidence: by item.
        action: `sentinel2.undecided`.

    Raises:
        UserError: there are such items and `action` is `stop`.
    """
    undecided = [name for name, verdict in verdicts.items() if verdict == "undecided"]
    expected = "an offset of Sentinel-2 that pixels or the product's metadata confirm"
    if undecided:
        found = "; ".join(f"{name}: {evidence[name]}" for name in undecided)
        if action == "stop":
            raise UserError(expected, f"neither for {found}", f"{SETTLES}; or set sentinel2.undecided to warn")
        logger.warning("expected %s; found neither for %s; %s", expected, found, SETTLES)
    return max(verdicts.values(), key=VERDICTS.index, default="undecided")
