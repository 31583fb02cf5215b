"""Keys of the rules `map_polygons` and `map_areas`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Polygons:
    """Keys of `map` that the rule `map_polygons` reads."""

    smallest_mine_px: int


@dataclass(frozen=True)
class Areas:
    """Keys of `map` that the rule `map_areas` reads."""

    units: tuple[str, ...]
