"""Try a grid of settings of the mean-shift segmentation on one window and measure each.

Two figures judge a segmentation without labels. The share of the variance of the bands that lies within segments falls as
segments get smaller (Espindola et al. 2006, doi 10.1080/01431160600617194, weigh it by area as here): a high share means that segments
mix different surfaces. The contrast across borders, relative to the differences between neighbours inside segments, falls when
borders are drawn where there are none: a low contrast means that segments split one surface.

Where the classes of pixels are known, from masks or samples, the ceiling tells what any labelling of the segments can reach: the IoU of
mining if each segment is labelled by the class that most of its known pixels have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.known_classes import UNKNOWN, classes_of_mask, classes_of_samples
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels.tables import RELEASED
from smallmines.segment import orfeo
from smallmines.segment.segmentation import masked_image, mean_shift
from smallmines.settings.parameters import settings_of
from smallmines.settings.segmentation import Segmentation

if TYPE_CHECKING:
    import pandas as pd

TOLD_BY = 30
"""Least number of segments with two known pixels for a ceiling."""

SMALL = 9
"""Segments below this size in pixels are counted as small: half of their pixels are mixed with the surroundings."""


@dataclass(frozen=True)
class Crop:
    """The window that is segmented.

    Attributes:
        cube: uint16 (band, row, column), nodata 0.
        geobox: its grid.
        known: int8 (row, column), 1 mining, 0 not, -1 where the class is not known.
    """

    cube: NDArray[np.uint16]
    geobox: GeoBox
    known: NDArray[np.int8]


@dataclass(frozen=True)
class Square:
    """Where the window lies in its block.

    Attributes:
        side: in pixels; less where the block is smaller.
        corner: first row and column; None: where most of the block's own pixels are clear, of the places at steps of half a side.
    """

    side: int
    corner: tuple[int, int] | None = None


@dataclass(frozen=True)
class Limits:
    """What Orfeo ToolBox may use."""

    threads: int
    mem_mb: int


class Tuned(NamedTuple):
    """Table of the settings that were tried (see `measure`), and a sentence on what is known of the classes in the window."""

    table: pd.DataFrame
    classes: str


def grid_of(settings: Segmentation, spatial: Sequence[int], ranges: Sequence[float], sizes: Sequence[int]) -> list[Segmentation]:
    """Return the settings to try, the configured ones included, by spatial radius, range radius and smallest size."""
    wanted = {(settings.spatial_radius, settings.range_radius, settings.min_size), *product(spatial, ranges, sizes)}
    return [replace(settings, spatial_radius=radius, range_radius=float(range_), min_size=size) for radius, range_, size in sorted(wanted)]


def read_crop(s2: Path, clear: Path, lattice: Lattice, block: str, square: Square) -> tuple[Crop, tuple[int, int]]:
    """Read a window of a block; return it and its first row and column.

    Args:
        s2, clear: Sentinel-2 composite of the block and its clear mask.

    Raises:
        UserError: the window lies outside the block.
    """
    box = lattice.block(block)
    side = min(square.side, *box.shape)
    row, col = square.corner or _clearest(raster.read(clear, box)[0] > 0, lattice.own(block), side)
    if row < 0 or col < 0 or row + side > box.shape.y or col + side > box.shape.x:
        raise UserError(f"a window of {side} px inside the block's {box.shape.y} × {box.shape.x} px", f"row {row}, column {col}", "move it")
    with raster.opened(s2) as source:
        raster.require_grid(source, box)
        cube = source.read(raster.band_indices(source, S2_BANDS), window=Window(col, row, side, side))
    cube[:, ~lattice.own(block)[row : row + side, col : col + side]] = 0
    return Crop(cube, box[row : row + side, col : col + side], np.full((side, side), UNKNOWN, np.int8)), (row, col)


def _clearest(clear: NDArray[np.bool_], own: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Return first row and column of the window with the most clear pixels, by a summed-area table."""
    total = np.pad((clear & own).cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    rows, cols = (np.unique([*range(0, size - side + 1, max(1, side // 2)), size - side]) for size in clear.shape)
    counts = (
        total[np.ix_(rows + side, cols + side)]
        - total[np.ix_(rows, cols + side)]
        - total[np.ix_(rows + side, cols)]
        + total[np.ix_(rows, cols)]
    )
    row, col = np.unravel_index(int(counts.argmax()), counts.shape)
    return int(rows[row]), int(cols[col])


def try_all(
    crop: Crop, grid: Sequence[Segmentation], threads: int, mem_mb: int, advance: Callable[[], object] = lambda: None
) -> Iterator[tuple[dict[str, Any], NDArray[np.uint32]]]:
    """Segment the crop with each settings of a grid; yield figures and labels of each.

    Args:
        advance: called after each.
    """
    for settings in grid:
        began = monotonic()
        with TemporaryDirectory(prefix="tune-") as folder:
            composite, image = Path(folder) / "composite.tif", Path(folder) / "image.tif"
            raster.write(composite, crop.cube, crop.geobox, 0, S2_BANDS)
            valid = masked_image(composite, crop.geobox, np.ones(tuple(crop.geobox.shape), bool), settings.bands, image)
            if not valid.any():
                raise UserError("a window with data", "none", "choose another one with --row and --col")
            limits = orfeo.resources(threads, mem_mb, len(settings.bands))
            labels = mean_shift(image, valid, crop.geobox, settings, orfeo.find(settings.backend, threads), limits)
        advance()
        tried = {"spatial_radius": settings.spatial_radius, "range_radius": settings.range_radius, "min_size": settings.min_size}
        yield tried | measure(labels, crop) | {"seconds": round(monotonic() - began, 1)}, labels


def measure(labels: NDArray[np.uint32], crop: Crop) -> dict[str, Any]:
    """Measure the size, homogeneity and contrast of the segments of a segmentation.

    Args:
        labels: uint32 (row, column), 1..n, 0 outside.

    Returns:
        segments, per_km2, median_px, small_share (of the area, in segments below `SMALL` px), within (share of the variance within
        segments, mean over the bands), contrast (see `edge_contrast`), mixed (see `mixed_class_share`), ceiling (see `ceiling`).
    """
    sizes = np.bincount(labels.ravel())[1:]
    pixel = abs(crop.geobox.transform.a * crop.geobox.transform.e)
    return {
        "segments": len(sizes),
        "per_km2": round(float(len(sizes) / (sizes.sum() * pixel / 1e6)), 1),
        "median_px": float(np.median(sizes)),
        "small_share": round(float(sizes[sizes < SMALL].sum() / sizes.sum()), 4),
        "within": round(variance_within(labels, crop.cube), 4),
        "contrast": round(edge_contrast(labels, crop.cube), 3),
        "mixed": mixed_class_share(labels, crop.known),
        "ceiling": ceiling(labels, crop.known),
    }


def variance_within(labels: NDArray[np.uint32], cube: NDArray[np.uint16]) -> float:
    """Return the share of the pixels' variance that lies within segments, weighted by area, mean over the bands; 0 to 1."""
    inside = labels > 0
    number = labels[inside] - 1
    size = np.bincount(number)
    shares = []
    for band in cube:
        values = band[inside].astype(np.float64)
        values -= values.mean()
        total = float((values**2).sum())
        between = float((np.bincount(number, values) ** 2 / size).sum())
        shares.append(1 - between / total if total else 0.0)
    return float(np.mean(shares))


def edge_contrast(labels: NDArray[np.uint32], cube: NDArray[np.uint16]) -> float:
    """Return the mean spectral distance of neighbours across borders over that of neighbours inside segments; 1: no difference."""
    across: list[NDArray[np.float64]] = []
    inside: list[NDArray[np.float64]] = []
    for axis in (0, 1):
        first, second = (np.take(labels, range(start, labels.shape[axis] - 1 + start), axis) for start in (0, 1))
        distance = np.sqrt((np.diff(cube.astype(np.float64), axis=axis + 1) ** 2).sum(axis=0))
        both = (first > 0) & (second > 0)
        across.append(distance[both & (first != second)])
        inside.append(distance[both & (first == second)])
    apart, together = np.concatenate(across), np.concatenate(inside)
    return float(apart.mean() / together.mean()) if len(apart) and len(together) and together.any() else float("nan")


def mixed_class_share(labels: NDArray[np.uint32], known: NDArray[np.int8]) -> float | None:
    """Return the share of the segments with known pixels that have pixels of both classes; None without any."""
    mines, total = _known_pixels(labels, known)
    seen = total > 0
    return round(float(((mines > 0) & (mines < total))[seen].mean()), 4) if seen.any() else None


def ceiling(labels: NDArray[np.uint32], known: NDArray[np.int8]) -> float | None:
    """Return the IoU of mining over the known pixels if each segment gets the class of most of them.

    None without pixels of both classes, or where fewer than `TOLD_BY` segments have two known pixels: single points always fit.
    """
    mines, total = _known_pixels(labels, known)
    if not mines.any() or (total == mines).all() or (total > 1).sum() < TOLD_BY:
        return None
    mapped = 2 * mines >= total
    return round(float(mines[mapped].sum() / (total[mapped].sum() + mines[~mapped].sum())), 4)


def _known_pixels(labels: NDArray[np.uint32], known: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of pixels of each segment known as mining, and of those known as either, (segment,)."""
    size = int(labels.max(initial=0)) + 1
    mines, total = (np.bincount(labels[part], minlength=size)[1:] for part in (known == 1, known >= 0))
    return mines, total


def write_results(
    table: pd.DataFrame, labels: Sequence[NDArray[np.uint32]], crop: Crop, chosen: int, title: str, folder: str | Path
) -> None:
    """Write `segments_tune.csv` and `segments_tune.png` into a folder.

    Args:
        labels: of each row of the table.
        chosen: the row of the configured settings, which the picture frames.
    """
    folder = Path(folder)
    with written(folder / "segments_tune.csv") as beside:
        table.to_csv(beside, index=False, lineterminator="\n")
    picture(table, labels, crop, chosen, title, folder / "segments_tune.png")


def picture(table: pd.DataFrame, labels: Sequence[NDArray[np.uint32]], crop: Crop, chosen: int, title: str, target: Path) -> None:
    """Draw the outlines of each setting over the middle of the window, and the two figures of fit in a scatter plot."""
    import pandas as pd

    from smallmines.report import canvas

    side = min(64, *crop.geobox.shape)
    top, left = ((size - side) // 2 for size in crop.geobox.shape)
    part = np.s_[top : top + side, left : left + side]
    rgb = crop.cube[[S2_BANDS.index(band) for band in ("B04", "B03", "B02")]]
    colours = canvas.stretched(rgb, np.asarray((rgb > 0).all(axis=0)), gamma=canvas.GAMMA)[part]
    columns = min(4, len(table) + 1)
    rows = -(-(len(table) + 1) // columns)
    figure = canvas.figure(3.3 * columns, 3.7 * rows + 0.4)
    figure.suptitle(title, fontsize=12)
    axes = np.ravel(figure.subplots(rows, columns))
    for index, (axis, row, segments) in enumerate(zip(axes, table.to_dict("records"), labels, strict=False)):
        shown, lines = canvas.enlarged(colours, 7), canvas.enlarged(segments[part], 7)
        shown[canvas.edges(lines)] = canvas.MINING
        name = f"spatial {row['spatial_radius']}, range {row['range_radius']:g}, min {row['min_size']}"
        best = "" if pd.isna(row["ceiling"]) else f", ceiling {row['ceiling']:.3f}"
        canvas.show(axis, shown, f"{name}\n{row['segments']} segments, median {row['median_px']:g} px{best}", crop.geobox.transform.a / 7)
        axis.title.set_fontsize(9)
        if index == chosen:
            axis.title.set_fontweight("bold")
            for spine in axis.spines.values():
                spine.set(color="black", linewidth=4)
    fit = axes[len(table)]
    fit.scatter(table["within"], table["contrast"], color="#4477aa")
    fit.scatter(table["within"][chosen], table["contrast"][chosen], color=canvas.MINING, label="as configured")
    for row in table.to_dict("records"):
        fit.annotate(
            f"{row['spatial_radius']}/{row['range_radius']:g}/{row['min_size']}",
            (row["within"], row["contrast"]),
            (4, 3),
            textcoords="offset points",
            fontsize=7,
        )
    fit.set_xlabel("variance within segments (less: finer)", fontsize=8)
    fit.set_ylabel("contrast across borders (more: better placed)", fontsize=8)
    fit.tick_params(labelsize=7)
    fit.margins(0.15)
    fit.legend(fontsize=7)
    for axis in axes[len(table) + 1 :]:
        axis.set_axis_off()
    canvas.save(figure, target)


def tune(
    block_year: BlockYear,
    grid: Sequence[Segmentation],
    square: Square,
    limits: Limits,
    folder: str | Path,
    mask: Path | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Tuned:
    """Try settings on a window of a block of a run; write table and picture, see `write_results`.

    Args:
        grid: settings to try, those of the configuration included.
        mask: raster with 1 = mining, 0 = not; None: the released masks of the run, else its samples.
        advance: called after each.

    Raises:
        UserError: no such year or block, or no composite yet.
    """
    import pandas as pd

    config, year, block = block_year.config, block_year.year, block_year.block
    if year not in config.year_names or block not in config.blocks:
        valid = f"years {', '.join(config.year_names)}, blocks {', '.join(config.blocks)}"
        raise UserError(f"a year and a block of the run ({valid})", f"{year}, {block}", "choose others")
    s2 = block_year.layout.s2(year, block)
    if not block_year.layout.grid.is_file() or not s2.is_file():
        raise UserError(f"{s2}", "no such file", f"make it first: snakemake composites_{year}_{block} --cores 2 --configfile …")
    crop, (row, col) = read_crop(s2, block_year.layout.clear(year, block), read_lattice(block_year.layout.grid), block, square)
    known, source = _known_classes(crop.geobox, block_year, mask)
    crop = replace(crop, known=known)
    rows, labels = zip(*try_all(crop, grid, limits.threads, limits.mem_mb, advance), strict=True)
    table = pd.DataFrame(rows)
    height, width = crop.geobox.shape
    title = f"{year}, block {block}: window of {width} × {height} px from row {row}, column {col}; bold: as configured"
    write_results(table, labels, crop, grid.index(settings_of(config.segmentation, Segmentation)), title, folder)
    mines, others = int((known == 1).sum()), int((known == 0).sum())
    text = f"known classes in the window: {mines} px of mining, {others} px of other land ({source})"
    if table["ceiling"].isna().all():
        text += f"; the ceiling needs both, and {TOLD_BY} segments with two such pixels"
    return Tuned(table, text)


def _tags(path: Path) -> dict[str, str]:
    with raster.opened(path) as source:
        return dict(source.tags())


def _known_classes(geobox: GeoBox, block_year: BlockYear, mask: Path | None) -> tuple[NDArray[np.int8], str]:
    """Return the classes that `mask`, else the released masks, else the samples tell of the pixels of a window, and which of them."""
    year, block = block_year.year, block_year.block
    if mask:
        return classes_of_mask(mask, geobox), str(mask)
    released = block_year.layout.released_mask(year, block) if block_year.segmented else block_year.layout.mask(year, block)
    if released.is_file() and _tags(released).get("PROVENANCE") == RELEASED:  # else a mask of this segmentation, which fits itself
        return classes_of_mask(released, geobox, needed=False), "released masks"
    return classes_of_samples(block_year.layout.user, year, block, geobox), "samples"
