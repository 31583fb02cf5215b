"""Estimate the disk space that the planned jobs need, and stop a run for which there is none.

The sizes per pixel were measured on runs of 12 to 2134 tiles, with a margin; docs/scale.md compares estimates with what was used. The
Snakefile imports this module at every planning, so imports that take long are inside functions.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.layout import PIXELS, Layout
from smallmines.core.rerun import FROZEN
from smallmines.preflight.area import user_aoi

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from smallmines.grid.lattice import Lattice
    from smallmines.sensors.manifest import ManifestItem

WINDOW: Mapping[str, float] = {"composite_s2": 11.0, "composite_s1": 6.6, "composite_dem": 2.7}
"""Bytes by rule per pixel of the block's rectangle."""

TILES: Mapping[str, float] = {
    "segment": 0.7,
    "describe": 6.5,
    "context": 3.0,
    "assistant": 1.2,
    "labels": 1.8,
    "mask": 0.1,
    "image_patches": 23.0,
    "mask_patches": 0.2,
    "measure_images": 0.3,
    "package": 24.0,
    "huggingface": 28.0,
    "map_mosaic": 0.6,
    "map_polygons": 0.4,
    "map_change": 0.8,
    "map_model_block": 1.0,
    "map_model_mosaic": 0.6,
    "map_model_polygons": 0.4,
}
"""Bytes by rule per pixel of the tiles: of the block, or where the rule has no block of the run, once in a job of a year or of a pair of
years, else in all years. Those of the map include the rasters that a job writes before the final ones."""

PICTURES: Mapping[str, tuple[float, float]] = {"pictures": (20.0, 11e6), "label_pictures": (5.0, 3e6)}
"""Bytes by rule per pixel of the block's rectangle, and at most for a job: pictures of large blocks are reduced."""

EACH: Mapping[str, float] = {
    "measure_images": 9e5,
    "assistant": 1e6,
    "doctor": 2e6,
    "page": 2e6,
    "huggingface": 15e6,
    "map_picture": 2e6,
    "map_change": 2e6,
}
"""Bytes by rule per job besides."""

SEGMENTING = 60.0
"""Bytes of temporary files per pixel of the block's rectangle while the rule `segment` runs: ten smoothed bands and two positions."""

FETCHED: Mapping[str, float] = {"s2": 11.0, "s1": 8.2, "dem": 0.4}
"""Bytes in the pixel cache by sensor, per pixel of the block's rectangle that an item covers; on a grid of 10 m. Those of Sentinel-2 are
of items that are read onto the grid, as from other zones; in the run's zone the cache keeps 20 m bands as they are and takes 8.4."""

TYPICAL_DATATAKE = 10.0
"""The same for a Sentinel-2 datatake with all its items, before the scenes are chosen."""

RECTANGLE = 1.6
"""Pixels of the blocks' rectangles per pixel of tiles, before the grid is made (1.25 to 1.55 on runs of 12 to 2134 tiles)."""

AT_EDGES = 1.1
"""Tiles per tile's area of the area of interest, since tiles at its edge reach beyond it (1.09 for SmallMinesDS)."""

TWO_SATELLITES = ((dt.date(2016, 10, 1), dt.date(2021, 12, 23)), (dt.date(2025, 3, 26), dt.date.max))
"""Times in which two Sentinel-1 satellites pass every 6 days instead of one every 12."""

LOOKED_AT = 50
"""Blocks of a year and sensor, evenly taken, whose scenes are looked at; a country has hundreds."""

NOTICEABLE = 100e6
"""Bytes below which nothing is said and nothing refused, as after an edit of labels; a job on a full disk reports it itself."""


@dataclass(frozen=True)
class Job:
    """A planned job.

    Attributes:
        wildcards: year, block and sensor, as far as the rule has them.
        outputs: paths of its products, which may exist already.
    """

    rule: str
    wildcards: Mapping[str, str]
    outputs: Sequence[str] = ()
    threads: int = 1


@dataclass(frozen=True)
class Need:
    """Bytes that planned jobs add to the disk.

    Attributes:
        pixels: in the cache of pixels; results: below results/<run>.
        temporary: below results/<run>, for the time of a job.
    """

    pixels: float
    results: float
    temporary: float

    def __str__(self) -> str:
        """Return one line."""
        total = self.pixels + self.results + self.temporary
        parts = f"pixels {_gb(self.pixels)}, products {_gb(self.results)}, temporary files {_gb(self.temporary)}"
        return f"disk space: about {_gb(total)} to come ({parts})"


@dataclass(frozen=True)
class Sizes:
    """Pixels of a run's blocks.

    Attributes:
        window: of the rectangle of each block; tiles: of its tiles.
        lattice: the lattice; None before it is made, where the sizes are estimated.
    """

    window: Mapping[str, float]
    tiles: Mapping[str, float]
    lattice: Lattice | None = None


def check_space(config: Config, jobs: Sequence[Job], cores: int | None = None, nodes: int | None = None) -> None:
    """Print the estimate of the planned jobs on stderr; exit with status 1 and three lines where a disk has less space.

    What cannot be estimated stops no run: a line says so, and the rule that reads a broken file names it.

    Args:
        cores: of this machine that jobs may use; None: jobs run elsewhere.
        nodes: number of jobs that may run elsewhere at once; None: all.
    """
    try:
        need = needed(config, jobs, cores, nodes)
    except Exception as error:
        reason = f"expected {error.expected}; found {error.found}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        print(f"disk space: not estimated ({flat(reason)})", file=sys.stderr)
        return
    if need is None or need.pixels + need.results + need.temporary < NOTICEABLE:
        return
    folders = {PIXELS: need.pixels, Layout(config.run).results: need.results + need.temporary}
    print(need, file=sys.stderr)
    try:
        require_space(folders)
    except UserError as error:
        sys.exit(f"{error}\nnothing was run")


def require_space(folders: Mapping[Path, float]) -> None:
    """Require that the disks of some folders, which may not exist yet, have room for so many bytes in each.

    Raises:
        UserError: a disk has less room than the folders on it need.
    """
    by_disk: dict[int, list[Path]] = {}
    for folder in folders:
        by_disk.setdefault(os.stat(_existing(folder)).st_dev, []).append(folder)
    for members in by_disk.values():
        asked, disk = sum(folders[folder] for folder in members), shutil.disk_usage(_existing(members[0]))
        if asked >= NOTICEABLE and asked > disk.free:
            raise UserError(
                f"about {_gb(asked)} of free disk space for {' and '.join(map(str, members))}",
                f"{_gb(disk.free)} free of {_gb(disk.total)}",
                "free some space (`smallmines pixels` lists cached pixels that no job needs any more), or make a part (docs/run.md)",
            )


def needed(config: Config, jobs: Sequence[Job], cores: int | None = None, nodes: int | None = None) -> Need | None:
    """Estimate what the planned jobs add to the disk; None where neither the grid nor its area is there yet.

    A product that exists counts with its size: it is removed before it is made again. So does a pixel file that is in the cache. Blocks
    that the grid lacks, as when it was not made again after `blocks` was raised, are left out with a line on stderr.
    """
    relevant = [job for job in jobs if job.rule == "fetch" or job.rule in {*WINDOW, *TILES, *PICTURES, *EACH}]
    sizes = _sizes(config, any(job.rule == "grid" for job in jobs)) if relevant else None
    if sizes is None:
        return None
    if unknown := {block for job in relevant if (block := job.wildcards.get("block")) is not None and block not in sizes.window}:
        print(f"disk space: blocks that the grid lacks are not in the estimate: {', '.join(sorted(unknown)[:9])}", file=sys.stderr)
        relevant = [job for job in relevant if job.wildcards.get("block") not in unknown]
    searched = {(job.wildcards["year"], job.wildcards["sensor"]) for job in jobs if job.rule == "search"}
    pixels = _pixels(config, [job for job in relevant if job.rule == "fetch"], sizes, searched)
    results = sum(max(0.0, _product(config, job, sizes) - _there(job.outputs)) for job in relevant if job.rule != "fetch")
    return Need(pixels, results, _temporary([job for job in relevant if job.rule == "segment"], sizes, cores, nodes))


def _product(config: Config, job: Job, sizes: Sizes) -> float:
    """Return the bytes of a job's products."""
    block = job.wildcards.get("block", "")
    window = sizes.window[block] if block in sizes.window else sum(sizes.window.values())
    times = 1 if job.wildcards else len(config.years)
    tiles = sizes.tiles[block] if block in sizes.tiles else sum(sizes.tiles.values()) * times
    per_pixel, most = PICTURES.get(job.rule, (0.0, 0.0))
    return WINDOW.get(job.rule, 0.0) * window + TILES.get(job.rule, 0.0) * tiles + EACH.get(job.rule, 0.0) + min(per_pixel * window, most)


def _temporary(jobs: Sequence[Job], sizes: Sizes, cores: int | None, nodes: int | None) -> float:
    """Return the bytes of temporary files of the largest segmentations that can run at once."""
    if not jobs:
        return 0.0
    at_once = (nodes or len(jobs)) if cores is None else max(1, cores // max(job.threads for job in jobs))
    return SEGMENTING * sum(sorted((sizes.window[job.wildcards["block"]] for job in jobs), reverse=True)[:at_once])


def _pixels(config: Config, jobs: Iterable[Job], sizes: Sizes, searched: Collection[tuple[str, str]]) -> float:
    """Return the bytes that jobs of `fetch` add to the cache: by the chosen scenes, or a typical number before they are chosen."""
    from smallmines.sensors.manifest_files import read_manifest

    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.wildcards["year"], job.wildcards["sensor"]), []).append(job)
    total = 0.0
    for (year, sensor), group in groups.items():
        path = Layout(config.run).manifests / year / f"{sensor}.json"
        if sizes.lattice is None or (year, sensor) in searched or not path.is_file():
            total += _typical(config, year, sensor) * sum(sizes.window[job.wildcards["block"]] for job in group)
        else:
            items, some = read_manifest(path).chosen, group[:: -(-len(group) // LOOKED_AT)]
            per_job = sum(_fetched(config, sensor, sizes.lattice.block(job.wildcards["block"]), items) for job in some) / len(some)
            total += per_job * len(group)
    return total


def _fetched(config: Config, sensor: str, geobox: GeoBox, items: Sequence[ManifestItem]) -> float:
    """Return the bytes of the files of a block that are not in the cache yet."""
    from smallmines.archive.fetch import Cache, files_of_block
    from smallmines.sensors.footprint import share_under
    from smallmines.settings.fetch import FETCH
    from smallmines.settings.parameters import settings_of

    section = {"s2": config.sentinel2, "s1": config.sentinel1, "dem": config.elevation}[sensor]
    files_by_item = files_of_block(items, sensor, geobox, Cache(PIXELS, FROZEN["fetch"]), settings_of(section, FETCH[sensor]))
    total = 0.0
    for item, files in zip(items, files_by_item, strict=True):
        if missing := [file for file in files if not file.path.is_file()]:
            margin = 0 if sensor == "s2" else missing[0].margin
            pixels = _on_source(config, sensor, math.prod(side + 2 * margin for side in geobox.shape))
            total += FETCHED[sensor] * share_under(item.geometry, geobox) * pixels * len(missing) / len(files)
    return total


def _on_source(config: Config, sensor: str, pixels: float) -> float:
    """Return the pixels of 10 m of a number of pixels of the grid; Sentinel-2 is read onto the grid, the others are not."""
    return pixels * (1.0 if sensor == "s2" else (config.grid.resolution / 10) ** 2)


def _typical(config: Config, year: str, sensor: str) -> float:
    """Return the bytes per pixel of a block that the scenes of a year typically take."""
    if sensor == "dem":
        return _on_source(config, sensor, FETCHED["dem"])
    if sensor == "s2":
        return TYPICAL_DATATAKE * config.sentinel2.max_datatakes
    epoch = config.years[int(year)]
    every = 6 if any(first <= epoch.end and epoch.start <= last for first, last in TWO_SATELLITES) else 12
    return _on_source(config, sensor, FETCHED["s1"] * math.ceil(((epoch.end - epoch.start).days + 1) / every))


def _sizes(config: Config, grid_is_planned: bool) -> Sizes | None:
    """Return the pixels of the blocks: of the grid, or estimated from the area of interest before the grid is made."""
    from smallmines.grid.lattice import read_lattice

    path = Layout(config.run).grid
    if path.is_file() and not grid_is_planned:
        lattice = read_lattice(path)
        window = {block: float(math.prod(lattice.block(block).shape)) for block in lattice.windows}
        tiles = {block: float(len(lattice.tiles_of(block)) * lattice.tile_size**2) for block in lattice.windows}
        return Sizes(window, tiles, lattice)
    number = _tiles(config)
    if number is None:
        return None
    share = number * config.grid.tile_size**2 / config.grid.blocks
    return Sizes(dict.fromkeys(config.blocks, RECTANGLE * share), dict.fromkeys(config.blocks, share))


def _tiles(config: Config) -> int | None:
    """Return the number of tiles of the area of interest, or of its expected size where it is not there or cannot be read; else None.

    Tiles of released images, of which there are thousands, are read by the rule `grid` alone.
    """
    from smallmines.grid.area import read_area
    from smallmines.grid.make import tiles_of
    from smallmines.preflight.check import boundaries_file
    from smallmines.settings.grid import Grid
    from smallmines.settings.parameters import settings_of

    try:
        if config.grid.source != "released_folder":
            files = [str(boundaries_file(config))] if config.aoi.source == "geoboundaries" else user_aoi(config)
            area = read_area(files, config.aoi.path, f"resources/user/{config.run}")
            return len(tiles_of(area, settings_of(config.grid, Grid))[0])
    except UserError:  # the rule `grid` reports it
        pass
    square_km = (config.grid.tile_size * config.grid.resolution / 1000) ** 2
    return round(AT_EDGES * config.aoi.expected_area_km2 / square_km) if config.aoi.expected_area_km2 else None


def _there(outputs: Iterable[str]) -> float:
    """Return the bytes of products that exist; folders hold hard links, which free nothing."""
    return float(sum(os.path.getsize(path) for path in outputs if os.path.isfile(path)))


def _existing(path: Path) -> Path:
    """Return a path, or its nearest parent that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
