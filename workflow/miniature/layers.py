"""Arrays of the whole world on disk, computed window by window, so that memory does not grow with the world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miniature.processes import in_processes

SIDE = 1024
"""Side of a window in pixels; a multiple of 256, so that windows consist of whole tiles of the files."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A rectangle of the world.

    Attributes:
        rows, cols: slices of the world.
        shape: rows and columns of the world.
    """

    rows: slice
    cols: slice
    shape: tuple[int, int]

    @property
    def at(self) -> tuple[slice, slice]:
        """Index of the window in an array of the world."""
        return self.rows, self.cols

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    def wider(self, halo: int) -> Window:
        """Return the window with `halo` more pixels on each side, cut to the world."""
        rows, cols = (slice(max(0, part.start - halo), min(size, part.stop + halo)) for part, size in zip(self.at, self.shape, strict=True))
        return Window(rows, cols, self.shape)

    def inside(self, outer: Window) -> tuple[slice, slice]:
        """Return the index of this window in an array of the window `outer`."""
        rows, cols = (slice(mine.start - its.start, mine.stop - its.start) for mine, its in zip(self.at, outer.at, strict=True))
        return rows, cols

    def halved(self) -> Window:
        """Return the window on the grid of pixels of twice the size; its edges must be even."""
        rows, cols = (slice(part.start // 2, part.stop // 2) for part in self.at)
        return Window(rows, cols, (self.shape[0] // 2, self.shape[1] // 2))


def windows(shape: tuple[int, int], rows: slice | None = None, cols: slice | None = None) -> list[Window]:
    """Return the windows that cover some rows and columns (default: all), row by row; they are cut from a fixed division of the world."""
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


@dataclass(frozen=True)
class Layer:
    """An array of the whole world in a file, (row, column) or (band, row, column).

    The file is mapped only while it is read or written, since a lasting mapping counts as memory of the process.
    """

    path: Path
    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> Array:
        """Return a copy of a part."""
        return np.array(np.load(self.path, mmap_mode="r")[index])

    def __setitem__(self, index: Any, values: Array) -> None:
        """Write a part."""
        np.load(self.path, mmap_mode="r+")[index] = values


@dataclass(frozen=True)
class Scratch:
    """A temporary folder for arrays of the whole world.

    Attributes:
        shape: rows and columns of the world.
        jobs: number of processes that fill a layer.
    """

    folder: Path
    shape: tuple[int, int]
    jobs: int = 1

    def empty(self, name: str, dtype: type, bands: int | None = None) -> Layer:
        """Return a new layer of zeros, which takes no space until it is written."""
        layer = Layer(self.folder / f"{name}.npy", self.shape if bands is None else (bands, *self.shape))
        np.lib.format.open_memmap(layer.path, mode="w+", dtype=dtype, shape=layer.shape)
        return layer

    def filled(self, name: str, dtype: type, values: Callable[[Window], Array]) -> Layer:
        """Return a new layer whose windows are computed by `values`."""
        layer = self.empty(name, dtype)

        def fill(window: Window) -> None:
            layer[window.at] = values(window)

        self.each_window(fill)
        return layer

    def each_window(self, work: Callable[[Window], None]) -> None:
        """Call a function on each window, in processes: what it changes in memory is lost, what it writes to layers stays."""
        for _ in in_processes(work, windows(self.shape), self.jobs):
            pass


@contextmanager
def scratch(beside: Path, shape: tuple[int, int], jobs: int = 1) -> Iterator[Scratch]:
    """Yield a scratch folder below `beside`, removed when the block ends."""
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".world-", dir=beside) as folder:
        yield Scratch(Path(folder), shape, jobs)


class Shapes:
    """Geometries in pixel coordinates (column, row), rasterised window by window."""

    def __init__(self, shapes: Array) -> None:
        import shapely

        self._shapes = shapes
        self._tree = shapely.STRtree(shapes)

    def burn(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels of a window have their centre in a geometry."""
        import shapely
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        box = shapely.box(window.cols.start, window.rows.start, window.cols.stop, window.rows.stop)
        touching = self._shapes[np.sort(self._tree.query(box))]
        if not len(touching):
            return np.zeros(window.size, bool)
        # one more row and column, since GDAL takes the identity for a missing transform
        origin, (height, width) = Affine.translation(window.cols.start - 1, window.rows.start - 1), window.size
        return np.asarray(rasterize(list(touching), (height + 1, width + 1), transform=origin, dtype="uint8")[1:, 1:] > 0)


def bilinear(coarse: Array, step: int, window: Window) -> NDArray[np.float32]:
    """Interpolate a grid of cells of `step` pixels at the pixels of a window, linearly between the centres of the cells, float32."""

    def place(part: slice, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        at = (np.arange(part.start, part.stop) + 0.5) / step - 0.5
        at = at.clip(0, size - 1)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    top, bottom, down = place(window.rows, coarse.shape[0])
    left, right, across = place(window.cols, coarse.shape[1])
    lines = coarse[top] * (1 - down)[:, None] + coarse[bottom] * down[:, None]
    return np.asarray(lines[:, left] * (1 - across) + lines[:, right] * across, np.float32)
