"""Measure how well place and year alone predict the test, for each split method: median and 90th percentile over 20 seeds.

Usage: PYTHONPATH=tests python tests/bench/leakage.py CONFIG [SHARED PICTURE]

It uses the finished run of CONFIG and, with SHARED (released percentages and districts), the released grid, with a map.
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
from smallmines.core.layout import Layout
from smallmines.dataset.split_leakage import leakage
from smallmines.dataset.split_methods import block_side, by_tile, make_splits
from smallmines.dataset.splits import class_shares, compared, described, with_folds
from smallmines.grid.lattice import read_lattice
from smallmines.report.maps import splits_plot
from smallmines.settings.parameters import settings_of
from smallmines.settings.splits import METHODS, Splits

SEEDS = 20


def rows_of(name: str, table: pd.DataFrame, settings: Any) -> list[dict[str, Any]]:
    """Return a row for each method."""
    tiles, percent = by_tile(table)
    print(f"{name}: {len(tiles)} tiles, blocks of {block_side(tiles, percent.mean(axis=1))} tiles by the correlogram", flush=True)
    rows = []
    for method in METHODS:
        blocks: list[Any] = sorted(set(table["block"])) if method == "leave_block_out" else [None]
        if method == "leave_block_out" and len(blocks) < 2:
            continue
        leaks = []
        for seed in range(SEEDS):
            for block in blocks:
                splits = make_splits(table, replace(settings, method=method, seed=seed, test_block=block))
                leaks.append(leakage(table.merge(splits, on=["tile_id", "year"])))
        row: dict[str, Any] = {"tiles": name, "method": method}
        for key in ("twins", "neighbours", "r2", "auc"):
            values = np.array([getattr(leak, key) for leak in leaks])
            row |= {key: float(np.nanmedian(values)), f"{key}_90": float(np.nanpercentile(values, 90))}
        rows.append(row)
    return rows


def main() -> None:
    """See the module."""
    config = read_config(Path(sys.argv[1]))
    layout = Layout(config.run)
    masks = {(year, block): str(layout.mask(year, block)) for year in config.year_names for block in config.blocks}
    rows = rows_of(config.run, class_shares(masks, read_lattice(layout.grid)), settings_of(config.splits, Splits))
    if len(sys.argv) > 2:
        table = on_the_lattice(Path(sys.argv[2]), Path.cwd())
        leak = leakage(table)
        print(f"as released: twins {leak.twins:.3f}, neighbours {leak.neighbours:.3f}, R² {leak.r2:.3f}, AUC {leak.auc:.3f}")
        bare = table.drop(columns="split")
        rows += rows_of("SmallMinesDS", bare, settings_of(config.splits, Splits))
        settings, limit = settings_of(config.splits, Splits), config.doctor.location_r2
        splits = bare.merge(with_folds(bare, settings), on=["tile_id", "year"])
        released = {"as released": {"r2": leak.r2, "auc": leak.auc}}
        methods = {name: figures for name, figures in compared(splits, settings, limit).items() if "error" not in figures}
        report = {"source": config.splits.method, **described(splits, limit), "methods": {**released, **methods}}
        splits_plot(splits, report, sys.argv[3])
    show(f"Leakage, median and 90th percentile over {SEEDS} seeds", rows)


main()
