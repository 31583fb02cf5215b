"""Lays tiles (fishnet) and blocks over an area of interest.

Cells are counted from the north-west corner of the run's lattice (`row`, `col`); ids from the south-west,
west to east, then northwards, as in the released dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.patch_files import Header, patch_files, read_header
from smallmines.settings.grid import Anchor, Grid

if TYPE_CHECKING:
    import geopandas as gpd


def fishnet(aoi: gpd.GeoDataFrame, grid: Grid) -> gpd.GeoDataFrame:
    """Every cell of the lattice that touches the AOI with more than a border, numbered from the south-west.

    Args:
        aoi: polygons in any CRS.
        grid: CRS, resolution, tile size and anchor of the lattice.

    Returns:
        One row per cell: tile_id (str, "0001"), row, col (int64, from the north-west), geometry (the cell's square).

    Raises:
        UserError: the AOI is empty, has no area, no CRS or does not reach the lattice's CRS.
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
    kept = shapely.intersects(area, squares) & ~shapely.touches(area, squares)
    table = gpd.GeoDataFrame({"row": rows.ravel()[kept], "col": cols.ravel()[kept]}, geometry=squares[kept], crs=grid.crs)
    table = table.sort_values(["row", "col"], ascending=[False, True], ignore_index=True)
    table[["row", "col"]] -= [table["row"].min(), table["col"].min()]
    table.insert(0, "tile_id", tile_ids(len(table)))
    return table


def tile_ids(count: int) -> list[str]:
    """Ids "0001" onwards, with more digits only past 9999 tiles."""
    digits = max(4, len(str(count)))
    return [f"{number:0{digits}d}" for number in range(1, count + 1)]


def polygon(aoi: gpd.GeoDataFrame, crs: str) -> Any:
    """The AOI as one valid shapely geometry in `crs`.

    Raises:
        UserError: no features, no CRS, no area, or not expressible in `crs`.
    """
    import shapely

    if aoi.crs is None:
        raise UserError("an AOI with a CRS", "none", "store the AOI in a format that keeps its CRS, or add a .prj file")
    merged = shapely.make_valid(aoi.to_crs(crs).geometry.union_all())
    if merged.is_empty or not np.isfinite(merged.area) or merged.area <= 0:
        found = f"{len(aoi)} features with no area there"
        raise UserError(f"an AOI of polygons that can be drawn in {crs}", found, "check the AOI file and grid.crs")
    return merged


def blocks_of(cells: gpd.GeoDataFrame, count: int, seed: int) -> NDArray[np.int64]:
    """Block number of each cell: k-means on the centroids, numbered 1.. from the south-west (by x + y of the centres).

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
    """The content of `grid/grid.json` for cells with tile_id, row, col, block and geometry (see `read_lattice`)."""
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
    """Lay the tiles and blocks over the AOI (or read them from `grid.file` or `grid.folder`) and write the three files of the stage.

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


def read_fishnet(grid: Grid) -> gpd.GeoDataFrame:
    """Tiles and ids from the file `grid.file`, which must lie on the lattice.

    Raises:
        UserError: no column `tile_id`, ids that are not unique numbers, or cells that are not whole cells of the lattice.
    """
    import geopandas as gpd

    try:
        given = gpd.read_file(grid.file)
    except Exception as error:  # pyogrio raises several kinds, all of them "this file cannot be read"
        raise UserError(f"a fishnet GDAL can read at {grid.file}", str(error), "check grid.file") from error
    if "tile_id" not in given or given["tile_id"].duplicated().any() or not given["tile_id"].astype(str).str.fullmatch(r"\d+").all():
        raise UserError("a column tile_id of unique numbers", f"columns {', '.join(given.columns)}", f"mend {grid.file}")
    bounds = given.to_crs(grid.crs).geometry.bounds.to_numpy()
    side = grid.resolution * grid.tile_size
    cols, rows = (bounds[:, 0] - grid.anchor.x) / side, (grid.anchor.y - bounds[:, 3]) / side
    off = np.maximum.reduce([abs(cols - cols.round()), abs(rows - rows.round()), abs(bounds[:, 2] - bounds[:, 0] - side) / side])
    if off.max() > 1e-4:
        raise UserError(
            f"cells of {side:g} m on the lattice through ({grid.anchor.x:g}, {grid.anchor.y:g}) in {grid.crs}",
            f"{int((off > 1e-4).sum())} of {len(given)} cells off it, the farthest by {off.max() * side:.1f} m",
            "set grid.anchor, grid.crs and grid.tile_size to those of the file",
        )
    return _numbered(given["tile_id"].tolist(), cols, rows, grid)


def read_released(grid: Grid) -> tuple[gpd.GeoDataFrame, Grid]:
    """Tiles and ids from the headers of the images `IMG_*` below the folder `grid.folder`, which may hold several years.

    Returns:
        The cells as `fishnet` gives them, and `grid` with the anchor at their north-west corner; all ids count as released ones.

    Raises:
        UserError: no images; ids that are no numbers; another CRS, resolution or tile size than configured; images that lie on no
            common lattice; a tile that lies elsewhere in another year, or two tiles in one place.
    """
    images = [read_header(path) for path in patch_files(str(grid.folder), ["IMG"])]
    if not images:
        raise UserError(
            f"images IMG_<country>_<id>_<year>.tif below {grid.folder}", "none", "set grid.folder to the released dataset's folder"
        )
    if strange := next((image for image in images if not image.tile_id.isdigit()), None):
        raise UserError("images whose ids are numbers, as in IMG_GH_0001_2016.tif", f"{strange.path}", "set grid.folder to released images")
    form = (grid.crs, grid.tile_size, grid.tile_size, (grid.resolution, grid.resolution))
    for image in images:
        if (image.crs, image.width, image.height, image.resolution) != form:
            raise UserError(
                f"images of {grid.tile_size}×{grid.tile_size} px of {grid.resolution:g} m in {grid.crs}",
                f"{image.width}×{image.height} px of {image.resolution[0]:g}×{image.resolution[1]:g} m in {image.crs}: {image.path}",
                "set grid.crs, grid.resolution and grid.tile_size to those of the images",
            )
    west, north = min(image.left for image in images), max(image.top for image in images)
    side = grid.resolution * grid.tile_size
    cols = np.array([(image.left - west) / side for image in images])
    rows = np.array([(north - image.top) / side for image in images])
    off = np.maximum(abs(cols - cols.round()), abs(rows - rows.round())) * side
    if off.max() > 1e-4 * side:
        worst = images[int(off.argmax())]
        raise UserError(
            f"images on one lattice of {side:g} m",
            f"{int((off > 1e-4 * side).sum())} of {len(images)} images off the lattice through ({west:g}, {north:g}), "
            f"the farthest by {off.max():.1f} m: {worst.path} at ({worst.left:g}, {worst.top:g})",
            "set grid.folder to images of one dataset only",
        )
    first: dict[int, int] = {}
    at: dict[tuple[int, int], int] = {}
    for number, (image, place) in enumerate(zip(images, zip(rows.round().astype(int), cols.round().astype(int), strict=True), strict=True)):
        name = int(image.tile_id)
        before = first.setdefault(name, number)
        other = at.setdefault(place, name)
        if images[before].place != image.place:
            _refuse_two(images[before], image, "one place for each tile in all years")
        if other != name:
            _refuse_two(images[first[other]], image, "one tile in each place")
    kept = list(first.values())
    anchored = replace(grid, anchor=Anchor(west, north), released_ids_up_to=max(first))
    logger.info("%d tiles in %d images below %s: anchor (%g, %g)", len(kept), len(images), grid.folder, west, north)
    return _numbered([images[number].tile_id for number in kept], cols[kept], rows[kept], anchored), anchored


def _refuse_two(one: Header, other: Header, expected: str) -> None:
    found = " and ".join(f"{image.path} at ({image.left:g}, {image.top:g})" for image in (one, other))
    raise UserError(expected, found, "set grid.folder to images of one dataset only")


def _numbered(names: Sequence[Any], cols: NDArray[np.float64], rows: NDArray[np.float64], grid: Grid) -> gpd.GeoDataFrame:
    """Cells by id at columns and rows counted from the anchor, as `fishnet` gives them."""
    import geopandas as gpd
    import shapely

    side = grid.resolution * grid.tile_size
    cols, rows = cols.round().astype(np.int64), rows.round().astype(np.int64)
    left, top = grid.anchor.x + cols * side, grid.anchor.y - rows * side
    table = gpd.GeoDataFrame(
        {"tile_id": [f"{int(name):04d}" for name in names], "row": rows - rows.min(), "col": cols - cols.min()},
        geometry=shapely.box(left, top - side, left + side, top),
        crs=grid.crs,
    )
    return table.sort_values("tile_id", key=lambda ids: ids.astype(int), ignore_index=True)
