"""Pixels from archives: onto the grid of a block, or as exact windows of the source, into the cache of pixels.

Which reads are copies and which resample:

* Sentinel-2 goes onto the block's grid. In the same CRS nearest is a choice of source pixels by index: an exact copy of a
  10 m band on the same lattice, each 20 m pixel four times. Bilinear, cubic and other zones go through a `WarpedVRT` whose
  transformer is as good as exact, without which neighbouring blocks would disagree.
* Sentinel-1 and elevation are copied as windows of their own grid with a margin; `sampling.py` resamples them later.

Cached files are named by what was read (grid, href, size and time of a local file, resampling), written at once or not at
all, and shared by blocks, runs and later calls; two jobs that write the same file write the same bytes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from smallmines.archive.providers import BANDS, SCL, Provider, provider_of, signed
from smallmines.grid import read_lattice
from smallmines.job import UserError
from smallmines.provenance import digest, read_json, write_json
from smallmines.raster import created, geobox_of, strips, window_geobox

logger = logging.getLogger("smallmines")

FOOTPRINT_SLACK = 500.0
"""Metres by which a catalogue's footprint may miss the pixels: its few corners are straight in degrees, the tile in metres."""

SCL_PIXEL = 20.0
"""Pixel size of the scene classification in m."""


@dataclass(frozen=True)
class Fetch:
    """What `fetch` needs to know beyond the manifest.

    Attributes:
        resampling_20m: for 20 m bands and other zones: nearest, bilinear or cubic.
        cloud_dilation_px, cloud_opening_px: reach of clouds, in 20 m pixels; see `cloud_reach`.
        border_erosion_px: radius of Sentinel-1's border erosion in source pixels.
    """

    resampling_20m: str = "nearest"
    cloud_dilation_px: int = 0
    cloud_opening_px: int = 0
    border_erosion_px: int = 0

    def margin(self, sensor: str) -> int:
        """Margin of a source window in source pixels.

        Sentinel-1: erosion, 4 px in which the shape of a fringe is judged, 1 px for the kernel's halo, 3 px for
        interpolation and turned grids. Elevation: 2 px for interpolation.
        """
        return self.border_erosion_px + 8 if sensor == "s1" else 2

    def cloud_margin(self, geobox: GeoBox) -> int:
        """Margin of the scene classification in pixels of `geobox`."""
        return cloud_reach(self.cloud_dilation_px, self.cloud_opening_px, geobox)[2]


def cloud_reach(dilation: int, opening: int, geobox: GeoBox) -> tuple[int, int, int]:
    """Lengths in 20 m pixels of the scene classification as whole pixels of `geobox`, rounded up.

    Returns:
        Dilation, opening, and the margin that both need around a window.
    """
    pixel: float = abs(geobox.transform.a)
    grown, opened = (math.ceil(length * SCL_PIXEL / pixel) for length in (dilation, opening))
    return grown, opened, grown + 2 * opened


@contextmanager
def asset(item: str, band: str, href: str, provider: Provider) -> Iterator[rasterio.DatasetReader]:
    """Open an asset at full resolution.

    Raises:
        UserError: it is missing, or breaks off while it is read; names item, band and (unsigned) href.
    """
    try:
        with rasterio.open(signed(href, provider)) as source:
            yield source
    except RasterioError as error:
        raise UserError(
            f"a readable raster for {item} {band} at {href}",
            str(error.__cause__ or error).replace("\n", " "),
            "restore the file, or remove the item from the catalogue, and run again",
        ) from error


def same_crs(source: rasterio.DatasetReader, geobox: GeoBox) -> bool:
    """Whether a north-up source has the CRS of `geobox`."""
    turned = source.transform.b != 0 or source.transform.d != 0
    return not turned and bool(geobox.crs == source.crs)


def onto(source: rasterio.DatasetReader, geobox: GeoBox, resampling: str, nodata: int = 0) -> NDArray[Any]:
    """The first band of `source` on `geobox`, (row, column), in the source's dtype; `nodata` outside.

    In the same CRS, nearest takes the source pixel that holds the centre of the target pixel (the eastern or southern one
    of a tie), to 1e-6 px, so that the result does not depend on the rest of `geobox`.
    """
    if resampling == "nearest" and same_crs(source, geobox):
        return _picked(source, geobox, nodata)
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


def _picked(source: rasterio.DatasetReader, geobox: GeoBox, nodata: int) -> NDArray[Any]:
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
    """The window of `source` under `geobox`, `margin` source pixels wider on each side, within the source; None outside it."""
    box = geobox.boundingbox
    west, south, east, north = transform_bounds(str(geobox.crs), source.crs, box.left, box.bottom, box.right, box.top, densify_pts=41)
    t = source.transform
    left, right = math.floor((west - t.c) / t.a) - margin, math.ceil((east - t.c) / t.a) + margin
    top, bottom = math.floor((north - t.f) / t.e) - margin, math.ceil((south - t.f) / t.e) + margin
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, source.width), min(bottom, source.height)
    return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None


def touches(footprint: Mapping[str, Any] | None, geobox: GeoBox) -> bool:
    """Whether a footprint (GeoJSON geometry in degrees, None = anywhere) may reach `geobox`."""
    if footprint is None:
        return True
    import shapely
    from rasterio.warp import transform_geom

    box = geobox.boundingbox
    shape = shapely.geometry.shape(transform_geom("EPSG:4326", str(geobox.crs), dict(footprint)))
    return bool(shapely.box(box.left, box.bottom, box.right, box.top).distance(shape) <= FOOTPRINT_SLACK)


def fetch(sensor: str, block: str, grid: str | Path, manifest: str | Path, pixels: str | Path, settings: Fetch, output: str | Path) -> None:
    """Bring the pixels of a block into the cache and list them, in rank order.

    Args:
        sensor: s2, s1 or dem.
        grid: `grid/grid.json`.
        manifest: `manifests/<year>/<sensor>.json`.
        pixels: folder of the cache.
        output: `fetched/<year>/<block>/<sensor>.json`: {"sensor", "block", "items": [{"id", "index", "datatake", "rank",
            "baseline", "offset", "files": {band: path}, …}], "scenes": all the year's items, by index}.

    Raises:
        UserError: an asset is missing or corrupt, or no Sentinel-2 item reaches the block.
    """
    geobox = read_lattice(grid).block(block)
    known = read_json(manifest)
    provider = provider_of(sensor, known["provider"])
    items, total = [], 0
    for item in known["chosen"]:
        margin = settings.cloud_margin(geobox) if sensor == "s2" else 0
        if not touches(item["geometry"], geobox.pad(margin) if margin else geobox):
            continue
        files, size = {}, 0
        for band in sorted(item["hrefs"], key=[*BANDS[sensor], SCL].index):
            path = _cached(item, band, sensor, geobox, provider, Path(pixels), settings)
            if path is None:
                break
            files[band], size = path.as_posix(), size + path.stat().st_size
        if len(files) == len(item["hrefs"]):
            logger.info("%s: %d files, %.1f MB", item["id"], len(files), size / 1e6)
            items.append({key: value for key, value in item.items() if key not in ("hrefs", "geometry")} | {"files": files})
            total += size
    if not items:
        if sensor == "s2":
            raise UserError(
                f"a Sentinel-2 item over block {block}",
                f"none of the {len(known['chosen'])} items in {manifest}",
                "raise sentinel2.max_datatakes, widen the year's dates, or add items to the catalogue",
            )
        logger.warning("no %s item reaches block %s: its pixels will be nodata", sensor, block)
    logger.info("block %s: %d items, %.1f MB", block, len(items), total / 1e6)
    scenes = [{key: item[key] for key in ("id", "index", "baseline") if key in item} for item in known["chosen"]]
    write_json(output, {"sensor": sensor, "block": block, "provider": known["provider"], "scenes": scenes, "items": items})


def _cached(
    item: Mapping[str, Any], band: str, sensor: str, geobox: GeoBox, provider: Provider, pixels: Path, settings: Fetch
) -> Path | None:
    """The file of a band in the cache, read from the archive unless it is there; None where the source misses the block."""
    href = item["hrefs"][band]
    local = Path(href)
    stamp = [local.stat().st_size, local.stat().st_mtime_ns] if local.is_file() else []
    resampling = "nearest" if band == SCL else settings.resampling_20m
    margin = settings.cloud_margin(geobox) if band == SCL else 0 if sensor == "s2" else settings.margin(sensor)
    grid = geobox.pad(margin) if sensor == "s2" and margin else geobox
    name = digest([str(grid.crs), list(grid.transform[:6]), list(grid.shape), resampling if sensor == "s2" else margin, href, stamp])
    path: Path = pixels / item["id"] / f"{band}-{name}.tif"
    if _readable(path, grid if sensor == "s2" else None):
        return path
    with asset(item["id"], band, href, provider) as source:
        tags = {"ITEM": item["id"], "SOURCE": href}
        if sensor == "s2":
            # A 10 m band on the same lattice is copied whatever the setting says.
            ten = same_crs(source, grid) and abs(source.transform.a - grid.transform.a) < 1e-9
            _write(path, source, grid, "nearest" if ten else resampling, band, tags)
            return path
        if source.transform.b or source.transform.d:
            raise UserError(f"a north-up grid for {item['id']} {band}", f"{source.transform[:6]} in {href}", "leave the item out")
        window = source_window(source, geobox, margin)
        if window is None:
            return None
        own = window_geobox(geobox_of(source), window)
        with created(path, own, source.dtypes[0], source.nodata, [band], tags, zlevel=1) as target:
            for strip in strips(own.shape):
                below = Window(window.col_off, window.row_off + strip.row_off, strip.width, strip.height)
                target.write(source.read(1, window=below), 1, window=strip)
        return path


def _write(path: Path, source: rasterio.DatasetReader, grid: GeoBox, resampling: str, band: str, tags: dict[str, str]) -> None:
    with created(path, grid, source.dtypes[0], 0, [band], tags, zlevel=1) as target:
        for strip in strips(grid.shape, 1024):
            target.write(onto(source, window_geobox(grid, strip), resampling), 1, window=strip)


def _readable(path: Path, grid: GeoBox | None) -> bool:
    """Whether a cached file is there whole: opens, lies on `grid`, and its last pixel can be read."""
    if not path.is_file():
        return False
    try:
        with rasterio.open(path) as source:
            source.read(1, window=Window(source.width - 1, source.height - 1, 1, 1))
            return grid is None or geobox_of(source) == grid
    except RasterioError:
        return False


def item_files(fetched: Sequence[Mapping[str, Any]]) -> list[str]:
    """All cached files of fetched items that are missing; for a message before work starts."""
    return [path for item in fetched for path in item["files"].values() if not Path(path).is_file()]


def read_fetched(path: str | Path) -> list[dict[str, Any]]:
    """The items of `fetched/<year>/<block>/<sensor>.json`.

    Raises:
        UserError: a cached file is gone.
    """
    items: list[dict[str, Any]] = read_json(path)["items"]
    if missing := item_files(items):
        raise UserError(
            f"the pixels listed in {path}", f"{len(missing)} missing, first {missing[0]}", f"delete {path} and run again to fetch them"
        )
    return items


def read_scenes(path: str | Path) -> list[dict[str, Any]]:
    """All items of the year by index, those that miss the block too; see `fetch`."""
    scenes: list[dict[str, Any]] = read_json(path)["scenes"]
    return scenes
