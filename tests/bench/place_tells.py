"""Measure how often R² by place and year alone exceeds the limit on small areas, by itself and with the lower end of its interval.

Usage: PYTHONPATH=tests:tests/unit/dataset python tests/bench/place_tells.py SHARED

Square windows of 40 to 1280 tiles are cut from the published percentages (SHARED) and split by each method with two seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from released import on_the_lattice
from smallmines.cli.console import show
from smallmines.config.sections import Splits as Section
from smallmines.core.errors import UserError
from smallmines.dataset.split_leakage import judge, leakage
from smallmines.dataset.split_methods import make_splits
from smallmines.settings.parameters import settings_of
from smallmines.settings.splits import Splits

LIMIT = 0.35
LEAST_PERCENT = 1.0
"""Mean class share of a window in %: others have hardly a mine."""


def window(table: pd.DataFrame, size: int, random: np.random.Generator) -> pd.DataFrame:
    """Return the rows of the `size` tiles nearest to a random one, by the larger of rows and columns."""
    tiles = table.drop_duplicates("tile_id")
    while True:
        middle = tiles.iloc[int(random.integers(len(tiles)))]
        distance = np.maximum(abs(tiles["row"] - middle["row"]), abs(tiles["col"] - middle["col"])) + 1e-3 * random.random(len(tiles))
        rows = table[table["tile_id"].isin(tiles.loc[distance.nsmallest(size).index, "tile_id"])]
        if rows["class_percent"].mean() >= LEAST_PERCENT:
            return rows.reset_index(drop=True)


def main() -> None:
    """See the module."""
    table = on_the_lattice(Path(sys.argv[1]), Path.cwd()).drop(columns="split")
    random = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for size, count in ((40, 60), (80, 40), (160, 30), (320, 20), (640, 12), (1280, 6)):
        windows = [window(table, size, random) for _ in range(count)]
        for method in ("spatial_block", "histogram_tile", "paper_histogram"):
            leaks = []
            for part in windows:
                for seed in range(2):
                    try:
                        splits = make_splits(part, settings_of(Section(method=method, seed=seed), Splits))
                    except UserError:
                        continue
                    leaks.append(leakage(part.merge(splits, on=["tile_id", "year"])))
            judged = [judge(leak, LIMIT)[0] for leak in leaks]
            shares = {word: judged.count(word) / len(judged) for word in ("separated", "leaks", "not separated", "undecided")}
            r2, low = (np.array([getattr(leak, name) for leak in leaks]) for name in ("r2", "r2_low"))
            above = {"R²_above": float((r2 > LIMIT).mean()), "low_above": float((low > LIMIT).mean())}
            rows.append({"tiles": size, "method": method, "median_R²": float(np.nanmedian(r2)), **above, **shares})
    show(f"R² by place and year alone against {LIMIT}, shares of the splits", rows)


main()
