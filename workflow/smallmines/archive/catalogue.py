"""Ask a catalogue for items: a static STAC catalogue, a STAC API, or Earth Engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smallmines.archive.earthengine import PREFIX, connect, grid_of, list_images
from smallmines.archive.providers import Provider
from smallmines.archive.signing import is_remote, refusal, retries
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.sensors.manifest import Item

Windows = Mapping[str, tuple[dt.date, dt.date]]
"""First and last day by year."""

NO_TIME = "0001-01-01T00:00:00Z"
"""Time of acquisition of an item without one."""


def items_of(
    provider: Provider,
    address: str | None,
    footprint: Mapping[str, Any],
    windows: Windows,
    collection: str | None = None,
    project: str | None = None,
) -> list[Item]:
    """Return the items of a provider that may lie in the area and the windows, sorted by id.

    A static catalogue is not filtered: all its items are returned.

    Args:
        address: of the catalogue, in place of the provider's own.
        footprint: the area, GeoJSON in degrees.
        windows: first and last day by year; empty: any time.
        collection: in place of the provider's own; Earth Engine only.
        project: of Earth Engine, see `connect`.

    Raises:
        UserError: no answer, no such catalogue or collection, no access.
    """
    if provider.access == "static":
        return read_catalogue(address or provider.catalogue, provider)
    if provider.access == "earthengine":
        connect(provider, address, project)
        return by_id(_item_of_image(image, provider) for image in list_images(collection or provider.collection, footprint, provider))
    return _search_api(provider, address or provider.catalogue or "", footprint, windows)


def _search_api(provider: Provider, address: str, footprint: Mapping[str, Any], windows: Windows) -> list[Item]:
    """Search a STAC API, once per window; 429 and 5xx are retried.

    The query holds area, time and collection only, since servers differ in the filters they support. `search` applies the others.
    """
    import pystac_client
    from pystac_client.stac_api_io import StacApiIO

    try:
        client = pystac_client.Client.open(address, stac_io=StacApiIO(max_retries=retries(), timeout=(20, 120)))
        if client.get_collection(provider.collection) is None:
            raise UserError(
                f"a collection {provider.collection} in {address}, provider {provider.name}",
                "no such collection there",
                "check the catalogue's address in the config file",
            )
        items_by_id: dict[str, Item] = {}
        spans: dict[str, str | None] = {year: f"{first}T00:00:00Z/{last}T23:59:59Z" for year, (first, last) in windows.items()}
        for year, span in (spans or {"any time": None}).items():
            answer = client.search(collections=[provider.collection], intersects=dict(footprint), datetime=span, limit=provider.page)
            items = [item_of(stac_item, provider) for stac_item in answer.items()]
            logger.info("%s: %d items of %s for %s", provider.name, len(items), provider.collection, year)
            items_by_id |= {item.id: item for item in items}
    except UserError:
        raise
    except Exception as error:
        raise _unreachable(address, error, provider) from error
    return by_id(items_by_id.values())


def _unreachable(address: str, error: Exception, provider: Provider) -> UserError:
    return UserError(
        f"an answer of the catalogue {address}, provider {provider.name}",
        refusal(f"the catalogue {address}", error, provider).found[:400],
        "check the connection and the address, or run again later; <sensor>.fallbacks in the config file names providers that may stand in",
    )


def read_catalogue(address: str | None, provider: Provider) -> list[Item]:
    """Return all items of the provider's collection in a static STAC catalogue, sorted by id.

    Hrefs of files below the working directory are relative to it.

    Raises:
        UserError: no such catalogue or collection.
    """
    import pystac

    if not address or not (is_remote(address) or Path(address).is_file()):
        raise UserError(
            f"a STAC catalogue (catalog.json) at {address or 'the address in the config key `catalogue`'}",
            "no file" if address else "an empty key",
            "`make demo` makes the miniature's; for another archive set `catalogue` of the sensor in the config file",
        )
    catalogue = pystac.Catalog.from_file(address)
    collection = catalogue if catalogue.id == provider.collection else catalogue.get_child(provider.collection)
    if collection is None:
        names = ", ".join(child.id for child in catalogue.get_children())
        raise UserError(f"a collection {provider.collection} in {address}", names or "no collections", "name it so in the catalogue")
    return by_id(item_of(stac_item, provider) for stac_item in collection.get_items(recursive=True))


def item_of(stac_item: Any, provider: Provider) -> Item:
    """Convert a `pystac.Item`.

    Grids are those that the catalogue states. They can be wrong, so pixels are read by the file's own header.
    """
    time = stac_item.datetime or stac_item.common_metadata.start_datetime
    hrefs, grids = {}, {}
    for band, key in provider.assets.items():
        if (asset := stac_item.assets.get(key)) is not None:
            href = asset.get_absolute_href() or asset.href
            if provider.alternate:
                href = asset.extra_fields.get("alternate", {}).get(provider.alternate, {}).get("href")
            if not href:
                continue
            hrefs[band] = _relative(href)
            properties = stac_item.properties | asset.extra_fields
            grids[band] = {name: properties[name] for name in ("proj:transform", "proj:shape", "proj:code") if properties.get(name)}
    stamp = time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else NO_TIME
    return Item(stac_item.id, stamp, stac_item.geometry, dict(stac_item.properties), hrefs, grids)


def _item_of_image(image: Mapping[str, Any], provider: Provider) -> Item:
    """Convert an image of Earth Engine."""
    grids = {band: grid_of(image, key) for band, key in provider.assets.items()}
    stamp = str(image.get("startTime") or NO_TIME)[:19].rstrip("Z") + "Z"
    properties = dict(image.get("properties") or {})
    hrefs = dict.fromkeys(provider.assets, PREFIX + str(image["id"]))
    return Item(str(image["id"]).rsplit("/", 1)[-1], stamp, image.get("geometry"), properties, hrefs, grids)


def _relative(href: str) -> str:
    if is_remote(href):
        return href
    path = Path(href)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else href


def by_id(items: Iterable[Item]) -> list[Item]:
    """Sort items by id."""
    return sorted(items, key=lambda item: item.id)
