"""A published dataset folder as training code sees it: pairs of image and mask by (tile, year), bands by name, statistics.

Two layouts are read: ours (`splits.csv`) and the released one (`train_test_splits_<year>.csv`, whose names leave the
country out). Both keep `<year>/IMAGE/IMG_….tif` and `<year>/MASK/MASK_….tif`. Needs numpy, pandas and rasterio only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.patch_files import NAME

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "VV", "VH", "DEM")
"""The bands of an image, in order: Sentinel-2 (DN), Sentinel-1 (dB), elevation (m)."""

NODATA = -9999.0
"""A gap in an image."""

IGNORE = 255
"""A pixel of a mask that is neither: unknown, unsure or without imagery."""

CLASSES = ("not_mining", "mining")
"""Class names; a class's position is its value in the masks."""

SPLITS = ("train", "val", "test")


def read_splits(root: str | Path) -> pd.DataFrame:
    """The split of every tile and year: tile_id (text), year (int), split, by year and tile.

    Raises:
        UserError: no table of splits in the folder, or a tile and year twice.
    """
    root = Path(root)
    own, released = root / "splits.csv", sorted(root.rglob("train_test_splits_*.csv"))
    if own.is_file():
        table = pd.read_csv(own, dtype={"tile_id": str, "year": int, "split": str})[["tile_id", "year", "split"]]
    elif released:
        rows = pd.concat([pd.read_csv(path) for path in released], ignore_index=True)
        table = rows["patch_name"].str.extract(NAME)[[1, 2]].set_axis(["tile_id", "year"], axis=1).astype({"year": int})
        table["split"] = rows["split"]
    else:
        raise UserError(f"splits.csv (or train_test_splits_<year>.csv) in {root}", "neither", "name the folder of a published dataset")
    if table.duplicated(["tile_id", "year"]).any():
        raise UserError(f"each tile and year once in the splits of {root}", "some twice", "mend the table")
    return table.sort_values(["year", "tile_id"], ignore_index=True)


def read_pairs(root: str | Path, split: str | None = None, years: Sequence[int] | None = None) -> pd.DataFrame:
    """Every image with its mask, joined by tile and year and never by position.

    Args:
        root: folder of a published dataset.
        split: train, val or test; None: every row of the table of splits, `buffer` included.
        years: None: all.

    Returns:
        tile_id, year, split, image and mask (paths as text), by year and tile.

    Raises:
        UserError: no such split or year, nothing in it, an image or mask missing, there twice, or in another year's folder.
    """
    table = read_splits(root)
    if split is not None and split not in SPLITS:
        raise UserError(f"split {', '.join(SPLITS)} or None", repr(split), "name one of these")
    if unknown := sorted(set(map(int, years or ())) - set(table["year"])):
        raise UserError(f"years among {sorted(set(table['year']))}", str(unknown), "name years that the dataset has")
    if years is not None:
        table = table[table["year"].isin([int(year) for year in years])]
    if split is not None:
        table = table[table["split"] == split]
    if table.empty:
        raise UserError(f"patches of split {split} in {root}", "none", "choose another split, or make splits with smallmines splits make")
    for column, prefix, kind in (("image", "IMG", "IMAGE"), ("mask", "MASK", "MASK")):
        table = table.merge(_files(Path(root), prefix, kind, column), on=["tile_id", "year"], how="left")
        if (missing := table[table[column].isna()]).size:
            first = missing.iloc[0]
            found = f"{len(missing)} missing, e.g. tile {first['tile_id']} of {first['year']}"
            raise UserError(
                f"the {column} of every tile and year of the splits in {root}", found, "restore the files, or make the folder again"
            )
    return table.reset_index(drop=True)


def _files(root: Path, prefix: str, kind: str, column: str) -> pd.DataFrame:
    """tile_id, year and path of each file of a kind."""
    rows = []
    for path in sorted(root.glob(f"{'[0-9]' * 4}/{kind}/{prefix}_*.tif")):
        if (match := NAME.fullmatch(path.name)) is None or match[3] != path.parts[-3]:
            raise UserError(f"{prefix}_<country>_<tile>_{path.parts[-3]}.tif in {path.parent}", path.name, "move it elsewhere")
        rows.append((match[2], int(match[3]), str(path)))
    table = pd.DataFrame(rows, columns=["tile_id", "year", column]).astype({"tile_id": str, "year": int})
    if (twice := table[table.duplicated(["tile_id", "year"])]).size:
        raise UserError(f"one {column} a tile and year in {root}", f"two, e.g. {twice[column].iloc[0]}", "move one elsewhere")
    return table


def require_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """The names, if each is one of `BANDS` and none is there twice.

    Raises:
        UserError: with the valid names.
    """
    if isinstance(bands, str) or not bands or set(bands) - set(BANDS) or len(set(bands)) < len(bands):
        raise UserError(f"different bands among {', '.join(BANDS)}", str(bands), "name bands as the dataset does")
    return tuple(bands)


def read_image(path: str | Path, bands: Sequence[str] = BANDS) -> NDArray[np.float32]:
    """Bands of an image by name, (band, row, column) float32; gaps (−9999, NaN) are NaN.

    Raises:
        UserError: the file does not have the thirteen bands in their order, as far as it says.
    """
    with rasterio.open(path) as source:
        named = tuple(source.descriptions)
        if source.count != len(BANDS) or (any(named) and named != BANDS):
            raise UserError(f"bands {', '.join(BANDS)} in {path}", f"{source.count}: {named}", "give a patch of the dataset")
        image: NDArray[np.float32] = source.read([BANDS.index(band) + 1 for band in require_bands(bands)], out_dtype="float32")
    image[image == NODATA] = np.nan
    return image


def band_statistics(images: Iterable[str | Path]) -> pd.DataFrame:
    """Mean and standard deviation (of the population) of each band over the pixels that are not gaps.

    Args:
        images: those of the train split, so that val and test stay unseen; each is read once (about 0.9 MB).

    Returns:
        mean and sd in the band's unit, one row for each of `BANDS`.

    Raises:
        UserError: a band without any pixel, or constant: it cannot be normalised.
    """
    count, total, square = np.zeros((3, len(BANDS)))
    for path in images:
        pixels = read_image(path).astype(np.float64)
        count += np.isfinite(pixels).sum(axis=(1, 2))
        total += np.nansum(pixels, axis=(1, 2))
        square += np.nansum(pixels**2, axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        sd = np.sqrt((square / count - mean**2).clip(0))
    if bad := [band for band, value in zip(BANDS, sd, strict=True) if not value > 0]:
        raise UserError("pixels of different values in every band", f"none in {', '.join(bad)}", "give images with data")
    return pd.DataFrame({"mean": mean, "sd": sd}, index=pd.Index(BANDS, name="band"))
