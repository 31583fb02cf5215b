"""Turn released masks into files that people would make: samples, and corrections where the labels of a run differ from the masks.

Masks are located by their georeference, not by the number in their name. Nothing is taken from tiles that are held out, so that
these allow an independent comparison with the release.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.annotation.block_year import BlockYear
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import only_file, sha256, written
from smallmines.labels import event_files, footprint, tables
from smallmines.labels.candidates import rank_within
from smallmines.labels.samples import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd
    import rasterio

NAME = re.compile(r"MASK_(?:[A-Z]{2}_)?(\w+)_(\d{4})\.tif")
UNKNOWN = 255
"""Value where no mask gives a class."""

SHOWN = 5
"""Masks that an error names; it says how many more there are."""

ANNOTATOR = "imported"
"""Annotator of samples and corrections from masks."""


@dataclass(frozen=True)
class Imported:
    """Result of an import for a block and year.

    Attributes:
        masks: files that lie in the block.
        held_out: tiles of the block that are held out.
        covered: segments covered by masks; mixed: of these, segments with both classes.
        samples: number written; None where a sample file exists already.
        corrections: number written; None where there are no labels yet.
        iou: of the corrected labels and the masks, over the tiles that are not held out; NaN without labels.
    """

    masks: int
    held_out: int
    covered: int
    mixed: int
    samples: int | None
    corrections: int | None
    iou: float


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


def import_masks(block_year: BlockYear, paths: Sequence[Path], held: Collection[str], number: int, dry: bool = False) -> Imported:
    """Write samples and corrections of a block and year from masks.

    Samples are written where there are none yet: `number` random segments of each class. Corrections are written where there are
    labels: a check-in of the annotator `imported`, with one event for each predicted segment whose label differs. Both only for segments
    that the masks cover (`labels.transfer.covered`) with one class (`labels.transfer.purity`) and that touch no tile that is held out.

    Raises:
        UserError: no segments yet, or a mask on another grid.
    """
    segments = block_year.segments()
    features = block_year.features()
    geobox = block_year.lattice.block(block_year.block)
    mask, used = painted(paths, geobox)
    forbidden = _held_pixels(block_year, segments.shape, held)
    count = len(features)
    mask[forbidden] = UNKNOWN
    area = np.bincount(segments.ravel(), minlength=count + 1)[1:]
    mined = np.bincount(segments[mask == 1], minlength=count + 1)[1:]
    seen = mined + np.bincount(segments[mask == 0], minlength=count + 1)[1:]
    touches = np.bincount(segments[forbidden], minlength=count + 1)[1:] > 0
    rule = block_year.config.labels.transfer
    covered = (seen >= rule.covered * area) & (seen > 0) & ~touches
    share = mined / np.maximum(seen, 1)
    label = np.where(share >= rule.purity, 1, np.where(share <= 1 - rule.purity, 0, -1))
    pure = covered & (label >= 0)
    samples = None
    if not only_file(block_year.layout.user.samples(block_year.year, block_year.block).parent, block_year.block, SUFFIXES):
        samples = _write_samples(block_year, features, np.where(pure, label, -1), number, dry)
    corrections, iou = _write_corrections(
        block_year, features, segments, np.where(pure, label, -1), mask, [path.parent for path in used], dry
    )
    if not dry and used:
        _write_record(block_year, used, held)
    own = block_year.lattice.cells_of(block_year.block)["tile_id"].isin(held)
    return Imported(len(used), int(own.sum()), int(covered.sum()), int((covered & (label < 0)).sum()), samples, corrections, iou)


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


def _held_pixels(block_year: BlockYear, shape: tuple[int, int], held: Collection[str]) -> NDArray[np.bool_]:
    """Return the pixels of a block that lie in tiles that are held out."""
    cells = block_year.lattice.cells_of(block_year.block)
    side = block_year.lattice.tile_size
    forbidden = np.zeros(shape, bool)
    own = cells[cells["tile_id"].isin(held)]
    for x, y in zip(own["x"].tolist(), own["y"].tolist(), strict=True):
        forbidden[y : y + side, x : x + side] = True
    return forbidden


def _write_samples(block_year: BlockYear, features: pd.DataFrame, label: NDArray[np.integer[Any]], number: int, dry: bool) -> int:
    """Draw segments of each class and write `samples/<year>/<block>.csv`; return how many."""
    import pandas as pd

    rng = np.random.default_rng(block_year.config.labels.seed + int(block_year.year))
    turn = rank_within(label.astype(np.int64) + 1, rng.uniform(size=len(label)))
    chosen = np.flatnonzero((label >= 0) & (turn < number))
    table = pd.DataFrame({name: features[name].to_numpy()[chosen] for name in ("x", "y")})
    table = table.assign(label=np.array(["not_mining", "mining"], object)[label[chosen]], subclass="", annotator=ANNOTATOR)
    if len(table) and not dry:
        with written(block_year.layout.user.samples(block_year.year, block_year.block).with_suffix(".csv")) as beside:
            table.to_csv(beside, index=False, lineterminator="\n")
    return len(table)


def _write_corrections(
    block_year: BlockYear,
    features: pd.DataFrame,
    segments: NDArray[np.uint32],
    label: NDArray[np.integer[Any]],
    mask: NDArray[np.uint8],
    folders: Sequence[Path],
    dry: bool,
) -> tuple[int | None, float]:
    """Write the corrections as a check-in; return their number and the IoU of the corrected labels and the masks."""
    path = block_year.layout.labels(block_year.year, block_year.block)
    if not path.is_file():
        return None, float("nan")
    labels = tables.read(path, "labels")
    if not labels["key"].equals(features["key"]):
        raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
    present = labels["label"].to_numpy().astype(np.int64)
    imported = {event.key: event.label for event in event_files.standing(block_year.events()) if event.annotator == ANNOTATOR}
    names = np.array(["not_mining", "mining"], object)
    differs = labels["provenance"].isin(["predicted", "cloud", "imported"]).to_numpy() & (label >= 0) & (label != present)
    chosen = np.flatnonzero(differs)
    chosen = chosen[[imported.get(int(features["key"].iloc[row])) != names[label[row]] for row in chosen]]
    if len(chosen) and not dry:
        event_files.write_events(
            block_year.layout.user.events(block_year.year, block_year.block),
            _events(block_year, features, segments, labels, label[chosen], chosen, folders),
        )
    after = present.copy()
    after[differs] = label[differs]
    mining = np.concatenate([[0], after])[segments]
    valid = (mask != UNKNOWN) & (segments > 0)
    either = ((mining == 1) | (mask == 1)) & valid
    both = (mining == 1) & (mask == 1) & valid
    return len(chosen), float(both.sum() / either.sum()) if either.any() else float("nan")


def _events(
    block_year: BlockYear,
    features: pd.DataFrame,
    segments: NDArray[np.uint32],
    labels: pd.DataFrame,
    corrected: NDArray[np.integer[Any]],
    chosen: NDArray[np.intp],
    folders: Sequence[Path],
) -> list[event_files.Event]:
    """Return the events of the corrections."""
    ids = features["segment"].to_numpy(np.int64)[chosen]
    footprints = footprint.encode(footprint.runs_of(segments, ids), len(ids), block_year.lattice.block(block_year.block))
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    evidence = "masks in " + ", ".join(sorted({folder.name for folder in folders}))
    names = ("not_mining", "mining")
    picked = features[["key", "x", "y"]].iloc[chosen].assign(corrected=corrected, footprint=footprints)
    picked["was"] = labels["label"].to_numpy()[chosen].clip(0)
    picked["probability"] = labels["probability"].to_numpy(np.float64)[chosen].round(4)
    return [
        event_files.Event(
            year=int(block_year.year),
            block=block_year.block,
            key=int(row["key"]),
            x=float(row["x"]),
            y=float(row["y"]),
            label=names[row["corrected"]],
            provenance="imported",
            annotator=ANNOTATOR,
            time=when,
            evidence=evidence,
            predicted=names[row["was"]],
            probability=float(row["probability"]),
            footprint=row["footprint"],
            tool="import",
        )
        for row in picked.to_dict("records")
    ]


def _write_record(block_year: BlockYear, used: Sequence[Path], held: Collection[str]) -> None:
    """Write `imported/<year>/<block>.csv`: the masks that were read, and the tiles of the block that were held out."""
    import pandas as pd

    tiles = sorted(set(block_year.lattice.cells_of(block_year.block)["tile_id"]) & set(held))
    rows = [("mask", path.name, sha256(path)) for path in used] + [("held_out", tile, "") for tile in tiles]
    with written(block_year.layout.user.import_record(block_year.year, block_year.block)) as beside:
        pd.DataFrame(rows, columns=["what", "name", "sha256"]).to_csv(beside, index=False, lineterminator="\n")
