"""Check for duplicates: one image under two names, or in two years."""

from __future__ import annotations

from collections.abc import Iterator

from smallmines.core.finding import Family, Finding
from smallmines.doctor.folder import tiles_of
from smallmines.doctor.measure import Measured

DUPLICATES = Family("duplicates")

ALIKE = 0.9995
"""Correlation of red between years above which two images count as one. Seasons and noise leave 0.97 at most."""


def check(measured: Measured) -> Iterator[Finding]:
    """Yield images that are equal in Sentinel-2, and images of two years that differ by noise only."""
    if "hash" in measured.table:
        images = measured.table[measured.table["hash"].notna() & (measured.table.get("n_B02", 0) > 0)]
        twice = images[images.duplicated("hash", keep=False)]
        if len(twice):
            found = f"{len(twice)} patches share {twice['hash'].nunique()} images"
            yield DUPLICATES.error("same image", "another image in every patch", found, "make them again", tiles_of(twice))
    same = measured.changes[measured.changes["alike"] > ALIKE]
    if len(same):
        found = f"{len(same)} tiles with a correlation above {ALIKE}"
        remedy = "look at the scenes of both years"
        yield DUPLICATES.error("same year twice", "years that differ", found, remedy, tiles_of(same, "after"))
