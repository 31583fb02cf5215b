"""Search the archive for the items of a sensor and year, and write the manifest.

The search covers the whole area at once, so that blocks agree, and no later step asks the catalogue again. A manifest in
`resources/user/<run>/manifests/` replaces the search, so that a catalogue that changes cannot change a dataset.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from smallmines.archive.catalogue import Windows, by_id, items_of
from smallmines.archive.choice import BROKEN, EXCLUDED, MISPLACED, MISSING, Area, Choice, Rejected, area_of, merged, outside
from smallmines.archive.choose_sentinel1 import choose_sentinel1
from smallmines.archive.choose_sentinel2 import choose_sentinel2
from smallmines.archive.providers import Provider, provider_of
from smallmines.archive.sources import SECTIONS, Claim, misplaced_bands, read_checked, require_own_files
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.raster import geobox_of
from smallmines.core.redaction import redacted
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.sensors.footprint import footprint_of, is_exchanged, kilometres_between, pixels_under, touches
from smallmines.sensors.manifest import BANDS, Dropped, Entry, Fallback, Item, Manifest, ManifestItem, Query
from smallmines.sensors.manifest_files import manifest_of, write_manifest
from smallmines.sensors.scl import SCL
from smallmines.sensors.strict import read_object
from smallmines.settings.search import Search, SearchElevation, SearchSentinel1, SearchSentinel2, without_unset

APART = "does not touch the cells of the area"
"""Reason of items that lie elsewhere."""


def search(
    sensor: str, year: str, windows: Windows, settings: Search, grid: str | Path, output: str | Path, archived: str | Path | None = None
) -> None:
    """Write the manifest of a sensor and year, from the first provider that has what is needed.

    Args:
        sensor: s2, s1 or dem.
        year: the epoch, or `static` for dem.
        windows: first and last day by year; all years for s1, which uses one orbit for all of them.
        grid: `grid/grid.json`.
        output: `manifests/<year>/<sensor>.json`.
        archived: a manifest that replaces the search.

    Raises:
        UserError: no provider answers, none has usable items, or `archived` is no manifest of this sensor, year and dates.
    """
    if archived is not None:
        write_manifest(output, read_archived(archived, sensor, year, windows))
        logger.info("%s %s: the archived manifest %s, no search", sensor, year, archived)
        return
    lattice = read_lattice(grid)
    request = Request(sensor, year, windows, settings, lattice, area_of(lattice))
    failures: list[tuple[Provider, UserError]] = []
    for name in dict.fromkeys([settings.provider, *settings.fallbacks]):
        provider = provider_of(sensor, name)
        try:
            manifest = search_provider(request, provider)
        except UserError as error:
            failures.append((provider, error))
            logger.warning("provider %s: %s", name, str(error).replace("\n", "; "))
            continue
        if failures:
            first, refusal = failures[0]
            fallback = Fallback(first.name, redacted(f"{refusal.expected}: {refusal.found}"), provider.differs)
            manifest = replace(manifest, fallback=fallback)
            logger.warning("%s %s comes from %s INSTEAD OF %s. What differs: %s", sensor, year, name, first.name, provider.differs)
        write_manifest(output, manifest)
        return
    raise _joined(failures)


@dataclass(frozen=True)
class Request:
    """A request to a provider.

    Attributes:
        sensor, year, windows, settings: see `search`.
        lattice: the run's lattice.
        area: the lattice, sampled.
    """

    sensor: str
    year: str
    windows: Windows
    settings: Search
    lattice: Lattice
    area: Area


def search_provider(request: Request, provider: Provider) -> Manifest:
    """Return the manifest from one provider.

    Raises:
        UserError: no answer, no access, or no usable items.
    """
    sensor, year, settings = request.sensor, request.year, request.settings
    address = settings.address(provider.name)
    collection, edition, project = provider.collection, provider.edition, None
    if isinstance(settings, SearchElevation) and provider.access == "earthengine":
        collection, project = settings.asset, settings.project
        dated = re.search(r"_(\d{4}_\d+)$", collection)
        edition = dated[1] if dated else None
    items = items_of(provider, address, footprint(request.lattice), request.windows, collection, project, settings.exclude_items)
    rejected = Rejected()
    bands = [*BANDS[sensor], *([SCL] if isinstance(settings, SearchSentinel2) and settings.clouds == "scl" else [])]
    exclusions = _unknown_exclusions(request, [item.id for item in items])
    for note in exclusions:
        logger.warning(note)
        print(f"warning: {note}", flush=True)
    items, notes = _with_footprints(items, request, provider)
    notes = merged(exclusions, notes)
    geometries = {item.id: item.geometry for item in items}
    items = _usable(items, request, bands, rejected)
    choice = _choose(items, request, provider, rejected)
    if sensor == "dem":
        edition = edition or next((str(item.properties["version"]) for item in by_id(items) if item.properties.get("version")), None)
    logger.info("%s %s: %d items chosen, %d rejected, provider %s", sensor, year, len(choice.entries), len(rejected), provider.name)
    if not choice.entries:
        raise UserError(
            f"{sensor} items for {year} over the area in {address or provider.catalogue or collection}, provider {provider.name}",
            _why_nothing(rejected, geometries, request.lattice),
            "widen the dates, relax the limits, allow a fallback, or add items to the catalogue",
        )
    dropped = dropped_items(rejected, geometries, request.area)
    for drop in dropped:
        text = f"{sensor} {year}: {drop.id} is left out, {100 * drop.share:.1f} % of the area: {drop.reason}"
        logger.warning(text)
        print(text, flush=True)
    by_name = {item.id: item for item in items}
    chosen = [(entry, by_name[entry.id]) for entry in choice.entries]
    return Manifest(
        sensor=sensor,
        provider=provider.name,
        catalogue=address or provider.catalogue,
        asked=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        edition=edition,
        query=Query(collection, year, _days(request.windows), _query_settings(settings)),
        chosen=tuple(ManifestItem(entry, item.geometry, {band: item.hrefs[band] for band in bands}) for entry, item in chosen),
        rejected=dict(rejected),
        datatakes=choice.datatakes,
        notes=merged(notes, choice.notes or ()) if notes else choice.notes,
        orbit=choice.orbit,
        orbits=choice.orbits,
        dropped=dropped or None,
    )


def _usable(items: list[Item], request: Request, bands: Sequence[str], rejected: Rejected) -> list[Item]:
    """Reject items outside the dates (not for elevation), off the area, or without some band."""

    def missing(item: Item) -> str | None:
        names = [band for band in bands if band not in item.hrefs]
        return f"{MISSING}: {', '.join(names)}" if names else None

    if request.sensor != "dem":
        items = rejected.sieve(items, lambda item: outside(item, request.windows))
    geobox = request.lattice.geobox
    items = rejected.sieve(items, lambda item: None if touches(item.geometry, geobox) else APART)
    excluded = request.settings.exclude_items
    items = rejected.sieve(items, lambda item: f"{EXCLUDED}: exclude_items names it" if item.id in excluded else None)
    items = rejected.sieve(items, missing)
    items = rejected.sieve(items, lambda item: _misplaced(item, bands))
    if request.sensor != "dem":
        require_own_files(items, bands, SECTIONS[request.sensor])
    return items


def _misplaced(item: Item, bands: Sequence[str]) -> str | None:
    problem = misplaced_bands({band: item.hrefs[band] for band in bands})
    return f"{MISPLACED}: {problem}" if problem else None


def _unknown_exclusions(request: Request, ids: Collection[str]) -> list[str]:
    """Note ids of `exclude_items` that the catalogue does not have, unless they name a day outside the dates."""
    days = [(first.strftime("%Y%m%d"), last.strftime("%Y%m%d")) for first, last in request.windows.values()]
    notes = []
    for name in request.settings.exclude_items:
        day = re.search(r"(?<!\d)20\d{6}(?!\d)", name)
        elsewhere = day and request.sensor != "dem" and not any(first <= day[0] <= last for first, last in days)
        if name not in ids and not elsewhere:
            near = difflib.get_close_matches(name, ids, n=1)
            hint = f"; near: {near[0]}" if near else ""
            notes.append(f"{SECTIONS[request.sensor]}.exclude_items names {name}, which the catalogue does not have{hint}")
    return notes


def _with_footprints(items: Sequence[Item], request: Request, provider: Provider) -> tuple[list[Item], tuple[str, ...]]:
    """Give items whose footprint is missing, broken, or of exchanged coordinates the outline of a file, but not those outside the dates.

    Returns:
        The items, and a note on each that was given one.
    """
    result, notes = [], []
    for item in items:
        wanted = request.sensor == "dem" or outside(item, request.windows) is None
        band = next((band for band in BANDS[request.sensor] if band in item.hrefs), None)
        usable = item.geometry is not None and not is_exchanged(item.geometry, request.lattice.geobox)
        if not usable and wanted and band and item.id not in request.settings.exclude_items:
            claim = Claim(request.sensor, item.id, band, item.hrefs[band], None)
            grid = read_checked(claim, provider, geobox_of)
            notes.append(f"{item.id}: the catalogue states no usable footprint; the outline of {band} is used")
            logger.warning(notes[-1])
            item = replace(item, geometry=footprint_of(grid))
        result.append(item)
    return result, tuple(notes)


def _why_nothing(rejected: Mapping[str, str], geometries: Mapping[str, Any], lattice: Lattice) -> str:
    """Return why no item is chosen, and how far away the nearest one is where items lie elsewhere."""
    names = [name for name, why in rejected.items() if why == APART and geometries.get(name)]
    apart = [(kilometres_between(geometries[name], lattice.geobox), name) for name in names]
    distance = "the nearest item, {1}, is {0:.0f} km away".format(*min(apart)) if apart else ""
    return "; ".join(filter(None, (why_rejected(rejected), distance))) or "no item there and then"


def dropped_items(rejected: Mapping[str, str], geometries: Mapping[str, Any], area: Area) -> tuple[Dropped, ...]:
    """Return the items over the area that are left out for another reason than date or rank, by id."""
    shares = {
        name: area.share(pixels_under(geometries.get(name), area.geobox))
        for name, reason in sorted(rejected.items())
        if reason.split(":")[0] in BROKEN
    }
    return tuple(Dropped(name, rejected[name], share) for name, share in shares.items() if share)


def _choose(items: list[Item], request: Request, provider: Provider, rejected: Rejected) -> Choice:
    """Choose among usable items; of elevation all are chosen, by id."""
    settings = request.settings
    if isinstance(settings, SearchSentinel2):
        return choose_sentinel2(items, provider, settings, request.area, rejected)
    if isinstance(settings, SearchSentinel1):
        return choose_sentinel1(items, provider, settings, request.windows, request.year, request.area, rejected)
    return Choice([Entry(item.id, number, item.id, number, item.datetime) for number, item in enumerate(by_id(items), 1)])


def _query_settings(settings: Search) -> dict[str, Any]:
    """Return the settings that a manifest records."""
    return {key: value for key, value in without_unset(asdict(settings)).items() if key != "project"}


def _days(windows: Windows) -> dict[str, list[str]]:
    return {year: [str(first), str(last)] for year, (first, last) in windows.items()}


def _joined(failures: Sequence[tuple[Provider, UserError]]) -> UserError:
    """Return one error for the failures of all providers."""
    if len(failures) == 1:
        return failures[0][1]
    found = "; ".join(f"{provider.name}: {error.found}" for provider, error in failures)
    return UserError(failures[0][1].expected, found, "; ".join(f"{provider.name}: {error.do}" for provider, error in failures))


def why_rejected(rejected: Mapping[str, str]) -> str:
    """Group reasons by kind, the most frequent first: "3 × too cloudy, such as 95 % above 80 %; 1 × bands missing: B05"."""
    kinds: dict[str, list[str]] = {}
    for _, reason in sorted(rejected.items()):
        kind = "superseded" if reason.startswith("superseded") else reason.split(":")[0]
        kinds.setdefault(kind, []).append(reason)
    groups = []
    for kind, reasons in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        details = sorted({reason.removeprefix(kind).removeprefix(":").strip() for reason in reasons})
        detail = f": {details[0]}" if len(details) == 1 and details[0] else f", such as {details[0]}" if details[0] else ""
        groups.append(f"{len(reasons)} × {kind}{detail}")
    return "; ".join(groups)


def footprint(lattice: Lattice) -> dict[str, Any]:
    """Return the convex hull of the cells, GeoJSON in degrees with six digits."""
    import shapely
    from rasterio.warp import transform_geom

    side = lattice.tile_size * abs(lattice.geobox.transform.a)
    left, top = lattice.geobox.transform.c, lattice.geobox.transform.f
    col, row = lattice.cells["col"].to_numpy(), lattice.cells["row"].to_numpy()
    hull = shapely.union_all(shapely.box(left + col * side, top - (row + 1) * side, left + (col + 1) * side, top - row * side)).convex_hull
    shape: dict[str, Any] = transform_geom(str(lattice.geobox.crs), "EPSG:4326", shapely.geometry.mapping(hull), precision=6)
    return {"type": shape["type"], "coordinates": shape["coordinates"]}


def read_archived(path: str | Path, sensor: str, year: str, windows: Windows) -> Manifest:
    """Read a manifest that replaces a search.

    Raises:
        UserError: it is no manifest of this sensor, year and dates, or names an unknown provider.
    """
    what, do = (
        f"a manifest of {sensor} for {year}, as `smallmines freeze` writes it",
        "put the right file there, or take it away to search again",
    )
    content = read_object(path, what, do)
    try:
        manifest = manifest_of(content)
    except ValueError as error:
        raise UserError(f"in {path} {what}", str(error), do) from None
    differences = [
        f"{key} {value!r} instead of {expected!r}"
        for key, value, expected in (
            ("sensor", manifest.sensor, sensor),
            ("year", manifest.query.year, year),
            ("dates", manifest.query.windows.get(year), _days(windows).get(year)),
        )
        if value != expected
    ]
    if not manifest.chosen:
        differences.append("no chosen items")
    if differences:
        raise UserError(f"in {path} {what}", "; ".join(differences), do)
    provider_of(sensor, manifest.provider)
    return manifest
