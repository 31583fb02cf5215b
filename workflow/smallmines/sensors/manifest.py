"""Types of the items of an archive, of manifests and of fetched lists; `manifest_files` reads and writes the two.

A manifest (`manifests/<year>/<sensor>.json`) records which items of an archive a year is made of. A fetched list
(`fetched/<year>/<block>/<sensor>.json`) names the cached files of one block; composites read it and know nothing else of archives.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from smallmines.core.product import S2_BANDS


@dataclass(frozen=True)
class Item:
    """An item of a catalogue: of a static STAC catalogue, a STAC API or Earth Engine.

    Attributes:
        id: id in the catalogue.
        datetime: time of acquisition, UTC, `YYYY-MM-DDTHH:MM:SSZ`.
        geometry: footprint, GeoJSON in degrees; None: unknown, treated as anywhere.
        properties: the catalogue's properties.
        hrefs: addresses of the assets by band (our names), unsigned.
        grids: by band, what the catalogue says of the asset's grid: `proj:code`, `proj:transform`, `proj:shape`;
            of Earth Engine also `dtype`.
    """

    id: str
    datetime: str
    geometry: dict[str, Any] | None
    properties: dict[str, Any]
    hrefs: dict[str, str]
    grids: dict[str, dict[str, Any]]

    @property
    def day(self) -> dt.date:
        """Date of acquisition in UTC."""
        return dt.date.fromisoformat(self.datetime[:10])


@dataclass(frozen=True)
class Entry:
    """A chosen item, as manifests and fetched lists state it. Elevation has these fields and no others.

    Attributes:
        id: id in the catalogue.
        index: number of the item in the year, from 1, in rank order; the value of its pixels in `s2_source.tif`.
        datatake: Sentinel-2: platform and sensing start; Sentinel-1: platform and absolute orbit; elevation: the id.
        rank: rank of the datatake, from 1; the best comes first.
        datetime: time of acquisition, UTC, `YYYY-MM-DDTHH:MM:SSZ`.
    """

    id: str
    index: int
    datatake: str
    rank: int
    datetime: str


@dataclass(frozen=True)
class Sentinel2Entry(Entry):
    """A chosen Sentinel-2 item.

    Attributes:
        tile: MGRS tile with a leading T, such as `T30NXN`.
        platform: as in the catalogue; None where the catalogue lacks it.
        cloud_cover: of the whole tile in %, as in the catalogue; None where the catalogue lacks it.
        baseline: processing baseline as an integer (05.00 is 500).
        offset: whether the digital numbers carry the +1000 offset.
        optical_thickness: whether the product has the aerosol optical thickness; where it lacks it, composites look for haze themselves.
            True in manifests of versions that did not record it.
        declared_by: what `offset` follows from: `metadata` (the product's MTD_MSIL2A.xml), `product` (its name), `href` (the name in a
            path) or the name of a property of the catalogue; `unknown` in manifests of earlier versions.
    """

    tile: str
    platform: str | None
    cloud_cover: float | None
    baseline: int
    offset: bool
    optical_thickness: bool = True
    declared_by: str = "unknown"


@dataclass(frozen=True)
class Sentinel1Entry(Entry):
    """A chosen Sentinel-1 item.

    Attributes:
        platform: as in the catalogue; None where the catalogue lacks it.
        orbit_state: `ascending` or `descending`.
        relative_orbit: number of the relative orbit.
    """

    platform: str | None
    orbit_state: str
    relative_orbit: int


@dataclass(frozen=True)
class Datatake:
    """A datatake (Sentinel-1: a pass) that was ranked.

    Attributes:
        datatake: see `Entry`.
        rank: from 1; None: rejected.
        clear_share: share of the area's cells (0 to 1, six digits) that it sees clearly; Sentinel-1: as `covered_share`.
        covered_share: share of the area's cells with data; Sentinel-1: under the footprints.
        items: ids of its items.
    """

    datatake: str
    rank: int | None
    clear_share: float
    covered_share: float
    items: list[str]


@dataclass(frozen=True)
class Sentinel2Datatake(Datatake):
    """A Sentinel-2 datatake that was ranked.

    Attributes:
        date: day of acquisition, `YYYY-MM-DD`.
        cloud_cover: mean of its items in %; None where the catalogue lacks it.
        haze: median aerosol optical thickness of the clear pixels (no unit); None where the products lack it.
        hazy_share: share of the area's cells that it sees clearly by the scene classification, but hazily against the other dates; None
            where it was not measured: the products have the optical thickness, or there are fewer than three dates.
    """

    date: str
    cloud_cover: float | None
    haze: float | None
    hazy_share: float | None = None


@dataclass(frozen=True)
class Orbit:
    """A Sentinel-1 orbit that was considered.

    Attributes:
        orbit_state: `ascending` or `descending`.
        relative_orbit: number of the relative orbit.
        items: number of its items in all years.
        covered_share: share of the area's cells under its footprints, by year (0 to 1, six digits).
    """

    orbit_state: str
    relative_orbit: int
    items: int
    covered_share: dict[str, float]


@dataclass(frozen=True)
class Query:
    """The query of a search.

    Attributes:
        collection: id of the collection.
        year: the epoch, or `static`.
        windows: first and last day (`YYYY-MM-DD`) by year; empty for elevation.
        settings: the keys of the sensor's section that the rule `search` reads, without `project`.
    """

    collection: str
    year: str
    windows: dict[str, list[str]]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Fallback:
    """Why another provider than the first one was used.

    Attributes:
        instead_of: name of the first provider.
        why: its error, redacted.
        differs: how the products of the provider that was used differ.
    """

    instead_of: str
    why: str
    differs: str


@dataclass(frozen=True)
class Dropped:
    """An item that is left out although it lies on the area and in the dates: broken, without what is needed, or excluded by name.

    Attributes:
        id: id in the catalogue.
        reason: why, as in `Manifest.rejected`.
        share: share of the area's cells under its footprint (0 to 1, six digits).
    """

    id: str
    reason: str
    share: float


@dataclass(frozen=True)
class ManifestItem:
    """A chosen item with its place in the archive.

    Attributes:
        entry: `Sentinel2Entry`, `Sentinel1Entry`, or `Entry` for elevation; in the file its keys stand beside the others.
        geometry: footprint, GeoJSON in degrees; None: unknown, treated as anywhere.
        hrefs: addresses by band, unsigned; only the bands that are fetched.
    """

    entry: Entry
    geometry: dict[str, Any] | None
    hrefs: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """The content of `manifests/<year>/<sensor>.json`.

    Attributes:
        sensor: s2, s1 or dem.
        provider: name of the provider that was used.
        catalogue: address of its catalogue; None: that of the provider's library.
        asked: time of the search, UTC, `YYYY-MM-DDTHH:MM:SSZ`.
        edition: edition of the elevation model where the provider states it, else None.
        query: the query of the search.
        chosen: the chosen items by index.
        rejected: reasons by item id; in the file a list of `id` and `reason`, sorted by id.
        datatakes: all datatakes in rank order. This and all that follow are left out of the file where they are None.
        notes: contradictions between catalogue, metadata and files.
        orbit: Sentinel-1: the chosen orbit.
        orbits: Sentinel-1: all orbits that the settings allow, the best first.
        fallback: where another provider than the first one was used.
        dropped: items that were left out for another reason than their rank.
    """

    sensor: str
    provider: str
    catalogue: str | None
    asked: str
    edition: str | None
    query: Query
    chosen: tuple[ManifestItem, ...]
    rejected: dict[str, str]
    datatakes: tuple[Datatake, ...] | None = None
    notes: tuple[str, ...] | None = None
    orbit: Orbit | None = None
    orbits: tuple[Orbit, ...] | None = None
    fallback: Fallback | None = None
    dropped: tuple[Dropped, ...] | None = None


E = TypeVar("E", bound=Entry)
T = TypeVar("T")


@dataclass(frozen=True)
class FetchedItem(Generic[E]):
    """A chosen item that reaches a block.

    Attributes:
        entry: as in the manifest; in the file its keys stand beside `files`.
        files: paths of the cached files by band.
        sizes: their sizes in bytes by band; None in lists of versions that did not record them.
    """

    entry: E
    files: dict[str, str]
    sizes: dict[str, int] | None = None


@dataclass(frozen=True)
class Scene:
    """An item of the year, also where it misses the block.

    Attributes:
        id: id in the catalogue.
        index: see `Entry`.
        baseline: Sentinel-2: see `Sentinel2Entry`; None (left out of the file) for other sensors.
    """

    id: str
    index: int
    baseline: int | None = None


@dataclass(frozen=True)
class Fetched(Generic[E]):
    """The content of `fetched/<year>/<block>/<sensor>.json`.

    Attributes:
        sensor: s2, s1 or dem.
        block: number of the block.
        provider, fallback, edition: as in the manifest.
        scenes: all chosen items of the year by index.
        items: those that reach the block, in rank order.
    """

    sensor: str
    block: str
    provider: str
    fallback: Fallback | None
    edition: str | None
    scenes: tuple[Scene, ...]
    items: tuple[FetchedItem[E], ...]

    def provider_tags(self) -> dict[str, str]:
        """Tags of composites: FALLBACK, where another provider than the first one was used, and EDITION, where it is stated."""
        tags = {}
        if self.fallback:
            tags["FALLBACK"] = f"{self.provider} instead of {self.fallback.instead_of}: {self.fallback.differs}"
        return tags | ({"EDITION": str(self.edition)} if self.edition else {})


BANDS: Mapping[str, tuple[str, ...]] = MappingProxyType({"s2": S2_BANDS, "s1": ("VV", "VH"), "dem": ("DEM",)})
"""Bands that every item of a sensor must have (our names)."""

ENTRIES: Mapping[str, type[Entry]] = {"s2": Sentinel2Entry, "s1": Sentinel1Entry, "dem": Entry}
"""The type of an entry by sensor."""
