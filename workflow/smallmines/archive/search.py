"""Which items of an archive a year is made of: the manifest.

It is the record of that choice, with the chosen and the rejected and the reasons. It is made for the whole area at once, so
that blocks agree, and no later step asks the catalogue again. A manifest that people put into `resources/user/<run>/manifests/`
takes the place of the search, so that a catalogue that moves on cannot change a dataset.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smallmines.archive.catalogue import Item, Windows, by_id, items_of
from smallmines.archive.choice import Area, Rejected, area_of, choose_sentinel1, choose_sentinel2, outside
from smallmines.archive.providers import BANDS, Provider, provider_of
from smallmines.archive.read import touches
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.core.log import logger
from smallmines.core.redaction import redacted
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.sensors.scl import SCL
from smallmines.settings.search import Search, SearchElevation, SearchSentinel1, SearchSentinel2


def search(
    sensor: str, year: str, windows: Windows, settings: Search, grid: str | Path, output: str | Path, archived: str | Path | None = None
) -> None:
    """Write the manifest of a sensor and year, from the first provider that has what is needed.

    Args:
        sensor: s2, s1 or dem.
        year: the epoch, or `static` for dem.
        windows: first and last day by year; all years for s1, whose orbit is one for all of them.
        grid: `grid/grid.json`.
        output: `manifests/<year>/<sensor>.json`.
        archived: a manifest that takes the place of the search.

    Raises:
        UserError: no provider answers, or none has anything that can be used.
    """
    if archived is not None:
        write_json(output, _accepted(read_json(archived), archived, sensor, year, windows))
        logger.info("%s %s: the archived manifest %s, no search", sensor, year, archived)
        return
    lattice = read_lattice(grid)
    area = area_of(lattice)
    refused: list[tuple[Provider, UserError]] = []
    for name in dict.fromkeys([settings.provider, *settings.fallbacks]):
        provider = provider_of(sensor, name)
        try:
            manifest = _asked(sensor, year, windows, settings, provider, lattice, area)
        except UserError as error:
            refused.append((provider, error))
            logger.warning("provider %s: %s", name, str(error).replace("\n", "; "))
            continue
        if refused:
            first, why = refused[0]
            manifest["fallback"] = {"instead_of": first.name, "why": redacted(f"{why.expected}: {why.found}"), "differs": provider.differs}
            logger.warning("%s %s comes from %s INSTEAD OF %s. What differs: %s", sensor, year, name, first.name, provider.differs)
        write_json(output, manifest)
        return
    raise _told(refused)


def _told(refused: Sequence[tuple[Provider, UserError]]) -> UserError:
    if len(refused) == 1:
        return refused[0][1]
    found = "; ".join(f"{provider.name}: {error.found}" for provider, error in refused)
    return UserError(refused[0][1].expected, found, "; ".join(f"{provider.name}: {error.do}" for provider, error in refused))


def _asked(sensor: str, year: str, windows: Windows, settings: Search, provider: Provider, lattice: Lattice, area: Area) -> dict[str, Any]:
    """The manifest from one provider."""
    address = settings.address(provider.name)
    extra: dict[str, Any] = {}
    collection, edition = provider.collection, provider.edition
    project = None
    if isinstance(settings, SearchElevation) and provider.access == "earthengine":
        collection, project = settings.asset, settings.project
        dated = re.search(r"_(\d{4}_\d+)$", collection)
        edition = dated[1] if dated else None
    items = items_of(provider, address, footprint(lattice), windows, collection, project)
    rejected = Rejected()
    needed = [*BANDS[sensor], *([SCL] if isinstance(settings, SearchSentinel2) and settings.clouds == "scl" else [])]
    if sensor != "dem":
        items = rejected.sieve(items, lambda item: outside(item, windows))
    items = rejected.sieve(items, lambda item: None if touches(item.geometry, lattice.geobox) else "does not touch the cells of the area")
    items = rejected.sieve(items, lambda item: _missing(item, needed))
    if isinstance(settings, SearchSentinel2):
        chosen, extra = choose_sentinel2(items, provider, settings, area, rejected)
    elif isinstance(settings, SearchSentinel1):
        chosen, extra = choose_sentinel1(items, provider, settings, windows, year, area, rejected)
    else:
        chosen = [{"id": item.id, "datatake": item.id, "rank": rank} for rank, item in enumerate(by_id(items), 1)]
        edition = edition or next((str(item.properties["version"]) for item in by_id(items) if item.properties.get("version")), None)
    known = {item.id: item for item in items}
    for index, entry in enumerate(chosen, 1):
        item = known[entry["id"]]
        entry |= {
            "index": index,
            "datetime": item.datetime,
            "geometry": item.geometry,
            "hrefs": {band: item.hrefs[band] for band in needed},
        }
    manifest = {
        "sensor": sensor,
        "provider": provider.name,
        "catalogue": address or provider.catalogue,
        "asked": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "edition": edition,
        "query": {
            "collection": collection,
            "year": year,
            "windows": {name: [str(first), str(last)] for name, (first, last) in windows.items()},
            "settings": {key: value for key, value in asdict(settings).items() if key != "project"},
        },
        "chosen": chosen,
        "rejected": [{"id": name, "reason": rejected[name]} for name in sorted(rejected)],
        **extra,
    }
    logger.info("%s %s: %d items chosen, %d rejected, provider %s", sensor, year, len(chosen), len(rejected), provider.name)
    if not chosen:
        found = why_rejected(rejected) or "no item there and then"
        do = "widen the dates, relax the limits, allow a fallback, or add items to the catalogue"
        where = address or provider.catalogue or collection
        raise UserError(f"{sensor} items for {year} over the area in {where}, provider {provider.name}", found, do)
    return manifest


def why_rejected(rejected: dict[str, str]) -> str:
    """Reasons with their numbers, the most frequent one first: "3 × bands missing; 1 × too cloudy"."""
    reasons = Counter(re.sub(r"\d+(\.\d+)?", "n", reason if "missing" in reason else reason.split(":")[0]) for reason in rejected.values())
    return "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())


def footprint(lattice: Lattice) -> dict[str, Any]:
    """The convex hull of the cells, GeoJSON in degrees with six digits."""
    import shapely
    from rasterio.warp import transform_geom

    side = lattice.tile_size * abs(lattice.geobox.transform.a)
    left, top = lattice.geobox.transform.c, lattice.geobox.transform.f
    col, row = lattice.cells["col"].to_numpy(), lattice.cells["row"].to_numpy()
    hull = shapely.union_all(shapely.box(left + col * side, top - (row + 1) * side, left + (col + 1) * side, top - row * side)).convex_hull
    shape: dict[str, Any] = transform_geom(str(lattice.geobox.crs), "EPSG:4326", shapely.geometry.mapping(hull), precision=6)
    return {"type": shape["type"], "coordinates": shape["coordinates"]}


def _accepted(manifest: Any, path: str | Path, sensor: str, year: str, windows: Windows) -> dict[str, Any]:
    """An archived manifest, if it is one of this sensor, year and dates.

    Raises:
        UserError: it is not.
    """
    asked = {name: [str(first), str(last)] for name, (first, last) in windows.items()}
    query = manifest.get("query", {}) if isinstance(manifest, dict) else {}
    wrong = [
        f"{key} {found!r} instead of {expected!r}"
        for key, found, expected in (
            ("sensor", manifest.get("sensor") if isinstance(manifest, dict) else None, sensor),
            ("year", query.get("year"), year),
            ("dates", query.get("windows", {}).get(year), asked.get(year)),
        )
        if found != expected
    ]
    if wrong or not manifest.get("chosen"):
        raise UserError(
            f"in {path} a manifest of {sensor} for {year}, as `smallmines freeze` writes it",
            "; ".join(wrong) or "no chosen items",
            "put the right file there, or take it away to search again",
        )
    provider_of(sensor, manifest["provider"])
    return dict(manifest)


def _missing(item: Item, needed: Sequence[str]) -> str | None:
    missing = [band for band in needed if band not in item.hrefs]
    return f"bands missing: {', '.join(missing)}" if missing else None
