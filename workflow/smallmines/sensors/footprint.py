"""Footprints of items: GeoJSON polygons in degrees, as catalogues state them. They can be missing, broken or wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core.log import logger

EARTH_RADIUS_KM = 6371.0
"""Mean radius of the Earth."""

SLACK = 500.0
"""Metres by which a catalogue's footprint may miss the pixels: its edges are straight in degrees, those of the tile in metres."""

HIGHEST = 30.0
"""Degrees of latitude of a footprint whose corners can be projected. Those of scenes are below 10° (a datatake of Sentinel-2 is cut into
tiles of 1°); the corners of a whole globe are its poles."""

SMALLEST = 1e-9
"""Least area of a footprint in square degrees, about 12 m² at the equator: what is smaller is left of rounding."""

KINDS = ("Polygon", "MultiPolygon")
"""Types of geometry that a footprint can have."""


def problem_of(footprint: Any) -> str | None:
    """Return why a value is no usable footprint, or None. A polygon that crosses itself is usable, see `repaired`.

    A footprint is a polygon or multipolygon with an area, in finite degrees: longitudes within ±540, latitudes within ±90.
    """
    import shapely

    if not isinstance(footprint, Mapping):
        return "none" if footprint is None else f"a {type(footprint).__name__}"
    if footprint.get("type") not in KINDS:
        return f"a {str(footprint.get('type'))[:40]}"
    try:
        numbers = list(_numbers(footprint.get("coordinates")))
        if not all(map(math.isfinite, numbers)):
            return "coordinates that are no numbers"
        shape = _valid(shapely.geometry.shape(dict(footprint)))
    except Exception as error:  # shapely and GEOS raise many types for nested lists of the wrong depth
        return f"a broken {footprint['type']}: {' '.join(str(error).split())[:100]}"
    if shape.area < SMALLEST:
        return f"a {footprint['type']} without an area"
    west, south, east, north = shape.bounds
    return None if max(-west, east) <= 540 and max(-south, north) <= 90 else f"coordinates beyond the globe: {shape.bounds}"


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers of nested lists."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    else:
        yield math.nan


def repaired(footprint: dict[str, Any]) -> dict[str, Any]:
    """Return a usable footprint as valid polygons; a valid one as it is."""
    import shapely

    shape = shapely.geometry.shape(footprint)
    if shape.is_valid:
        return footprint
    mapped: dict[str, Any] = shapely.geometry.mapping(_valid(shape))
    return {"type": mapped["type"], "coordinates": _lists(mapped["coordinates"])}


def _valid(shape: Any) -> Any:
    """Return the polygons of a shape, repaired; a valid polygon as it is."""
    import shapely

    if shape.is_valid and shape.geom_type in KINDS:
        return shape
    return shapely.union_all([part for part in shapely.get_parts(shapely.make_valid(shape)) if part.area])


def _lists(value: Any) -> Any:
    return [_lists(part) for part in value] if isinstance(value, list | tuple) else value


def projected(footprint: Mapping[str, Any], geobox: GeoBox) -> Any:
    """Return a footprint in the CRS of `geobox` as a valid shapely geometry.

    Of a footprint that is too high to be projected by its corners, or has a corner without a value in the projection because it lies
    on the other side of the globe: the rectangle of `geobox` if the two meet in degrees, else an empty polygon.
    """
    import shapely
    from rasterio.warp import transform_bounds, transform_geom

    crs, box = str(geobox.crs), geobox.boundingbox
    in_degrees = _valid(shapely.geometry.shape(dict(footprint)))
    south, north = in_degrees.bounds[1], in_degrees.bounds[3]
    if north - south <= HIGHEST:
        try:
            shape = shapely.geometry.shape(transform_geom("EPSG:4326", crs, dict(footprint)))
            if np.isfinite(shapely.get_coordinates(shape)).all():
                return _valid(shape)
        except Exception as error:  # rasterio raises errors of GDAL of many types
            logger.info("a footprint has no place in %s: %s", crs, error)
    rectangle = shapely.box(*transform_bounds(crs, "EPSG:4326", *box.bbox))
    return shapely.box(*box.bbox) if in_degrees.intersects(rectangle) else shapely.Polygon()


def touches(footprint: Mapping[str, Any] | None, geobox: GeoBox) -> bool:
    """Return whether a footprint (None = anywhere) lies within `SLACK` of `geobox`."""
    if footprint is None:
        return True
    import shapely

    return bool(shapely.box(*geobox.boundingbox.bbox).distance(projected(footprint, geobox)) <= SLACK)


def is_exchanged(footprint: Mapping[str, Any], geobox: GeoBox) -> bool:
    """Return whether a footprint misses `geobox` and would reach it with longitude and latitude exchanged."""
    import shapely

    if touches(footprint, geobox):
        return False
    shape = shapely.transform(shapely.geometry.shape(dict(footprint)), lambda points: points[:, ::-1])
    exchanged = shapely.geometry.mapping(shape)
    return problem_of(exchanged) is None and touches(exchanged, geobox)


def kilometres_between(footprint: Mapping[str, Any], geobox: GeoBox) -> float:
    """Return the distance of a usable footprint from a grid, in km on a sphere, between the points that are nearest in degrees."""
    import shapely.ops

    here, there = (shapely.geometry.shape(dict(shape)) for shape in (footprint_of(geobox), footprint))
    (lon, lat), (other_lon, other_lat) = (np.radians(point.coords[0][:2]) for point in shapely.ops.nearest_points(here, there))
    haversine = np.sin((other_lat - lat) / 2) ** 2 + np.cos(lat) * np.cos(other_lat) * np.sin((other_lon - lon) / 2) ** 2
    return float(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(min(haversine, 1.0))))


def share_under(footprint: Mapping[str, Any] | None, geobox: GeoBox) -> float:
    """Return the share of a grid's rectangle under a footprint (None: all of it)."""
    if footprint is None:
        return 1.0
    import shapely

    rectangle = shapely.box(*geobox.boundingbox.bbox)
    return float(projected(footprint, geobox).intersection(rectangle).area / rectangle.area)


def pixels_under(footprint: Mapping[str, Any] | None, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return the pixels of `geobox` whose centre lies under a footprint (None: all of them), (row, column)."""
    from rasterio.features import geometry_mask

    if footprint is None:
        return np.ones(tuple(geobox.shape), bool)
    shape = projected(footprint, geobox)
    if shape.is_empty:
        return np.zeros(tuple(geobox.shape), bool)
    return np.asarray(geometry_mask([shape], tuple(geobox.shape), geobox.transform, invert=True))


def footprint_of(geobox: GeoBox) -> dict[str, Any]:
    """Return the outline of a grid in degrees, with seven digits."""
    from rasterio.warp import transform_geom

    west, south, east, north = geobox.boundingbox.bbox
    ring = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    outline = transform_geom(str(geobox.crs), "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, precision=7)
    return {"type": outline["type"], "coordinates": _lists(outline["coordinates"])}
