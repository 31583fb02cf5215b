"""Where pixels come from: one table, a row for each sensor of each provider.

A row says how to ask and what things are called there; no provider has code of its own beyond the few words used here
(`access`, `signing`, `baseline`). A new provider is a new row, and a new word only where it does something new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from smallmines.config import S2_BANDS
from smallmines.job import UserError

Sensor = Literal["s2", "s1", "dem"]

SCL = "SCL"
"""Name of the scene classification among the bands of Sentinel-2."""

BANDS: Mapping[str, tuple[str, ...]] = MappingProxyType({"s2": S2_BANDS, "s1": ("VV", "VH"), "dem": ("DEM",)})
"""Bands that every item of a sensor must have, by our names."""


@dataclass(frozen=True)
class Provider:
    """One sensor of one provider.

    Attributes:
        access: how the catalogue is asked. `static`: a STAC catalogue of files, walked and filtered here.
        catalogue: its address, or None where the configuration must give it.
        collection: id of the collection in the catalogue.
        assets: our band names and the keys of the assets that hold them.
        signing: how an href is made readable right before each opening. `none`: it is readable as it is.
        baseline: where the processing baseline is read from, first hit wins: `product` is the `_Nxxxx_` of the
            product's name (property `s2:product_uri`, else the item's id), any other word a property.
    """

    access: Literal["static"]
    catalogue: str | None
    collection: str
    assets: Mapping[str, str]
    signing: Literal["none"] = "none"
    baseline: tuple[str, ...] = ()


PROVIDERS: Mapping[tuple[str, str], Provider] = MappingProxyType(
    {
        ("s2", "static"): Provider(
            access="static",
            catalogue=None,
            collection="sentinel-2-l2a",
            assets={band: band for band in (*S2_BANDS, SCL)},
            baseline=("product", "s2:processing_baseline", "processing:version"),
        ),
        ("s1", "static"): Provider(access="static", catalogue=None, collection="sentinel-1-rtc", assets={"VV": "vv", "VH": "vh"}),
        ("dem", "static"): Provider(access="static", catalogue=None, collection="cop-dem-glo-30", assets={"DEM": "data"}),
    }
)


def provider_of(sensor: str, name: str) -> Provider:
    """The row of a sensor and provider.

    Raises:
        UserError: there is none.
    """
    try:
        return PROVIDERS[sensor, name]
    except KeyError:
        known = ", ".join(row for kind, row in PROVIDERS if kind == sensor)
        raise UserError(f"a provider of {sensor}: {known}", name, "choose one of these in the config file") from None


def signed(href: str, provider: Provider) -> str:
    """An address GDAL can open now. Manifests keep hrefs unsigned, so that a signature never expires in them."""
    assert provider.signing == "none", provider.signing
    return href
