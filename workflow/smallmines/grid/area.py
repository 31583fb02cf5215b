"""Read an area of interest (AOI) from a vector file: its polygons, repaired, and where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import DEGREES, reproject, reproject_shapes
from smallmines.core.errors import UserError
from smallmines.core.log import logger

if TYPE_CHECKING:
    import geopandas as gpd

EQUAL_AREA = "EPSG:6933"
"""CRS in which the size of an area is measured before the CRS of its grid is known to be right."""

UTM_SOUTH, UTM_NORTH = -80, 84
"""Latitudes between which UTM zones are defined."""

SMALLEST_KM2 = 1e-4
"""Size of one pixel of 10 m in km². A smaller area is one whose coordinates or CRS are wrong."""

KINDS = {0: "point", 1: "line", 2: "line", 4: "point", 5: "line", 7: "collection without polygons"}
"""Words for the geometry types of shapely that are no polygons. What stands for an area is 3 (polygon) and 6 (multipolygon)."""


class Remark(NamedTuple):
    """Something about a place that stops nothing but should be known: what was expected, what was found, what to do."""

    expected: str
    found: str
    do: str


@dataclass(frozen=True)
class Area:
    """An area of interest. An area across 180° of longitude is not supported.

    Attributes:
        table: the polygons (valid, in two dimensions) with their attributes, in the CRS of the file.
        remarks: what was left out or repaired.
        west, south, east, north: bounds in degrees (EPSG:4326).
        centre: longitude and latitude of the centroid.
        hull: longitude and latitude of the corners of the convex hull, float64 (corner, 2).
        km2: size in km², measured in `EQUAL_AREA`.
    """

    table: gpd.GeoDataFrame
    remarks: tuple[Remark, ...]
    west: float
    south: float
    east: float
    north: float
    centre: tuple[float, float]
    hull: NDArray[np.float64]
    km2: float


def read_area(files: Sequence[str], path: str | None, user_folder: str) -> Area:
    """Read the area of interest of a run.

    Args:
        files: the AOI files that exist; there must be exactly one.
        path: `aoi.path`, for the message.
        user_folder: folder of `aoi.*`, for the message.

    Raises:
        UserError: no file or several; a file that is unreadable or has polygons in several layers; see `area_of`.
    """
    require_one(files, path, user_folder)
    table, beside = read_polygon_layer(files[0], "area of interest")
    area = area_of(table, files[0])
    remarks = [*([_left_out(files[0], beside, len(area.table))] if beside else []), *area.remarks]
    logger.info("area of interest: %s, %d polygons, %.1f km²", files[0], len(area.table), area.km2)
    return Area(**{**vars(area), "remarks": tuple(remarks)})


def require_one(files: Sequence[str], path: str | None, user_folder: str) -> list[str]:
    """Return the AOI files if there is exactly one.

    Raises:
        UserError: none, or several.
    """
    if len(files) != 1:
        raise UserError(
            f"one area of interest at {path or f'{user_folder}/aoi.gpkg (or .geojson, .shp, .parquet, .kml, .fgb)'}",
            ", ".join(files) or "none",
            "put the file there, or name administrative units with aoi.source: geoboundaries; for the miniature run `make demo`",
        )
    return list(files)


def read_polygon_layer(file: str, content: str) -> tuple[gpd.GeoDataFrame, str]:
    """Read the only layer of a vector file that has polygons.

    Args:
        content: what the file should hold, for messages.

    Returns:
        The layer, and a description of the features in layers without polygons; empty where there are none.

    Raises:
        UserError: unreadable, no layer with geometries, or several with polygons (folders of a KML are layers).
    """
    try:
        layers = list(_layers(file))
    except Exception as error:  # the drivers raise several types, all of them mean that the file cannot be read
        raise UserError(f"an {content} GDAL can read at {file}", " ".join(str(error).split()), "check the file") from error
    with_polygons = [number for number, (_, table) in enumerate(layers) if _has_polygons(table)]
    if len(with_polygons) > 1 or not layers:
        raise UserError(
            f"one layer with polygons in {file}",
            ", ".join(layers[number][0] for number in with_polygons) or "no layer with geometries",
            "merge the layers into one, or save the one of the area in a file of its own",
        )
    chosen = with_polygons[0] if with_polygons else 0
    others = [(name, table) for number, (name, table) in enumerate(layers) if number != chosen and len(table)]
    beside = [f"{_counted(_type_ids(table))} in the layer {name}" for name, table in others]
    return layers[chosen][1], ", ".join(beside)


def _layers(file: str) -> Iterator[tuple[str, gpd.GeoDataFrame]]:
    """Yield name and content of each layer of a vector file that has geometries."""
    import geopandas as gpd
    import pyogrio

    if file.lower().endswith(".parquet"):
        yield "", gpd.read_parquet(file)
        return
    for number, (name, kind) in enumerate(pyogrio.list_layers(file)):
        if kind is not None:
            yield str(name), gpd.read_file(file, layer=number)


def _type_ids(table: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return shapely's number of the type of each geometry; a collection that holds a polygon counts as one, what is missing as -1."""
    import shapely

    shapes = table.geometry.to_numpy()
    ids = np.asarray(shapely.get_type_id(shapes), np.int64)
    ids[shapely.is_empty(shapes)] = -1
    for number in np.flatnonzero(ids == 7):
        ids[number] = 6 if _polygon_parts(shapes[number]) else 7
    return ids


def _has_polygons(table: gpd.GeoDataFrame) -> bool:
    return bool(np.isin(_type_ids(table), [3, 6]).any())


def _polygon_parts(shape: Any) -> list[Any]:
    """Return the polygons in a geometry, also those in collections of collections."""
    if shape.geom_type == "Polygon":
        return [] if shape.is_empty else [shape]
    return [part for child in getattr(shape, "geoms", ()) for part in _polygon_parts(child)]


def _counted(type_ids: NDArray[np.int64]) -> str:
    """Count geometries that are no polygons in words: "2 points, 1 line"."""
    counts = Counter(KINDS.get(int(kind), "feature without geometry") for kind in type_ids if kind not in (3, 6))
    return ", ".join(f"{count} {kind}{'s' if count > 1 and ' ' not in kind else ''}" for kind, count in sorted(counts.items()))


def polygons_of(table: gpd.GeoDataFrame, source: str) -> tuple[gpd.GeoDataFrame, tuple[Remark, ...]]:
    """Return the polygons of a table, each valid and in two dimensions.

    Args:
        table: any geometries.
        source: the file, for messages.

    Returns:
        The rows with polygons, and what was left out or repaired. A valid polygon stays as it is.

    Raises:
        UserError: no features, no CRS, no polygons, or coordinates that are no numbers.
    """
    import shapely

    if table.crs is None:
        raise UserError("an AOI with a CRS", f"none in {source}", "store the AOI in a format that keeps its CRS, or add a .prj file")
    ids = _type_ids(table)
    keep = np.isin(ids, [3, 6])
    if not keep.any():
        found = f"{len(table)} features with no area: {_counted(ids)}" if len(table) else "no features"
        raise UserError(f"polygons in {source}", found, "check the file; an outline drawn as a line has to become a polygon")
    kept = table[keep].copy()
    shapes = shapely.force_2d(kept.geometry.to_numpy())
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise UserError(f"coordinates in {source}", "values that are no finite numbers", "correct these polygons")
    invalid = ~shapely.is_valid(shapes)
    mixed = shapely.get_type_id(shapes) == 7
    for number in np.flatnonzero(invalid | mixed):
        shapes[number] = shapely.union_all([part for piece in _polygon_parts(shapes[number]) for part in _valid_parts(piece)])
    kept.geometry = shapes
    beside = _counted(ids) + (f"{', ' if (~keep).any() else ''}parts of {int(mixed.sum())} of the collections" if mixed.any() else "")
    remarks = [_left_out(source, beside, len(kept))] if beside else []
    if (invalid & ~mixed).any():
        found = f"{int((invalid & ~mixed).sum())} of {len(kept)} polygons, whose outlines cross themselves: repaired (make_valid)"
        remarks.append(Remark(f"valid polygons in {source}", found, "look at the area of the run on the map of the report"))
    return kept, tuple(remarks)


def _valid_parts(polygon: Any) -> list[Any]:
    """Return the polygons of a polygon that may be invalid."""
    import shapely

    return _polygon_parts(shapely.make_valid(polygon))


def _left_out(source: str, beside: str, count: int) -> Remark:
    found = f"{beside} beside {count} polygon{'s' if count > 1 else ''}: left out"
    return Remark(f"only polygons in {source}", found, "draw a polygon around what belongs to the area")


def area_of(table: gpd.GeoDataFrame, source: str = "the area of interest") -> Area:
    """Return the area of some polygons.

    Args:
        table: see `polygons_of`; any CRS that can be converted to degrees.
        source: the file, for messages.

    Raises:
        UserError: see `polygons_of` and `core.crs.reproject`; coordinates that are no degrees, an area across 180° of longitude, beyond
            UTM or smaller than a pixel.
    """
    import shapely

    kept, remarks = polygons_of(table, source)
    degrees = reproject(kept, DEGREES, source)
    west, south, east, north = (float(value) for value in degrees.total_bounds)
    if south < -90 or north > 90 or west < -360 or east > 360:
        raise UserError(
            f"longitudes and latitudes in {source}, whose CRS is {kept.crs.name}",
            f"x from {west:g} to {east:g}, y from {south:g} to {north:g}",
            "state the CRS of the coordinates (GeoJSON and KML are always in degrees), or exchange longitude and latitude",
        )
    if west < -180 or east > 180 or east - west > 180:
        raise UserError("an area on one side of 180° of longitude", f"longitudes {west:.2f}° to {east:.2f}°", "divide the area at 180°")
    if south < UTM_SOUTH or north > UTM_NORTH:
        raise UserError(
            "an area between 80° S and 84° N, where UTM is made for", f"latitudes {south:.2f}° to {north:.2f}°", "cut the area there"
        )
    outline = shapely.make_valid(shapely.union_all(shapely.make_valid(degrees.geometry.to_numpy())))
    km2 = float(shapely.make_valid(reproject_shapes(outline, DEGREES, EQUAL_AREA).item()).area) / 1e6
    if km2 < SMALLEST_KM2:
        raise UserError(
            f"an area of at least one pixel, {SMALLEST_KM2 * 1e6:g} m²",
            f"{km2 * 1e6:g} m² in {source}",
            "check the CRS and the units of the file",
        )
    hull = shapely.get_coordinates(outline.convex_hull)
    return Area(kept, remarks, west, south, east, north, (outline.centroid.x, outline.centroid.y), hull, km2)
