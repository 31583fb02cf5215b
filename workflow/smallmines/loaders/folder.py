"""Read a published dataset for training: pairs of image and mask by (tile, year), bands by name, statistics.

Two layouts are read: that of this workflow (`splits.csv`) and the released one (`train_test_splits_<year>.csv`, whose names leave
the country out). Both have `<year>/IMAGE/IMG_….tif` and `<year>/MASK/MASK_….tif`. Needs numpy, pandas and rasterio only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from smallmines.core.errors import UserError
from smallmines.core.product import IMAGE, IMAGE_NODATA, MASK, PATCH_BANDS, SPLITS, PatchFormat, parse_patch_name
from smallmines.dataset.split_files import altered_id, read_released_rows, read_split_rows


def read_splits(root: str | Path) -> pd.DataFrame:
    """Read the split of every tile and year: tile_id (text), year (int), split, by year and tile.

    Raises:
        UserError: no table of splits in the folder, or one that cannot be read or names a tile and year twice.
    """
    root = Path(root)
    own, released = root / "splits.csv", sorted(root.rglob("train_test_splits_*.csv"))
    if own.is_file():
        table = read_split_rows(own, remedy="restore the file as it was published")
    elif released:
        table = pd.concat([read_released_rows(path) for path in released], ignore_index=True)
    else:
        raise UserError(f"splits.csv (or train_test_splits_<year>.csv) in {root}", "neither", "name the folder of a published dataset")
    if (twice := table[table.duplicated(["tile_id", "year"])]).size:
        first = twice.iloc[0]
        found = f"{len(twice)} twice, e.g. tile {first['tile_id']} of {first['year']}"
        raise UserError(f"each tile and year once in the splits of {root}", found, "correct the table")
    return table.sort_values(["year", "tile_id"], ignore_index=True)


def read_pairs(root: str | Path, split: str | None = None, years: Sequence[int] | None = None) -> pd.DataFrame:
    """Match every image with its mask by tile and year, never by position.

    Args:
        root: folder of a published dataset.
        split: train, val or test, or None for every row of the table of splits, `buffer` included.
        years: None for all.

    Returns:
        tile_id, year, split, image and mask (paths as text), by year and tile.

    Warns:
        UserWarning: images that are in no row of the table of splits: it may have lost rows.

    Raises:
        UserError: an unknown split or year, an empty split, or an image or mask that is missing, double or in another year's folder.
    """
    table = whole = read_splits(root)
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
    for column, form in (("image", IMAGE), ("mask", MASK)):
        files = _files(Path(root), form, column)
        if form is IMAGE:
            _warn_of_rows_left_out(files, whole, years, root)
        table = table.merge(files, on=["tile_id", "year"], how="left")
        if (missing := table[table[column].isna()]).size:
            first = missing.iloc[0]
            found, remedy = f"{len(missing)} missing, e.g. tile {first['tile_id']} of {first['year']}", "restore the files"
            if altered := altered_id(missing["tile_id"], files["tile_id"]):
                found += f"; {altered[0]} looks like {altered[1]}: a spreadsheet took the ids for numbers"
                remedy = "restore the table of splits as it was published"
            raise UserError(f"the {column} of every tile and year of the splits in {root}", found, f"{remedy}, or make the folder again")
    return table.reset_index(drop=True)


def read_year_pairs(root: str | Path, split: str | None = None, years: Sequence[int] | None = None) -> pd.DataFrame:
    """Pair the years of each tile, for change: each year with the next one.

    Args:
        root: folder of a published dataset.
        split: train, val or test: tiles that are in it in both years, so that no year of a test tile trains; None for all.
        years: those that are paired, in order of time; None for all.

    Returns:
        tile_id, split (empty where the years are in different ones), and year, image and mask of both, with `_first` and `_last`; by tile
        and year.

    Raises:
        UserError: see `read_pairs`; or no tile has two years in this split.
    """
    table = read_pairs(root, None, years).sort_values(["tile_id", "year"], ignore_index=True)
    following = table.groupby("tile_id")[["year", "split", "image", "mask"]].shift(-1)
    pairs = table.join(following, lsuffix="_first", rsuffix="_last").dropna(subset=["year_last"]).astype({"year_last": int})
    same = pairs["split_first"] == pairs["split_last"]
    pairs = pairs.assign(split=pairs["split_first"].where(same, ""))
    if split is not None and split not in SPLITS:
        raise UserError(f"split {', '.join(SPLITS)} or None", repr(split), "name one of these")
    own = pairs if split is None else pairs[pairs["split"] == split]
    if own.empty:
        if pairs.empty:
            of_years = ", ".join(map(str, sorted(set(table["year"]))))
            raise UserError(f"tiles with two years or more in {root}", f"none in {of_years}", "name more years, or a dataset that has them")
        found = f"none of {len(pairs)} tiles with two years: {int((~same).sum())} are in different splits in their years"
        raise UserError(
            f"tiles of split {split} in both years in {root}", found, "make splits with the method spatial_block (docs/splits.md)"
        )
    columns = ["tile_id", "split", *(f"{name}_{end}" for end in ("first", "last") for name in ("year", "image", "mask"))]
    return own[columns].reset_index(drop=True)


def read_masks(first: str | Path, last: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the masks of a tile in two years, uint8 (row, column).

    Raises:
        UserError: they are not on one grid, so that pixels of one year lie elsewhere in the other.
    """
    with rasterio.open(first) as before, rasterio.open(last) as after:
        same_place = before.crs == after.crs and before.transform.almost_equals(after.transform, 1e-3)  # m
        if not same_place or before.shape != after.shape:
            found = f"{after.shape} pixels at {tuple(after.transform)[:6]} in place of {before.shape} at {tuple(before.transform)[:6]}"
            raise UserError(f"{last} on the grid of {first}", found, "take a dataset whose years were made on one grid")
        return np.asarray(before.read(1), np.uint8), np.asarray(after.read(1), np.uint8)


def _warn_of_rows_left_out(images: pd.DataFrame, splits: pd.DataFrame, years: Sequence[int] | None, root: str | Path) -> None:
    """Warn of images without a row in the table of splits, which no split contains."""
    rows = images.merge(splits[["tile_id", "year"]], on=["tile_id", "year"], how="left", indicator=True)
    without = rows[(rows["_merge"] == "left_only") & (rows["year"].isin(years) if years is not None else True)]
    if len(without):
        text = f"{len(without)} images of {root} are in no row of the table of splits, and so in no split, e.g. {without['image'].iloc[0]}"
        warnings.warn(text, UserWarning, stacklevel=3)


def _files(root: Path, form: PatchFormat, column: str) -> pd.DataFrame:
    """Return tile_id, year and path of each patch of a kind."""
    rows = []
    for path in sorted(root.glob(f"{'[0-9]' * 4}/{form.kind}/{form.prefix}_*.tif")):
        parts, year = parse_patch_name(path.name), path.parts[-3]
        if parts is None or parts.year != year:
            raise UserError(f"{form.prefix}_<country>_<tile>_{year}.tif in {path.parent}", path.name, "move it elsewhere")
        rows.append((parts.tile_id, int(year), str(path)))
    table = pd.DataFrame(rows, columns=["tile_id", "year", column]).astype({"tile_id": str, "year": int})
    if (twice := table[table.duplicated(["tile_id", "year"])]).size:
        raise UserError(f"one {column} for each tile and year in {root}", f"two, e.g. {twice[column].iloc[0]}", "move one elsewhere")
    return table


def require_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        UserError: no name, an unknown one (with the valid names), or one twice.
    """
    if isinstance(bands, str) or not bands or set(bands) - set(PATCH_BANDS) or len(set(bands)) < len(bands):
        raise UserError(f"different bands among {', '.join(PATCH_BANDS)}", str(bands), "name bands as the dataset does")
    return tuple(bands)


def read_image(path: str | Path, bands: Sequence[str] = PATCH_BANDS) -> NDArray[np.float32]:
    """Read bands of an image by name, (band, row, column) float32; gaps (−9999, NaN) are NaN.

    Raises:
        UserError: the file cannot be read, or has not the thirteen bands in their order; without descriptions only their number is checked.
    """
    numbers = [PATCH_BANDS.index(band) + 1 for band in require_bands(bands)]
    try:
        with rasterio.open(path) as source:
            named = tuple(source.descriptions)
            if source.count != len(PATCH_BANDS) or (any(named) and named != PATCH_BANDS):
                raise UserError(f"bands {', '.join(PATCH_BANDS)} in {path}", f"{source.count}: {named}", "give a patch of the dataset")
            if any("complex" in dtype for dtype in source.dtypes):
                raise UserError(f"real numbers in {path}", ", ".join(sorted(set(source.dtypes))), "give a patch of the dataset")
            image: NDArray[np.float32] = source.read(numbers, out_dtype="float32")
    except RasterioError as error:
        raise UserError(f"a readable image {path}", " ".join(str(error).split()), "restore the file") from None
    image[image == IMAGE_NODATA] = np.nan
    return image


def band_statistics(images: Iterable[str | Path]) -> pd.DataFrame:
    """Return mean and standard deviation (of the population) of each band over the pixels that are not gaps.

    Args:
        images: those of the train split, so that val and test stay unseen; each is read once (about 0.9 MB).

    Returns:
        mean and sd in the band's unit, one row for each of `PATCH_BANDS`.

    Raises:
        UserError: a band without pixels or of one value, which cannot be normalised.
    """
    count, total, square = np.zeros((3, len(PATCH_BANDS)))
    for path in images:
        pixels = read_image(path).astype(np.float64)
        count += np.isfinite(pixels).sum(axis=(1, 2))
        total += np.nansum(pixels, axis=(1, 2))
        square += np.nansum(pixels**2, axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        sd = np.sqrt((square / count - mean**2).clip(0))
    if bad := [band for band, value in zip(PATCH_BANDS, sd, strict=True) if not value > 0]:
        raise UserError("pixels of different values in every band", f"none in {', '.join(bad)}", "give images with data")
    return pd.DataFrame({"mean": mean, "sd": sd}, index=pd.Index(PATCH_BANDS, name="band"))
