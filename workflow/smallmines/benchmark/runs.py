"""The jobs of the benchmark: a split, a fitted row, its predictions, its counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.benchmark.metrics import HALF, best_threshold, count_tiles, histograms, linear_columns
from smallmines.benchmark.models import Fit, FitJob, Model, fit, fitted, load, save
from smallmines.benchmark.pack import Pack, Rows, chunks
from smallmines.benchmark.split_names import assign
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy, write_json, written
from smallmines.core.log import logger
from smallmines.core.readable import read_parquet
from smallmines.settings.benchmark import RowSettings

PREDICTED = ("val", "test")
HISTOGRAMS = ("mining", "other")


def write_split(pack_folder: str | Path, name: str, seed: int, released: str | None, target: str | Path) -> None:
    """Write the split of each row of a pack: tile_id, year, split (empty: in none), in the order of the pack."""
    pack = Pack.open(pack_folder)
    split = assign(pack.tiles, name, seed, released)
    logger.info("%s: %s", name, ", ".join(f"{int((split == part).sum())} {part}" for part in ("train", *PREDICTED)))
    with written(target) as beside:
        pack.tiles[["tile_id", "year"]].assign(split=split.astype(str)).to_parquet(beside, index=False)


def read_split(path: str | Path, pack: Pack) -> NDArray[np.object_]:
    """Read the split of each row of a pack.

    Raises:
        UserError: the file is that of another pack.
    """
    table = read_parquet(path)
    if not table[["tile_id", "year"]].equals(pack.tiles[["tile_id", "year"]]):
        raise UserError(f"the tiles and years of the pack in {path}", f"{len(table)} others, or in another order", remedy(path))
    split: NDArray[np.object_] = table["split"].to_numpy(object)
    return split


def rows_of(split: NDArray[np.object_], *names: str) -> Rows:
    """Return the rows of a pack that are in some splits, in order."""
    return np.flatnonzero(np.isin(split, names))


def of_test(pack_folder: str | Path, split: str | Path) -> NDArray[np.bool_]:
    """Return which of the rows that `predict_row` writes are of the test."""
    names = read_split(split, Pack.open(pack_folder))
    return np.asarray(names[rows_of(names, *PREDICTED)] == "test")


def fit_row(
    pack_folder: str | Path, split: str | Path, settings: RowSettings, job: FitJob, model: Path, about: Path, function: Fit = fit
) -> None:
    """Fit a row on the train of a split; write the model, and what stops the row (JSON: stopped).

    Args:
        function: that fits it.
    """
    pack = Pack.open(pack_folder)
    names = read_split(split, pack)
    own = fitted(pack, rows_of(names, "train"), rows_of(names, "val"), settings, job, function)
    save(own, model)
    write_json(about, {"stopped": list(own.stopped)})


def predict_row(pack_folder: str | Path, split: str | Path, model: str | Path, threads: int, target: str | Path) -> Model | None:
    """Write the probability of mining of val and test: uint8 (tile, row, column) in the order of the pack; no tile of a stopped row.

    Returns:
        The model; None of a stopped row.
    """
    pack = Pack.open(pack_folder)
    rows = rows_of(read_split(split, pack), *PREDICTED)
    own = load(model).model
    if own is None:
        rows = rows[:0]
    with written(target) as beside, open(beside, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), pack.side, pack.side)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in chunks(rows):
            assert own is not None
            file.write(own.on_pack(pack, part, threads).tobytes())
    return own


def score_row(pack_folder: str | Path, split: str | Path, fitted_row: str | Path, predicted: str | Path, counts: str, about: str) -> None:
    """Write the counts of the tiles of test, and the threshold chosen on val.

    Args:
        fitted_row: JSON file of `fit_row`.
        counts: Parquet: row (of the pack), tile_id, year, `metrics.linear_columns`, and mining and other (lists of 256 numbers). Without
            rows where findings stop the row.
        about: JSON: threshold (least uint8 value of mining that has the highest IoU on val), val (rows), stopped.
    """
    pack, stopped = Pack.open(pack_folder), read_json(fitted_row)["stopped"]
    names = read_split(split, pack)
    rows = rows_of(names, *PREDICTED)
    probability = np.load(predicted, mmap_mode="r")
    if stopped:
        rows = rows[:0]
    if len(probability) != len(rows):
        raise UserError(f"{len(rows)} tiles in {predicted}", str(len(probability)), remedy(predicted))
    is_test = names[rows] == "test"
    threshold = val_threshold(pack, rows, probability, np.flatnonzero(~is_test))
    logger.info("mining from %d of 255 on, by the IoU on %d rows of val", threshold, int((~is_test).sum()))
    parts = []
    for part in chunks(np.flatnonzero(is_test)):
        own = count_tiles(probability[part], pack.masks(rows[part]), {"half": HALF, "val": threshold}, pack.pixel_area)
        parts.append({name: list(values) if name in HISTOGRAMS else values for name, values in own.items()} | {"row": rows[part]})
    columns = ["row", *linear_columns(), *HISTOGRAMS]
    table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True) if parts else pd.DataFrame(columns=columns)
    tiles = pack.tiles.iloc[table["row"].to_numpy(np.int64)][["tile_id", "year"]].reset_index(drop=True)
    with written(counts) as beside:
        pd.concat([tiles, table[columns]], axis=1).to_parquet(beside, index=False)
    write_json(about, {"threshold": threshold, "val": int((~is_test).sum()), "stopped": stopped})


def val_threshold(pack: Pack, rows: Rows, probability: NDArray[np.uint8], val: NDArray[Any]) -> int:
    """Return the threshold of the highest IoU on the rows `rows[val]`; `HALF` without val."""
    pooled = np.zeros((2, 256), np.int64)
    for part in chunks(val):
        mining, other = histograms(probability[part], pack.masks(rows[part]))
        pooled += [mining.sum(axis=0), other.sum(axis=0)]
    return best_threshold(*pooled)
