"""Fetch pixels from archives into the cache: on the grid of a block, or as exact windows of the source.

The name of a cached file depends on what was read (grid, href, size and time of a local file, resampling). Files are written
atomically and shared by blocks, runs and later calls; two jobs that write the same file write the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from smallmines.archive.earthengine import connect
from smallmines.archive.providers import Provider, provider_of
from smallmines.archive.read import Source, same_crs, source_window
from smallmines.archive.signing import is_remote
from smallmines.archive.sources import Claim, is_plain, read_checked, read_numbers
from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.core.log import logger
from smallmines.core.raster import created, doubled, geobox_of, strips, window_geobox
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.footprint import touches
from smallmines.sensors.manifest import BANDS, Entry, Fetched, FetchedItem, Manifest, ManifestItem, Scene, Sentinel2Entry
from smallmines.sensors.manifest_files import read_manifest, write_fetched
from smallmines.sensors.scl import SCL, cloud_reach
from smallmines.settings.fetch import Fetch, FetchElevation, FetchSentinel1, FetchSentinel2

LEFTOVER_AGE = 3600.0
"""Seconds after which a half-written file of a killed job is removed."""

RADAR_MARGIN = 8
"""Margin of a Sentinel-1 window in source pixels beyond the erosion: 4 px in which the shape of a fringe is judged, 1 px for the
kernel's halo, 3 px for interpolation and rotated grids."""

ELEVATION_MARGIN = 2
"""Margin of an elevation window in source pixels, for interpolation."""

FINE_BANDS, FINE_PIXEL = ("B02", "B03", "B04", "B08"), 10.0
"""Bands of Sentinel-2 with pixels of 10 m. Archives hold the first three in pixels of 20 m as well, which a coarser grid may take."""

ROWS = 1024
"""Rows of Sentinel-2 that are read at a time."""


@dataclass(frozen=True)
class Cache:
    """The cache of pixels.

    Attributes:
        folder: where its files lie.
        reading: version of the code that reads into it, the number of the rule `fetch`. Another version has files of its own.
    """

    folder: Path
    reading: int


@dataclass(frozen=True)
class PixelFile:
    """A file of the cache.

    Attributes:
        item: id of the item.
        band: our name of the band.
        href: address of the source, unsigned.
        grid: Sentinel-2: grid of the file, which may have pixels of twice the side, see `_has_doubled_pixels`; else grid of the block,
            under which the window of the source lies.
        margin: margin of the window in source pixels; of Sentinel-2 the margin of the file in pixels of the block's grid.
        path: where it lies.
    """

    item: str
    band: str
    href: str
    grid: GeoBox
    margin: int
    path: Path


def margin_of(settings: Fetch, band: str, geobox: GeoBox) -> int:
    """Return the margin of a cached file: in source pixels, and for the scene classification in pixels of `geobox`.

    Bands of Sentinel-2 are read onto the grid without a margin.
    """
    if isinstance(settings, FetchSentinel2):
        return cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)[2] if band == SCL else 0
    return settings.border_erosion_px + RADAR_MARGIN if isinstance(settings, FetchSentinel1) else ELEVATION_MARGIN


def files_of_block(items: Sequence[ManifestItem], sensor: str, geobox: GeoBox, cache: Cache, settings: Fetch) -> Iterator[list[PixelFile]]:
    """Yield the files of each item in the order of the items; none for an item that does not reach the block."""
    reach = margin_of(settings, SCL, geobox) if isinstance(settings, FetchSentinel2) else 0
    for item in items:
        bands = sorted(item.hrefs, key=[*BANDS[sensor], SCL].index)
        touching = touches(item.geometry, geobox.pad(reach) if reach else geobox)
        yield [_pixel_file(item, band, geobox, cache, settings) for band in bands] if touching else []


def _pixel_file(item: ManifestItem, band: str, geobox: GeoBox, cache: Cache, settings: Fetch) -> PixelFile:
    href = item.hrefs[band]
    local = Path(href)
    stamp = [local.stat().st_size, local.stat().st_mtime_ns] if not is_remote(href) and local.is_file() else []
    margin = margin_of(settings, band, geobox)
    method: str | int = margin
    grid = geobox
    if isinstance(settings, FetchSentinel2):
        method = "nearest" if band == SCL else settings.resampling_20m
        grid = geobox.pad(margin) if margin else geobox
    # Version 1 is not part of the name, so files from before there were versions remain valid.
    version = [cache.reading] if cache.reading > 1 else []
    name = digest([str(grid.crs), list(grid.transform[:6]), list(grid.shape), method, href, stamp, *version])
    return PixelFile(item.entry.id, band, href, grid, margin, cache.folder / item.entry.id / f"{band}-{name}.tif")


def fetch(sensor: str, block: str, grid: str | Path, manifest: str | Path, cache: Cache, settings: Fetch, output: str | Path) -> None:
    """Fetch the pixels of a block into the cache and list its files, in rank order.

    Args:
        sensor: s2, s1 or dem.
        block: number of the block.
        grid: `grid/grid.json`.
        manifest: `manifests/<year>/<sensor>.json`.
        cache: cache of pixels.
        settings: keys of the sensor that `fetch` reads.
        output: `fetched/<year>/<block>/<sensor>.json`, see `Fetched`.

    Raises:
        UserError: an asset is missing, refused or corrupt, or no Sentinel-2 item reaches the block.
    """
    geobox = read_lattice(grid).block(block)
    source = read_manifest(manifest)
    provider = provider_of(sensor, source.provider)
    if provider.access == "earthengine":
        assert isinstance(settings, FetchElevation)
        connect(provider, source.catalogue, settings.project)
    items = _fetch_items(source, sensor, list(files_of_block(source.chosen, sensor, geobox, cache, settings)), provider, settings)
    if not items:
        if sensor == "s2":
            raise UserError(
                f"a Sentinel-2 item over block {block}",
                f"none of the {len(source.chosen)} items in {manifest}",
                "raise sentinel2.max_datatakes, widen the year's dates, or add items to the catalogue",
            )
        logger.warning("no %s item reaches block %s: its pixels will be nodata", sensor, block)
    size = sum(Path(path).stat().st_size for item in items for path in item.files.values())
    logger.info("block %s: %d items, %.1f MB", block, len(items), size / 1e6)
    scenes = tuple(_scene(item.entry) for item in source.chosen)
    write_fetched(output, Fetched(sensor, block, source.provider, source.fallback, source.edition, scenes, tuple(items)))


def _scene(entry: Entry) -> Scene:
    return Scene(entry.id, entry.index, entry.baseline if isinstance(entry, Sentinel2Entry) else None)


def _fetch_items(
    manifest: Manifest, sensor: str, files_by_item: Sequence[Sequence[PixelFile]], provider: Provider, settings: Fetch
) -> list[FetchedItem[Entry]]:
    """Fetch the files of all items and return the items that reach the block."""
    items: list[FetchedItem[Entry]] = []
    todo, done, size, began = sum(len(files) for files in files_by_item), 0, 0, time.monotonic()
    for item, files in zip(manifest.chosen, files_by_item, strict=True):
        paths: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for file in files:
            done += 1
            if not _fetch_file(file, _claim(item, file, sensor), provider, settings):
                break
            paths[file.band], sizes[file.band] = file.path.as_posix(), file.path.stat().st_size
            size += sizes[file.band]
        if len(paths) < len(files):  # the footprint touches the block, the pixels do not
            todo -= len(files) - len(paths)
            logger.info("%s: its footprint reaches the block, its pixels do not: it is left out", item.entry.id)
        elif files:
            items.append(FetchedItem(item.entry, paths, sizes))
            logger.info("%s: %d of %d files, %.1f MB in all, %.0f s", item.entry.id, done, todo, size / 1e6, time.monotonic() - began)
    return items


def _claim(item: ManifestItem, file: PixelFile, sensor: str) -> Claim:
    """Return what the catalogue says of a file."""
    tile = item.entry.tile if isinstance(item.entry, Sentinel2Entry) else None
    return Claim(sensor, file.item, file.band, file.href, item.geometry, tile)


def _fetch_file(file: PixelFile, claim: Claim, provider: Provider, settings: Fetch) -> bool:
    """Put a file into the cache unless it is there and whole; False where the source misses the block."""
    if is_cached(file, claim.sensor) and _is_readable(file.path):
        return True
    _remove_leftovers(file.path)
    tags = {"ITEM": file.item, "SOURCE": file.href, TAG: of_rasters()}
    if isinstance(settings, FetchSentinel2):
        read_checked(claim, provider, lambda source: _write_on_grid(file, source, claim, settings, tags))
        return True
    return bool(read_checked(claim, provider, lambda source: _copy_window(file, source, tags)))


def _write_on_grid(file: PixelFile, source: Source, claim: Claim, settings: FetchSentinel2, tags: dict[str, str]) -> None:
    """Read a Sentinel-2 band onto the grid of its file: uint16, the scene classification uint8."""
    # A 10 m band on the same lattice is copied whatever the setting is.
    ten = same_crs(source, file.grid) and abs(source.transform.a - file.grid.transform.a) < 1e-9
    resampling = "nearest" if ten or file.band == SCL else settings.resampling_20m
    finest = max(FINE_PIXEL, file.grid.transform.a)
    if file.band in FINE_BANDS and not source.crs.is_geographic and source.transform.a > 1.001 * finest:
        raise claim.contradiction(f"pixels of {FINE_PIXEL:g} m", f"pixels of {source.transform.a:g} m")
    dtype = "uint8" if file.band == SCL else "uint16"
    grid = doubled(file.grid) if resampling == "nearest" and _has_doubled_pixels(source, file.grid) else file.grid
    with created(file.path, grid, dtype, 0, [file.band], tags) as target:
        if settings.reader == "stackstac" and resampling == "nearest" and same_crs(source, grid) and is_plain(source, file.band):
            from smallmines.archive.stackstac_reader import cube_of

            cube = cube_of(source, grid)
            for strip in strips(grid.shape, ROWS):
                rows = slice(strip.row_off, strip.row_off + strip.height)
                target.write(cube[rows].compute(scheduler="synchronous").to_numpy(), 1, window=strip)
        else:
            for strip in strips(grid.shape, ROWS):
                target.write(read_numbers(source, window_geobox(grid, strip), resampling, claim), 1, window=strip)


def _has_doubled_pixels(source: Source, grid: GeoBox) -> bool:
    """Return whether each pixel of a source is exactly two by two pixels of a grid: then the cache keeps a quarter of them."""
    t, g = source.transform, grid.transform
    corner = np.array([(g.c - t.c) / t.a, (g.f - t.f) / t.e])
    even = grid.shape.x % 2 == 0 and grid.shape.y % 2 == 0 and bool((np.abs(corner - corner.round()) < 1e-6).all())
    return even and same_crs(source, grid) and abs(t.a - 2 * g.a) < 1e-9 and abs(t.e - 2 * g.e) < 1e-9


def _copy_window(file: PixelFile, source: Source, tags: dict[str, str]) -> bool:
    """Copy a window of the source with its margin; False where the source misses the block."""
    window = source_window(source, file.grid, file.margin)
    if window is None:
        return False
    geobox = window_geobox(geobox_of(source), window)
    with created(file.path, geobox, source.dtypes[0], source.nodata, [file.band], tags) as target:
        for strip in strips(geobox.shape):
            in_source = Window(window.col_off, window.row_off + strip.row_off, strip.width, strip.height)
            target.write(source.read(1, window=in_source), 1, window=strip)
    return True


def is_cached(file: PixelFile, sensor: str) -> bool:
    """Return whether a cached file is complete: it opens, lies on its grid, and its last pixel can be read."""
    if not file.path.is_file():
        return False
    try:
        with rasterio.open(file.path) as source:
            source.read(1, window=Window(source.width - 1, source.height - 1, 1, 1))
            return sensor != "s2" or geobox_of(source) in (file.grid, doubled(file.grid))
    except RasterioError:
        return False


def _is_readable(path: Path) -> bool:
    """Return whether every pixel of a cached file can be read: its tiles have checksums."""
    try:
        with rasterio.open(path) as source:
            for strip in strips(source.shape, ROWS):
                source.read(1, window=strip)
    except RasterioError:
        logger.warning("%s is broken: it is fetched again", path)
        return False
    return True


def _remove_leftovers(path: Path) -> None:
    """Remove half-written files that killed jobs left beside `path` more than `LEFTOVER_AGE` ago; see `written`."""
    for leftover in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE:
            leftover.unlink(missing_ok=True)
