"""Pictures of one year and block, to look at before and after labels exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.composite.seams import SEVERAL
from smallmines.core import raster
from smallmines.core.files import read_json, split_tag
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice
from smallmines.report import canvas

RGB = tuple(S2_BANDS.index(name) + 1 for name in ("B04", "B03", "B02"))
MOST_SEAMS = 14
"""Seams that are told in numbers, the longest first."""


def rgb(s2: str, clear_path: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Sentinel-2 in natural colours."""
    colours = _rgb(s2, clear_path, lattice, block)
    made = canvas.map_figure(colours.shape[:2])
    title = f"{year}, block {block}: Sentinel-2 B04, B03, B02 (2–98 % of the clear pixels)"
    canvas.show(made.subplots(), colours, title, _metres(lattice, block, colours))
    canvas.save(made, target)


def radar(s1: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Sentinel-1 as red VV, green VH, blue VV − VH, all in dB."""
    power = canvas.thumbnail(s1)
    valid = np.isfinite(power).all(axis=0)
    bands = np.stack([power[0], power[1], power[0] - power[1]])
    colours = canvas.faded(canvas.stretched(np.nan_to_num(bands), valid), _own(lattice, block, valid.shape))
    made = canvas.map_figure(valid.shape)
    title = f"{year}, block {block}: Sentinel-1 VV, VH, VV − VH in dB (2–98 % stretch)"
    canvas.show(made.subplots(), colours, title, _metres(lattice, block, colours))
    canvas.save(made, target)


def hillshade(dem: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Copernicus DEM: heights in colour under a shade from the north-west."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    height = canvas.thumbnail(dem)[0]
    valid = np.isfinite(height)
    low, high = np.percentile(height[valid], (1, 99)) if valid.any() else (0, 1)
    scale = Normalize(low, max(high, low + 1))
    metres = _metres(lattice, block, height)
    shade = shaded(np.where(valid, height, low), metres)
    colours = (colormaps["cividis"](scale(np.nan_to_num(height)))[..., :3] * (0.35 + 0.75 * shade[..., None])).clip(0, 1).astype(np.float32)
    colours[~valid] = canvas.NO_DATA
    made = canvas.map_figure(height.shape, 1.0)
    axes = made.subplots()
    colours = canvas.faded(colours, _own(lattice, block, height.shape))
    canvas.show(axes, colours, f"{year}, block {block}: Copernicus DEM, shaded (relief × 3)", metres)
    made.colorbar(ScalarMappable(scale, "cividis"), ax=axes, shrink=0.7, label="height above EGM2008 in m")
    canvas.save(made, target)


def shaded(height: NDArray[Any], metres: float, exaggeration: float = 3.0) -> NDArray[np.float32]:
    """Lambertian shade, 0 to 1, of a (row, column) surface lit from the north-west, 45° high (Horn 1981, central differences)."""
    if min(height.shape) < 2:
        return np.full(height.shape, np.sqrt(0.5), np.float32)
    south, east = np.gradient(height.astype(np.float32) * exaggeration, metres)
    light = np.array([-0.5, 0.5, np.sqrt(0.5)])  # towards the sun: east, north, up
    normal = np.stack([-east, south, np.ones_like(east)]) / np.sqrt(1 + east**2 + south**2)
    return np.tensordot(light, normal, 1).clip(0, 1).astype(np.float32)


def segments(s2: str, clear_path: str, segments: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Segment outlines over Sentinel-2, in the block's middle tile: of a whole block, or of nine tiles, one would see lines only."""
    where = middle_tile(lattice, block)
    with raster.opened(s2) as source:
        bands = source.read(RGB, window=where)
    with raster.opened(segments) as source:
        labels = source.read(1, window=where)
    with raster.opened(clear_path) as source:
        clear = source.read(1, window=where) > 0
    times = max(1, canvas.LIMIT // max(labels.shape))
    colours = canvas.enlarged(canvas.stretched(bands, (bands > 0).all(axis=0), basis=clear, gamma=canvas.GAMMA), times)
    lines = canvas.enlarged(labels, times)
    colours[canvas.edges(lines) | canvas.edges(lines[::-1, ::-1])[::-1, ::-1]] = canvas.MINING
    count = np.unique(labels[labels > 0]).size
    made = canvas.map_figure(labels.shape)
    title = f"{year}, block {block}: {count} segments in the middle tile"
    canvas.show(made.subplots(), colours, title, lattice.block(block).transform.a / times)
    canvas.save(made, target)


def middle_tile(lattice: Lattice, block: str) -> rasterio.windows.Window:
    """The block's own tile nearest to the middle of its tiles, as a window of the block's grid."""
    tiles, side = lattice.tiles_of(block), lattice.tile_size
    place = np.array([(tile.row, tile.col) for tile in tiles])
    middle = tiles[int(((place - place.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    row, col, _, _ = lattice.windows[block]
    return rasterio.windows.Window((middle.col - col) * side, (middle.row - row) * side, side, side)


def scenes(source: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Which scene each pixel of the Sentinel-2 composite comes from: its seams."""
    from matplotlib.patches import Patch

    number = canvas.thumbnail(source, categories=True)[0]
    with raster.opened(source) as opened:
        names = split_tag(opened.tags().get("ITEMS", ""))
    own = _own(lattice, block, number.shape)
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
    made = canvas.map_figure(number.shape, 3.4)
    axes = made.subplots()
    canvas.show(axes, canvas.faded(colours, own), f"{year}, block {block}: scene of each Sentinel-2 pixel", _metres(lattice, block, number))
    made.legend(handles=handles, loc="outside right upper", fontsize=10, title="share of the block", frameon=False)
    canvas.save(made, target)


def seams(s2: str, clear_path: str, source: str, stats: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Where two scenes meet in the Sentinel-2 composite, and by how much the level changes there."""
    from matplotlib.patches import Patch

    told = read_json(stats)["seams"]
    number = canvas.thumbnail(source, categories=True)[0]
    own = _own(lattice, block, number.shape)
    colours = 0.25 + 0.45 * _rgb(s2, clear_path, lattice, block).mean(axis=2, keepdims=True).repeat(3, axis=2)
    colours, handles = canvas.faded(colours.astype(np.float32), own), []
    with raster.opened(source) as opened:
        names = split_tag(opened.tags().get("ITEMS", ""))
    meeting = _meeting(number, [tuple(seam["numbers"]) for seam in told])
    for index, seam in enumerate(told):
        colour = np.array(canvas.colour(index), np.float32)
        colours[(meeting == index) & own] = colour
        step, usual = (np.array([np.nan if value is None else value for value in seam[key].values()]) for key in ("step", "usual"))
        if index < MOST_SEAMS:
            both = " / ".join(scene_name(one, names) for one in seam["numbers"])
            text = f"{both}\n{seam['km']:.1f} km; step {np.abs(step).max():.0f} DN at most, neighbours differ by {np.nanmax(usual):.0f}"
            handles.append(Patch(facecolor=colour, edgecolor="black", label=text))
    made = canvas.map_figure(number.shape, 5.2)
    title = f"{year}, block {block}: seams of the Sentinel-2 composite ({sum(seam['km'] for seam in told):.0f} km)"
    canvas.show(made.subplots(), colours, title, _metres(lattice, block, number))
    heading = "median step across the seam, largest of ten bands" if told else "no seams between clear pixels"
    made.legend(handles=handles, loc="outside right upper", fontsize=8, title=heading, frameon=False)
    canvas.save(made, target)


def _meeting(number: NDArray[np.uint8], pairs: list[tuple[int, int]]) -> NDArray[np.int32]:
    """Which pair of scenes meets at each pixel or beside it, by its place in `pairs` (the lower scene first); −1 where none does."""
    place = np.full((256, 256), -1, np.int32)
    for index, pair in enumerate(pairs):
        place[pair] = index
    found = np.full(number.shape, -1, np.int32)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = number[one], number[other]
        here = place[np.minimum(a, b), np.maximum(a, b)]
        for side in (one, other):
            np.copyto(found[side], here, where=here >= 0)
    return found


def steps(s1: str, stats: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """Where slices of a Sentinel-1 pass join, and the step in level there."""
    joins = read_json(stats)["joins"]
    power = canvas.thumbnail(s1)[0]
    valid = np.isfinite(power)
    grey = canvas.stretched(np.stack([np.nan_to_num(power)] * 3), valid)
    metres, geobox = _metres(lattice, block, power), lattice.block(block)
    made = canvas.map_figure(power.shape, 4.2)
    axes, bars = made.subplots(1, 2, width_ratios=(1.6, 1))
    canvas.show(axes, canvas.faded(grey, _own(lattice, block, valid.shape)), f"{year}, block {block}: joins of Sentinel-1 slices", metres)
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
    canvas.save(made, target)


def percent(share: float) -> str:
    """A share in %, told from none however small."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def scene_name(number: int, items: list[str]) -> str:
    """A scene in few words, e.g. "2016-01-05 S2A T30NXN N0500"."""
    if number in (0, SEVERAL):
        return "no data" if number == 0 else "several scenes"
    if number > len(items):
        return f"scene {number}"
    found = re.match(r"(S2[A-D])_MSIL2A_(\d{4})(\d{2})(\d{2})T\w+?_(N\d{4})_R\d{3}_(T\w{5})", items[number - 1])
    if not found:
        return items[number - 1][:32]
    satellite, year, month, day, baseline, tile = found.groups()
    return f"{year}-{month}-{day} {satellite} {tile} {baseline}"


def probability(segments: str, table: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """The forest's probability of mining."""
    import pyarrow.parquet as pq
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    known = pq.read_table(table, columns=["segment", "probability"])
    segment, values = (known[name].to_numpy() for name in ("segment", "probability"))
    number = canvas.thumbnail(segments, categories=True)[0]
    lookup = np.full(int(max(number.max(), segment.max())) + 1, np.nan, np.float32)
    lookup[segment] = values
    shown = np.ma.masked_invalid(lookup[number])
    made = canvas.map_figure(number.shape, 1.0)
    axes = made.subplots()
    axes.set_facecolor(canvas.NO_DATA)
    canvas.show(
        axes, shown, f"{year}, block {block}: probability of mining", _metres(lattice, block, number), cmap="viridis", vmin=0, vmax=1
    )
    made.colorbar(ScalarMappable(Normalize(0, 1), "viridis"), ax=axes, shrink=0.7, label="probability (forest, before the threshold)")
    canvas.save(made, target)


def mask(s2: str, clear_path: str, mask: str, lattice: Lattice, year: str, block: str, target: str) -> None:
    """The mask over Sentinel-2."""
    from matplotlib.patches import Patch

    values = canvas.thumbnail(mask, categories=True)[0]
    own = _own(lattice, block, values.shape)
    colours = canvas.masked(_rgb(s2, clear_path, lattice, block), np.where(own, values, 0).astype(np.uint8))
    valid = own & (values != 255)
    share = (values[valid] == 1).mean() if valid.any() else 0.0
    made = canvas.map_figure(values.shape)
    canvas.show(made.subplots(), colours, f"{year}, block {block}: mask", _metres(lattice, block, values))
    handles = [
        Patch(facecolor=(*canvas.MINING, 0.5), edgecolor=canvas.MINING, label=f"mining ({share:.1%})"),
        Patch(facecolor=canvas.NO_DATA, edgecolor=(0.45, 0.45, 0.45), hatch="////", label="no data or left open"),
    ]
    made.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    canvas.save(made, target)


def block_pictures(sources: dict[str, str], lattice: Lattice, year: str, block: str, targets: dict[str, str]) -> None:
    """All pictures that need no labels.

    Args:
        sources: paths of s2, clear_mask, s1, dem, source (scene index), segments, and the composites' figures s2_stats and s1_stats.
        targets: paths of rgb, s1, hillshade, segments, source, seams and steps.
    """
    rgb(sources["s2"], sources["clear_mask"], lattice, year, block, targets["rgb"])
    radar(sources["s1"], lattice, year, block, targets["s1"])
    hillshade(sources["dem"], lattice, year, block, targets["hillshade"])
    segments(sources["s2"], sources["clear_mask"], sources["segments"], lattice, year, block, targets["segments"])
    scenes(sources["source"], lattice, year, block, targets["source"])
    composite = (sources["s2"], sources["clear_mask"], sources["source"], sources["s2_stats"])
    seams(*composite, lattice, year, block, targets["seams"])
    steps(sources["s1"], sources["s1_stats"], lattice, year, block, targets["steps"])
    logger.info("%d pictures in %s", len(targets), Path(targets["rgb"]).parent)


def label_pictures(sources: dict[str, str], lattice: Lattice, year: str, block: str, targets: dict[str, str]) -> None:
    """All pictures that need labels.

    Args:
        sources: paths of s2, clear_mask, segments, probabilities and mask.
        targets: paths of probability and mask.
    """
    probability(sources["segments"], sources["probabilities"], lattice, year, block, targets["probability"])
    mask(sources["s2"], sources["clear_mask"], sources["mask"], lattice, year, block, targets["mask"])
    logger.info("%d pictures in %s", len(targets), Path(targets["mask"]).parent)


def _rgb(s2: str, clear_path: str, lattice: Lattice, block: str) -> canvas.Colours:
    bands = canvas.thumbnail(s2, RGB)
    valid = np.asarray((bands > 0).all(axis=0))
    own = _own(lattice, block, valid.shape)
    clear = canvas.thumbnail(clear_path, categories=True)[0] > 0
    return canvas.faded(canvas.stretched(bands, valid, basis=own & clear, gamma=canvas.GAMMA), own)


def _own(lattice: Lattice, block: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    own: NDArray[np.bool_] = canvas.sampled(lattice.own(block), (shape[0], shape[1]))
    return own


def _metres(lattice: Lattice, block: str, image: NDArray[Any]) -> float:
    """Width in m of a pixel of a thumbnail."""
    geobox = lattice.block(block)
    return float(geobox.transform.a * geobox.shape.x / image.shape[1])
