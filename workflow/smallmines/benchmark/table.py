"""The table of the benchmark: scores with intervals of every row and split, from the counts of its tiles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.benchmark import metrics
from smallmines.benchmark.intervals import Floats, Sums, block_sums, drawn_blocks, drawn_sums, limits
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.runs import HISTOGRAMS
from smallmines.benchmark.split_names import bootstrap_blocks, group_of
from smallmines.core.files import read_json
from smallmines.core.readable import read_parquet

BOUNDS: Mapping[str, tuple[float, float]] = {"false_mines_km2": (0, np.inf), "area_ratio": (0, np.inf)}
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Score:
    """Counts of one fitted row: its row, variant, split and seed, and where its files are.

    Attributes:
        counts, about: files of `runs.score_row`.
        predicted: file of `runs.predict_row`.
        split_file: rows of the split.
    """

    row: str
    variant: str
    split: str
    seed: int
    counts: Path
    about: Path
    predicted: Path
    split_file: Path


def scores_of(folder: str | Path, names: Sequence[str]) -> list[Score]:
    """Return the scores of `<row>/<variant>/<split>/<seed>` in the folder of the benchmark."""
    scores = []
    for name in names:
        row, variant, split, seed = name.split("/")
        own = Path(folder) / name
        files = own / "counts.parquet", own / "score.json", own / "probabilities.npy"
        scores.append(Score(row, variant, split, int(seed), *files, Path(folder) / f"splits/{split}.parquet"))
    return scores


@dataclass(frozen=True)
class Tested:
    """All counts of a row and variant with one seed and group of splits: each tile of the test once.

    Attributes:
        table: counts by tile, see `runs.score_row`.
        stopped: findings that stopped the row.
        thresholds: those chosen on val, one a split.
    """

    table: pd.DataFrame
    stopped: tuple[str, ...]
    thresholds: tuple[int, ...]


def pooled(scores: Sequence[Score]) -> dict[tuple[str, str, str, int], Tested]:
    """Return the counts by group of splits, row, variant and seed, in the order of the scores; folds and blocks are put together."""
    grouped: dict[tuple[str, str, str, int], list[Score]] = {}
    for score in scores:
        grouped.setdefault((group_of(score.split), score.row, score.variant, score.seed), []).append(score)
    result = {}
    for key, own in grouped.items():
        about = [read_json(score.about) for score in own]
        table = pd.concat([read_parquet(score.counts) for score in own], ignore_index=True)
        stopped = tuple(dict.fromkeys(reason for entry in about for reason in entry["stopped"]))
        result[key] = Tested(table, stopped, tuple(int(entry["threshold"]) for entry in about))
    return result


def table_of(pack: Pack, scores: Sequence[Score], prompted: Collection[tuple[str, str]] = ()) -> pd.DataFrame:
    """Return the table: a row for each row, variant, group of splits, seed and threshold.

    Columns: split, row, variant, seed, threshold (half, val), least (of 255, the mean over the splits of a group), stopped (in words),
    tiles, mines, blocks (spatial, with a tile of the test), the scores of `metrics.scores`, each with `_low` and `_high` of its 95 %
    interval; median_iou and calibration_error; difference (of the IoU to the row of the highest IoU in the same split with the same
    threshold) with `_low` and `_high`, paired.

    Args:
        prompted: rows and variants that are told points of the truth; they are compared with no other.
    """
    block = bootstrap_blocks(pack.tiles)
    records: list[dict[str, Any]] = []
    draws: dict[tuple[str, str], list[tuple[dict[str, Any], Floats]]] = {}
    for (split, row, variant, seed), own in pooled(scores).items():
        for threshold in metrics.THRESHOLDS:
            record: dict[str, Any] = {"split": split, "row": row, "variant": variant, "seed": seed, "threshold": threshold}
            record |= {"least": metrics.HALF if threshold == "half" else float(np.mean(own.thresholds)), "stopped": "; ".join(own.stopped)}
            if len(own.table):
                drawn = _measured(record, own.table, block, threshold, pack.pixel_area)
                if (row, variant) not in prompted:
                    draws.setdefault((split, threshold), []).append((record, drawn))
            records.append(record)
    for entries in draws.values():
        _compared(entries)
    return pd.DataFrame(records)


def _measured(record: dict[str, Any], table: pd.DataFrame, block: NDArray[np.int64], threshold: str, pixel_area: float) -> Floats:
    """Add the scores of a row to its record; return the IoU of each draw."""
    sums, number = sums_by_block(table, block)
    total = {name: values.sum(keepdims=True) for name, values in sums.items()}
    whole = metrics.scores(total, threshold, pixel_area)
    by_draw = metrics.scores(drawn_sums(sums, drawn_blocks(number)), threshold, pixel_area)
    record |= {"tiles": len(table), "mines": int(sum(total[f"mines_{size}"][0] for size in metrics.SIZES)), "blocks": number}
    for name, value in whole.items():
        record[name] = float(value[0])
        record[f"{name}_low"], record[f"{name}_high"] = limits(by_draw[name], float(value[0]), number, BOUNDS.get(name, SHARE))
    mining, other = (np.sum(np.stack(list(table[name])), axis=0) for name in HISTOGRAMS)
    record["median_iou"] = metrics.median_iou({name: table[name].to_numpy() for name in metrics.linear_columns()}, threshold)
    record["calibration_error"] = metrics.reliability(mining, other)[1]
    return by_draw["iou"]


def sums_by_block(table: pd.DataFrame, block: NDArray[np.int64]) -> tuple[Sums, int]:
    """Return the counts summed by spatial block, and the number of blocks with a tile of the test.

    Args:
        block: of each row of the pack.
    """
    own, place = np.unique(block[table["row"].to_numpy(np.int64)], return_inverse=True)
    return block_sums({name: table[name].to_numpy() for name in metrics.linear_columns()}, place, len(own)), len(own)


def _compared(entries: Sequence[tuple[dict[str, Any], Floats]]) -> None:
    """Add the difference of the IoU to the best row of the same split and threshold, by the same draws."""
    best, of_best = max(entries, key=lambda entry: np.nan_to_num(entry[0]["iou"], nan=-1.0))
    for record, drawn in entries:
        record["difference"] = record["iou"] - best["iou"]
        if record is not best and len(drawn) == len(of_best) and record["blocks"] == best["blocks"]:
            low, high = limits(drawn - of_best, record["difference"], record["blocks"], (-1, 1))
            record["difference_low"], record["difference_high"] = low, high


def reliabilities(scores: Sequence[Score]) -> dict[tuple[str, str, str], list[dict[str, float]]]:
    """Return the bins of the reliability by group of splits, row and variant, of the first seed."""
    bins: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for (split, row, variant, _), own in pooled(scores).items():
        if len(own.table) and (split, row, variant) not in bins:
            mining, other = (np.sum(np.stack(list(own.table[name])), axis=0) for name in HISTOGRAMS)
            bins[split, row, variant] = metrics.reliability(mining, other)[0]
    return bins
