"""What each band of a patch is, in words that catalogues and cards share.

Wavelengths are those of Sentinel-2A's MSI (ESA, Sentinel-2 spectral response functions, document COPE-GSEG-EOPG-TN-15-0007).
"""

from __future__ import annotations

from dataclasses import dataclass

from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.patches import IMAGE_NODATA, UNITS


@dataclass(frozen=True)
class Band:
    """A band of an image.

    Attributes:
        name: as written into the GeoTIFF, e.g. B02.
        common: the common name of STAC's eo extension, empty for radar and elevation.
        meaning: in a few words.
        centre, width: wavelength and full width at half maximum in nm, 0 for radar and elevation.
        native: pixel size of the source in m.
        unit: of the values.
    """

    name: str
    common: str
    meaning: str
    centre: float
    width: float
    native: float
    unit: str


_TABLE = (
    ("blue", "blue", 492.4, 66.0, 10.0),
    ("green", "green", 559.8, 36.0, 10.0),
    ("red", "red", 664.6, 31.0, 10.0),
    ("rededge071", "red edge 1", 704.1, 15.0, 20.0),
    ("rededge075", "red edge 2", 740.5, 15.0, 20.0),
    ("rededge078", "red edge 3", 782.8, 20.0, 20.0),
    ("nir", "near infrared", 832.8, 106.0, 10.0),
    ("nir08", "narrow near infrared", 864.7, 21.0, 20.0),
    ("swir16", "shortwave infrared 1", 1613.7, 91.0, 20.0),
    ("swir22", "shortwave infrared 2", 2202.4, 175.0, 20.0),
    ("", "Sentinel-1 γ⁰ backscatter, vertical–vertical", 0.0, 0.0, 10.0),
    ("", "Sentinel-1 γ⁰ backscatter, vertical–horizontal", 0.0, 0.0, 10.0),
    ("", "Copernicus DEM GLO-30, height above EGM2008", 0.0, 0.0, 30.0),
)

BANDS = tuple(Band(name, *row, unit) for name, row, unit in zip(PATCH_BANDS, _TABLE, UNITS, strict=True))
"""The thirteen bands in order."""

DTYPE = "float32"
NODATA = IMAGE_NODATA
