"""Turn released masks into files that people would make: samples, and corrections where the labels of a run differ from the masks.

Masks are located by their georeference, not by the number in their name. Nothing is taken from tiles that are held out, so that
these allow an independent comparison with the release.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.core.errors import UserError
from smallmines.core.files import only_file, sha256, written
from smallmines.labels import event_files, footprint, tables
from smallmines.labels.released import UNKNOWN, classes_of_segments, held_pixels, painted
from smallmines.labels.released_labels import draw_samples
from smallmines.labels.samples import SUFFIXES
from smallmines.settings.parameters import settings_of
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd

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
    mask, used = painted(paths, block_year.lattice.block(block_year.block))
    forbidden = held_pixels(block_year.lattice, block_year.block, held)
    mask[forbidden] = UNKNOWN
    transfer = settings_of(block_year.config.labels.transfer, Transfer)
    classes = classes_of_segments(segments, mask, forbidden, len(features), transfer)
    samples = None
    if not only_file(block_year.layout.user.samples(block_year.year, block_year.block).parent, block_year.block, SUFFIXES):
        samples = _write_samples(block_year, features, classes.label, number, dry)
    corrections, iou = _write_corrections(block_year, features, segments, classes.label, mask, [path.parent for path in used], dry)
    if not dry and used:
        _write_record(block_year, used, held)
    own = block_year.lattice.cells_of(block_year.block)["tile_id"].isin(held)
    return Imported(
        len(used), int(own.sum()), int(classes.covered.sum()), int((classes.covered & (classes.label < 0)).sum()), samples, corrections, iou
    )


def _write_samples(block_year: BlockYear, features: pd.DataFrame, label: NDArray[np.int64], number: int, dry: bool) -> int:
    """Draw segments of each class and write `samples/<year>/<block>.csv`; return how many."""
    table = draw_samples(features, label, number, block_year.config.labels.seed + int(block_year.year), ANNOTATOR)
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
    differs = labels["provenance"].isin(["predicted", "cloud", "imported", tables.RELEASED]).to_numpy() & (label >= 0) & (label != present)
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
