"""Sections of the configuration as the rules hand them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from smallmines.archive.fetch import Cache
from smallmines.config import sections
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.settings import aoi, assistant, candidates, doctor, grid, samples, segmentation, splits, transfer
from smallmines.settings.fetch import FETCH, Fetch
from smallmines.settings.parameters import settings_of
from smallmines.settings.search import SEARCH, Search

T = TypeVar("T")
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


def _of(section: type[BaseModel], kind: type[T]) -> Callable[..., T]:
    """Makes what the rules hand on, from keys of a section and its defaults."""
    return lambda **keys: settings_of(section(**keys), kind)


Aoi = _of(sections.Aoi, aoi.Aoi)
Boundaries = _of(sections.Aoi, aoi.Boundaries)
Assistant = _of(sections.Assistant, assistant.Assistant)
Samples = _of(sections.Assistant, samples.Samples)
Candidates = _of(sections.Annotate, candidates.Candidates)
Doctor = _of(sections.Doctor, doctor.Doctor)
Grid = _of(sections.Grid, grid.Grid)
Segmentation = _of(sections.Segmentation, segmentation.Segmentation)
Splits = _of(sections.Splits, splits.Splits)
Transfer = _of(sections.Transfer, transfer.Transfer)
