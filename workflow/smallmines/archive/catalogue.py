"""Ask a catalogue for items: a static STAC catalogue, a STAC API, or Earth Engine."""

from __future__ import annotations

import datetime as dt
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from smallmines.archive.earthengine import PREFIX, connect, grid_of, list_images
from smallmines.archive.providers import Provider
from smallmines.archive.signing import is_remote, local_path, refusal, repeated, retries
from smallmines.archive.static import absolute, read_items
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.sensors.footprint import problem_of, repaired
from smallmines.sensors.manifest import Item
from smallmines.sensors.strict import is_identifier

Windows = Mapping[str, tuple[dt.date, dt.date]]
"""First and last day by year."""

NO_TIME = "0001-01-01T00:00:00Z"
"""Time of acquisition of an item without one."""


READABLE = ("http://", "https://", "s3://", PREFIX)
"""Addresses on a network that can be read."""


def items_of(
    provider: Provider,
    address: str | None,
    footprint: Mapping[str, Any],
    windows: Windows,
    collection: str | None = None,
    project: str | None = None,
    excluded: Collection[str] = (),
) -> list[Item]:
    """Return the items of a provider that may lie in the area and the windows, sorted by id.

    A static catalogue is not filtered: all its items are returned.

    Args:
        address: of the catalogue, in place of the provider's own.
        footprint: the area, GeoJSON in degrees.
        windows: first and last day by year; empty: any time.
        collection: in place of the provider's own; Earth Engine only.
        project: of Earth Engine, see `connect`.
        excluded: ids of items that may be broken; such an item is returned only if it is whole.

    Raises:
        UserError: no answer, no such catalogue or collection, no access, a broken item, an id that cannot be the name of a folder, or
            two different items of one id.
    """
    place = address or provider.catalogue or provider.collection
    if provider.access == "static":
        raw = read_items(_existing(address or provider.catalogue), provider)
        return _unique((item for where, document in raw for item in _converted(document, where, provider, excluded)), place, excluded)
    if provider.access == "earthengine":
        connect(provider, address, project)
        images = list_images(collection or provider.collection, footprint, provider)
        return _unique((_item_of_image(image, provider) for image in images), place, excluded)
    documents = _search_api(provider, place, footprint, windows)
    return _unique((item for document in documents for item in _converted(document, place, provider, excluded)), place, excluded)


def _unique(items: Iterable[Item], place: str, excluded: Collection[str]) -> list[Item]:
    """Return items sorted by id; an item that a catalogue lists again, equal in all, counts once.

    Raises:
        UserError: an id cannot be the name of a folder, or two different items have one id.
    """
    by_name: dict[str, Item] = {}
    for item in items:
        if not is_identifier(item.id):
            if item.id in excluded:
                continue
            raise UserError(
                f"ids of 1 to 200 letters, digits, `.`, `_` and `-` in {place}: they become names of folders",
                f"{item.id!r}"[:300],
                "give the item another id in the catalogue, or name it in `exclude_items` of the sensor in the config file",
            )
        if repr(by_name.setdefault(item.id, item)) != repr(item) and item.id not in excluded:  # of equal NaN, == is false and repr is not
            raise UserError(
                f"one item of each id in {place}",
                f"two different items {item.id}: {_difference(by_name[item.id], item)}",
                "give one of them another id in the catalogue, or name the id in `exclude_items` of the sensor in the config file, "
                "which leaves out both",
            )
    return by_id(by_name.values())


def _difference(first: Item, second: Item) -> str:
    """Return the names of the attributes in which two items differ."""
    names = [name for name, value in vars(first).items() if repr(value) != repr(getattr(second, name))]
    return f"their {' and '.join(names)} differ"


def _search_api(provider: Provider, address: str, footprint: Mapping[str, Any], windows: Windows) -> list[dict[str, Any]]:
    """Search a STAC API, once per window; 429, 5xx and answers that break off are retried.

    The query holds area, time and collection only, since servers differ in the filters they support. `search` applies the others.
    """
    try:
        return repeated(address, lambda: _ask_api(provider, address, footprint, windows))
    except UserError:
        raise
    except Exception as error:
        raise _unreachable(address, error, provider) from error


def _ask_api(provider: Provider, address: str, footprint: Mapping[str, Any], windows: Windows) -> list[dict[str, Any]]:
    import pystac_client
    from pystac_client.stac_api_io import StacApiIO

    documents: list[dict[str, Any]] = []
    client = pystac_client.Client.open(address, stac_io=StacApiIO(max_retries=retries(), timeout=(20, 120)))
    if client.get_collection(provider.collection) is None:
        raise UserError(
            f"a collection {provider.collection} in {address}, provider {provider.name}",
            "no such collection there",
            "check the catalogue's address in the config file",
        )
    spans: dict[str, str | None] = {year: f"{first}T00:00:00Z/{last}T23:59:59Z" for year, (first, last) in windows.items()}
    for year, span in (spans or {"any time": None}).items():
        answer = client.search(collections=[provider.collection], intersects=dict(footprint), datetime=span, limit=provider.page)
        items = list(_paged(answer.pages_as_dicts(), address))
        documents += items
        logger.info("%s: %d items of %s for %s", provider.name, len(items), provider.collection, year)
    return documents


def _paged(pages: Iterable[dict[str, Any]], address: str) -> Iterator[dict[str, Any]]:
    """Yield the items of all pages of an answer.

    Raises:
        UserError: a page comes again: the links to the next page lead in a circle.
    """
    seen: set[str] = set()
    for page in pages:
        features = page["features"]
        names = repr([feature.get("id") if isinstance(feature, dict) else feature for feature in features])
        if names in seen:
            raise UserError(
                f"pages of an answer of {address} that come to an end",
                f"page {len(seen) + 1} has the items of an earlier one",
                "report it to the archive, or use another provider (<sensor>.fallbacks in the config file)",
            )
        seen.add(names)
        yield from features


def _converted(document: Any, place: str, provider: Provider, excluded: Collection[str]) -> list[Item]:
    """Return the item that a STAC document describes in a list; an empty list where it is broken and excluded.

    Assets without an address are left out.

    Args:
        place: address of its file, or of the catalogue.

    Raises:
        UserError: it is no item; names the place, the id and what is wrong.
    """
    import pystac

    identifier = document.get("id") if isinstance(document, dict) else None
    try:
        assets = document.get("assets") or {}
        itself = place if provider.access == "static" else None
        cleaned = {
            key: asset | {"href": absolute(asset["href"], itself)}
            for key, asset in assets.items()
            if isinstance(asset, dict) and isinstance(asset.get("href"), str)
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old versions of STAC, which pystac migrates
            return [item_of(pystac.Item.from_dict(document | {"assets": cleaned}, href=itself), provider)]
    except Exception as error:  # pystac raises many types for what is no item
        if identifier in excluded:
            return []
        raise UserError(
            f"a STAC item {str(identifier)[:200]} at {place}",
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            "correct it in the catalogue, or name its id in `exclude_items` of the sensor in the config file",
        ) from error


def _unreachable(address: str, error: Exception, provider: Provider) -> UserError:
    return UserError(
        f"an answer of the catalogue {address}, provider {provider.name}",
        refusal(f"the catalogue {address}", error, provider).found[:400],
        "check the connection and the address, or run again later; <sensor>.fallbacks in the config file names providers that may stand in",
    )


def _existing(address: str | None) -> str:
    """Return the address of a static catalogue.

    Raises:
        UserError: it is empty, or no file is there.
    """
    if not address or not (is_remote(address) or Path(local_path(address)).is_file()):
        raise UserError(
            f"a STAC catalogue (catalog.json) at {address or 'the address in the config key `catalogue`'}",
            "no file" if address else "an empty key",
            "`make demo` makes the miniature's; for another archive set `catalogue` of the sensor in the config file",
        )
    return address


def item_of(stac_item: Any, provider: Provider) -> Item:
    """Convert a `pystac.Item`.

    A footprint that cannot be used becomes None. Grids are those that the catalogue states. They can be wrong, so pixels are read by the
    file's own header. Assets with an address that cannot be read are left out.
    """
    time = stac_item.datetime or stac_item.common_metadata.start_datetime
    hrefs, grids = {}, {}
    for band, key in provider.assets.items():
        if (asset := stac_item.assets.get(key)) is not None:
            href = asset.get_absolute_href() or asset.href if asset.href else None
            if provider.alternate:
                alternates = asset.extra_fields.get("alternate")
                alternate = alternates.get(provider.alternate) if isinstance(alternates, dict) else None
                href = alternate.get("href") if isinstance(alternate, dict) else None
            if not isinstance(href, str) or not href or "\0" in href or (is_remote(href) and not href.startswith(READABLE)):
                logger.warning("%s: its asset %s has no address that can be read: %s", stac_item.id, key, str(href)[:200])
                continue
            hrefs[band] = _relative(href)
            grids[band] = _stated_grid(stac_item.properties | asset.extra_fields)
    if time and time.tzinfo is None:  # STAC demands UTC; without this it would be the time zone of the machine
        time = time.replace(tzinfo=dt.UTC)
    stamp = time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else NO_TIME
    dt.date.fromisoformat(stamp[:10])  # a year before 1000 has fewer than four digits
    geometry = stac_item.geometry
    if problem := problem_of(geometry):
        logger.warning("%s: its footprint is not usable: %s", stac_item.id, problem)
        geometry = None
    return Item(stac_item.id, stamp, geometry and repaired(geometry), dict(stac_item.properties), hrefs, grids)


def _stated_grid(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a catalogue says of the grid of an asset; values of another form are left out."""
    grid: dict[str, Any] = {}
    transform, shape, code = (properties.get(name) for name in ("proj:transform", "proj:shape", "proj:code"))
    if isinstance(transform, list) and len(transform) >= 6 and None not in map(number_of, transform):
        grid["proj:transform"] = transform
    if isinstance(shape, list) and len(shape) == 2 and None not in map(number_of, shape):
        grid["proj:shape"] = shape
    if isinstance(code, str) and code:
        grid["proj:code"] = code
    return grid


def number_of(value: object) -> float | int | None:
    """Return a finite number of a catalogue as it is, None for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _item_of_image(image: Mapping[str, Any], provider: Provider) -> Item:
    """Convert an image of Earth Engine."""
    grids = {band: grid_of(image, key) for band, key in provider.assets.items()}
    stamp = str(image.get("startTime") or NO_TIME)[:19].rstrip("Z") + "Z"
    properties = dict(image.get("properties") or {})
    hrefs = dict.fromkeys(provider.assets, PREFIX + str(image["id"]))
    geometry = image.get("geometry")
    return Item(str(image["id"]).rsplit("/", 1)[-1], stamp, None if problem_of(geometry) else geometry, properties, hrefs, grids)


def _relative(href: str) -> str:
    """Return the path of a local href, relative if it lies below the working directory; an address on a network as it is."""
    if is_remote(href):
        return href
    href = local_path(href)
    path = Path(href)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else href


def by_id(items: Iterable[Item]) -> list[Item]:
    """Sort items by id."""
    return sorted(items, key=lambda item: item.id)
