"""Items of a STAC catalogue, as far as they matter here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.archive.providers import Provider
from smallmines.job import UserError


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


def read_catalogue(address: str | None, provider: Provider) -> list[Item]:
    """All items of the provider's collection in a static STAC catalogue, sorted by id.

    Local hrefs are kept relative to the working directory where they lie below it.

    Raises:
        UserError: no such catalogue or collection.
    """
    import pystac

    if not address or not ("://" in address or Path(address).is_file()):
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
    when = one.datetime or one.common_metadata.start_datetime
    hrefs, grids = {}, {}
    for band, key in provider.assets.items():
        if (found := one.assets.get(key)) is not None:
            hrefs[band] = _relative(found.get_absolute_href() or found.href)
            said = one.properties | found.extra_fields
            grids[band] = {name: said[name] for name in ("proj:transform", "proj:shape", "proj:code") if said.get(name)}
    stamp = when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else "0001-01-01T00:00:00Z"
    return Item(one.id, stamp, one.geometry, dict(one.properties), hrefs, grids)


def _relative(href: str) -> str:
    if "://" in href:
        return href
    path = Path(href)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else href


def by_id(items: Iterable[Item]) -> list[Item]:
    """Items in the order of their ids."""
    return sorted(items, key=lambda item: item.id)
