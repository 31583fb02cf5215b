"""Sections of the configuration for imagery and elevation: `sentinel2`, `sentinel1` and `elevation`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smallmines.config.section import Section
from smallmines.settings.search import address_of

S2Provider = Literal["cdse", "cdse_https", "planetary_computer", "earth_search", "static"]
S1Provider = Literal["planetary_computer", "static"]
DemProvider = Literal["earth_engine", "planetary_computer", "aws", "static"]


class Archive(Section):
    """A section whose pixels come from an archive: one provider, and those that may stand in for it."""

    catalogue: str | dict[str, str] | None = Field(
        None,
        description="Address in place of the provider's own (`static`: a catalog.json), or one per provider: `{cdse: …, static: …}`.",
    )

    def address(self, provider: str) -> str | None:
        """The configured address of a provider's catalogue; None: its own."""
        return address_of(self.catalogue, getattr(self, "provider", provider), provider)


class Sentinel2(Archive):
    """Sentinel-2 L2A composites."""

    provider: S2Provider = Field("cdse", description="Where scenes come from; accounts and differences: docs/archives.md.")
    fallbacks: tuple[S2Provider, ...] = Field(
        (),
        description="Providers that may stand in, in order, where the first one does not answer, refuses, or has nothing: written into "
        "manifest and tags, with what differs. Empty: none.",
    )
    radiometry: Literal["dn_plus1000", "dn_harmonised", "native"] = Field(
        "dn_plus1000",
        description="`dn_plus1000`: DN = 10000·reflectance + 1000 as in the released dataset. `dn_harmonised`: "
        "DN = 10000·reflectance. `native`: as delivered, refused when baselines with and without offset mix.",
    )
    method: Literal["best_scene", "earliest", "least_cloudy", "median"] = Field(
        "best_scene",
        description="`best_scene`: datatakes by clear share of the AOI, gaps filled from the next. `earliest`: by date. "
        "`least_cloudy`: by the catalogue's cloud cover. `median`: per-pixel median of the clear observations.",
    )
    clouds: Literal["scl", "none"] = Field("scl", description="`scl`: mask by scene classification. `none`: no mask (warned and tagged).")
    masked_classes: tuple[Annotated[int, Field(ge=0, le=11)], ...] = Field(
        (0, 1, 3, 8, 9, 10, 11), description="Scene-classification classes that are not clear."
    )
    cloud_dilation_px: int = Field(3, ge=0, le=50, description="Growth of classes 3, 8, 9 and 10, in 20 m pixels.")
    cloud_opening_px: int = Field(
        2,
        ge=0,
        le=50,
        description="Clouds and shadows that hold no disk of this radius do not grow, in 20 m pixels: "
        "the scene classification sees specks of cloud in bright tailings.",
    )
    stable_tolerance: float = Field(
        0.15,
        ge=0,
        le=1,
        description="A pixel that is never clear counts as clear where two dates agree in all bands within this share: bright "
        "tailings and roofs are taken for cloud on every date. 0: never.",
    )
    unclear: Literal["keep", "nodata"] = Field(
        "keep", description="A pixel that is never clear keeps its best observation, or becomes nodata."
    )
    max_cloud_cover: float = Field(100.0, ge=0, le=100, description="Items above this cloud cover in % are rejected.")
    minimum_clear_share: float = Field(0.0, ge=0, le=1, description="Datatakes clearer than this share of what they cover are used.")
    max_haze: float | None = Field(
        None,
        ge=0,
        description="Datatakes with a higher median aerosol optical thickness over the area are rejected, where the product has it "
        "(the scene classification does not see Harmattan haze); empty: haze is only reported.",
    )
    max_datatakes: int = Field(6, ge=1, description="At most so many datatakes are fetched, best first.")
    resampling_20m: Literal["nearest", "bilinear", "cubic"] = Field(
        "nearest", description="From 20 m to the grid; also for tiles of another zone."
    )
    reader: Literal["warpedvrt", "stackstac"] = Field(
        "warpedvrt", description="What reads the pixels: windows through GDAL's warper, or stackstac's lazy cube. The pixels are the same."
    )


class Sentinel1(Archive):
    """Sentinel-1 RTC composites (gamma nought, dB)."""

    provider: S1Provider = Field("planetary_computer", description="Where scenes come from.")
    fallbacks: tuple[S1Provider, ...] = Field(
        (),
        description="Providers that may stand in, in order, where the first one does not answer, refuses, or has nothing: written into "
        "manifest and tags, with what differs. Empty: none.",
    )
    orbit_state: Literal["auto", "ascending", "descending"] = Field("auto", description="Pass; `auto`: see `relative_orbit`.")
    relative_orbit: int | None = Field(
        None, ge=1, le=175, description="Relative orbit; empty: the one that covers most of the AOI in every year, then most items."
    )
    border_erosion_px: int = Field(10, ge=0, le=200, description="Erosion of scene borders and zero fringes, in source pixels.")
    kernel: Literal["plus", "box"] = Field("plus", description="3×3 circular mean: 5-pixel plus (weights 0.2), or the full 3×3 box.")


class Elevation(Archive):
    """Copernicus DEM GLO-30."""

    provider: DemProvider = Field("earth_engine", description="Where tiles come from.")
    fallbacks: tuple[DemProvider, ...] = Field(
        (),
        description="Providers that may stand in, in order, where the first one does not answer, refuses, or has nothing: written into "
        "manifest and tags, with what differs. Empty: none.",
    )
    asset: str = Field("COPERNICUS/DEM/GLO30", description="With `earth_engine`: the image collection, which is an edition of the DEM.")
    project: str | None = Field(
        None, description="With `earth_engine`: the Google Cloud project that requests count for; empty: that of the credentials."
    )
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="From 1″ to the grid, after mosaicking.")
