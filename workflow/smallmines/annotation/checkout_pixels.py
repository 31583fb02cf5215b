"""Check-out of samples of single pixels: accuracy, prevalence and change, each drawn once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.change_sample import KINDS, draw_change_sample, earlier_year
from smallmines.annotation.checkout_files import CheckedOut, NothingToLabel, require_annotator, write_checkout
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.json_products import read_product
from smallmines.core.layout import Layout, PixelSample
from smallmines.labels import accuracy, tables
from smallmines.labels.event_files import standing
from smallmines.labels.pixel_samples import (
    COLUMNS,
    Progress,
    interpreted,
    progress,
    read_design,
    require_earlier_year,
    require_places,
    rows_and_columns,
    sample_command,
)
from smallmines.labels.prevalence_sample import draw_sample, ignored_points
from smallmines.segment.features import splitmix64, tiles_at

if TYPE_CHECKING:
    import pandas as pd

APART = 1_000_000
"""Difference of the seeds of the accuracy and the prevalence sample: each is a draw of its own."""


def checkout_pixel_sample(block_year: BlockYear, annotator: str, kind: PixelSample, dry: bool = False) -> CheckedOut:
    """Check out the pixels of a sample that the person has not labelled; nothing shows the map's class or the forest's probability.

    A sample is drawn once, from the products of that day, and kept in `<kind>/<year>/<block>.csv`: with a second draw one could
    choose the sample with the better figures.

    Raises:
        UserError: an unknown annotator, no products yet, no pixel left, or a working copy with edits that are not checked in.
    """
    rows, pixels = pixel_rows(block_year, annotator, kind, dry)
    return write_checkout(block_year, rows, lambda: pixels, annotator, kind, dry)


def pixel_rows(block_year: BlockYear, annotator: str, kind: PixelSample, dry: bool) -> tuple[pd.DataFrame, NDArray[np.uint32]]:
    """Choose the pixels of a sample that a person has not labelled.

    Returns:
        rows as `write_checkout` takes them, whose segments are the numbers of the pixels, 1…; and the label raster (row, column) of these.

    Raises:
        UserError: an unknown annotator, or no products yet.
        NothingToLabel: no pixel is left.
    """
    import pandas as pd

    require_annotator(block_year, annotator)
    block_year.product(Layout.probabilities if kind == "prevalence" else Layout.mask)  # raises for a year or block that the run lacks
    geobox = block_year.lattice.block(block_year.block)
    path = block_year.layout.user.pixel_sample(kind, block_year.year, block_year.block)
    if not path.exists() and kind not in KINDS and block_year.references(kind):  # of a change sample the others are copies
        raise UserError(f"the design {path} of the check-ins in {path.with_suffix('')}", "no such file", _restore(path))
    design = read_design(path, kind) if path.exists() else _draw(block_year, kind, path, dry)
    require_places(path, design, block_year.lattice.geobox)
    if kind in KINDS:
        require_earlier_year(path, design, earlier_year(block_year))
    row, col, inside = rows_and_columns(design, geobox)
    labelled = {event.key for event in standing(block_year.references(kind)) if event.annotator == annotator}
    own = design["tile_id"].isin([tile.tile_id for tile in block_year.lattice.tiles_of(block_year.block)]).to_numpy()
    left = np.flatnonzero(inside & own & ~design["key"].isin(labelled).to_numpy())
    if not len(left):
        do = f"see smallmines labels {'accuracy' if kind == 'accuracy' else 'status'}"
        changed_number = other_number(block_year) if kind == "prevalence" else ""
        found = f"none: {annotator} has labelled all of block {block_year.block} in {path}"
        raise NothingToLabel("pixels to label", found, changed_number or do)
    pixels = np.zeros(geobox.shape, np.uint32)
    pixels[row[left], col[left]] = np.arange(1, len(left) + 1)
    rows = design.iloc[left][["key", "tile_id", "x", "y", "inclusion"]].reset_index(drop=True)
    rows = rows.assign(segment=np.arange(1, len(left) + 1), rank=np.arange(1, len(left) + 1), why=kind, blind=True)
    rows = rows.assign(probability=np.nan, entropy=np.nan, **dict.fromkeys(("prediction", "previous", "opinions"), ""))
    return pd.DataFrame(rows), pixels


def prevalence_progress(block_year: BlockYear) -> Progress:
    """Count what people have done of the prevalence sample of a block and year.

    Raises:
        UserError: the design is damaged.
    """
    path = block_year.layout.user.pixel_sample("prevalence", block_year.year, block_year.block)
    if not path.is_file():
        return Progress(0, 0, 0, 0)
    return progress(interpreted(read_design(path, "prevalence"), block_year.references("prevalence")))


def other_number(block_year: BlockYear) -> str:
    """Say that the prevalence sample was drawn with another `assistant.prevalence_points`; empty where it was not, or there is none yet.

    Raises:
        UserError: the design is damaged.
    """
    path = block_year.layout.user.pixel_sample("prevalence", block_year.year, block_year.block)
    if not path.is_file():
        return ""
    design = read_design(path, "prevalence")
    return ignored_points(design, block_year.config.assistant.prevalence_points, block_year.year, block_year.block)


def asked_first(block_year: BlockYear) -> str:
    """Say that the prevalence sample is to be labelled before segments are reviewed, with the command; empty where it need not be.

    The queue follows from the threshold, which follows from the sample. Empty, too, where there are no probabilities to draw it by.
    """
    if block_year.config.assistant.prevalence != "sample" or block_year.config.assistant.threshold != "match_prevalence":
        return ""
    done, metrics = prevalence_progress(block_year), block_year.layout.forest_metrics(block_year.year, block_year.block)
    place = f"{block_year.year}, block {block_year.block}"
    if done.drawn and done.looked_at == done.drawn:
        used = read_product(metrics, dict[str, Any]).get("prevalence", {}) if metrics.is_file() else {}
        if used.get("settled") == done.settled:
            return ""
        return f"FIRST run the workflow: the prevalence sample of {place} is labelled, and the threshold does not know it yet."
    if not done.drawn and block_year.references("prevalence"):
        path = block_year.layout.user.pixel_sample("prevalence", block_year.year, block_year.block)
        return f"FIRST mend the prevalence sample of {place}: there are check-ins, but no {path}; {_restore(path)}."
    if not block_year.has(Layout.probabilities):
        return ""
    state = f"{done.drawn - done.looked_at} of {done.drawn} pixels are left" if done.drawn else "it has not been drawn"
    command = sample_command("prevalence", block_year.year, block_year.block)
    return f"FIRST label the prevalence sample of {place} ({state}), and run the workflow: it sets the threshold.\n  {command}"


def _restore(path: Path) -> str:
    return f"restore it from a backup or another computer, or move the folder {path.with_suffix('')} away"


def _draw(block_year: BlockYear, kind: PixelSample, path: Path, dry: bool) -> pd.DataFrame:
    """Draw a sample of a block and year and write its design."""
    if kind == "change_before" or kind == "change_after":
        return draw_change_sample(block_year, dry)
    seed = block_year.config.labels.seed + 1000 * int(block_year.year) + int(block_year.block)
    points = _accuracy_points(block_year, seed) if kind == "accuracy" else _prevalence_points(block_year, seed + APART)
    row, col = points["row"].to_numpy(), points["col"].to_numpy()
    top, left = block_year.lattice.offset(block_year.block)
    x, y = block_year.lattice.block(block_year.block).transform @ (col + 0.5, row + 0.5)
    index = (row + top).astype(np.uint64) * np.uint64(block_year.lattice.geobox.shape.x) + (col + left).astype(np.uint64)
    design = points.assign(key=splitmix64(index), x=x, y=y, tile_id=tiles_at(block_year.lattice, block_year.block, row, col))
    if not dry:
        with written(path) as beside:
            design[COLUMNS[kind]].to_csv(beside, index=False, lineterminator="\n")
    return design[COLUMNS[kind]]


def _accuracy_points(block_year: BlockYear, seed: int) -> pd.DataFrame:
    """Draw the accuracy sample: row, col, stratum, pixels, inclusion, mapped."""
    mask = raster.read(block_year.product(Layout.mask))[0]
    if block_year.segmented:
        probability = np.concatenate([[0.0], block_year.table()["probability"].to_numpy(np.float64)])
        segments = block_year.segments()
        stratum = accuracy.strata(mask, segments, probability)
        risk = accuracy.risk_of(stratum, segments, probability)
    else:
        stratum, risk = accuracy.strata_of_mask(mask), np.zeros(8)
    points = accuracy.draw(stratum, risk, block_year.config.labels.accuracy, seed)
    return points.assign(mapped=mask[points["row"].to_numpy(), points["col"].to_numpy()])


def _prevalence_points(block_year: BlockYear, seed: int) -> pd.DataFrame:
    """Draw the prevalence sample from the clear segments: row, col, stratum, pixels, inclusion, probability.

    Raises:
        UserError: the probabilities are of another segmentation.
    """
    features, segments = block_year.features(), block_year.segments()
    probabilities = tables.read(block_year.product(Layout.probabilities), "probabilities")
    if not features["segment"].equals(probabilities["segment"]):
        raise UserError("probabilities of the present segmentation", "those of another", "run the workflow up to the masks again")
    clear = np.flatnonzero(tables.is_clear(features))
    probability = probabilities["probability"].to_numpy(np.float64).round(4)
    area = np.bincount(segments.ravel(), minlength=len(features) + 1)[1:]
    points = draw_sample(probability[clear], area[clear], block_year.config.assistant.prevalence_points, seed)
    chosen = clear[points["segment"].to_numpy()]
    row, col = _pixels_of(segments, chosen + 1, points["pixel"].to_numpy())
    return points.assign(row=row, col=col, probability=probability[chosen])


def _pixels_of(
    segments: NDArray[np.uint32], ids: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the pixels `number` (from 0 in row-major order) of the segments `ids`."""
    flat = segments.ravel()
    members = np.flatnonzero(np.isin(flat, ids))
    members = members[np.argsort(flat[members], kind="stable")]
    row, col = np.divmod(members[np.searchsorted(flat[members], ids) + number], segments.shape[1])
    return row, col
