"""Pictures of single patches: natural colours with one stretch for the whole dataset, and the outline of mines over them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import IMAGE_NODATA, MASK_NODATA, PATCH_BANDS
from smallmines.dataset.band_statistics import QUANTILES
from smallmines.report import canvas

RGB = tuple(PATCH_BANDS.index(name) for name in ("B04", "B03", "B02"))
LOW, MIDDLE, BRIGHT, HIGH = (QUANTILES.index(share) for share in (0.01, 0.5, 0.95, 0.99))
HATCH = (0.45, 0.45, 0.45)
COMPRESSION = 9
"""Level of PNG files: they are written once and downloaded often."""

Floats = NDArray[np.float64]


def stretch(years: Sequence[Mapping[str, Mapping[str, Any]]]) -> Floats:
    """Return the darkest and brightest value of red, green and blue, (3, 2) in DN: widest over the years.

    The darkest is the 1 % quantile. The brightest lies as far above the 95 % quantile as that above the median, but not above the 99 %
    quantile: a few percent of clouds would make all land dark.

    Args:
        years: statistics of the bands of each year; 0 and 1 where no year has a pixel.
    """
    ends = np.array([[0.0, 1.0]] * len(RGB))
    for position, band in enumerate(RGB):
        quantiles = [year[PATCH_BANDS[band]]["quantiles"] for year in years if year[PATCH_BANDS[band]]["quantiles"]]
        if quantiles:
            brightest = [min(own[HIGH], 2 * own[BRIGHT] - own[MIDDLE]) for own in quantiles]
            ends[position] = min(own[LOW] for own in quantiles), max(brightest)
    return ends


def thumbnail(image: NDArray[Any], ends: Floats) -> canvas.Colours:
    """Return an image, (band, row, column), in natural colours; grey where a band has no data.

    Args:
        ends: as `stretch` returns it.
    """
    bands = image[list(RGB)].astype(np.float64)
    valid = (np.isfinite(bands) & (bands != IMAGE_NODATA)).all(axis=0)
    low, high = ends.T[..., None, None]
    scaled = ((np.where(valid, bands, low) - low) / np.maximum(high - low, 1e-6)).clip(0, 1) ** (1 / canvas.GAMMA)
    colours: canvas.Colours = np.moveaxis(scaled, 0, -1).astype(np.float32)
    colours[~valid] = canvas.NO_DATA
    return colours


def overlay(colours: canvas.Colours, mask: NDArray[np.uint8]) -> canvas.Colours:
    """Return a thumbnail with the outline of its mines in colour, closed at the tile's edge; hatched where no class is known."""
    shown = colours.copy()
    row, column = np.indices(mask.shape)
    shown[(mask == MASK_NODATA) & ((row + column) % 8 < 2)] = HATCH
    mining = np.pad(mask == 1, 1)
    inner = mining[:-2, 1:-1] & mining[2:, 1:-1] & mining[1:-1, :-2] & mining[1:-1, 2:]
    shown[mining[1:-1, 1:-1] & ~inner] = canvas.MINING
    return shown


def png(colours: canvas.Colours) -> bytes:
    """Return colours as the bytes of a PNG file, RGB."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.rint(colours * 255).astype(np.uint8)).save(buffer, format="png", compress_level=COMPRESSION)
    return buffer.getvalue()
