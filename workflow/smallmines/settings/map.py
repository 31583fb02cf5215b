"""Keys of the rules `map_polygons`, `map_areas`, `map_public` and `map_change`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True)
class Public:
    """Keys of `map` that the rule `map_public` reads."""

    public: Literal["areas", "polygons"]
    smallest_published_ha: float
    delay_days: int
