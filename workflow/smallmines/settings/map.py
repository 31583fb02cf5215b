"""Keys of the rules `map_polygons`, `map_areas` and `map_change`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Polygons:
    """Keys of `map` that the rule `map_polygons` reads."""

    smallest_mine_px: int


@dataclass(frozen=True)
class Change:
    """Keys of `map` that the rule `map_change` reads."""

    change_tolerance_px: int
    smallest_change_px: int


@dataclass(frozen=True)
class Areas:
    """Keys of `map` that the rule `map_areas` reads."""

    units: tuple[str, ...]
