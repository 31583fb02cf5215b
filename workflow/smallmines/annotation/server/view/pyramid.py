"""Levels of a raster for zooming out, on its own grid: level `z` has pixels of 2^z × 2^z pixels of the raster.

Levels 0 and 1 are read from the raster, window by window. Of level 2, one pass over the raster makes a small array, from which the
further ones are cut, so that no overview decodes the whole raster again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.annotation.images import limits_of
from smallmines.core import memory, raster
from smallmines.core.errors import UserError
from smallmines.core.files import digest, read_json, write_json, written

SIDE = 256
"""Side of a tile in pixels."""

KEPT = 2
"""Level that is kept as an array."""

VERSION = 1
"""Raised by hand whenever tiles of the same files are to look otherwise: part of the folder's name in the cache."""

Merge = Literal["average", "mode"]
"""How pixels become one of a higher level: mean, or the most frequent class."""

_tiles, _preparations = ([threading.Lock() for _ in range(64)] for _ in range(2))


def tile_lock(path: Path) -> threading.Lock:
    """Return the lock under which a tile is made, so that two threads do not make it at once."""
    return _tiles[hash(path) % len(_tiles)]


def preparation_lock(path: Path) -> threading.Lock:
    """Return the lock under which what several tiles need is made; it may be taken under a `tile_lock`, and never the other way round."""
    return _preparations[hash(path) % len(_preparations)]


def levels(shape: tuple[int, int]) -> int:
    """Return the number of levels of a raster: the last one has a single tile."""
    return max(0, (-(-max(shape) // SIDE) - 1).bit_length()) + 1


def require_tile(shape: tuple[int, int], z: int, x: int, y: int) -> None:
    """Check that a raster has a tile.

    Raises:
        UserError: it has none there.
    """
    rows, cols = (-(-side // (SIDE << z)) if 0 <= z < levels(shape) else 0 for side in shape)
    if not (0 <= x < cols and 0 <= y < rows):
        raise UserError(f"a tile z/x/y of {levels(shape)} levels of {shape[1]} × {shape[0]} pixels", f"{z}/{x}/{y}", "ask for another")


def identity(path: Path) -> str:
    """Return a name for the present content of a file, 16 hex digits; another one whenever the file was written again.

    Raises:
        UserError: the file is missing.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}", "no such file", "run the workflow again, which makes it") from None
    return digest([VERSION, path.as_posix(), state.st_size, state.st_mtime_ns, state.st_ino])


@dataclass(frozen=True)
class Pyramid:
    """Levels of some bands of a raster.

    Attributes:
        bands: names; None: the first band, whatever its name.
        folder: of the cache, for this content of the file.
    """

    path: Path
    bands: tuple[str, ...] | None
    merge: Merge
    folder: Path

    def limits(self, bands: Sequence[str]) -> list[tuple[float, float]]:
        """Return the values shown darkest and brightest of some bands, see `images.limits_of`."""
        path = self.folder / "limits.json"
        with preparation_lock(path):
            if path.is_file():
                found = read_json(path)
            else:
                names = self.bands or ()
                with memory.alone():
                    found = dict(zip(names, limits_of(self.path, names), strict=True))
                with suppress(OSError):  # a full disk costs time, not the picture
                    write_json(path, found)
        return [(float(found[band][0]), float(found[band][1])) for band in bands]

    def prepare(self) -> None:
        """Make the kept level, unless it is there."""
        with preparation_lock(self._kept):
            if not self._kept.is_file():
                with memory.alone():
                    self._make()

    @property
    def _kept(self) -> Path:
        return self.folder / f"level-{KEPT}.npy"

    def _make(self) -> None:
        """Read the raster once, in strips."""
        with raster.opened(self.path) as source, rasterio.Env(GDAL_NUM_THREADS="2"):
            numbers = self._numbers(source)
            step, (height, width) = 1 << KEPT, source.shape
            kept = np.zeros((len(numbers), -(-height // step), -(-width // step)), source.dtypes[0])
            for window in raster.strips(source.shape):
                top, size = int(window.row_off), int(window.height)
                strip = source.read(numbers, window=window)
                for band, values in enumerate(strip):
                    part = merged(values[np.newaxis], step, source.nodata, self.merge)[0]
                    kept[band, top // step : -(-(top + size) // step)] = part
        with written(self._kept, sweep=False) as beside, beside.open("wb") as file:
            np.save(file, kept)

    def _numbers(self, source: rasterio.DatasetReader) -> list[int]:
        return [1] if self.bands is None else raster.band_indices(source, self.bands)

    def window(self, bands: Sequence[str] | None, z: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[Any]:
        """Return some bands in a window of level `z` (band, row, column), in the raster's type and with its nodata.

        Args:
            rows, cols: first and last + 1, within the level.
        """
        if z >= KEPT:
            return self._cut(bands, z, rows, cols)
        with raster.opened(self.path) as source:
            height, width = source.shape
            top, left = rows[0] << z, cols[0] << z
            window = Window(left, top, min(cols[1] << z, width) - left, min(rows[1] << z, height) - top)
            cube: NDArray[Any] = source.read([1] if bands is None else raster.band_indices(source, bands), window=window)
            return merged(cube, 1 << z, source.nodata, self.merge)

    def _cut(self, bands: Sequence[str] | None, z: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[Any]:
        """Return a window of a level from the kept one, see `window`."""
        self.prepare()
        kept = np.load(self._kept, mmap_mode="r")
        step = 1 << (z - KEPT)
        chosen = [0] if bands is None else [(self.bands or ()).index(band) for band in bands]
        part = kept[:, rows[0] * step : rows[1] * step, cols[0] * step : cols[1] * step][chosen]
        return merged(part, step, self.nodata, self.merge)

    @property
    def nodata(self) -> float | None:
        """Value without meaning in the raster; None: none."""
        with raster.opened(self.path) as source:
            return None if source.nodata is None else float(source.nodata)


def _valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isfinite(values))
    return np.ones(values.shape, bool) if nodata is None else np.asarray(values != nodata)


def merged(cube: NDArray[Any], step: int, nodata: float | None, merge: Merge) -> NDArray[Any]:
    """Merge squares of `step` pixels of (band, row, column) to one each; nodata only where no pixel has a value.

    Squares at the right and lower end may be cut.
    """
    if step == 1:
        return cube
    empty = np.nan if nodata is None else nodata
    short = [-side % step for side in cube.shape[1:]]
    if any(short):
        cube = np.pad(cube, ((0, 0), (0, short[0]), (0, short[1])), mode="edge")
    if merge == "mode":
        classes = np.unique(cube)
        return np.asarray(classes[np.argmax([_sums(cube == value, step, np.uint16) for value in classes], axis=0)])
    valid = _valid(cube, nodata)
    if valid.all():
        mean: NDArray[Any] = _sums(cube, step, np.float32) / step**2
    else:
        number = _sums(valid, step, np.float32)
        mean = _sums(np.where(valid, cube, 0), step, np.float32) / np.maximum(number, 1)
        mean = np.where(number > 0, mean, empty)
    return np.asarray((np.rint(mean) if cube.dtype.kind != "f" else mean).astype(cube.dtype))


def _sums(cube: NDArray[Any], step: int, dtype: type) -> NDArray[Any]:
    """Return the sums over squares of `step` pixels, as strided additions: ten times as fast as a sum over reshaped axes."""
    total = np.zeros((cube.shape[0], cube.shape[1] // step, cube.shape[2] // step), dtype)
    for row in range(step):
        for col in range(step):
            total += cube[:, row::step, col::step]
    return total
