"""Tell the days of the Sentinel-2 images that each pixel of the composites of a year was taken from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.composite.seams import SEVERAL
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import split_tag
from smallmines.dataset.scenes import scene_tags
from smallmines.grid.lattice import Lattice
from smallmines.map.mosaics import block_window, own_windows
from smallmines.sensors.manifest_files import read_manifest

NEVER = (np.iinfo(np.int32).max, 0)
"""First and last day of a pixel without an image: any other day is earlier, or later."""

Days = NDArray[np.int32]
"""Days as `datetime.date.toordinal` counts them."""


@dataclass(frozen=True)
class ImageDates:
    """Days of the images of a year.

    Attributes:
        lattice: of the run.
        sources: `s2_source.tif` by block.
        composites: `s2.tif` by block; their tag names the images that the block uses.
        manifest: `manifests/<year>/s2.json`, which states the time of each image.
    """

    lattice: Lattice
    sources: Mapping[str, str]
    composites: Mapping[str, str]
    manifest: str | Path
    _tables: dict[str, tuple[Days, Days]] = field(default_factory=dict, repr=False, compare=False)
    """First and last day by value of a block's scene raster."""

    @cached_property
    def _own(self) -> dict[str, list[Window]]:
        return {block: list(own_windows(self.lattice, block)) for block in self.lattice.windows}

    def read(self, window: Window) -> tuple[Days, Days]:
        """Return the first and last day of each pixel of a window of whole rows of tiles on the run's lattice; `NEVER` without an image.

        Raises:
            UserError: a raster is on another grid, or names an image that the manifest lacks.
        """
        top, bottom = int(window.row_off), int(window.row_off + window.height)
        shape = (bottom - top, self.lattice.geobox.shape.x)
        first, last = (np.full(shape, day, np.int32) for day in NEVER)
        for block in self.lattice.windows:
            own = [part for part in self._own[block] if top <= part.row_off < bottom]
            if not own:
                continue
            with raster.opened(self.sources[block]) as source:
                raster.require_grid(source, self.lattice.block(block))
                for part in own:
                    scene = source.read(1, window=block_window(self.lattice, block, part))
                    place = Window(part.col_off, part.row_off - top, part.width, part.height).toslices()
                    first[place], last[place] = (days[scene] for days in self._table(block))
        return first, last

    def _table(self, block: str) -> tuple[Days, Days]:
        if block not in self._tables:
            with raster.opened(self.composites[block]) as composite, raster.opened(self.sources[block]) as source:
                tags = scene_tags(composite, source)
            days = days_of(self.manifest)
            items, used = split_tag(tags["ITEMS"]), split_tag(tags["BLOCK_ITEMS"])
            if missing := sorted({*items, *used} - set(days)):
                found = f"{len(missing)} of {len(items)} missing, first {missing[0]}"
                raise UserError(f"the images of {self.sources[block]} in {self.manifest}", found, "run again with --forcerun composite_s2")
            first, last = (np.full(256, day, np.int32) for day in NEVER)
            numbers = [days[item] for item in items[: SEVERAL - 1]]
            first[1 : len(numbers) + 1] = last[1 : len(numbers) + 1] = numbers
            if used:
                first[SEVERAL], last[SEVERAL] = min(days[item] for item in used), max(days[item] for item in used)
            self._tables[block] = first, last
        return self._tables[block]


def days_of(manifest: str | Path) -> dict[str, int]:
    """Return the day of each chosen image of a manifest by its id."""
    return {item.entry.id: dt.date.fromisoformat(item.entry.datetime[:10]).toordinal() for item in read_manifest(manifest).chosen}


def day_text(day: int) -> str:
    """Return a day as `YYYY-MM-DD`; empty for `NEVER`."""
    return "" if day in NEVER else dt.date.fromordinal(day).isoformat()
