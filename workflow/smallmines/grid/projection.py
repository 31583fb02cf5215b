"""Check that the CRS and the anchor of the grid fit the area of interest."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import DEGREES, transformer
from smallmines.core.errors import UserError
from smallmines.grid.area import Area, Remark
from smallmines.grid.utm import HALF_ZONE, LATTICE_M, Zone, on_lattice, zone_at, zone_of
from smallmines.settings.grid import Anchor

if TYPE_CHECKING:
    from pyproj import CRS

LARGEST_SCALE_ERROR = 0.01
"""Largest relative difference between lengths on the grid and on the ground. UTM has 0.4 ‰ at its central meridian, 0.5 % at 6° from it on
the equator and 1 % at 8.2°: an area may reach into both neighbouring zones. Degrees, feet, a far zone (558 m for 1280 m in Peru in zone
30N) and Web Mercator beyond 8° of latitude are far above."""

FINEST_M = 10
"""Side in m of the smallest pixels of Sentinel-2."""

STEP_M = 100.0
"""Length in m over which the scale is measured."""

LARGEST_TURN = 45
"""Degrees between the grid's axes and east and north. UTM zones have 8 at most (at 83° of latitude and 8° from their meridian)."""

NEAR_EQUATOR = 1
"""Degrees. An area that comes so near to the equator may use the zone of the other hemisphere."""

FAR_ANCHOR_KM = 100
"""Distance in km between anchor and area from which the anchor is probably that of another area. SmallMinesDS is 86 km wide."""

CODE = re.compile(r"[A-Z][A-Z0-9_]*:[A-Za-z0-9]+")
"""A CRS by authority and code. Other texts (PROJ strings, WKT, compound CRS) are not kept by the catalogue's `proj:code`."""


def crs_remarks(code: str, area: Area | None) -> list[Remark]:
    """Check a grid's CRS against an area, and say what is unusual about it.

    Args:
        code: `grid.crs`.
        area: None where it is not known yet: then only what does not depend on it is checked.

    Raises:
        UserError: no projected CRS with axes east and north in metres; a scale error above `LARGEST_SCALE_ERROR` in the area; the other
            hemisphere; a datum made for another place, or from which no transformation to WGS 84 is known. Names the UTM zone to use.
    """
    right = zone_at(*area.centre) if area else None
    do = f"set grid.crs: {right.epsg}, the UTM zone {right} of the area" if right else "set grid.crs to the UTM zone of the area"
    crs = _projected(code, do)
    if area is None or right is None:
        return []
    zone = zone_of(crs)
    error = scale_error(code, area)
    if zone and zone.south != right.south and not _near_equator(area):
        raise UserError(f"the UTM zone of the area, {right}", _zone_and_area(zone, area), do + _swapped(zone, area))
    if error > LARGEST_SCALE_ERROR:
        size = "no lengths or directions" if math.isinf(error) else f"lengths that are wrong by up to {error:.1%}"
        found = f"{_zone_and_area(zone, area) if zone else f'{code}, {crs.name}; the area lies around {place_of(area)}'}: {size} there"
        divide = f"divide the area into several runs, one for each UTM zone; it is {area.east - area.west:.0f}° wide"
        advice = divide if scale_error(right.epsg, area) > LARGEST_SCALE_ERROR else do + (_swapped(zone, area) if zone else "")
        raise UserError(f"a CRS whose lengths are right to {LARGEST_SCALE_ERROR:.0%} over the area (grid.crs)", found, advice)
    return list(_zone_remarks(zone, right, area) if zone else _other_crs(code, crs, area, do))


def _projected(code: str, do: str) -> CRS:
    """Return a CRS that has axes east and north in metres."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(code)
    except CRSError:
        raise UserError("a CRS in grid.crs, e.g. EPSG:32630", code[:80], do) from None
    metres = all(axis.unit_conversion_factor == 1 for axis in crs.axis_info)
    if not crs.is_projected or crs.is_compound or not metres:
        raise UserError("a projected CRS with two axes in metres in grid.crs", f"{code[:80]}, {crs.name} ({crs.type_name})", do)
    if [axis.direction for axis in crs.axis_info] != ["east", "north"]:
        axes = " and ".join(axis.direction for axis in crs.axis_info)
        raise UserError("a CRS whose axes point east and north, in this order (grid.crs)", f"{code[:80]}, {crs.name}: {axes}", do)
    if not CODE.fullmatch(code):
        epsg = crs.to_epsg()
        raise UserError("a code in grid.crs, e.g. EPSG:32630", code[:80], f"set grid.crs: EPSG:{epsg}, which is the same" if epsg else do)
    transformer(crs, DEGREES)
    return crs


def scale_error(code: str, area: Area) -> float:
    """Return the largest relative difference between lengths in a CRS and on the ground, over the corners of an area's hull and its centre.

    Lengths are taken eastwards, northwards and along both diagonals, so that a sheared grid is noticed, too. Infinite where the CRS cannot
    express a place of the area, or turns directions by more than `LARGEST_TURN`: a UTM zone has the right lengths again on the other side
    of the Earth, upside down.
    """
    from pyproj import Geod

    points = np.vstack([area.hull, np.array([area.centre])])
    convert = transformer(DEGREES, code)
    x, y = (np.asarray(values, np.float64) for values in convert.transform(points[:, 0], points[:, 1]))
    start = _degrees(code, x, y)
    if not np.isfinite(start).all() or abs(start - points.T).max() > 1e-5:  # a metre: the projection does not come back to the same place
        return math.inf
    worst = 0.0
    for east, north in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0)):
        length = STEP_M * math.hypot(east, north)
        end = _degrees(code, x + STEP_M * east, y + STEP_M * north)
        if not np.isfinite(end).all():
            return math.inf
        azimuth, _, ground = (np.asarray(values) for values in Geod(ellps="WGS84").inv(*start, *end))
        turn = (azimuth - math.degrees(math.atan2(east, north)) + 180) % 360 - 180
        if np.abs(turn).max() > LARGEST_TURN:
            return math.inf
        with np.errstate(divide="ignore"):
            worst = max(worst, float(np.abs(length / ground - 1).max()))
    return worst


def _degrees(code: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitudes and latitudes of coordinates, float64 (2, point)."""
    return np.array(transformer(code, DEGREES).transform(x, y), np.float64)


def _other_crs(code: str, crs: CRS, area: Area, do: str) -> Iterator[Remark]:
    """Refuse the datum of another place; a CRS that is no UTM zone on WGS 84 is remarked."""
    longitude, latitude = area.centre
    use, datum = crs.area_of_use, crs.datum
    outside = not _within(crs, longitude, latitude)
    if outside and use is not None and (datum is None or not datum.name.startswith("World Geodetic System 1984")):
        raise UserError(f"an area within {use.name}, for which grid.crs {code} is made", f"an area around {place_of(area)}", do)
    yield Remark(
        "a UTM zone on WGS 84 in grid.crs, whose pixels are those of Sentinel-2",
        f"{code}, {crs.name}: all pixels are resampled" + (f"; it is made for {use.name}" if outside and use is not None else ""),
        f"{do}, unless you need {code}",
    )


def _within(crs: CRS, longitude: float, latitude: float) -> bool:
    """Return whether a place lies in the area of use of a CRS, which may reach across 180° of longitude; true where none is stated."""
    use = crs.area_of_use
    if use is None:
        return True
    east_of, west_of = longitude >= use.west, longitude <= use.east
    return use.south <= latitude <= use.north and ((east_of and west_of) if use.west <= use.east else (east_of or west_of))


def _zone_remarks(zone: Zone, right: Zone, area: Area) -> Iterator[Remark]:
    reach = max(abs((longitude - zone.meridian + 180) % 360 - 180) for longitude in (area.west, area.east))
    found = f"{_zone_and_area(zone, area)}, up to {reach:.1f}° from the zone's central meridian"
    if zone != right:
        near = "; near a border of zones the other one does as well, with more pixels resampled"
        keep = near if reach <= 2 * HALF_ZONE else "; in the other one all pixels of Sentinel-2 are resampled"
        yield Remark(f"the UTM zone of the area, {right}", found, f"set grid.crs: {right.epsg}{keep}")
    elif reach > HALF_ZONE:
        yield Remark(
            f"an area within its UTM zone {zone}",
            found,
            "keep it if Sentinel-2 tiles of the neighbouring zone may be resampled, or divide the area at the border of the zones",
        )


def _near_equator(area: Area) -> bool:
    return area.south - NEAR_EQUATOR <= 0 <= area.north + NEAR_EQUATOR


def _zone_and_area(zone: Zone, area: Area) -> str:
    return f"grid.crs {zone.epsg}, zone {zone}; the area lies around {place_of(area)}"


def _swapped(zone: Zone, area: Area) -> str:
    """Say where an area lies in a zone once longitude and latitude are exchanged."""
    longitude, latitude = area.centre
    if abs(longitude) < 90 and zone_at(latitude, longitude) == zone:
        return f"; or exchange latitude and longitude in the area, which then lies in zone {zone}"
    return ""


def place_of(area: Area) -> str:
    """Return the centre of an area for people, e.g. "6.17° N, 1.97° W"."""
    longitude, latitude = area.centre
    return f"{abs(latitude):.2f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.2f}° {'W' if longitude < 0 else 'E'}"


def resolution_remarks(resolution: float) -> Iterator[Remark]:
    """Check that pixels of the grid are those of Sentinel-2, or whole parts of them."""
    parts = FINEST_M / resolution
    if abs(parts - round(parts)) > 1e-9 or parts < 1:
        kind = "only one of several source pixels is taken, without a mean" if resolution > FINEST_M else "pixels are repeated unevenly"
        yield Remark(
            f"grid.resolution {FINEST_M}, the pixels of Sentinel-2, or a whole part of it",
            f"{resolution:g}: the bands of {FINEST_M} m are resampled by nearest neighbour or sentinel2.resampling_20m, {kind}",
            f"set grid.resolution: {FINEST_M}, unless you need {resolution:g}",
        )


def anchor_remarks(anchor: Anchor, bounds: Sequence[float] | None) -> Iterator[Remark]:
    """Check that tiles lie on the 20 m lattice of Sentinel-2, and that the anchor lies near the area.

    Args:
        anchor: corner of the lattice.
        bounds: west, south, east and north of the area in the grid's CRS; None where they are not known.
    """
    x, y = anchor.x, anchor.y
    if x % LATTICE_M or y % LATTICE_M:
        near_x, near_y = on_lattice(x, y)
        yield Remark(
            f"grid.anchor at multiples of {LATTICE_M} m, so that Sentinel-2 pixels are copied",
            f"x: {x:.10g}, y: {y:.10g}; all pixels of Sentinel-2 are resampled",
            f"set grid.anchor: {{x: {near_x}, y: {near_y}}}",
        )
    if bounds is None:
        return
    west, south, east, north = bounds
    km = math.hypot(max(west - x, x - east, 0.0), max(south - y, y - north, 0.0)) / 1000
    if km > FAR_ANCHOR_KM:
        near_x, near_y = on_lattice(west, north)
        yield Remark(
            f"grid.anchor within {FAR_ANCHOR_KM} km of the area",
            f"x: {x:.10g}, y: {y:.10g}, {km:.0f} km away: perhaps that of another area",
            f"set grid.anchor: {{x: {near_x}, y: {near_y}}}, or keep it for a lattice that several areas share",
        )
