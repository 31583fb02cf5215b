"""Draw the change sample of a run: pixels that people look at in an earlier and in a later year."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.layout import PixelSample
from smallmines.dataset.change import windows
from smallmines.grid.lattice import Lattice
from smallmines.labels.pixel_samples import COLUMNS, interpreted, read_design
from smallmines.map.change_estimate import BUFFER_PX, draw, strata
from smallmines.segment.features import splitmix64

if TYPE_CHECKING:
    import pandas as pd

KINDS: tuple[PixelSample, ...] = ("change_before", "change_after")
"""Decisions about the earlier and about the later year."""

SEED = 2_000_000
"""Difference of the seed to that of the accuracy sample: each is a draw of its own."""


def draw_change_sample(block_year: BlockYear, dry: bool) -> pd.DataFrame:
    """Draw the change sample between a year and the one before it, and write its design for all blocks and both kinds of decisions.

    The design is one for the run, so that strata are not cut up by blocks: its files are all alike, and each block's working copies
    show the pixels of that block. Where one is there already, it is taken and copied.

    Raises:
        UserError: there is no earlier year, no map of change yet, or check-ins whose design is gone.
    """
    user = block_year.layout.user
    paths = [user.pixel_sample(kind, block_year.year, block) for kind in KINDS for block in block_year.config.blocks]
    present = [path for path in paths if path.is_file()]
    if not present:
        _require_no_check_ins(block_year)
    design = read_design(present[0], KINDS[0]) if present else _drawn(block_year)
    for path in paths:
        if not dry and not path.exists():
            with written(path) as beside:
                if present:
                    shutil.copyfile(present[0], beside)  # numbers that were read and written again may have other last digits
                else:
                    design.to_csv(beside, index=False, lineterminator="\n")
    return design


def _require_no_check_ins(block_year: BlockYear) -> None:
    """Refuse to draw where people have interpreted pixels of a design that is gone: a new draw has other pixels.

    Raises:
        UserError: there are check-ins of the sample in a block.
    """
    user = block_year.layout.user
    folders = [user.references(kind, block_year.year, block) for kind in KINDS for block in block_year.config.blocks]
    if left := [folder for folder in folders if any(folder.glob("*.jsonl"))]:
        expected = f"the design {left[0].with_suffix('.csv')} of the check-ins in {left[0]}"
        do = "restore it from a backup or another computer, or move the folders with the check-ins away"
        raise UserError(expected, f"no design, but check-ins in {len(left)} folders", do)


def earlier_year(block_year: BlockYear) -> str:
    """Return the year before the one of a block and year in its run.

    Raises:
        UserError: it is the first one.
    """
    years = block_year.config.year_names
    place = years.index(block_year.year)
    if not place:
        later = ", ".join(years[1:]) or "a later year, which the run lacks"
        raise UserError("the later year of a change", f"{years[0]}, the first year of the run", f"name {later}")
    return years[place - 1]


def change_progress(block_year: BlockYear) -> dict[str, int] | None:
    """Count what people have done of the pixels of the change sample in a block; None where it was not drawn for this later year.

    Returns:
        drawn; looked_at_before and looked_at_after: of these, those that a person has interpreted in the earlier and in the later year,
        also as unsure; with_class: those to which people gave one class in both.

    Raises:
        UserError: the design is damaged.
    """
    path = block_year.layout.user.pixel_sample(KINDS[0], block_year.year, block_year.block)
    if not path.is_file():
        return None
    design = read_design(path, KINDS[0])
    own = design[design["tile_id"].isin([tile.tile_id for tile in block_year.lattice.tiles_of(block_year.block)])]
    before, after = (interpreted(own, block_year.references(kind))["reference"].to_numpy() for kind in KINDS)
    return {
        "drawn": len(own),
        "looked_at_before": int((before > -2).sum()),
        "looked_at_after": int((after > -2).sum()),
        "with_class": int(((before >= 0) & (after >= 0)).sum()),
    }


def _drawn(block_year: BlockYear) -> pd.DataFrame:
    """Draw the sample: the columns of its design; stratum is a number of `STRATA`."""
    before = earlier_year(block_year)
    path = block_year.layout.change(before, block_year.year)
    if not path.is_file():
        raise UserError(f"the map of change {path}", "no such file", "run snakemake change, then call this again")
    lattice, config = block_year.lattice, block_year.config
    points = draw(lambda: _parts(path, lattice), config.map.change_points, config.labels.seed + SEED + int(block_year.year))
    row, col = (points[name].to_numpy(np.int64) for name in ("row", "col"))
    x, y = lattice.geobox.transform @ (col + 0.5, row + 0.5)
    tiles = {(tile.row, tile.col): tile.tile_id for tile in lattice.tiles}
    places = zip((row // lattice.tile_size).tolist(), (col // lattice.tile_size).tolist(), strict=True)
    index = row.astype(np.uint64) * np.uint64(lattice.geobox.shape.x) + col.astype(np.uint64)
    made = points.assign(key=splitmix64(index), x=x, y=y, tile_id=[tiles[place] for place in places], earlier_year=int(before))
    return made[COLUMNS[KINDS[0]]]


def _parts(path: Path, lattice: Lattice) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield the strata of the map of change, window by window."""
    with raster.opened(path) as source:
        raster.require_grid(source, lattice.geobox)
        for window, read, inner in windows(lattice.geobox.shape, BUFFER_PX):
            yield int(window.row_off), int(window.col_off), strata(source.read(1, window=read))[inner]
