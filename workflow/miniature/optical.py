"""Sentinel-2 L2A products of the miniature Earth, with clouds, shadows, haze, swath edges and both kinds of baseline."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from miniature.layers import Window, windows
from miniature.noise import Field, Noise, noise, rng_of
from miniature.place import Epoch, grid_zone
from miniature.spectra import Ground
from miniature.stac import Catalogue, Raster, cogs, corners, lonlat
from miniature.weather import Datatake, Sky, Weather
from smallmines.core.product import S2_BANDS

COLLECTION = "sentinel-2-l2a"
METADATA = "MTD_MSIL2A.xml"
FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m; the others are true 20 m bands."""
SQUARES = {"WN": (0.0, 0.62), "XN": (0.42, 1.0)}
"""Last letters of the MGRS tiles, the same in every zone, and the part of the world's width that each covers."""
REPROCESSED = "XN"
"""The tile of which there are products of all baselines."""
HAZE = (1.0, 0.78, 0.62, 0.52, 0.44, 0.39, 0.36, 0.33, 0.12, 0.07)
CLOUD = (5200.0, 5050.0, 5150.0, 5250.0, 5450.0, 5550.0, 5650.0, 5650.0, 3900.0, 3000.0)
SHADOW = (0.36, 0.44, 0.5, 0.52, 0.55, 0.56, 0.57, 0.58, 0.6, 0.62)
"""Loss of light in a full cloud shadow by band; skylight remains at short wavelengths."""


@dataclass(frozen=True)
class Overpass:
    """Image of one overpass, computed window by window.

    Attributes:
        gain: gain of each band.
        lumps: variation of the brightness of clouds, standard normal.
        steady, fickle: laxity of the scene classification at 20 m, standard normal: common to all dates, and of this date.
    """

    take: Datatake
    weather: Weather
    ground: Ground
    gain: Field
    lumps: Noise
    steady: Noise
    fickle: Noise

    def __call__(self, window: Window) -> tuple[Window, dict[str, Field], NDArray[np.uint8], Sky]:
        """Return the window, each band as `look` gives it, the scene classification (20 m), and the sky."""
        above = self.weather(window)
        bands = self.look(window, above)
        at = window.halved().at
        loose = np.float32(0.85) * self.steady(*at) + np.float32(0.53) * self.fickle(*at)
        return window, bands, classify({name: halved(bands[name]) for name in FINE}, above, loose), above

    def look(self, window: Window, above: Sky) -> dict[str, Field]:
        """Return reflectance × 10000 of each band, float32; the 20 m bands at half the size."""
        light = self.ground.light[window.at]
        lumps = 1 + np.float32(0.12) * self.lumps(*window.at)
        fine = (above.cloud, above.shadow, above.haze, _THIN * above.cirrus, lumps)
        skies = {True: _Air(*fine), False: _Air(*(halved(part) for part in fine))}
        seen = {}
        for band, name in enumerate(S2_BANDS):
            value = light * self.gain[band]
            value *= self.ground.reflectance[(band, *window.at)]
            seen[name] = skies[name in FINE].over(value if name in FINE else halved(value), band)
        return seen


class _Air:
    """What is between the ground and the sensor, in a window at 10 or 20 m."""

    def __init__(self, cloud: Field, shadow: Field, haze: Field, thin: Field, lumps: Field) -> None:
        self.shadow, self.haze, self.thin = shadow, haze, thin
        self.clear, self.white = 1 - cloud, cloud * lumps

    def over(self, value: Field, band: int) -> Field:
        """Return the reflectance of a band as seen through the air, in the array of the ground's reflectance."""
        part = np.float32(SHADOW[band]) * self.shadow
        value *= np.subtract(1, part, out=part)
        value += np.multiply(self.haze, np.float32(HAZE[band]), out=part)
        value += self.thin
        value *= self.clear
        value += np.multiply(self.white, np.float32(CLOUD[band]), out=part)
        return value


CLEAN_AIR, THICKNESS = np.float32(80), np.float32(0.9)
"""Aerosol optical thickness × 1000: without haze, and per DN of haze in B02."""

_THIN = np.float32(190)
"""Cirrus, in DN of every band."""


def halved(array: Field) -> Field:
    """Return means over 2 × 2 pixels, as a 20 m band has them, float32; the sum of each row's two comes first."""
    total = array[::2, ::2] + array[::2, 1::2]
    total += array[1::2, ::2] + array[1::2, 1::2]
    total *= np.float32(0.25)
    return total


def classify(bands: dict[str, Field], above: Sky, loose: Field) -> NDArray[np.uint8]:
    """Return the scene classification at 20 m: right on land, blind to haze, and wrong on bright tailings and roofs (cloud).

    Args:
        bands: B02, B03, B04 and B08 at 20 m.
        loose: laxity of the classification, mean 0 and sd 1; much of it is the same on every date.
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
    """A product of a datatake.

    Attributes:
        processed: time of its processing.
        tile: MGRS tile.
        span: columns of the world that it covers.
        files: paths by band.
    """

    item: str
    baseline: str
    processed: dt.datetime
    tile: str
    span: slice
    files: dict[str, Path]

    @property
    def offset(self) -> int:
        """Offset of its digital numbers over 10000 · reflectance."""
        return 1000 if tuple(map(int, self.baseline.split("."))) >= (4, 0) else 0


def write_datatake(catalogue: Catalogue, ground: Ground, epoch: Epoch, take: Datatake) -> None:
    """Write every Sentinel-2 product of an overpass, window by window."""
    shape, seed, number = (epoch.geobox.shape.y, epoch.geobox.shape.x), epoch.seed, epoch.number
    half = (shape[0] // 2, shape[1] // 2)
    designator = grid_zone(epoch.geobox)
    products = [
        _product(catalogue, take, f"{designator}{square}", baseline, index, shape)
        for square in SQUARES
        for index, baseline in enumerate(take.baselines)
        if not index or square == REPROCESSED
    ]
    weather = Weather(shape, take, number, seed)
    rng = rng_of(seed, 71, number, take.number)
    gain = np.asarray(1 + 0.015 * rng.standard_normal() + 0.01 * rng.standard_normal(len(S2_BANDS)), np.float32)
    lumps, fickle = noise(shape, rng, 12, 3.0), noise(half, rng_of(seed, 72, number, take.number), 3, 2.5)
    steady = noise(half, rng_of(seed, 73), 3, 2.5)
    overpass = Overpass(take, weather, ground, gain, lumps, steady, fickle)
    _write_products(catalogue, products, map(overpass, windows(shape)), weather, epoch.geobox, take)


def _product(catalogue: Catalogue, take: Datatake, tile: str, baseline: str, reprocessed: int, shape: tuple[int, int]) -> Product:
    processed = take.start + (dt.timedelta(days=1934, hours=22) if reprocessed else dt.timedelta(hours=4, minutes=11))
    code = baseline.replace(".", "")
    item = f"{take.platform}_MSIL2A_{take.start:%Y%m%dT%H%M%S}_N{code}_R{take.orbit:03d}_T{tile}_{processed:%Y%m%dT%H%M%S}"
    first, last = (2 * round(part * shape[1] / 2) for part in SQUARES[tile[-2:]])
    folder = catalogue.folder(COLLECTION, item)
    return Product(
        item, baseline, processed, tile, slice(first, last), {name: folder / f"{name}.tif" for name in (*S2_BANDS, "SCL", "AOT")}
    )


def _write_products(
    catalogue: Catalogue,
    products: list[Product],
    parts: Iterable[tuple[Window, dict[str, Field], NDArray[np.uint8], Sky]],
    weather: Weather,
    geobox: GeoBox,
    take: Datatake,
) -> None:
    """Write the products of a datatake from the image of each window."""
    rasters = {}
    for product in products:
        fine = geobox[:, product.span]
        for name, path in product.files.items():
            box = fine if name in FINE else fine.zoom_out(2)
            rasters[path] = Raster(box, "uint8" if name == "SCL" else "uint16", 0, name != "SCL")
    counts = {product.item: np.zeros(12, np.int64) for product in products}
    with cogs(rasters) as opened:
        for window, bands, scl, above in parts:
            numbers = {name: _numbers(value, above, name in FINE) for name, value in bands.items()}
            numbers["AOT"] = _numbers(CLEAN_AIR + THICKNESS * halved(above.haze), above, False)
            for product in products:
                cols = slice(max(product.span.start, window.cols.start), min(product.span.stop, window.cols.stop))
                if cols.start >= cols.stop:
                    continue
                for name, path in product.files.items():
                    times = 1 if name in FINE else 2
                    own = slice((cols.start - window.cols.start) // times, (cols.stop - window.cols.start) // times)
                    part = scl[:, own] if name == "SCL" else numbers[name][:, own]
                    if name == "SCL":
                        counts[product.item] += np.bincount(part.ravel(), minlength=12)
                    elif product.offset and name != "AOT":
                        part = np.where(part > 1, part + np.uint16(product.offset), part)
                    at = RasterWindow((cols.start - product.span.start) // times, window.rows.start // times, part.shape[1], part.shape[0])
                    opened[path].write(part, 1, window=at)
    for product in products:
        if counts[product.item][1:].any():
            _describe(catalogue, product, counts[product.item], weather, geobox, take)
        else:
            shutil.rmtree(catalogue.folder(COLLECTION, product.item))


def _numbers(value: Field, above: Sky, fine: bool) -> NDArray[np.uint16]:
    """Return digital numbers without offset: 1 on detector edges, 0 outside the swath."""
    seen, edge = (above.seen, above.edge) if fine else (above.seen[::2, ::2], above.edge[::2, ::2])
    rounded = np.rint(value)
    numbers = np.clip(rounded, 2, 20000, out=rounded).astype(np.uint16)
    numbers[edge] = 1
    numbers[~seen] = 0
    return numbers


def _describe(catalogue: Catalogue, product: Product, counts: NDArray[np.int64], weather: Weather, geobox: GeoBox, take: Datatake) -> None:
    """Add a product to the catalogue.

    Args:
        counts: pixels of each scene class.
    """
    fine = geobox[:, product.span]
    metadata = catalogue.folder(COLLECTION, product.item) / METADATA
    metadata.write_text(product_metadata(product.item, product.baseline, product.offset), encoding="utf-8")
    total, covered = int(counts.sum()), int(counts[1:].sum())
    last = fine.shape.y - 1
    rows = [weather(Window(slice(row, row + 1), product.span, weather.shape)).seen for row in (0, last)]
    catalogue.add(
        COLLECTION,
        product.item,
        take.start,
        lonlat(_outline(fine, np.concatenate(rows)), str(geobox.crs)),
        {
            "platform": {"S2A": "sentinel-2a", "S2B": "sentinel-2b"}[take.platform],
            "constellation": "sentinel-2",
            "eo:cloud_cover": 95.0 if take.cover >= 0.95 else round(100 * float(counts[8:11].sum()) / covered, 6),
            "s2:product_uri": f"{product.item}.SAFE",
            "s2:processing_baseline": product.baseline,
            "s2:generation_time": product.processed.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "s2:datatake_id": f"G{take.platform}_{take.start:%Y%m%dT%H%M%S}_{take.absolute_orbit:06d}_N{product.baseline}",
            "s2:nodata_pixel_percentage": round(100 * (total - covered) / total, 6),
            "sat:relative_orbit": take.orbit,
            "sat:orbit_state": "descending",
            "grid:code": f"MGRS-{product.tile}",
            "proj:code": str(geobox.crs),
        },
        {name: _asset(fine if name in FINE else fine.zoom_out(2)) for name in product.files}
        | {"product_metadata": {"href": f"./{METADATA}", "type": "application/xml", "roles": ["metadata"]}},
    )


def product_metadata(product: str, baseline: str, offset: int) -> str:
    """Return the part of a product's MTD_MSIL2A.xml that the pipeline reads; offsets are listed from baseline 04.00 on."""
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
    """Return the corners of the visible part; the slanted swath edge is on the east side."""
    ring = corners(box)
    count = inside.sum(axis=1)
    if count[0] < inside.shape[1] or count[-1] < inside.shape[1]:
        ring[3, 0] = ring[0, 0] + count[0] * box.transform.a
        ring[2, 0] = ring[1, 0] + count[-1] * box.transform.a
    return ring
