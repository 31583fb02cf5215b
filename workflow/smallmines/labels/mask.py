"""Draw the mask of a block from the labels of its segments, by a lookup table over the label raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables

if TYPE_CHECKING:
    import pandas as pd


NODATA = 255
"""Value of a mask without Sentinel-2 data, outside the block's own cells, or (by default) where a label is open."""


@dataclass(frozen=True)
class Inputs:
    """Products of a block and year that the mask is drawn from.

    Attributes:
        segments: label raster, 0 outside the own cells and without data.
        clear: uint8 raster, 0 = not clear.
        labels: table `labels`.
        grid: `grid.json`.
    """

    segments: str | Path
    clear: str | Path
    labels: str | Path
    grid: str | Path


def make_mask(inputs: Inputs, block: str, open_as: Literal["ignore", "background"], tags: Mapping[str, str], mask_out: str | Path) -> None:
    """Write the mask of a block: uint8, 1 mining, 0 not, 255 nodata (no Sentinel-2 data, open label, other blocks' cells).

    Pixels that Sentinel-2 never saw clearly are 0 where mining is only predicted; mining that people decided stays.

    Args:
        open_as: value of an open label: `ignore` 255, `background` 0.
        tags: provenance, written into the file.

    Raises:
        UserError: the rasters are on another grid, or the table is of another segmentation.
    """
    geobox = read_lattice(inputs.grid).block(block)
    values, predicted = lookup(tables.read(inputs.labels, "labels"), 0 if open_as == "background" else NODATA)
    pixels = np.zeros(256, np.int64)
    tags = {"CLASSES": "0 not_mining, 1 mining, 255 nodata", TAG: of_rasters(), **tags}
    with (
        raster.opened(inputs.segments) as ids,
        raster.opened(inputs.clear) as clear,
        raster.created(mask_out, geobox, "uint8", NODATA, ["mining"], tags) as target,
    ):
        raster.require_grid(ids, geobox)
        raster.require_grid(clear, geobox)
        for window in raster.strips(geobox.shape):
            mask = masked(ids.read(1, window=window), clear.read(1, window=window), values, predicted)
            pixels += np.bincount(mask.ravel(), minlength=256)
            target.write(mask, 1, window=window)
    logger.info("mask of block %s: %d px mining, %d not, %d without data or open", block, pixels[1], pixels[0], pixels[NODATA])


def lookup(labels: pd.DataFrame, open_value: int = NODATA) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the mask value of each segment id 0..n, and whether it is mining by prediction alone.

    Raises:
        UserError: the segments of the table are not 1..n.
    """
    if not (labels["segment"].to_numpy() == np.arange(1, len(labels) + 1)).all():
        raise UserError("labels of segments 1..n in order", "others", "delete the block's labels and run again")
    label = labels["label"].to_numpy()
    values = np.concatenate([[NODATA], np.where(label < 0, open_value, label)]).astype(np.uint8)
    predicted = np.concatenate([[False], (label == 1) & (labels["provenance"] == "predicted").to_numpy()])
    return values, predicted


def masked(
    segments: NDArray[np.uint32], clear: NDArray[np.uint8], values: NDArray[np.uint8], predicted: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the mask of a window of segments, see `make_mask`.

    Raises:
        UserError: a segment without a label.
    """
    if int(segments.max(initial=0)) >= len(values):
        raise UserError(f"segments up to {len(values) - 1}", f"segment {segments.max()}", "delete the block's labels and run again")
    mask = values[segments]
    mask[predicted[segments] & (clear == 0)] = 0
    return mask
