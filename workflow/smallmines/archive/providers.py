"""Providers of pixels: one table with a row for each sensor of each provider.

A row states how the catalogue is asked and how assets are named. No code is specific to a provider: it depends on the values of
`access`, `signing` and `baseline`. A new provider is a new row; it needs a new value only where it behaves in a new way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS
from smallmines.sensors.scl import SCL

Sensor = Literal["s2", "s1", "dem"]

AOT = "AOT"
"""Name of the aerosol optical thickness (DN = 1000 · thickness) among the assets of Sentinel-2: for ranking only, never fetched."""

METADATA = "metadata"
"""Name of the product's metadata file (MTD_MSIL2A.xml) among the assets of Sentinel-2."""


@dataclass(frozen=True)
class Provider:
    """One sensor of one provider.

    Attributes:
        name: as in the configuration.
        access: `static`: a STAC catalogue of files, read whole and filtered here. `stac`: a STAC API. `earthengine`: an image collection of
            Earth Engine.
        catalogue: its address; None: the configuration must give it (`earthengine`: that of the library).
        collection: id of the collection in the catalogue.
        assets: keys of the assets by band (our names).
        signing: how an href is signed right before each opening, see `archive.signing`.
        endpoint: host of the service, for `s3` and `s3_anonymous`; the environment variable `SMALLMINES_<NAME>_S3_ENDPOINT` takes
            precedence.
        region: region of the service, for `s3` and `s3_anonymous`.
        alternate: name of the alternate href (STAC extension) to use; None: the main href.
        baseline: places to read the processing baseline from, the first hit wins: `metadata` is the product's XML, `product` the
            `_Nxxxx_` in the product's name (property `s2:product_uri`, else the item's id), `href` the same in a path, any other
            value a property.
        harmonised: property that is true where the +1000 offset was removed from the pixels.
        connections: most connections at a time, over all jobs of the machine.
        page: items per page of a search.
        edition: edition of the elevation model, where the provider states it.
        differs: how its products differ from the source of the paper; written into manifests where it is a fallback.
        account: the account that is needed, and where to get it; part of the error where access is refused.
    """

    name: str
    access: Literal["static", "stac", "earthengine"]
    catalogue: str | None
    collection: str
    assets: Mapping[str, str]
    signing: Literal["none", "s3", "s3_anonymous", "bearer", "planetary_computer"] = "none"
    endpoint: str | None = None
    region: str | None = None
    alternate: str | None = None
    baseline: tuple[str, ...] = ()
    harmonised: str | None = None
    connections: int = 4
    page: int = 100
    edition: str | None = None
    differs: str = ""
    account: str = "no account is needed"


_PC = "https://planetarycomputer.microsoft.com/api/stac/v1"
_EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
_PC_ACCOUNT = (
    "no account is needed at low rates; if it refuses all the same, set PC_SDK_SUBSCRIPTION_KEY to a key of your own "
    "(https://planetarycomputer.microsoft.com/docs/concepts/sas)"
)
_CDSE = Provider(
    name="cdse",
    access="stac",
    catalogue="https://stac.dataspace.copernicus.eu/v1",
    collection="sentinel-2-l2a",
    assets={band: f"{band}_{10 if band in ('B02', 'B03', 'B04', 'B08') else 20}m" for band in S2_BANDS}
    | {SCL: "SCL_20m", AOT: "AOT_20m", METADATA: "product_metadata"},
    signing="s3",
    endpoint="eodata.dataspace.copernicus.eu",
    region="default",
    # Not `raster:offset`: it is −0.1 there for every baseline.
    baseline=("metadata", "product", "href", "processing:version", "s2:processing_baseline"),
    differs="the source of the published dataset",
    account="create S3 keys at https://eodata-s3keysmanager.dataspace.copernicus.eu (free account) and set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws/credentials",
)
_ROWS: tuple[tuple[Sensor, Provider], ...] = (
    ("s2", _CDSE),
    (
        "s2",
        replace(
            _CDSE,
            name="cdse_https",
            signing="bearer",
            alternate="https",
            differs="the source of the published dataset, read through HTTPS",
            account="set CDSE_USERNAME and CDSE_PASSWORD to those of your account at https://dataspace.copernicus.eu",
        ),
    ),
    (
        "s2",
        Provider(
            name="planetary_computer",
            access="stac",
            catalogue=_PC,
            collection="sentinel-2-l2a",
            assets={band: band for band in (*S2_BANDS, SCL, AOT)} | {METADATA: "product-metadata"},
            signing="planetary_computer",
            baseline=("metadata", "product", "href", "s2:processing_baseline"),
            connections=8,
            page=1000,
            differs="products of older processing baselines for acquisitions before 25 January 2022: no +1000 offset in the files (it is "
            "added here), another Sen2Cor, and before baseline 03.00 no geometric refinement (shifts up to a pixel)",
            account=_PC_ACCOUNT,
        ),
    ),
    (
        "s2",
        Provider(
            name="earth_search",
            access="stac",
            catalogue=_EARTH_SEARCH,
            collection="sentinel-2-c1-l2a",
            assets={
                "B02": "blue",
                "B03": "green",
                "B04": "red",
                "B05": "rededge1",
                "B06": "rededge2",
                "B07": "rededge3",
                "B08": "nir",
                "B8A": "nir08",
                "B11": "swir16",
                "B12": "swir22",
                SCL: "scl",
                AOT: "aot",
                METADATA: "product_metadata",
            },
            baseline=("metadata", "product", "href", "s2:processing_baseline", "processing:version"),
            harmonised="earthsearch:boa_offset_applied",
            connections=8,
            differs="the same Collection-1 products as COGs, but not all of them: dates may be missing",
        ),
    ),
    (
        "s2",
        Provider(
            name="static",
            access="static",
            catalogue=None,
            collection="sentinel-2-l2a",
            assets={band: band for band in (*S2_BANDS, SCL, AOT)} | {METADATA: "product_metadata"},
            baseline=("metadata", "product", "s2:processing_baseline", "processing:version"),
            differs="whatever the files of the catalogue are",
        ),
    ),
    (
        "s1",
        Provider(
            name="planetary_computer",
            access="stac",
            catalogue=_PC,
            collection="sentinel-1-rtc",
            assets={"VV": "vv", "VH": "vh"},
            signing="planetary_computer",
            connections=8,
            page=1000,
            differs="the source of the published dataset",
            account=_PC_ACCOUNT,
        ),
    ),
    (
        "s1",
        Provider(
            name="static",
            access="static",
            catalogue=None,
            collection="sentinel-1-rtc",
            assets={"VV": "vv", "VH": "vh"},
            differs="whatever the files of the catalogue are",
        ),
    ),
    (
        "dem",
        Provider(
            name="earth_engine",
            access="earthengine",
            catalogue=None,
            collection="COPERNICUS/DEM/GLO30",
            assets={"DEM": "DEM"},
            differs="the source of the published dataset; the edition is that of the image collection",
            account="run `earthengine authenticate` (a Google account registered at https://code.earthengine.google.com/register), or set "
            "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, and name a project in elevation.project",
        ),
    ),
    (
        "dem",
        Provider(
            name="planetary_computer",
            access="stac",
            catalogue=_PC,
            collection="cop-dem-glo-30",
            assets={"DEM": "data"},
            signing="planetary_computer",
            connections=8,
            page=1000,
            edition="2021",
            differs="the 2021 edition of the DEM",
            account=_PC_ACCOUNT,
        ),
    ),
    (
        "dem",
        Provider(
            name="aws",
            access="stac",
            catalogue=_EARTH_SEARCH,
            collection="cop-dem-glo-30",
            assets={"DEM": "data"},
            signing="s3_anonymous",
            endpoint="s3.amazonaws.com",
            region="eu-central-1",
            connections=8,
            edition="2021",
            differs="the 2021 edition of the DEM",
        ),
    ),
    (
        "dem",
        Provider(
            name="static",
            access="static",
            catalogue=None,
            collection="cop-dem-glo-30",
            assets={"DEM": "data"},
            differs="whatever the files of the catalogue are",
        ),
    ),
)

PROVIDERS: Mapping[tuple[str, str], Provider] = MappingProxyType({(sensor, row.name): row for sensor, row in _ROWS})


def provider_of(sensor: str, name: str) -> Provider:
    """Return the row of a sensor and provider.

    Raises:
        UserError: there is none.
    """
    try:
        return PROVIDERS[sensor, name]
    except KeyError:
        names = ", ".join(row for kind, row in PROVIDERS if kind == sensor)
        raise UserError(f"a provider of {sensor}: {names}", name, "choose one of these in the config file") from None
