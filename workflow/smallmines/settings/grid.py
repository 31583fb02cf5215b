"""Keys of the rule `grid`: lattice, tiles and blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Anchor:
    """Corner of any tile: easting of its left edge and northing of its top edge, in m."""

    x: float
    y: float


@dataclass(frozen=True)
class Grid:
    """Keys of `grid` that the rule `grid` reads."""

    source: str
    file: str | None
    folder: str | None
    crs: str
    resolution: float
    tile_size: int
    anchor: Anchor
    blocks: int
    block_seed: int
    expected_tiles: int | None
    released_ids_up_to: int | None
    max_tiles: int

    @classmethod
    def of(cls, values: dict[str, Any]) -> Grid:
        """Return the keys from the params of a rule, in which the anchor is a mapping."""
        return cls(**{**values, "anchor": Anchor(**values["anchor"])})
