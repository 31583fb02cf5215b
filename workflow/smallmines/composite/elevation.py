"""The elevation of a block: Copernicus DEM tiles in one mosaic, then resampled once.

Heights are metres above EGM2008 as delivered. Resampling tile by tile would leave seams: along a tile's edge the
interpolation needs the neighbour's pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smallmines.composite.sampling import read_piece, resample_all
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.raster import write
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.fetched import read_fetched, stand_in
from smallmines.settings.elevation import Elevation


def composite(block: str, grid: str | Path, fetched: str | Path, settings: Elevation, output: str | Path, stats: str | Path) -> None:
    """Make `composites/static/<block>/dem.tif`: float32 metres, NaN where no tile has data, on the block's grid.

    Args:
        grid: `grid/grid.json`.
        fetched: `fetched/static/<block>/dem.json`.
        stats: JSON: sources, share without data, lowest and highest height.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    items = read_fetched(fetched)
    heights = np.full(tuple(geobox.shape), np.nan, np.float32)
    if items:
        heights = resample_all([read_piece(item["files"]["DEM"]) for item in items], geobox, settings.resampling)
    found = heights[own & np.isfinite(heights)]
    missing = 1 - found.size / own.sum()
    logger.info("block %s: %d tiles, %.2f %% without data", block, len(items), 100 * missing)
    ids = [item["id"] for item in items]
    tags = {"ITEMS": ",".join(ids), "RESAMPLING": settings.resampling, "VERTICAL_DATUM": "EGM2008", TAG: of_rasters()}
    tags |= stand_in(fetched)
    write(output, heights, geobox, np.nan, ["DEM"], tags, ["m"])
    summary = {
        "items": ids,
        "nodata_share": round(float(missing), 6),
        "minimum": round(float(found.min()), 3) if found.size else None,
        "maximum": round(float(found.max()), 3) if found.size else None,
    }
    write_json(stats, summary)
