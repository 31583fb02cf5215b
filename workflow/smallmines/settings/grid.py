"""Keys that lattice, tiles and blocks are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Anchor:
    """Easting of the left edge of any tile column and northing of the top edge of any tile row, in m."""

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

    @classmethod
    def of(cls, values: dict[str, Any]) -> Grid:
        """From values as Snakemake hands them over, in which the anchor is a mapping."""
        return cls(**{**values, "anchor": Anchor(**values["anchor"])})
