"""Sentinel-2 L2A scenes of the miniature Earth, with clouds, shadows, haze, swath edges and both kinds of baseline."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from miniature.layers import Layer, Window, in_threads, windows
from miniature.noise import Field, Noise, noise, rng_of
from miniature.stac import Catalogue, Raster, cogs, corners, lonlat
from smallmines.config.sections import Year
from smallmines.core.product import S2_BANDS

COLLECTION = "sentinel-2-l2a"
METADATA = "MTD_MSIL2A.xml"
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
        (4, "S2A", 108, 0.20, 25.0, base),
        (14, second, 108, 0.10, 12.0, (*base, "05.00") if old else base),
        (7, "S2A", 8, 0.15, 40.0, base),
        (20, second, 108, 0.14, 230.0, base),
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
    """What lies between ground and sensor in a window: opacity of cloud and depth of shadow (0 to 1), haze in DN of B02, cirrus."""

    cloud: Field
    shadow: Field
    haze: Field
    cirrus: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    edge: NDArray[np.bool_]


class Weather:
    """The sky of an overpass over the whole world, asked window by window.

    In the first year a bank of cloud in the south-east never leaves (as in the real 2016).
    """

    def __init__(self, shape: tuple[int, int], take: Datatake, number: int, seed: int) -> None:
        rng = rng_of(seed, 70, number, take.number)
        self.shape, self.take, self.bank = shape, take, number == 0
        self.towers, self.tufts = noise(shape, rng, 38, 4.6), noise(shape, rng, 5, 3.0)
        self.depth, self.dust = noise(shape, rng, 120, 3.2), noise(shape, rng, 300, 4.0)
        self.thin, self.edges = noise(shape, rng, 70, 4.0), noise(shape, rng, 0)
        away = int(rng.integers(14, 26))  # height of the clouds: 1 to 2 km
        sun = np.radians(take.azimuth)
        self.rows_off, self.cols_off = round(away * np.cos(sun)), round(-away * np.sin(sun))
        step = max(1, int(np.sqrt(shape[0] * shape[1] / 1_000_000)))
        sample = (np.arange(step // 2, size, step, dtype=np.intp) for size in shape)
        self.limit = np.float32(np.quantile(self._heights(*sample), 1 - take.cover))

    def _heights(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Field:
        heights = self.towers(rows, cols) + np.float32(0.12) * self.tufts(rows, cols)
        if self.bank:
            side = min(self.shape)
            away = np.hypot(rows[:, None] - 0.70 * self.shape[0], cols[None] - 0.66 * self.shape[1]) / (0.045 * side)
            heights = np.maximum(heights, 5.0 - 3.0 * away.astype(np.float32) + np.float32(0.6) * heights)
        return np.asarray(heights, np.float32)

    def cloud(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Field:
        """Opacity, 0 to 1."""
        opacity: Field = np.clip((self._heights(rows, cols) - self.limit) / np.float32(0.45) + np.float32(0.4), 0, 1)
        return opacity

    def __call__(self, window: Window) -> Sky:
        """The sky over a window."""
        rows, cols = (np.arange(part.start, part.stop) for part in window.at)
        cloud = self.cloud(rows, cols)
        off = ((rows - self.rows_off).clip(0, self.shape[0] - 1), (cols - self.cols_off).clip(0, self.shape[1] - 1))
        shadow = self.cloud(*off) * (1 - cloud)
        depth = 1 + np.float32(0.5) * self.depth(*window.at)
        if self.take.haze > 100:  # Harmattan dust that lies over one half
            depth = depth + np.float32(1.4) * self.dust(*window.at)
        haze = np.float32(self.take.haze) * np.maximum(depth, np.float32(0.05))
        seen, edge = np.ones(window.size, bool), np.zeros(window.size, bool)
        if self.take.orbit == 8:
            border = (0.57 - 0.10 * rows[:, None] / (self.shape[0] - 1)) * self.shape[1]
            seen = cols[None] < border
            edge = (cols[None] >= border - 4) & seen & (self.edges(*window.at) < -0.67)  # a quarter of them
        return Sky(cloud, shadow, haze, self.thin(*window.at) > 2.1, seen, edge)


def sunlight(surface: Layer, azimuth: float, window: Window, zenith: float = 38.0) -> Field:
    """Illumination of the slopes relative to flat ground (cosine of incidence, damped for the light of the sky)."""
    from scipy.ndimage import gaussian_filter

    outer = window.wider(10)
    down, right = (part[window.inside(outer)] for part in np.gradient(gaussian_filter(surface[outer.at], 2.0), 10.0))
    sun, high = np.radians(azimuth), np.radians(zenith)
    facing = -right * np.sin(sun) + down * np.cos(sun)
    incidence = (np.cos(high) + np.sin(high) * facing) / np.sqrt(1 + down**2 + right**2)
    light: Field = np.clip(1 + 0.65 * (incidence / np.cos(high) - 1), 0.35, 1.5).astype(np.float32)
    return light


@dataclass(frozen=True)
class Overpass:
    """What the sensor sees on one overpass, asked window by window.

    Attributes:
        ground: uint16 (band, row, column), reflectance × 10000.
        surface: float32 (row, column), what the sun lights, in m.
        gain: of each band.
        lumps: of the brightness of clouds, standard normal.
        steady, fickle: how loosely the scene classification judges, at 20 m, standard normal: the same on every date, and on this one.
    """

    take: Datatake
    weather: Weather
    ground: Layer
    surface: Layer
    gain: Field
    lumps: Noise
    steady: Noise
    fickle: Noise

    def __call__(self, window: Window) -> tuple[Window, dict[str, Field], NDArray[np.uint8], Sky]:
        """The window, each band as `look` gives it, the scene classification (20 m), and the sky."""
        above = self.weather(window)
        bands = self.look(window, above)
        at = window.halved().at
        loose = np.float32(0.85) * self.steady(*at) + np.float32(0.53) * self.fickle(*at)
        return window, bands, classify({name: halved(bands[name]) for name in FINE}, above, loose), above

    def look(self, window: Window, above: Sky) -> dict[str, Field]:
        """Reflectance × 10000 in each band, float32: the 20 m bands at half the size."""
        light = sunlight(self.surface, self.take.azimuth, window)
        lumps = 1 + np.float32(0.12) * self.lumps(*window.at)
        fine = (above.cloud, above.shadow, above.haze, _THIN * above.cirrus, lumps)
        coarse = tuple(halved(part) for part in fine)
        seen = {}
        for band, name in enumerate(S2_BANDS):
            value = self.ground[(band, *window.at)] * (light * self.gain[band])
            if name not in FINE:
                value = halved(value)
            cloud, shadow, haze, thin, lump = fine if name in FINE else coarse
            value = value * (1 - np.float32(SHADOW[band]) * shadow) + haze * np.float32(HAZE[band]) + thin
            seen[name] = value * (1 - cloud) + cloud * lump * np.float32(CLOUD[band])
        return seen


CLEAN_AIR, THICKNESS = np.float32(80), np.float32(0.9)
"""Aerosol optical thickness × 1000: without haze, and for each DN of haze in B02."""

_THIN = np.float32(190)
"""Cirrus, in DN of any band."""


def halved(array: Field) -> Field:
    """Mean over 2 × 2 pixels: a true 20 m band."""
    rows, cols = array.shape
    return np.asarray(array.reshape(rows // 2, 2, cols // 2, 2).mean(axis=(1, 3)), np.float32)


def classify(bands: dict[str, Field], above: Sky, loose: Field) -> NDArray[np.uint8]:
    """The scene classification at 20 m: right about the land, blind to haze, and taking bright tailings and roofs for cloud.

    Args:
        bands: B02, B03, B04 and B08 at 20 m.
        loose: how loosely the classification judges, mean 0 and sd 1; much of it is the same on every date.
    """
    blue, red, near, green = bands["B02"], bands["B04"], bands["B08"], bands["B03"]
    greenness = (near - red) / (near + red)
    scl = np.where(greenness > 0.42, 4, 5).astype(np.uint8)
    scl[(near < 1500) & ((green - near) / (green + near) > -0.12)] = 6
    scl[(near < 1000) & (scl != 6)] = 2
    scl[(loose > 3.1) & (scl == 5)] = 7
    scl[blue > 1430 - 150 * loose] = 8
    scl[blue > 1800 - 150 * loose] = 9
    cloud, shadow = halved(above.cloud), halved(above.shadow)
    scl[(shadow > 0.42) & (loose < 1.3)] = 3
    scl[above.cirrus[::2, ::2]] = 10
    scl[cloud > 0.12] = 8
    scl[cloud > 0.55] = 9
    scl[~above.seen.reshape(blue.shape[0], 2, -1, 2).any(axis=(1, 3))] = 0
    return scl


@dataclass(frozen=True)
class Product:
    """One product of a datatake: its name and baseline, the columns of the world it covers, and its files by band."""

    item: str
    baseline: str
    made: dt.datetime
    tile: str
    span: slice
    files: dict[str, Path]

    @property
    def offset(self) -> int:
        """What its numbers carry over 10000 · reflectance."""
        return 1000 if tuple(map(int, self.baseline.split("."))) >= (4, 0) else 0


def write_year(
    catalogue: Catalogue, ground: Layer, surface: Layer, geobox: GeoBox, year: Year, number: int, years: int, seed: int
) -> Iterator[str]:
    """Write every Sentinel-2 product of an epoch, window by window; yields what was written.

    Args:
        ground: uint16 (band, row, column), reflectance × 10000 of the epoch.
        surface: float32 (row, column), what the sun lights, in m.
    """
    shape = (geobox.shape.y, geobox.shape.x)
    half = (shape[0] // 2, shape[1] // 2)
    steady = noise(half, rng_of(seed, 73), 3, 2.5)
    for take in datatakes(year, number, years):
        products = [
            _product(catalogue, take, tile, baseline, index, shape)
            for tile in TILES
            for index, baseline in enumerate(take.baselines)
            if not index or tile == "30NXN"
        ]
        weather = Weather(shape, take, number, seed)
        rng = rng_of(seed, 71, number, take.number)
        gain = np.asarray(1 + 0.015 * rng.standard_normal() + 0.01 * rng.standard_normal(len(S2_BANDS)), np.float32)
        lumps, fickle = noise(shape, rng, 12, 3.0), noise(half, rng_of(seed, 72, number, take.number), 3, 2.5)

        overpass = Overpass(take, weather, ground, surface, gain, lumps, steady, fickle)
        yield from _write_products(catalogue, products, in_threads(overpass, windows(shape)), weather, geobox, take)


def _product(catalogue: Catalogue, take: Datatake, tile: str, baseline: str, reprocessed: int, shape: tuple[int, int]) -> Product:
    made = take.start + (dt.timedelta(days=1934, hours=22) if reprocessed else dt.timedelta(hours=4, minutes=11))
    code = baseline.replace(".", "")
    item = f"{take.platform}_MSIL2A_{take.start:%Y%m%dT%H%M%S}_N{code}_R{take.orbit:03d}_T{tile}_{made:%Y%m%dT%H%M%S}"
    first, last = (2 * round(part * shape[1] / 2) for part in TILES[tile])
    folder = catalogue.folder(COLLECTION, item)
    return Product(item, baseline, made, tile, slice(first, last), {name: folder / f"{name}.tif" for name in (*S2_BANDS, "SCL", "AOT")})


def _write_products(
    catalogue: Catalogue,
    products: list[Product],
    parts: Iterable[tuple[Window, dict[str, Field], NDArray[np.uint8], Sky]],
    weather: Weather,
    geobox: GeoBox,
    take: Datatake,
) -> Iterator[str]:
    """Write the products of a datatake from what it sees of each window."""
    rasters = {}
    for one in products:
        fine = geobox[:, one.span]
        for name, path in one.files.items():
            box = fine if name in FINE else fine.zoom_out(2)
            rasters[path] = Raster(box, "uint8" if name == "SCL" else "uint16", 0, name != "SCL")
    counts = {one.item: np.zeros(12, np.int64) for one in products}
    with cogs(rasters) as opened:
        for window, bands, scl, above in parts:
            numbers = {name: _numbers(value, above, name in FINE) for name, value in bands.items()}
            numbers["AOT"] = _numbers(CLEAN_AIR + THICKNESS * halved(above.haze), above, False)
            for one in products:
                cols = slice(max(one.span.start, window.cols.start), min(one.span.stop, window.cols.stop))
                if cols.start >= cols.stop:
                    continue
                for name, path in one.files.items():
                    times = 1 if name in FINE else 2
                    own = slice((cols.start - window.cols.start) // times, (cols.stop - window.cols.start) // times)
                    part = scl[:, own] if name == "SCL" else numbers[name][:, own]
                    if name == "SCL":
                        counts[one.item] += np.bincount(part.ravel(), minlength=12)
                    elif one.offset and name != "AOT":
                        part = np.where(part > 1, part + np.uint16(one.offset), part)
                    at = RasterWindow((cols.start - one.span.start) // times, window.rows.start // times, part.shape[1], part.shape[0])
                    opened[path].write(part, 1, window=at)
    for one in products:
        if counts[one.item][1:].any():
            _describe(catalogue, one, counts[one.item], weather, geobox, take)
            yield one.item
        else:
            shutil.rmtree(catalogue.folder(COLLECTION, one.item))


def _numbers(value: Field, above: Sky, fine: bool) -> NDArray[np.uint16]:
    """Digital numbers without offset: 1 on detector edges, 0 where nothing is seen."""
    seen, edge = (above.seen, above.edge) if fine else (above.seen[::2, ::2], above.edge[::2, ::2])
    numbers = np.clip(np.rint(value), 2, 20000).astype(np.uint16)
    numbers[edge] = 1
    numbers[~seen] = 0
    return numbers


def _describe(catalogue: Catalogue, one: Product, counts: NDArray[np.int64], weather: Weather, geobox: GeoBox, take: Datatake) -> None:
    """Add a product to the catalogue. `counts`: pixels of each scene class."""
    fine = geobox[:, one.span]
    place = catalogue.folder(COLLECTION, one.item) / METADATA
    place.write_text(product_metadata(one.item, one.baseline, one.offset), encoding="utf-8")
    total, covered = int(counts.sum()), int(counts[1:].sum())
    last = fine.shape.y - 1
    rows = [weather(Window(slice(row, row + 1), one.span, weather.shape)).seen for row in (0, last)]
    catalogue.add(
        COLLECTION,
        one.item,
        take.start,
        lonlat(_outline(fine, np.concatenate(rows)), str(geobox.crs)),
        {
            "platform": {"S2A": "sentinel-2a", "S2B": "sentinel-2b"}[take.platform],
            "constellation": "sentinel-2",
            "eo:cloud_cover": 95.0 if take.cover >= 0.95 else round(100 * float(counts[8:11].sum()) / covered, 6),
            "s2:product_uri": f"{one.item}.SAFE",
            "s2:processing_baseline": one.baseline,
            "s2:generation_time": one.made.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "s2:datatake_id": f"G{take.platform}_{take.start:%Y%m%dT%H%M%S}_{take.absolute_orbit:06d}_N{one.baseline}",
            "s2:nodata_pixel_percentage": round(100 * (total - covered) / total, 6),
            "sat:relative_orbit": take.orbit,
            "sat:orbit_state": "descending",
            "grid:code": f"MGRS-{one.tile}",
            "proj:code": str(geobox.crs),
        },
        {name: _asset(fine if name in FINE else fine.zoom_out(2)) for name in one.files}
        | {"product_metadata": {"href": f"./{METADATA}", "type": "application/xml", "roles": ["metadata"]}},
    )


def product_metadata(product: str, baseline: str, offset: int) -> str:
    """What matters here of a product's MTD_MSIL2A.xml; offsets are named from baseline 04.00 on."""
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{band}">{-offset}</BOA_ADD_OFFSET>' for band in range(13)) if offset else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"><n1:General_Info>'
        f"<Product_Info><PRODUCT_URI>{product}.SAFE</PRODUCT_URI><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
        f"<Product_Image_Characteristics><BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>"
        "</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>\n"
    )


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
