"""The label raster as tiles of 256 × 256 pixels: the ids of a tile's segments, and of each pixel the place of its id among them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.server.view.layers import Tile, kept
from smallmines.annotation.server.view.pyramid import SIDE, require_tile

if TYPE_CHECKING:
    from smallmines.annotation.server.edits.snapshot import Snapshot

MEDIA_TYPE = "application/octet-stream"

LEVEL = 5
"""Level of deflate: three quarters of the size of level 1, in the same time but for a millisecond."""


def label_tile(snapshot: Snapshot, z: int, x: int, y: int, cache: Path) -> Tile:
    """Return a tile of the segments, deflated (`Content-Encoding: deflate`), from the cache where it is there.

    Little-endian: uint32 n, uint32 ids[n] ascending (0: outside), uint16 index[65536] into ids, row by row. With z > 0 every 2^z-th
    pixel of every 2^z-th row.

    Raises:
        UserError: there is no such tile.
    """
    require_tile(snapshot.segments.shape, z, x, y)
    path = cache / snapshot.digest / "segments" / str(z) / f"{x}-{y}.bin"
    body = kept(path, lambda: zlib.compress(encoded(snapshot.segments, z, x, y), LEVEL))
    return Tile(body, MEDIA_TYPE, f'"{snapshot.digest}-{z}-{x}-{y}"')


def encoded(segments: NDArray[np.uint32], z: int, x: int, y: int) -> bytes:
    """Return a tile of a label raster before it is deflated, see `label_tile`."""
    side = SIDE << z
    part = segments[y * side : (y + 1) * side : 1 << z, x * side : (x + 1) * side : 1 << z]
    pixels = np.zeros((SIDE, SIDE), np.uint32)
    pixels[: part.shape[0], : part.shape[1]] = part
    ids, index = np.unique(pixels, return_inverse=True)
    return b"".join((np.uint32(len(ids)).astype("<u4").tobytes(), ids.astype("<u4").tobytes(), index.astype("<u2").tobytes()))
