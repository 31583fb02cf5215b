"""A made release on a made lattice: patches, their zip, and the run's grid."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from smallmines.core.files import write_json

CRS = "EPSG:32630"
LEFT, TOP, SIDE = 600_000.0, 700_000.0, 32
YEARS = ("2016", "2022")


def write_mask(path: Path, col: float, row: float, seed: int = 0, side: int = SIDE, crs: str = CRS, step: float = 10.0) -> Path:
    """Write a mask of 0 and 1 at a column and row of the lattice, in tiles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (np.random.default_rng(seed).random((side, side)) < 0.2).astype(np.uint8)
    transform = Affine(step, 0, LEFT + col * SIDE * 10, 0, -step, TOP - row * SIDE * 10)
    with rasterio.open(path, "w", "GTiff", side, side, 1, crs, transform, "uint8", nodata=255, compress="deflate") as target:
        target.write(values, 1)
    return path


def write_release(folder: Path, tiles: int = 6, years: Sequence[str] = YEARS) -> Path:
    """Write masks of tiles 0001 … in rows of three, as the release is laid out; return its folder."""
    root = folder / "SmallMinesDS"
    for year in years:
        for number in range(tiles):
            path = root / year / "MASK" / f"MASK_GH_{number + 1:04d}_{year}.tif"
            write_mask(path, number % 3, number // 3, int(year) + number)
    return root


def zipped(root: Path, target: Path, image_bytes: int = 0, compressed: bool = True) -> Path:
    """Write a release as a zip, as `zip -r` orders it; with `image_bytes` of noise in place of the image of each mask."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    masks = sorted(root.rglob("MASK_*.tif"))
    with zipfile.ZipFile(target, "w", kind) as archive:
        for year in sorted({path.parents[1].name for path in masks}):
            own = [path for path in masks if path.parents[1].name == year]
            for number, path in enumerate(own if image_bytes else []):
                noise = b"II*\0" + np.random.default_rng(int(year) * 10_000 + number).bytes(image_bytes - 4)
                archive.writestr(f"SmallMinesDS/{year}/IMAGE/{path.name.replace('MASK', 'IMG')}", noise)
            for path in own:
                archive.write(path, path.relative_to(root.parent))
    return target


def write_grid(path: Path, cells: Sequence[tuple[str, int, int]] = (), shape: tuple[int, int] = (4, 3)) -> Path:
    """Write a lattice of rows and columns of tiles with some cells (id, row, column); by default ids 0001 to 0006 in two rows."""
    own = cells or [(f"{number + 1:04d}", number // 3, number % 3) for number in range(6)]
    write_json(
        path,
        {
            "shape": [shape[0] * SIDE, shape[1] * SIDE],
            "transform": [10.0, 0.0, LEFT, 0.0, -10.0, TOP],
            "crs": CRS,
            "tile_size": SIDE,
            "windows": {"1": [0, 0, *shape]},
            "cells": [[*cell, "1"] for cell in own],
        },
    )
    return path
