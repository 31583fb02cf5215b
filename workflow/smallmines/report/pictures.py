"""Pictures of one block in one year: composites, segments, scenes and seams; probability and mask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.composite.seams import SEVERAL
from smallmines.core import raster
from smallmines.core.files import split_tag
from smallmines.core.json_products import Sentinel1Statistics, Sentinel2Statistics, read_product
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice
from smallmines.report import canvas

RGB = tuple(S2_BANDS.index(name) + 1 for name in ("B04", "B03", "B02"))
MOST_SEAMS = 14
"""Number of seams in the legend, the longest first."""


@dataclass(frozen=True)
class BlockView:
    """A block in one year, as thumbnails.

    Attributes:
        sources: paths of its products, see `block_pictures` and `label_pictures`.
    """

    sources: Mapping[str, str]
    lattice: Lattice
    year: str
    block: str

    def title(self, text: str) -> str:
        """Return the title of a picture."""
        return f"{self.year}, block {self.block}: {text}"

    def own(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the pixels of a thumbnail that lie in the block's own tiles."""
        own: NDArray[np.bool_] = canvas.sampled(self.lattice.own(self.block), (shape[0], shape[1]))
        return own

    def metres(self, image: NDArray[Any]) -> float:
        """Return the width in m of a pixel of a thumbnail."""
        geobox = self.lattice.block(self.block)
        return float(geobox.transform.a * geobox.shape.x / image.shape[1])

    @cached_property
    def rgb(self) -> canvas.Colours:
        """Return the Sentinel-2 composite in natural colours, pale outside the block's own tiles."""
        bands = canvas.thumbnail(self.sources["s2"], RGB)
        valid = np.asarray((bands > 0).all(axis=0))
        own = self.own(valid.shape)
        clear = canvas.thumbnail(self.sources["clear_mask"], categories=True)[0] > 0
        return canvas.faded(canvas.stretched(bands, valid, basis=own & clear, gamma=canvas.GAMMA), own)

    @cached_property
    def backscatter(self) -> NDArray[np.float32]:
        """Return VV and VH in dB, (band, row, column)."""
        return canvas.thumbnail(self.sources["s1"])

    def scene_names(self) -> list[str]:
        """Return the ids of the scenes of the Sentinel-2 composite, in the order of their numbers."""
        with raster.opened(self.sources["source"]) as source:
            return split_tag(source.tags().get("ITEMS", ""))


def rgb(view: BlockView, target: str) -> None:
    """Draw Sentinel-2 in natural colours."""
    colours = view.rgb
    figure = canvas.map_figure(colours.shape[:2])
    title = view.title("Sentinel-2 B04, B03, B02 (2–98 % of the clear pixels)")
    canvas.show(figure.subplots(), colours, title, view.metres(colours))
    canvas.save(figure, target)


def radar(view: BlockView, target: str) -> None:
    """Draw Sentinel-1: VV in red, VH in green, VV − VH in blue, all in dB."""
    power = view.backscatter
    valid = np.asarray(np.isfinite(power).all(axis=0))
    bands = np.stack([power[0], power[1], power[0] - power[1]])
    colours = canvas.faded(canvas.stretched(np.nan_to_num(bands), valid), view.own(valid.shape))
    figure = canvas.map_figure(valid.shape)
    title = view.title("Sentinel-1 VV, VH, VV − VH in dB (2–98 % stretch)")
    canvas.show(figure.subplots(), colours, title, view.metres(colours))
    canvas.save(figure, target)


def hillshade(view: BlockView, target: str) -> None:
    """Draw the Copernicus DEM: heights in colour, shaded from the north-west."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    height = canvas.thumbnail(view.sources["dem"])[0]
    valid = np.isfinite(height)
    low, high = np.percentile(height[valid], (1, 99)) if valid.any() else (0, 1)
    scale = Normalize(low, max(high, low + 1))
    metres = view.metres(height)
    shade = shaded(np.where(valid, height, low), metres)
    colours = (colormaps["cividis"](scale(np.nan_to_num(height)))[..., :3] * (0.35 + 0.75 * shade[..., None])).clip(0, 1).astype(np.float32)
    colours[~valid] = canvas.NO_DATA
    figure = canvas.map_figure(height.shape, 1.0)
    axes = figure.subplots()
    colours = canvas.faded(colours, view.own(height.shape))
    canvas.show(axes, colours, view.title("Copernicus DEM, shaded (relief × 3)"), metres)
    figure.colorbar(ScalarMappable(scale, "cividis"), ax=axes, shrink=0.7, label="height above EGM2008 in m")
    canvas.save(figure, target)


def shaded(height: NDArray[Any], metres: float, exaggeration: float = 3.0) -> NDArray[np.float32]:
    """Return the Lambertian shade, 0 to 1, of a surface lit from the north-west, 45° high (Horn 1981, central differences)."""
    if min(height.shape) < 2:
        return np.full(height.shape, np.sqrt(0.5), np.float32)
    south, east = np.gradient(height.astype(np.float32) * exaggeration, metres)
    light = np.array([-0.5, 0.5, np.sqrt(0.5)])  # towards the sun: east, north, up
    normal = np.stack([-east, south, np.ones_like(east)]) / np.sqrt(1 + east**2 + south**2)
    return np.tensordot(light, normal, 1).clip(0, 1).astype(np.float32)


def segments(view: BlockView, target: str) -> None:
    """Draw the outlines of the segments over Sentinel-2 in the block's middle tile; larger extents show nothing but lines."""
    where = middle_tile(view.lattice, view.block)
    with raster.opened(view.sources["s2"]) as source:
        bands = source.read(RGB, window=where)
    with raster.opened(view.sources["segments"]) as source:
        labels = source.read(1, window=where)
    with raster.opened(view.sources["clear_mask"]) as source:
        clear = source.read(1, window=where) > 0
    times = max(1, canvas.LIMIT // max(labels.shape))
    colours = canvas.enlarged(canvas.stretched(bands, (bands > 0).all(axis=0), basis=clear, gamma=canvas.GAMMA), times)
    lines = canvas.enlarged(labels, times)
    colours[canvas.edges(lines) | canvas.edges(lines[::-1, ::-1])[::-1, ::-1]] = canvas.MINING
    count = np.unique(labels[labels > 0]).size
    figure = canvas.map_figure(labels.shape)
    title = view.title(f"{count} segments in the middle tile")
    canvas.show(figure.subplots(), colours, title, view.lattice.block(view.block).transform.a / times)
    canvas.save(figure, target)


def middle_tile(lattice: Lattice, block: str) -> rasterio.windows.Window:
    """Return the window of the block's own tile nearest to the middle of its tiles."""
    tiles, side = lattice.tiles_of(block), lattice.tile_size
    place = np.array([(tile.row, tile.col) for tile in tiles])
    middle = tiles[int(((place - place.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    row, col, _, _ = lattice.windows[block]
    return rasterio.windows.Window((middle.col - col) * side, (middle.row - row) * side, side, side)


def scenes(view: BlockView, target: str) -> None:
    """Draw the scene of each pixel of the Sentinel-2 composite."""
    from matplotlib.patches import Patch

    number = canvas.thumbnail(view.sources["source"], categories=True)[0]
    names = view.scene_names()
    own = view.own(number.shape)
    colours = np.full((*number.shape, 3), canvas.NO_DATA, np.float32)
    handles = []
    for value in np.unique(number[own]):
        colour = canvas.NO_DATA if value == 0 else (0.5, 0.5, 0.5) if value == SEVERAL else canvas.colour(int(value) - 1)
        colours[number == value] = colour
        handles.append(
            Patch(
                facecolor=colour,
                edgecolor="black",
                label=f"{scene_name(int(value), names)}: {percent(float((number[own] == value).mean()))}",
            )
        )
    figure = canvas.map_figure(number.shape, 3.4)
    axes = figure.subplots()
    canvas.show(axes, canvas.faded(colours, own), view.title("scene of each Sentinel-2 pixel"), view.metres(number))
    figure.legend(handles=handles, loc="outside right upper", fontsize=10, title="share of the block", frameon=False)
    canvas.save(figure, target)


def seams(view: BlockView, target: str) -> None:
    """Draw the seams of the Sentinel-2 composite, and the change of level across each."""
    from matplotlib.patches import Patch

    found_seams = read_product(view.sources["s2_stats"], Sentinel2Statistics)["seams"]
    number = canvas.thumbnail(view.sources["source"], categories=True)[0]
    own = view.own(number.shape)
    colours = 0.25 + 0.45 * view.rgb.mean(axis=2, keepdims=True).repeat(3, axis=2)
    colours, handles = canvas.faded(colours.astype(np.float32), own), []
    names = view.scene_names()
    meeting = _meeting(number, [tuple(seam["numbers"]) for seam in found_seams])
    for index, seam in enumerate(found_seams):
        colour = np.array(canvas.colour(index), np.float32)
        colours[(meeting == index) & own] = colour
        step, usual = (np.array([np.nan if value is None else value for value in seam[key].values()]) for key in ("step", "usual"))
        if index < MOST_SEAMS:
            both = " / ".join(scene_name(scene, names) for scene in seam["numbers"])
            text = f"{both}\n{seam['km']:.1f} km; step {np.abs(step).max():.0f} DN at most, neighbours differ by {np.nanmax(usual):.0f}"
            handles.append(Patch(facecolor=colour, edgecolor="black", label=text))
    figure = canvas.map_figure(number.shape, 5.2)
    title = view.title(f"seams of the Sentinel-2 composite ({sum(seam['km'] for seam in found_seams):.0f} km)")
    canvas.show(figure.subplots(), colours, title, view.metres(number))
    heading = "median step across the seam, largest of ten bands" if found_seams else "no seams between clear pixels"
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, title=heading, frameon=False)
    canvas.save(figure, target)


def _meeting(number: NDArray[np.uint8], pairs: list[tuple[int, int]]) -> NDArray[np.int32]:
    """Return the index in `pairs` (lower scene number first) of the two scenes that meet at a pixel or beside it; −1 elsewhere."""
    place = np.full((256, 256), -1, np.int32)
    for index, pair in enumerate(pairs):
        place[pair] = index
    meeting = np.full(number.shape, -1, np.int32)
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = number[first], number[second]
        here = place[np.minimum(a, b), np.maximum(a, b)]
        for side in (first, second):
            np.copyto(meeting[side], here, where=here >= 0)
    return meeting


def steps(view: BlockView, target: str) -> None:
    """Draw the joins of the slices of a Sentinel-1 pass, and the step in level across each."""
    joins = read_product(view.sources["s1_stats"], Sentinel1Statistics)["joins"]
    power = view.backscatter[0]
    valid = np.isfinite(power)
    grey = canvas.stretched(np.stack([np.nan_to_num(power)] * 3), valid)
    metres, geobox = view.metres(power), view.lattice.block(view.block)
    figure = canvas.map_figure(power.shape, 4.2)
    axes, bars = figure.subplots(1, 2, width_ratios=(1.6, 1))
    canvas.show(axes, canvas.faded(grey, view.own(valid.shape)), view.title("joins of Sentinel-1 slices"), metres)
    for index, join in enumerate(joins):
        x, y = np.array(join["line"]).T
        column, row = (x - geobox.transform.c) / metres, (geobox.transform.f - y) / metres
        axes.plot(column, row, color=canvas.colour(index), linewidth=1.5)
    axes.set_xlim(-0.5, power.shape[1] - 0.5)
    axes.set_ylim(power.shape[0] - 0.5, -0.5)
    place = np.arange(len(joins))
    for shift, band, hatch in ((-0.2, "VV", ""), (0.2, "VH", "///")):
        values = [join["step_db"][band] for join in joins]
        drawn = bars.barh(
            place + shift, values, 0.36, color=[canvas.colour(index) for index in range(len(joins))], hatch=hatch, edgecolor="white"
        )
        bars.bar_label(drawn, [f"{band} {value:+.2f} dB" for value in values], fontsize=8, padding=3)
    bars.axvline(0, color="black", linewidth=0.8)
    bars.margins(x=0.45)
    bars.set_yticks(place, [join["items"][0][17:25] for join in joins])
    bars.invert_yaxis()
    bars.set_xlabel("step first − second slice in dB")
    bars.set_title("Step across each join" if joins else "No joins in this block", fontsize=12)
    bars.set_axis_on() if joins else bars.set_axis_off()
    canvas.save(figure, target)


def percent(share: float) -> str:
    """Format a share in %; small shares differ from zero."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def scene_name(number: int, items: list[str]) -> str:
    """Return a short name of a scene, e.g. "2016-01-05 S2A T30NXN N0500"."""
    if number in (0, SEVERAL):
        return "no data" if number == 0 else "several scenes"
    if number > len(items):
        return f"scene {number}"
    match = re.match(r"(S2[A-D])_MSIL2A_(\d{4})(\d{2})(\d{2})T\w+?_(N\d{4})_R\d{3}_(T\w{5})", items[number - 1])
    if not match:
        return items[number - 1][:32]
    satellite, year, month, day, baseline, tile = match.groups()
    return f"{year}-{month}-{day} {satellite} {tile} {baseline}"


def probability(view: BlockView, target: str) -> None:
    """Draw the forest's probability of mining."""
    import pyarrow.parquet as pq
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = pq.read_table(view.sources["probabilities"], columns=["segment", "probability"])
    segment, values = (columns[name].to_numpy() for name in ("segment", "probability"))
    number = canvas.thumbnail(view.sources["segments"], categories=True)[0]
    lookup = np.full(int(max(number.max(), segment.max())) + 1, np.nan, np.float32)
    lookup[segment] = values
    shown = np.ma.masked_invalid(lookup[number])
    figure = canvas.map_figure(number.shape, 1.0)
    axes = figure.subplots()
    axes.set_facecolor(canvas.NO_DATA)
    canvas.show(axes, shown, view.title("probability of mining"), view.metres(number), cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(ScalarMappable(Normalize(0, 1), "viridis"), ax=axes, shrink=0.7, label="probability (forest, before the threshold)")
    canvas.save(figure, target)


def mask(view: BlockView, target: str) -> None:
    """Draw the mask over Sentinel-2."""
    from matplotlib.patches import Patch

    values = canvas.thumbnail(view.sources["mask"], categories=True)[0]
    own = view.own(values.shape)
    colours = canvas.masked(view.rgb, np.where(own, values, 0).astype(np.uint8))
    valid = own & (values != 255)
    share = (values[valid] == 1).mean() if valid.any() else 0.0
    figure = canvas.map_figure(values.shape)
    canvas.show(figure.subplots(), colours, view.title("mask"), view.metres(values))
    handles = [
        Patch(facecolor=(*canvas.MINING, 0.5), edgecolor=canvas.MINING, label=f"mining ({share:.1%})"),
        Patch(facecolor=canvas.NO_DATA, edgecolor=(0.45, 0.45, 0.45), hatch="////", label="no data or left open"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    canvas.save(figure, target)


def block_pictures(sources: Mapping[str, str], lattice: Lattice, year: str, block: str, targets: Mapping[str, str]) -> None:
    """Draw the pictures that need no labels.

    Args:
        sources: paths of s2, clear_mask, s1, dem, source (scene index), segments, and the composites' statistics s2_stats and s1_stats.
        targets: paths of rgb, s1, hillshade, segments, source, seams and steps; without segments, their picture is not drawn.
    """
    view = BlockView(sources, lattice, year, block)
    rgb(view, targets["rgb"])
    radar(view, targets["s1"])
    hillshade(view, targets["hillshade"])
    if "segments" in targets:
        segments(view, targets["segments"])
    scenes(view, targets["source"])
    seams(view, targets["seams"])
    steps(view, targets["steps"])
    logger.info("%d pictures in %s", len(targets), Path(targets["rgb"]).parent)


def label_pictures(sources: Mapping[str, str], lattice: Lattice, year: str, block: str, targets: Mapping[str, str]) -> None:
    """Draw the pictures that need labels.

    Args:
        sources: paths of s2, clear_mask, segments, probabilities and mask.
        targets: paths of probability and mask; without probability, its picture is not drawn.
    """
    view = BlockView(sources, lattice, year, block)
    if "probability" in targets:
        probability(view, targets["probability"])
    mask(view, targets["mask"])
    logger.info("%d pictures in %s", len(targets), Path(targets["mask"]).parent)
