"""What each way of splitting lets a model know from place and year alone: median and 90th percentile over 20 seeds.

Usage: PYTHONPATH=tests python tests/bench/leakage.py CONFIG [SHARED PICTURE]

On the finished run of CONFIG and, where SHARED has the released percentages and the districts, on the released grid, with a map.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from released import on_the_lattice
from smallmines.cli.console import read_config, show
from smallmines.dataset.split_methods import block_side, by_tile, leakage, make_splits
from smallmines.dataset.splits import METHODS, class_shares, compared, described, with_folds
from smallmines.grid.lattice import read_lattice
from smallmines.report.maps import splits_plot
from smallmines.settings.parameters import settings_of
from smallmines.settings.splits import Splits

SEEDS = 20


def rows_of(name: str, table: pd.DataFrame, settings: Any) -> list[dict[str, Any]]:
    """A row for each method."""
    tiles, percent = by_tile(table)
    print(f"{name}: {len(tiles)} tiles, blocks of {block_side(tiles, percent.mean(axis=1))} tiles by the correlogram", flush=True)
    rows = []
    for method in METHODS:
        blocks: list[Any] = sorted(set(table["block"])) if method == "leave_block_out" else [None]
        if method == "leave_block_out" and len(blocks) < 2:
            continue
        found = []
        for seed in range(SEEDS):
            for block in blocks:
                made = make_splits(table, replace(settings, method=method, seed=seed, test_block=block))
                found.append(leakage(table.merge(made, on=["tile_id", "year"])))
        row: dict[str, Any] = {"tiles": name, "method": method}
        for key in ("twins", "neighbours", "r2", "auc"):
            values = np.array([getattr(one, key) for one in found])
            row |= {key: float(np.nanmedian(values)), f"{key}_90": float(np.nanpercentile(values, 90))}
        rows.append(row)
    return rows


def main() -> None:
    """See the module."""
    config = read_config(Path(sys.argv[1]))
    results = Path("results") / config.run
    masks = {(year, block): str(results / f"masks/{year}/{block}.tif") for year in config.year_names for block in config.blocks}
    rows = rows_of(config.run, class_shares(masks, read_lattice(results / "grid/grid.json")), settings_of(config.splits, Splits))
    if len(sys.argv) > 2:
        table = on_the_lattice(Path(sys.argv[2]), Path.cwd())
        one = leakage(table)
        print(f"as released: twins {one.twins:.3f}, neighbours {one.neighbours:.3f}, R² {one.r2:.3f}, AUC {one.auc:.3f}")
        bare = table.drop(columns="split")
        rows += rows_of("SmallMinesDS", bare, settings_of(config.splits, Splits))
        made = bare.merge(with_folds(bare, settings_of(config.splits, Splits)), on=["tile_id", "year"])
        released = {"as released": {"r2": one.r2, "auc": one.auc}}
        methods = {name: found for name, found in compared(bare, settings_of(config.splits, Splits)).items() if "error" not in found}
        splits_plot(made, {"source": config.splits.method, **described(made), "methods": {**released, **methods}}, sys.argv[3])
    show(f"Leakage, median and 90th percentile over {SEEDS} seeds", rows)


main()
