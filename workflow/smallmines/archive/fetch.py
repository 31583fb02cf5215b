"""Pixels from archives into the cache: onto the grid of a block, or as exact windows of the source.

Cached files are named by what was read (grid, href, size and time of a local file, resampling), written at once or not at
all, and shared by blocks, runs and later calls; two jobs that write the same file write the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from smallmines.archive.earthengine import connect
from smallmines.archive.providers import BANDS, Provider, provider_of
from smallmines.archive.read import Source, onto, reading, same_crs, source_window, touches
from smallmines.archive.signing import is_remote
from smallmines.core.errors import UserError
from smallmines.core.files import digest, read_json, write_json
from smallmines.core.log import logger
from smallmines.core.raster import created, geobox_of, strips, window_geobox
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.scl import SCL, cloud_reach
from smallmines.settings.fetch import Fetch, FetchElevation, FetchSentinel1, FetchSentinel2

LEFTOVER_AGE = 3600.0
"""Seconds after which a half-written file of a killed job is removed."""


def margin_of(settings: Fetch) -> int:
    """Margin of a source window in source pixels; Sentinel-2 is read onto the grid and has none.

    Sentinel-1: erosion, 4 px in which the shape of a fringe is judged, 1 px for the kernel's halo, 3 px for interpolation and turned
    grids. Elevation: 2 px for interpolation.
    """
    if isinstance(settings, FetchSentinel2):
        return 0
    return settings.border_erosion_px + 8 if isinstance(settings, FetchSentinel1) else 2


def cloud_margin(settings: Fetch, geobox: GeoBox) -> int:
    """Margin of the scene classification in pixels of `geobox`; 0 for other sensors than Sentinel-2."""
    if not isinstance(settings, FetchSentinel2):
        return 0
    return cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)[2]


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
class Wanted:
    """A file of the cache: what it holds, and where it lies.

    Attributes:
        grid: of the file, for Sentinel-2; else of the block, under which the source's window lies.
        margin: of that window, in source pixels.
    """

    item: str
    band: str
    href: str
    grid: GeoBox
    margin: int
    path: Path


def wanted(items: Sequence[Mapping[str, Any]], sensor: str, geobox: GeoBox, cache: Cache, settings: Fetch) -> Iterator[list[Wanted]]:
    """The files of each item that may reach a block, in the order of the items; an item that does not has none."""
    for item in items:
        margin = cloud_margin(settings, geobox)
        bands = sorted(item["hrefs"], key=[*BANDS[sensor], SCL].index)
        reaches = touches(item["geometry"], geobox.pad(margin) if margin else geobox)
        yield [_wanted(item, band, geobox, cache, settings) for band in bands] if reaches else []


def _wanted(item: Mapping[str, Any], band: str, geobox: GeoBox, cache: Cache, settings: Fetch) -> Wanted:
    href = item["hrefs"][band]
    local = Path(href)
    stamp = [local.stat().st_size, local.stat().st_mtime_ns] if not is_remote(href) and local.is_file() else []
    margin = cloud_margin(settings, geobox) if band == SCL else margin_of(settings)
    how: str | int = margin
    grid = geobox
    if isinstance(settings, FetchSentinel2):
        how = "nearest" if band == SCL else settings.resampling_20m
        grid = geobox.pad(margin) if margin else geobox
    # Version 1 is not part of the name: files read before there were versions stay.
    version = [cache.reading] if cache.reading > 1 else []
    name = digest([str(grid.crs), list(grid.transform[:6]), list(grid.shape), how, href, stamp, *version])
    return Wanted(item["id"], band, href, grid, margin, cache.folder / item["id"] / f"{band}-{name}.tif")


def fetch(sensor: str, block: str, grid: str | Path, manifest: str | Path, cache: Cache, settings: Fetch, output: str | Path) -> None:
    """Bring the pixels of a block into the cache and list them, in rank order.

    Args:
        sensor: s2, s1 or dem.
        grid: `grid/grid.json`.
        manifest: `manifests/<year>/<sensor>.json`.
        cache: where the pixels go.
        output: `fetched/<year>/<block>/<sensor>.json`: {"sensor", "block", "provider", "fallback", "edition", "items": [{"id",
            "index", "datatake", "rank", "baseline", "offset", "files": {band: path}, …}], "scenes": all the year's items, by index}.

    Raises:
        UserError: an asset is missing, refused or corrupt, or no Sentinel-2 item reaches the block.
    """
    geobox = read_lattice(grid).block(block)
    known = read_json(manifest)
    provider = provider_of(sensor, known["provider"])
    if provider.access == "earthengine":
        assert isinstance(settings, FetchElevation)
        connect(provider, known["catalogue"], settings.project)
    todo = list(wanted(known["chosen"], sensor, geobox, cache, settings))
    number = sum(len(files) for files in todo)
    items, done, total, began = [], 0, 0, time.monotonic()
    for item, files in zip(known["chosen"], todo, strict=True):
        if not files:
            continue
        paths: dict[str, str] = {}
        for one in files:
            done += 1
            if not _brought(one, sensor, provider, settings):
                break
            paths[one.band], total = one.path.as_posix(), total + one.path.stat().st_size
        if len(paths) < len(files):
            number -= len(files) - len(paths)
            continue
        logger.info("%s: %d of %d files, %.1f MB in all, %.0f s", item["id"], done, number, total / 1e6, time.monotonic() - began)
        items.append({key: value for key, value in item.items() if key not in ("hrefs", "geometry")} | {"files": paths})
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
    head = {key: known.get(key) for key in ("provider", "fallback", "edition")}
    write_json(output, {"sensor": sensor, "block": block, **head, "scenes": scenes, "items": items})


def _brought(one: Wanted, sensor: str, provider: Provider, settings: Fetch) -> bool:
    """Put a file into the cache unless it is there; False where the source misses the block."""
    if is_cached(one, sensor):
        return True
    _tidy(one.path)
    tags = {"ITEM": one.item, "SOURCE": one.href, TAG: of_rasters()}
    if isinstance(settings, FetchSentinel2):
        reading(one.item, one.band, one.href, provider, lambda source: _onto_grid(one, source, settings, tags))
        return True
    return reading(one.item, one.band, one.href, provider, lambda source: _copied(one, source, tags))


def _onto_grid(one: Wanted, source: Source, settings: FetchSentinel2, tags: dict[str, str]) -> None:
    # A 10 m band on the same lattice is copied whatever the setting says.
    ten = same_crs(source, one.grid) and abs(source.transform.a - one.grid.transform.a) < 1e-9
    resampling = "nearest" if ten or one.band == SCL else settings.resampling_20m
    with created(one.path, one.grid, source.dtypes[0], 0, [one.band], tags, zlevel=1) as target:
        if settings.reader == "stackstac" and resampling == "nearest" and same_crs(source, one.grid):
            from smallmines.archive.stackstac_reader import cube_of

            cube = cube_of(source, one.grid)
            for strip in strips(one.grid.shape, 1024):
                rows = slice(strip.row_off, strip.row_off + strip.height)
                target.write(cube[rows].compute(scheduler="synchronous").to_numpy(), 1, window=strip)
        else:
            for strip in strips(one.grid.shape, 1024):
                target.write(onto(source, window_geobox(one.grid, strip), resampling), 1, window=strip)


def _copied(one: Wanted, source: Source, tags: dict[str, str]) -> bool:
    """A window of the source as it is, with the margin; False where it misses the block."""
    if source.transform.b or source.transform.d:
        raise UserError(f"a north-up grid for {one.item} {one.band}", f"{source.transform[:6]} in {one.href}", "leave the item out")
    window = source_window(source, one.grid, one.margin)
    if window is None:
        return False
    own = window_geobox(geobox_of(source), window)
    with created(one.path, own, source.dtypes[0], source.nodata, [one.band], tags, zlevel=1) as target:
        for strip in strips(own.shape):
            below = Window(window.col_off, window.row_off + strip.row_off, strip.width, strip.height)
            target.write(source.read(1, window=below), 1, window=strip)
    return True


def is_cached(one: Wanted, sensor: str) -> bool:
    """Whether a file of the cache is there whole: opens, lies on its grid, and its last pixel can be read."""
    if not one.path.is_file():
        return False
    try:
        with rasterio.open(one.path) as source:
            source.read(1, window=Window(source.width - 1, source.height - 1, 1, 1))
            return sensor != "s2" or geobox_of(source) == one.grid
    except RasterioError:
        return False


def _tidy(path: Path) -> None:
    """Remove what jobs that were killed long ago left of a file; see `written`."""
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        if time.time() - left.stat().st_mtime > LEFTOVER_AGE:
            left.unlink(missing_ok=True)
