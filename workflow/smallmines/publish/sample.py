"""Choose a few tiles that show what a dataset holds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from smallmines.core.product import BUFFER, SPLITS
from smallmines.dataset.split_methods import bins_of

if TYPE_CHECKING:
    import pandas as pd

TILES = 20
"""Most tiles of the sample."""

LARGEST = 15_000_000
"""Most bytes of its files together."""

EMPTY = -1
"""Stratum of tiles without mining; the others are those of `split_methods.bins_of`."""


def sample_tiles(index: pd.DataFrame, most: int = TILES) -> list[str]:
    """Return the ids of up to `most` tiles, the most wanted first: from each split its share, from the strata of mining in turn.

    A tile counts with its largest share of mining over the years, and with its split in the first year. Tiles of the buffer are left out.
    Within a stratum the SHA-256 of the id decides, so that the choice is arbitrary and always the same.

    Args:
        index: as `index.read_index` returns it.
    """
    rows = index.sort_values(["tile_id", "year"])
    tiles = rows.groupby("tile_id", sort=True).agg(split=("split", "first"), percent=("mining_percent", "max")).fillna({"percent": 0.0})
    tiles = tiles.drop(rows.loc[rows["split"] == BUFFER, "tile_id"].unique())
    counts = {name: int((tiles["split"] == name).sum()) for name in SPLITS if (tiles["split"] == name).any()}
    number = min(most, len(tiles))
    shares = {name: max(1, round(number * count / len(tiles))) for name, count in counts.items()}
    chosen = {name: _in_turn(tiles[tiles["split"] == name])[: shares[name]] for name in counts}
    places = [((place + 0.5) / len(own), name, tile) for name, own in chosen.items() for place, tile in enumerate(own)]
    return [tile for _, _, tile in sorted(places)][:number]


def _in_turn(tiles: pd.DataFrame) -> list[str]:
    """Return tiles in an order that takes one from each stratum in turn, the richest stratum first."""
    percent = tiles["percent"].to_numpy(np.float64)
    stratum = np.where(percent > 0, bins_of(percent), EMPTY)
    order = sorted(zip(stratum.tolist(), tiles.index, strict=True), key=lambda tile: hashlib.sha256(tile[1].encode()).hexdigest())
    turns: dict[int, int] = {}
    ranked = []
    for own, tile in order:
        turns[own] = turns.get(own, 0) + 1
        ranked.append((turns[own], -own, tile))
    return [tile for _, _, tile in sorted(ranked)]
