"""Keys of the rule `fetch`, per sensor: they shape the pixels in the cache."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FetchSentinel2:
    """Keys of `sentinel2` that the rule `fetch` reads."""

    resampling_20m: str
    cloud_dilation_px: int
    cloud_opening_px: int
    reader: str


@dataclass(frozen=True)
class FetchSentinel1:
    """Keys of `sentinel1` that the rule `fetch` reads."""

    border_erosion_px: int


@dataclass(frozen=True)
class FetchElevation:
    """Keys of `elevation` that the rule `fetch` reads."""

    project: str | None


Fetch = FetchSentinel2 | FetchSentinel1 | FetchElevation
FETCH: dict[str, type[FetchSentinel2] | type[FetchSentinel1] | type[FetchElevation]] = {
    "s2": FetchSentinel2,
    "s1": FetchSentinel1,
    "dem": FetchElevation,
}
"""The type of each sensor."""
