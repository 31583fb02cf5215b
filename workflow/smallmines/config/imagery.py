"""Sections of the configuration for imagery and elevation: `sentinel2`, `sentinel1` and `elevation`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from smallmines.config.section import PathText, Section
from smallmines.settings.search import address_of

S2Provider = Literal["cdse", "cdse_https", "planetary_computer", "earth_search", "static"]
S1Provider = Literal["planetary_computer", "static"]
DemProvider = Literal["earth_engine", "planetary_computer", "aws", "static"]

FALLBACKS = (
    "Providers to use, in this order, when the first one does not answer, refuses access or has no scene. "
    "Manifest and tags name the one used and how it differs."
)


class Archive(Section):
    """A section whose pixels come from an archive: a provider, and fallbacks."""

    catalogue: PathText | dict[str, PathText] | None = Field(
        None,
        description="Address of the catalogue that replaces the provider's own (`static`: a catalog.json), "
        "or one per provider: `{cdse: …, static: …}`.",
    )

    exclude_items: tuple[str, ...] = Field(
        (),
        description="Ids of items of the catalogue that are left out, such as one whose files are broken. Manifest and report name them.",
    )

    @field_validator("catalogue")
    @classmethod
    def _known_providers(cls, value: Any) -> Any:
        """Refuse an address for a provider that does not exist: a misspelt one would be searched at its own address."""
        providers = get_args(cls.model_fields["provider"].annotation) if "provider" in cls.model_fields else ()
        if isinstance(value, dict) and (unknown := sorted(set(value) - set(providers))):
            raise ValueError(f"no providers: {', '.join(unknown)}; there are {', '.join(providers)}")
        return value

    def address(self, provider: str) -> str | None:
        """Return the configured address of a provider's catalogue; None: the provider's own."""
        return address_of(self.catalogue, getattr(self, "provider", provider), provider)


class Sentinel2(Archive):
    """Sentinel-2 L2A composites."""

    provider: S2Provider = Field("cdse", description="Archive of the scenes. Accounts and differences: docs/archives.md.")
    fallbacks: tuple[S2Provider, ...] = Field(
        (),
        description=FALLBACKS,
    )
    radiometry: Literal["dn_plus1000", "dn_harmonised", "native"] = Field(
        "dn_plus1000",
        description="`dn_plus1000`: DN = 10000·reflectance + 1000 as in the released dataset. `dn_harmonised`: "
        "DN = 10000·reflectance. `native`: as delivered; baselines with and without offset must not be mixed.",
    )
    undecided: Literal["warn", "stop"] = Field(
        "warn",
        description="Where neither the pixels nor the product's metadata confirm whether an item has the offset of 1000, but only a "
        "name or the catalogue says so: `warn` in tags, index, card, report and doctor, or `stop`.",
    )
    method: Literal["best_scene", "earliest", "least_cloudy", "median"] = Field(
        "best_scene",
        description="Order of datatakes; gaps of one are filled from the next. `best_scene`: by clear share of the AOI. "
        "`earliest`: by date. `least_cloudy`: by cloud cover in the catalogue. `median`: no order, "
        "but the median of the clear observations of each pixel.",
    )
    clouds: Literal["scl", "none"] = Field(
        "scl", description="`scl`: mask by scene classification. `none`: no mask, with a warning and a tag."
    )
    masked_classes: tuple[Annotated[int, Field(ge=0, le=11)], ...] = Field(
        (0, 1, 3, 8, 9, 10, 11), description="Classes of the scene classification that are not clear."
    )
    cloud_dilation_px: int = Field(3, ge=0, le=50, description="Dilation of classes 3, 8, 9 and 10, in 20 m pixels.")
    cloud_opening_px: int = Field(
        2,
        ge=0,
        le=50,
        description="Radius in 20 m pixels. Clouds and shadows that contain no disk of this radius are not dilated: "
        "the scene classification takes specks of bright tailings for cloud.",
    )
    stable_tolerance: float = Field(
        0.15,
        ge=0,
        le=1,
        description="A pixel that is never clear counts as clear where two dates agree in all bands within this share: the scene "
        "classification takes bright tailings and roofs for cloud on every date. 0: never.",
    )
    unclear: Literal["keep", "nodata"] = Field(
        "keep", description="A pixel that is never clear keeps its best observation, or becomes nodata."
    )
    haze: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Thin cloud that the scene classification misses: an observation that is clear, but hazy against at least two other "
        "clear dates of its pixel, does not count as clear. `auto`: where products lack the aerosol optical thickness; such datatakes are "
        "also ranked by what they see without haze. `always`, `never`: in the composite, whatever the products have.",
    )
    max_cloud_cover: float = Field(100.0, ge=0, le=100, description="Items above this cloud cover in % are rejected.")
    minimum_clear_share: float = Field(
        0.0, ge=0, le=1, description="Datatakes that are clear in less than this share of the area they cover are rejected."
    )
    max_haze: float | None = Field(
        None,
        ge=0,
        description="Datatakes with a higher median aerosol optical thickness over the area are rejected, if the product has it "
        "(the scene classification does not detect Harmattan haze). Empty: haze is only reported.",
    )
    max_datatakes: int = Field(6, ge=1, description="Maximum number of datatakes that are fetched, best first.")
    resampling_20m: Literal["nearest", "bilinear", "cubic"] = Field(
        "nearest", description="Resampling of 20 m bands to the grid, and of tiles of another UTM zone."
    )
    reader: Literal["warpedvrt", "stackstac"] = Field(
        "warpedvrt", description="Reader of the pixels: windows through GDAL's warper, or stackstac's lazy cube. Both give the same pixels."
    )

    @field_validator("masked_classes")
    @classmethod
    def _some_class(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse a mask that masks nothing, though the tags of all images say that clouds are masked."""
        if not value:
            raise ValueError("no class is masked; for images without a cloud mask write sentinel2.clouds: none")
        return value

    @field_validator("max_cloud_cover")
    @classmethod
    def _percent(cls, value: float) -> float:
        """Refuse a share in the place of a percentage."""
        if 0 < value < 1:
            raise ValueError(f"a percentage: write {100 * value:g} for a share of {value:g}")
        return value


class Sentinel1(Archive):
    """Sentinel-1 RTC composites (gamma nought, dB)."""

    provider: S1Provider = Field("planetary_computer", description="Archive of the scenes.")
    fallbacks: tuple[S1Provider, ...] = Field(
        (),
        description=FALLBACKS,
    )
    orbit_state: Literal["auto", "ascending", "descending"] = Field(
        "auto", description="Direction of the pass. `auto`: that of `relative_orbit`."
    )
    relative_orbit: int | None = Field(
        None,
        ge=1,
        le=175,
        description="Relative orbit. Empty: the one that covers most of the AOI in every year; of several, the one with most items.",
    )
    border_erosion_px: int = Field(10, ge=0, le=200, description="Erosion at borders of scenes and at fringes of zeros, in source pixels.")
    kernel: Literal["plus", "box"] = Field("plus", description="Mean filter: `plus` is 5 pixels of weight 0.2, `box` is 3×3 pixels.")


class Elevation(Archive):
    """Copernicus DEM GLO-30."""

    provider: DemProvider = Field("earth_engine", description="Archive of the tiles.")
    fallbacks: tuple[DemProvider, ...] = Field(
        (),
        description=FALLBACKS,
    )
    asset: str = Field("COPERNICUS/DEM/GLO30", description="With `earth_engine`: the image collection, one edition of the DEM.")
    project: str | None = Field(
        None, description="With `earth_engine`: the Google Cloud project to which requests are charged. Empty: that of the credentials."
    )
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="Resampling from 1″ to the grid, after mosaicking.")
