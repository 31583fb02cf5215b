"""Read the tiles of an existing grid: from a fishnet file, or from the headers of released images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import horizontal, reproject_shapes
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.patch_files import Header, patch_files, read_header
from smallmines.grid.area import read_polygon_layer
from smallmines.settings.grid import Anchor, Grid

if TYPE_CHECKING:
    import geopandas as gpd

TOLERANCE = 1e-4
"""Distance from the lattice, in cells, up to which a cell lies on it: 0.13 m of 1280 m, more than the rounding of degrees to six digits."""

TILE_ID = re.compile(r"[0-9]{1,9}")
"""A tile id as text."""

LISTED = 10
"""Cells that a message names."""


def read_fishnet(grid: Grid) -> gpd.GeoDataFrame:
    """Read tiles and ids from the file `grid.file`.

    Returns:
        One row per cell, see `make.fishnet`.

    Raises:
        UserError: no column `tile_id`, ids that are not unique whole numbers, a CRS that is missing or cannot be converted, cells that are
            not whole cells of the lattice, or two cells in one place. Names the cells.
    """
    table, beside = read_polygon_layer(str(grid.file), "existing fishnet")
    if "tile_id" not in table:
        raise UserError(f"a column tile_id in {grid.file}", f"columns {', '.join(table.columns)}", f"mend {grid.file}")
    if table.crs is None:
        raise UserError(f"a CRS in {grid.file}", "none", "write the file with its CRS")
    names = _tile_names(table["tile_id"].tolist(), str(grid.file))
    shapes = reproject_shapes(table.geometry.to_numpy(), table.crs, grid.crs, file=str(grid.file))
    side = grid.resolution * grid.tile_size
    cols, rows = _require_cells(shapes, names, grid)
    first: dict[tuple[int, int], int] = {}
    for name, place in zip(names, zip(rows.round().astype(int), cols.round().astype(int), strict=True), strict=True):
        if (other := first.setdefault(place, name)) != name:
            raise UserError("one cell in each place", f"cells {other} and {name} of {side:g} m in one place in {grid.file}", "remove one")
    if beside:
        logger.warning("%s: %s beside the cells: left out", grid.file, beside)
    return _cells(names, cols, rows, grid)


def _tile_names(values: list[Any], source: str) -> list[int]:
    """Return tile ids as numbers.

    Raises:
        UserError: values that are no whole numbers of up to nine digits ("1.0" is none), or that occur twice ("1" and "0001" are one).
    """
    texts = ["" if value is None else str(value) for value in values]
    wrong = [text or "nothing" for text in texts if not TILE_ID.fullmatch(text)]
    if wrong or not texts:
        raise UserError(
            f"tile_id of whole numbers such as 0001 in {source}",
            f"{len(wrong)} of {len(texts)} others: {_some([repr(text) for text in wrong])}" if texts else "no cells",
            "write the column as text or integer, not as decimals",
        )
    names = [int(text) for text in texts]
    if twice := sorted({name for name, count in Counter(names).items() if count > 1}):
        raise UserError(
            f"each tile_id once in {source}", f"several cells of the number {_some(twice)}", "give each cell a number of its own"
        )
    return names


def _require_cells(shapes: NDArray[Any], names: Sequence[int], grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return columns and rows (counted from the anchor, nearly whole) of squares that are cells of the lattice.

    Raises:
        UserError: other shapes or sizes, or squares beside the lattice; names them.
    """
    import shapely

    side = grid.resolution * grid.tile_size
    bounds = shapely.bounds(shapes)
    width, height, area = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1], shapely.area(shapes)
    odd = np.maximum.reduce([abs(width / side - 1), abs(height / side - 1), abs(area / side**2 - 1) / 4])
    cols, rows = (bounds[:, 0] - grid.anchor.x) / side, (grid.anchor.y - bounds[:, 3]) / side
    off = np.maximum(abs(cols - cols.round()), abs(rows - rows.round()))
    do = "set grid.anchor, grid.crs and grid.tile_size to those of the file"
    bad = np.flatnonzero(~(odd <= TOLERANCE)).tolist()  # also cells without geometry, whose bounds are not a number
    if bad:
        first = bad[0]
        size = f"{width[first]:.1f} × {height[first]:.1f} m, {area[first]:.0f} m²" if np.isfinite(width[first]) else "no geometry"
        found = f"{len(bad)} of {len(names)} cells are none: {_some([names[index] for index in bad])} (the first: {size})"
        raise UserError(f"squares of {side:g} m in {grid.crs}", found, do)
    bad = np.flatnonzero(off > TOLERANCE).tolist()
    if bad:
        far = f"{len(bad)} of {len(names)} cells off it, the farthest by {off.max() * side:.1f} m"
        lattice = f"the lattice through ({grid.anchor.x:.10g}, {grid.anchor.y:.10g}) in {grid.crs}"
        raise UserError(f"cells of {side:g} m on {lattice}", f"{far}: {_some([names[index] for index in bad])}", do)
    return cols, rows


def _some(values: Sequence[Any]) -> str:
    """List the first values."""
    return ", ".join(map(str, values[:LISTED])) + (f" and {len(values) - LISTED} more" if len(values) > LISTED else "")


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
    if other := next((image for image in images if not TILE_ID.fullmatch(image.tile_id)), None):
        raise UserError("images whose ids are numbers, as in IMG_GH_0001_2016.tif", f"{other.path}", "set grid.folder to released images")
    form = (grid.tile_size, grid.tile_size, (grid.resolution, grid.resolution))
    same_crs = {name: name == grid.crs or horizontal(name).equals(horizontal(grid.crs)) for name in {image.crs for image in images}}
    for image in images:
        if not same_crs[image.crs] or (image.width, image.height, image.resolution) != form:
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
