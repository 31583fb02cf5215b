"""Sentinel-1 RTC slices and Copernicus DEM tiles of the miniature Earth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.config import Year
from smallmines.world.landscape import Field, noise, rng_of
from smallmines.world.stac import Catalogue, corners, lonlat, write_cog

S1 = "sentinel-1-rtc"
DEM = "cop-dem-glo-30"
NODATA = -32768.0
ENL = 4.4
"""Equivalent number of looks of a GRD high-resolution scene."""
SHIFT = 3.7
"""Metres by which the scenes' own grids lie east and south of the lattice."""
OVERLAP = 8
"""Rows that two slices of a pass share: fewer than twice the usual border erosion."""
STEP_DB = 0.3
"""Level step of the southern slice at the join."""


@dataclass(frozen=True)
class Pass:
    """One overpass: its date, direction and what part of the world's width it covers, in one or two slices."""

    number: int
    start: dt.datetime
    orbit_state: str
    orbit: int
    east: float
    slices: int
    level_db: float

    @property
    def absolute_orbit(self) -> int:
        """A plausible absolute orbit: relative orbits repeat every 175 (12 days)."""
        return (self.start.date() - dt.date(2014, 4, 3)).days // 12 * 175 + self.orbit


def passes(year: Year) -> list[Pass]:
    """Two dates of a descending orbit that covers everything in two slices, two of an ascending one that covers the west."""
    days = (year.end - year.start).days + 1
    plan = ((2, "descending", 155), (14, "descending", 155), (8, "ascending", 147), (20, "ascending", 147))
    found = []
    for index, (day, state, orbit) in enumerate(plan):
        date = year.start + dt.timedelta(days=day * days // 31)
        down = state == "descending"
        clock = dt.time(5, 55, 12) if down else dt.time(18, 18, 40)
        east, slices, level = (1.0, 2, 0.0) if down else (0.6, 1, -0.7)
        found.append(Pass(index, dt.datetime.combine(date, clock), state, orbit, east, slices, level))
    return found


def write_year(
    catalogue: Catalogue,
    power: tuple[Field, Field],
    elevation: Field,
    geobox: GeoBox,
    year: Year,
    number: int,
    seed: int,
) -> Iterator[str]:
    """Write every Sentinel-1 slice of an epoch; yields what was written.

    In the first epoch the borders carry fringes of zeros that are not flagged as nodata; in later epochs one item's
    JSON has a wrong `proj:transform` (the file's header is right).
    """
    shape = elevation.shape
    slope = np.gradient(elevation, 10.0, axis=1)
    power = (_on_own_grid(power[0], geobox), _on_own_grid(power[1], geobox))
    for one in passes(year):
        rng = rng_of(seed, 80, number, one.number)
        side = 1 if one.orbit_state == "ascending" else -1
        effect = one.level_db + np.clip(5.0 * side * slope, -2.0, 2.0)
        wander = 0.25 * noise(shape, rng, 60, 3.0)
        level = np.power(10, (effect + wander) / 10).astype(np.float32)
        looks = [(pol * level * (rng.standard_gamma(ENL, shape, np.float32) / np.float32(ENL))).astype(np.float32) for pol in power]
        for part in range(one.slices):
            yield _write_slice(catalogue, looks, geobox, one, part, number, rng_of(seed, 81, number, one.number, part))


def _on_own_grid(field: Field, geobox: GeoBox) -> Field:
    """The mean power at the centres of the scenes' own pixels, `SHIFT` metres east and south."""
    from scipy.ndimage import shift

    part = SHIFT / geobox.transform.a
    return np.asarray(shift(field, (-part, -part), order=1, mode="nearest"), np.float32)


def footprint(shape: tuple[int, int], east: float, slices: int, part: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Pixels of a slice and its corners (4, 2) as (column, row): a slanted strip; two slices meet along a slanted line."""
    height, width = shape
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    left, right = 14 + 14 * rows / height, east * width - (30 if east == 1 else 0) + 14 * rows / height
    top, bottom = 26 - 12 * cols / width, height - 14 - 12 * cols / width
    join = 0.47 * height + 0.05 * (width / 2 - cols)
    if slices == 2:
        top, bottom = (top, join + OVERLAP / 2) if part == 0 else (join - OVERLAP / 2, bottom)
    inside = (cols >= left) & (cols < right) & (rows >= top) & (rows < bottom)
    own_rows, own_cols = np.nonzero(inside)
    slant = 0.05
    ring = []
    for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1)):  # outermost pixel towards each corner
        pick = np.argmax(a * (own_cols + slant * own_rows) + b * (own_rows + slant * own_cols))
        ring.append((own_cols[pick] + (a > 0), own_rows[pick] + (b > 0)))
    return inside, np.array(ring, float)


def _fringe(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Uneven borders, 1 to 12 px wide, just outside the valid pixels."""
    from scipy.ndimage import distance_transform_edt

    width = np.clip(6 + 4 * noise(inside.shape, rng, 40, 3.0), 1, 12)
    return np.asarray(~inside & (distance_transform_edt(~inside) <= width), bool)


def _write_slice(
    catalogue: Catalogue, looks: list[Field], world: GeoBox, one: Pass, part: int, number: int, rng: np.random.Generator
) -> str:
    shape = (world.shape.y, world.shape.x)
    inside, ring = footprint(shape, one.east, one.slices, part)
    zeros = _fringe(inside, rng) if number == 0 else np.zeros(shape, bool)
    rows, cols = np.nonzero(inside | zeros)
    window = (slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
    own = world[window]
    own = GeoBox(own.shape, Affine.translation(SHIFT, -SHIFT) @ own.transform, own.crs)
    own_lattice = Affine.translation(SHIFT, -SHIFT) @ world.transform
    start = one.start + dt.timedelta(seconds=25 * part)
    end = start + dt.timedelta(seconds=25)
    datatake = f"{one.absolute_orbit * 7 % 0xFFFFFF:06X}"
    item = f"S1A_IW_GRDH_1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{one.absolute_orbit:06d}_{datatake}_rtc"
    step = np.float32(10 ** (STEP_DB * part / 10))
    for name, field in zip(("vv", "vh"), looks, strict=True):
        value = np.where(inside, field * step, np.where(zeros, np.float32(0), np.float32(NODATA)))
        write_cog(catalogue.folder(S1, item) / f"{name}.tif", np.ascontiguousarray(value[window], np.float32), own, NODATA)
    told = own.transform
    if number > 0 and one.number == 0 and part == 0:
        told = Affine.translation(480.0, -320.0) @ told
    catalogue.add(
        S1,
        item,
        start + (end - start) / 2,
        lonlat(np.column_stack(own_lattice @ ring.T), str(world.crs)),
        {
            "start_datetime": start.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "end_datetime": end.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "platform": "SENTINEL-1A",
            "constellation": "Sentinel-1",
            "sat:orbit_state": one.orbit_state,
            "sat:relative_orbit": one.orbit,
            "sat:absolute_orbit": one.absolute_orbit,
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sar:looks_equivalent_number": ENL,
            "proj:code": str(world.crs),
            "proj:shape": list(own.shape),
            "proj:transform": list(told),
        },
        {"vv": {}, "vh": {}},
    )
    return item


def write_elevation(catalogue: Catalogue, elevation: Field, canopy: Field, geobox: GeoBox, seed: int) -> Iterator[str]:
    """Write the DEM tiles of 1″ that the world touches, named as GLO-30 names them and cropped to the world.

    A surface model: canopy counts in part. Tiles meet at whole degrees; pixel centres lie on whole seconds.
    """
    from pyproj import Transformer
    from scipy.ndimage import gaussian_filter, map_coordinates

    rough = gaussian_filter(elevation + 0.6 * canopy, 1.3)
    ring = np.array(lonlat(corners(geobox), str(geobox.crs)))
    (west, south), (east, north) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    to_world = Transformer.from_crs("EPSG:4326", str(geobox.crs), always_xy=True)
    for lat in range(int(np.floor(south)), int(np.floor(north)) + 1):
        for lon in range(int(np.floor(west)), int(np.floor(east)) + 1):
            first_col, last_col = max(0, int((west - lon) * 3600) - 4), min(3600, int((east - lon) * 3600) + 5)
            first_row, last_row = max(0, int((lat + 1 - north) * 3600) - 4), min(3600, int((lat + 1 - south) * 3600) + 5)
            step = 1 / 3600
            lons = lon + np.arange(first_col, last_col) * step
            lats = lat + 1 - np.arange(first_row, last_row) * step
            x, y = to_world.transform(*np.meshgrid(lons, lats))
            col, row = ~geobox.transform @ (x, y)
            heights = map_coordinates(rough, [row - 0.5, col - 0.5], order=1, mode="nearest")
            heights += 0.4 * rng_of(seed, 90, lat + 90, lon + 180).standard_normal(heights.shape)
            box = GeoBox(heights.shape, Affine(step, 0, lons[0] - step / 2, 0, -step, lats[0] + step / 2), "EPSG:4326")
            name = f"{'N' if lat >= 0 else 'S'}{abs(lat):02d}_00_{'E' if lon >= 0 else 'W'}{abs(lon):03d}_00"
            item = f"Copernicus_DSM_COG_10_{name}_DEM"
            write_cog(catalogue.folder(DEM, item) / "data.tif", heights.astype(np.float32), box, None)
            catalogue.add(
                DEM,
                item,
                dt.datetime(2021, 4, 22),
                lonlat(corners(box), "EPSG:4326"),
                {
                    "platform": "TanDEM-X",
                    "gsd": 30,
                    "proj:code": "EPSG:4326",
                    "proj:shape": list(box.shape),
                    "proj:transform": list(box.transform)[:6],
                },
                {"data": {}},
            )
            yield item
