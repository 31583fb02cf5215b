"""Bands that a finding of the doctor concerns: rows of the benchmark that use such a band are stopped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallmines.core.json_products import DoctorReport, read_product
from smallmines.core.product import PATCH_BANDS, S2_BANDS

FAMILY = "radiometry"
"""Family of the checks on the values of bands."""

OF_NAMED_BANDS = ("band swapped", "years differ")
"""Checks whose findings name the bands that they concern; a check of one band has the band in its own name."""

STOPS = "error"
"""Severity that stops a row. Warnings and notes stop nothing: a dataset may have them and be sound."""


def findings_by_band(path: str | Path | None) -> dict[str, list[str]]:
    """Return the errors of the doctor in each band, in words; none without a report.

    Args:
        path: `doctor.json`, or None.

    Raises:
        UserError: the file cannot be read.
    """
    if path is None:
        return {}
    by_band: dict[str, list[str]] = {}
    for finding in read_product(path, DoctorReport)["findings"]:
        for band in bands_of(finding):
            by_band.setdefault(band, []).append(f"{finding['check']}: {finding['found']}")
    return by_band


def bands_of(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the bands that an error in the values concerns: those that it names, else all of Sentinel-2; none for other findings."""
    if finding["severity"] != STOPS or finding["family"] != FAMILY:
        return ()
    text = finding["found"] if finding["check"] in OF_NAMED_BANDS else finding["check"]
    named = set(re.findall(r"\w+", text)) & set(PATCH_BANDS)
    return tuple(band for band in PATCH_BANDS if band in named) or S2_BANDS


def stopping(findings: Mapping[str, Sequence[str]], bands: Sequence[str]) -> list[str]:
    """Return the findings in some bands, each once, with the bands that it concerns."""
    where: dict[str, list[str]] = {}
    for band in bands:
        for text in findings.get(band, ()):
            where.setdefault(text, []).append(band)
    return [f"{', '.join(own)}: {text}" for text, own in where.items()]
