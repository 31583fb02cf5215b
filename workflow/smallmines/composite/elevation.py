"""The elevation of a block: the Copernicus DEM tiles are merged, then resampled once.

Heights are metres above EGM2008, as delivered. Tiles are merged first because interpolation along the edge of a tile needs the pixels of
its neighbour. Narrow stripes without data between tiles are filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smallmines.composite.limits import check_elevation
from smallmines.composite.sampling import by_lattice, read_piece, resample_all
from smallmines.composite.stripes import fill_stripes
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.raster import write
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.manifest import Entry
from smallmines.sensors.manifest_files import read_fetched
from smallmines.settings.elevation import Elevation


def composite(
    block: str,
    grid: str | Path,
    fetched: str | Path,
    settings: Elevation,
    outputs: Mapping[str, str | Path],
    minimum_coverage: float = 0.0,
) -> None:
    """Make the elevation of a block, on the block's grid.

    Args:
        block: number of the block.
        grid: `grid/grid.json`.
        fetched: `fetched/static/<block>/dem.json`.
        settings: keys of `elevation`.
        outputs: paths of `image` (float32 metres, NaN where no tile has data) and `stats` (JSON: sources, share without data, lowest and
            highest height, source pixels of stripes between tiles that were filled, findings).
        minimum_coverage: minimum share of the block's own pixels with data.

    Raises:
        UserError: fewer pixels have data, or heights are impossible.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    source = read_fetched(fetched, Entry)
    heights, filled = np.full(tuple(geobox.shape), np.nan, np.float32), 0
    if source.items:
        groups = by_lattice([read_piece(item.files["DEM"]) for item in source.items])
        merged = [fill_stripes(group) for group in groups]
        heights, filled = resample_all([piece for piece, _ in merged], geobox, settings.resampling), sum(count for _, count in merged)
    valid = heights[own & np.isfinite(heights)]
    missing = 1 - valid.size / own.sum()
    logger.info("block %s: %d tiles, %.2f %% without data", block, len(source.items), 100 * missing)
    ids = [item.entry.id for item in source.items]
    tags = {"ITEMS": ",".join(ids), "RESAMPLING": settings.resampling, "VERTICAL_DATUM": "EGM2008", TAG: of_rasters()}
    tags |= source.provider_tags()
    findings = []
    if filled:
        findings.append(f"Elevation of block {block}: {filled} source pixels in narrow stripes between tiles were filled from both sides")
        tags["FILLED"] = f"{filled} source pixels in stripes between tiles"
        logger.warning(findings[0])
    findings += (unusual := check_elevation(block, heights[own], ids, minimum_coverage))
    for finding in unusual:
        logger.warning(finding)
    write(outputs["image"], heights, geobox, np.nan, ["DEM"], tags, ["m"])
    stats = {
        "items": ids,
        "nodata_share": round(float(missing), 6),
        "minimum": round(float(valid.min()), 3) if valid.size else None,
        "maximum": round(float(valid.max()), 3) if valid.size else None,
        "filled_pixels": filled,
        "findings": findings,
    }
    write_json(outputs["stats"], stats)
