"""What the choice of Sentinel-2 and of Sentinel-1 items share: the sampled area, reasons for rejection, the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.archive.catalogue import Windows
from smallmines.grid.lattice import Lattice
from smallmines.sensors.manifest import Datatake, Entry, Item, Orbit

STEP = 8
"""Shares are measured on every 8th pixel of the lattice in both directions (80 m at 10 m)."""


NO_DATA = "no data on the cells of the area"
ABSENT_FILE = "file not there"
UNIDENTIFIED = ("no processing baseline", "no pass direction or relative orbit")
UNDECLARED = "baseline not published"
MISSING = "bands missing"
EXCLUDED = "excluded"
OTHER_LEVEL = "no surface reflectance"
MISPLACED = "files of another band"
BROKEN = (NO_DATA, ABSENT_FILE, *UNIDENTIFIED, UNDECLARED, MISSING, EXCLUDED, OTHER_LEVEL, MISPLACED)
"""Reasons, up to a colon, that are no ordinary ranking: items that are dropped for them are told on screen and in the manifest."""


@dataclass(frozen=True)
class Area:
    """The area of a run, sampled every `STEP` pixels.

    Attributes:
        geobox: the coarse grid; its pixel centres are centres of pixels of the lattice.
        cells: (row, column) True where a coarse pixel lies in a cell.
    """

    geobox: GeoBox
    cells: NDArray[np.bool_]

    def share(self, mask: NDArray[np.bool_]) -> float:
        """Share of the cells where `mask` is true, to six digits."""
        return round(float(mask[self.cells].mean()), 6)


@dataclass(frozen=True)
class Choice:
    """The chosen items, and what the manifest records besides.

    Attributes:
        entries: chosen items by index.
        datatakes, notes, orbit, orbits: see `Manifest`.
    """

    entries: Sequence[Entry]
    datatakes: tuple[Datatake, ...] | None = None
    notes: tuple[str, ...] | None = None
    orbit: Orbit | None = None
    orbits: tuple[Orbit, ...] | None = None


class Rejected(dict[str, str]):
    """Reasons for rejection by item id."""

    def sieve(self, items: Iterable[Item], reason: Callable[[Item], str | None]) -> list[Item]:
        """Return the items for which `reason` is None; record the reason of the others."""
        kept = []
        for item in items:
            if (text := reason(item)) is None:
                kept.append(item)
            else:
                self[item.id] = text
        return kept


def area_of(lattice: Lattice) -> Area:
    """Sample a lattice: every `STEP`th pixel, or one per cell where cells are smaller."""
    step = min(STEP, lattice.tile_size)
    sampled = [np.arange(step // 2, size, step) for size in lattice.geobox.shape]
    rows, cols = (index // lattice.tile_size for index in sampled)
    is_cell = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), bool)
    is_cell[lattice.cells["row"], lattice.cells["col"]] = True
    start = step // 2 + 0.5 - step / 2
    transform = lattice.geobox.transform @ Affine.translation(start, start) @ Affine.scale(step)
    return Area(GeoBox((len(rows), len(cols)), transform, lattice.geobox.crs), is_cell[np.ix_(rows, cols)])


def outside(item: Item, windows: Windows) -> str | None:
    """Return why an item lies in none of the windows, or None."""
    if any(first <= item.day <= last for first, last in windows.values()):
        return None
    return f"outside the dates: {item.day}"


def merged(first: Iterable[str], *more: Iterable[str]) -> tuple[str, ...]:
    """Return notes in order, each once."""
    return tuple(dict.fromkeys(note for notes in (first, *more) for note in notes))


def platform_of(item: Item) -> str | None:
    """Return the platform that the catalogue states; None where it states none."""
    platform = item.properties.get("platform")
    return platform if isinstance(platform, str) else None
