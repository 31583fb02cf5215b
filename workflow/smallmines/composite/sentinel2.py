"""The Sentinel-2 composite of a block: one surface of ten bands from datatakes ranked once for the whole area.

A pixel comes from the first datatake by rank that sees it clearly (or from the median of the clear ones). A pixel that is
never clear keeps its best observation, flagged in `clear.tif`, or becomes nodata; best is one that is only near a cloud
before one in it, then by rank. Within a datatake, tiles overlap: the first tile by name with data wins. An observation is
valid where all ten bands are above 0.

Clear is: the scene class of the pixel is not masked, and no cloud (classes 3, 8, 9, 10 where they are masked) lies within
the dilation radius. Clouds that hold no disk of the opening radius do not grow: on bright tailings the classification sees
specks of cloud on every date, and with a margin around each of them the mines themselves would never be clear. Clouds are
looked for in the datatake's mosaic, read with a margin as wide as their reach, so strips and blocks do not show.

Bright tailings and roofs can be taken for cloud on every date. A pixel that is never clear while two dates agree on it counts
as clear all the same, see `stable`.
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
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.core.raster import created, opened, require_grid, strips
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.fetched import read_fetched, read_scenes, stand_in
from smallmines.sensors.radiometry import OFFSET, DarkPixels, check_offset, require_one_offset, to_radiometry
from smallmines.sensors.scl import SCL, clear_mask, cloud_reach
from smallmines.settings.sentinel2 import Sentinel2

CLOUD_CLASSES = (3, 8, 9, 10)
"""Scene classes that are dilated where they are masked: cloud shadow, cloud of medium and high probability, cirrus."""

BRIGHT_CLASSES = (8, 9, 10)
"""Scene classes that bright ground is mistaken for."""

NONE, CLOUDY, NEAR, CLEAR = 0, 1, 2, 3
"""Grades of an observation, rising: no data, of a masked class, near a cloud, clear."""

KEPT = 2
"""Value in `clear.tif` of a pixel that counts as clear because it is stable; 1 is clear, 0 is not."""

SOIL_RATIO = 1.5
"""Least ratio of B11 to B02 of ground that is classified as cloud. In a series of 118 dates over Flanders 99.8 % of bare soil and
0.3 % of high-probability cloud exceed it."""

STABLE_DN = 60
"""Digital numbers by which two observations of dark ground may differ whatever the relative tolerance: noise and thin haze."""


@dataclass(frozen=True)
class Surface:
    """What one datatake saw in a strip, or the composite of several.

    Attributes:
        dn: uint16 (band, row, column) in the wanted radiometry, 0 = nodata in all bands.
        source: uint8 (row, column), index of the scene, 0 = none.
        grade: uint8 (row, column), see `NONE`.
        bright: (row, column) True where the scene class is one that bright ground is mistaken for.
    """

    dn: NDArray[np.uint16]
    source: NDArray[np.uint8]
    grade: NDArray[np.uint8]
    bright: NDArray[np.bool_]


def composite(block: str, grid: str | Path, fetched: str | Path, settings: Sentinel2, outputs: Mapping[str, str | Path]) -> None:
    """Make the Sentinel-2 composite of a block, strip by strip.

    Args:
        grid: `grid/grid.json`.
        fetched: `fetched/<year>/<block>/s2.json`.
        outputs: paths of `image` (uint16, ten bands, nodata 0), `source` (uint8, index of the scene in the manifest, 255 =
            several, 0 = none), `clear_mask` (uint8, 1 = clear, 2 = clear because stable) and `stats` (JSON).

    Raises:
        UserError: `native` with mixed offsets, a baseline that the pixels contradict, or more than 254 scenes.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    items = read_fetched(fetched)
    _require_usable(items, settings)
    pixels = {item["id"]: DarkPixels(len(S2_BANDS)) for item in items}
    counts = np.zeros((CLEAR + 1, 256), np.int64)
    kept_in = np.zeros(tuple(size // lattice.tile_size for size in geobox.shape), np.int64)
    offset = OFFSET if settings.radiometry == "dn_plus1000" or (settings.radiometry == "native" and items[0]["offset"]) else 0
    tags = _tags(items, settings) | stand_in(fetched) | {TAG: of_rasters()}
    # The n-th name in the scene raster's tag is scene n, also where this block lacks some scenes of the year.
    scenes = _names(read_scenes(fetched))
    with ExitStack() as stack:
        sources = {item["id"]: _open(stack, item, geobox, settings) for item in items}
        image = stack.enter_context(created(outputs["image"], geobox, "uint16", 0, S2_BANDS, tags))
        source = stack.enter_context(created(outputs["source"], geobox, "uint8", 0, ["scene"], tags | scenes))
        values = {"VALUES": "0 not clear, 1 clear, 2 clear because stable"}
        clear = stack.enter_context(created(outputs["clear_mask"], geobox, "uint8", None, ["clear"], tags | values))
        for strip in strips(tuple(geobox.shape)):
            takes = list(_observations(items, sources, strip, geobox, settings, pixels))
            done = median(takes, settings.unclear) if settings.method == "median" else first_clear(takes, settings.unclear)
            kept = keep_stable(done, takes, settings.stable_tolerance, offset)
            image.write(done.dn, window=strip)
            source.write(done.source, 1, window=strip)
            clear.write(np.where(kept, KEPT, done.grade == CLEAR).astype(np.uint8), 1, window=strip)
            inside = own[strip.row_off : strip.row_off + strip.height]
            row, col = np.nonzero(kept & inside)
            np.add.at(kept_in, ((row + strip.row_off) // lattice.tile_size, col // lattice.tile_size), 1)
            for grade, row in enumerate(counts):
                row += np.bincount(done.source[inside & (done.grade == grade)], minlength=256)
        offsets = {item["id"]: check_offset(item["id"], item["baseline"], item["offset"], pixels[item["id"]]) for item in items}
    first_row, first_col, _, _ = lattice.windows[block]
    found = {tile.tile_id: int(kept_in[tile.row - first_row, tile.col - first_col]) for tile in lattice.tiles_of(block)}
    stats = _stats(items, counts, offsets) | {
        "kept_pixels": sum(found.values()),
        "kept_pixels_of_tiles": {name: count for name, count in found.items() if count},
        "seams": seams(outputs["image"], outputs["source"], outputs["clear_mask"], own, [item["id"] for item in read_scenes(fetched)]),
    }
    logger.info("block %s: %d pixels are never clear, but stable: they count as clear", block, stats["kept_pixels"])
    logger.info(
        "block %s: %.1f %% filled from other datatakes than the first, %.2f %% unclear, %.2f %% without data",
        block,
        *(100 * stats[key] for key in ("fill_share", "unclear_share", "nodata_share")),
    )
    write_json(outputs["stats"], stats)


def first_clear(takes: Iterable[Surface], unclear: str) -> Surface:
    """The first clear observation by rank, else (`unclear` keep) the first of the highest grade there is."""
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
    """The median of the clear observations, band by band; of an even number the lower of the two in the middle.

    The lower one keeps every value a measured one, and of two observations the one that is less likely haze.
    Pixels with fewer than two clear observations are as in `first_clear`.
    """
    seen = list(takes)
    result = first_clear(seen, unclear)
    count = np.sum([take.grade == CLEAR for take in seen], axis=0)
    several = count > 1
    if several.any():
        middle = (count[several] - 1) // 2
        for band, target in enumerate(result.dn):
            values = np.stack([np.where(take.grade == CLEAR, take.dn[band], np.uint16(65535))[several] for take in seen])
            values.sort(axis=0)
            target[several] = np.take_along_axis(values, middle[np.newaxis], axis=0)[0]
        result.source[several] = SEVERAL
    return result


def keep_stable(done: Surface, takes: Sequence[Surface], tolerance: float, offset: int) -> NDArray[np.bool_]:
    """Turn never clear pixels of a composite that are stable into clear ones, in place, with the best-ranked stable observation.

    Returns:
        (row, column) True where that was done.
    """
    kept = np.zeros(done.grade.shape, bool)
    if tolerance == 0 or len(takes) < 2:
        return kept
    never = np.max([take.grade for take in takes], axis=0) < CLEAR
    row, col = np.nonzero(never & (np.sum([take.grade > NONE for take in takes], axis=0) > 1))
    dn = np.stack([take.dn[:, row, col] for take in takes]).astype(np.int32) - offset
    near = np.stack([take.grade[row, col] == NEAR for take in takes])
    bright = np.stack([take.bright[row, col] & (take.grade[row, col] > NONE) for take in takes])
    best = stable(dn, near, bright, tolerance)
    for rank, take in enumerate(takes):
        y, x = row[best == rank], col[best == rank]
        done.dn[:, y, x], done.source[y, x], done.grade[y, x] = take.dn[:, y, x], take.source[y, x], CLEAR
        kept[y, x] = True
    return kept


def stable(dn: NDArray[np.int32], near: NDArray[np.bool_], bright: NDArray[np.bool_], tolerance: float) -> NDArray[np.int64]:
    """The first observation of each pixel that another date confirms, −1 where none is.

    Two observations confirm each other where they differ in no band by more than `tolerance` of the smaller one plus `STABLE_DN`.
    They must be such as may show the ground: near a cloud, or classified as cloud while much brighter in B11 than in B02, which
    soil and roofs are and cloud is not, for water and ice absorb in the short-wave infrared. Two thick clouds look alike, so agreement
    alone is not enough. A shadow confirms nothing.

    Args:
        dn: (datatake, band, pixel) without offset.
        near, bright: (datatake, pixel) True where the observation is near a cloud; is classified as cloud.
    """
    soil = dn[:, S2_BANDS.index("B11")] > SOIL_RATIO * dn[:, S2_BANDS.index("B02")]
    usable = near | (bright & soil)
    confirmed = np.zeros(usable.shape, bool)
    for one, other in combinations(range(len(dn)), 2):
        both = np.flatnonzero(usable[one] & usable[other])
        a, b = dn[one][:, both], dn[other][:, both]
        agree = (np.abs(a - b) <= tolerance * np.minimum(a, b) + STABLE_DN).all(axis=0)
        confirmed[np.ix_((one, other), both[agree])] = True
    return np.where(confirmed.any(axis=0), confirmed.argmax(axis=0), -1)


def near_cloud(classes: NDArray[np.uint8], masked: Sequence[int], dilation: int, opening: int) -> NDArray[np.bool_]:
    """Pixels within `dilation` px (Euclidean) of a masked cloud or shadow that holds a disk of radius `opening` px.

    Args:
        classes: scene classes with a margin of dilation + 2 · opening px, the part where the result is not exact.
    """
    from scipy import ndimage

    core = np.isin(classes, [one for one in CLOUD_CLASSES if one in masked])
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
    """Items of one datatake, in order, as one observation.

    Args:
        parts: per item the scene index, uint16 (band, row, column) and where it is valid.
        scl: per item the scene classes with the margin on each side; None: all that is valid is clear.
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
    for (index, _, _), one in zip(parts, scl, strict=True):
        np.copyto(classes, one, where=classes == 0)
        clear |= (source == index) & clear_mask(one[inner], masked)
        bright |= (source == index) & np.isin(one[inner], BRIGHT_CLASSES)
    near = near_cloud(classes, masked, dilation, opening)[inner]
    grade = np.select([source == 0, ~clear, near], [NONE, CLOUDY, NEAR], CLEAR)
    return Surface(result, source, grade.astype(np.uint8), bright)


def _observations(
    items: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, rasterio.DatasetReader]],
    strip: Window,
    geobox: GeoBox,
    settings: Sentinel2,
    pixels: Mapping[str, DarkPixels],
) -> Iterator[Surface]:
    """The datatakes of a strip in rank order; adds every item's pixels to its statistics on the way."""
    reach = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)
    margin = reach[2]
    for _, same in groupby(items, key=lambda item: item["rank"]):
        parts, classes = [], []
        for item in sorted(same, key=lambda item: (str(item["tile"]), str(item["id"]))):
            files = sources[item["id"]]
            dn = np.stack([files[band].read(1, window=strip) for band in S2_BANDS])
            valid = np.asarray((dn > item["offset"]).all(axis=0))
            scl = None
            if settings.clouds == "scl":
                # The file is wider than the block by the margin on every side, and so is this window than the strip.
                wide = Window(0, strip.row_off, strip.width + 2 * margin, strip.height + 2 * margin)
                classes.append(files[SCL].read(1, window=wide))
                scl = classes[-1][margin : margin + strip.height, margin : margin + strip.width]
            pixels[item["id"]].add(dn, valid, scl)
            parts.append((item["index"], to_radiometry(dn, item["offset"], settings.radiometry), valid))
        yield mosaic(parts, classes or None, settings.masked_classes, reach)


def _open(stack: ExitStack, item: Mapping[str, Any], geobox: GeoBox, settings: Sentinel2) -> dict[str, rasterio.DatasetReader]:
    margin = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)[2]
    files = {}
    for band in (*S2_BANDS, *((SCL,) if settings.clouds == "scl" else ())):
        files[band] = stack.enter_context(opened(item["files"][band]))
        require_grid(files[band], geobox.pad(margin) if band == SCL and margin else geobox)
    return files


def _require_usable(items: Sequence[Mapping[str, Any]], settings: Sentinel2) -> None:
    if settings.radiometry == "native":
        require_one_offset({item["id"]: item["offset"] for item in items})
    if max(item["index"] for item in items) >= SEVERAL:
        raise UserError("at most 254 scenes", f"{max(item['index'] for item in items)}", "lower sentinel2.max_datatakes")
    if settings.clouds == "none":
        logger.warning("sentinel2.clouds is none: clouds and shadows are NOT masked, every pixel with data counts as clear")


def _tags(items: Sequence[Mapping[str, Any]], settings: Sentinel2) -> dict[str, str]:
    return {
        "RADIOMETRY": settings.radiometry,
        "METHOD": settings.method,
        "CLOUDS": settings.clouds,
        "UNCLEAR": settings.unclear,
        **_names(items),
    }


def _names(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    baselines = (f"{item['baseline'] // 100:02d}.{item['baseline'] % 100:02d}" for item in items)
    return {"ITEMS": ",".join(item["id"] for item in items), "BASELINES": ",".join(baselines)}


def _stats(items: Sequence[Mapping[str, Any]], counts: NDArray[np.int64], offsets: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of the block's own pixels. `counts` is by grade and scene index."""
    total = int(counts.sum())
    used = counts[CLOUDY:].sum(axis=0)
    best = items[0]["datatake"]
    first = int(sum(used[item["index"]] for item in items if item["datatake"] == best))

    def share(number: int) -> float:
        return round(int(number) / total, 6)

    return {
        "pixels": total,
        "nodata_share": share(counts[NONE].sum()),
        "unclear_share": share(counts[CLOUDY:CLEAR].sum()),
        "fill_share": share(used.sum() - first - used[SEVERAL]),
        "several_share": share(used[SEVERAL]),
        "scenes": [
            {key: item[key] for key in ("id", "index", "datatake", "rank", "baseline", "offset")}
            | {"share": share(used[item["index"]]), "pixels_say": offsets[item["id"]]}
            for item in items
        ],
    }
