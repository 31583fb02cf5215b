"""Counts of the pixels of a Sentinel-2 composite in the block's own cells, collected strip by strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.composite.observations import CLEAR, NONE, Surface
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice
from smallmines.sensors.haze import LEAST_DATES

BRIGHTEST = 20000
"""DN without offset that no surface and no cloud exceeds. Maxima measured: 18079 in 118 cloudy dates over Flanders, 14968 on snow in
Ontario, 5374 on savanna in Tanzania. Sentinel-2 files whose values are broken have 64000 and more."""


class PixelCounts:
    """Counts of a block's own pixels.

    Attributes:
        by_grade: by grade and index of the scene, int64 (4, 256).
        kept: by row and column of the cell, pixels that count as clear because they are stable.
        levels: digital numbers.
        clear, hazy: by datatake in rank order, observations that the scene classification calls clear; of these, hazy ones.
        assessed: pixels with enough clear observations to look for haze.
    """

    def __init__(self, own: NDArray[np.bool_], tile_size: int, offset: int, datatakes: int) -> None:
        """Start at 0.

        Args:
            own: (row, column) True in the block's own cells.
            tile_size: in px.
            offset: of the digital numbers.
            datatakes: their number.
        """
        self.own, self.tile_size = own, tile_size
        self.by_grade = np.zeros((CLEAR + 1, 256), np.int64)
        self.kept = np.zeros(tuple(size // tile_size for size in own.shape), np.int64)
        self.levels = Levels(offset)
        self.clear, self.hazy = np.zeros(datatakes, np.int64), np.zeros(datatakes, np.int64)
        self.assessed = 0

    def add_haze(self, strip: Window, takes: Sequence[Surface], are_hazy: NDArray[np.bool_]) -> None:
        """Count the hazy observations of a strip, see `without_haze`."""
        inside = self._inside(strip)
        clear = (np.stack([take.grade == CLEAR for take in takes]) | are_hazy) & inside
        self.clear += clear.sum(axis=(1, 2))
        self.hazy += (are_hazy & inside).sum(axis=(1, 2))
        self.assessed += int((clear.sum(axis=0) >= LEAST_DATES).sum())

    def add(self, strip: Window, takes: Sequence[Surface], done: Surface, kept: NDArray[np.bool_]) -> None:
        """Count the pixels of a strip, and those of them that are `kept`."""
        inside = self._inside(strip)
        row, col = np.nonzero(kept & inside)
        np.add.at(self.kept, ((row + strip.row_off) // self.tile_size, col // self.tile_size), 1)
        for grade, counts in enumerate(self.by_grade):
            counts += np.bincount(done.source[inside & (done.grade == grade)], minlength=256)
        self.levels.add(done.dn, done.source, np.any([take.grade > NONE for take in takes], axis=0), inside)

    def _inside(self, strip: Window) -> NDArray[np.bool_]:
        return self.own[strip.row_off : strip.row_off + strip.height]

    @property
    def clear_share(self) -> float:
        """Share of the pixels that are clear."""
        return int(self.by_grade[CLEAR].sum()) / max(1, int(self.by_grade.sum()))

    def kept_pixels(self, lattice: Lattice, block: str) -> dict[str, Any]:
        """Return the statistics of the pixels that count as clear because they are stable, in all and by tile."""
        row, col, _, _ = lattice.windows[block]
        by_tile = {tile.tile_id: int(self.kept[tile.row - row, tile.col - col]) for tile in lattice.tiles_of(block)}
        return {"kept_pixels": sum(by_tile.values()), "kept_pixels_of_tiles": {name: count for name, count in by_tile.items() if count}}

    def haze(self, state: str, datatakes: Sequence[str]) -> dict[str, Any]:
        """Return the statistics of haze: the state, and where it was corrected the share of pixels with enough dates and of hazy ones.

        Args:
            state: see `haze_state`.
            datatakes: their names.
        """
        if not self.clear.any():
            return {"state": state}
        shares = {name: round(int(number) / int(of), 6) for name, number, of in zip(datatakes, self.hazy, self.clear, strict=True) if of}
        return {"state": state, "assessed_share": round(self.assessed / max(1, self.levels.pixels), 6), "hazy_share_of_clear": shares}


class Levels:
    """Digital numbers of a composite.

    Attributes:
        counts: by band and digital number, int64 (10, 65536).
        pixels: number of own pixels.
        seen: number of own pixels that some datatake observed, clear or not.
        bright: pixels above `BRIGHTEST` in some band, by index of the scene.
        scenes: pixels by index of the scene.
    """

    def __init__(self, offset: int) -> None:
        """Start at 0. `offset` is that of the digital numbers."""
        self.offset = offset
        self.counts = np.zeros((len(S2_BANDS), 65536), np.int64)
        self.pixels = self.seen = 0
        self.bright, self.scenes = np.zeros(256, np.int64), np.zeros(256, np.int64)

    def add(self, dn: NDArray[np.uint16], source: NDArray[np.uint8], seen: NDArray[np.bool_], inside: NDArray[np.bool_]) -> None:
        """Count the pixels of a strip that are `inside` the own cells.

        Args:
            dn: (band, row, column), 0 = nodata.
            source: (row, column) index of the scene, 0 = none.
            seen: (row, column) True where some datatake observed the pixel.
        """
        valid = inside & (source > 0)
        for counts, band in zip(self.counts, dn, strict=True):
            counts += np.bincount(band[valid], minlength=65536)
        self.pixels += int(inside.sum())
        self.seen += int((seen & inside).sum())
        self.scenes += np.bincount(source[valid], minlength=256)
        self.bright += np.bincount(source[valid & (dn.max(axis=0) > BRIGHTEST + self.offset)], minlength=256)

    def medians(self) -> dict[str, int]:
        """Return the median of each band in DN without offset; empty without pixels."""
        if not self.scenes.any():
            return {}
        half = (self.scenes.sum() + 1) // 2
        medians = [int(np.searchsorted(np.cumsum(counts), half)) - self.offset for counts in self.counts]
        return dict(zip(S2_BANDS, medians, strict=True))
