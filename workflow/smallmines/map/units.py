"""Units that areas are stated for: the whole run, the units of the area of interest, and polygons of the user's layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core.crs import reproject
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.grid.area import polygons_of, read_polygon_layer

if TYPE_CHECKING:
    import geopandas as gpd

NAME = "name"
"""Attribute with the name of a unit."""

AOI_NAMES = (NAME, "shapeName")
"""Attributes with the names of the units of an area of interest; the second is that of geoBoundaries."""

WHOLE, AOI = "run", "aoi"
"""Names of the layers that every run has: all tiles of the run, and the area of interest."""

ALL_TILES, WHOLE_AOI = "all tiles", "area of interest"
"""Names of the unit of the layer `run`, and of that of an area of interest without names."""


@dataclass(frozen=True)
class Unit:
    """A unit of a layer.

    Attributes:
        shape: in the CRS of the run; None: all tiles.
    """

    layer: str
    name: str
    shape: Any


def whole_run() -> list[Unit]:
    """Return the layer of one unit that holds all tiles."""
    return [Unit(WHOLE, ALL_TILES, None)]


def aoi_units(path: str, crs: str) -> list[Unit]:
    """Return the units of the area of interest by the first attribute of `AOI_NAMES` that names all; the whole area where none does.

    Args:
        crs: of the run.

    Raises:
        UserError: see `grid.area`.
    """
    table, _ = read_polygon_layer(path, "area of interest")
    attribute = next((name for name in AOI_NAMES if name in table.columns and not _unnamed(table, name).any()), None)
    if attribute is None:
        if len(table) > 1:
            wanted, present = " or ".join(AOI_NAMES), ", ".join(name for name in table.columns if name != "geometry")
            logger.warning("%d polygons of %s are one unit: no attribute %s names them all (it has: %s)", len(table), path, wanted, present)
        attribute, table = NAME, table.assign(**{NAME: WHOLE_AOI})
    return _dissolved(table, attribute, AOI, path, crs)


def layer_units(path: str, crs: str) -> list[Unit]:
    """Return the units of a layer of the user, named as the file; polygons of one name are one unit.

    Args:
        crs: of the run.

    Raises:
        UserError: the file is missing or unreadable, has no CRS, no polygons, no attribute `name`, or polygons without a name.
    """
    if not Path(path).is_file():
        raise UserError(f"the layer of units {path}", "no such file", "correct map.units, whose paths are relative to the repository")
    table, _ = read_polygon_layer(path, "layer of units")
    if table.crs is None:
        raise UserError(f"a layer of units with a CRS in {path}", "none", "store it in a format that keeps its CRS, or add a .prj file")
    if NAME not in table.columns:
        others = ", ".join(str(column) for column in table.columns if column != table.geometry.name) or "none"
        raise UserError(f"an attribute {NAME} of the units in {path}", f"the attributes {others}", f"rename the one with names to {NAME}")
    if (unnamed := _unnamed(table, NAME)).any():
        found = f"{int(unnamed.sum())} of {len(table)} polygons without one"
        raise UserError(f"a {NAME} of each unit in {path}", found, "name them, or delete them from the layer")
    return _dissolved(table, NAME, Path(path).stem, path, crs)


def _unnamed(table: gpd.GeoDataFrame, attribute: str) -> NDArray[np.bool_]:
    names = table[attribute]
    return np.asarray(names.isna() | (names.astype(str).str.strip() == ""), np.bool_)


def _dissolved(table: gpd.GeoDataFrame, attribute: str, layer: str, path: str, crs: str) -> list[Unit]:
    """Return the units of a table, sorted by name; those without an area are left out.

    Raises:
        UserError: none has an area.
    """
    import shapely

    kept, remarks = polygons_of(table, path)
    for remark in remarks:
        logger.warning("%s: %s", remark.expected, remark.found)
    if (without_area := shapely.area(kept.geometry.to_numpy()) == 0).all():
        raise UserError(f"polygons with an area in {path}", f"{len(kept)} polygons without one", "check the file")
    if without_area.any():
        logger.warning("%s: %d polygons without an area are left out", path, int(without_area.sum()))
    kept = reproject(kept[~without_area], crs, path)
    names = kept[attribute].astype(str).str.strip()
    if twice := int(names.duplicated().sum()):
        logger.info("layer %s: %d polygons joined with others of the same name", layer, twice)
    shapes = shapely.make_valid(kept.geometry.to_numpy())
    return [Unit(layer, name, shapely.union_all(shapes[(names == name).to_numpy()])) for name in sorted(set(names))]


def inside(units: Sequence[Unit], geobox: GeoBox) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield the pixels of a window whose centres lie in each unit that reaches it.

    Args:
        geobox: of the window.

    Yields:
        Number of the unit, rows and columns of the part of the window that its bounds reach, and the pixels of this part.
    """
    import shapely
    from rasterio.features import rasterize

    height, width = geobox.shape
    for number, unit in enumerate(units):
        if unit.shape is None:
            yield number, (slice(0, height), slice(0, width)), np.ones((height, width), bool)
            continue
        corners = ~geobox.transform @ (np.array(unit.shape.bounds[::2]), np.array(unit.shape.bounds[1::2]))
        (left, right), (top, bottom) = (np.sort(axis) for axis in corners)
        rows = slice(max(0, int(np.floor(top))), min(height, int(np.ceil(bottom))))
        cols = slice(max(0, int(np.floor(left))), min(width, int(np.ceil(right))))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        part = geobox[rows, cols]
        if shapely.intersects(unit.shape, shapely.box(*part.boundingbox.bbox)):
            burned = rasterize([(unit.shape, 1)], part.shape, transform=part.transform, dtype="uint8")
            yield number, (rows, cols), burned > 0


def layers_of(aoi: str, files: Sequence[str], crs: str) -> list[list[Unit]]:
    """Return the units of each layer of a run: all tiles, the units of the area of interest, and those of the user's files.

    Args:
        crs: of the run.

    Raises:
        UserError: see `aoi_units` and `layer_units`.
    """
    return [whole_run(), aoi_units(aoi, crs), *(layer_units(path, crs) for path in files)]
