"""Items of a catalogue, as far as they matter here: of files, of a STAC API, or of Earth Engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.archive.earthengine import PREFIX, connect, grid_of, list_images
from smallmines.archive.providers import Provider
from smallmines.archive.signing import is_remote, refusal, retries
from smallmines.core.errors import UserError
from smallmines.core.log import logger

Windows = Mapping[str, tuple[dt.date, dt.date]]


@dataclass(frozen=True)
class Item:
    """A STAC item as far as it matters here; `hrefs` by our band names, unsigned; `geometry` GeoJSON in degrees."""

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


def items_of(
    provider: Provider,
    address: str | None,
    footprint: Mapping[str, Any],
    windows: Windows,
    collection: str | None = None,
    project: str | None = None,
) -> list[Item]:
    """The items of a provider that may lie in the area and the windows, sorted by id; a static catalogue gives all it has.

    Args:
        address: of the catalogue, in place of the provider's own.
        footprint: the area, GeoJSON in degrees.
        windows: first and last day by year; empty: any time.
        collection: in place of the provider's own.
        project: of Earth Engine, see `connect`.

    Raises:
        UserError: no answer, no such catalogue or collection, no access.
    """
    if provider.access == "static":
        return read_catalogue(address or provider.catalogue, provider)
    if provider.access == "earthengine":
        connect(provider, address, project)
        return by_id(_image(one, provider) for one in list_images(collection or provider.collection, footprint, provider))
    return _ask(provider, address or provider.catalogue or "", footprint, windows)


def _ask(provider: Provider, address: str, footprint: Mapping[str, Any], windows: Windows) -> list[Item]:
    """Items of a STAC API: one search a window, in pages, repeated on 429 and 5xx.

    Only area, time and collection are asked for: servers differ in what else they understand, so the rest is sieved here.
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
        found: dict[str, Item] = {}
        spans: dict[str, str | None] = {year: f"{first}T00:00:00Z/{last}T23:59:59Z" for year, (first, last) in windows.items()}
        for year, span in (spans or {"any time": None}).items():
            answer = client.search(collections=[provider.collection], intersects=dict(footprint), datetime=span, limit=provider.page)
            items = [_item(one, provider) for one in answer.items()]
            logger.info("%s: %d items of %s for %s", provider.name, len(items), provider.collection, year)
            found |= {item.id: item for item in items}
    except UserError:
        raise
    except Exception as error:
        raise _unreachable(address, error, provider) from error
    return by_id(found.values())


def _unreachable(address: str, error: Exception, provider: Provider) -> UserError:
    told = refusal(f"the catalogue {address}", error, provider)
    return UserError(
        f"an answer of the catalogue {address}, provider {provider.name}",
        told.found[:400],
        "check the connection and the address, or run again later; <sensor>.fallbacks in the config file names providers that may stand in",
    )


def read_catalogue(address: str | None, provider: Provider) -> list[Item]:
    """All items of the provider's collection in a static STAC catalogue, sorted by id.

    Local hrefs are kept relative to the working directory where they lie below it.

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
    return by_id(_item(one, provider) for one in collection.get_items(recursive=True))


def _item(one: Any, provider: Provider) -> Item:
    """A pystac item. Grids are those of the catalogue, which can be wrong; the file's own header is what is used."""
    when = one.datetime or one.common_metadata.start_datetime
    hrefs, grids = {}, {}
    for band, key in provider.assets.items():
        if (found := one.assets.get(key)) is not None:
            href = found.get_absolute_href() or found.href
            if provider.alternate:
                href = found.extra_fields.get("alternate", {}).get(provider.alternate, {}).get("href")
            if not href:
                continue
            hrefs[band] = _relative(href)
            said = one.properties | found.extra_fields
            grids[band] = {name: said[name] for name in ("proj:transform", "proj:shape", "proj:code") if said.get(name)}
    stamp = when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else "0001-01-01T00:00:00Z"
    return Item(one.id, stamp, one.geometry, dict(one.properties), hrefs, grids)


def _image(one: Mapping[str, Any], provider: Provider) -> Item:
    """An image of Earth Engine as an item."""
    grids = {band: grid_of(one, key) for band, key in provider.assets.items()}
    stamp = str(one.get("startTime") or "0001-01-01T00:00:00Z")[:19].rstrip("Z") + "Z"
    properties = dict(one.get("properties") or {})
    hrefs = dict.fromkeys(provider.assets, PREFIX + str(one["id"]))
    return Item(str(one["id"]).rsplit("/", 1)[-1], stamp, one.get("geometry"), properties, hrefs, grids)


def _relative(href: str) -> str:
    if is_remote(href):
        return href
    path = Path(href)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else href


def by_id(items: Iterable[Item]) -> list[Item]:
    """Items in the order of their ids."""
    return sorted(items, key=lambda item: item.id)
