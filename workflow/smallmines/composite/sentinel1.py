"""The Sentinel-1 composite of a block: gamma nought of one orbit, VV and VH, in dB.

Steps: for each pass, slices in linear power, zeros and nodata masked, borders eroded, bilinear onto the grid. Then the mean of the
passes and the 3×3 circular mean, both in power. Decibels come last, because a mean of decibels is biased (0.5 dB at 4.4 looks).

Borders: scenes have zero-filled fringes whose last pixels are wrong but not zero, so valid pixels within the erosion radius of the
outside are dropped. The outside is that of the whole pass: where two slices meet, nothing is eroded. Gaps without data inside a scene
that hold no square of 5×5 px are no border and are not widened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.composite.limits import check_sentinel1
from smallmines.composite.sampling import Piece, SourceLattice, by_lattice, pasted, read_piece, resample
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.morphology import dilated
from smallmines.core.raster import write
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.sensors.manifest import FetchedItem, Sentinel1Entry
from smallmines.sensors.manifest_files import read_fetched
from smallmines.settings.sentinel1 import Sentinel1

BANDS = ("VV", "VH")
"""Bands of the composite."""

BORDER_SQUARE = 5
"""Side in px of the smallest square without data that counts as the outside of a scene."""

JOIN_REACH = 20
"""Distance in px from a slice join within which means are compared."""

JOIN_POINTS = 50
"""Most points of the line of a slice join."""


def composite(
    block: str,
    grid: str | Path,
    fetched: str | Path,
    settings: Sentinel1,
    outputs: Mapping[str, str | Path],
    minimum_coverage: float = 0.0,
) -> None:
    """Make the Sentinel-1 composite of a block, on the block's grid.

    Args:
        block: number of the block.
        grid: `grid/grid.json`.
        fetched: `fetched/<year>/<block>/s1.json`.
        settings: keys of `sentinel1`.
        outputs: paths of `image` (float32 dB, VV and VH, NaN = no data) and `stats` (JSON: passes and their shares, share without data,
            step in dB across each slice join, and the line of the join, findings of `limits`).
        minimum_coverage: minimum share of the block's own pixels with data.

    Raises:
        UserError: fewer pixels have data.
    """
    lattice = read_lattice(grid)
    geobox, own = lattice.block(block), lattice.own(block)
    halo = geobox.pad(1)
    source = read_fetched(fetched, Sentinel1Entry)
    total = np.zeros((len(BANDS), *halo.shape), np.float64)
    count = np.zeros(tuple(halo.shape), np.uint16)
    passes, joins = [], []
    for name in sorted({item.entry.datatake for item in source.items}):
        slices = [item for item in source.items if item.entry.datatake == name]
        power, steps = pass_power(slices, halo, settings.border_erosion_px)
        valid = np.isfinite(power[0])
        np.add(total, power, out=total, where=valid)
        count += valid
        share = float(valid[1:-1, 1:-1][own].mean())
        passes.append({"pass": name, "items": [item.entry.id for item in slices], "share": round(share, 6)})
        joins += steps
        logger.info("%s: %d slices, covers %.1f %% of block %s", name, len(slices), 100 * share, block)
    for join in joins:
        logger.info("step across the join of %s and %s: %s", *join["items"], join["step_db"])
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    smooth = np.stack([circular_mean(band, settings.kernel) for band in mean])[:, 1:-1, 1:-1]
    decibel = (10 * np.log10(smooth)).astype(np.float32)
    ids = [item.entry.id for item in source.items]
    tags = {"ITEMS": ",".join(ids), "RADIOMETRY": "gamma0_rtc_db", "KERNEL": settings.kernel, "EROSION": str(settings.border_erosion_px)}
    tags |= source.provider_tags() | {TAG: of_rasters()}
    if source.items:
        entry = source.items[0].entry
        tags |= {"ORBIT_STATE": entry.orbit_state, "RELATIVE_ORBIT": str(entry.relative_orbit)}
    findings = check_sentinel1(block, decibel[:, own], ids, minimum_coverage)
    for finding in findings:
        logger.warning(finding)
    write(outputs["image"], decibel, geobox, np.nan, BANDS, tags, ["dB", "dB"])
    missing = float(np.isnan(decibel[0][own]).mean())
    logger.info("block %s: %.2f %% without data", block, 100 * missing)
    stats = {"items": ids, "passes": passes, "joins": joins, "nodata_share": round(missing, 6), "findings": findings}
    write_json(outputs["stats"], stats)


def pass_power(
    slices: Sequence[FetchedItem[Sentinel1Entry]], geobox: GeoBox, erosion: int
) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
    """Return a pass on `geobox` in linear power, float32 (band, row, column), NaN = no data, and the steps across its slice joins."""
    pieces = [read_slice(item.files) for item in slices]
    groups = by_lattice(pieces)
    mosaics = [pasted(group) for group in groups]
    result = np.full((len(BANDS), *geobox.shape), np.nan, np.float32)
    for mosaic in mosaics:
        footprint = np.isfinite(mosaic.values[0])
        for other in mosaics:
            if other is not mosaic:
                footprint |= seen_by(other, mosaic)
        kept = Piece(mosaic.lattice, mosaic.row, mosaic.col, np.where(eroded(footprint, erosion), mosaic.values, np.float32(np.nan)))
        np.copyto(result, resample(kept, geobox, "bilinear"), where=np.isnan(result))
    names = {id(piece): item.entry.id for piece, item in zip(pieces, slices, strict=True)}
    steps = [join_step(a, b, (names[id(a)], names[id(b)])) for group in groups for a, b in combinations(group, 2)]
    return result, [step for step in steps if step is not None]


def read_slice(files: Mapping[str, str]) -> Piece:
    """Read VV and VH of a slice in linear power; NaN where either is nodata, not finite, or not above 0.

    Raises:
        UserError: the two lie on different grids.
    """
    polarisations = [read_piece(files[band]) for band in BANDS]
    if len({(piece.lattice, piece.row, piece.col, piece.values.shape) for piece in polarisations}) > 1:
        raise UserError(
            "VV and VH of a slice on one grid",
            f"different grids: {' and '.join(files[band] for band in BANDS)}",
            "leave the item out (sentinel1.exclude_items)",
        )
    values = np.stack([piece.values for piece in polarisations])
    with np.errstate(invalid="ignore"):
        values[:, ~(values > 0).all(axis=0)] = np.nan
    return Piece(polarisations[0].lattice, polarisations[0].row, polarisations[0].col, values)


def seen_by(other: Piece, piece: Piece) -> NDArray[np.bool_]:
    """Return where a piece of another lattice has data at the pixels of `piece`, (row, column)."""
    from affine import Affine

    lattice, (height, width) = piece.lattice, piece.values.shape[-2:]
    corner = [(start + phase) * size for start, phase, size in zip((piece.col, piece.row), lattice.phase, lattice.size, strict=True)]
    geobox = GeoBox((height, width), Affine(lattice.size[0], 0, corner[0], 0, lattice.size[1], corner[1]), lattice.crs)
    return np.isfinite(resample(Piece(other.lattice, other.row, other.col, other.values[0]), geobox, "nearest"))


def eroded(footprint: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Remove the pixels within `radius` px (Euclidean) of the outside of a footprint.

    The outside is every 5×5 square without data, and all beyond the array. Smaller holes stay and are not widened.
    """
    from scipy import ndimage

    if radius == 0:
        return footprint
    pad = BORDER_SQUARE
    empty = np.pad(~footprint, pad, constant_values=True)
    outside = ndimage.binary_opening(empty, np.ones((BORDER_SQUARE, BORDER_SQUARE), bool))
    outside[:pad], outside[-pad:], outside[:, :pad], outside[:, -pad:] = True, True, True, True
    return footprint & ~dilated(outside, radius)[pad:-pad, pad:-pad]


def circular_mean(power: NDArray[np.float64], kernel: Literal["plus", "box"]) -> NDArray[np.float64]:
    """Return the 3×3 mean of (row, column) over the pixels with data, with equal weights; a pixel without data stays NaN.

    `plus`: the pixel and its four neighbours (a disk of radius 1), `box`: all nine.
    """
    from scipy import ndimage

    footprint = np.ones((3, 3)) if kernel == "box" else ndimage.generate_binary_structure(2, 1).astype(float)
    valid = np.isfinite(power)
    total = ndimage.convolve(np.where(valid, power, 0.0), footprint, mode="constant")
    weight = ndimage.convolve(valid.astype(float), footprint, mode="constant")
    return np.where(valid, total / np.maximum(weight, 1.0), np.nan)


def join_step(first: Piece, second: Piece, names: tuple[str, str]) -> dict[str, Any] | None:
    """Return the level difference first − second in dB of the pixels within 20 px of each other's data; None where they do not meet."""
    top, left = min(first.row, second.row), min(first.col, second.col)
    sides = []
    frame = pasted([first, second]).values.shape[-2:]
    for piece in (first, second):
        values = np.full((len(BANDS), *frame), np.nan, np.float32)
        row, col = piece.row - top, piece.col - left
        values[:, row : row + piece.values.shape[-2], col : col + piece.values.shape[-1]] = piece.values
        sides.append(values)
    valid = [np.isfinite(side[0]) for side in sides]
    if not (valid[0].any() and valid[1].any()):
        return None
    near = [own & dilated(other, JOIN_REACH) for own, other in (valid, valid[::-1])]
    if not (near[0].any() and near[1].any()):
        return None
    means = [side[:, mask].mean(axis=1, dtype=np.float64) for side, mask in zip(sides, near, strict=True)]
    step = 10 * np.log10(means[0] / means[1])
    step_db = {band: round(float(value), 3) for band, value in zip(BANDS, step, strict=True)}
    return {"items": list(names), "step_db": step_db, "line": join_line(near[0] | near[1], first.lattice, top, left)}


def join_line(near: NDArray[np.bool_], lattice: SourceLattice, top: int, left: int) -> list[list[float]]:
    """Return the middle line of a join as at most 50 points [x, y] from west to east, in the CRS of the slices.

    Args:
        near: (row, column) True beside the join.
        lattice: lattice of the slices.
        top, left: place of the first pixel on the lattice.
    """
    cols = np.flatnonzero(near.any(axis=0))
    cols = cols[:: -(-len(cols) // JOIN_POINTS)]
    part = near[:, cols]
    rows = (part * np.arange(len(part))[:, np.newaxis]).sum(axis=0) / part.sum(axis=0)
    x = (left + cols + 0.5 + lattice.phase[0]) * lattice.size[0]
    y = (top + rows + 0.5 + lattice.phase[1]) * lattice.size[1]
    points: list[list[float]] = np.column_stack([x, y]).round(1).tolist()
    return points
