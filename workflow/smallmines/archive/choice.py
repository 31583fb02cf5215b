"""The choice among an archive's items: sieved, ranked by whole datatakes or passes, the rejected with reasons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.archive.catalogue import Item, Windows, by_id
from smallmines.archive.providers import AOT, BANDS, METADATA, Provider
from smallmines.archive.read import Source, onto, reading
from smallmines.archive.signing import ABSENT, text_of
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.grid.lattice import Lattice
from smallmines.sensors.radiometry import baseline_of, declared_offset, has_offset, read_metadata
from smallmines.sensors.scl import SCL, clear_mask
from smallmines.settings.search import SearchSentinel1, SearchSentinel2

STEP = 8
"""Shares are measured on every 8th pixel of the lattice in both directions (80 m)."""

AOT_SCALE = 1000.0
"""Digital numbers of the aerosol optical thickness per unit."""


@dataclass(frozen=True)
class Area:
    """The cells of the run, sampled: a coarse grid and which of its pixels lie in cells."""

    geobox: GeoBox
    cells: NDArray[np.bool_]

    def share(self, mask: NDArray[np.bool_]) -> float:
        """Share of the cells where `mask` is true, to six digits."""
        return round(float(mask[self.cells].mean()), 6)


class Rejected(dict[str, str]):
    """Reasons by item id."""

    def sieve(self, items: Iterable[Item], reason: Callable[[Item], str | None]) -> list[Item]:
        """The items without a reason against them; the others are noted."""
        kept = []
        for item in items:
            if (why := reason(item)) is None:
                kept.append(item)
            else:
                self[item.id] = why
        return kept


def area_of(lattice: Lattice) -> Area:
    """Every 8th pixel of the lattice (or one a cell, where cells are smaller), as a grid whose pixel centres they are."""
    step = min(STEP, lattice.tile_size)
    picked = [np.arange(step // 2, size, step) for size in lattice.geobox.shape]
    rows, cols = (index // lattice.tile_size for index in picked)
    kept = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), bool)
    kept[lattice.cells["row"], lattice.cells["col"]] = True
    start = step // 2 + 0.5 - step / 2
    transform = lattice.geobox.transform @ Affine.translation(start, start) @ Affine.scale(step)
    return Area(GeoBox((len(rows), len(cols)), transform, lattice.geobox.crs), kept[np.ix_(rows, cols)])


def outside(item: Item, windows: Windows) -> str | None:
    """Why an item lies in none of the windows, or None."""
    if any(first <= item.day <= last for first, last in windows.values()):
        return None
    return f"outside the dates: {item.day}"


# Sentinel-2 ---------------------------------------------------------------------------------------------------------

_PRODUCT = re.compile(r"(?P<platform>S2[A-Z])_MSIL2A_(?P<start>\d{8}T\d{6})_(?:N\d{4}_)?R\d{3}_(?P<tile>T\w{5})(?:_(?P<made>\d{8}T\d{6}))?")
_DATATAKE = re.compile(r"G(?P<platform>S2[A-Z])_(?P<start>\d{8}T\d{6})_")


@dataclass(frozen=True)
class Scene:
    """What tells Sentinel-2 items apart: datatake, tile, and for two of the same: baseline, then time of processing."""

    datatake: str
    tile: str
    baseline: int
    made: str


def scene_of(item: Item, provider: Provider) -> Scene | None:
    """The identity of a Sentinel-2 item from its product name, else its properties; None without a processing baseline."""
    said = item.properties
    product = _PRODUCT.search(str(said.get("s2:product_uri") or "")) or _PRODUCT.search(item.id)
    take = product or _DATATAKE.search(str(said.get("s2:datatake_id") or ""))
    datatake = f"{take['platform']}_{take['start']}" if take else f"{said.get('platform', 'S2')}_{re.sub('[^0-9T]', '', item.datetime)}"
    tile = product["tile"] if product else str(said.get("grid:code") or said.get("s2:mgrs_tile") or item.id).removeprefix("MGRS-")
    tile = tile if tile.startswith("T") and len(tile) == 6 else f"T{tile}" if len(tile) == 5 else tile
    made = re.sub(r"[^0-9]", "", str(said.get("s2:generation_time") or (product and product["made"]) or ""))[:14]
    baseline = baseline_of(item.id, said, provider.baseline, next(iter(item.hrefs.values()), ""))
    if baseline is None and METADATA in item.hrefs and "metadata" in provider.baseline:
        baseline = read_metadata(text_of(item.hrefs[METADATA], provider))[0]
    return None if baseline is None else Scene(datatake, tile, baseline, made)


def choose_sentinel2(
    items: list[Item], provider: Provider, settings: SearchSentinel2, area: Area, rejected: Rejected
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Sieve duplicates and clouds, rank whole datatakes, keep the best ones.

    Returns:
        The chosen entries in rank order, and {"datatakes": ranking with shares, "notes": contradictions}.
    """
    scenes = {item.id: scene_of(item, provider) for item in items}
    items = rejected.sieve(items, lambda item: None if scenes[item.id] else "no processing baseline")
    known = {name: scene for name, scene in scenes.items() if scene}
    best: dict[tuple[str, str], str] = {}
    for name, scene in sorted(known.items(), key=lambda one: (one[1].baseline, one[1].made, one[0])):
        best[scene.datatake, scene.tile] = name
    winners = {name: best[scene.datatake, scene.tile] for name, scene in known.items()}
    items = rejected.sieve(items, lambda item: None if winners[item.id] == item.id else f"superseded by {winners[item.id]}")
    items = rejected.sieve(items, lambda item: _cloudy(item, settings.max_cloud_cover))
    takes: dict[str, list[Item]] = {}
    for item in items:
        takes.setdefault(known[item.id].datatake, []).append(item)
    ranking: list[dict[str, Any]] = []
    for name, found in sorted(takes.items()):
        members = sorted(found, key=lambda item: (known[item.id].tile, item.id))
        clear, covered, haze = seen_by(members, provider, settings, area)
        cover = [value for item in members if (value := item.properties.get("eo:cloud_cover")) is not None]
        ranking.append(
            {
                "datatake": name,
                "date": str(members[0].day),
                "clear_share": clear,
                "covered_share": covered,
                "cloud_cover": round(float(np.mean(cover)), 6) if cover else None,
                "haze": haze,
                "items": [item.id for item in members],
            }
        )
        hazy = "" if haze is None else f", aerosol optical thickness {haze:.3f}"
        logger.info("%s: clear on %.1f %%, data on %.1f %% of the area%s", name, 100 * clear, 100 * covered, hazy)
    ranking.sort(key=lambda take: (*_merit(take, settings.method), take["date"], take["datatake"]))
    kept: list[dict[str, Any]] = []
    for take in ranking:
        why = _unfit(take, settings, len(kept))
        take["rank"] = None if why else len(kept) + 1
        if why is None:
            kept.append(take)
        else:
            rejected.update(dict.fromkeys(take["items"], why))
    chosen = [
        {
            "id": name,
            "datatake": take["datatake"],
            "rank": take["rank"],
            "tile": known[name].tile,
        }
        for take in kept
        for name in sorted(take["items"], key=lambda one: (known[one].tile, one))
    ]
    by_name = {item.id: item for item in items}
    notes: list[str] = []
    for entry in chosen:
        item = by_name[entry["id"]]
        entry["platform"], entry["cloud_cover"] = item.properties.get("platform"), item.properties.get("eo:cloud_cover")
        entry["baseline"], entry["offset"], said = radiometry_of(item, known[item.id].baseline, provider)
        notes += said
    for note in notes:
        logger.warning(note)
    return chosen, {"datatakes": ranking, "notes": notes}


def _cloudy(item: Item, limit: float) -> str | None:
    cover = item.properties.get("eo:cloud_cover")
    return f"too cloudy: {cover} % above {limit} %" if cover is not None and cover > limit else None


def _merit(take: Mapping[str, Any], method: str) -> tuple[float, ...]:
    if method == "earliest":
        return ()
    if method == "least_cloudy":
        return (101.0 if take["cloud_cover"] is None else take["cloud_cover"],)
    return (-take["clear_share"],)


def _unfit(take: Mapping[str, Any], settings: SearchSentinel2, kept: int) -> str | None:
    if take["covered_share"] == 0:
        return "no data on the cells of the area"
    if settings.max_haze is not None and take["haze"] is not None and take["haze"] > settings.max_haze:
        return f"datatake too hazy: aerosol optical thickness {take['haze']:.3f} above {settings.max_haze}"
    if take["clear_share"] < settings.minimum_clear_share * take["covered_share"]:
        return f"datatake too cloudy: clear on {take['clear_share'] / take['covered_share']:.3f} of what it covers"
    return f"beyond max_datatakes: {settings.max_datatakes}" if kept >= settings.max_datatakes else None


def seen_by(items: Sequence[Item], provider: Provider, settings: SearchSentinel2, area: Area) -> tuple[float, float, float | None]:
    """What a datatake saw of the area's cells, from every 8th pixel, without dilation; where items overlap the first one counts.

    Returns:
        Shares where it is clear and where it has data, and the median aerosol optical thickness of the clear part (None where
        the products lack it).
    """
    seen = np.zeros(tuple(area.geobox.shape), np.uint8)
    haze = np.zeros(seen.shape, np.uint16)
    band = SCL if settings.clouds == "scl" else "B02"
    for item in items:
        found = reading(item.id, band, item.hrefs[band], provider, lambda source: onto(source, area.geobox, "nearest"))
        found = found if settings.clouds == "scl" else (found > 0) * np.uint8(4)
        if AOT in item.hrefs:
            try:
                thickness = reading(item.id, AOT, item.hrefs[AOT], provider, lambda source: onto(source, area.geobox, "nearest"))
                np.copyto(haze, thickness, where=seen == 0)
            except UserError as error:
                if not ABSENT.search(error.found):  # a passing failure must not change what is chosen
                    raise
                logger.warning("the haze of %s is not known: %s", item.id, error.found)
        np.copyto(seen, found.astype(np.uint8), where=seen == 0)
    clear = clear_mask(seen, settings.masked_classes if settings.clouds == "scl" else ())
    known = haze[clear & area.cells & (haze > 0)]
    thick = round(float(np.median(known)) / AOT_SCALE, 4) if known.size else None
    return area.share(clear), area.share(seen > 0), thick


def radiometry_of(item: Item, named: int, provider: Provider) -> tuple[int, bool, list[str]]:
    """Baseline, whether the digital numbers carry the +1000 offset, and notes on contradictions.

    The product's own metadata decide, then the product's name, then the catalogue; see `Provider.baseline`. A provider that says
    that it took the offset off its files is believed; the pixels are held against all of this later.

    Args:
        named: the baseline by name or properties.
    """
    baseline, offset, notes = named, None, []
    if METADATA in item.hrefs and "metadata" in provider.baseline:
        try:
            found, offset = read_metadata(text_of(item.hrefs[METADATA], provider))
            baseline = found or named
        except UserError as error:
            if not ABSENT.search(error.found):
                raise
            notes.append(f"{item.id}: no metadata at {item.hrefs[METADATA]}; the baseline is that of its name")
    places = [place for place in provider.baseline if place != "metadata"]
    href = next(iter(item.hrefs.values()), "")
    said = {place: baseline_of(item.id, item.properties, [place], href) for place in places}
    notes += [f"{item.id}: baseline {baseline}, but {place} says {value}" for place, value in said.items() if value not in (None, baseline)]
    present = declared_offset(item.id, offset) if offset is not None else has_offset(baseline)
    if provider.harmonised and item.properties.get(provider.harmonised):
        notes.append(f"{item.id}: {provider.harmonised} says that the +1000 offset was taken off the files")
        present = False
    return baseline, present, notes


# Sentinel-1 ---------------------------------------------------------------------------------------------------------


def choose_sentinel1(
    items: list[Item], provider: Provider, settings: SearchSentinel1, windows: Windows, year: str, area: Area, rejected: Rejected
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Choose one orbit for all years, then the items of `year` in it.

    The orbit is the one whose footprints cover most of the area in the year where they cover least (to 0.1 %), then the one
    with most items, then the first by pass and number. Every year comes to the same answer, for each asks for all years.

    Returns:
        The chosen entries by pass and id, and {"orbit", "orbits": coverage of each, "datatakes", "notes"}.
    """
    known = {item.id: orbit for item in items if (orbit := orbit_of(item)) is not None}
    items = rejected.sieve(items, lambda item: None if item.id in known else "no pass direction or relative orbit")
    last = {(item.properties.get("platform"), item.datetime, *known[item.id]): item.id for item in items}
    twins = {item.id: last[item.properties.get("platform"), item.datetime, *known[item.id]] for item in items}
    items = rejected.sieve(items, lambda item: None if twins[item.id] == item.id else f"superseded by {twins[item.id]}")
    orbits: list[dict[str, Any]] = []
    for state, number in sorted(set(known.values())):
        if settings.orbit_state not in ("auto", state) or settings.relative_orbit not in (None, number):
            continue
        mine = [item for item in items if known[item.id] == (state, number)]
        of_year = {name: [item for item in mine if outside(item, {name: window}) is None] for name, window in windows.items()}
        covered = {name: _footprint_share(found, area) for name, found in of_year.items()}
        orbits.append({"orbit_state": state, "relative_orbit": number, "items": len(mine), "covered_share": covered})
    if not orbits:
        rejected.update({item.id: "other orbit: not the configured one" for item in items})
        return [], {}
    orbits.sort(key=lambda one: (-round(min(one["covered_share"].values()), 3), -one["items"], one["orbit_state"], one["relative_orbit"]))
    best = (orbits[0]["orbit_state"], orbits[0]["relative_orbit"])
    logger.info("orbit %s %d, covers %s of the area", *best, orbits[0]["covered_share"])
    items = rejected.sieve(items, lambda item: None if known[item.id] == best else f"other orbit: {known[item.id][0]} {known[item.id][1]}")
    items = rejected.sieve(items, lambda item: outside(item, {year: windows[year]}))
    takes: dict[str, list[Item]] = {}
    for item in by_id(items):
        takes.setdefault(pass_of(item), []).append(item)
    notes = [note for item in by_id(items) for note in _grid_notes(item, provider)]
    for note in notes:
        logger.warning(note)
    chosen: list[dict[str, Any]] = []
    ranking: list[dict[str, Any]] = []
    for rank, (name, members) in enumerate(sorted(takes.items()), 1):
        share = _footprint_share(members, area)
        ids = [item.id for item in members]
        ranking.append({"datatake": name, "rank": rank, "clear_share": share, "covered_share": share, "items": ids})
        for item in members:
            platform = item.properties.get("platform")
            entry = {"id": item.id, "datatake": name, "rank": rank, "platform": platform}
            chosen.append(entry | {"orbit_state": best[0], "relative_orbit": best[1]})
    return chosen, {"orbit": orbits[0], "orbits": orbits, "datatakes": ranking, "notes": notes}


def orbit_of(item: Item) -> tuple[str, int] | None:
    """Pass direction and relative orbit."""
    state, number = item.properties.get("sat:orbit_state"), item.properties.get("sat:relative_orbit")
    return None if state is None or number is None else (str(state), int(number))


def pass_of(item: Item) -> str:
    """Name of the pass that a slice is cut from: platform and absolute orbit, else platform and date."""
    said = item.properties
    parts = re.search(r"^(S1[A-Z])_.*_(\d{6})_[0-9A-F]{6}(?:_|$)", item.id)
    platform = parts[1] if parts else str(said.get("platform", "S1"))
    absolute = said.get("sat:absolute_orbit") or (int(parts[2]) if parts else None)
    return f"{platform}_{int(absolute):06d}" if absolute else f"{platform}_{item.day:%Y%m%d}"


def _footprint_share(items: Sequence[Item], area: Area) -> float:
    from rasterio.features import geometry_mask
    from rasterio.warp import transform_geom

    if not items:
        return 0.0
    if any(item.geometry is None for item in items):
        return 1.0
    shapes = [transform_geom("EPSG:4326", str(area.geobox.crs), item.geometry) for item in items]
    return area.share(geometry_mask(shapes, tuple(area.geobox.shape), area.geobox.transform, invert=True))


def _grid_notes(item: Item, provider: Provider) -> list[str]:
    """Where the catalogue's grid contradicts the file's own header, which is what is used."""
    notes = []
    for band in BANDS["s1"]:
        said = item.grids[band]
        found = reading(item.id, band, item.hrefs[band], provider, _header)
        for key, value in said.items():
            same = value == found[key] if key == "proj:code" else np.allclose(value[:6], found[key], rtol=1e-9, atol=1e-6)
            if not same:
                notes.append(f"{item.id} {band}: {key} of the catalogue {value} contradicts the file's header {found[key]}, which is used")
    return notes


def _header(source: Source) -> dict[str, Any]:
    return {"proj:transform": list(source.transform[:6]), "proj:shape": list(source.shape), "proj:code": str(source.crs)}
