"""The Sentinel-2 composite of a block: ten bands from datatakes that are ranked once for the whole area.

`observations` says which observation a pixel comes from. Pixels that are never clear are flagged in `clear.tif`. Items of a datatake
are merged in order of their numbers. An observation is valid where the scene classification is not 0 and all ten bands are above 0 (above
1 where the digital numbers carry the +1000 offset). Clouds are searched in the mosaic of the datatake, read with a margin as wide as
their reach, so the result does not depend on strips and blocks. What comes out is held against `limits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from smallmines.composite.counts import PixelCounts
from smallmines.composite.limits import check_sentinel2
from smallmines.composite.observations import (
    CLEAR,
    CLOUDY,
    KEPT,
    NONE,
    Surface,
    accept_stable,
    first_clear,
    median,
    mosaic,
    without_haze,
)
from smallmines.composite.seams import SEVERAL, seams
from smallmines.composite.verdicts import Judged, OffsetEvidence
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.product import OFFSET, S2_BANDS
from smallmines.core.raster import created, doubled, opened, require_grid, strips
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.haze import LEAST_DATES
from smallmines.sensors.manifest import FetchedItem, Scene, Sentinel2Entry
from smallmines.sensors.manifest_files import read_cached, read_fetched
from smallmines.sensors.radiometry import require_one_offset, to_radiometry
from smallmines.sensors.scl import SCL, cloud_reach
from smallmines.settings.sentinel2 import Sentinel2

CORRECTED, UNASSESSED = "corrected", "unassessed"
"""Values of the tag HAZE, see `haze_state`."""


def composite(
    block: str,
    grid: str | Path,
    fetched: str | Path,
    settings: Sentinel2,
    outputs: Mapping[str, str | Path],
    minimum_coverage: float = 0.0,
) -> None:
    """Make the Sentinel-2 composite of a block, strip by strip, on the block's grid.

    Args:
        block: number of the block.
        grid: `grid/grid.json`.
        fetched: `fetched/<year>/<block>/s2.json`.
        settings: keys of `sentinel2`.
        outputs: paths of `image` (uint16, ten bands, nodata 0), `source` (uint8, index of the scene in the manifest, 255 =
            several, 0 = none), `clear_mask` (uint8, 1 = clear, 2 = clear because stable) and `stats` (JSON).
        minimum_coverage: minimum share of the block's own pixels that some datatake observes.

    Raises:
        UserError: `native` with mixed offsets, no scene or more than 254, a limit of `limits`, or see `OffsetEvidence.judge`.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    fetched_list = read_fetched(fetched, Sentinel2Entry)
    entries = [item.entry for item in fetched_list.items]
    _check_usable(entries, settings)
    evidence = OffsetEvidence(entries, own.size)
    offset = OFFSET if settings.radiometry == "dn_plus1000" or (settings.radiometry == "native" and entries[0].offset) else 0
    datatakes = list({entry.rank: entry.datatake for entry in entries}.values())
    counts = PixelCounts(own, lattice.tile_size, offset, len(datatakes))
    haze = haze_state(entries, settings)
    tags = _tags(entries, settings) | {"HAZE": haze} | fetched_list.provider_tags() | {TAG: of_rasters()}
    with ExitStack() as stack:
        sources = {item.entry.id: _open(stack, item, geobox, settings) for item in fetched_list.items}
        image, source, clear = _create(stack, outputs, geobox, tags, fetched_list.scenes)
        for strip in strips(tuple(geobox.shape)):
            takes = list(_observations(entries, sources, strip, geobox, settings, evidence))
            done, kept = _choose(strip, takes, settings, counts, looks_for_haze=haze == CORRECTED)
            image.write(done.dn, window=strip)
            source.write(done.source, 1, window=strip)
            clear.write(np.where(kept, KEPT, done.grade == CLEAR).astype(np.uint8), 1, window=strip)
            evidence.add_composite(done.dn)
        findings = check_sentinel2(block, counts, {entry.index: entry.id for entry in entries}, minimum_coverage)
        judged = evidence.judge(counts.by_grade[CLOUDY:].sum(axis=0), settings.radiometry, settings.undecided)
        image.update_tags(**judged.tags)
        stats = _stats(entries, counts.by_grade, judged) | counts.kept_pixels(lattice, block)
        if haze == CORRECTED and not counts.assessed:
            haze = UNASSESSED
            for raster in (image, source, clear):
                raster.update_tags(HAZE=haze)
    if haze == UNASSESSED:
        findings.append(f"Haze of Sentinel-2 of block {block} is unassessed: fewer than {LEAST_DATES} clear dates")
    stats |= {
        "seams": seams(outputs["image"], outputs["source"], outputs["clear_mask"], own, [scene.id for scene in fetched_list.scenes]),
        "haze": counts.haze(haze, datatakes),
        "findings": findings,
    }
    _log(block, stats)
    write_json(outputs["stats"], stats)


def _create(
    stack: ExitStack, outputs: Mapping[str, str | Path], geobox: GeoBox, tags: Mapping[str, str], scenes: Sequence[Scene]
) -> tuple[DatasetWriter, DatasetWriter, DatasetWriter]:
    """Create the rasters `image`, `source` and `clear_mask`, which get their names when the stack is left."""
    image = stack.enter_context(created(outputs["image"], geobox, "uint16", 0, S2_BANDS, tags))
    # All scenes of the year, so that the n-th name is scene n also in a block that some scenes miss.
    source = stack.enter_context(created(outputs["source"], geobox, "uint8", 0, ["scene"], {**tags, **_names(scenes)}))
    values = {"VALUES": "0 not clear, 1 clear, 2 clear because stable"}
    clear = stack.enter_context(created(outputs["clear_mask"], geobox, "uint8", None, ["clear"], {**tags, **values}))
    return image, source, clear


def _log(block: str, stats: Mapping[str, Any]) -> None:
    for finding in stats["findings"]:
        logger.warning(finding)
    logger.info("block %s: %d pixels are never clear, but stable: they count as clear", block, stats["kept_pixels"])
    logger.info(
        "block %s: %.1f %% filled from other datatakes than the first, %.2f %% unclear, %.2f %% without data",
        block,
        *(100 * stats[key] for key in ("fill_share", "unclear_share", "nodata_share")),
    )


def _choose(
    strip: Window, takes: list[Surface], settings: Sentinel2, counts: PixelCounts, looks_for_haze: bool
) -> tuple[Surface, NDArray[np.bool_]]:
    """Return the composite of a strip, and where a pixel counts as clear because it is stable; add its pixels to the counts."""
    offset = counts.levels.offset
    if looks_for_haze:
        takes, are_hazy = without_haze(takes, offset)
        counts.add_haze(strip, takes, are_hazy)
    done = median(takes, settings.unclear) if settings.method == "median" else first_clear(takes, settings.unclear)
    kept = accept_stable(done, takes, settings.stable_tolerance, offset)
    counts.add(strip, takes, done, kept)
    return done, kept


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
        for entry in datatake:
            files = sources[entry.id]
            dn = np.stack([_pixels(files[band], strip, geobox) for band in S2_BANDS])
            valid = dn.min(axis=0) > entry.offset
            scl = None
            if settings.clouds == "scl":
                # The file is wider than the block by the margin on each side, and so is this window than the strip.
                wide = Window(0, strip.row_off, strip.width + 2 * margin, strip.height + 2 * margin)
                classes.append(_pixels(files[SCL], wide, geobox))
                scl = classes[-1][margin : margin + strip.height, margin : margin + strip.width]
                valid &= scl > 0  # class 0 is no data, whatever the bands hold
            evidence.add(entry, dn, valid, scl)
            parts.append((entry.index, to_radiometry(dn, entry.offset, settings.radiometry), valid))
        yield mosaic(parts, classes or None, settings.masked_classes, reach)


def haze_state(entries: Sequence[Sentinel2Entry], settings: Sentinel2) -> str:
    """Return what is done about haze that the scene classification misses, for the tag HAZE.

    `not corrected`: by the key `haze`, or because the products have the aerosol optical thickness. `unassessed`: there are fewer than
    three datatakes. Else `corrected`.
    """
    if settings.haze == "never" or (settings.haze == "auto" and all(entry.optical_thickness for entry in entries)):
        return "not corrected"
    return CORRECTED if len({entry.datatake for entry in entries}) >= LEAST_DATES else UNASSESSED


def _open(stack: ExitStack, item: FetchedItem[Sentinel2Entry], geobox: GeoBox, settings: Sentinel2) -> dict[str, rasterio.DatasetReader]:
    """Open the files of an item by band and check their grids."""
    margin = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, geobox)[2]
    files = {}
    for band in (*S2_BANDS, *((SCL,) if settings.clouds == "scl" else ())):
        files[band] = stack.enter_context(opened(item.files[band]))
        grid = geobox.pad(margin) if band == SCL and margin else geobox
        require_grid(files[band], grid if _repeat(files[band], geobox) == 1 else doubled(grid))
    return files


def _repeat(source: rasterio.DatasetReader, geobox: GeoBox) -> int:
    """Return the pixels of the grid per pixel of a cached file: 2 for 20 m bands that the cache keeps as they are."""
    return 2 if source.transform.a == 2 * geobox.transform.a else 1


def _pixels(source: rasterio.DatasetReader, window: Window, geobox: GeoBox) -> NDArray[Any]:
    """Read a window of the block's grid from a cached file, (row, column)."""
    return read_cached(source, window, _repeat(source, geobox))


def _check_usable(entries: Sequence[Sentinel2Entry], settings: Sentinel2) -> None:
    if not entries:
        raise UserError("a Sentinel-2 scene that reaches the block", "none", "widen the year's dates, or shrink the area")
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
