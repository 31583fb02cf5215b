"""A dataset as a few arrays that models read: one memory-mapped array a modality, masks, and a table of the tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy
from smallmines.core.product import MASK_NODATA, PATCH_BANDS, S1, S2_BANDS
from smallmines.core.readable import read_parquet

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.int64]
"""Numbers of rows of a pack: tiles and years."""

MODALITIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"s2": S2_BANDS, "s1": PATCH_BANDS[S1], "dem": PATCH_BANDS[-1:]})
"""Bands by array, in order. All arrays are (tile, band, row, column)."""

FILES = (*(f"{name}.npy" for name in (*MODALITIES, "mask")), "tiles.parquet", "pack.json")
"""Files of a pack."""

CHUNK = 64
"""Tiles in memory at a time: 54 MB with 13 bands of 128 × 128 px."""

UNKNOWN = "unknown"
"""Radiometry that neither the index nor the images state."""


@dataclass(frozen=True)
class Pack:
    """An open pack. Arrays are memory-mapped: what is not read takes no memory.

    Attributes:
        arrays: by modality, (tile, band, row, column); uint16 with 0 for a gap, or float32 with NaN for a gap.
        mask: (tile, row, column) uint8: 0 not mining, 1 mining, 255 unknown.
        tiles: a row a tile and year, in the order of the arrays, see `packing.tile_table`.
        about: content of `pack.json`, see `packing.write_pack`.
    """

    arrays: Mapping[str, NDArray[Any]]
    mask: NDArray[np.uint8]
    tiles: pd.DataFrame
    about: Mapping[str, Any]

    @staticmethod
    def open(folder: str | Path) -> Pack:
        """Open a pack.

        Raises:
            UserError: a file is missing, cannot be read, or has another number of tiles.
        """
        folder = Path(folder)
        about, tiles = read_json(folder / "pack.json"), read_parquet(folder / "tiles.parquet")
        arrays = {}
        for name in (*MODALITIES, "mask"):
            path = folder / f"{name}.npy"
            try:
                arrays[name] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise UserError(f"a readable array {path}", " ".join(str(error).split()), remedy(path)) from None
            if len(arrays[name]) != len(tiles):
                raise UserError(f"{len(tiles)} tiles in {path}", str(len(arrays[name])), remedy(path))
        mask = arrays.pop("mask")
        return Pack(arrays, mask, tiles, about)

    def __len__(self) -> int:
        """Return the number of rows: tiles and years."""
        return len(self.tiles)

    @property
    def side(self) -> int:
        """Side of a tile in pixels."""
        return int(self.mask.shape[1])

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in m²."""
        return float(self.about["pixel"][0] * self.about["pixel"][1])

    @property
    def years(self) -> NDArray[np.int64]:
        """Year of each row."""
        return self.tiles["year"].to_numpy(np.int64)

    def read(self, rows: Rows, bands: Sequence[str]) -> NDArray[np.float32]:
        """Read bands of some rows by name: (tile, band, row, column) float32, NaN gaps.

        Raises:
            UserError: a name that is no band.
        """
        if unknown := [band for band in bands if band not in PATCH_BANDS]:
            raise UserError(f"bands among {', '.join(PATCH_BANDS)}", ", ".join(unknown), "name bands as the dataset does")
        image = np.empty((len(rows), len(bands), self.side, self.side), np.float32)
        for name, names in MODALITIES.items():
            own = [(place, names.index(band)) for place, band in enumerate(bands) if band in names]
            if not own:
                continue
            array = self.arrays[name]
            for place, number in own:
                values = array[rows, number]
                image[:, place] = values
                if values.dtype == np.uint16:
                    image[:, place][values == 0] = np.nan
        return image

    def masks(self, rows: Rows) -> NDArray[np.uint8]:
        """Read the masks of some rows: (tile, row, column) uint8, 255 unknown."""
        return np.asarray(self.mask[rows])

    def statistics(self, rows: Rows, bands: Sequence[str] = PATCH_BANDS) -> dict[str, dict[str, float]]:
        """Return count, mean and sd (of the population) of bands over the pixels of some rows that are no gaps, by band.

        Mean and sd are 0 and 1 where there is no pixel, and sd is 1 where all pixels have one value, so that both can normalise.
        """
        sums = Sums(bands)
        for part in chunks(rows):
            sums.add(self.read(part, bands))
        return sums.result()


class Sums:
    """Streaming sums of bands, for count, mean and standard deviation. Values are shifted by the first mean, which keeps digits."""

    def __init__(self, bands: Sequence[str]) -> None:
        self.bands = tuple(bands)
        self.count, self.total, self.square = np.zeros((3, len(self.bands)))
        self.shift: NDArray[np.float64] | None = None

    def add(self, image: NDArray[np.float32]) -> None:
        """Add tiles (tile, band, row, column) or one (band, row, column); NaN does not count."""
        pixels = np.moveaxis(image, -3, 0).reshape(len(self.bands), -1).astype(np.float64)
        valid = np.isfinite(pixels)
        if self.shift is None:
            self.shift = np.array([band[own].mean() if own.any() else 0.0 for band, own in zip(pixels, valid, strict=True)])
        pixels -= self.shift[:, None]
        pixels[~valid] = 0
        self.count += valid.sum(axis=1)
        self.total += pixels.sum(axis=1)
        self.square += (pixels**2).sum(axis=1)

    def result(self) -> dict[str, dict[str, float]]:
        """Return count, mean and sd by band."""
        count = np.maximum(self.count, 1)
        shift = np.zeros(len(self.bands)) if self.shift is None else self.shift
        mean = np.where(self.count > 0, shift + self.total / count, 0.0)
        sd = np.sqrt((self.square / count - (self.total / count) ** 2).clip(0))
        sd = np.where(sd > 0, sd, 1.0)
        return {
            band: {"count": int(number), "mean": float(middle), "sd": float(spread)}
            for band, number, middle, spread in zip(self.bands, self.count, mean, sd, strict=True)
        }


def chunks(rows: Rows, size: int = CHUNK) -> Iterator[Rows]:
    """Yield rows in parts of `size`, in order."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def known(masks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels of masks have a class."""
    return np.asarray(masks != MASK_NODATA)
