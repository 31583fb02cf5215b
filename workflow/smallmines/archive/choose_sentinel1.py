"""Choose Sentinel-1 items: one orbit for all years, then its passes in the year."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.archive.catalogue import Windows, by_id, number_of
from smallmines.archive.choice import NO_DATA, UNIDENTIFIED, Area, Choice, Rejected, outside, platform_of
from smallmines.archive.providers import Provider
from smallmines.archive.read import Source, sampled
from smallmines.archive.reprocessed import TOLERANCE
from smallmines.archive.signing import ABSENT
from smallmines.archive.sources import Claim, grid_notes, header_of, read_checked
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.sensors.footprint import pixels_under
from smallmines.sensors.manifest import BANDS, Datatake, Item, Orbit, Sentinel1Entry
from smallmines.settings.search import SearchSentinel1


@dataclass(frozen=True)
class Pass:
    """The slices of one pass of the satellite, and what their pixels cover.

    Attributes:
        items: by id.
        share: share of the area's cells with data, to six digits.
        is_empty: True where the footprints reach the area and no pixel near it has data.
    """

    items: tuple[Item, ...]
    share: float
    is_empty: bool


def choose_sentinel1(
    items: list[Item], provider: Provider, settings: SearchSentinel1, windows: Windows, year: str, area: Area, rejected: Rejected
) -> Choice:
    """Choose one orbit for all years, then the items of `year` in it.

    The orbit is the one whose pixels cover most of the area in the year where they cover least (to 0.1 %), then the one with most
    items, then the first by pass direction and number. The search of each year looks at all years, so all come to the same orbit. Pixels
    with data are looked for in an overview of VV: one file and a few requests for each item of an orbit that the settings allow.

    Returns:
        Entries by pass, those in the grid's CRS first, then by id; passes, the orbit, all orbits, and notes. No entries where no orbit
        fits the settings.
    """
    orbit_by_id = {item.id: orbit for item in items if (orbit := orbit_of(item)) is not None}
    items = rejected.sieve(items, lambda item: None if item.id in orbit_by_id else UNIDENTIFIED[1])
    allowed = [item for item in items if _is_allowed(orbit_by_id[item.id], settings)]
    rejected.update(_superseded(allowed, orbit_by_id, provider, area))
    items = [item for item in items if item.id not in rejected]
    measured = {
        orbit: _passes([item for item in items if orbit_by_id[item.id] == orbit], provider, windows, area)
        for orbit in sorted({orbit_by_id[item.id] for item in items})
        if _is_allowed(orbit, settings)
    }
    orbits = _ranked(measured)
    if not orbits:
        rejected.update({item.id: "other orbit: not the configured one" for item in items})
        return Choice([])
    best = (orbits[0].orbit_state, orbits[0].relative_orbit)
    logger.info("orbit %s %d, covers %s of the area", *best, orbits[0].covered_share)
    items = rejected.sieve(
        items, lambda item: None if orbit_by_id[item.id] == best else f"other orbit: {' '.join(map(str, orbit_by_id[item.id]))}"
    )
    items = rejected.sieve(items, lambda item: outside(item, {year: windows[year]}))
    passes = measured[best].passes
    empty = {item.id for scene in passes.values() if scene.is_empty for item in scene.items}
    items = rejected.sieve(items, lambda item: NO_DATA if item.id in empty else None)
    headers = {item.id: _headers(item, provider) for item in by_id(items)}
    notes = [note for item in by_id(items) for band in BANDS["s1"] for note in _notes(item, band, headers[item.id][band])]
    for note in notes:
        logger.warning(note)
    entries: list[Sentinel1Entry] = []
    datatakes: list[Datatake] = []
    for rank, name in enumerate(sorted({pass_of(item) for item in items}), 1):
        members = [item for item in by_id(items) if pass_of(item) == name]
        members.sort(key=lambda item: area.geobox.crs != headers[item.id]["VV"]["proj:code"])  # others are resampled
        share = passes[name].share
        datatakes.append(Datatake(name, rank, clear_share=share, covered_share=share, items=[item.id for item in members]))
        for item in members:
            entries.append(Sentinel1Entry(item.id, len(entries) + 1, name, rank, item.datetime, platform_of(item), *best))
    return Choice(entries, tuple(datatakes), tuple(notes), orbits[0], tuple(orbits))


def _is_allowed(orbit: tuple[str, int], settings: SearchSentinel1) -> bool:
    return settings.orbit_state in ("auto", orbit[0]) and settings.relative_orbit in (None, orbit[1])


def _superseded(items: Sequence[Item], orbit_by_id: Mapping[str, tuple[str, int]], provider: Provider, area: Area) -> dict[str, str]:
    """Return reasons for items that show nothing which later processings of the same second and orbit do not show, by id.

    Slices of a pass whose catalogue states only the day have the same second, too, and complement each other.
    """
    groups: dict[tuple[Any, ...], list[Item]] = {}
    for item in sorted(items, key=lambda item: item.id, reverse=True):
        groups.setdefault((platform_of(item), item.datetime, *orbit_by_id[item.id]), []).append(item)
    reasons = {}
    for members in groups.values():
        kept: list[str] = []
        shown = np.zeros(area.cells.shape, bool)
        for item in members if len(members) > 1 else ():
            pixels = _with_data(item, provider, area) & area.cells
            if kept and (pixels & ~shown).sum() <= TOLERANCE * pixels.sum():
                reasons[item.id] = f"superseded by {' and '.join(kept)}: the same acquisition and the same ground"
            else:
                kept.append(item.id)
                shown |= pixels
    return reasons


@dataclass(frozen=True)
class Measured:
    """What the pixels of an orbit cover.

    Attributes:
        items: number of its items in all years.
        passes: by name.
        covered: share of the area's cells with data by year, to six digits.
    """

    items: int
    passes: dict[str, Pass]
    covered: dict[str, float]


def _passes(items: Sequence[Item], provider: Provider, windows: Windows, area: Area) -> Measured:
    """Measure the passes of one orbit."""
    by_pass: dict[str, list[Item]] = {}
    for item in by_id(items):
        by_pass.setdefault(pass_of(item), []).append(item)
    by_year = {year: np.zeros(area.cells.shape, bool) for year in windows}
    passes = {}
    for name, members in by_pass.items():
        of_pass, under = np.zeros(area.cells.shape, bool), np.zeros(area.cells.shape, bool)
        for item in members:
            pixels = _with_data(item, provider, area)
            of_pass |= pixels
            under |= pixels_under(item.geometry, area.geobox)
            for year, window in windows.items():
                if outside(item, {year: window}) is None:
                    by_year[year] |= pixels
        passes[name] = Pass(tuple(members), area.share(of_pass), not of_pass.any() and bool(under.any()))
    return Measured(len(items), passes, {year: area.share(pixels) for year, pixels in by_year.items()})


def _with_data(item: Item, provider: Provider, area: Area) -> NDArray[np.bool_]:
    """Return where VV of an item has data, above 0, (row, column) on the area's grid; nowhere where its file is not there.

    Raises:
        UserError: the file is refused, fails, or is not what the catalogue says.
    """

    def read(source: Source) -> NDArray[np.bool_]:
        values = sampled(source, area.geobox)
        return np.asarray(np.isfinite(values) & (values > 0))

    try:
        pixels: NDArray[np.bool_] = read_checked(_claim(item, "VV"), provider, read)
    except UserError as error:
        if not ABSENT.search(error.found):  # a temporary failure must not change the choice
            raise
        logger.warning("the pixels of %s are not known: %s", item.id, error.found)
        return np.zeros(area.cells.shape, bool)
    return pixels


def _ranked(measured: Mapping[tuple[str, int], Measured]) -> list[Orbit]:
    """Return the orbits, the best first."""
    orbits = [Orbit(state, number, orbit.items, orbit.covered) for (state, number), orbit in measured.items()]
    return sorted(
        orbits, key=lambda orbit: (-round(min(orbit.covered_share.values()), 3), -orbit.items, orbit.orbit_state, orbit.relative_orbit)
    )


def orbit_of(item: Item) -> tuple[str, int] | None:
    """Return pass direction and relative orbit, or None where the catalogue lacks one of them."""
    state, number = item.properties.get("sat:orbit_state"), _whole(item.properties.get("sat:relative_orbit"))
    state = state.lower() if isinstance(state, str) else ""
    return None if state not in ("ascending", "descending") or number is None else (state, number)


def _whole(value: object) -> int | None:
    """Return a positive whole number, also one written as text; None for anything else."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value) else number_of(value)
    return int(number) if number is not None and number > 0 and number == int(number) else None


def pass_of(item: Item) -> str:
    """Return the name of the pass of a slice: platform and absolute orbit, else platform and date."""
    parts = re.search(r"^(S1[A-Z])_.*_(\d{6})_[0-9A-F]{6}(?:_|$)", item.id)
    platform = parts[1] if parts else platform_of(item) or "S1"
    absolute = _whole(item.properties.get("sat:absolute_orbit")) or (int(parts[2]) if parts else None)
    return f"{platform}_{absolute:06d}" if absolute else f"{platform}_{item.day:%Y%m%d}"


def _claim(item: Item, band: str) -> Claim:
    return Claim("s1", item.id, band, item.hrefs[band], item.geometry)


def _headers(item: Item, provider: Provider) -> dict[str, dict[str, Any]]:
    """Return the grids of an item's files by band; checks their headers, and that both polarisations lie on one grid."""
    headers: dict[str, dict[str, Any]] = {band: read_checked(_claim(item, band), provider, header_of) for band in BANDS["s1"]}
    if headers["VV"] != headers["VH"]:
        raise _claim(item, "VH").contradiction(f"the grid of VV, {headers['VV']},", f"{headers['VH']}")
    return headers


def _notes(item: Item, band: str, header: Mapping[str, Any]) -> list[str]:
    return grid_notes(item.id, band, item.grids.get(band, {}), header)
