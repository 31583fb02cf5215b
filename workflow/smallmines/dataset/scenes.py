"""Tell the Sentinel-2 products that each tile of a composite has pixels of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.core.files import split_tag


def histograms(values: NDArray[np.uint8], side: int) -> NDArray[np.int64]:
    """Count each value in each tile of a row of tiles: (side, tiles · side) uint8 → (tiles, 256) int64."""
    tiles = values.shape[1] // side
    place = np.arange(values.shape[1], dtype=np.int64) // side * 256
    return np.bincount((values + place).ravel(), minlength=tiles * 256).reshape(tiles, 256)


def scene_tags(composite: rasterio.DatasetReader, source: rasterio.DatasetReader) -> dict[str, str]:
    """Return the tags of a composite and of the raster of its scenes, for `scenes`."""
    tags = composite.tags()
    return {**tags, **source.tags(), "BLOCK_ITEMS": tags.get("ITEMS", "")}


def scenes(counts: NDArray[np.int64], tags: Mapping[str, str]) -> list[tuple[list[str], list[str]]]:
    """Return the items and baselines of each tile, from the histogram of the scene index (tile, 256).

    Args:
        tags: ITEMS and BASELINES of the scene raster (the n-th is scene n), and BLOCK_ITEMS, those used in this block.
            A tile with 255 (several scenes in one pixel, as in a median) gets all of these.
    """
    items, baselines = split_tag(tags.get("ITEMS", "")), split_tag(tags.get("BASELINES", ""))
    block = set(split_tag(tags.get("BLOCK_ITEMS", tags.get("ITEMS", ""))))
    paired = len(items) == len(baselines)
    sources = []
    for tile in counts:
        present = [number for number in np.flatnonzero(tile[1:]).tolist() if number < len(items)]
        if tile[255]:
            present = [number for number, item in enumerate(items) if item in block]
        of_tile = [baselines[number] for number in present] if paired else baselines
        sources.append(([items[number] for number in present], sorted(set(of_tile))))
    return sources
