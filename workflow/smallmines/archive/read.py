"""Read from archives: open assets with retries and fresh signatures, and read pixels onto a grid.

Which reads are copies and which resample:

* Sentinel-2 is read onto the block's grid. In the same CRS, nearest selects source pixels by index: an exact copy of a 10 m band on
  the same lattice, each 20 m pixel four times. Bilinear, cubic and other zones use a `WarpedVRT` with a transformer tolerance of
  1e-9 px, so that neighbouring blocks agree.
* Sentinel-1 and elevation are copied as windows of their own grid with a margin; `composite.sampling` resamples them later.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.session import DummySession
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from smallmines.archive.connections import connection
from smallmines.archive.earthengine import PREFIX, open_image
from smallmines.archive.providers import Provider
from smallmines.archive.signing import ABSENT, REFUSED, forget_signatures, is_remote, readable, refusal, retry_delay
from smallmines.core.crs import transformer
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.redaction import redacted

ATTEMPTS = 5
"""Most attempts to open and read a remote file, each with a new signature; GDAL retries single requests itself."""

REFUSED_ATTEMPTS = 3
"""Most attempts where access is refused and the signature can be renewed."""

Source = Any
"""An open raster: rasterio's, or `EarthEngineImage`."""

T = TypeVar("T")


def read_asset(item: str, band: str, href: str, provider: Provider, work: Callable[[Source], T]) -> T:
    """Open an asset and return `work(source)`; retry on errors of the archive.

    Args:
        item: id of the item, for messages.
        band: our name of the band.
        href: unsigned; signed before each opening.
        provider: signs the href and limits the connections.
        work: reads from the open raster at full resolution; may be called again from the start.

    Raises:
        UserError: the asset is missing, refused, or fails repeatedly; names provider, item, band and (unsigned) href.
    """
    if not is_remote(href):
        try:
            with rasterio.open(href) as source:
                return work(source)
        except RasterioError as error:
            raise UserError(
                f"a readable raster for {item} {band} at {href}",
                str(error.__cause__ or error).replace("\n", " "),
                "restore the file, or leave the item out (`exclude_items` of the sensor in the config file), and run again",
            ) from error
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connection(provider):
                return _remote(band, href, provider, work)
        except UserError:
            raise
        except Exception as error:
            if not _of_the_archive(error):
                raise
            text = redacted(str(error.__cause__ or error)).replace("\n", " ")
            renewable = provider.signing in ("planetary_computer", "bearer")
            if attempt == ATTEMPTS or ABSENT.search(text) or (REFUSED.search(text) and (attempt == REFUSED_ATTEMPTS or not renewable)):
                raise refusal(f"{item} {band} at {href}", error.__cause__ or error, provider) from error
            forget_signatures()
            pause = retry_delay() * 2**attempt
            logger.warning("%s %s: %s; again in %.1f s (%d of %d)", item, band, text, pause, attempt, ATTEMPTS - 1)
            time.sleep(pause)
    raise AssertionError("unreachable")


def _remote(band: str, href: str, provider: Provider, work: Callable[[Source], T]) -> T:
    if href.startswith(PREFIX):
        return work(open_image(href, band, provider))
    address = readable(href, provider)
    # DummySession: GDAL looks for keys itself, in the environment and in ~/.aws.
    with rasterio.Env(session=DummySession(), **address.options), rasterio.open(address.path) as source:
        return work(source)


def _of_the_archive(error: Exception) -> bool:
    """Return whether an error comes from reading the archive, not from writing or from a defect of this code."""
    if isinstance(error, RasterioError):
        return True
    return type(error).__module__.split(".")[0] in ("ee", "google", "googleapiclient", "httplib2", "requests") or isinstance(
        error, ConnectionError | TimeoutError
    )


def same_crs(source: rasterio.DatasetReader, geobox: GeoBox) -> bool:
    """Return whether a source is north-up and has the CRS of `geobox`."""
    t = source.transform
    north_up = t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0
    return north_up and bool(geobox.crs == source.crs)


def read_on_grid(source: rasterio.DatasetReader, geobox: GeoBox, resampling: str, nodata: int = 0) -> NDArray[Any]:
    """Read the first band of `source` on `geobox`, (row, column), in the source's dtype; `nodata` outside.

    In the same CRS, nearest takes the source pixel that holds the centre of the target pixel (the eastern or southern one
    of a tie), to 1e-6 px, so that the result does not depend on the rest of `geobox`.
    """
    if resampling == "nearest" and same_crs(source, geobox):
        return _select(source, geobox, nodata)
    with WarpedVRT(
        source,
        crs=str(geobox.crs),
        transform=geobox.transform,
        width=geobox.shape.x,
        height=geobox.shape.y,
        resampling=Resampling[resampling],
        src_nodata=nodata,
        nodata=nodata,
        tolerance=1e-9,  # source pixels; 0 would be the exact transformer, but rasterio 1.4 builds none then
        XSCALE="1",  # without these the kernel's width follows from the window's proportions
        YSCALE="1",
    ) as warped:
        return np.asarray(warped.read(1))


def sampled(source: Source, geobox: GeoBox) -> NDArray[Any]:
    """Read the first band at the pixel centres of a coarse `geobox`, from the overview that fits; 0 outside, (row, column).

    A file with overviews takes a few requests. Their pixels are means of the pixels with data, so what has data is right to a pixel of
    `geobox`, and values are not exact.
    """
    from rasterio.warp import transform

    result = np.zeros(tuple(geobox.shape), source.dtypes[0])
    window = source_window(source, geobox, 1)
    if window is None:
        return result
    factor = max(1, min(int(window.height) // geobox.shape.y, int(window.width) // geobox.shape.x))
    height, width = math.ceil(window.height / factor), math.ceil(window.width / factor)
    values = source.read(1, window=window, out_shape=(height, width))
    g, t = geobox.transform, source.transform
    x, y = np.meshgrid(g.c + (np.arange(geobox.shape.x) + 0.5) * g.a, g.f + (np.arange(geobox.shape.y) + 0.5) * g.e)
    if not same_crs(source, geobox):
        x, y = (np.reshape(part, result.shape) for part in transform(str(geobox.crs), source.crs, x.ravel(), y.ravel()))
    cols = np.floor(((x - t.c) / t.a - window.col_off) * width / window.width).astype(int)
    rows = np.floor(((y - t.f) / t.e - window.row_off) * height / window.height).astype(int)
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    result[inside] = values[rows[inside], cols[inside]]
    return result


def _select(source: rasterio.DatasetReader, geobox: GeoBox, nodata: int) -> NDArray[Any]:
    """Read the source pixels that hold the centres of the pixels of `geobox`."""
    t, g = source.transform, geobox.transform
    rows = np.floor(np.round((g.f + (np.arange(geobox.shape.y) + 0.5) * g.e - t.f) / t.e, 6)).astype(int)
    cols = np.floor(np.round((g.c + (np.arange(geobox.shape.x) + 0.5) * g.a - t.c) / t.a, 6)).astype(int)
    in_rows, in_cols = ((index >= 0) & (index < size) for index, size in ((rows, source.height), (cols, source.width)))
    result = np.full((len(rows), len(cols)), nodata, source.dtypes[0])
    if in_rows.any() and in_cols.any():
        rows, cols = rows[in_rows], cols[in_cols]
        window = Window(cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1)
        result[np.ix_(in_rows, in_cols)] = source.read(1, window=window)[np.ix_(rows - rows[0], cols - cols[0])]
    return result


def source_window(source: rasterio.DatasetReader, geobox: GeoBox, margin: int) -> Window | None:
    """Return the window of `source` under `geobox`, `margin` source pixels wider on each side, clipped to the source; None outside it."""
    box = geobox.boundingbox
    transformer(str(geobox.crs), source.crs.to_wkt())  # refuses a source whose datum nobody knows; GDAL would guess it
    west, south, east, north = transform_bounds(str(geobox.crs), source.crs, box.left, box.bottom, box.right, box.top, densify_pts=41)
    t = source.transform
    left, right = math.floor((west - t.c) / t.a) - margin, math.ceil((east - t.c) / t.a) + margin
    top, bottom = math.floor((north - t.f) / t.e) - margin, math.ceil((south - t.f) / t.e) + margin
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, source.width), min(bottom, source.height)
    return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None
