"""A small published dataset of two years with distinct masks, for tests of the loaders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from fake_results import make_results, publish

SIDE = 64
YEARS = (2016, 2022)

DEMO = (Path(__file__).parents[1] / "results/demo/dataset").resolve()
"""The miniature, if `make demo` has made it."""


def make_dataset(folder: Path) -> Path:
    """Publish six tiles in two years, with the splits of the second year in reverse order; return the folder."""
    tables = []
    for year in YEARS:
        dataset = publish(make_results(folder, side=SIDE, year=str(year)), year=str(year))
        tables.append(pd.read_csv(dataset / "splits.csv", dtype={"tile_id": str}))
    tables[1]["split"] = tables[1]["split"].to_numpy()[::-1]
    pd.concat(tables).to_csv(dataset / "splits.csv", index=False)
    for number, path in enumerate(sorted(dataset.glob("*/MASK/*.tif"))):
        with rasterio.open(path, "r+") as target:  # its number in bits
            mask = target.read(1)
            mask[-1, :8] = [number >> bit & 1 for bit in range(8)]
            target.write(mask, 1)
    assert len({values(path).tobytes() for path in dataset.glob("*/MASK/*.tif")}) == 12
    return dataset


def values(path: str | Path) -> NDArray[np.generic]:
    """Read all bands of a file."""
    with rasterio.open(path) as source:
        return source.read()


def band(path: str | Path, name: str) -> NDArray[np.generic]:
    """Read the band with this description."""
    with rasterio.open(path) as source:
        return source.read(source.descriptions.index(name) + 1)


def mask_of(image: str | Path) -> Path:
    """Return the path of the mask of an image, from its name."""
    path = Path(image)
    return path.parents[1] / "MASK" / path.name.replace("IMG_", "MASK_")
