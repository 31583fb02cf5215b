"""Write the splits of a dataset, made once from the masks or frozen by people, and report what they leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.product import BUFFER, MASK_NODATA, SPLITS
from smallmines.dataset.split_files import NOT_RECORDED, frozen_method, read_split_rows, require_tiles
from smallmines.dataset.split_leakage import Judgement, Leakage, judge, leakage
from smallmines.dataset.split_methods import folds, make_splits
from smallmines.grid.lattice import Lattice
from smallmines.settings.splits import METHODS, Splits

COLUMNS = ["tile_id", "year", "split", "fold"]
"""fold: 1 to 5, of a cross-validation over the blocks of tiles."""

NONE = "none: too few tiles"
"""Stands in place of a method where all tiles are train."""


def write_splits(
    masks: Mapping[tuple[str, str], str],
    years: Sequence[str],
    lattice: Lattice,
    settings: Splits,
    frozen: Sequence[str],
    target: str | Path,
) -> None:
    """Write `splits.csv`.

    With too few tiles for a split all tiles are train, with a warning, so that a first run of a few tiles goes through.

    Args:
        masks: by year and block; not read where there is a frozen file.
        frozen: the file that people keep in place of a new assignment (one or none).

    Raises:
        UserError: the frozen file does not name every tile and year once, or `splits.test_block` is no block of the run.
    """
    if frozen:
        tiles = lattice.cells[["tile_id"]].astype(str).merge(pd.DataFrame({"year": [int(year) for year in years]}), how="cross")
        splits = read_splits(frozen[0], tiles)
    else:
        table = class_shares(masks, lattice)
        try:
            splits = with_folds(table, settings)
        except UserError as error:
            if settings.method == "leave_block_out":
                raise
            logger.warning("no split, all tiles are train: expected %s, found %s", error.expected, error.found)
            splits = table[["tile_id", "year"]].assign(split="train", fold=1)
    with written(target) as beside:
        splits[COLUMNS].to_csv(beside, index=False, lineterminator="\n")


def write_leakage(index: pd.DataFrame, settings: Splits, limit: float, frozen: Sequence[str], target: str | Path) -> None:
    """Write the numbers of the split in use, a judgement on it, and what it and every other method leak with the present masks.

    Args:
        index: as `index.read_index` returns it.
        limit: of the R² of the class share by place and year alone (`doctor.location_r2`).
        frozen: the file that people keep in place of a new assignment (one or none).
    """
    table = index[["tile_id", "year", "row", "col", "block", "split"]].assign(class_percent=index["mining_percent"])
    methods = compared(table, settings, limit)
    source = _frozen_source(frozen[0], methods) if frozen else NONE if set(table["split"]) == {"train"} else settings.method
    report = {"source": source, **described(table, limit), "methods": methods}
    report["advice"] = advice(report, settings)
    logger.info("%s: %s", source, ", ".join(f"{number} {name}" for name, number in report["rows"].items()))
    leaks = report["leakage"]
    if leaks["judgement"] == "separated":
        logger.info("train and test are judged as separated: %s", report["reason"])
    else:
        logger.warning("train and test are judged as %s: %s. %s", leaks["judgement"], report["reason"], report["advice"])
    write_json(target, report)


def with_folds(table: pd.DataFrame, settings: Splits) -> pd.DataFrame:
    """Make a new assignment with its folds: `COLUMNS`.

    Raises:
        UserError: too few tiles, or `splits.test_block` is no block of the run.
    """
    return make_splits(table, settings).merge(folds(table, settings), on=["tile_id", "year"])[COLUMNS]


def class_shares(masks: Mapping[tuple[str, str], str], lattice: Lattice) -> pd.DataFrame:
    """Return tile_id, year, row, col, block and class_percent (of the valid pixels, NaN without any), by year and tile."""
    parts = []
    side = lattice.tile_size
    for (year, block), path in sorted(masks.items()):
        cells = lattice.cells_of(block)
        mask = raster.read(path, lattice.block(block))[0]
        tiles = mask.reshape(mask.shape[0] // side, side, mask.shape[1] // side, side)
        at = (cells["y"].to_numpy() // side, cells["x"].to_numpy() // side)
        mining, valid = ((tiles == 1).sum(axis=(1, 3))[at], (tiles != MASK_NODATA).sum(axis=(1, 3))[at])
        share = 100 * mining / np.where(valid == 0, np.nan, valid)
        rows = cells[["tile_id", "row", "col"]].assign(year=int(year), block=block, class_percent=share)
        parts.append(rows[["tile_id", "year", "row", "col", "block", "class_percent"]])
    return pd.concat(parts, ignore_index=True).astype({"tile_id": str}).sort_values(["year", "tile_id"], ignore_index=True)


def read_splits(path: str | Path, tiles: pd.DataFrame) -> pd.DataFrame:
    """Read a file of splits and check it against the tiles and years of the dataset.

    Args:
        tiles: tile_id and year of each.

    Raises:
        UserError: the file cannot be read, a row has a value that is none, or tiles and years are missing, unknown or named twice.
    """
    table = read_split_rows(path, with_fold=True)
    require_tiles(path, table, tiles)
    return table.sort_values(["year", "tile_id"], ignore_index=True)


def described(table: pd.DataFrame, limit: float) -> dict[str, Any]:
    """Return the numbers of a split, what it leaks, and the reason of its judgement.

    Args:
        table: as for `split_leakage.leakage`.
        limit: of R².
    """
    total = table["class_percent"].sum()
    measured = leakage(table)
    return {
        "rows": {name: int((table["split"] == name).sum()) for name in (*SPLITS, BUFFER) if (table["split"] == name).any()},
        "mining_share": {
            name: _rounded(table.loc[table["split"] == name, "class_percent"].sum() / total if total else 0.0)
            for name in SPLITS
            if (table["split"] == name).any()
        },
        "leakage": _values(measured, limit),
        "reason": judge(measured, limit)[1],
    }


def compared(table: pd.DataFrame, settings: Splits, limit: float) -> dict[str, Any]:
    """Return what each method would leak with these settings, or the reason why it cannot be made.

    Args:
        table: as for `split_leakage.leakage`.

    Returns:
        By method (leave_block_out with its block): `Leakage`, judgement, test_share (of the rows), agreement (share of the rows that are in
        the split where they are in `table`); or error.
    """
    in_force, table = table[["tile_id", "year", "split"]], table.drop(columns="split")
    by_method: dict[str, Any] = {}
    for method in METHODS:
        blocks: list[Any] = sorted(set(table["block"]), key=int) if method == "leave_block_out" else [None]
        for block in blocks:
            name = method if block is None else f"{method} {block}"
            try:
                splits = make_splits(table, replace(settings, method=method, test_block=block))
            except UserError as error:
                by_method[name] = {"error": error.found}
                continue
            both = splits.merge(in_force, on=["tile_id", "year"], suffixes=("", "_in_force"))
            shares = {"test_share": splits["split"] == "test", "agreement": both["split"] == both["split_in_force"]}
            numbers = {key: _rounded(float(rows.mean())) for key, rows in shares.items()}
            by_method[name] = {**_values(leakage(table.merge(splits, on=["tile_id", "year"])), limit), **numbers}
    return by_method


def _frozen_source(path: str, methods: Mapping[str, Any]) -> str:
    """Return how a frozen file was made: as it says, else the method that gives nearly the same now."""
    method = frozen_method(path)
    agreement = {name: values["agreement"] for name, values in methods.items() if "error" not in values}
    nearest = max(agreement, key=lambda name: agreement[name], default="")
    if method == NOT_RECORDED and nearest and agreement[nearest] >= SAME_METHOD:
        method = f"{method}; {100 * agreement[nearest]:.0f} % as {nearest} gives now"
    return f"frozen ({method})"


RANKS: tuple[Judgement, ...] = ("separated", "undecided", "not separated", "leaks", "no test")
"""Judgements, the best first."""

SAME_METHOD = 0.75
"""Share of rows in the same split from which a method is named for a frozen file. Splits of 70, 10 and 20 % by
chance share 0.54; other methods on the 40 tiles of the miniature 0.55 to 0.65."""

CLEARLY_LESS = 0.1
"""Difference in the share of the test that touches train from which on another method of the same judgement is named."""


def advice(report: Mapping[str, Any], settings: Splits) -> str:
    """Return what would separate train and test better, in words; empty where they are separated.

    Another method is named where its judgement is better, or where clearly less of its test touches train, and where its test has at least
    half the tiles that the settings ask for.

    Args:
        report: leakage and methods, see `described` and `compared`.
    """
    own = report["leakage"]
    if own["judgement"] in ("separated", "no test"):
        return ""
    in_use = f"leave_block_out {settings.test_block}" if settings.method == "leave_block_out" else settings.method
    others = {
        name: values for name, values in report["methods"].items() if name != in_use and values.get("test_share", 0) >= settings.test / 2
    }

    def badness(values: Mapping[str, Any]) -> tuple[int, float]:
        return RANKS.index(values["judgement"]), values["neighbours"] if values["neighbours"] is not None else 1.0

    texts = []
    if others:
        name = min(others, key=lambda other: badness(others[other]))
        (rank, near), (own_rank, own_near) = badness(others[name]), badness(own)
        if rank < own_rank or (rank == own_rank and near <= own_near - CLEARLY_LESS):
            method, _, block = name.partition(" ")
            setting = f"splits.method: {method}" + (f" with splits.test_block: {block}" if block else "")
            texts.append(f"{setting} would be {others[name]['judgement']}, with {100 * near:.0f} % of its test touching train")
    if not settings.buffer_tiles and own["twins"] == 0:
        texts.append("splits.buffer_tiles: 1 keeps train from touching the test; a larger area makes the test larger")
    return "; ".join(texts)


def _values(measured: Leakage, limit: float) -> dict[str, float | int | str | None]:
    numbers = {name: value if isinstance(value, int) else _rounded(value) for name, value in asdict(measured).items()}
    return {**numbers, "judgement": judge(measured, limit)[0]}


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
