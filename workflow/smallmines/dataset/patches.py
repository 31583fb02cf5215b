"""Patches: the tiles of a block as small GeoTIFFs, in the form of the released dataset.

An image has 13 float32 bands (ten Sentinel-2 bands in DN, VV and VH in dB, elevation in m; nodata −9999), a mask one
uint8 band (0 not mining, 1 mining; nodata 255). A gap of Sentinel-1 or of the elevation never changes the mask.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES, PATCH_BANDS, S2_BANDS
from smallmines.grid.lattice import Lattice

Kind = Literal["IMAGE", "MASK"]

KINDS: tuple[Kind, ...] = ("IMAGE", "MASK")
IMAGE_NODATA = -9999.0
MASK_NODATA = 255
UNITS = ("DN",) * len(S2_BANDS) + ("dB", "dB", "m")
"""Unit of each band of `PATCH_BANDS`."""

PREFIX: dict[str, str] = {"IMAGE": "IMG", "MASK": "MASK"}


def patch_name(kind: str, country: str, tile_id: str, year: str) -> str:
    """File name of a patch as in the released dataset, e.g. `IMG_GH_0001_2016.tif`."""
    return f"{PREFIX[kind]}_{country}_{tile_id}_{year}.tif"


def image_array(s2: NDArray[np.uint16], s1: NDArray[np.float32], dem: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stack the composites into the 13 bands of an image.

    Args:
        s2: (10, row, column) DN, 0 = no data; where one band has none, all ten get none.
        s1: (2, row, column) dB, not finite = no data, each band for itself.
        dem: (1, row, column) m, not finite = no data.

    Returns:
        (13, row, column) float32, nodata −9999.
    """
    image = np.concatenate([s2.astype(np.float32), s1, dem]).astype(np.float32, copy=False)
    image[: len(s2), (s2 == 0).any(axis=0)] = IMAGE_NODATA
    image[~np.isfinite(image)] = IMAGE_NODATA
    return image


def write_images(
    s2: str | Path, s1: str | Path, dem: str | Path, lattice: Lattice, year: str, block: str, country: str, config: str, folder: str | Path
) -> int:
    """Write the images of a block's own tiles into `folder`; see `image_array`.

    Args:
        s2, s1, dem: the block's composites, on `lattice.block(block)`.
        config: digest of the settings that shaped the composites, for the tags.

    Returns:
        The number of patches.

    Raises:
        UserError: a composite is missing, does not lie on the block's grid or has other bands.
    """
    geobox = lattice.block(block)
    with _source(s2, geobox, len(S2_BANDS)) as a, _source(s1, geobox, 2) as b, _source(dem, geobox, 1) as c, _fresh(folder) as beside:
        tags = {"CONFIG": config, **_tags(a, "S2_"), **_tags(b, "S1_"), **_tags(c, "DEM_")}
        if "S2_RADIOMETRY" in tags:
            tags["RADIOMETRY"] = tags.pop("S2_RADIOMETRY")
        count = 0
        for tile_id, where, square in _tiles(lattice, block):
            image = image_array(*(source.read(window=where) for source in (a, b, c)))
            _write(
                beside / patch_name("IMAGE", country, tile_id, year),
                image,
                square,
                IMAGE_NODATA,
                PATCH_BANDS,
                UNITS,
                year,
                block,
                tile_id,
                tags,
            )
            count += 1
    logger.info("%d images of %s, block %s", count, year, block)
    return count


def write_masks(mask: str | Path, lattice: Lattice, year: str, block: str, country: str, config: str, folder: str | Path) -> int:
    """Write the masks of a block's own tiles into `folder`: the block's mask, cut.

    Args:
        mask: (1, row, column) uint8 of the block: 0, 1, 255 = no data.
        config: digest of the settings that shaped the mask, for the tags.

    Returns:
        The number of patches.

    Raises:
        UserError: the mask is missing, does not lie on the block's grid, or holds another value.
    """
    classes = ", ".join(f"{value} {name}" for value, name in enumerate(CLASSES))
    with _source(mask, lattice.block(block), 1) as source, _fresh(folder) as beside:
        tags = {**_tags(source, ""), "CONFIG": config, "CLASSES": f"{classes}, {MASK_NODATA} nodata"}
        count = 0
        for tile_id, where, square in _tiles(lattice, block):
            values = source.read(window=where)
            if not np.isin(values, (0, 1, MASK_NODATA)).all():
                raise UserError("a mask of 0, 1 and 255", f"{np.unique(values).tolist()} in {mask}", "delete the mask and run again")
            _write(
                beside / patch_name("MASK", country, tile_id, year),
                values,
                square,
                MASK_NODATA,
                ("mask",),
                ("",),
                year,
                block,
                tile_id,
                tags,
            )
            count += 1
    logger.info("%d masks of %s, block %s", count, year, block)
    return count


def _tiles(lattice: Lattice, block: str) -> Iterator[tuple[str, rasterio.windows.Window, GeoBox]]:
    """Id, window in the block's rasters and grid of each tile of a block."""
    geobox, side = lattice.block(block), lattice.tile_size
    first_row, first_col, _, _ = lattice.windows[block]
    for tile in sorted(lattice.tiles_of(block), key=lambda tile: (tile.row, tile.col)):
        where = rasterio.windows.Window((tile.col - first_col) * side, (tile.row - first_row) * side, side, side)
        yield tile.tile_id, where, raster.window_geobox(geobox, where)


def _write(
    path: Path,
    array: NDArray[Any],
    geobox: GeoBox,
    nodata: float,
    bands: tuple[str, ...],
    units: tuple[str, ...],
    year: str,
    block: str,
    tile_id: str,
    tags: Mapping[str, str],
) -> None:
    """One strip per band: best compression, and a loader that wants three bands reads three."""
    every = {"TILE_ID": tile_id, "YEAR": year, "BLOCK": block, **tags}
    layout = {"tiled": False, "blockysize": geobox.shape.y, "interleave": "band"}
    raster.write(path, array, geobox, nodata, bands, dict(sorted(every.items())), units, **layout)


@contextmanager
def _source(path: str | Path, geobox: GeoBox, count: int) -> Iterator[rasterio.DatasetReader]:
    """An open block raster, refused unless it lies on `geobox` and has `count` bands."""
    with raster.opened(path) as source:
        raster.require_grid(source, geobox)
        if source.count != count:
            raise UserError(f"{count} bands in {path}", f"{source.count}", "delete the file and run again")
        yield source


@contextmanager
def _fresh(folder: str | Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends well, whatever was there before."""
    with written(folder) as beside:
        beside.mkdir(parents=True)
        yield beside
        shutil.rmtree(folder, ignore_errors=True)


def _tags(source: rasterio.DatasetReader, prefix: str) -> dict[str, str]:
    """A composite's own tags, marked with where they come from."""
    return {f"{prefix}{key}": value for key, value in source.tags().items() if key != "AREA_OR_POINT"}
