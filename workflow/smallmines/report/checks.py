"""The doctor's checks in words, to list those without a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHECKS: Mapping[str, Mapping[str, str]] = {
    "structure": {
        "unreadable": "every file can be read",
        "image missing": "every mask has an image",
        "mask missing": "every image has a mask",
        "double": "one file per tile and year",
        "file names": "file names follow the pattern",
        "years differ": "the same tiles in every year",
        "index": "the index lists the files that are there",
        "table": "all tables can be read",
        "bands": "number of bands",
        "type": "data type",
        "nodata": "nodata value declared",
        "band order": "order of the bands",
        "CRS": "one CRS",
        "size": "one patch size",
        "pixel size": "one pixel size",
        "lattice": "patches lie on one lattice",
        "moved tile": "a tile has the same place in every year",
        "two tiles in one place": "no two tiles in one place",
        "mask elsewhere": "image and mask cover the same pixels",
        "mask values": "masks hold 0, 1 and 255 only",
        "not finite": "no NaN or infinity",
        "nodata in some bands": "Sentinel-2 nodata in all bands or none",
    },
    "radiometry": {
        "scale": "Sentinel-2 in digital numbers",
        "offset": "the offset of 1000 is everywhere or nowhere, as declared",
        "unconfirmed offset": "pixels or metadata confirm the offset",
        "fractions": "whole digital numbers",
        "wrapped nodata": "no wrapped nodata values",
        "saturation": "no saturation",
        "stripes": "no stripes",
        "band swapped": "bands are in their places, by the spectra",
        "years differ": "the years have one radiometric level",
        "VV linear": "VV in dB",
        "VH linear": "VH in dB",
        "VV range": "range of VV",
        "VH range": "range of VH",
        "DEM range": "range of the elevation",
        "DEM flat": "elevation varies",
    },
    "geometry": {
        "Sentinel-1 on Sentinel-2": "Sentinel-1 lies on Sentinel-2",
        "elevation under Sentinel-2": "elevation lies under Sentinel-2",
        "masks on Sentinel-2": "masks lie on Sentinel-2",
        "years on each other": "the years lie on each other",
    },
    "coverage": {
        "Sentinel-2 nodata": "Sentinel-2 complete",
        "Sentinel-1 nodata": "Sentinel-1 complete",
        "elevation nodata": "elevation complete",
        "cloud": "few bright white pixels",
    },
    "labels": {
        "class missing": "both classes in every year",
        "class share": "mining is the rare class",
        "specks": "few specks",
        "holes": "few holes",
        "label without image": "no label where there is no image",
        "empty mask": "a label in every mask",
        "mines vanish": "mines of one year remain in the next",
        "nobody looked": "people reviewed labels",
        "provenance": "shares of provenance add up",
        "agreement": "annotators agree",
        "labels against image": "labels follow the spectra",
        "patch against image": "no patch contradicts the spectra",
    },
    "duplicates": {"same image": "no image twice", "same year twice": "no year twice"},
    "leakage": {
        "no split": "a split is given",
        "split names": "splits are named as usual",
        "split incomplete": "every pair is in one split",
        "twins": "no tile in train and test",
        "place tells": "place and year alone do not predict the test",
    },
    "documents": {
        "no card": "a card",
        "no licence": "a licence",
        "counts in the card": "counts in the card",
        "numbers in the card": "numbers in facts.json",
        "composites": "composites without a finding",
        "doubtful evidence": "evidence of the right time",
        "index": "shares in the index",
        "checksums": "checksums",
        "not sealed": "no file outside the seal",
        "croissant": "Croissant metadata",
        "form of a document": "documents in the form of this workflow",
    },
    "privacy": {
        "a signature or key": "no signature or key",
        "a path of somebody's machine": "no path of a machine",
        "an e-mail address": "no e-mail address",
    },
}
"""What holds where a check finds nothing, by family and name of the check, in the order of the doctor."""

SHIFTS = {
    "radar": "Sentinel-1 on Sentinel-2",
    "slope": "elevation under Sentinel-2",
    "mask": "masks on Sentinel-2",
    "years": "years on each other",
}
"""Checks of geometry by the first word of the kind of a shift in doctor.json."""


TWO_YEARS = {
    ("structure", "years differ"),
    ("structure", "moved tile"),
    ("radiometry", "years differ"),
    ("geometry", "years on each other"),
    ("labels", "mines vanish"),
    ("duplicates", "same year twice"),
}
"""Checks that need two years."""


@dataclass(frozen=True)
class Family:
    """Checks of one family.

    Attributes:
        passed: what holds, for each check without an error or warning.
        total: number of checks that the dataset allows.
        impossible: names of the checks that it does not allow, for want of years, of an overlap or of enough patches.
    """

    name: str
    passed: tuple[str, ...]
    total: int
    impossible: tuple[str, ...]


def check_of(family: str, check: str) -> str | None:
    """Name in `CHECKS` of the check of a finding, whose own name may go on, e.g. with years; None where it is not listed."""
    names = [name for name in CHECKS.get(family, {}) if check == name or check.startswith(f"{name} ")]
    return max(names, key=len, default=None)


def passed(doctor: Mapping[str, Any], agreement: bool) -> list[Family]:
    """The checks without an error or warning, by family; those of geometry with the number of groups that could be assessed.

    Args:
        doctor: the content of doctor.json.
        agreement: whether two people labelled the same segments.
    """
    odd = {
        (finding["family"], check_of(finding["family"], finding["check"]))
        for finding in doctor["findings"]
        if finding["severity"] != "note" or finding["check"] == "nobody looked"  # a note where labels are those of a release
    }
    groups: dict[str, list[bool]] = {}
    for shift in doctor["shifts"]:
        groups.setdefault(SHIFTS[shift["kind"].split()[0]], []).append(shift["assessable"])
    impossible = set() if len(doctor["years"]) > 1 else set(TWO_YEARS)
    impossible |= {("geometry", name) for name in CHECKS["geometry"] if not any(groups.get(name, ()))}
    noted = {finding["check"] for finding in doctor["findings"] if finding["family"] == "leakage"}
    impossible |= {("leakage", "place tells")} if noted & {"test too small", "no split"} else set()
    impossible |= set() if agreement else {("labels", "agreement")}
    impossible |= set() if doctor["label_auc"] else {("labels", "labels against image"), ("labels", "patch against image")}
    families = []
    for family, checks in CHECKS.items():
        possible = [name for name in checks if (family, name) not in impossible - odd]
        sound = [checks[name] + _assessed(groups.get(name, ())) for name in possible if (family, name) not in odd]
        families.append(Family(family, tuple(sound), len(possible), tuple(name for name in checks if name not in possible)))
    return families


def _assessed(groups: Sequence[bool]) -> str:
    """How many groups of patches a check of geometry could assess; empty for the other checks."""
    return f" ({sum(groups)} of {len(groups)} groups of patches assessable)" if groups else ""
