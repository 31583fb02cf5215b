"""Read released masks: paint them on a block's grid, and give their class to the segments that they cover.

Masks are located by their georeference, not by the number in their name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.log import logger
from smallmines.core.readable import raster_problem
from smallmines.core.release import read_release
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels.tables import RELEASED
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import rasterio

NAME = re.compile(r"MASK_(?:[A-Z]{2}_)?(\w+)_(\d{4})\.tif")
UNKNOWN = 255
"""Value where no mask gives a class."""

SHOWN = 5
"""Masks that an error names; it says how many more there are."""


@dataclass(frozen=True)
class SegmentClasses:
    """What masks say of the segments of a block; arrays have one value a segment, in the order of ids.

    Attributes:
        label: int64, 1 mining, 0 not, -1 where the masks give no class.
        covered: bool, whether masks cover enough of the segment, and no tile that is held out touches it.
        majority: int64, class of most of the pixels that masks cover, -1 where none is covered.
    """

    label: NDArray[np.int64]
    covered: NDArray[np.bool_]
    majority: NDArray[np.int64]


def masks_of(folder: Path, year: str) -> list[Path]:
    """List the masks of a year in a folder, at any depth.

    Raises:
        UserError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*.tif") if (name := NAME.fullmatch(path.name)) and name[2] == year)
    if not paths:
        raise UserError(f"files MASK_…_{year}.tif in {folder}", "none", "name the folder of the dataset, e.g. SmallMinesDS/2016")
    return paths


def held_out(tiles: Sequence[str], named: Collection[str], fraction: float, seed: int) -> set[str]:
    """Return the tiles that are held out: the named ones, and a random share of all, the same in every year.

    Raises:
        UserError: a named tile is not in the fishnet.
    """
    if unknown := sorted(set(named) - set(tiles)):
        raise UserError("tiles of the fishnet", ", ".join(unknown[:5]), "see grid/fishnet.parquet")
    lots = {tile: int(hashlib.sha256(f"{seed} {tile}".encode()).hexdigest()[:12], 16) / 16**12 for tile in tiles}
    return set(named) | {tile for tile, lot in lots.items() if lot < fraction}


def painted(paths: Sequence[Path], geobox: GeoBox) -> tuple[NDArray[np.uint8], list[Path]]:
    """Paint masks on a grid (row, column): 1, 0, 255 where none gives a class; return that and the masks that lie in the grid.

    Raises:
        UserError: naming masks that are no file or have several bands, another CRS or resolution, broken pixels, other values, or that
            lie on one place; or 255 may mean mining, see `_unclear`.
    """
    canvas = np.full(geobox.shape, UNKNOWN, np.uint8)
    owner = np.full(geobox.shape, -1, np.int32)
    used: list[Path] = []
    faults = [f"{path} is no file" for path in paths if not path.is_file()]
    untagged = []
    for path in paths:
        if not path.is_file():  # a pipe would be waited for
            continue
        if reason := raster_problem(path):
            faults.append(f"{path} cannot be read ({reason})")
            continue
        with raster.opened(path) as source:
            top, left = _corner(source, geobox, path)
            rows = slice(max(top, 0), min(top + source.height, geobox.shape.y))
            cols = slice(max(left, 0), min(left + source.width, geobox.shape.x))
            if rows.start >= rows.stop or cols.start >= cols.stop:
                continue
            values = source.read(1, window=((rows.start - top, rows.stop - top), (cols.start - left, cols.stop - left)))
            single, nodata = source.count == 1, source.nodata
        present = set(np.unique(values).tolist())
        if not single or not present <= {0, 1, UNKNOWN}:
            strange = sorted(present - {0, 1, UNKNOWN})
            faults.append(f"{path} has {'several bands' if not single else f'the values {strange[:5]}'}")
            continue
        if UNKNOWN in present and nodata != UNKNOWN:
            untagged.append(path)
        faults += [f"{path} lies on {used[number]}" for number in np.unique(owner[rows, cols]).tolist() if number >= 0]
        canvas[rows, cols] = values
        owner[rows, cols] = len(used)
        used.append(path)
    if faults:
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UserError("masks with one band of 0, 1 and 255, one at each place", "; ".join(faults[:SHOWN]) + more, "move these away")
    if untagged:
        raise _unclear(untagged, "which is not tagged as nodata there")
    if used and not (canvas == 1).any() and (canvas == UNKNOWN)[owner >= 0].any() and not any(map(_has_mining, paths)):
        raise _unclear(
            [path for number, path in enumerate(used) if (canvas[owner == number] == UNKNOWN).any()], "and no mask of the year has 1"
        )
    return canvas, used


def _corner(source: rasterio.DatasetReader, geobox: GeoBox, path: Path) -> tuple[int, int]:
    """Return row and column of a mask's upper left pixel on the grid.

    Raises:
        UserError: another CRS or resolution, or not on whole pixels.
    """
    own = raster.geobox_of(source)
    col, row = ~geobox.transform @ (own.transform.c, own.transform.f)
    steps = [tuple(grid.transform)[at] for grid in (own, geobox) for at in (0, 1, 3, 4)]
    aligned = own.crs == geobox.crs and np.allclose(steps[:4], steps[4:])
    if not aligned or abs(col - round(col)) > 0.01 or abs(row - round(row)) > 0.01:
        raise UserError(
            f"masks on the run's grid ({geobox.crs}, {geobox.resolution.x:g} m, whole pixels)",
            f"{path}: {own.crs}, {own.transform.a:g} m, shifted by {col % 1:.2f}, {row % 1:.2f} pixels",
            "set grid.anchor to a corner of the masks",
        )
    return round(row), round(col)


def _has_mining(path: Path) -> bool:
    if not path.is_file():
        return False
    with raster.opened(path) as source:
        return bool((source.read(1) == 1).any())


def _unclear(paths: Sequence[Path], why: str) -> UserError:
    """Return the error about masks whose 255 may be mining, as in masks of 0 and 255, or no data, as in masks of 0, 1 and 255."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return UserError(
        "masks of 0 (not mining), 1 (mining) and 255 (no data)",
        f"255 in {', '.join(map(str, paths[:SHOWN]))}{more}, {why}: it may be mining or no data",
        "write mining as 1; where 255 is no data, tag it (gdal_edit.py -a_nodata 255 FILE)",
    )


def held_pixels(lattice: Lattice, block: str, held: Collection[str]) -> NDArray[np.bool_]:
    """Return the pixels (row, column) of a block that lie in tiles that are held out."""
    cells, side = lattice.cells_of(block), lattice.tile_size
    forbidden = np.zeros(tuple(lattice.block(block).shape), bool)
    own = cells[cells["tile_id"].isin(held)]
    for x, y in zip(own["x"].tolist(), own["y"].tolist(), strict=True):
        forbidden[y : y + side, x : x + side] = True
    return forbidden


def classes_of_segments(
    segments: NDArray[np.uint32], mask: NDArray[np.uint8], held: NDArray[np.bool_], count: int, transfer: Transfer
) -> SegmentClasses:
    """Return the class that masks give to each segment.

    A segment gets a class if masks cover at least `transfer.covered` of it, at least `transfer.purity` of these pixels have one class,
    and it touches no tile that is held out.

    Args:
        segments: label raster (row, column), 0 outside.
        mask: 1, 0, `UNKNOWN` (row, column).
        held: pixels (row, column) of tiles that are held out; they count as not covered.
        count: number of segments.
    """
    area = np.bincount(segments.ravel(), minlength=count + 1)[1:]
    mined = np.bincount(segments[(mask == 1) & ~held], minlength=count + 1)[1:]
    seen = mined + np.bincount(segments[(mask == 0) & ~held], minlength=count + 1)[1:]
    touches = np.bincount(segments[held], minlength=count + 1)[1:] > 0
    covered = (seen >= transfer.covered * area) & (seen > 0) & ~touches
    share = mined / np.maximum(seen, 1)
    label = np.where(share >= transfer.purity, 1, np.where(share <= 1 - transfer.purity, 0, -1))
    majority = np.where(seen > 0, (2 * mined >= seen).astype(np.int64), -1)
    return SegmentClasses(np.where(covered, label, -1).astype(np.int64), covered, majority)


def write_released_mask(
    release: str | Path, grid: str | Path, year: str, block: str, tags: Mapping[str, str], mask_out: str | Path
) -> None:
    """Paste the released masks of a year onto a block's grid: uint8, 1 mining, 0 not, 255 nodata (no mask, other blocks' cells).

    Args:
        release: `release.json`.
        grid: `grid.json`.
        tags: provenance, written into the file.

    Raises:
        UserError: a mask is missing, has other content than when the release was read, or lies on another grid, see `painted`.
    """
    lattice = read_lattice(grid)
    geobox = lattice.block(block)
    own = [mask for mask in read_release(release).masks if mask.year == int(year)]
    _require_content({Path(entry.path): entry.sha256 for entry in own})
    mask, used = painted([Path(entry.path) for entry in own], geobox)
    outside = ~held_pixels(lattice, block, lattice.cells_of(block)["tile_id"].tolist())
    mask[outside] = UNKNOWN
    tags = {"CLASSES": "0 not_mining, 1 mining, 255 nodata", "PROVENANCE": RELEASED, TAG: of_rasters(), **tags}
    with raster.created(mask_out, geobox, "uint8", UNKNOWN, ["mining"], tags) as target:
        target.write(mask, 1)
    counts = [int((mask == value).sum()) for value in (1, 0, UNKNOWN)]
    logger.info("released masks of block %s: %d files, %d px mining, %d not, %d without", block, len(used), *counts)


def _require_content(sums: Mapping[Path, str]) -> None:
    """Refuse masks that changed, or are gone, since the release was read."""
    if changed := [path for path, value in sums.items() if not path.is_file() or sha256(path) != value]:
        raise UserError(
            "released masks as they were downloaded",
            f"other content, or no file, in {changed[0]}" + (f" and {len(changed) - 1} more" if len(changed) > 1 else ""),
            "delete these files and the run's released/release.json, and run again",
        )


def released_shares(masks: Mapping[str, str | Path], lattice: Lattice) -> dict[str, Any]:
    """Return `provenance`, `validated_share` and `open_share` of a year whose masks are the released ones.

    All labels are the release's; open is the share of the tiles' pixels without a class.

    Args:
        masks: paths by block.
    """
    labelled = sum(int((raster.read(path, lattice.block(block))[0] != UNKNOWN).sum()) for block, path in masks.items())
    pixels = sum(len(lattice.cells_of(block)) for block in masks) * lattice.tile_size**2
    provenance = {RELEASED: {"pixels": labelled, "area_share": 1.0}}
    return {"provenance": provenance, "validated_share": 0.0, "open_share": round(1 - labelled / pixels, 6)}
