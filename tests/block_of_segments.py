"""A synthetic block as the first stages write it: tiles of 32 px, square segments of 4 × 4 px, two overlapping classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice, read_lattice

TILE = 32
SIDE = 4
CRS = "EPSG:32630"


@dataclass(frozen=True)
class Block:
    """Folder and tables of the synthetic block."""

    folder: Path
    lattice: Lattice
    segments: NDArray[np.uint32]
    features: pd.DataFrame
    truth: NDArray[np.int8]

    @property
    def geobox(self) -> GeoBox:
        return self.lattice.block("1")

    @property
    def own(self) -> NDArray[np.bool_]:
        return self.lattice.own("1")


def make_block(folder: Path, rows: int = 4, cols: int = 5, share: float = 0.1, seed: int = 0, contrast: float = 500.0) -> Block:
    """Make a block of `rows` × `cols` tiles without the last, which belongs to block 2; the first segment has no data."""
    cells = [(f"{number + 1:04d}", row, col, "1") for number, (row, col) in enumerate((r, c) for r in range(rows) for c in range(cols))]
    cells[-1] = (*cells[-1][:3], "2")
    write_json(
        folder / "grid.json",
        {
            "crs": CRS,
            "tile_size": TILE,
            "transform": list(Affine(10, 0, 600000, 0, -10, 700000))[:6],
            "shape": [rows * TILE, cols * TILE],
            "windows": {"1": [0, 0, rows, cols], "2": [rows - 1, cols - 1, 1, 1]},
            "cells": cells,
        },
    )
    lattice = read_lattice(folder / "grid.json")
    rng = np.random.default_rng(seed)
    own = lattice.own("1")
    y, x = np.mgrid[: own.shape[0], : own.shape[1]] // SIDE
    coarse = y * (own.shape[1] // SIDE) + x
    coarse[~own] = -1
    coarse[coarse == 0] = -1
    _, ids = np.unique(coarse, return_inverse=True)
    segments = ids.reshape(own.shape).astype(np.uint32)
    first = np.array([np.flatnonzero(segments.ravel() == number)[0] for number in range(1, segments.max() + 1)])
    row, col = np.divmod(first, own.shape[1])
    count = len(first)
    truth = (rng.random(count) < share).astype(np.int8)
    spectra = 2000 + truth[:, None] * contrast + rng.normal(0, 400, (count, len(S2_BANDS)))
    px, py = lattice.block("1").transform @ (col + 1.5, row + 1.5)
    names = np.array([f"{number + 1:04d}" for number in range(rows * cols)], object).reshape(rows, cols)
    features = pd.DataFrame({"segment": np.arange(1, count + 1, dtype=np.uint32), "area": np.full(count, SIDE * SIDE, np.uint32)})
    for index, band in enumerate(S2_BANDS):
        features[band] = np.maximum(spectra[:, index], 1).astype(np.float32)
    features["DEM"] = rng.normal(200, 40, count).astype(np.float32)
    features.loc[5, "DEM"] = np.nan
    features["x"], features["y"] = px, py
    features["key"] = rng.integers(0, 2**64, count, dtype=np.uint64)
    features["tile_id"] = names[row // TILE, col // TILE]
    features["clear_share"] = np.float32(1)
    features.to_parquet(folder / "features.parquet", index=False)
    raster.write(folder / "segments.tif", segments, lattice.block("1"), 0, ["segment"])
    raster.write(folder / "clear.tif", np.ones(own.shape, np.uint8), lattice.block("1"), None, ["clear"])
    return Block(folder, lattice, segments, features, truth)
