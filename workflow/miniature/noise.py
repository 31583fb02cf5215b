"""Random fields over the whole world, computed window by window; the result does not depend on the windows.

A field is the sum of two independent parts of its spectrum: long waves on a coarse grid over the world, which are interpolated, and
short waves from a periodic tile (10 km), whose size differs between fields so that no pattern repeats. The memory is that of the
coarse grid (a 64th of the world) and of the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Index = slice | NDArray[np.intp]

STEP = 8
"""Side in pixels of a cell of the coarse grid."""
LONG = 16.0
"""Scale in pixels from which on a field has a coarse grid."""
TILE = 1024
"""Approximate side in pixels of the periodic tile."""


def rng_of(seed: int, *keys: int) -> np.random.Generator:
    """Return a random stream that is independent of all others and of the order of use."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *keys])))


@dataclass(frozen=True)
class Noise:
    """A random field of mean 0 and standard deviation 1 (of the process; values of a window vary).

    Attributes:
        tile: short waves, periodic, float32 (row, column).
        coarse: long waves at every `STEP`-th pixel, from 2 cells before the first one, float32; None: no long waves.
    """

    tile: Field
    coarse: Field | None

    def __call__(self, rows: Index, cols: Index) -> Field:
        """Return the field at some rows and columns of the world (slices with start and stop, or indices ≥ 0), float32 (row, column)."""
        if isinstance(rows, slice) and isinstance(cols, slice):
            return self._window(rows, cols)
        y, x = indices(rows), indices(cols)
        out = self.tile[np.ix_(y % self.tile.shape[0], x % self.tile.shape[1])]
        if self.coarse is not None:
            out += _interpolated(self.coarse, y, x)
        return out

    def _window(self, rows: slice, cols: slice) -> Field:
        """Return the same numbers for whole rows and columns, in a fifth of the time."""
        out = np.empty((rows.stop - rows.start, cols.stop - cols.start), np.float32)
        for to_rows, of_rows in _laps(rows, self.tile.shape[0]):
            for to_cols, of_cols in _laps(cols, self.tile.shape[1]):
                out[to_rows, to_cols] = self.tile[of_rows, of_cols]
        if self.coarse is not None:
            out += _interpolated_window(self.coarse, rows, cols)
        return out

    def mapped(self, function: Callable[[Field], Field]) -> Noise:
        """Return the field of `function` of each value, computed once for a field without long waves."""
        if self.coarse is not None:
            raise ValueError("a field with long waves does not repeat")
        return Noise(function(self.tile), None)


def noise(shape: tuple[int, int], rng: np.random.Generator, scale: float, beta: float = 3.0) -> Noise:
    """Make a field for a world of `shape`: flat spectrum for waves longer than `scale` pixels, power ∝ k^−beta for shorter ones.

    Args:
        scale: in pixels; 0 gives white noise.
        beta: exponent of the spectral power over two dimensions (beta 3: outlines like coasts).
    """
    import scipy.fft

    world = max(shape)
    side = TILE + int(rng.integers(-128, 129)) if world > TILE else max(64, world + int(2 * scale))
    tile_shape = (scipy.fft.next_fast_len(side, real=True), scipy.fft.next_fast_len(side + 37, real=True))
    if scale < LONG:
        return Noise(_spectral(tile_shape, rng, lambda k2: _power(k2, scale, beta)), None)
    cut = np.float32((5 * STEP) ** 2)  # cubic interpolation reproduces waves longer than five cells
    cells = tuple(-(-side // STEP) + 6 for side in shape)
    padded = tuple(scipy.fft.next_fast_len(int(side + min(side, 2 * scale / STEP)), real=True) for side in cells)
    # density per (cycle/px)²: both parts are scaled by the same total, so that they add up to sd 1
    total = _variance(scale, beta)
    coarse = _spectral(padded, rng, lambda k2: _power(k2, scale, beta) * np.exp(-((k2 * cut) ** 2)), STEP, total)[: cells[0], : cells[1]]
    tile = _spectral(tile_shape, rng, lambda k2: _power(k2, scale, beta) * -np.expm1(-((k2 * cut) ** 2)), 1, total)
    return Noise(tile, np.ascontiguousarray(coarse))


def _power(k2: Field, scale: float, beta: float) -> Field:
    """Return the spectral density at squared wave numbers (cycles per pixel)², not normalised."""
    return np.asarray((1 + k2 * np.float32((2.2 * scale) ** 2)) ** np.float32(-beta / 2), np.float32)


def _variance(scale: float, beta: float) -> float:
    """Integrate `_power` over the square of wave numbers |k| ≤ 1/2, on a grid that is fine near 0."""
    edges = np.concatenate([[0], np.geomspace(1e-6, 0.5, 400)])
    k, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    k2 = (k[:, None] ** 2 + k[None] ** 2).astype(np.float32)
    return float(4 * (_power(k2, scale, beta).astype(np.float64) * width[:, None] * width[None]).sum())


def _spectral(
    shape: tuple[int, ...], rng: np.random.Generator, power: Callable[[Field], Field], step: int = 1, total: float | None = None
) -> Field:
    """Return a periodic Gaussian field with spectral density `power` on a grid of `step` pixels.

    It is scaled to standard deviation 1 (of the process) or, with `total`, to the share of the variance `total` that its waves hold.
    """
    import scipy.fft

    spectrum = scipy.fft.rfft2(rng.standard_normal(shape, np.float32))
    ky = scipy.fft.fftfreq(shape[0], step).astype(np.float32)[:, None]
    kx = scipy.fft.rfftfreq(shape[1], step).astype(np.float32)[None]
    density = power(ky * ky + kx * kx)
    # each column of the half spectrum stands for two waves, the first and the last for one
    weight = np.full(density.shape[1], 2.0)
    weight[0] = 1.0
    if shape[1] % 2 == 0:
        weight[-1] = 1.0
    mean_power = float((density * weight).sum(dtype=np.float64)) / (shape[0] * shape[1])
    variance = 1.0 if total is None else mean_power / step**2 / total
    spectrum *= np.sqrt(density)
    field = scipy.fft.irfft2(spectrum, s=shape)
    field *= np.float32(np.sqrt(variance / mean_power))
    return np.ascontiguousarray(field, np.float32)


def indices(index: Index) -> NDArray[np.intp]:
    """Return the rows or columns of a slice (with start and stop) as an array."""
    return np.arange(index.start, index.stop, index.step or 1, dtype=np.intp) if isinstance(index, slice) else index


def _laps(part: slice, period: int) -> Iterator[tuple[slice, slice]]:
    """Yield the pieces of a range that lie in one period: where each is in the range, and where in the period."""
    at = part.start
    while at < part.stop:
        length = min(part.stop - at, period - at % period)
        yield slice(at - part.start, at - part.start + length), slice(at % period, at % period + length)
        at += length


def _interpolated(coarse: Field, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Field:
    """Interpolate the coarse grid, whose cell (2, 2) is pixel (0, 0), by cubic convolution (Keys 1981, a = −1/2)."""
    row, row_weights = _weights(rows)
    col, col_weights = _weights(cols)
    first, last = int(col.min()), int(col.max()) + 4
    part = np.zeros((len(rows), last - first), np.float32)
    for shift in range(4):
        part += row_weights[shift][:, None] * coarse[row + shift, first:last]
    out = np.zeros((len(rows), len(cols)), np.float32)
    for shift in range(4):
        out += col_weights[shift] * part[:, col - first + shift]
    return out


def _interpolated_window(coarse: Field, rows: slice, cols: slice) -> Field:
    """Do as `_interpolated` for whole rows and columns, with the same sums in the same order; columns of the same weights at once."""
    row, row_weights = _weights(indices(rows))
    first, last = cols.start // STEP, -(-cols.stop // STEP)
    part = np.zeros((len(row), last - first + 3), np.float32)
    for shift in range(4):
        part += row_weights[shift][:, None] * coarse[row + shift, first + 1 : last + 4]
    out = np.empty((len(row), last - first, STEP), np.float32)
    _, col_weights = _weights(np.arange(STEP))
    for phase in range(STEP):
        total = col_weights[0][phase] * part[:, : last - first]
        for shift in range(1, 4):
            total += col_weights[shift][phase] * part[:, shift : shift + last - first]
        out[:, :, phase] = total
    return out.reshape(len(row), -1)[:, cols.start - first * STEP : cols.stop - first * STEP]


def _weights(pixels: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[Field]]:
    """Return the first of the four cells that each pixel needs, and the weights of the four."""
    cell, rest = np.divmod(pixels, STEP)
    t = (rest / STEP).astype(np.float32)
    t2, t3 = t * t, t * t * t
    weights = ((-t3 + 2 * t2 - t) / 2, (3 * t3 - 5 * t2 + 2) / 2, (-3 * t3 + 4 * t2 + t) / 2, (t3 - t2) / 2)
    return np.asarray(cell + 1, np.intp), [np.asarray(weight, np.float32) for weight in weights]
