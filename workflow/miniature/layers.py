"""Whole-world arrays on disk, made window by window: what bounds the memory of a world of any size."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

# rasterio hushes this one itself while it burns, but not in several threads at a time
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

SIDE = 1024
"""Side in pixels of a window; a multiple of 256, so that windows are whole tiles of the files."""

Array = NDArray[Any]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Window:
    """A rectangle of the world.

    Attributes:
        rows, cols: its pixels.
        shape: of the whole world.
    """

    rows: slice
    cols: slice
    shape: tuple[int, int]

    @property
    def at(self) -> tuple[slice, slice]:
        """Index of the window in a whole array."""
        return self.rows, self.cols

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    def wider(self, halo: int) -> Window:
        """The window with `halo` pixels more on each side, within the world."""
        rows, cols = (slice(max(0, part.start - halo), min(size, part.stop + halo)) for part, size in zip(self.at, self.shape, strict=True))
        return Window(rows, cols, self.shape)

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """Index of this window in an array of the window `outer`."""
        rows, cols = (slice(mine.start - its.start, mine.stop - its.start) for mine, its in zip(self.at, outer.at, strict=True))
        return rows, cols

    def halved(self) -> Window:
        """The window on the grid of pixels of twice the size (edges at even numbers)."""
        rows, cols = (slice(part.start // 2, part.stop // 2) for part in self.at)
        return Window(rows, cols, (self.shape[0] // 2, self.shape[1] // 2))


def windows(shape: tuple[int, int], rows: slice | None = None, cols: slice | None = None) -> list[Window]:
    """The windows of the world's fixed division that touch some rows and columns (default: all), cut to them, row by row."""
    rows, cols = rows or slice(0, shape[0]), cols or slice(0, shape[1])
    tops, lefts = (range(part.start // SIDE * SIDE, part.stop, SIDE) for part in (rows, cols))
    return [
        Window(
            slice(max(top, rows.start), min(top + SIDE, rows.stop)),
            slice(max(left, cols.start), min(left + SIDE, cols.stop)),
            shape,
        )
        for top in tops
        for left in lefts
    ]


def in_threads(work: Callable[[T], R], todo: list[T]) -> Iterator[R]:
    """`work` on each of `todo` in as many threads as there are processors; results in order, few of them waiting at a time."""
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        running = deque(pool.submit(work, one) for one in todo[: threads + 1])
        for one in [*todo[threads + 1 :], None]:
            while running and (one is None or len(running) > threads):
                yield running.popleft().result()
            if one is not None:
                running.append(pool.submit(work, one))


@dataclass(frozen=True)
class Layer:
    """A whole-world array in a file, (row, column) or (band, row, column).

    Reading and writing map the file for as long as it takes: a mapping that stayed would count as memory of the process.
    """

    path: Path
    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> Array:
        """A copy of a part."""
        return np.array(np.load(self.path, mmap_mode="r")[index])

    def __setitem__(self, index: Any, values: Array) -> None:
        """Write a part."""
        np.load(self.path, mmap_mode="r+")[index] = values


@dataclass(frozen=True)
class Scratch:
    """A folder for whole-world arrays that lives as long as the world is made.

    Attributes:
        shape: rows and columns of the world.
    """

    folder: Path
    shape: tuple[int, int]

    def filled(self, name: str, dtype: type, values: Callable[[Window], Array], bands: int | None = None) -> Layer:
        """A new layer whose windows are `values`, computed in threads."""
        layer = Layer(self.folder / f"{name}.npy", self.shape if bands is None else (bands, *self.shape))
        np.lib.format.open_memmap(layer.path, mode="w+", dtype=dtype, shape=layer.shape)

        def fill(window: Window) -> None:
            layer[(..., *window.at)] = values(window)

        for _ in in_threads(fill, windows(self.shape)):
            pass
        return layer


@contextmanager
def scratch(beside: Path, shape: tuple[int, int]) -> Iterator[Scratch]:
    """A scratch folder below `beside`, removed when the block ends."""
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".world-", dir=beside) as folder:
        yield Scratch(Path(folder), shape)


class Shapes:
    """Geometries in pixel coordinates (column, row) that are burnt window by window."""

    def __init__(self, shapes: Array) -> None:
        import shapely

        self._shapes = shapes
        self._tree = shapely.STRtree(shapes)

    def burn(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of the window whose centres lie in a geometry."""
        import shapely
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        box = shapely.box(window.cols.start, window.rows.start, window.cols.stop, window.rows.stop)
        found = self._shapes[np.sort(self._tree.query(box))]
        if not len(found):
            return np.zeros(window.size, bool)
        # a row and a column more, since GDAL takes the identity for no transform at all
        origin, (height, width) = Affine.translation(window.cols.start - 1, window.rows.start - 1), window.size
        return np.asarray(rasterize(list(found), (height + 1, width + 1), transform=origin, dtype="uint8")[1:, 1:] > 0)


def bilinear(coarse: Array, step: int, window: Window) -> NDArray[np.float32]:
    """A grid of cells of `step` pixels at the pixels of a window, linear between the middles of the cells, float32."""

    def place(part: slice, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        at = (np.arange(part.start, part.stop) + 0.5) / step - 0.5
        at = at.clip(0, size - 1)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    top, bottom, down = place(window.rows, coarse.shape[0])
    left, right, across = place(window.cols, coarse.shape[1])
    lines = coarse[top] * (1 - down)[:, None] + coarse[bottom] * down[:, None]
    return np.asarray(lines[:, left] * (1 - across) + lines[:, right] * across, np.float32)
