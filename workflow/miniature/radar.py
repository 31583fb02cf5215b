"""Sentinel-1 RTC slices and Copernicus DEM tiles of the miniature Earth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from miniature.layers import Layer, Window, windows
from miniature.noise import Field, Noise, noise, rng_of
from miniature.place import Epoch
from miniature.stac import Catalogue, Raster, cogs, corners, lonlat, write_cog
from smallmines.config.sections import Year

S1 = "sentinel-1-rtc"
DEM = "cop-dem-glo-30"
NODATA = -32768.0
ENL = 4.4
"""Equivalent number of looks of a GRD high-resolution scene."""
SHIFT = 3.7
"""Offset in metres of the scenes' grids, east and south of the lattice."""
OVERLAP = 8
"""Rows that the two slices of a pass share on one date, fewer than twice the default border erosion. On the other date they abut."""
SPECKLE = (1.5, 4.0)
"""Scale in pixels and exponent of the speckle's correlation."""
STEP_DB = 0.3
"""Step in level of the southern slice at the join, in dB."""


@dataclass(frozen=True)
class Pass:
    """An overpass of Sentinel-1.

    Attributes:
        orbit: relative orbit.
        east: part of the world's width that it covers, from the west.
        overlap: rows that its slices share.
    """

    number: int
    start: dt.datetime
    orbit_state: str
    orbit: int
    east: float
    slices: int
    level_db: float
    overlap: int = 0

    @property
    def absolute_orbit(self) -> int:
        """A plausible absolute orbit; relative orbits repeat after 175 (12 days)."""
        return (self.start.date() - dt.date(2014, 4, 3)).days // 12 * 175 + self.orbit


def passes(year: Year) -> list[Pass]:
    """Return two overpasses of a descending orbit that covers everything in two slices, and two of an ascending one over the west."""
    days = (year.end - year.start).days + 1
    plan = ((2, "descending", 155), (14, "descending", 155), (8, "ascending", 147), (20, "ascending", 147))
    overpasses = []
    for index, (day, state, orbit) in enumerate(plan):
        date = year.start + dt.timedelta(days=day * days // 31)
        down = state == "descending"
        clock = dt.time(5, 55, 12) if down else dt.time(18, 18, 40)
        east, slices, level = (1.0, 2, 0.0) if down else (0.6, 1, -0.7)
        overpasses.append(Pass(index, dt.datetime.combine(date, clock), state, orbit, east, slices, level, OVERLAP * (index == 0)))
    return overpasses


def write_pass(catalogue: Catalogue, power: tuple[Layer, Layer], elevation: Layer, epoch: Epoch, overpass: Pass) -> None:
    """Write every Sentinel-1 slice of an overpass, window by window.

    In the first year the borders have fringes of zeros that are not flagged as nodata; in later years one slice has zeros inside,
    and one item's JSON has a wrong `proj:transform` (the file's header is right).

    Args:
        power: mean γ0 of VV and VH, float32 (row, column), linear.
        elevation: float32 (row, column) in m.
    """
    shape, seed, number = (epoch.geobox.shape.y, epoch.geobox.shape.x), epoch.seed, epoch.number
    rng = rng_of(seed, 80, number, overpass.number)
    wander = noise(shape, rng, 60, 3.0)
    speckle = (noise(shape, rng, *SPECKLE).mapped(looks), noise(shape, rng, *SPECKLE).mapped(looks))
    for part in range(overpass.slices):
        border = noise(shape, rng_of(seed, 81, number, overpass.number, part), 40, 3.0) if number == 0 else None
        holes = noise(shape, rng_of(seed, 82, number), 25, 3.0) if number > 0 and (overpass.number, part) == (1, 0) else None
        scene = Slice(overpass, part, Outline(shape, overpass, part), power, elevation, wander, speckle, border, holes)
        _write_slice(catalogue, scene, epoch.geobox, number)


@dataclass(frozen=True)
class Slice:
    """A slice of a pass, computed window by window.

    Attributes:
        part: 0 for the northern or only slice, 1 for the southern one.
        wander: variation of the level, standard normal.
        speckle: factor of VV and VH.
        border: variation of the width of the fringe of zeros; None: no fringe.
        holes: field whose zero crossings become lines of zeros; None: none.
    """

    overpass: Pass
    part: int
    outline: Outline
    power: tuple[Layer, Layer]
    elevation: Layer
    wander: Noise
    speckle: tuple[Noise, Noise]
    border: Noise | None
    holes: Noise | None

    def __call__(self, window: Window) -> tuple[Window, list[Field]]:
        """Return the window, and γ0 of VV and VH in it: linear power, 0 in fringe and holes, nodata outside."""
        inside, zeros = self.outline(window), np.zeros(window.size, bool)
        if self.border is not None:
            zeros = _fringe(self.outline, window, self.border)
        if self.holes is not None:
            zeros = inside & (np.abs(self.holes(*window.at)) < 0.012)  # thin lines
        level = self._level(window) + np.float32(0.25) * self.wander(*window.at)
        gain = np.power(10, level / 10).astype(np.float32)
        values = []
        for mean, grain in zip(self.power, self.speckle, strict=True):
            seen = _on_own_grid(mean, window) * gain * grain(*window.at)
            values.append(np.where(zeros, np.float32(0), np.where(inside, seen, np.float32(NODATA))))
        return window, values

    def _level(self, window: Window) -> Field:
        """Return the level in dB from the pass, the slope towards the sensor, and the slice."""
        outer = window.wider(1)
        slope = np.gradient(self.elevation[outer.at], 10.0, axis=1)[window.inside(outer)]
        side = 1 if self.overpass.orbit_state == "ascending" else -1
        return np.asarray(self.overpass.level_db + STEP_DB * self.part + np.clip(5.0 * side * slope, -2.0, 2.0), np.float32)


def looks(normal: Field) -> Field:
    """Turn a standard normal field into intensity speckle: gamma-distributed, mean 1, `ENL` looks, correlated like the field."""
    from scipy.special import gammaincinv, ndtr

    nodes = np.linspace(-6, 6, 2049)
    return np.asarray(np.interp(normal, nodes, gammaincinv(ENL, ndtr(nodes)) / ENL), np.float32)


def _on_own_grid(field: Layer, window: Window) -> Field:
    """Return the mean power at the centres of the scenes' pixels, `SHIFT` metres east and south, by bilinear interpolation."""
    height, width = window.size
    rows, cols = (slice(part.start, min(part.stop + 1, size)) for part, size in zip(window.at, window.shape, strict=True))
    values = field[rows, cols]
    values = np.pad(values, ((0, height + 1 - values.shape[0]), (0, width + 1 - values.shape[1])), mode="edge")
    part = np.float32(SHIFT / 10)
    down = (1 - part) * values[:-1] + part * values[1:]
    return np.asarray((1 - part) * down[:, :-1] + part * down[:, 1:], np.float32)


class Outline:
    """Outline of a slice: a slanted strip; two slices meet along a slanted line, on some dates with an overlap.

    The left and right borders are columns c = c0 + c1 · row, the top and bottom ones rows r = r0 + r1 · column.
    """

    def __init__(self, shape: tuple[int, int], overpass: Pass, part: int) -> None:
        height, width = shape
        self.shape = shape
        self.left, self.right = (14.0, 14 / height), (overpass.east * width - (30 if overpass.east == 1 else 0), 14 / height)
        self.top, self.bottom = (26.0, -12 / width), (height - 14.0, -12 / width)
        join = 0.47 * height + 0.05 * width / 2
        if overpass.slices == 2 and part == 0:
            self.bottom = (join + overpass.overlap / 2, -0.05)
        elif overpass.slices == 2:
            self.top = (join - overpass.overlap / 2, -0.05)

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window are inside the slice."""
        rows, cols = np.arange(window.rows.start, window.rows.stop)[:, None], np.arange(window.cols.start, window.cols.stop)[None]
        (a, b), (c, d), (e, f), (g, h) = self.left, self.right, self.top, self.bottom
        return np.asarray((cols >= a + b * rows) & (cols < c + d * rows) & (rows >= e + f * cols) & (rows < g + h * cols))

    def ring(self) -> NDArray[np.float64]:
        """Return the corners (4, 2) as (column, row), counter-clockwise from the upper left."""
        corners = []
        for (c0, c1), (r0, r1) in (
            (self.left, self.top),
            (self.left, self.bottom),
            (self.right, self.bottom),
            (self.right, self.top),
        ):
            col = (c0 + c1 * r0) / (1 - c1 * r1)
            corners.append((col, r0 + r1 * col))
        return np.array(corners)

    def area(self, margin: int) -> tuple[slice, slice]:
        """Return the rows and columns around the slice and a margin."""
        cols, rows = self.ring().T
        return tuple(  # type: ignore[return-value]
            slice(max(0, int(part.min()) - margin), min(size, int(np.ceil(part.max())) + margin + 1))
            for part, size in zip((rows, cols), self.shape, strict=True)
        )


def _fringe(outline: Outline, window: Window, width: Noise) -> NDArray[np.bool_]:
    """Return an uneven border, 1 to 12 px wide, just outside the valid pixels."""
    from scipy.ndimage import distance_transform_edt

    outer = window.wider(13)
    inside = outline(outer)
    if inside.all() or not inside.any():
        return np.zeros(window.size, bool)
    here = window.inside(outer)
    reach = np.clip(6 + 4 * width(*window.at), 1, 12)
    return np.asarray(~inside[here] & (distance_transform_edt(~inside)[here] <= reach))


def _write_slice(catalogue: Catalogue, scene: Slice, world: GeoBox, number: int) -> None:
    overpass, part = scene.overpass, scene.part
    area = scene.outline.area(13 if scene.border is not None else 0)
    own = world[area]
    own = GeoBox(own.shape, Affine.translation(SHIFT, -SHIFT) @ own.transform, own.crs)
    start = overpass.start + dt.timedelta(seconds=25 * part)
    end = start + dt.timedelta(seconds=25)
    datatake = f"{overpass.absolute_orbit * 7 % 0xFFFFFF:06X}"
    item = f"S1A_IW_GRDH_1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{overpass.absolute_orbit:06d}_{datatake}_rtc"
    files = [catalogue.folder(S1, item) / f"{name}.tif" for name in ("vv", "vh")]
    with cogs({path: Raster(own, "float32", NODATA) for path in files}) as opened:
        for window, values in map(scene, windows(scene.outline.shape, *area)):
            at = RasterWindow(window.cols.start - area[1].start, window.rows.start - area[0].start, window.size[1], window.size[0])
            for path, value in zip(files, values, strict=True):
                opened[path].write(value, 1, window=at)
    transform = own.transform
    if number > 0 and overpass.number == 0 and part == 0:
        transform = Affine.translation(480.0, -320.0) @ transform  # wrong on purpose
    corners = Affine.translation(SHIFT, -SHIFT) @ world.transform @ scene.outline.ring().T
    catalogue.add(
        S1,
        item,
        start + (end - start) / 2,
        lonlat(np.column_stack(corners), str(world.crs)),
        {
            "start_datetime": start.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "end_datetime": end.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "platform": "SENTINEL-1A",
            "constellation": "Sentinel-1",
            "sat:orbit_state": overpass.orbit_state,
            "sat:relative_orbit": overpass.orbit,
            "sat:absolute_orbit": overpass.absolute_orbit,
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sar:looks_equivalent_number": ENL,
            "proj:code": str(world.crs),
            "proj:shape": list(own.shape),
            "proj:transform": list(transform),
        },
        {"vv": {}, "vh": {}},
    )


def write_elevation(catalogue: Catalogue, height: Callable[[Window], Field], geobox: GeoBox, seed: int) -> None:
    """Write the DEM tiles of 1″ that the world touches, with the names of GLO-30 and cropped to the world.

    Tiles meet at whole degrees; pixel centres are at whole seconds.

    Args:
        height: of the ground and a part of the canopy in a window, in m.
    """
    ring = np.array(lonlat(corners(geobox), str(geobox.crs)))
    (west, south), (east, north) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    for lat in range(int(np.floor(south)), int(np.floor(north)) + 1):
        for lon in range(int(np.floor(west)), int(np.floor(east)) + 1):
            first_col, last_col = max(0, int((west - lon) * 3600) - 4), min(3600, int((east - lon) * 3600) + 5)
            first_row, last_row = max(0, int((lat + 1 - north) * 3600) - 4), min(3600, int((lat + 1 - south) * 3600) + 5)
            step = 1 / 3600
            lons = lon + np.arange(first_col, last_col) * step
            lats = lat + 1 - np.arange(first_row, last_row) * step
            lines = np.array_split(lats, -(-len(lats) // 128))
            heights = np.concatenate([_heights(height, geobox, lons, part) for part in lines])
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


def _heights(
    height: Callable[[Window], Field], geobox: GeoBox, lons: NDArray[np.floating], lats: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the smoothed surface at some longitudes and latitudes, (latitude, longitude); edge values continue beyond the world."""
    from pyproj import Transformer
    from scipy.ndimage import gaussian_filter, map_coordinates

    to_world = Transformer.from_crs("EPSG:4326", str(geobox.crs), always_xy=True)
    col, row = ~geobox.transform @ to_world.transform(*np.meshgrid(lons, lats))
    last, width = geobox.shape
    rows = slice(min(max(0, int(row.min()) - 8), last - 1), max(1, min(last, int(row.max()) + 9)))
    smooth = gaussian_filter(height(Window(rows, slice(0, width), (last, width))), 1.3)
    return np.asarray(map_coordinates(smooth, [row - 0.5 - rows.start, col - 0.5], order=1, mode="nearest"))
