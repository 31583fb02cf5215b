"""Read and write rasters on a `GeoBox`; writes are atomic. Arrays are (band, row, column) or (row, column)."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from smallmines.core.errors import UserError
from smallmines.core.files import remedy, written
from smallmines.core.readable import raster_problem

STRIP = 256
"""Rows of a strip in a pass over a raster, and side of a raster's internal tiles, in pixels."""


def geobox_of(source: rasterio.DatasetReader) -> GeoBox:
    """Return the grid of an open dataset."""
    return GeoBox((source.height, source.width), source.transform, source.crs)


@contextmanager
def opened(path: str | Path) -> Iterator[rasterio.DatasetReader]:
    """Open a raster for reading.

    An error inside the block may come from another raster, or from writing: the file is refused only where it cannot be read to its end.

    Raises:
        UserError: the file is missing, is no raster, or fails while it is read.
    """
    try:
        with rasterio.open(path) as source:
            yield source
    except RasterioError as error:
        if reason := raster_problem(Path(path)):
            raise UserError(f"a readable raster at {path}", reason, remedy(path)) from error
        raise


def read(path: str | Path, geobox: GeoBox | None = None, bands: Sequence[int] | None = None) -> NDArray[Any]:
    """Read a raster as (band, row, column).

    Args:
        geobox: grid that the raster must have exactly.
        bands: 1-based numbers; None: all.

    Raises:
        UserError: see `opened` and `require_grid`.
    """
    with opened(path) as source:
        if geobox is not None:
            require_grid(source, geobox)
        array: NDArray[Any] = source.read(None if bands is None else list(bands))
        return array


def require_grid(source: rasterio.DatasetReader, geobox: GeoBox) -> None:
    """Check that a dataset lies exactly on `geobox`.

    Raises:
        UserError: it does not; the error states both grids.
    """
    actual = geobox_of(source)
    if actual != geobox:
        raise UserError(f"{source.name} on the grid {_words(geobox)}", _words(actual), "delete the file and run again")


def _words(geobox: GeoBox) -> str:
    return f"{geobox.crs} {geobox.shape.x}×{geobox.shape.y} px of {geobox.transform.a} m from ({geobox.transform.c}, {geobox.transform.f})"


@contextmanager
def created(
    path: str | Path,
    geobox: GeoBox,
    dtype: str,
    nodata: float | None,
    bands: Sequence[str],
    tags: Mapping[str, str] | None = None,
    units: Sequence[str] | None = None,
    **profile: Any,
) -> Iterator[DatasetWriter]:
    """Create a tiled, deflated GeoTIFF on `geobox`, atomically: it gets its name when the block succeeds and the file is whole.

    Level 1 of deflate takes half the time of level 6 and at most 1 % more room for composites. Its blocks end with a checksum, which those
    of ZSTD in TIFF lack: broken bits are found when they are read.

    Args:
        bands: names of the bands, written as band descriptions.
        tags: dataset tags, none of which may depend on time or place of the run.
        units: unit of each band.

    Raises:
        OSError: the end of the file could not be written.
    """
    tile = {"tiled": True, "blockxsize": STRIP, "blockysize": STRIP} if min(geobox.shape) >= STRIP else {}
    options: dict[str, Any] = {"compress": "deflate", "zlevel": 1, "predictor": 3 if dtype.startswith("float") else 2} | tile | profile
    with written(path) as beside:
        with rasterio.open(
            beside,
            "w",
            driver="GTiff",
            height=geobox.shape.y,
            width=geobox.shape.x,
            count=len(bands),
            dtype=dtype,
            nodata=nodata,
            crs=str(geobox.crs),
            transform=geobox.transform,
            BIGTIFF="IF_SAFER",
            **options,
        ) as target:
            target.descriptions = tuple(bands)
            if units is not None:
                target.units = tuple(units)
            if tags:
                target.update_tags(**tags)
            yield target
        require_whole(beside)


def require_whole(path: Path) -> None:
    """Refuse a deflated GeoTIFF that lacks blocks: where a disk is full when GDAL closes a file, rasterio raises nothing.

    Raises:
        OSError: a block ends behind the end of the file, or does not begin with the header of zlib (RFC 1950).
    """
    size = path.stat().st_size
    try:
        with rasterio.open(path) as source, path.open("rb") as file:
            rows, cols = (-(-length // step) for length, step in zip(source.shape, source.block_shapes[0], strict=True))
            for band in source.indexes if source.interleaving is Interleaving.band else (1,):
                for row, col in np.ndindex(rows, cols):
                    start, length = (
                        int(source.get_tag_item(f"BLOCK_{key}_{col}_{row}", "TIFF", bidx=band) or 0) for key in ("OFFSET", "SIZE")
                    )
                    file.seek(start)
                    if not start or start + length > size or file.read(1) != b"\x78":
                        raise OSError(errno.ENOSPC, "the end of the file could not be written", str(path))
    except RasterioError:
        raise OSError(errno.ENOSPC, "the end of the file could not be written", str(path)) from None


def write(
    path: str | Path,
    array: NDArray[Any],
    geobox: GeoBox,
    nodata: float | None,
    bands: Sequence[str],
    tags: Mapping[str, str] | None = None,
    units: Sequence[str] | None = None,
    **profile: Any,
) -> None:
    """Write a (band, row, column) or (row, column) array as GeoTIFF, see `created`."""
    cube = array if array.ndim == 3 else array[np.newaxis]
    with created(path, geobox, str(cube.dtype), nodata, bands, tags, units, **profile) as target:
        target.write(cube)


def strips(shape: tuple[int, int], rows: int = STRIP) -> Iterator[Window]:
    """Yield full-width windows from top to bottom, `rows` high; the last may be lower."""
    height, width = shape
    for top in range(0, height, rows):
        yield Window(0, top, width, min(rows, height - top))


def window_geobox(geobox: GeoBox, window: Window) -> GeoBox:
    """Return the grid of a window of `geobox`."""
    row, col = int(window.row_off), int(window.col_off)
    return geobox[row : row + int(window.height), col : col + int(window.width)]


def doubled(geobox: GeoBox) -> GeoBox:
    """Return the grid with pixels of twice the side, from the same corner; of an odd number of pixels the last one is left out."""
    return GeoBox((geobox.shape.y // 2, geobox.shape.x // 2), geobox.transform * Affine.scale(2), geobox.crs)


def band_indices(source: rasterio.DatasetReader, names: Sequence[str]) -> list[int]:
    """Return the 1-based numbers of bands by name.

    Raises:
        UserError: the raster lacks one.
    """
    missing = [name for name in names if name not in source.descriptions]
    if missing:
        raise UserError(f"bands {' '.join(names)} in {source.name}", f"none named {' '.join(missing)}", "delete the file and run again")
    return [source.descriptions.index(name) + 1 for name in names]
