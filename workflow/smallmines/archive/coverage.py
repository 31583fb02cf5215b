"""Coverage of the blocks by the chosen scenes, and the size of the download, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.archive.choice import Area, area_of
from smallmines.archive.fetch import Cache, PixelFile, files_of_block, is_cached
from smallmines.archive.search import why_rejected
from smallmines.archive.signing import is_remote
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.json_products import CoverageOfSensor, read_product
from smallmines.core.log import logger
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.sensors.footprint import pixels_under, share_under
from smallmines.sensors.manifest import Manifest, ManifestItem
from smallmines.sensors.manifest_files import read_manifest
from smallmines.sensors.scl import SCL
from smallmines.settings.fetch import Fetch

BYTES = {"s2": 1.1, "s1": 3.2, "dem": 2.8, SCL: 0.1}
"""Compressed bytes per source pixel, from `file:size` of items of the Copernicus Data Space (JP2: 0.9 and more) and the Planetary
Computer (S1: 2.4 over whole scenes, a quarter of them empty); within a third."""

BORDER = 512
"""Source pixels that are read beyond a window on each side, on average: files come in tiles of 512 or 1024 px."""

NATIVE = {"s2": 10.0, "s1": 10.0, "dem": 30.0}
"""Pixel size in m by sensor."""

COARSE_PIXEL = 20.0
"""Pixel size in m of the bands `COARSE`."""

COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12", SCL)
"""Bands of Sentinel-2 with larger pixels."""


def coverage(
    manifests: Mapping[str, str | Path], grid: str | Path, cache: Cache, settings: Mapping[str, Fetch], output: str | Path
) -> None:
    """Write the coverage of each block by the chosen scenes, and the size of the download.

    Args:
        manifests: by "<year>/<sensor>".
        grid: `grid/grid.json`.
        cache: cache of pixels.
        settings: of `fetch`, by sensor.
        output: JSON: {"<year>/<sensor>": {"provider", "fallback", "scenes", "blocks": {block: share}, "with_data": see `with_data`,
            "cells": scenes over each cell by tile id, "why_rejected", "files", "cached", "bytes"}}; shares by footprint, to six digits.
    """
    lattice = read_lattice(grid)
    area = area_of(lattice)
    blocks = block_of(lattice, area)
    summary: dict[str, dict[str, Any]] = {}
    for name, path in manifests.items():
        manifest = read_manifest(path)
        scenes = scenes_over(manifest.chosen, area.geobox)
        sensor = name.split("/")[1]
        files = [file for block in lattice.windows for file in _files(manifest, sensor, lattice.block(block), cache, settings[sensor])]
        missing = [(file, share) for file, share in files if not is_cached(file, sensor)]
        summary[name] = {
            "provider": manifest.provider,
            "fallback": manifest.fallback.instead_of if manifest.fallback else None,
            "scenes": len(manifest.chosen),
            "blocks": {block: round(float((scenes[blocks == number] > 0).mean()), 6) for number, block in enumerate(lattice.windows, 1)},
            "with_data": with_data(manifest),
            "cells": _cells(lattice, scenes),
            "why_rejected": why_rejected(manifest.rejected),
            "files": len(files),
            "cached": len(files) - len(missing),
            "bytes": round(sum(expected_bytes(file, sensor, share) for file, share in missing)),
        }
        logger.info("%s: %d scenes of %s cover %s", name, len(manifest.chosen), manifest.provider, summary[name]["blocks"])
    files_in_all, cached, size = (sum(row[key] for row in summary.values()) for key in ("files", "cached", "bytes"))
    text = f"to download: about {size / 1e9:.2f} GB in {files_in_all - cached} files; {cached} are there already"
    logger.info(text)
    print(text, flush=True)
    write_json(output, summary)


def require_coverage(coverage_json: str | Path, minimum: float, output: str | Path) -> None:
    """Check that every block is covered to at least `minimum`, and write the lowest share of each year and sensor.

    Raises:
        UserError: some blocks are covered less; lists each with its share and the reasons for rejection.
    """
    summary = read_product(coverage_json, dict[str, CoverageOfSensor])
    short = [
        f"{name}: block {block} {100 * share:.1f} % by {row['scenes']} scenes of {row['provider']}"
        + (f" (rejected: {row['why_rejected']})" if row["why_rejected"] else "")
        for name, row in summary.items()
        for block, share in row["blocks"].items()
        if share < minimum
    ]
    short += [
        f"{name}: the pixels of {row['scenes']} scenes of {row['provider']} have data on {100 * row['with_data']:.1f} % of the area at most"
        for name, row in summary.items()
        if row["with_data"] is not None and row["with_data"] < minimum
    ]
    if short:
        raise UserError(
            f"scenes over {100 * minimum:g} % of every block (minimum_coverage), before anything is downloaded",
            "; ".join(short),
            "look at pictures/coverage.png; widen the year's dates, relax max_cloud_cover, max_datatakes or the orbit, allow a fallback, "
            "shrink the area, or lower minimum_coverage: uncovered ground becomes nodata",
        )
    write_json(output, {name: min(row["blocks"].values()) for name, row in summary.items()})


def with_data(manifest: Manifest) -> float | None:
    """Return the largest share of the area on which the chosen datatakes can have data together, by the pixels that the search sampled.

    Each has a share of its own, and together they have at most the sum. None for elevation, whose pixels the search does not read.
    """
    if manifest.datatakes is None:
        return None
    return round(min(1.0, sum(take.covered_share for take in manifest.datatakes if take.rank)), 6)


def scenes_over(items: Sequence[ManifestItem], geobox: GeoBox) -> NDArray[np.uint16]:
    """Count the footprints over each pixel of `geobox`, (row, column)."""
    count = np.zeros(tuple(geobox.shape), np.uint16)
    for item in items:
        count += pixels_under(item.geometry, geobox)
    return count


def block_of(lattice: Lattice, area: Area) -> NDArray[np.int64]:
    """Return the number (from 1) of the block that each pixel of the coarse area belongs to, 0 outside the cells."""
    step = lattice.geobox.shape.y / area.geobox.shape.y, lattice.geobox.shape.x / area.geobox.shape.x
    row, col = (
        ((np.arange(size) * scale + scale / 2) // lattice.tile_size).astype(int)
        for size, scale in zip(area.geobox.shape, step, strict=True)
    )
    numbers = {block: number for number, block in enumerate(lattice.windows, 1)}
    table = np.zeros((int(row.max()) + 1, int(col.max()) + 1), np.int64)
    table[lattice.cells["row"], lattice.cells["col"]] = lattice.cells["block"].map(numbers)
    return np.asarray(table[np.ix_(row, col)])


def _cells(lattice: Lattice, scenes: NDArray[np.uint16]) -> dict[str, int]:
    """Return the number of scenes over the centre of each cell."""
    scale = np.array(scenes.shape) / np.array(tuple(lattice.geobox.shape)) * lattice.tile_size
    row = ((lattice.cells["row"].to_numpy() + 0.5) * scale[0]).astype(int).clip(0, scenes.shape[0] - 1)
    col = ((lattice.cells["col"].to_numpy() + 0.5) * scale[1]).astype(int).clip(0, scenes.shape[1] - 1)
    return dict(zip(lattice.cells["tile_id"], scenes[row, col].tolist(), strict=True))


def _files(manifest: Manifest, sensor: str, geobox: GeoBox, cache: Cache, settings: Fetch) -> Iterator[tuple[PixelFile, float]]:
    """Yield the files of a block, and the share of the block that their item covers."""
    for item, files in zip(manifest.chosen, files_of_block(manifest.chosen, sensor, geobox, cache, settings), strict=True):
        share = share_under(item.geometry, geobox) if files else 0.0
        yield from ((file, share) for file in files)


def expected_bytes(file: PixelFile, sensor: str, share: float) -> float:
    """Estimate the bytes that reading a file's window takes, from its area and the usual compression; of a remote file with a border."""
    pixel = COARSE_PIXEL if file.band in COARSE else NATIVE[sensor]
    box = file.grid.boundingbox
    width, height = ((high - low) / pixel + 2 * file.margin for low, high in ((box.left, box.right), (box.bottom, box.top)))
    border = BORDER if is_remote(file.href) else 0
    along = np.sqrt(share)  # of each side, if the covered part has the shape of the whole
    return float((width * along + 2 * border) * (height * along + 2 * border)) * BYTES.get(file.band, BYTES[sensor])
