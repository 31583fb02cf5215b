"""Lay tiles (a fishnet) and blocks over an area of interest.

Rows and columns of cells count from the north-west corner of the run's lattice. Ids count from the south-west, west to east, then
northwards, as in the released dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.grid.existing import read_fishnet, read_released
from smallmines.settings.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd


def fishnet(aoi: gpd.GeoDataFrame, grid: Grid) -> gpd.GeoDataFrame:
    """Return all cells of the lattice whose interior touches the AOI, numbered from the south-west.

    Args:
        aoi: polygons in any CRS.
        grid: CRS, resolution, tile size and anchor of the lattice.

    Returns:
        One row per cell: tile_id (str, "0001"), row, col (int64, from the north-west), geometry (the cell's square).

    Raises:
        UserError: the AOI is empty, has no CRS or no area, or cannot be projected to the lattice's CRS.
    """
    import geopandas as gpd
    import shapely

    area = polygon(aoi, grid.crs)
    side = grid.resolution * grid.tile_size
    west, south, east, north = area.bounds
    first_col, last_col = (int(np.floor((edge - grid.anchor.x) / side)) for edge in (west, east))
    first_row, last_row = (int(np.floor((grid.anchor.y - edge) / side)) for edge in (north, south))
    rows, cols = np.mgrid[first_row : last_row + 1, first_col : last_col + 1]
    left, top = grid.anchor.x + cols.ravel() * side, grid.anchor.y - rows.ravel() * side
    squares = shapely.box(left, top - side, left + side, top)
    shapely.prepare(area)
    inside = shapely.intersects(area, squares) & ~shapely.touches(area, squares)
    table = gpd.GeoDataFrame({"row": rows.ravel()[inside], "col": cols.ravel()[inside]}, geometry=squares[inside], crs=grid.crs)
    table = table.sort_values(["row", "col"], ascending=[False, True], ignore_index=True)
    table[["row", "col"]] -= [table["row"].min(), table["col"].min()]
    table.insert(0, "tile_id", tile_ids(len(table)))
    return table


def tile_ids(count: int) -> list[str]:
    """Return ids from "0001" on, with more than four digits only beyond 9999 tiles."""
    digits = max(4, len(str(count)))
    return [f"{number:0{digits}d}" for number in range(1, count + 1)]


def polygon(aoi: gpd.GeoDataFrame, crs: str) -> Any:
    """Merge the AOI into one valid shapely geometry in `crs`.

    Raises:
        UserError: no features, no CRS, no area, or it cannot be projected to `crs`.
    """
    import shapely

    if aoi.crs is None:
        raise UserError("an AOI with a CRS", "none", "store the AOI in a format that keeps its CRS, or add a .prj file")
    merged = shapely.make_valid(aoi.to_crs(crs).geometry.union_all())
    if merged.is_empty or not np.isfinite(merged.area) or merged.area <= 0:
        raise UserError(
            f"an AOI of polygons that can be drawn in {crs}", f"{len(aoi)} features with no area there", "check the AOI file and grid.crs"
        )
    return merged


def blocks_of(cells: gpd.GeoDataFrame, count: int, seed: int) -> NDArray[np.int64]:
    """Return the block number of each cell: k-means on the centroids, numbered from 1 in the order of x + y of the centres.

    Raises:
        UserError: fewer cells than blocks.
    """
    from sklearn.cluster import KMeans

    if len(cells) < count:
        raise UserError(f"at least {count} tiles for {count} blocks", f"{len(cells)} tiles", "lower grid.blocks or enlarge the AOI")
    centres = np.column_stack([cells.geometry.centroid.x, cells.geometry.centroid.y])
    model = KMeans(count, random_state=seed, n_init=10).fit(centres)
    rank = np.empty(count, np.int64)
    rank[np.argsort(model.cluster_centers_.round(3).sum(axis=1), kind="stable")] = np.arange(1, count + 1)
    numbers: NDArray[np.int64] = rank[model.labels_]
    return numbers


def lattice_json(cells: gpd.GeoDataFrame, grid: Grid, area_km2: float) -> dict[str, Any]:
    """Return the content of `grid/grid.json`, see `lattice_of`.

    Args:
        cells: table with tile_id, row, col, block and geometry.
        grid: CRS, resolution, tile size and anchor of the lattice.
        area_km2: area of the AOI.
    """
    west, _, _, north = cells.total_bounds
    windows = {}
    for name, own in cells.groupby("block"):
        row, col = int(own["row"].min()), int(own["col"].min())
        windows[str(name)] = [row, col, int(own["row"].max()) + 1 - row, int(own["col"].max()) + 1 - col]
    return {
        "crs": grid.crs,
        "resolution": grid.resolution,
        "tile_size": grid.tile_size,
        "anchor": [grid.anchor.x, grid.anchor.y],
        "transform": [grid.resolution, 0.0, float(west), 0.0, -grid.resolution, float(north)],
        "shape": [int(cells["row"].max() + 1) * grid.tile_size, int(cells["col"].max() + 1) * grid.tile_size],
        "windows": windows,
        "cells": cells[["tile_id", "row", "col", "block"]].values.tolist(),
        "tiles": len(cells),
        "expected_tiles": grid.expected_tiles,
        "tiles_per_block": {str(name): int(count) for name, count in cells["block"].value_counts().sort_index().items()},
        "aoi_area_km2": round(area_km2, 3),
    }


def make_grid(aoi: gpd.GeoDataFrame, grid: Grid, fishnet_path: str, blocks_path: str, grid_path: str) -> None:
    """Lay tiles and blocks over the AOI, or read the tiles from `grid.file` or `grid.folder`, and write them.

    Args:
        aoi: polygons in any CRS.
        grid: keys of `grid`.
        fishnet_path: GeoParquet of the tiles: tile_id, row, col, block, released_id, geometry.
        blocks_path: GeoParquet of the blocks: block, geometry, tiles.
        grid_path: `grid/grid.json`, see `lattice_json`.

    Raises:
        UserError: see `fishnet`, `read_fishnet`, `read_released` and `blocks_of`.
    """
    import pandas as pd
    import shapely

    if grid.source == "released_folder":
        cells, grid = read_released(grid)
    else:
        cells = fishnet(aoi, grid) if grid.source == "rule" else read_fishnet(grid)
    cells.insert(3, "block", [str(number) for number in blocks_of(cells, grid.blocks, grid.block_seed)])
    released = grid.released_ids_up_to
    cells.insert(4, "released_id", pd.array([None if released is None else int(name) <= released for name in cells["tile_id"]], "boolean"))
    blocks = cells[["block", "geometry"]].dissolve("block", method="coverage").reset_index()
    blocks["tiles"] = cells["block"].value_counts().reindex(blocks["block"]).to_numpy()
    logger.info("%d tiles of %d px (published: %s)", len(cells), grid.tile_size, grid.expected_tiles or "not stated")
    if released is not None and len(cells) > released:
        logger.info("ids above %04d are not the ids of the released dataset: join with it by geometry", released)
    for name, count in zip(blocks["block"], blocks["tiles"], strict=True):
        logger.info("block %s: %d tiles", name, count)
    for table, path in ((cells, fishnet_path), (blocks, blocks_path)):
        table["geometry"] = shapely.normalize(table.geometry.to_numpy())
        with written(path) as beside:
            table.to_parquet(beside, index=False)
    write_json(grid_path, lattice_json(cells, grid, polygon(aoi, grid.crs).area / 1e6))
