"""Conversion of coordinates between coordinate reference systems (CRS), never by a ballpark transformation.

Where PROJ knows no transformation between two datums, it takes the coordinates of one for those of the other (a *ballpark* transformation)
and says nothing. Ground of an unknown datum then moves by 300 m: a copy of Ghana's grid that names only its ellipsoid does. All other
modules convert with the functions of this one, which refuse such CRS. Helmert transformations, which need no grid files, are accepted:
the grids of Accra and Leigon, ETRS89 and SIRGAS 2000 work offline.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError

if TYPE_CHECKING:
    import geopandas as gpd
    from pyproj import CRS, Transformer

Frame = TypeVar("Frame", "gpd.GeoDataFrame", "gpd.GeoSeries")

DEGREES = "EPSG:4326"
"""Longitude and latitude on WGS 84. Coordinates are (longitude, latitude) everywhere in the library."""


def horizontal(crs: Any) -> CRS:
    """Return the CRS of the horizontal coordinates of a CRS; heights are not used anywhere.

    Args:
        crs: anything that pyproj takes for a CRS.

    Raises:
        UserError: PROJ knows no such CRS.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        parsed = CRS.from_user_input(crs)
        if parsed.is_compound:
            parsed = parsed.sub_crs_list[0]
        return parsed.to_2d() if len(parsed.axis_info) == 3 and not parsed.is_geocentric else parsed
    except CRSError:
        raise UserError("a CRS that PROJ knows, e.g. EPSG:32630", f"{str(crs)[:80]!r}", "state the CRS by its EPSG code") from None


@lru_cache(maxsize=64)
def transformer(source: Any, target: Any) -> Transformer:
    """Return the transformation from one CRS to another, x (or longitude) before y.

    Args:
        source, target: anything hashable that pyproj takes for a CRS: codes, WKT, `pyproj.CRS`.

    Raises:
        UserError: PROJ knows one of them not, or no transformation between their datums.
    """
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    before, after = horizontal(source), horizontal(target)
    try:
        return Transformer.from_crs(before, after, always_xy=True, allow_ballpark=False)
    except ProjError:
        raise UserError(
            "coordinates in a CRS of a known datum, from which PROJ knows a transformation",
            f"{before.name} ({_datum(before)}) and {after.name} ({_datum(after)}): no transformation between them is known",
            "state the right CRS or store the data in EPSG:4326; a guess would move it by hundreds of metres",
        ) from None


def reproject_shapes(shapes: Any, source: Any, target: Any, file: str | Path = "") -> NDArray[Any]:
    """Return shapely geometries (an array of objects, any shape) in another CRS, in two dimensions. Missing ones stay missing.

    Args:
        file: where they come from, for messages.

    Raises:
        UserError: see `transformer`; or coordinates that have no place in `target`.
    """
    try:
        return _reprojected(shapes, source, target)
    except UserError as error:
        raise UserError(error.expected, f"{f'{file}: ' if file else ''}{error.found}", error.do) from None


def _reprojected(shapes: Any, source: Any, target: Any) -> NDArray[Any]:
    import shapely

    flat: NDArray[Any] = shapely.force_2d(np.asarray(shapes, dtype=object))
    before, after = horizontal(source), horizontal(target)
    if before.equals(after):
        return flat
    x, y = shapely.get_coordinates(flat).T
    moved = np.column_stack(transformer(before, after).transform(x, y))
    lost = ~np.isfinite(moved).all(axis=1)
    if lost.any():
        raise UserError(
            f"coordinates that have a place in {after.name}",
            f"{int(lost.sum())} of {len(lost)} in {before.name} have none, the first at ({x[lost][0]:g}, {y[lost][0]:g})",
            "check the coordinates (order of latitude and longitude?) and their CRS",
        )
    return np.asarray(shapely.set_coordinates(flat, moved))


def reproject(frame: Frame, target: Any, file: str | Path = "") -> Frame:
    """Return a GeoDataFrame or GeoSeries with its geometries in another CRS, in two dimensions.

    Args:
        file: where they come from, for messages.

    Raises:
        UserError: it has no CRS; see `reproject_shapes`.
    """
    import geopandas as gpd

    if frame.crs is None:
        raise UserError("geometries with a CRS", "none", "store them in a format that keeps the CRS, or add a .prj file")
    shapes = reproject_shapes(frame.geometry.to_numpy(), frame.crs, target, file)
    moved = gpd.GeoSeries(shapes, index=frame.index, crs=target, name=frame.geometry.name)
    if isinstance(frame, gpd.GeoSeries):
        return moved
    result = frame.copy()
    result.geometry = moved
    return result


def _datum(crs: CRS) -> str:
    """Name the datum of a CRS for a message."""
    datum = crs.datum
    return f"datum {datum.name}" if datum is not None else crs.type_name
