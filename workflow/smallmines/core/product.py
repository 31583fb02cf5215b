"""Format of the product: bands, classes, nodata, splits, file names and GeoTIFF form of the dataset's patches.

Imports only the standard library, so that the loaders of the published dataset can use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

S2Band = Literal["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]

S2_BANDS: tuple[str, ...] = get_args(S2Band)
"""Sentinel-2 bands of a patch, in order; B02, B03, B04 and B08 are 10 m bands, the others 20 m."""

OFFSET = 1000
"""Digital numbers that are added to 10000 · reflectance of Sentinel-2 since processing baseline 04.00."""

PROVES_NONE = 800
"""DN. A darkest percentile below this proves that there is no offset: no surface is darker than −2 % reflectance. Of real images
without the offset, those that show the ground have 1 to 745."""

SUGGESTS_OFFSET = 900
"""DN. Lowest level of dark ground with the offset: without it real images have a 0.1-percentile of −52 at lowest."""


@dataclass(frozen=True)
class Band:
    """A band of an image.

    Attributes:
        name: as written into the GeoTIFF, e.g. B02.
        unit: of the values: DN (digital number), dB or m.
        meaning: what the band measures, in a few words.
        common: common name of STAC's eo extension; empty for radar and elevation.
        centre, width: wavelength and full width at half maximum in nm; 0 for radar and elevation. Those of Sentinel-2A's MSI (ESA,
            Sentinel-2 spectral response functions, document COPE-GSEG-EOPG-TN-15-0007).
    """

    name: str
    unit: str
    meaning: str
    common: str = ""
    centre: float = 0.0
    width: float = 0.0


BANDS = (
    Band("B02", "DN", "blue", "blue", 492.4, 66.0),
    Band("B03", "DN", "green", "green", 559.8, 36.0),
    Band("B04", "DN", "red", "red", 664.6, 31.0),
    Band("B05", "DN", "red edge 1", "rededge071", 704.1, 15.0),
    Band("B06", "DN", "red edge 2", "rededge075", 740.5, 15.0),
    Band("B07", "DN", "red edge 3", "rededge078", 782.8, 20.0),
    Band("B08", "DN", "near infrared", "nir", 832.8, 106.0),
    Band("B8A", "DN", "narrow near infrared", "nir08", 864.7, 21.0),
    Band("B11", "DN", "shortwave infrared 1", "swir16", 1613.7, 91.0),
    Band("B12", "DN", "shortwave infrared 2", "swir22", 2202.4, 175.0),
    Band("VV", "dB", "Sentinel-1 γ⁰ backscatter, vertical–vertical"),
    Band("VH", "dB", "Sentinel-1 γ⁰ backscatter, vertical–horizontal"),
    Band("DEM", "m", "Copernicus DEM GLO-30, height above EGM2008"),
)
"""The thirteen bands of an image, in the order of the released dataset."""

PATCH_BANDS = tuple(band.name for band in BANDS)
UNITS = tuple(band.unit for band in BANDS)

S2 = slice(0, len(S2_BANDS))
S1 = slice(len(S2_BANDS), len(S2_BANDS) + 2)
"""Positions of the Sentinel-2 and Sentinel-1 bands in an image; the elevation is the last band."""

LARGEST_DB = 60
"""Limit of the absolute backscatter in dB. A wrapped nodata value (55537) and linear power of corner reflectors lie beyond."""

CLASSES = ("not_mining", "mining")
"""Class names; the position of a class is its value in the masks."""

IMAGE_NODATA = -9999.0
MASK_NODATA = 255
"""In a mask: no Sentinel-2 data, or a label left open."""

SPLITS = ("train", "val", "test")
BUFFER = "buffer"
"""Stands in place of a split for tiles that are in none, because they lie too near to a tile of another split."""

Kind = Literal["IMAGE", "MASK"]


@dataclass(frozen=True)
class PatchFormat:
    """GeoTIFF form of a kind of patch.

    Attributes:
        kind: name of the folder of these patches.
        prefix: first part of the file names.
        bands, units: descriptions and units of the bands, in order.
        dtype, nodata: of all bands.
    """

    kind: Kind
    prefix: str
    bands: tuple[str, ...]
    units: tuple[str, ...]
    dtype: str
    nodata: float


IMAGE = PatchFormat("IMAGE", "IMG", PATCH_BANDS, UNITS, "float32", IMAGE_NODATA)
MASK = PatchFormat("MASK", "MASK", ("mask",), ("",), "uint8", MASK_NODATA)

FORMATS: dict[str, PatchFormat] = {"IMAGE": IMAGE, "MASK": MASK}
KINDS: tuple[Kind, ...] = get_args(Kind)


def patch_profile(side: int) -> dict[str, Any]:
    """Layout of a patch of `side` × `side` pixels for `rasterio`: one strip a band.

    It compresses best, and a reader of three bands reads no more than three.
    """
    return {"tiled": False, "blockysize": side, "interleave": "band", "zlevel": 6}


PATCH_NAME = re.compile(r"(?P<prefix>IMG|MASK)_(?:[A-Z]{2}_)?(?P<tile_id>\w+)_(?P<year>\d{4})\.tiff?")
"""Pattern of a patch's file name; the release's tables of splits leave the country out."""


class PatchName(NamedTuple):
    """Parts of a patch's file name; `prefix` is `IMG` or `MASK`."""

    prefix: str
    tile_id: str
    year: str


def patch_name(kind: str, country: str, tile_id: str, year: str) -> str:
    """Return the file name of a patch as in the released dataset, e.g. `IMG_GH_0001_2016.tif`."""
    return f"{FORMATS[kind].prefix}_{country}_{tile_id}_{year}.tif"


def patch_path(kind: str, country: str, tile_id: str, year: str) -> str:
    """Return the path of a patch from the dataset's folder, e.g. `2016/IMAGE/IMG_GH_0001_2016.tif`."""
    return f"{year}/{kind}/{patch_name(kind, country, tile_id, year)}"


def parse_patch_name(name: str) -> PatchName | None:
    """Return the parts of a patch's file name, or None for any other name."""
    match = PATCH_NAME.fullmatch(name)
    return None if match is None else PatchName(*match.groups())
