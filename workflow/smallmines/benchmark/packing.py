"""Write a pack: the patches of a published dataset as one array a modality, tile by tile, so that memory stays small."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.benchmark.findings import findings_by_band
from smallmines.benchmark.pack import FILES, MODALITIES, UNKNOWN, Sums
from smallmines.benchmark.split_files import GEOGRAPHIC_BLOCKS
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import temporary_folder, write_json
from smallmines.core.log import logger
from smallmines.core.product import MASK_NODATA, PATCH_BANDS, S2
from smallmines.core.readable import read_parquet
from smallmines.dataset.frames import cells_in_one_frame
from smallmines.loaders.folder import read_image, read_pairs

LARGEST = 65_535
LOGGED_EVERY = 500


class _Fractions(Exception):
    """Values of Sentinel-2 that uint16 does not hold."""


def write_pack(dataset: str | Path, target: str | Path, doctor: str | Path | None = None, radiometry: str | None = None) -> None:
    """Write the pack of a published dataset: ours, the release, or a look-alike.

    The files appear together at the end: `s2.npy` (uint16, 0 = gap; float32 where a value is no whole number of 0 to 65535), `s1.npy`
    and `dem.npy` (float32, NaN = gap), `mask.npy` (uint8, 255 = unknown), `tiles.parquet`, and `pack.json` with bands, side, pixel (m),
    radiometry by year, statistics of the train split, and findings by band.

    Args:
        dataset: folder of the dataset.
        target: folder of the pack.
        doctor: `doctor.json` of the dataset, if there is one.
        radiometry: of years whose index and images state none.

    Raises:
        UserError: images or masks that cannot be read, differ in size, do not lie on each other, or have other values.
    """
    pairs = read_pairs(dataset)
    target = Path(target)
    tiles, stated, pixel = tile_table(pairs, Path(dataset))
    with temporary_folder(target) as folder:
        try:
            sums, percent = _write_arrays(tiles, folder, np.dtype(np.uint16))
        except _Fractions:
            logger.warning("Sentinel-2 has values that are no whole numbers of 0 to %d: kept as float32", LARGEST)
            sums, percent = _write_arrays(tiles, folder, np.dtype(np.float32))
        about = {
            "bands": {name: list(bands) for name, bands in MODALITIES.items()},
            "side": int(tiles["side"].iloc[0]),
            "pixel": pixel,
            "radiometry": {year: radiometry or UNKNOWN if own == UNKNOWN else own for year, own in stated.items()},
            "statistics": sums.result(),
            "findings": findings_by_band(doctor),
        }
        kept = tiles.drop(columns=["image", "mask", "side"]).assign(mining_percent=percent)
        kept.to_parquet(folder / "tiles.parquet", index=False)
        write_json(folder / "pack.json", about)
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            os.replace(folder / name, target / name)
    logger.info("%d tiles and years of %d × %d px packed", len(tiles), about["side"], about["side"])


def tile_table(pairs: pd.DataFrame, dataset: Path) -> tuple[pd.DataFrame, dict[str, str], list[float]]:
    """Return the table of the tiles, the radiometry by year, and the size of a pixel in m (x, y).

    Columns: tile_id, year, split (in force), block, row and col (in one frame for all regions), x and y (upper left corner in the CRS),
    crs; image, mask and side for the writing. The block is that of the index, else one of `GEOGRAPHIC_BLOCKS`.

    Raises:
        UserError: images of several sizes or resolutions, or a mask that does not lie on its image.
    """
    heads = [_head(pair) for pair in pairs.to_dict("records")]
    table = pd.concat([pairs, pd.DataFrame(heads)], axis=1)
    for column, what in (("shape", "size in pixels"), ("pixel", "size of a pixel")):
        if len(set(table[column])) > 1:
            found = ", ".join(map(str, sorted(set(table[column]))[:3]))
            raise UserError(f"one {what} for all images", found, "give the patches of one dataset")
    (height, width), pixel = table["shape"].iloc[0], table["pixel"].iloc[0]
    if height != width:
        raise UserError("square images", f"{width} × {height} px", "give the patches of a dataset in the released layout")
    crs, x, y = table["crs"].to_numpy(object), table["x"].to_numpy(np.float64), table["y"].to_numpy(np.float64)
    row, col = cells_in_one_frame(crs, x, y, height * pixel[0])
    index = _index(dataset)
    table = table.assign(row=row, col=col, side=height, block=_blocks(table, index, row, col))
    radiometry = _radiometry(table, index)
    columns = ["tile_id", "year", "split", "block", "row", "col", "x", "y", "crs", "image", "mask", "side"]
    return table[columns], radiometry, [float(axis) for axis in pixel]


def _head(pair: Mapping[Any, Any]) -> dict[str, Any]:
    """Return place, size and radiometry of an image, after a look whether its mask lies on it."""
    with raster.opened(pair["image"]) as image, raster.opened(pair["mask"]) as mask:
        if (image.shape, image.transform, image.crs) != (mask.shape, mask.transform, mask.crs):
            found = f"{mask.shape}, {tuple(mask.transform)[:6]} in {pair['mask']}"
            raise UserError(f"the mask on the pixels of the image, {image.shape}, {tuple(image.transform)[:6]}", found, "cut it again")
        return {
            "x": image.transform.c,
            "y": image.transform.f,
            "crs": str(image.crs),
            "shape": image.shape,
            "pixel": (abs(image.transform.a), abs(image.transform.e)),
            "tag": image.tags().get("RADIOMETRY", ""),
        }


def _index(dataset: Path) -> pd.DataFrame | None:
    """Return tile_id, year and what there is of block, radiometry and released_id of the index; None without an index."""
    path = dataset / "index.parquet"
    if not path.is_file():
        return None
    table = read_parquet(path)
    wanted = ["tile_id", "year", "block", "radiometry"]
    return table[[name for name in wanted if name in table]].drop_duplicates(["tile_id", "year"])


def _indexed(table: pd.DataFrame, index: pd.DataFrame | None, column: str) -> NDArray[np.object_] | None:
    """Return a column of the index for each row, None where the index lacks it or misses a row."""
    if index is None or column not in index:
        return None
    values = table[["tile_id", "year"]].merge(index[["tile_id", "year", column]], on=["tile_id", "year"], how="left")[column]
    return None if values.isna().any() else values.astype(str).to_numpy(object)


def _blocks(table: pd.DataFrame, index: pd.DataFrame | None, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.object_]:
    stated = _indexed(table, index, "block")
    if stated is not None:
        return stated
    from sklearn.cluster import KMeans

    places, inverse = np.unique(np.column_stack([row, col]), axis=0, return_inverse=True)
    model = KMeans(min(GEOGRAPHIC_BLOCKS, len(places)), random_state=0, n_init=10).fit(places.astype(np.float64))
    return np.array([str(label + 1) for label in model.labels_], object)[inverse]


def _radiometry(table: pd.DataFrame, index: pd.DataFrame | None) -> dict[str, str]:
    """Return the radiometry of each year: of the index, else of the images' tags; several are joined by a comma."""
    stated = _indexed(table, index, "radiometry")
    values = table["tag"].to_numpy(object) if stated is None else stated
    return {
        str(year): ", ".join(sorted({str(value) for value in values[table["year"] == year]} - {""})) or UNKNOWN
        for year in sorted(set(table["year"]))
    }


def _write_arrays(tiles: pd.DataFrame, folder: Path, dtype: np.dtype[Any]) -> tuple[Sums, NDArray[np.float64]]:
    """Write the arrays; return the sums over the train split, and the share of mining of each row in %, NaN without a known pixel."""
    side = int(tiles["side"].iloc[0])
    dtypes = {"s2": dtype, "s1": np.dtype(np.float32), "dem": np.dtype(np.float32), "mask": np.dtype(np.uint8)}
    sums, percent = Sums(PATCH_BANDS), np.full(len(tiles), np.nan)
    with ExitStack() as stack:
        files = {}
        for name, kind in dtypes.items():
            bands = (len(MODALITIES[name]),) if name in MODALITIES else ()
            files[name] = stack.enter_context(open(folder / f"{name}.npy", "wb"))
            _write_header(files[name], kind, (len(tiles), *bands, side, side))
        for number, (split, image, mask) in enumerate(_read(tiles)):
            if split == "train":
                sums.add(image)
            s2 = image[S2]
            files["s2"].write((_whole(s2) if dtype == np.uint16 else s2).tobytes())
            files["s1"].write(image[len(s2) : -1].tobytes())
            files["dem"].write(image[-1:].tobytes())
            files["mask"].write(mask.tobytes())
            if (mask != MASK_NODATA).any():
                percent[number] = 100 * float((mask == 1).sum() / (mask != MASK_NODATA).sum())
            if (number + 1) % LOGGED_EVERY == 0:
                logger.info("%d of %d", number + 1, len(tiles))
    return sums, percent


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _read(tiles: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield split, image (13, row, column) float32 with NaN gaps, and mask (row, column) of each row.

    Raises:
        UserError: a mask with a value beside 0, 1 and 255.
    """
    columns = (tiles[name] for name in ("split", "image", "mask"))
    for split, image, mask in zip(*columns, strict=True):
        values, pixels = raster.read(mask)[0], read_image(image)
        if not np.isin(values, (0, 1, MASK_NODATA)).all():
            raise UserError(f"a mask of 0, 1 and 255 at {mask}", str(np.unique(values)[:8].tolist()), "make the mask again")
        pixels[~np.isfinite(pixels)] = np.nan
        yield split, pixels, values.astype(np.uint8)


def _whole(s2: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return digital numbers as uint16, 0 for a gap.

    Raises:
        _Fractions: a value that is no whole number of 0 to `LARGEST`.
    """
    values = np.nan_to_num(s2, nan=0.0)
    if (values < 0).any() or (values > LARGEST).any() or (values != np.rint(values)).any():
        raise _Fractions
    return values.astype(np.uint16)
