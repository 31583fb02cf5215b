"""Sections of the configuration as the rules hand them on."""

from __future__ import annotations

from pathlib import Path

from smallmines.archive.fetch import Cache
from smallmines.config import Elevation, Sentinel1, Sentinel2
from smallmines.parameters import settings_of
from smallmines.settings.fetch import FETCH, Fetch
from smallmines.settings.search import SEARCH, Search

SENSORS = {Sentinel2: "s2", Sentinel1: "s1", Elevation: "dem"}


def asked(section: Sentinel2 | Sentinel1 | Elevation) -> Search:
    """What `search` reads of a sensor's section."""
    return settings_of(section, SEARCH[SENSORS[type(section)]])


def fetching(section: Sentinel2 | Sentinel1 | Elevation) -> Fetch:
    """What `fetch` reads of a sensor's section."""
    return settings_of(section, FETCH[SENSORS[type(section)]])


def cache(folder: str | Path, reading: int = 1) -> Cache:
    """A cache of pixels."""
    return Cache(Path(folder), reading)
