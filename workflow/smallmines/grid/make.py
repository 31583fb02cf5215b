"""Lay tiles (a fishnet) and blocks over an area of interest.

Rows and columns of cells count from the north-west corner of the run's lattice. Ids count from the south-west, west to east, then
northwards, as in the released dataset.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import reproject
from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.grid.area import Area, Remark
from smallmines.grid.existing import read_fishnet, read_released
from smallmines.grid.projection import anchor_remarks, crs_remarks, resolution_remarks
from smallmines.settings.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd

AREA_TOLERANCE = 0.01
"""Maximum relative difference from `aoi.expected_area_km2`."""


def fishnet(aoi: gpd.GeoDataFrame, grid: Grid) -> gpd.GeoDataFrame:
    """Return all cells of the lattice whose interior touches the AOI, numbered from the south-west.

    Args:
        aoi: polygons in any CRS.
        grid: CRS, resolution, tile size and anchor of the lattice.

    Returns:
        One row per cell: tile_id (str, "0001"), row, col (int64, from the north-west), geometry (the cell's square).

    Raises:
        UserError: the AOI is empty, has no CRS or no area, cannot be projected to the lattice's CRS, or takes more than `grid.max_tiles`
            cells. Too many are noticed before they are made.
    """
    import geopandas as gpd

    area = polygon(aoi, grid.crs)
    rows, cols, squares = _touched(area, grid)
    table = gpd.GeoDataFrame({"row": rows, "col": cols}, geometry=squares, crs=grid.crs)
    table = table.sort_values(["row", "col"], ascending=[False, True], ignore_index=True)
    table[["row", "col"]] -= [table["row"].min(), table["col"].min()]
    table.insert(0, "tile_id", tile_ids(len(table)))
    return table


def _touched(area: Any, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return rows, columns (counted from the anchor) and squares of the cells whose interior touches an area.

    Squares of many cells are tried first and divided where they meet the area, so that the work grows with the number of cells touched
    and not with the rectangle around them.

    Raises:
        UserError: more than `grid.max_tiles`.
    """
    import shapely

    side = grid.resolution * grid.tile_size
    if area.area / side**2 > grid.max_tiles:
        raise _too_many(f"at least {math.ceil(area.area / side**2)} tiles of {side:g} m for {area.area / 1e6:.0f} km²", grid)
    west, south, east, north = area.bounds
    first_col, last_col = (int(np.floor((edge - grid.anchor.x) / side)) for edge in (west, east))
    first_row, last_row = (int(np.floor((grid.anchor.y - edge) / side)) for edge in (north, south))
    levels = max(last_col - first_col, last_row - first_row, 1).bit_length()
    rows, cols = np.zeros(1, np.int64), np.zeros(1, np.int64)
    shapely.prepare(area)
    for level in range(levels, -1, -1):
        size = 1 << level
        left, top = grid.anchor.x + (first_col + cols * size) * side, grid.anchor.y - (first_row + rows * size) * side
        squares = shapely.box(left, top - size * side, left + size * side, top)
        inside = shapely.intersects(area, squares)
        if level == 0:
            inside &= ~shapely.touches(area, squares)
        rows, cols, squares = rows[inside], cols[inside], squares[inside]
        if len(rows) > (grid.max_tiles if level == 0 else 4 * grid.max_tiles + 1000):  # squares that only share a border count, too
            raise _too_many(f"{len(rows)} tiles of {side:g} m" if level == 0 else f"more than {grid.max_tiles} tiles", grid)
        if level:
            rows, cols = (2 * rows[:, None] + np.array([0, 0, 1, 1])).ravel(), (2 * cols[:, None] + np.array([0, 1, 0, 1])).ravel()
    return rows + first_row, cols + first_col, squares


def _too_many(found: str, grid: Grid) -> UserError:
    return UserError(
        f"at most {grid.max_tiles} tiles (grid.max_tiles)",
        found,
        "check the area of interest and the units of its file; divide a large area into several runs, or raise grid.max_tiles",
    )


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

    merged = shapely.make_valid(reproject(aoi, crs).geometry.union_all())
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


def check_size(area: Area, crs: str, expected_km2: float | None) -> None:
    """Compare the size of an area with the expected one.

    Args:
        crs: CRS of the grid, in which it is measured.
        expected_km2: `aoi.expected_area_km2`; None: not checked.

    Raises:
        UserError: they differ by more than `AREA_TOLERANCE`.
    """
    km2 = polygon(area.table, crs).area / 1e6
    if expected_km2 and abs(km2 / expected_km2 - 1) > AREA_TOLERANCE:
        raise UserError(
            f"{expected_km2:.1f} km² within {AREA_TOLERANCE:.0%} (aoi.expected_area_km2)",
            f"{km2:.1f} km²",
            "check names and release; or supply the boundaries as a file (aoi.source: file, aoi.path: …); or correct expected_area_km2",
        )


def lattice_json(cells: gpd.GeoDataFrame, grid: Grid, area_km2: float, remarks: Sequence[Remark] = ()) -> dict[str, Any]:
    """Return the content of `grid/grid.json`, see `lattice_of`.

    Args:
        cells: table with tile_id, row, col, block and geometry.
        grid: CRS, resolution, tile size and anchor of the lattice.
        area_km2: area of the AOI.
        remarks: what is unusual about place and grid; the key is there only where there are any.
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
        **({"remarks": [remark._asdict() for remark in remarks]} if remarks else {}),
    }


def make_grid(area: Area, grid: Grid, fishnet_path: str, blocks_path: str, grid_path: str) -> None:
    """Lay tiles and blocks over the area of interest, or read the tiles from `grid.file` or `grid.folder`, and write them.

    Args:
        area: the area of interest.
        grid: keys of `grid`.
        fishnet_path: GeoParquet of the tiles: tile_id, row, col, block, released_id, geometry.
        blocks_path: GeoParquet of the blocks: block, geometry, tiles.
        grid_path: `grid/grid.json`, see `lattice_json`.

    Raises:
        UserError: see `crs_remarks`, `fishnet`, `read_fishnet`, `read_released` and `blocks_of`.
    """
    import pandas as pd
    import shapely

    remarks = [*area.remarks, *crs_remarks(grid.crs, area)]
    outline = polygon(area.table, grid.crs)
    cells, grid = tiles_of(area, grid)
    remarks += [*anchor_remarks(grid.anchor, outline.bounds), *resolution_remarks(grid.resolution)]
    if not cells.intersects(outline).any():
        remarks.append(
            Remark("tiles on the area of interest", "none of the given tiles touches it", "check grid.file or grid.folder, and the area")
        )
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
    for remark in remarks:
        logger.warning("%s; expected: %s; %s", remark.found, remark.expected, remark.do)
        print(f"warning: {remark.found}; expected: {remark.expected}", file=sys.stderr, flush=True)
    for table, path in ((cells, fishnet_path), (blocks, blocks_path)):
        table["geometry"] = shapely.normalize(table.geometry.to_numpy())
        with written(path) as beside:
            table.to_parquet(beside, index=False)
    write_json(grid_path, lattice_json(cells, grid, outline.area / 1e6, remarks))


def tiles_of(area: Area, grid: Grid) -> tuple[gpd.GeoDataFrame, Grid]:
    """Return the tiles of a run, made or given, and the keys of the grid with the anchor that they have.

    Raises:
        UserError: see `fishnet`, `read_fishnet` and `read_released`; more than `grid.max_tiles`.
    """
    cells = fishnet(area.table, grid) if grid.source == "rule" else None
    if grid.source == "file":
        cells = read_fishnet(grid)
    elif cells is None:
        cells, grid = read_released(grid)
    if len(cells) > grid.max_tiles:
        raise _too_many(f"{len(cells)} tiles in {grid.file or grid.folder}", grid)
    return cells, grid
