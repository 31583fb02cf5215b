"""A made dataset in the released layout, written and packed in a second: mines are bright in B11 and lie in clumps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from numpy.typing import NDArray

from smallmines.benchmark.pack import Pack
from smallmines.benchmark.packing import write_pack
from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS

SIDE = 16
YEARS = (2016, 2022)
CRS = "EPSG:32630"


def image_of(mask: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """Return an image (13, row, column): DN with the offset, mines 1500 DN brighter in B04 and B11; −12 dB and 200 m around."""
    rng = np.random.default_rng(seed)
    image = np.rint(rng.normal(2500, 100, (13, *mask.shape))).astype(np.float32)
    for band in ("B04", "B11"):
        image[PATCH_BANDS.index(band)] += 1500 * (mask == 1)
    image[10:12] = rng.normal(-12, 1, (2, *mask.shape))
    image[12] = rng.normal(200, 5, mask.shape)
    return image


def mask_of(row: int, col: int, year: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Return a mask: a square mine in two of three tiles, larger in the second year."""
    mask = np.zeros((side, side), np.uint8)
    if (row + 2 * col) % 3:
        size = 4 + (year > 2016) * 2 + row % 3
        mask[3 : 3 + size, 4 : 4 + size] = 1
    return mask


def write_patch(path: Path, array: NDArray[np.generic], row: int, col: int, nodata: float, **tags: str) -> None:
    """Write a patch at a row and column of the lattice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    side = array.shape[-1]
    transform = Affine(10, 0, 600_000 + col * side * 10, 0, -10, 700_000 - row * side * 10)
    bands = array if array.ndim == 3 else array[None]
    with rasterio.open(path, "w", "GTiff", side, side, len(bands), CRS, transform, bands.dtype, nodata=nodata) as target:
        target.write(bands)
        target.update_tags(**tags)
        if len(bands) == len(PATCH_BANDS):
            target.descriptions = PATCH_BANDS


def write_dataset(root: Path, rows: int = 6, cols: int = 6, side: int = SIDE, radiometry: str = "dn_plus1000") -> Path:
    """Write a dataset of rows × cols tiles in two years; the last two columns are the test, the column before is val."""
    records = []
    for number in range(rows * cols):
        row, col = divmod(number, cols)
        tile_id = f"{number + 1:04d}"
        for year in YEARS:
            mask = mask_of(row, col, year, side)
            image = image_of(mask, number * 10 + year)
            if number == 1:
                image[:10, 0, :3], image[10, 1, 1], mask[0, :3] = IMAGE_NODATA, IMAGE_NODATA, 255
            tags = {"RADIOMETRY": radiometry} if radiometry else {}
            write_patch(root / f"{year}/IMAGE/IMG_GH_{tile_id}_{year}.tif", image, row, col, IMAGE_NODATA, **tags)
            write_patch(root / f"{year}/MASK/MASK_GH_{tile_id}_{year}.tif", mask, row, col, 255)
            split = "test" if col >= cols - 2 else "val" if col == cols - 3 else "train"
            records.append((tile_id, year, split))
    pd.DataFrame(records, columns=["tile_id", "year", "split"]).to_csv(root / "splits.csv", index=False)
    return root


def packed(folder: Path, **options: int) -> Pack:
    """Write a dataset and its pack; return the open pack."""
    write_pack(write_dataset(folder / "dataset", **options), folder / "pack")
    return Pack.open(folder / "pack")
