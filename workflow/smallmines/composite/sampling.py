"""Resample windows of a source onto a block's grid; neighbouring blocks agree to the bit on shared pixels.

GDAL's warper works in chunks of the target, and the origins of windows of one source differ by rounding. Here the value of a pixel
depends on its own coordinates alone: windows are placed on the lattice of their source by integers, coordinates are rounded to 1e-6 m
before and to 1e-6 px after the projection, and bilinear interpolation is a sum of four products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core.crs import transformer
from smallmines.core.raster import opened

ROWS = 256
"""Rows that are resampled at a time."""


@dataclass(frozen=True)
class SourceLattice:
    """The unbounded lattice of a source's pixels.

    Attributes:
        crs: the source's CRS.
        size: pixel size (x, y) in units of the CRS; y is negative.
        phase: position of the pixel corners (x, y) relative to the origin of the CRS, in px, from 0 to 1.
    """

    crs: str
    size: tuple[float, float]
    phase: tuple[float, float]

    def indices(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return fractional columns and rows on the lattice, with pixel centres at whole numbers, to 1e-6 px."""
        return (
            np.round(x / self.size[0] - self.phase[0] - 0.5, 6),
            np.round(y / self.size[1] - self.phase[1] - 0.5, 6),
        )


@dataclass(frozen=True)
class Piece:
    """A window of a source.

    Attributes:
        lattice: the source's lattice.
        row, col: the window's first pixel on it.
        values: float32 (row, column), or (band, row, column) when bands are stacked; NaN = no data.
    """

    lattice: SourceLattice
    row: int
    col: int
    values: NDArray[np.float32]


def read_piece(path: str | Path) -> Piece:
    """Read a cached source window as float32; its nodata value and non-finite values become NaN."""
    with opened(path) as source:
        values = source.read(1).astype(np.float32)
        nodata, transform, crs = source.nodata, source.transform, str(source.crs)
    values[~np.isfinite(values) if nodata is None else ~np.isfinite(values) | (values == np.float32(nodata))] = np.nan
    size, phase, start = [], [], []
    for pixel, corner in ((transform.a, transform.c), (transform.e, transform.f)):
        pixel = float(f"{pixel:.12g}")  # files state 1″ with more or fewer digits
        position = corner / pixel
        fraction = round(position - np.floor(position), 6) % 1.0
        size.append(pixel)
        phase.append(float(fraction))
        start.append(round(position - fraction))
    return Piece(SourceLattice(crs, (size[0], size[1]), (phase[0], phase[1])), start[1], start[0], values)


def pasted(pieces: Sequence[Piece]) -> Piece:
    """Merge windows of one lattice into one window; where several have data the first one wins."""
    top, left = min(piece.row for piece in pieces), min(piece.col for piece in pieces)
    bottom = max(piece.row + piece.values.shape[-2] for piece in pieces)
    right = max(piece.col + piece.values.shape[-1] for piece in pieces)
    values = np.full((*pieces[0].values.shape[:-2], bottom - top, right - left), np.nan, np.float32)
    for piece in pieces:
        height, width = piece.values.shape[-2:]
        part = values[..., piece.row - top : piece.row - top + height, piece.col - left : piece.col - left + width]
        np.copyto(part, piece.values, where=np.isnan(part))
    return Piece(pieces[0].lattice, top, left, values)


def by_lattice(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Group pieces by lattice, in order of first appearance."""
    groups: dict[SourceLattice, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.lattice, []).append(piece)
    return list(groups.values())


def resample(piece: Piece, geobox: GeoBox, method: str) -> NDArray[np.float32]:
    """Resample a piece to the pixel centres of `geobox`.

    Args:
        method: `nearest`, or `bilinear`: weights of missing neighbours are given to the others; NaN where the missing ones weigh more
            than half, so that a footprint neither grows nor shrinks by more than half a pixel.

    Returns:
        float32, the piece's bands by the shape of `geobox`; NaN = no data. A pixel on the source's lattice is copied.
    """
    t = geobox.transform
    x = np.round(t.c + (np.arange(geobox.shape.x) + 0.5) * t.a, 6)
    y = np.round(t.f + (np.arange(geobox.shape.y) + 0.5) * t.e, 6)
    result = np.empty((*piece.values.shape[:-2], len(y), len(x)), np.float32)
    project = None if geobox.crs == piece.lattice.crs else transformer(str(geobox.crs), piece.lattice.crs).transform
    part = _nearest if method == "nearest" else _bilinear
    for top in range(0, len(y), ROWS):
        grid = np.meshgrid(x, y[top : top + ROWS], sparse=project is None)  # in one CRS a column has one x
        cols, rows = piece.lattice.indices(*(grid if project is None else project(*grid)))
        result[..., top : top + ROWS, :] = part(piece.values, rows - piece.row, cols - piece.col)
    return result


def resample_all(pieces: Sequence[Piece], geobox: GeoBox, method: str) -> NDArray[np.float32]:
    """Resample pieces of different lattices: those after the first one fill missing pixels, in order.

    Elevation tiles have wider pixels in longitude beyond 50°.
    """
    result = resample(pieces[0], geobox, method)
    for piece in pieces[1:]:
        np.copyto(result, resample(piece, geobox, method), where=np.isnan(result))
    return result


def _nearest(values: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float32]:
    pixels, inside = _take(values, np.floor(rows + 0.5).astype(np.int64), np.floor(cols + 0.5).astype(np.int64))
    return np.where(inside, pixels, np.float32(np.nan))


def _bilinear(values: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float32]:
    top, left = np.floor(rows).astype(np.int64), np.floor(cols).astype(np.int64)
    down, right = rows - top, cols - left
    total: Any = 0.0
    weights: Any = 0.0
    for row, row_weight in ((0, 1 - down), (1, down)):
        for col, col_weight in ((0, 1 - right), (1, right)):
            pixels, inside = _take(values, top + row, left + col)
            weight = row_weight * col_weight * (inside & ~np.isnan(pixels))
            total = total + weight * np.nan_to_num(pixels.astype(np.float64))
            weights = weights + weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights >= 0.5, total / weights, np.nan).astype(np.float32)


def _take(values: NDArray[np.float32], rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the pixels at rows and columns, and which of them lie inside the array."""
    height, width = values.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    if inside.all() and (block := _block(rows, cols)):
        return values[..., *block], inside
    return values[..., np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)], inside


def _block(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[slice, slice] | None:
    """Return slices for a column of rows and a row of columns that follow each other without gaps, else None."""
    if rows.shape[1:] != (1,) or cols.shape[:1] != (1,) or not ((np.diff(rows, axis=0) == 1).all() and (np.diff(cols) == 1).all()):
        return None
    return slice(int(rows[0, 0]), int(rows[-1, 0]) + 1), slice(int(cols[0, 0]), int(cols[0, -1]) + 1)
