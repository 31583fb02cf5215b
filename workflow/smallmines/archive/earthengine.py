"""Read from Earth Engine: list the images of a collection, and read windows of an image on its own grid.

Pixels are requested on the native grid and resampled by the code that resamples those of all providers, so that providers can be
compared. A request is limited to 48 MB of uncompressed data; larger windows are requested in strips.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from smallmines.archive.providers import Provider
from smallmines.archive.signing import refusal
from smallmines.core.errors import UserError
from smallmines.core.redaction import redacted

PREFIX = "ee://"
"""Prefix of an href: `ee://<id of the image>`."""

REQUEST_BYTES = 48_000_000
"""Most uncompressed bytes of a request (https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels)."""

REQUEST_SIDE = 32_000
"""Most pixels of a request in either direction, see there."""

TRANSFORM = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
"""Earth Engine's names of the six numbers of a transform, in the order of `Affine`."""


def connect(provider: Provider, address: str | None, project: str | None) -> None:
    """Initialise the Earth Engine library, once per process.

    Args:
        address: of the service, in place of Google's.
        project: the Google Cloud project; None: that of the credentials.

    Raises:
        UserError: no credentials, no project, or a refusal.
    """
    try:
        _initialise(address, project)
    except Exception as error:
        text = redacted(" ".join(str(error).split()))
        raise UserError(f"a connection to Earth Engine, provider {provider.name}", text, provider.account) from error


@functools.cache
def _initialise(address: str | None, project: str | None) -> None:
    import ee

    ee.deprecation._FetchDataCatalogStac = lambda: {}  # notices about old assets, for which the library contacts another host
    ee.Initialize(_credentials() or "persistent", url=address, project=project)


def _credentials() -> Any:
    """Return the service account of GOOGLE_APPLICATION_CREDENTIALS, or None: then the library looks for a user's credentials."""
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path or not Path(path).is_file() or json.loads(Path(path).read_text(encoding="utf-8")).get("type") != "service_account":
        return None
    import ee
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_file(path, scopes=ee.oauth.SCOPES)


def list_images(collection: str, region: Mapping[str, Any], provider: Provider) -> list[dict[str, Any]]:
    """Return the images of a collection that intersect a region (GeoJSON in degrees), as Earth Engine describes them.

    Raises:
        UserError: no such collection, or no access to it.
    """
    import ee

    try:
        answer = ee.data.listImages({"parent": collection, "region": json.dumps(region)})
    except Exception as error:
        refused = refusal(f"the image collection {collection}", error, provider)
        do = "check elevation.asset in the config file" if "not found" in str(error).lower() else refused.do
        raise UserError(refused.expected, refused.found, do) from error
    return list(answer.get("images") or [])


def grid_of(image: Mapping[str, Any], band: str) -> dict[str, Any]:
    """Return CRS, transform (six numbers, in the order a b c d e f of `Affine`), shape and dtype of a band.

    Raises:
        UserError: the image has no such band.
    """
    bands = {str(entry["id"]): entry for entry in image.get("bands") or []}
    if band not in bands:
        raise UserError(f"a band {band} in {image.get('id')}", ", ".join(bands) or "no bands", "check elevation.asset in the config file")
    grid = bands[band]["grid"]
    t = grid["affineTransform"]
    precision = str((bands[band].get("dataType") or {}).get("precision", "FLOAT"))
    return {
        "proj:code": grid["crsCode"],
        "proj:transform": [float(t.get(key, 0)) for key in TRANSFORM],
        "proj:shape": [int(grid["dimensions"]["height"]), int(grid["dimensions"]["width"])],
        "dtype": {"FLOAT": "float32", "DOUBLE": "float64"}.get(precision, "int32"),
    }


@dataclass(frozen=True)
class EarthEngineImage:
    """A band of an image, with the attributes and the method of a `rasterio.DatasetReader` that `fetch` uses.

    Attributes:
        name: id of the image.
        band: name of the band.
        crs, transform, height, width, dtypes, nodata: as in rasterio.
    """

    name: str
    band: str
    crs: CRS
    transform: Affine
    height: int
    width: int
    dtypes: tuple[str, ...]
    nodata: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def read(self, index: int, window: Window) -> NDArray[Any]:
        """Read a window of the band, (row, column)."""
        row, col, height, width = (int(value) for value in (window.row_off, window.col_off, window.height, window.width))
        rows = min(max(1, REQUEST_BYTES // (width * np.dtype(self.dtypes[index - 1]).itemsize)), REQUEST_SIDE)
        parts = [self._part(Window(col, top, width, min(rows, row + height - top))) for top in range(row, row + height, rows)]
        return np.concatenate(parts)

    def _part(self, window: Window) -> NDArray[Any]:
        import ee

        corner = self.transform @ Affine.translation(window.col_off, window.row_off)
        pixels = ee.data.computePixels(
            {
                "expression": ee.Image(self.name).select([self.band]),
                "fileFormat": "NUMPY_NDARRAY",
                "grid": {
                    "dimensions": {"width": int(window.width), "height": int(window.height)},
                    "affineTransform": dict(zip(TRANSFORM, corner[:6], strict=True)),
                    "crsCode": self.crs.to_string(),
                },
            }
        )
        values: NDArray[Any] = pixels[self.band].astype(self.dtypes[0], copy=False)
        if values.shape != (int(window.height), int(window.width)):
            raise UserError(f"{window.height} × {window.width} px of {self.name}", f"{values.shape}", "report this, with the log")
        return values


def open_image(href: str, band: str, provider: Provider) -> EarthEngineImage:
    """Open the image of an `ee://` href, on its own grid.

    Raises:
        UserError: it is not there, or has no such band.
    """
    import ee

    name = href.removeprefix(PREFIX)
    try:
        image = ee.data.getAsset(name)
    except Exception as error:
        raise refusal(name, error, provider) from error
    grid = grid_of(image, provider.assets[band])
    height, width = grid["proj:shape"]
    crs, transform = CRS.from_user_input(grid["proj:code"]), Affine(*grid["proj:transform"])
    return EarthEngineImage(name, provider.assets[band], crs, transform, height, width, (grid["dtype"],))
