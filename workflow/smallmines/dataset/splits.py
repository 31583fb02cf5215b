"""The splits of a dataset: made once from the masks, or as people froze them; and what they leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.dataset.patches import MASK_NODATA
from smallmines.dataset.split_methods import BUFFER, NAMES, Leakage, folds, leakage, make_splits
from smallmines.grid.lattice import Lattice
from smallmines.settings.splits import Method, Splits

COLUMNS = ["tile_id", "year", "split", "fold"]
"""fold: 1 to 5, of a cross-validation over the blocks of tiles."""
METHODS = get_args(Method)


NONE = "none: too few tiles"
"""In place of a method, where all tiles are train."""


def write_splits(
    masks: Mapping[tuple[str, str], str],
    years: Sequence[str],
    lattice: Lattice,
    settings: Splits,
    frozen: Sequence[str],
    target: str | Path,
) -> None:
    """Write `splits.csv`.

    Args:
        masks: by year and block; not looked at where there is a frozen file.
        frozen: the file that people keep in place of a new assignment (one or none).

    Where there are too few tiles for a split, all are train, with a warning: a first look at six tiles is no reason to stop.

    Raises:
        UserError: the frozen file does not name every tile and year once, or a block left out that is not there.
    """
    if frozen:
        tiles = lattice.cells[["tile_id"]].astype(str).merge(pd.DataFrame({"year": [int(year) for year in years]}), how="cross")
        made = read_splits(frozen[0], tiles)
    else:
        table = class_shares(masks, lattice)
        try:
            made = with_folds(table, settings)
        except UserError as error:
            if settings.method == "leave_block_out":
                raise
            logger.warning("no split, all tiles are train: expected %s, found %s", error.expected, error.found)
            made = table[["tile_id", "year"]].assign(split="train", fold=1)
    with written(target) as beside:
        made[COLUMNS].to_csv(beside, index=False, lineterminator="\n")


def write_leakage(index: pd.DataFrame, settings: Splits, frozen: bool, target: str | Path) -> None:
    """Write numbers of the split in force, and what it and every other method leak, by the masks of today.

    Args:
        index: as `index.read_index` gives it.
    """
    table = index[["tile_id", "year", "row", "col", "block", "split"]].assign(class_percent=index["mining_percent"])
    source = "frozen" if frozen else NONE if set(table["split"]) == {"train"} else settings.method
    report = {"source": source, **described(table), "methods": compared(table.drop(columns="split"), settings)}
    told = report["leakage"]
    logger.info("%s: %s", source, ", ".join(f"{number} {name}" for name, number in report["rows"].items()))
    logger.info("of the test: twins in train %s, touching train %s; place alone: R² %s, AUC %s", *told.values())
    write_json(target, report)


def with_folds(table: pd.DataFrame, settings: Splits) -> pd.DataFrame:
    """A new assignment with its folds: `COLUMNS`.

    Raises:
        UserError: too few tiles, or no such block.
    """
    return make_splits(table, settings).merge(folds(table, settings), on=["tile_id", "year"])[COLUMNS]


def class_shares(masks: Mapping[tuple[str, str], str], lattice: Lattice) -> pd.DataFrame:
    """tile_id, year, row, col, block and class_percent (of the valid pixels, NaN without any) of every tile and year, by year and tile."""
    parts = []
    side = lattice.tile_size
    for (year, block), path in sorted(masks.items()):
        cells = lattice.cells_of(block)
        mask = raster.read(path, lattice.block(block))[0]
        tiles = mask.reshape(mask.shape[0] // side, side, mask.shape[1] // side, side)
        at = (cells["y"].to_numpy() // side, cells["x"].to_numpy() // side)
        mining, valid = ((tiles == 1).sum(axis=(1, 3))[at], (tiles != MASK_NODATA).sum(axis=(1, 3))[at])
        share = 100 * mining / np.where(valid == 0, np.nan, valid)
        own = cells[["tile_id", "row", "col"]].assign(year=int(year), block=block, class_percent=share)
        parts.append(own[["tile_id", "year", "row", "col", "block", "class_percent"]])
    return pd.concat(parts, ignore_index=True).astype({"tile_id": str}).sort_values(["year", "tile_id"], ignore_index=True)


def read_splits(path: str | Path, tiles: pd.DataFrame) -> pd.DataFrame:
    """A file of splits, held against the tiles and years that there are.

    Args:
        tiles: tile_id and year of each.

    Raises:
        UserError: not such a file, an unknown split, or tiles and years missing, unknown or named twice.
    """
    do = "mend the file, or make it again: smallmines splits make"
    try:
        table = pd.read_csv(path, dtype={"tile_id": str})[COLUMNS].astype({"year": int, "fold": int})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"columns {', '.join(COLUMNS)} in {path}", str(error), do) from None
    if strange := sorted(set(table["split"].astype(str)) - {*NAMES, BUFFER}):
        raise UserError(f"splits {', '.join(NAMES)} or {BUFFER} in {path}", ", ".join(strange[:5]), do)
    known, given = (set(zip(one["tile_id"], one["year"].astype(int), strict=True)) for one in (tiles, table))
    twice = int(table.duplicated(["tile_id", "year"]).sum())
    if known != given or twice:
        example = next(iter(sorted(known ^ given)), "")
        found = f"{len(known - given)} missing, {len(given - known)} unknown, {twice} twice; e.g. {example}"
        raise UserError(f"every tile and year once in {path}", found, do)
    return table.sort_values(["year", "tile_id"], ignore_index=True)


def described(table: pd.DataFrame) -> dict[str, Any]:
    """Numbers of a split, and what it leaks.

    Args:
        table: as for `splits.leakage`.
    """
    total = table["class_percent"].sum()
    return {
        "rows": {name: int((table["split"] == name).sum()) for name in (*NAMES, BUFFER) if (table["split"] == name).any()},
        "mining_share": {
            name: _rounded(table.loc[table["split"] == name, "class_percent"].sum() / total if total else 0.0)
            for name in NAMES
            if (table["split"] == name).any()
        },
        "leakage": {name: _rounded(value) for name, value in asdict(leakage(table)).items()},
    }


def compared(table: pd.DataFrame, settings: Splits) -> dict[str, Any]:
    """What each method would leak with these settings; where one cannot be made, why."""
    found: dict[str, Any] = {}
    for method in METHODS:
        blocks: list[Any] = sorted(set(table["block"]), key=int) if method == "leave_block_out" else [None]
        for block in blocks:
            name = method if block is None else f"{method} {block}"
            try:
                made = make_splits(table, replace(settings, method=method, test_block=block))
            except UserError as error:
                found[name] = {"error": error.found}
                continue
            one: Leakage = leakage(table.merge(made, on=["tile_id", "year"]))
            found[name] = {key: _rounded(value) for key, value in asdict(one).items()}
    return found


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
