"""Percentages and splits of the released dataset, on the lattice where the place of an id is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from smallmines.cli.console import read_config
from smallmines.grid.area import read_area
from smallmines.grid.make import fishnet

YEARS = (2016, 2022)


def released(shared_data: Path, year: int) -> pd.DataFrame:
    """Read patch_name, class_percentage, bin and split as published, with number (from the name) and year."""
    table = pd.read_csv(shared_data / f"smallminesds/train_test_splits_{year}.csv")
    return table.assign(number=table["patch_name"].str.extract(r"MASK_(\d+)_")[0].astype(int), year=year)


def on_the_lattice(shared_data: Path, repository: Path) -> pd.DataFrame:
    """Return tile_id, year, row, col, block, class_percent and split, without ids of unknown place (2041 to 2067)."""
    config = read_config(repository / "config/config.yaml")
    cells = fishnet(read_area([str(shared_data / "ghana/districts.geojson")], None, "u").table, config.grid)
    place = np.arange(1, len(cells) + 1)
    placed = cells.assign(number=np.where(place <= 2040, place, np.where(place >= 2067, place + 1, 0)), block="1")
    parts = [placed.merge(released(shared_data, year), on="number") for year in YEARS]
    columns = ["tile_id", "year", "row", "col", "block", "class_percent", "split"]
    return pd.concat(parts, ignore_index=True).rename(columns={"class_percentage": "class_percent"})[columns]
