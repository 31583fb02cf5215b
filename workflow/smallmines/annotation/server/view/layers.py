"""Images of a block as tiles of 256 × 256 pixels on its own grid: composites of every year, hillshade, masks of the other years.

Nothing is reprojected. A tile is rendered when it is first asked for, and kept in the cache.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation import images
from smallmines.annotation.server.view.pyramid import SIDE, Pyramid, identity, levels, require_tile, tile_lock
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.product import MASK_NODATA

if TYPE_CHECKING:
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.working_copy import Kind

__all__ = ["SIDE", "Layer", "Tile", "layer_of", "layers_of", "levels", "tile", "warm"]

Style = Literal["true", "false", "radar", "hillshade", "mask"]

MASK_COLOURS = np.zeros((256, 4), np.uint8)
MASK_COLOURS[1] = (227, 26, 28, 255)
MASK_COLOURS[MASK_NODATA] = (120, 120, 120, 255)
"""Colours of a mask's values, RGBA: not mining is transparent."""

SUN = np.deg2rad(315), np.deg2rad(45)
"""Azimuth and height of the light of the hillshade, as in QGIS."""


@dataclass(frozen=True)
class Layer:
    """A layer that a session shows.

    Attributes:
        id: as in addresses, e.g. `true-2016`.
        year: of the image; empty for the hillshade.
    """

    id: str
    title: str
    year: str
    style: Style
    path: Path


@dataclass(frozen=True)
class Tile:
    """A tile as it is sent.

    Attributes:
        etag: with its quotes.
    """

    body: bytes
    media_type: str
    etag: str


def layers_of(block_year: BlockYear, kind: Kind) -> tuple[Layer, ...]:
    """List the layers of a session, those of the year to label first; masks of the other years only in a review."""
    first = images.year_to_label(block_year, kind)
    layers = [
        Layer(f"{image.style}-{image.year}" if image.year else image.style, image.title, image.year, image.style, image.path)
        for image in images.images_of(block_year, first)
    ]
    if kind == "review":
        for year in block_year.config.year_names:
            path = block_year.layout.mask(year, block_year.block)
            if year != block_year.year and path.is_file():
                layers.append(Layer(f"mask-{year}", f"{year} mask", year, "mask", path))
    return tuple(layers)


def layer_of(layers: Iterable[Layer], name: str) -> Layer:
    """Return the layer of an id.

    Raises:
        UserError: there is none.
    """
    by_id = {layer.id: layer for layer in layers}
    if name not in by_id:
        raise UserError(f"a layer of {', '.join(by_id)}", f"{name[:40]!r}", "ask for another")
    return by_id[name]


def tile(layer: Layer, z: int, x: int, y: int, cache: Path) -> Tile:
    """Return a tile of a layer (lossless WebP; transparent without data), from the cache where it is there.

    Args:
        z: number of halvings; a tile covers 256 · 2^z pixels of the block.
        x, y: column and row of the tile, from the upper left.
        cache: folder of the run's tiles; it may be deleted at any time.

    Raises:
        UserError: there is no such tile, or the image cannot be read.
    """
    name = identity(layer.path)
    path = cache / name / layer.id / str(z) / f"{x}-{y}.webp"
    body = kept(path, lambda: _encoded(_rendered(layer, z, x, y, cache / name)))
    return Tile(body, "image/webp", f'"{name}-{layer.id}-{z}-{x}-{y}"')


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of a file of the cache; make and keep it where it is missing, or was left empty by a power cut."""
    with suppress(OSError):
        if body := path.read_bytes():
            return body
    with tile_lock(path):
        with suppress(OSError):
            if body := path.read_bytes():
                return body
        body = make()
        with suppress(OSError), written(path, sweep=False) as beside:  # a full disk costs time, not the tile
            beside.write_bytes(body)
    return body


def warm(layers: Iterable[Layer], cache: Path) -> None:
    """Measure the contrast of layers and make their overviews, which their first tiles wait for."""
    pyramids = [(layer, _pyramid(layer, cache / identity(layer.path))) for layer in layers]
    for layer, pyramid in pyramids:
        if layer.style in images.BANDS:
            pyramid.limits(images.BANDS[layer.style])
    for _, pyramid in pyramids:
        pyramid.prepare()


def _pyramid(layer: Layer, folder: Path) -> Pyramid:
    """Return the levels of a layer's file, with all bands that layers of such a file show."""
    if layer.style == "mask":
        return Pyramid(layer.path, None, "mode", folder)
    if layer.style in ("true", "false"):
        bands = dict.fromkeys((*images.BANDS["true"], *images.BANDS["false"]))
        return Pyramid(layer.path, tuple(bands), "average", folder)
    return Pyramid(layer.path, images.BANDS[layer.style], "average", folder)


def _rendered(layer: Layer, z: int, x: int, y: int, folder: Path) -> NDArray[np.uint8]:
    """Return the pixels of a tile, (row, column, RGBA) uint8."""
    with raster.opened(layer.path) as source:
        shape = source.shape
    require_tile(shape, z, x, y)
    pyramid = _pyramid(layer, folder)
    height, width = (-(-side // (1 << z)) for side in shape)
    rows, cols = (y * SIDE, min((y + 1) * SIDE, height)), (x * SIDE, min((x + 1) * SIDE, width))
    if layer.style == "mask":
        colours = MASK_COLOURS[pyramid.window(None, z, rows, cols)[0]]
    elif layer.style == "hillshade":
        with raster.opened(layer.path) as source:
            size = abs(source.transform.a) * (1 << z)
        colours = _hillshade(pyramid, z, rows, cols, (height, width), size)
    else:
        bands = images.BANDS[layer.style]
        colours = stretched(pyramid.window(bands, z, rows, cols), pyramid.limits(bands), pyramid.nodata)
    canvas = np.zeros((SIDE, SIDE, 4), np.uint8)
    canvas[: colours.shape[0], : colours.shape[1]] = colours
    return canvas


def stretched(cube: NDArray[Any], limits: list[tuple[float, float]], nodata: float | None) -> NDArray[np.uint8]:
    """Return bands (one or three, row, column) as (row, column, RGBA) uint8, transparent where a band has no data."""
    low, high = np.array(limits, np.float32).T[:, :, np.newaxis, np.newaxis]
    with np.errstate(invalid="ignore"):
        values = np.clip((cube.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    valid = np.isfinite(cube) if nodata is None or np.isnan(nodata) else cube != nodata
    colours = np.empty((*cube.shape[1:], 4), np.uint8)
    colours[..., :3] = np.rint(np.nan_to_num(values)).transpose(1, 2, 0)
    colours[..., 3] = np.where(valid.all(axis=0), 255, 0)
    colours[colours[..., 3] == 0] = 0
    return colours


def _hillshade(
    pyramid: Pyramid, z: int, rows: tuple[int, int], cols: tuple[int, int], level: tuple[int, int], size: float
) -> NDArray[np.uint8]:
    """Return a window of the hillshade, (row, column, RGBA); heights around it are read, too, so that no seam shows."""
    around = [(max(first - 1, 0), min(last + 1, side)) for (first, last), side in zip((rows, cols), level, strict=True)]
    heights = pyramid.window(None if pyramid.bands is None else pyramid.bands, z, *around)[0]
    margins = [(1 - (first - wide), 1 - (wide_end - last)) for (first, last), (wide, wide_end) in zip((rows, cols), around, strict=True)]
    return shaded(np.pad(heights, margins, mode="edge"), size)


def shaded(heights: NDArray[np.floating[Any]], size: float) -> NDArray[np.uint8]:
    """Return the hillshade of heights (row, column) by Horn's method, without the outermost pixels, (row, column, RGBA).

    Args:
        size: side of a pixel, in the unit of the heights.
    """
    h = heights.astype(np.float32)
    north, middle, south = h[:-2], h[1:-1], h[2:]
    east = (north[:, 2:] + 2 * middle[:, 2:] + south[:, 2:] - north[:, :-2] - 2 * middle[:, :-2] - south[:, :-2]) / (8 * size)
    down = (south[:, :-2] + 2 * south[:, 1:-1] + south[:, 2:] - north[:, :-2] - 2 * north[:, 1:-1] - north[:, 2:]) / (8 * size)
    azimuth, height = SUN
    # the slope's upward normal (-east, down, 1) (x to the east, y to the north) times the direction to the light
    light = -east * np.sin(azimuth) * np.cos(height) + down * np.cos(azimuth) * np.cos(height) + np.sin(height)
    grey = np.clip(255 * light / np.sqrt(east**2 + down**2 + 1), 0, 255)
    valid = np.isfinite(grey)
    colours = np.zeros((*grey.shape, 4), np.uint8)
    colours[valid, :3] = np.rint(grey[valid])[:, np.newaxis]
    colours[valid, 3] = 255
    return colours


def _encoded(colours: NDArray[np.uint8]) -> bytes:
    """Return pixels as WebP without loss: half the time of PNG, and people judge single pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, format="WEBP", lossless=True, method=0, quality=0)
    return buffer.getvalue()
