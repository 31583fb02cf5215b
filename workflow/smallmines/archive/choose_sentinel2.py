"""Choose Sentinel-2 items: drop superseded products and clouds, rank whole datatakes by what they see of the area."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.archive.catalogue import number_of
from smallmines.archive.choice import NO_DATA, OTHER_LEVEL, UNDECLARED, UNIDENTIFIED, Area, Choice, Rejected, merged, platform_of
from smallmines.archive.haze import with_hazy_shares
from smallmines.archive.providers import AOT, METADATA, Provider
from smallmines.archive.read import Source, sampled
from smallmines.archive.reprocessed import Product, drop_reprocessed, order_of
from smallmines.archive.signing import ABSENT, text_of
from smallmines.archive.sources import Claim, grid_notes, header_of, read_checked, read_numbers, zone_of
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.sensors.manifest import Item, Sentinel2Datatake, Sentinel2Entry
from smallmines.sensors.radiometry import (
    PUBLISHED_BASELINES,
    baseline_of,
    declared_offset,
    has_offset,
    read_metadata,
    require_quantification,
)
from smallmines.sensors.scl import SCL, VEGETATION, clear_mask
from smallmines.settings.search import SearchSentinel2

AOT_SCALE = 1000.0
"""Digital numbers of the aerosol optical thickness per unit."""

_PRODUCT = re.compile(r"(?P<platform>S2[A-Z])_MSIL2A_(?P<start>\d{8}T\d{6})_(?:N\d{4}_)?R\d{3}_(?P<tile>T\w{5})(?:_(?P<made>\d{8}T\d{6}))?")
_LEVEL_1C = re.compile(r"MSIL1C|MSI1C|^L1C$|^Level-1C$")
_DATATAKE = re.compile(r"G(?P<platform>S2[A-Z])_(?P<start>\d{8}T\d{6})_")


class Scenes:
    """What items show of the area's cells, on every 8th pixel, read when it is asked for.

    Attributes:
        notes: contradictions between the catalogue's grids and the files' headers.
    """

    def __init__(self, products: Mapping[str, Product], provider: Provider, settings: SearchSentinel2, area: Area) -> None:
        """Read nothing yet. `products` is by item id."""
        self.products, self.provider, self.settings, self.area = products, provider, settings, area
        self.notes: list[str] = []
        self._read: dict[str, bytes] = {}  # compressed, since a year of a large area has hundreds of items of some MB

    def classes(self, item: Item) -> NDArray[np.uint8]:
        """Return the scene classes of an item, 0 = no data, (row, column). Without a cloud mask all that has data is vegetation.

        Has data what has a scene class and B02 above 0. B02 is asked by an overview; JP2 files have none that is cheap to read, and there
        the scene class alone decides.

        Raises:
            UserError: a file is missing, refused, or not what the catalogue says.
        """
        if item.id in self._read:
            return np.frombuffer(zlib.decompress(self._read[item.id]), np.uint8).reshape(self.area.cells.shape)
        if self.settings.clouds == "scl":
            classes = self.numbers(item, SCL)
            classes[~self._sampled(item)] = 0
        else:
            classes = (self.numbers(item, "B02") > 0) * np.uint8(VEGETATION)
        self._read[item.id] = zlib.compress(classes.tobytes(), 1)
        return classes

    def pixels(self, item: Item) -> NDArray[np.bool_] | None:
        """Return where an item has data, (row, column); None where its file is not there."""
        try:
            return self.classes(item) > 0
        except UserError as error:
            if not ABSENT.search(error.found):  # a temporary failure must not change the choice
                raise
            return None

    def forget(self, names: Iterable[str]) -> None:
        """Free what was read of items, by their ids."""
        for name in names:
            self._read.pop(name, None)

    def numbers(self, item: Item, band: str) -> NDArray[Any]:
        """Read a band on the area's grid, nearest."""
        claim = self._claim(item, band)

        def read(source: Source) -> NDArray[Any]:
            self.notes += grid_notes(item.id, band, item.grids.get(band, {}), header_of(source))
            return read_numbers(source, self.area.geobox, "nearest", claim)

        numbers: NDArray[Any] = read_checked(claim, self.provider, read)
        return numbers

    def _sampled(self, item: Item) -> NDArray[np.bool_]:
        """Return where B02 is above 0, True everywhere for JP2, (row, column)."""

        def read(source: Source) -> NDArray[np.bool_]:
            if source.driver == "JP2OpenJPEG":
                return np.ones(tuple(self.area.geobox.shape), bool)
            return np.asarray(sampled(source, self.area.geobox) > 0)

        pixels: NDArray[np.bool_] = read_checked(self._claim(item, "B02"), self.provider, read)
        return pixels

    def _claim(self, item: Item, band: str) -> Claim:
        return Claim("s2", item.id, band, item.hrefs[band], item.geometry, self.products[item.id].tile)


def choose_sentinel2(items: list[Item], provider: Provider, settings: SearchSentinel2, area: Area, rejected: Rejected) -> Choice:
    """Drop superseded and cloudy items, rank whole datatakes, keep the best ones.

    Returns:
        Entries in rank order, all datatakes in rank order, and notes on contradictory metadata.
    """
    products = {item.id: product for item in items if (product := product_of(item, provider)) is not None}
    items = rejected.sieve(items, _of_another_level)
    items = rejected.sieve(items, lambda item: None if item.id in products else UNIDENTIFIED[0])
    items = rejected.sieve(items, lambda item: undeclared(item, products[item.id].baseline, provider))
    scenes = Scenes(products, provider, settings, area)
    items, complementary = drop_reprocessed(items, products, area, scenes.pixels, rejected)
    scenes.forget(rejected)
    items = rejected.sieve(items, lambda item: _cloudy(item, settings.max_cloud_cover))
    by_name = {item.id: item for item in items}
    datatakes = _datatakes(items, scenes)
    datatakes = with_hazy_shares(
        datatakes, by_name, lambda item: radiometry_of(item, products[item.id].baseline, provider)[0].offset, scenes.numbers, settings, area
    )
    ranking = _rank(datatakes, settings, rejected)
    chosen = [(by_name[name], take, take.rank) for take in ranking if take.rank for name in take.items]
    entries: list[Sentinel2Entry] = []
    notes = _without_cloud_cover([item for item, _, _ in chosen], settings.max_cloud_cover)
    for index, (item, take, rank) in enumerate(chosen, 1):
        declared, contradictions = radiometry_of(item, products[item.id].baseline, provider)
        notes += contradictions
        entries.append(
            Sentinel2Entry(
                id=item.id,
                index=index,
                datatake=take.datatake,
                rank=rank,
                datetime=item.datetime,
                tile=products[item.id].tile,
                platform=platform_of(item),
                cloud_cover=_cloud_cover(item),
                baseline=declared.baseline,
                offset=declared.offset,
                optical_thickness=take.haze is not None or (AOT in item.hrefs and take.clear_share == 0),
                declared_by=declared.by,
            )
        )
    for note in notes:
        logger.warning(note)
    return Choice(entries, ranking, merged(notes, scenes.notes, complementary))


def product_of(item: Item, provider: Provider) -> Product | None:
    """Identify a Sentinel-2 item by its product name, else by its properties; None without a processing baseline."""
    properties = item.properties
    name = _name_of(item)
    take = name or _DATATAKE.search(str(properties.get("s2:datatake_id") or ""))
    datatake = (
        f"{take['platform']}_{take['start']}" if take else f"{properties.get('platform', 'S2')}_{re.sub('[^0-9T]', '', item.datetime)}"
    )
    tile = name["tile"] if name else str(properties.get("grid:code") or properties.get("s2:mgrs_tile") or item.id).removeprefix("MGRS-")
    tile = tile if tile.startswith("T") and len(tile) == 6 else f"T{tile}" if len(tile) == 5 else tile
    processed = re.sub(r"[^0-9]", "", str(properties.get("s2:generation_time") or (name and name["made"]) or ""))[:14]
    baseline = baseline_of(item.id, properties, provider.baseline, next(iter(item.hrefs.values()), ""))
    if baseline is None:
        baseline = metadata_of(item, provider)[0]
    return None if baseline is None else Product(datatake, tile, baseline, processed)


def _of_another_level(item: Item) -> str | None:
    """Return why an item holds no surface reflectance, or None."""
    names = [item.id, *(str(item.properties.get(key) or "") for key in ("s2:product_uri", "s2:product_type", "processing:level"))]
    return f"{OTHER_LEVEL}: Level-1C, top of atmosphere" if any(_LEVEL_1C.search(name) for name in names) else None


def _cloud_cover(item: Item) -> float | int | None:
    """Return the cloud cover in % that the catalogue states, also one written as text."""
    value = item.properties.get("eo:cloud_cover")
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d+)?", value, re.ASCII) else number_of(value)


def _without_cloud_cover(items: Sequence[Item], limit: float) -> list[str]:
    """Note items to which `max_cloud_cover` cannot be applied."""
    names = [item.id for item in items if _cloud_cover(item) is None] if limit < 100 else []
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"max_cloud_cover is not applied to items without a cloud cover in the catalogue: {listed}"] if names else []


def _cloudy(item: Item, limit: float) -> str | None:
    cover = _cloud_cover(item)
    return f"too cloudy: {cover} % above {limit} %" if cover is not None and cover > limit else None


def _datatakes(items: Sequence[Item], scenes: Scenes) -> list[Sentinel2Datatake]:
    """Group items by datatake and measure what each datatake sees; ranks are None.

    In a datatake the items of the grid's zone come first, since those of another zone are resampled, then by tile, the best processing
    first. Where items overlap the first with data wins.
    """
    by_datatake: dict[str, list[Item]] = {}

    def order(item: Item) -> tuple[Any, ...]:
        product = scenes.products[item.id]
        return product.datatake, _is_foreign(item, product.tile, scenes.area), product.tile, *order_of(product, item.id)

    for item in sorted(items, key=order):
        by_datatake.setdefault(scenes.products[item.id].datatake, []).append(item)
    datatakes = []
    for name, members in by_datatake.items():
        clear, covered, haze = seen_by(members, scenes)
        scenes.forget(item.id for item in members)
        cover = [value for item in members if (value := _cloud_cover(item)) is not None]
        datatakes.append(
            Sentinel2Datatake(
                datatake=name,
                rank=None,
                clear_share=clear,
                covered_share=covered,
                items=[item.id for item in members],
                date=str(members[0].day),
                cloud_cover=round(float(np.mean(cover)), 6) if cover else None,
                haze=haze,
            )
        )
        thickness = "" if haze is None else f", aerosol optical thickness {haze:.3f}"
        logger.info("%s: clear on %.1f %%, data on %.1f %% of the area%s", name, 100 * clear, 100 * covered, thickness)
    return datatakes


def _is_foreign(item: Item, tile: str, area: Area) -> bool:
    """Return whether the files of an item lie in another CRS than the grid: by the zone of the tile, else by the catalogue."""
    stated = [grid["proj:code"] for grid in item.grids.values() if "proj:code" in grid]
    zone = zone_of(tile) or (stated[0] if stated else None)
    return zone is not None and area.geobox.crs != zone


def _rank(takes: Iterable[Sentinel2Datatake], settings: SearchSentinel2, rejected: Rejected) -> tuple[Sentinel2Datatake, ...]:
    """Sort datatakes, the best first, and number those that are kept; the items of the others are rejected."""
    ranking = []
    kept = 0
    for take in sorted(takes, key=lambda take: (*_merit(take, settings.method), take.date, take.datatake)):
        reason = _unfit(take, settings, kept)
        if reason is None:
            kept += 1
        else:
            rejected.update(dict.fromkeys(take.items, reason))
        ranking.append(replace(take, rank=None if reason else kept))
    return tuple(ranking)


def _merit(take: Sentinel2Datatake, method: str) -> tuple[float, ...]:
    """Sort key of a datatake: the lower the better."""
    if method == "earliest":
        return ()
    if method == "least_cloudy":
        return (101.0 if take.cloud_cover is None else take.cloud_cover,)
    return (-(take.clear_share - (take.hazy_share or 0.0)),)


def _unfit(take: Sentinel2Datatake, settings: SearchSentinel2, kept: int) -> str | None:
    """Return why a datatake is rejected after `kept` others were accepted, or None."""
    if take.covered_share == 0:
        return NO_DATA
    if settings.max_haze is not None and take.haze is not None and take.haze > settings.max_haze:
        return f"datatake too hazy: aerosol optical thickness {take.haze:.3f} above {settings.max_haze}"
    if take.clear_share < settings.minimum_clear_share * take.covered_share:
        return f"datatake too cloudy: clear on {take.clear_share / take.covered_share:.3f} of what it covers"
    return f"beyond max_datatakes: {settings.max_datatakes}" if kept >= settings.max_datatakes else None


def seen_by(items: Sequence[Item], scenes: Scenes) -> tuple[float, float, float | None]:
    """Measure what a datatake sees of the area's cells, on every 8th pixel and without dilation; where items overlap the first wins.

    Returns:
        Share that is clear, share with data, and the median aerosol optical thickness of the clear part (None where the products lack
        it).
    """
    area, settings = scenes.area, scenes.settings
    classes = np.zeros(tuple(area.geobox.shape), np.uint8)
    haze = np.zeros(classes.shape, np.uint16)
    for item in items:
        values = scenes.classes(item)
        if AOT in item.hrefs:
            try:
                np.copyto(haze, scenes.numbers(item, AOT), where=classes == 0)
            except UserError as error:
                if not ABSENT.search(error.found):  # a temporary failure must not change the choice
                    raise
                logger.warning("the haze of %s is not known: %s", item.id, error.found)
        np.copyto(classes, values, where=classes == 0)
    clear = clear_mask(classes, settings.masked_classes if settings.clouds == "scl" else ())
    clear_haze = haze[clear & area.cells & (haze > 0)]
    median = round(float(np.median(clear_haze)) / AOT_SCALE, 4) if clear_haze.size else None
    return area.share(clear), area.share(classes > 0), median


@dataclass(frozen=True)
class Declared:
    """What is declared about the radiometry of an item.

    Attributes:
        baseline: processing baseline as an integer (05.00 is 500).
        offset: whether the digital numbers carry the +1000 offset.
        by: see `Sentinel2Entry.declared_by`.
    """

    baseline: int
    offset: bool
    by: str


def metadata_of(item: Item, provider: Provider) -> tuple[int | None, list[int] | None]:
    """Return baseline and offsets of an item's MTD_MSIL2A.xml, see `Metadata`; both None where it is not there, or of another product.

    Raises:
        UserError: see `require_quantification`; the file cannot be read.
    """
    if METADATA not in item.hrefs or METADATA not in provider.baseline:
        return None, None
    try:
        metadata = read_metadata(text_of(item.hrefs[METADATA], provider))
    except UserError as error:
        if not ABSENT.search(error.found):
            raise
        return None, None
    stated, own = _PRODUCT.search(metadata.product), _name_of(item)
    if stated and own and any(stated[part] != own[part] for part in ("platform", "start", "tile")):
        logger.warning("%s: %s is the metadata of another product, %s", item.id, item.hrefs[METADATA], metadata.product)
        return None, None
    require_quantification(item.id, metadata)
    return metadata.baseline, metadata.offsets


def _name_of(item: Item) -> re.Match[str] | None:
    """Return the product name of an item, taken apart; None where it has none."""
    return _PRODUCT.search(str(item.properties.get("s2:product_uri") or "")) or _PRODUCT.search(item.id)


def undeclared(item: Item, named_baseline: int, provider: Provider) -> str | None:
    """Return why the offset of an item cannot follow from its baseline, or None: a baseline that is not published needs metadata."""
    if named_baseline in PUBLISHED_BASELINES:
        return None
    baseline, offsets = metadata_of(item, provider)
    if baseline in PUBLISHED_BASELINES or offsets is not None:
        return None
    return f"{UNDECLARED}: {named_baseline:04d}, and no product metadata state the offset"


def radiometry_of(item: Item, named_baseline: int, provider: Provider) -> tuple[Declared, list[str]]:
    """Return what is declared about an item's radiometry, and notes on contradictions.

    The product's own metadata decide, then the product's name, then the catalogue; see `Provider.baseline`. A property that says that
    the provider removed the offset takes precedence. The composite checks the result against the pixels.

    Args:
        named_baseline: the baseline by name or properties, see `product_of`.
    """
    in_metadata, offsets = metadata_of(item, provider)
    notes = []
    baseline = in_metadata or named_baseline
    if in_metadata is None and METADATA in item.hrefs and METADATA in provider.baseline:
        notes.append(
            f"{item.id}: no metadata with a baseline at {item.hrefs[METADATA]} of this product; it is that of the item's name or properties"
        )
    if in_metadata and offsets is None:
        notes.append(f"{item.id}: baseline {baseline}, but no BOA_ADD_OFFSET that can be read in {item.hrefs[METADATA]}")
    places = [place for place in provider.baseline if place != METADATA]
    href = next(iter(item.hrefs.values()), "")
    by_place = {place: baseline_of(item.id, item.properties, [place], href) for place in places}
    notes += [
        f"{item.id}: baseline {baseline}, but {place} says {value}" for place, value in by_place.items() if value not in (None, baseline)
    ]
    by = METADATA if offsets is not None else next((place for place, value in by_place.items() if value is not None), "unknown")
    has_it = declared_offset(item.id, offsets) if offsets is not None else has_offset(baseline)
    if provider.harmonised and item.properties.get(provider.harmonised):
        notes.append(f"{item.id}: {provider.harmonised} says that the +1000 offset was taken off the files")
        has_it, by = False, provider.harmonised
    return Declared(baseline, has_it, by), notes
