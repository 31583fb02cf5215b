"""Join the masks, probabilities and provenances of all blocks of a year to three mosaics on the run's lattice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.product import CLASSES, MASK_NODATA
from smallmines.core.readable import read_parquet
from smallmines.core.software import TAG, of_rasters
from smallmines.dataset.label_codes import OPEN, label_codes
from smallmines.grid.lattice import Lattice
from smallmines.labels import tables
from smallmines.labels.tables import PROVENANCES
from smallmines.map.cog import Form, created_cog

PROBABILITY_NODATA = 255
"""Value of the probability where there is no segment: no Sentinel-2 data, or no tile."""

PROVENANCE_NODATA = 0
"""Value of the provenance where there is no segment."""

PROVENANCE_CODES = {name: code for code, name in enumerate(PROVENANCES, 1)}
"""Values of the provenance: the place in `PROVENANCES`, from 1."""

MASK_COLOURS = {0: (244, 241, 234, 255), 1: (230, 64, 13, 255)}
"""Colours of the classes."""

PROVENANCE_COLOURS = dict(
    zip(
        PROVENANCES,
        (
            (0, 114, 178, 255),
            (221, 221, 221, 255),
            (213, 94, 0, 255),
            (0, 158, 115, 255),
            (204, 121, 167, 255),
            (86, 180, 233, 255),
            (230, 159, 0, 255),
            (0, 0, 0, 255),
            (150, 150, 150, 255),
            (240, 228, 66, 255),
        ),
        strict=True,
    )
)
"""Colours of the provenances: those of Okabe and Ito, greys where nobody looked."""


@dataclass(frozen=True)
class BlockProducts:
    """Products of a block and year that the mosaics are made of.

    Attributes:
        mask: uint8 raster, 0, 1 and 255.
        segments, labels, probabilities: label raster and tables; None where the mask is a released one.
    """

    mask: str
    segments: str | None = None
    labels: str | None = None
    probabilities: str | None = None


def forms(year: str) -> dict[str, Form]:
    """Return the form of each mosaic by name: mask, probability, provenance."""
    common = {"YEAR": year, TAG: of_rasters()}
    codes = ", ".join(f"{code} {name}" for name, code in PROVENANCE_CODES.items())
    colours = {code: PROVENANCE_COLOURS[name] for name, code in PROVENANCE_CODES.items()}
    classes = ", ".join(f"{value} {name}" for value, name in enumerate(CLASSES))
    return {
        "mask": Form("mining", MASK_NODATA, "mode", {"CLASSES": f"{classes}, 255 nodata", **common}, MASK_COLOURS),
        "probability": Form(
            "probability",
            PROBABILITY_NODATA,
            "average",
            {
                "UNITS": "percent",
                "PROBABILITY": "of mining in this area, by the forest alone, also where people decided: "
                "column calibrated of assistant/<year>/<block>/probabilities.parquet",
                **common,
            },
        ),
        "provenance": Form(
            "provenance",
            PROVENANCE_NODATA,
            "mode",
            {"PROVENANCES": codes, "VALIDATED": ", ".join(tables.VALIDATED), **common},
            {PROVENANCE_NODATA: (0, 0, 0, 0), **colours},
        ),
    }


def write_mosaics(blocks: Mapping[str, BlockProducts], lattice: Lattice, year: str, targets: Mapping[str, str | Path]) -> None:
    """Write the mosaics of a year: COGs on the grid of the run's lattice, each pixel from the block whose own cell it lies in.

    Args:
        blocks: by name, all of the run.
        targets: path by name: mask (uint8: 1 mining, 0 not, 255 nodata) and, where there are segments, probability (uint8: 0 to 100 %, 255
            nodata) and provenance (uint8: see `PROVENANCE_CODES`, 0 nodata).

    Raises:
        UserError: a raster is on another grid, or a table is of another segmentation.
    """
    form = forms(year)
    with ExitStack() as stack:
        outputs = {name: stack.enter_context(created_cog(path, lattice.geobox, form[name])) for name, path in targets.items()}
        for block in lattice.windows:
            products = blocks[block]
            windows = list(own_windows(lattice, block))
            _copy(products.mask, lattice, block, windows, {"mask": (outputs["mask"], None)})
            if products.segments is not None:
                values = _values(products)
                _copy(products.segments, lattice, block, windows, {name: (outputs[name], values[name]) for name in values})
    logger.info("%s: %s of %d blocks joined", year, ", ".join(targets), len(blocks))


def own_windows(lattice: Lattice, block: str) -> Iterator[Window]:
    """Yield the windows of a block's own cells on the run's lattice: neighbouring cells of a row together, from the north-west."""
    side = lattice.tile_size
    places = sorted((tile.row, tile.col) for tile in lattice.tiles_of(block))
    runs = groupby(enumerate(places), key=lambda item: (item[1][0], item[1][1] - item[0]))
    for _, run in runs:
        cells = [place for _, place in run]
        (row, col), width = cells[0], len(cells)
        yield Window(col * side, row * side, width * side, side)


def block_window(lattice: Lattice, block: str, window: Window) -> Window:
    """Return a window of the run's lattice in the pixels of a block's grid."""
    row, col = lattice.offset(block)
    return Window(int(window.col_off) - col, int(window.row_off) - row, int(window.width), int(window.height))


def _copy(
    path: str,
    lattice: Lattice,
    block: str,
    windows: Sequence[Window],
    targets: Mapping[str, tuple[DatasetWriter, NDArray[np.uint8] | None]],
) -> None:
    """Copy windows of a block's raster to mosaics, as they are or through a table of values."""
    with raster.opened(path) as source:
        raster.require_grid(source, lattice.block(block))
        for window in windows:
            pixels = source.read(1, window=block_window(lattice, block, window))
            for target, values in targets.values():
                if values is not None and int(pixels.max()) >= len(values):
                    found = f"segment {pixels.max()} of {len(values) - 1}"
                    raise UserError(f"segments of {path} that the tables of block {block} have", found, "run again with --forcerun labels")
                target.write(pixels if values is None else values[pixels], 1, window=window)


def _values(products: BlockProducts) -> dict[str, NDArray[np.uint8]]:
    """Return the value of each segment id from 0, by mosaic."""
    path = str(products.labels)
    codes = label_codes(read_parquet(path, columns=["segment", "label", "provenance"]), path)
    share = tables.read(str(products.probabilities), "probabilities")
    percent = np.full(int(share["segment"].max() if len(share) else 0) + 1, PROBABILITY_NODATA, np.uint8)
    percent[share["segment"].to_numpy()] = np.round(100 * share["calibrated"].to_numpy(np.float64)).astype(np.uint8)
    return {"probability": percent, "provenance": (codes % OPEN).astype(np.uint8)}
