"""Sentinel-2 L2A scenes of the miniature Earth, with clouds, shadows, haze, swath edges and both kinds of baseline."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.config import S2_BANDS, Year
from smallmines.world.landscape import Field, noise, rng_of
from smallmines.world.stac import Catalogue, corners, lonlat, write_cog

COLLECTION = "sentinel-2-l2a"
FINE = ("B02", "B03", "B04", "B08")
"""The bands of 10 m; the others are true 20 m bands."""
TILES = {"30NWN": (0.0, 0.62), "30NXN": (0.42, 1.0)}
"""The two tiles and the part of the world's width each covers."""
HAZE = (1.0, 0.78, 0.62, 0.52, 0.44, 0.39, 0.36, 0.33, 0.12, 0.07)
CLOUD = (5200.0, 5050.0, 5150.0, 5250.0, 5450.0, 5550.0, 5650.0, 5650.0, 3900.0, 3000.0)
SHADOW = (0.36, 0.44, 0.5, 0.52, 0.55, 0.56, 0.57, 0.58, 0.6, 0.62)
"""Loss of light in a full cloud shadow; the sky still lights the short waves."""


@dataclass(frozen=True)
class Datatake:
    """One overpass.

    Attributes:
        start: start of the datatake, UTC.
        platform: "S2A" or "S2B".
        orbit: relative orbit; the neighbouring orbit 8 covers the west only.
        cover: share of the area under opaque cloud.
        haze: haze in DN of B02; SCL does not see it.
        baselines: per product its processing baseline; a later one means a second product of the same overpass.
        azimuth: of the sun, degrees.
    """

    number: int
    start: dt.datetime
    platform: str
    orbit: int
    cover: float
    haze: float
    baselines: tuple[str, ...]
    azimuth: float = 138.0

    @property
    def absolute_orbit(self) -> int:
        """A plausible absolute orbit: relative orbits repeat every 143."""
        cycle = (self.start.date() - dt.date(2015, 7, 4)).days // 10
        return cycle * 143 + self.orbit


def datatakes(year: Year, number: int, years: int) -> list[Datatake]:
    """The overpasses of an epoch: the first of several epochs is stored without offset, the others with.

    Orbit 108 sees all of the area, orbit 8 its west. One overpass is clouded over, one lies after the window.
    """
    old = number == 0 and years > 1
    base = ("02.08",) if old else ("05.00",)
    second = "S2A" if old else "S2B"
    plan = (  # day, platform, orbit, cloud cover, haze, baselines
        (4, "S2A", 108, 0.30, 25.0, base),
        (14, second, 108, 0.12, 12.0, (*base, "05.00") if old else base),
        (7, "S2A", 8, 0.18, 40.0, base),
        (20, second, 108, 0.22, 230.0, base),
        (24, "S2A", 108, 0.95, 60.0, base),
        (33, second, 108, 0.05, 15.0, base),
    )
    days = (year.end - year.start).days + 1
    times = []
    for index, (day, platform, orbit, cover, haze, baselines) in enumerate(plan):
        inside = day * days // 31
        date = year.start + dt.timedelta(days=inside)
        clock = dt.time(10, 34, 22) if orbit == 108 else dt.time(10, 44, 2)
        times.append(Datatake(index, dt.datetime.combine(date, clock), platform, orbit, cover, haze, baselines))
    return times


@dataclass(frozen=True)
class Sky:
    """What lies between ground and sensor: opacity of cloud and depth of shadow (0 to 1), haze in DN of B02, cirrus."""

    cloud: Field
    shadow: Field
    haze: Field
    cirrus: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    edge: NDArray[np.bool_]


def sky(shape: tuple[int, int], take: Datatake, number: int, seed: int) -> Sky:
    """The sky of an overpass. In the first year a patch in the south-east is never clear (as in the real 2016)."""
    rng = rng_of(seed, 70, number, take.number)
    towers = noise(shape, rng, 38, 4.6) + np.float32(0.12) * noise(shape, rng, 5, 3.0)
    rows, cols = (np.linspace(0, 1, side, dtype=np.float32) for side in shape)
    if number == 0:
        scale = min(shape) / 1024
        bank = np.hypot((rows[:, None] - 0.70) * shape[0], (cols[None] - 0.66) * shape[1]) / (55 * max(scale, 0.5))
        towers = np.maximum(towers, 5.0 - 3.0 * bank.astype(np.float32) + 0.6 * towers)
    limit = np.float32(np.quantile(towers, 1 - take.cover))
    cloud = np.clip((towers - limit) / 0.45 + 0.4, 0, 1)
    away = int(rng.integers(14, 26))  # height of the clouds: 1 to 2 km
    rows_off, cols_off = round(away * np.cos(np.radians(take.azimuth)) * -1), round(away * np.sin(np.radians(take.azimuth)) * -1)
    shadow = _shift(cloud, -rows_off, cols_off) * (1 - cloud)
    depth = 1 + 0.5 * noise(shape, rng, 120, 3.2)
    if take.haze > 100:  # Harmattan dust that lies over one half
        depth = depth + 1.4 * noise(shape, rng, 300, 4.0)
    haze = take.haze * np.maximum(depth, 0.05)
    cirrus = noise(shape, rng, 70, 4.0) > 2.1
    seen, edge = np.ones(shape, bool), np.zeros(shape, bool)
    if take.orbit == 8:
        border = (0.57 - 0.10 * rows[:, None]) * shape[1]
        position = np.arange(shape[1], dtype=np.float32)[None]
        seen = position < border
        edge = (position >= border - 4) & seen & (rng.uniform(size=shape) < 0.25)
    return Sky(cloud.astype(np.float32), shadow.astype(np.float32), haze.astype(np.float32), cirrus, seen, edge)


def _shift(array: Field, rows: int, cols: int) -> Field:
    out = np.zeros_like(array)
    source = array[max(0, -rows) : array.shape[0] - max(0, rows), max(0, -cols) : array.shape[1] - max(0, cols)]
    out[max(0, rows) : max(0, rows) + source.shape[0], max(0, cols) : max(0, cols) + source.shape[1]] = source
    return out


def sunlight(surface: Field, azimuth: float, zenith: float = 38.0) -> Field:
    """Illumination of the slopes relative to flat ground (cosine of incidence, damped for the light of the sky)."""
    from scipy.ndimage import gaussian_filter

    down, right = np.gradient(gaussian_filter(surface, 2.0), 10.0)
    sun, high = np.radians(azimuth), np.radians(zenith)
    facing = -right * np.sin(sun) + down * np.cos(sun)
    incidence = (np.cos(high) + np.sin(high) * facing) / np.sqrt(1 + down**2 + right**2)
    light: Field = np.clip(1 + 0.65 * (incidence / np.cos(high) - 1), 0.35, 1.5).astype(np.float32)
    return light


def look(ground: NDArray[np.uint16], light: Field, above: Sky, take: Datatake, number: int, seed: int) -> Iterator[tuple[str, Field]]:
    """Band by band, what the sensor sees at 10 m (reflectance × 10000, float32)."""
    rng = rng_of(seed, 71, number, take.number)
    gain = 1 + 0.015 * rng.standard_normal() + 0.01 * rng.standard_normal(len(S2_BANDS))
    lumps = 1 + 0.12 * noise(light.shape, rng, 12, 3.0)
    for band, name in enumerate(S2_BANDS):
        value = ground[band] * light * np.float32(gain[band]) * (1 - np.float32(SHADOW[band]) * above.shadow)
        value = value + above.haze * np.float32(HAZE[band]) + np.where(above.cirrus, np.float32(190), np.float32(0))
        value = value * (1 - above.cloud) + above.cloud * np.float32(CLOUD[band]) * lumps
        yield name, value.astype(np.float32)


def halved(array: Field) -> Field:
    """Mean over 2 × 2 pixels: a true 20 m band."""
    rows, cols = array.shape
    return np.asarray(array.reshape(rows // 2, 2, cols // 2, 2).mean(axis=(1, 3)), np.float32)


def classify(bands: dict[str, Field], above: Sky, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The scene classification at 20 m: right about the land, blind to haze, and taking bright tailings and roofs for cloud."""
    blue, red, near, green = bands["B02"], bands["B04"], bands["B08"], bands["B03"]
    greenness = (near - red) / (near + red)
    scl = np.where(greenness > 0.42, 4, 5).astype(np.uint8)
    scl[(near < 1500) & ((green - near) / (green + near) > -0.12)] = 6
    scl[(near < 1000) & (scl != 6)] = 2
    loose = noise(blue.shape, rng, 3, 2.5)
    scl[(loose > 3.1) & (scl == 5)] = 7
    scl[(blue > 1520) & (loose > -0.8)] = 8
    scl[(blue > 1900) & (loose > -0.3)] = 9
    cloud, shadow = halved(above.cloud), halved(above.shadow)
    scl[(shadow > 0.42) & (loose < 1.3)] = 3
    scl[above.cirrus[::2, ::2]] = 10
    scl[cloud > 0.12] = 8
    scl[cloud > 0.55] = 9
    scl[~above.seen.reshape(blue.shape[0], 2, -1, 2).any(axis=(1, 3))] = 0
    return scl


def write_year(
    catalogue: Catalogue, ground: NDArray[np.uint16], surface: Field, geobox: GeoBox, year: Year, number: int, years: int, seed: int
) -> Iterator[str]:
    """Write every Sentinel-2 product of an epoch; yields what was written."""
    shape = ground.shape[1:]
    for take in datatakes(year, number, years):
        above = sky((shape[0], shape[1]), take, number, seed)
        light = sunlight(surface, take.azimuth)
        seen = {name: band if name in FINE else halved(band) for name, band in look(ground, light, above, take, number, seed)}
        scl = classify({name: halved(seen[name]) for name in FINE}, above, rng_of(seed, 72, number, take.number))
        for tile, (left, right) in TILES.items():
            first, last = (2 * round(part * shape[1] / 2) for part in (left, right))
            if not above.seen[:, first:last].any():
                continue
            for index, baseline in enumerate(take.baselines):
                if index and tile != "30NXN":
                    continue
                yield _write_product(catalogue, seen, scl, above, geobox, take, tile, (first, last), baseline, index)


def _write_product(
    catalogue: Catalogue,
    seen: dict[str, Field],
    scl: NDArray[np.uint8],
    above: Sky,
    geobox: GeoBox,
    take: Datatake,
    tile: str,
    span: tuple[int, int],
    baseline: str,
    reprocessed: int,
) -> str:
    first, last = span
    offset = 1000 if tuple(map(int, baseline.split("."))) >= (4, 0) else 0
    made = take.start + (dt.timedelta(days=1934, hours=22) if reprocessed else dt.timedelta(hours=4, minutes=11))
    stamp = take.start.strftime("%Y%m%dT%H%M%S")
    code = baseline.replace(".", "")
    item = f"{take.platform}_MSIL2A_{stamp}_N{code}_R{take.orbit:03d}_T{tile}_{made:%Y%m%dT%H%M%S}"
    fine = geobox[:, first:last]
    coarse = fine.zoom_out(2)
    folder = catalogue.folder(COLLECTION, item)

    def write_band(name: str) -> None:
        field, inside, edge = seen[name], above.seen, above.edge
        if name not in FINE:
            inside, edge = inside[::2, ::2], edge[::2, ::2]
        part = slice(first, last) if name in FINE else slice(first // 2, last // 2)
        numbers = np.clip(np.rint(field[:, part]), 1, 20000) + offset
        numbers[edge[:, part]] = 1
        numbers[~inside[:, part]] = 0
        box = fine if name in FINE else coarse
        write_cog(folder / f"{name}.tif", numbers.astype(np.uint16), box, 0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write_band, S2_BANDS))
    assets = {name: _asset(fine if name in FINE else coarse) for name in S2_BANDS}
    classes = np.ascontiguousarray(scl[:, first // 2 : last // 2])
    write_cog(folder / "SCL.tif", classes, coarse, 0, continuous=False)
    assets["SCL"] = _asset(coarse)
    covered = classes > 0
    cloudy = np.isin(classes, (8, 9, 10))[covered].mean() * 100
    take_id = f"G{take.platform}_{stamp}_{take.absolute_orbit:06d}_N{baseline}"
    catalogue.add(
        COLLECTION,
        item,
        take.start,
        lonlat(_outline(fine, inside=above.seen[:, first:last]), str(geobox.crs)),
        {
            "platform": {"S2A": "sentinel-2a", "S2B": "sentinel-2b"}[take.platform],
            "constellation": "sentinel-2",
            "eo:cloud_cover": 95.0 if take.cover >= 0.95 else round(float(cloudy), 6),
            "s2:product_uri": f"{item}.SAFE",
            "s2:processing_baseline": baseline,
            "s2:generation_time": made.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "s2:datatake_id": take_id,
            "s2:nodata_pixel_percentage": round(float((~covered).mean() * 100), 6),
            "sat:relative_orbit": take.orbit,
            "sat:orbit_state": "descending",
            "grid:code": f"MGRS-{tile}",
            "proj:code": str(geobox.crs),
        },
        assets,
    )
    return item


def _asset(box: GeoBox) -> dict[str, object]:
    return {"gsd": abs(box.transform.a), "proj:shape": list(box.shape), "proj:transform": list(box.transform)[:6]}


def _outline(box: GeoBox, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The corners of the seen part: the slanted swath edge lies on the east side."""
    ring = corners(box)
    count = inside.sum(axis=1)
    if count[0] < inside.shape[1] or count[-1] < inside.shape[1]:
        ring[3, 0] = ring[0, 0] + count[0] * box.transform.a
        ring[2, 0] = ring[1, 0] + count[-1] * box.transform.a
    return ring
