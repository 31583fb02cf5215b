"""Find and read the area of interest of a run, independently of the CRS of its grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.files import only_file
from smallmines.grid.aoi import read_aoi
from smallmines.grid.make import polygon
from smallmines.settings.aoi import Aoi

if TYPE_CHECKING:
    import geopandas as gpd

AOI_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".parquet", ".kml", ".fgb")
"""Suffixes of the file `resources/user/<run>/aoi.*`."""

EQUAL_AREA = "EPSG:6933"
"""CRS in which the size of an area is measured before the CRS of its grid is known to be right."""


UTM_SOUTH, UTM_NORTH = -80, 84
"""Latitudes between which UTM zones are defined."""


@dataclass(frozen=True)
class Area:
    """An area of interest in degrees (EPSG:4326). An area across 180° of longitude is not supported.

    Attributes:
        table: the features with their attributes.
        west, south, east, north: bounds in degrees.
        centre: longitude and latitude of the centroid.
        km2: size in km², measured in `EQUAL_AREA`.
    """

    table: gpd.GeoDataFrame
    west: float
    south: float
    east: float
    north: float
    centre: tuple[float, float]
    km2: float


def user_aoi(config: Config) -> list[str]:
    """Return the AOI files of a run that exist: `aoi.path`, or all `resources/user/<run>/aoi.*`."""
    if config.aoi.path:
        return [config.aoi.path] if os.path.exists(config.aoi.path) else []
    return only_file(f"resources/user/{config.run}", "aoi", AOI_SUFFIXES)


def read_area(files: Sequence[str], path: str | None, user_folder: str) -> Area:
    """Read an area of interest.

    Args:
        files: the AOI files that exist.
        path: `aoi.path`, for the message.
        user_folder: folder of `aoi.*`, for the message.

    Raises:
        UserError: no file or several, or a file that is unreadable, has several layers or none with geometries, no CRS or no area;
            an area across 180° of longitude or beyond UTM.
    """
    for file in files:
        _require_one_layer(file)
    table = read_aoi(list(files), Aoi(path=path, expected_area_km2=None), EQUAL_AREA, user_folder)
    merged = polygon(table, EQUAL_AREA)
    table = table.to_crs("EPSG:4326")
    outline = polygon(table, "EPSG:4326")
    west, south, east, north = outline.bounds
    if west < -180 or east > 180 or east - west > 180:
        raise UserError("an area on one side of 180° of longitude", f"longitudes {west:.2f}° to {east:.2f}°", "divide the area at 180°")
    if south < UTM_SOUTH or north > UTM_NORTH:
        raise UserError(
            "an area between 80° S and 84° N, where UTM is made for", f"latitudes {south:.2f}° to {north:.2f}°", "cut the area there"
        )
    return Area(table, west, south, east, north, (outline.centroid.x, outline.centroid.y), merged.area / 1e6)


def _require_one_layer(file: str) -> None:
    """Raise a UserError where a vector file has several layers, or none with geometries; files that GDAL cannot list pass."""
    import pyogrio
    from pyogrio.errors import DataSourceError

    if file.endswith(".parquet"):
        return
    try:
        layers = pyogrio.list_layers(file)
    except DataSourceError:  # `read_aoi` states what is wrong with the file
        return
    with_geometry = [str(name) for name, kind in layers if kind is not None]
    if len(with_geometry) != 1:
        found = ", ".join(with_geometry) or f"none ({', '.join(str(name) for name, _ in layers)})"
        raise UserError(f"one layer with polygons in {file}", found, "save the layer of the area in a file of its own")
