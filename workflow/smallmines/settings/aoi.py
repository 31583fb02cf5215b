"""Keys of the rules `boundaries` and `grid` about the area of interest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aoi:
    """Keys of `aoi` that the rule `grid` reads."""

    path: str | None
    expected_area_km2: float | None


@dataclass(frozen=True)
class Boundaries:
    """Keys of `aoi` that the rule `boundaries` reads."""

    country: str
    level: str
    names: tuple[str, ...]
    release: str
    base_url: str
