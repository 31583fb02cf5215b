"""Splits of the benchmark by name: which rows of a pack train, validate and test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.benchmark.split_files import FOLDS
from smallmines.core.errors import UserError
from smallmines.core.product import SPLITS
from smallmines.dataset.split_files import read_released_rows
from smallmines.dataset.split_methods import block_side, by_tile, folds, groups_of, make_splits
from smallmines.settings.splits import Method, Splits

NONE = ""
"""Stands in place of a split for rows that are in none."""

VAL_SHARE = 0.125
"""Share of the train tiles that become val where a split has none: 70 % of train give 8.75 % of all."""

LEAST_FOR_VAL = 8
"""Rows of train from which on some become val."""

YEARS = re.compile(r"(\d{4})_to_(\d{4})")
FOLD = re.compile(r"spatial_block_(\d)")
BLOCK = re.compile(r"leave_block_out_(\w+)")

Names = NDArray[np.object_]


def group_of(name: str) -> str:
    """Return the name under which the test rows of some splits are scored together: those of all folds, or of all blocks."""
    return "spatial_block" if FOLD.fullmatch(name) else "leave_block_out" if BLOCK.fullmatch(name) else name


def assign(tiles: pd.DataFrame, name: str, seed: int, released: str | Path | None = None) -> Names:
    """Return train, val, test or `NONE` of each row of a pack.

    Args:
        tiles: see `packing.tile_table`.
        name: in_force (the dataset's own), released (the published tables), paper_histogram, spatial_block_1 … 5 (five folds: the
            fold tests, the next one validates), leave_block_out_<block>, <year>_to_<year> (other blocks of the other year test).
        seed: of new assignments.
        released: folder of `train_test_splits_<year>.csv`, for `released`.

    Raises:
        UserError: an unknown name, no table of the release, or too few tiles for train and test.
    """
    if name == "in_force":
        split = tiles["split"].to_numpy(object).copy()
    elif name == "released":
        split = _released(tiles, released)
    elif name == "paper_histogram":
        split = _made(tiles, settings_of("paper_histogram", seed))
    elif match := FOLD.fullmatch(name):
        split = _fold(tiles, int(match[1]), seed)
    elif match := BLOCK.fullmatch(name):
        split = _made(tiles, settings_of("leave_block_out", seed, match[1]))
    elif match := YEARS.fullmatch(name):
        split = _years(tiles, int(match[1]), int(match[2]), seed)
    else:
        names = "in_force, released, paper_histogram, spatial_block_<fold>, leave_block_out_<block>, <year>_to_<year>"
        raise UserError(f"a split among {names}", name, "name one of these in benchmark.splits")
    split[~np.isin(split, SPLITS)] = NONE
    split = with_val(tiles, split, seed)
    if missing := [part for part in ("train", "test") if not (split == part).any()]:
        found = f"none in {' and '.join(missing)}: {len(tiles)} rows"
        raise UserError(f"rows to train on and to test with the split {name}", found, "leave it out of benchmark.splits")
    return split


def settings_of(method: Method, seed: int, block: str | None = None) -> Splits:
    """Return settings of a method with the default shares, blocks of the correlogram and no buffer."""
    return Splits(method, "correlogram", 0.7, 0.1, 0.2, block, 0, seed)


def bootstrap_blocks(tiles: pd.DataFrame) -> NDArray[np.int64]:
    """Return the spatial block of each row, from 0: squares of tiles with both years together, of the side of the default split."""
    own, percent = by_tile(shares(tiles))
    return groups_of(tiles, block_side(own, percent.mean(axis=1)))


def shares(tiles: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `dataset.split_methods` takes: tile_id, year, row, col, block, class_percent."""
    table = tiles[["tile_id", "year", "row", "col", "block"]].assign(class_percent=tiles["mining_percent"].astype(np.float64))
    return table.fillna({"class_percent": 0.0})


def _joined(tiles: pd.DataFrame, table: pd.DataFrame, column: str) -> Names:
    """Return a column of a table with tile_id and year for each row of a pack; `NONE` where it has no such row."""
    both = tiles[["tile_id", "year"]].merge(table[["tile_id", "year", column]], on=["tile_id", "year"], how="left")
    values: Names = both[column].astype(object).where(both[column].notna(), NONE).to_numpy(object)
    return values


def _made(tiles: pd.DataFrame, settings: Splits) -> Names:
    return _joined(tiles, make_splits(shares(tiles), settings), "split")


def _fold(tiles: pd.DataFrame, number: int, seed: int) -> Names:
    """Return a fold of the five: its tiles test, those of the next fold validate, the others train."""
    if not 1 <= number <= FOLDS:
        raise UserError(f"a fold from 1 to {FOLDS}", str(number), "name a split spatial_block_1 to spatial_block_5")
    fold = _joined(tiles, folds(shares(tiles), settings_of("spatial_block", seed), FOLDS), "fold")
    split = np.full(len(tiles), "train", object)
    split[fold == number] = "test"
    split[fold == number % FOLDS + 1] = "val"
    return split


def _years(tiles: pd.DataFrame, first: int, second: int, seed: int) -> Names:
    """Return train and val of the first year and the test of the second, on disjoint blocks of tiles."""
    have = sorted(set(tiles["year"].astype(int)))
    if missing := sorted({first, second} - set(have)):
        raise UserError(f"years among {', '.join(map(str, have))}", ", ".join(map(str, missing)), "name years of the dataset")
    split = _made(tiles, settings_of("spatial_block", seed))
    year = tiles["year"].to_numpy(np.int64)
    split[(split == "test") & (year != second)] = NONE
    split[np.isin(split, ("train", "val")) & (year != first)] = NONE
    return split


def _released(tiles: pd.DataFrame, folder: str | Path | None) -> Names:
    """Return the split of the published tables, joined by id."""
    tables = [] if folder is None else sorted(Path(folder).rglob("train_test_splits_*.csv"))
    if not tables:
        found = "no folder: benchmark.released_splits is empty" if folder is None else f"none in {folder}"
        raise UserError("train_test_splits_<year>.csv of the release", found, "give their folder as benchmark.released_splits")
    return _joined(tiles, pd.concat([read_released_rows(path) for path in tables], ignore_index=True), "split")


def with_val(tiles: pd.DataFrame, split: Names, seed: int) -> Names:
    """Return a split with val: where there is none, a share of the train tiles that is drawn by tile, so that no tile is in both."""
    train = split == "train"
    if (split == "val").any() or train.sum() < LEAST_FOR_VAL:
        return split
    own: Sequence[str] = sorted(set(tiles.loc[train, "tile_id"]))
    number = max(1, round(VAL_SHARE * len(own)))
    drawn = np.random.default_rng(seed).choice(np.array(own, object), number, replace=False)
    split = split.copy()
    split[train & tiles["tile_id"].isin(set(drawn)).to_numpy()] = "val"
    return split
