"""Check access to the archives: read a few pixels from each configured provider, and say what to do where that fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rasterio.windows import Window

from smallmines.archive.catalogue import Windows, items_of
from smallmines.archive.hub import ask
from smallmines.archive.providers import Provider, provider_of
from smallmines.archive.read import Source, read_asset
from smallmines.archive.release_pins import read_pins, require_stated
from smallmines.archive.search import footprint
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.manifest import BANDS
from smallmines.settings.parameters import settings_of
from smallmines.settings.released import Released

SIDE = 16
"""Side of the square that is read, in px."""


@dataclass(frozen=True)
class AccessResult:
    """Result for one provider.

    Attributes:
        sensor: s2, s1, dem or release.
        provider: its name.
        role: `first choice` or `fallback`.
        works: whether pixels were read.
        found: what was read, or what is wrong.
        do: what to do; empty where it works.
        seconds: time taken, in s.
    """

    sensor: str
    provider: str
    role: str
    works: bool
    found: str
    do: str
    seconds: float


def try_providers(config: Config) -> Iterator[AccessResult]:
    """Read a few pixels from every provider and fallback of a configuration, one after the other, and yield the results.

    The Hugging Face Hub is asked for the release where labels come from it.
    """
    area = area_to_try(config)
    sections: dict[str, Sentinel2 | Sentinel1 | Elevation] = {"s2": config.sentinel2, "s1": config.sentinel1, "dem": config.elevation}
    year, epoch = sorted(config.years.items())[0]
    for sensor, settings in sections.items():
        windows: Windows = {} if sensor == "dem" else {str(year): (epoch.start, epoch.end)}
        for name in dict.fromkeys([settings.provider, *settings.fallbacks]):
            role = "first choice" if name == settings.provider else "fallback"
            began = time.monotonic()
            try:
                found, works, do = _try(sensor, provider_of(sensor, name), settings, area, windows), True, ""
            except UserError as error:
                found, works, do = f"{error.expected}: {error.found}", False, error.do
            yield AccessResult(sensor, name, role, works, found, do, round(time.monotonic() - began, 1))
    if config.labels.source != "people" and config.released.path is None:
        began = time.monotonic()
        try:
            found, works, do = _ask_hub(config), True, ""
        except UserError as error:
            found, works, do = f"{error.expected}: {error.found}", False, error.do
        yield AccessResult("release", "Hugging Face Hub", "labels", works, found, do, round(time.monotonic() - began, 1))


def _ask_hub(config: Config) -> str:
    """Ask the Hub for the release, and hold its answer against what the run is pinned to."""
    settings, user = settings_of(config.released, Released), Layout(config.run).user
    pins = read_pins(user, settings)
    stated = ask(settings.repository, settings.file, pins.revision if pins else settings.revision or "main")
    require_stated(user, settings, pins, stated)
    return f"{stated.address} at revision {stated.revision}, {stated.size / 1e6:.1f} MB, SHA-256 {stated.sha256}"


def _try(sensor: str, provider: Provider, settings: Any, area: dict[str, Any], windows: Windows) -> str:
    """Read a few pixels of the first usable item, and describe them."""
    collection = settings.asset if provider.access == "earthengine" else None
    address, project, excluded = settings.address(provider.name), getattr(settings, "project", None), settings.exclude_items
    items = [item for item in items_of(provider, address, area, windows, collection, project, excluded) if item.id not in excluded]
    band = BANDS[sensor][0]
    usable = [item for item in items if band in item.hrefs]
    if not usable:
        raise UserError(
            f"an item of {provider.collection} here and then", f"{len(items)} items, none with {band}", "check dates, area and catalogue"
        )
    item = usable[0]
    value = read_asset(item.id, band, item.hrefs[band], provider, _middle)
    return f"{len(items)} items; {band} of {item.id}: {value}"


def _middle(source: Source) -> str:
    side = min(SIDE, source.height, source.width)
    pixels = source.read(1, window=Window((source.width - side) // 2, (source.height - side) // 2, side, side))
    return f"{pixels.shape[0]} × {pixels.shape[1]} px of {source.dtypes[0]}, mean {float(pixels.mean()):.1f}"


def area_to_try(config: Config) -> dict[str, Any]:
    """Return the area of the run where its grid exists, else a square of 20 km south-east of the lattice's anchor (GeoJSON in degrees)."""
    from rasterio.warp import transform_geom

    grid = Layout(config.run).grid
    if grid.is_file():
        return footprint(read_lattice(grid))
    x, y = config.grid.anchor.x + 20_000, config.grid.anchor.y - 20_000
    ring = [[x, y], [x, y - 20_000], [x + 20_000, y - 20_000], [x + 20_000, y], [x, y]]
    shape: dict[str, Any] = transform_geom(config.grid.crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, precision=6)
    return {"type": shape["type"], "coordinates": shape["coordinates"]}
