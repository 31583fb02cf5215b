"""Read the tiles of an existing grid: from a fishnet file, or from the headers of released images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.patch_files import Header, patch_files, read_header
from smallmines.settings.grid import Anchor, Grid

if TYPE_CHECKING:
    import geopandas as gpd

TOLERANCE = 1e-4
"""Distance from the lattice, in cells, up to which a cell lies on it."""


def read_fishnet(grid: Grid) -> gpd.GeoDataFrame:
    """Read tiles and ids from the file `grid.file`.

    Returns:
        One row per cell, see `make.fishnet`.

    Raises:
        UserError: no column `tile_id`, ids that are not unique numbers, or cells that are not whole cells of the lattice.
    """
    import geopandas as gpd

    try:
        table = gpd.read_file(grid.file)
    except Exception as error:  # pyogrio raises several types, all of them mean that the file cannot be read
        raise UserError(f"a fishnet GDAL can read at {grid.file}", str(error), "check grid.file") from error
    if "tile_id" not in table or table["tile_id"].duplicated().any() or not table["tile_id"].astype(str).str.fullmatch(r"\d+").all():
        raise UserError("a column tile_id of unique numbers", f"columns {', '.join(table.columns)}", f"mend {grid.file}")
    bounds = table.to_crs(grid.crs).geometry.bounds.to_numpy()
    side = grid.resolution * grid.tile_size
    cols, rows = (bounds[:, 0] - grid.anchor.x) / side, (grid.anchor.y - bounds[:, 3]) / side
    off = np.maximum.reduce([abs(cols - cols.round()), abs(rows - rows.round()), abs(bounds[:, 2] - bounds[:, 0] - side) / side])
    if off.max() > TOLERANCE:
        raise UserError(
            f"cells of {side:g} m on the lattice through ({grid.anchor.x:g}, {grid.anchor.y:g}) in {grid.crs}",
            f"{int((off > TOLERANCE).sum())} of {len(table)} cells off it, the farthest by {off.max() * side:.1f} m",
            "set grid.anchor, grid.crs and grid.tile_size to those of the file",
        )
    return _cells(table["tile_id"].tolist(), cols, rows, grid)


def read_released(grid: Grid) -> tuple[gpd.GeoDataFrame, Grid]:
    """Read tiles and ids from the headers of the images `IMG_*` below the folder `grid.folder`, which may hold several years.

    Returns:
        One row per cell, see `make.fishnet`, and `grid` with the anchor at their north-west corner; all ids count as released ones.

    Raises:
        UserError: no images; ids that are no numbers; another CRS, resolution or tile size than configured; images that are not on one
            lattice; a tile that lies elsewhere in another year, or two tiles in one place.
    """
    images = [read_header(path) for path in patch_files(str(grid.folder), ["IMG"])]
    _check_form(images, grid)
    west, north = min(image.left for image in images), max(image.top for image in images)
    side = grid.resolution * grid.tile_size
    cols = np.array([(image.left - west) / side for image in images])
    rows = np.array([(north - image.top) / side for image in images])
    off = np.maximum(abs(cols - cols.round()), abs(rows - rows.round())) * side
    if off.max() > TOLERANCE * side:
        worst = images[int(off.argmax())]
        raise UserError(
            f"images on one lattice of {side:g} m",
            f"{int((off > TOLERANCE * side).sum())} of {len(images)} images off the lattice through ({west:g}, {north:g}), "
            f"the farthest by {off.max():.1f} m: {worst.path} at ({worst.left:g}, {worst.top:g})",
            "set grid.folder to images of one dataset only",
        )
    first = _first_images(images, list(zip(rows.round().astype(int), cols.round().astype(int), strict=True)))
    chosen = list(first.values())
    anchored = replace(grid, anchor=Anchor(west, north), released_ids_up_to=max(first))
    logger.info("%d tiles in %d images below %s: anchor (%g, %g)", len(chosen), len(images), grid.folder, west, north)
    return _cells([images[number].tile_id for number in chosen], cols[chosen], rows[chosen], anchored), anchored


def _check_form(images: Sequence[Header], grid: Grid) -> None:
    """Check that there are images, with numbers as ids, and of the configured CRS, resolution and size."""
    if not images:
        raise UserError(
            f"images IMG_<country>_<id>_<year>.tif below {grid.folder}", "none", "set grid.folder to the released dataset's folder"
        )
    if other := next((image for image in images if not image.tile_id.isdigit()), None):
        raise UserError("images whose ids are numbers, as in IMG_GH_0001_2016.tif", f"{other.path}", "set grid.folder to released images")
    form = (grid.crs, grid.tile_size, grid.tile_size, (grid.resolution, grid.resolution))
    for image in images:
        if (image.crs, image.width, image.height, image.resolution) != form:
            raise UserError(
                f"images of {grid.tile_size}×{grid.tile_size} px of {grid.resolution:g} m in {grid.crs}",
                f"{image.width}×{image.height} px of {image.resolution[0]:g}×{image.resolution[1]:g} m in {image.crs}: {image.path}",
                "set grid.crs, grid.resolution and grid.tile_size to those of the images",
            )


def _first_images(images: Sequence[Header], places: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the position of the first image of each tile, by tile id.

    Args:
        places: row and column of each image on the lattice.

    Raises:
        UserError: a tile lies elsewhere in another year, or two tiles lie in one place.
    """
    first: dict[int, int] = {}
    tile_in: dict[tuple[int, int], int] = {}
    for number, (image, place) in enumerate(zip(images, places, strict=True)):
        tile = int(image.tile_id)
        before = images[first.setdefault(tile, number)]
        other = tile_in.setdefault(place, tile)
        if before.place != image.place:
            _refuse_pair(before, image, "one place for each tile in all years")
        if other != tile:
            _refuse_pair(images[first[other]], image, "one tile in each place")
    return first


def _refuse_pair(first: Header, second: Header, expected: str) -> None:
    found = " and ".join(f"{image.path} at ({image.left:g}, {image.top:g})" for image in (first, second))
    raise UserError(expected, found, "set grid.folder to images of one dataset only")


def _cells(names: Sequence[Any], cols: NDArray[np.float64], rows: NDArray[np.float64], grid: Grid) -> gpd.GeoDataFrame:
    """Return cells sorted by id, at columns and rows counted from the anchor."""
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
