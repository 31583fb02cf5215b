"""The Sentinel-2 composite of a block: ten bands from datatakes that are ranked once for the whole area.

A pixel comes from the first datatake by rank that sees it clearly, or is the median of the clear observations. A pixel that is never
clear keeps its best observation, flagged in `clear.tif`, or becomes nodata. The best is one that is only near a cloud before one in a
cloud, then the first by rank. Where tiles of a datatake overlap, the first tile by name with data wins. An observation is valid where
all ten bands are above 0 (above 1 where the digital numbers carry the +1000 offset).

A pixel is clear if its scene class is not masked and no cloud (classes 3, 8, 9, 10 where they are masked) lies within the dilation
radius. Clouds that hold no disk of the opening radius are not dilated: on bright tailings the classification sees specks of cloud on
every date, and with a margin around each of them the mines would never be clear. Clouds are searched in the mosaic of the datatake,
read with a margin as wide as their reach, so the result does not depend on strips and blocks.

Bright tailings and roofs can be classified as cloud on every date. A pixel that is never clear counts as clear if two dates agree on
it, see `confirmed_by_another_date`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from smallmines.composite.seams import SEVERAL, seams
from smallmines.composite.verdicts import Judged, OffsetEvidence
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.product import OFFSET, S2_BANDS
from smallmines.core.raster import created, opened, require_grid, strips
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.manifest import FetchedItem, Scene, Sentinel2Entry, read_fetched
from smallmines.sensors.radiometry import require_one_offset, to_radiometry
from smallmines.sensors.scl import BRIGHT_CLASSES, CLOUD_CLASSES, SCL, clear_mask, cloud_reach
from smallmines.settings.sentinel2 import Sentinel2

NONE, CLOUDY, NEAR, CLEAR = 0, 1, 2, 3
"""Grades of an observation, the best last: no data, of a masked class, near a cloud, clear."""

KEPT = 2
"""Value in `clear.tif` of a pixel that counts as clear because it is stable; 1 is clear, 0 is not."""

SOIL_RATIO = 1.5
"""Minimum ratio of B11 to B02 of ground that is classified as cloud. In a series of 118 dates over Flanders 99.8 % of bare soil and
0.3 % of high-probability cloud exceed it."""

STABLE_DN = 60
"""Digital numbers by which two observations may differ in addition to the relative tolerance: noise and thin haze."""


@dataclass(frozen=True)
class Surface:
    """The observation of a strip by one datatake, or a composite of several.

    Attributes:
        dn: uint16 (band, row, column) in the radiometry of the composite, 0 = nodata in all bands.
        source: uint8 (row, column), index of the scene, 0 = none.
        grade: uint8 (row, column), see `NONE`.
        bright: (row, column) True where the scene class is one that bright ground is mistaken for.
    """

    dn: NDArray[np.uint16]
    source: NDArray[np.uint8]
    grade: NDArray[np.uint8]
    bright: NDArray[np.bool_]


class PixelCounts:
    """Counts of a block's own pixels, collected strip by strip.

    Attributes:
        by_grade: by grade and index of the scene, int64 (4, 256).
        kept: by row and column of the cell, pixels that count as clear because they are stable.
    """

    def __init__(self, own: NDArray[np.bool_], tile_size: int) -> None:
        """Start at 0. `own` is True in the block's own cells, (row, column)."""
        self.own, self.tile_size = own, tile_size
        self.by_grade = np.zeros((CLEAR + 1, 256), np.int64)
        self.kept = np.zeros(tuple(size // tile_size for size in own.shape), np.int64)

    def add(self, strip: Window, done: Surface, kept: NDArray[np.bool_]) -> None:
        """Count the pixels of a strip, and those of them that are `kept`."""
        inside = self.own[strip.row_off : strip.row_off + strip.height]
        row, col = np.nonzero(kept & inside)
        np.add.at(self.kept, ((row + strip.row_off) // self.tile_size, col // self.tile_size), 1)
        for grade, counts in enumerate(self.by_grade):
            counts += np.bincount(done.source[inside & (done.grade == grade)], minlength=256)


def composite(block: str, grid: str | Path, fetched: str | Path, settings: Sentinel2, outputs: Mapping[str, str | Path]) -> None:
    """Make the Sentinel-2 composite of a block, strip by strip, on the block's grid.

    Args:
        block: number of the block.
        grid: `grid/grid.json`.
        fetched: `fetched/<year>/<block>/s2.json`.
        settings: keys of `sentinel2`.
        outputs: paths of `image` (uint16, ten bands, nodata 0), `source` (uint8, index of the scene in the manifest, 255 =
            several, 0 = none), `clear_mask` (uint8, 1 = clear, 2 = clear because stable) and `stats` (JSON).

    Raises:
        UserError: `native` with mixed offsets, more than 254 scenes, or see `OffsetEvidence.judge`.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    fetched_list = read_fetched(fetched, Sentinel2Entry)
    entries = [item.entry for item in fetched_list.items]
    _check_usable(entries, settings)
    evidence = OffsetEvidence(entries)
    counts = PixelCounts(own, lattice.tile_size)
    offset = OFFSET if settings.radiometry == "dn_plus1000" or (settings.radiometry == "native" and entries[0].offset) else 0
    tags = _tags(entries, settings) | fetched_list.provider_tags() | {TAG: of_rasters()}
    with ExitStack() as stack:
        sources = {item.entry.id: _open(stack, item, geobox, settings) for item in fetched_list.items}
        image = stack.enter_context(created(outputs["image"], geobox, "uint16", 0, S2_BANDS, tags))
        # All scenes of the year, so that the n-th name is scene n also in a block that some scenes miss.
        source = stack.enter_context(created(outputs["source"], geobox, "uint8", 0, ["scene"], tags | _names(fetched_list.scenes)))
        values = {"VALUES": "0 not clear, 1 clear, 2 clear because stable"}
        clear = stack.enter_context(created(outputs["clear_mask"], geobox, "uint8", None, ["clear"], tags | values))
        for strip in strips(tuple(geobox.shape)):
            takes = list(_observations(entries, sources, strip, geobox, settings, evidence))
            done = median(takes, settings.unclear) if settings.method == "median" else first_clear(takes, settings.unclear)
            kept = accept_stable(done, takes, settings.stable_tolerance, offset)
            image.write(done.dn, window=strip)
            source.write(done.source, 1, window=strip)
            clear.write(np.where(kept, KEPT, done.grade == CLEAR).astype(np.uint8), 1, window=strip)
            counts.add(strip, done, kept)
            evidence.add_composite(done.dn)
        judged = evidence.judge(counts.by_grade[CLOUDY:].sum(axis=0), settings.radiometry, settings.undecided)
        image.update_tags(**judged.tags)
    first_row, first_col, _, _ = lattice.windows[block]
    kept_pixels = {tile.tile_id: int(counts.kept[tile.row - first_row, tile.col - first_col]) for tile in lattice.tiles_of(block)}
    stats = _stats(entries, counts.by_grade, judged) | {
        "kept_pixels": sum(kept_pixels.values()),
        "kept_pixels_of_tiles": {name: count for name, count in kept_pixels.items() if count},
        "seams": seams(outputs["image"], outputs["source"], outputs["clear_mask"], own, [scene.id for scene in fetched_list.scenes]),
    }
    logger.info("block %s: %d pixels are never clear, but stable: they count as clear", block, stats["kept_pixels"])
    logger.info(
        "block %s: %.1f %% filled from other datatakes than the first, %.2f %% unclear, %.2f %% without data",
        block,
        *(100 * stats[key] for key in ("fill_share", "unclear_share", "nodata_share")),
    )
    write_json(outputs["stats"], stats)


def first_clear(takes: Iterable[Surface], unclear: str) -> Surface:
    """Return the first clear observation by rank.

    Where none is clear: the first of the best grade if `unclear` is `keep`, nodata if it is `nodata`.
    """
    result: Surface | None = None
    for take in takes:
        if result is None:
            result = Surface(np.zeros_like(take.dn), np.zeros_like(take.source), np.zeros_like(take.grade), np.zeros_like(take.bright))
        better = take.grade > result.grade
        if unclear == "nodata":
            better &= take.grade == CLEAR
        for kept, new in ((result.dn, take.dn), (result.source, take.source), (result.grade, take.grade)):
            np.copyto(kept, new, where=better)
    assert result is not None
    return result


def median(takes: Iterable[Surface], unclear: str) -> Surface:
    """Return the median of the clear observations, band by band; of an even number the lower of the two in the middle.

    With the lower one every value is a measured one, and of two observations it is the less hazy one. Pixels with fewer than two clear
    observations are as in `first_clear`.
    """
    surfaces = list(takes)
    result = first_clear(surfaces, unclear)
    count = np.sum([take.grade == CLEAR for take in surfaces], axis=0)
    several = count > 1
    if several.any():
        middle = (count[several] - 1) // 2
        for band, target in enumerate(result.dn):
            values = np.stack([np.where(take.grade == CLEAR, take.dn[band], np.uint16(65535))[several] for take in surfaces])
            values.sort(axis=0)
            target[several] = np.take_along_axis(values, middle[np.newaxis], axis=0)[0]
        result.source[several] = SEVERAL
    return result


def accept_stable(done: Surface, takes: Sequence[Surface], tolerance: float, offset: int) -> NDArray[np.bool_]:
    """Accept pixels that are never clear but stable: set them to clear, in place, with the stable observation of the best rank.

    Args:
        done: the composite; changed in place.
        takes: the datatakes in rank order.
        tolerance: relative difference within which observations agree; 0: no pixel is stable.
        offset: of the digital numbers.

    Returns:
        (row, column) True where a pixel was set.
    """
    kept = np.zeros(done.grade.shape, bool)
    if tolerance == 0 or len(takes) < 2:
        return kept
    never = np.max([take.grade for take in takes], axis=0) < CLEAR
    row, col = np.nonzero(never & (np.sum([take.grade > NONE for take in takes], axis=0) > 1))
    dn = np.stack([take.dn[:, row, col] for take in takes]).astype(np.int32) - offset
    near = np.stack([take.grade[row, col] == NEAR for take in takes])
    bright = np.stack([take.bright[row, col] & (take.grade[row, col] > NONE) for take in takes])
    best = confirmed_by_another_date(dn, near, bright, tolerance)
    for rank, take in enumerate(takes):
        y, x = row[best == rank], col[best == rank]
        done.dn[:, y, x], done.source[y, x], done.grade[y, x] = take.dn[:, y, x], take.source[y, x], CLEAR
        kept[y, x] = True
    return kept


def confirmed_by_another_date(
    dn: NDArray[np.int32], near: NDArray[np.bool_], bright: NDArray[np.bool_], tolerance: float
) -> NDArray[np.int64]:
    """Return the index of the first observation of each pixel that another date confirms, −1 where none is confirmed.

    Two observations confirm each other if no band differs by more than `tolerance` of the smaller one plus `STABLE_DN`, and if both
    may show the ground: they are near a cloud, or are classified as cloud but much brighter in B11 than in B02. Soil and roofs are;
    cloud is not, because water and ice absorb in the short-wave infrared. Agreement alone is not enough, because two thick clouds look
    alike. Cloud shadow confirms nothing.

    Args:
        dn: (datatake, band, pixel) without offset.
        near, bright: (datatake, pixel) True where the observation is near a cloud; is classified as cloud.
        tolerance: relative difference within which observations agree.
    """
    soil = dn[:, S2_BANDS.index("B11")] > SOIL_RATIO * dn[:, S2_BANDS.index("B02")]
    usable = near | (bright & soil)
    confirmed = np.zeros(usable.shape, bool)
    for first, second in combinations(range(len(dn)), 2):
        both = np.flatnonzero(usable[first] & usable[second])
        a, b = dn[first][:, both], dn[second][:, both]
        agree = (np.abs(a - b) <= tolerance * np.minimum(a, b) + STABLE_DN).all(axis=0)
        confirmed[np.ix_((first, second), both[agree])] = True
    return np.where(confirmed.any(axis=0), confirmed.argmax(axis=0), -1)


def near_cloud(classes: NDArray[np.uint8], masked: Sequence[int], dilation: int, opening: int) -> NDArray[np.bool_]:
    """Return the pixels within `dilation` px (Euclidean) of a masked cloud or shadow that holds a disk of radius `opening` px.

    Args:
        classes: scene classes with a margin of dilation + 2 · opening px, in which the result is not exact.
        masked: scene classes that are masked; only those among `CLOUD_CLASSES` count.
        dilation, opening: in px.
    """
    from scipy import ndimage

    core = np.isin(classes, [cloud_class for cloud_class in CLOUD_CLASSES if cloud_class in masked])
    if opening and core.any():
        core = ndimage.distance_transform_edt(core) > opening
    reach = dilation + opening
    if reach == 0 or not core.any():
        return core
    return np.asarray(ndimage.distance_transform_edt(~core) <= reach)


def mosaic(
    parts: Sequence[tuple[int, NDArray[np.uint16], NDArray[np.bool_]]],
    scl: Sequence[NDArray[np.uint8]] | None,
    masked: Sequence[int],
    reach: tuple[int, int, int] = (0, 0, 0),
) -> Surface:
    """Merge the items of a datatake; the first one with data wins.

    Args:
        parts: per item the index of the scene, uint16 (band, row, column) and where it is valid.
        scl: per item the scene classes with the margin on each side; None: every valid pixel is clear.
        masked: scene classes that are masked.
        reach: dilation, opening and margin in px, see `cloud_reach`.
    """
    index, dn, valid = parts[0]
    result, source = np.where(valid, dn, np.uint16(0)), np.where(valid, index, 0).astype(np.uint8)
    for index, dn, valid in parts[1:]:
        fresh = valid & (source == 0)
        np.copyto(result, dn, where=fresh)
        source[fresh] = index
    if scl is None:
        return Surface(result, source, np.where(source > 0, CLEAR, NONE).astype(np.uint8), np.zeros(source.shape, bool))
    height, width = source.shape
    dilation, opening, margin = reach
    inner = np.s_[margin : margin + height, margin : margin + width]
    classes = scl[0].copy()
    clear, bright = np.zeros_like(valid), np.zeros_like(valid)
    for (index, _, _), item_classes in zip(parts, scl, strict=True):
        np.copyto(classes, item_classes, where=classes == 0)
        clear |= (source == index) & clear_mask(item_classes[inner], masked)
        bright |= (source == index) & np.isin(item_classes[inner], BRIGHT_CLASSES)
    near = near_cloud(classes, masked, dilation, opening)[inner]
    grade = np.select([source == 0, ~clear, near], [NONE, CLOUDY, NEAR], CLEAR)
    return Surface(result, source, grade.astype(np.uint8), bright)


def _observations(
    entries: Sequence[Sentinel2Entry],
    sources: Mapping[str, Mapping[str, rasterio.DatasetReader]],
    strip: Window,
    geobox: GeoBox,
    settings: Sentinel2,
    evidence: OffsetEvidence,
) -> Iterator[Surface]:
    """Yield the datatakes of a strip in rank order, and add the pixels of each item to the evidence.

    Args:
        entries: items in rank order.
        sources: open files by item and band.
        evidence: of the offset.
    """
    reach = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)
    margin = reach[2]
    for _, datatake in groupby(entries, key=lambda entry: entry.rank):
        parts, classes = [], []
        for entry in sorted(datatake, key=lambda entry: (entry.tile, entry.id)):
            files = sources[entry.id]
            dn = np.stack([files[band].read(1, window=strip) for band in S2_BANDS])
            valid = np.asarray((dn > entry.offset).all(axis=0))
            scl = None
            if settings.clouds == "scl":
                # The file is wider than the block by the margin on each side, and so is this window than the strip.
                wide = Window(0, strip.row_off, strip.width + 2 * margin, strip.height + 2 * margin)
                classes.append(files[SCL].read(1, window=wide))
                scl = classes[-1][margin : margin + strip.height, margin : margin + strip.width]
            evidence.add(entry, dn, valid, scl)
            parts.append((entry.index, to_radiometry(dn, entry.offset, settings.radiometry), valid))
        yield mosaic(parts, classes or None, settings.masked_classes, reach)


def _open(stack: ExitStack, item: FetchedItem[Sentinel2Entry], geobox: GeoBox, settings: Sentinel2) -> dict[str, rasterio.DatasetReader]:
    """Open the files of an item by band and check their grids."""
    margin = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)[2]
    files = {}
    for band in (*S2_BANDS, *((SCL,) if settings.clouds == "scl" else ())):
        files[band] = stack.enter_context(opened(item.files[band]))
        require_grid(files[band], geobox.pad(margin) if band == SCL and margin else geobox)
    return files


def _check_usable(entries: Sequence[Sentinel2Entry], settings: Sentinel2) -> None:
    if settings.radiometry == "native":
        require_one_offset({entry.id: entry.offset for entry in entries})
    last = max(entry.index for entry in entries)
    if last >= SEVERAL:
        raise UserError(f"at most {SEVERAL - 1} scenes", f"{last}", "lower sentinel2.max_datatakes")
    if settings.clouds == "none":
        logger.warning("sentinel2.clouds is none: clouds and shadows are NOT masked, every pixel with data counts as clear")


def _tags(entries: Sequence[Sentinel2Entry], settings: Sentinel2) -> dict[str, str]:
    tags = {"RADIOMETRY": settings.radiometry, "METHOD": settings.method, "CLOUDS": settings.clouds, "UNCLEAR": settings.unclear}
    return tags | _names(entries)


def _names(scenes: Sequence[Scene | Sentinel2Entry]) -> dict[str, str]:
    """Return tags with the ids and baselines of scenes."""
    baselines = [scene.baseline or 0 for scene in scenes]
    return {
        "ITEMS": ",".join(scene.id for scene in scenes),
        "BASELINES": ",".join(f"{baseline // 100:02d}.{baseline % 100:02d}" for baseline in baselines),
    }


def _stats(entries: Sequence[Sentinel2Entry], counts: NDArray[np.int64], judged: Judged) -> dict[str, Any]:
    """Return shares of the block's own pixels.

    Args:
        counts: pixels by grade and index of the scene.
        judged: verdicts on the radiometry of the items.
    """
    total = int(counts.sum())
    used = counts[CLOUDY:].sum(axis=0)
    first = int(sum(used[entry.index] for entry in entries if entry.datatake == entries[0].datatake))

    def share(number: int) -> float:
        return round(int(number) / total, 6)

    return judged.block | {
        "pixels": total,
        "nodata_share": share(counts[NONE].sum()),
        "unclear_share": share(counts[CLOUDY:CLEAR].sum()),
        "fill_share": share(used.sum() - first - used[SEVERAL]),
        "several_share": share(used[SEVERAL]),
        "scenes": [
            {key: getattr(entry, key) for key in ("id", "index", "datatake", "rank", "baseline", "offset")}
            | {"share": share(used[entry.index]), **judged.items[entry.id]}
            for entry in entries
        ],
    }
