"""Choose Sentinel-1 items: one orbit for all years, then its passes in the year."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smallmines.archive.catalogue import Windows, by_id
from smallmines.archive.choice import Area, Choice, Rejected, outside
from smallmines.archive.providers import BANDS, Provider
from smallmines.archive.read import Source, read_asset
from smallmines.core.log import logger
from smallmines.sensors.manifest import Datatake, Item, Orbit, Sentinel1Entry
from smallmines.settings.search import SearchSentinel1


def choose_sentinel1(
    items: list[Item], provider: Provider, settings: SearchSentinel1, windows: Windows, year: str, area: Area, rejected: Rejected
) -> Choice:
    """Choose one orbit for all years, then the items of `year` in it.

    The orbit is the one whose footprints cover most of the area in the year where they cover least (to 0.1 %), then the one with most
    items, then the first by pass direction and number. The search of each year looks at all years, so all come to the same orbit.

    Returns:
        Entries by pass and id, passes, the orbit, all orbits, and notes. No entries where no orbit fits the settings.
    """
    orbit_by_id = {item.id: orbit for item in items if (orbit := orbit_of(item)) is not None}
    items = rejected.sieve(items, lambda item: None if item.id in orbit_by_id else "no pass direction or relative orbit")
    last = {(item.properties.get("platform"), item.datetime, *orbit_by_id[item.id]): item.id for item in items}
    latest = {item.id: last[item.properties.get("platform"), item.datetime, *orbit_by_id[item.id]] for item in items}
    items = rejected.sieve(items, lambda item: None if latest[item.id] == item.id else f"superseded by {latest[item.id]}")
    orbits = _orbits(items, orbit_by_id, settings, windows, area)
    if not orbits:
        rejected.update({item.id: "other orbit: not the configured one" for item in items})
        return Choice([])
    best = (orbits[0].orbit_state, orbits[0].relative_orbit)
    logger.info("orbit %s %d, covers %s of the area", *best, orbits[0].covered_share)
    items = rejected.sieve(
        items, lambda item: None if orbit_by_id[item.id] == best else f"other orbit: {' '.join(map(str, orbit_by_id[item.id]))}"
    )
    items = rejected.sieve(items, lambda item: outside(item, {year: windows[year]}))
    notes = [note for item in by_id(items) for note in _grid_notes(item, provider)]
    for note in notes:
        logger.warning(note)
    passes: dict[str, list[Item]] = {}
    for item in by_id(items):
        passes.setdefault(pass_of(item), []).append(item)
    entries: list[Sentinel1Entry] = []
    datatakes: list[Datatake] = []
    for rank, (name, members) in enumerate(sorted(passes.items()), 1):
        share = _footprint_share(members, area)
        datatakes.append(Datatake(name, rank, clear_share=share, covered_share=share, items=[item.id for item in members]))
        for item in members:
            entries.append(Sentinel1Entry(item.id, len(entries) + 1, name, rank, item.datetime, item.properties.get("platform"), *best))
    return Choice(entries, tuple(datatakes), tuple(notes), orbits[0], tuple(orbits))


def _orbits(
    items: Sequence[Item], orbit_by_id: Mapping[str, tuple[str, int]], settings: SearchSentinel1, windows: Windows, area: Area
) -> list[Orbit]:
    """Return the orbits that the settings allow, the best first."""
    orbits = []
    for state, number in sorted(set(orbit_by_id.values())):
        if settings.orbit_state not in ("auto", state) or settings.relative_orbit not in (None, number):
            continue
        members = [item for item in items if orbit_by_id[item.id] == (state, number)]
        by_year = {year: [item for item in members if outside(item, {year: window}) is None] for year, window in windows.items()}
        covered = {year: _footprint_share(items_of_year, area) for year, items_of_year in by_year.items()}
        orbits.append(Orbit(state, number, len(members), covered))
    return sorted(
        orbits, key=lambda orbit: (-round(min(orbit.covered_share.values()), 3), -orbit.items, orbit.orbit_state, orbit.relative_orbit)
    )


def orbit_of(item: Item) -> tuple[str, int] | None:
    """Return pass direction and relative orbit, or None where the catalogue lacks one of them."""
    state, number = item.properties.get("sat:orbit_state"), item.properties.get("sat:relative_orbit")
    return None if state is None or number is None else (str(state), int(number))


def pass_of(item: Item) -> str:
    """Return the name of the pass of a slice: platform and absolute orbit, else platform and date."""
    parts = re.search(r"^(S1[A-Z])_.*_(\d{6})_[0-9A-F]{6}(?:_|$)", item.id)
    platform = parts[1] if parts else str(item.properties.get("platform", "S1"))
    absolute = item.properties.get("sat:absolute_orbit") or (int(parts[2]) if parts else None)
    return f"{platform}_{int(absolute):06d}" if absolute else f"{platform}_{item.day:%Y%m%d}"


def _footprint_share(items: Sequence[Item], area: Area) -> float:
    """Share of the area's cells under the footprints of items."""
    from rasterio.features import geometry_mask
    from rasterio.warp import transform_geom

    if not items:
        return 0.0
    if any(item.geometry is None for item in items):
        return 1.0
    shapes = [transform_geom("EPSG:4326", str(area.geobox.crs), item.geometry) for item in items]
    return area.share(geometry_mask(shapes, tuple(area.geobox.shape), area.geobox.transform, invert=True))


def _grid_notes(item: Item, provider: Provider) -> list[str]:
    """Return where the catalogue's grid contradicts the file's own header, which is used."""
    notes = []
    for band in BANDS["s1"]:
        header = read_asset(item.id, band, item.hrefs[band], provider, _header)
        for key, value in item.grids[band].items():
            same = value == header[key] if key == "proj:code" else np.allclose(value[:6], header[key], rtol=1e-9, atol=1e-6)
            if not same:
                notes.append(f"{item.id} {band}: {key} of the catalogue {value} contradicts the file's header {header[key]}, which is used")
    return notes


def _header(source: Source) -> dict[str, Any]:
    return {"proj:transform": list(source.transform[:6]), "proj:shape": list(source.shape), "proj:code": str(source.crs)}
