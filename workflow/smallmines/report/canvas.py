"""Shared by all pictures: thumbnails of large rasters, stretches, overlays, and figures with reproducible bytes.

Figures use matplotlib's object interface, since pyplot imports much and keeps state. Arrays of colours are
(row, column, 3) float32 from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from smallmines.core import raster
from smallmines.core.files import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_LEVEL = 4
"""Compression level of PNG files. 4 takes half the time of 6 and gives 2 % more bytes."""

LIMIT = 1200
"""Longest side of a thumbnail in pixels; larger rasters are read decimated."""

CACHE = 512 << 20
"""Bytes of GDAL's cache for a thumbnail. A decimated read goes band by band: without a block's tiles in the cache, which hold all bands,
they are decoded again for each."""

MINING = (0.90, 0.25, 0.05)
"""Red-orange, distinct from green and blue with any kind of colour blindness."""

NO_DATA = (0.82, 0.82, 0.82)
FADE = 0.72
"""Share of white mixed into pixels outside a block."""

SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
"""The colour-blind safe palette of Okabe and Ito."""

MORE = (*SERIES, "#332288", "#88ccee", "#882255", "#999933", "#44aa99", "#ddcc77", "#117733", "#aa4499")
"""Palette for many categories: Okabe and Ito's, then Tol's muted one."""

GAMMA = 1.2
"""Gamma of pictures in natural colours, since forest is dark."""

INK, SOFT, FAINT = "#1d2430", "#5b6470", "#e3e6ea"
"""Colours of text, of what is secondary, and of grid lines."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": "#9aa3ad",
    "xtick.labelcolor": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.color": "#9aa3ad",
    "ytick.labelcolor": SOFT,
    "ytick.labelsize": 8.5,
}
"""Settings of matplotlib for the plots of a run."""

Colours = NDArray[np.float32]


def thumbnail(path: str | Path, bands: Sequence[int] | None = None, categories: bool = False) -> NDArray[Any]:
    """Read a raster with its longer side at most `LIMIT`, (band, row, column): means of valid pixels, or nearest for categories."""
    with raster.opened(path) as source:
        shape = small((source.height, source.width))
        numbers = list(bands or source.indexes)
        resampling = Resampling.nearest if categories else Resampling.average
        with rasterio.Env(GDAL_CACHEMAX=CACHE):
            array: NDArray[Any] = source.read(numbers, out_shape=(len(numbers), *shape), resampling=resampling)
        return array


def small(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of the thumbnail of a raster of this shape."""
    step = max(1.0, max(shape) / LIMIT)
    return max(1, round(shape[0] / step)), max(1, round(shape[1] / step))


def sampled(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return the nearest pixels of a (row, column) array on a smaller grid."""
    rows, columns = (((np.arange(to) + 0.5) * size / to).astype(int) for to, size in zip(shape, array.shape, strict=True))
    return array[np.ix_(rows, columns)]


def stretched(
    bands: NDArray[Any],
    valid: NDArray[np.bool_],
    low: float = 2,
    high: float = 98,
    basis: NDArray[np.bool_] | None = None,
    gamma: float = 1.0,
) -> Colours:
    """Return three bands (3, row, column) as colours, each stretched between two percentiles of its valid pixels; grey where invalid.

    Args:
        basis: pixels that the percentiles are computed from, if there are any, since clouds make land dark.
        gamma: values above 1 brighten dark pixels.
    """
    counted = valid if basis is None or not (basis & valid).any() else basis & valid
    colours = np.empty((*valid.shape, 3), np.float32)
    for position, band in enumerate(bands):
        ends = np.percentile(band[counted], (low, high)) if counted.any() else (0, 1)
        colours[..., position] = ((band - ends[0]) / max(ends[1] - ends[0], 1e-6)).clip(0, 1) ** (1 / gamma)
    colours[~valid] = NO_DATA
    return colours


def faded(colours: Colours, own: NDArray[np.bool_]) -> Colours:
    """Return colours made pale outside the block's own tiles."""
    return np.where(own[..., None], colours, FADE + (1 - FADE) * colours).astype(np.float32)


def colour(index: int) -> tuple[float, float, float]:
    """Return the colour of the n-th category, in turn from `MORE`."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(MORE[index % len(MORE)])
    return red, green, blue


def edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return True for pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def masked(colours: Colours, mask: NDArray[np.uint8]) -> Colours:
    """Draw a mask over colours: mining translucent red-orange with an outline, no data (255) hatched grey."""
    shown = colours.copy()
    mining = mask == 1
    shown[mining] = 0.6 * shown[mining] + 0.4 * np.array(MINING, np.float32)
    shown[(edges(mining) | edges(mining[::-1, ::-1])[::-1, ::-1]) & mining] = MINING
    row, column = np.indices(mask.shape)
    none = mask == 255
    shown[none] = NO_DATA
    shown[none & ((row + column) % 8 < 2)] = (0.45, 0.45, 0.45)
    return shown


def enlarged(array: NDArray[Any], times: int) -> NDArray[Any]:
    """Repeat each pixel as a square of `times` × `times` pixels."""
    return array.repeat(times, 0).repeat(times, 1)


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, with constrained layout."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.1)
    return figure


def map_figure(shape: tuple[int, int], extra: float = 0.0) -> Figure:
    """Return a figure for one map of this shape in pixels: longer side 8 inches, and `extra` inches beside it for a legend."""
    longer = max(shape)
    return figure(max(8 * shape[1] / longer, 5) + 0.3 + extra, max(8 * shape[0] / longer, 2.5) + 0.6)


def show(axes: Axes, image: NDArray[Any], title: str, metres: float, **options: Any) -> Any:
    """Draw a raster map with title and scale bar, without ticks.

    Args:
        metres: width of one pixel of `image`; 0: no scale bar.
    """
    drawn = axes.imshow(image, interpolation="nearest", **options)
    axes.set_title(title, fontsize=12)
    axes.set_xticks([])
    axes.set_yticks([])
    if metres:
        scale_bar(axes, image.shape[1], image.shape[0], metres)
    return drawn


def scale_bar(axes: Axes, width: int, height: int, metres: float) -> None:
    """Draw a scale bar of 1, 2 or 5 · 10ⁿ m, at most a fifth of the map's width, in the lower left corner of a raster map."""
    import matplotlib.patheffects as effects

    longest = width * metres / 5
    power = 10 ** np.floor(np.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    name = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    left, low = 0.03 * width, height - 0.03 * max(width, height)
    halo = [effects.withStroke(linewidth=4, foreground="black")]
    axes.plot([left, left + length / metres], [low, low], color="white", linewidth=2.5, path_effects=halo, solid_capstyle="butt")
    halo = [effects.withStroke(linewidth=2.5, foreground="black")]
    axes.text(left, low - 0.012 * max(width, height), name, color="white", fontsize=10, va="bottom", path_effects=halo)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def ground_scale(axes: Axes, metres: float = 1.0) -> None:
    """Draw a scale bar of 1, 2 or 5 · 10ⁿ m in the lower left corner of a vector map, at most a quarter of its width.

    Args:
        metres: length on the ground of one unit of the x axis.
    """
    import matplotlib.patheffects as effects

    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    longest = (east - west) * metres / 4
    power = 10 ** np.floor(np.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    left, low = west + 0.03 * (east - west), south + 0.035 * (north - south)
    halo = [effects.withStroke(linewidth=3, foreground="white")]
    axes.plot([left, left + length / metres], [low, low], color=INK, linewidth=2, path_effects=halo, solid_capstyle="butt")
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(left, low + 0.015 * (north - south), label, fontsize=8.5, va="bottom", path_effects=halo)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file with reproducible bytes.

    The figure is drawn once, while `savefig` draws a figure with a layout twice. The opaque alpha channel is left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    with written(path) as beside:
        Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3]).save(
            beside, format="png", compress_level=PNG_LEVEL, dpi=(figure.dpi, figure.dpi)
        )
