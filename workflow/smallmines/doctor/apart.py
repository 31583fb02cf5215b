"""Duplicates, and leakage between train and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from smallmines.dataset.split_methods import leakage
from smallmines.doctor.folder import Finding, Folder
from smallmines.doctor.measure import Measured
from smallmines.doctor.structure import names
from smallmines.settings.doctor import Doctor

ALIKE = 0.9995
"""Correlation of red between years above which two images are one: seasons and noise leave 0.97 at most."""


def duplicates(measured: Measured) -> Iterator[Finding]:
    """The same image under two names, and the same image in two years with noise on it."""
    if "hash" in measured.table:
        known = measured.table[measured.table["hash"].notna() & (measured.table.get("n_B02", 0) > 0)]
        twice = known[known.duplicated("hash", keep=False)]
        if len(twice):
            told = f"{len(twice)} patches share {twice['hash'].nunique()} images"
            yield Finding("error", "duplicates", "same image", "another image in every patch", told, "make them again", names(twice))
    same = measured.changes[measured.changes["alike"] > ALIKE]
    if len(same):
        tiles = tuple(f"{row['tile']} {row['after']}" for row in same.to_dict("records"))
        told = f"{len(same)} tiles with a correlation above {ALIKE}"
        yield Finding("error", "duplicates", "same year twice", "years that differ", told, "look at the scenes of both years", tiles)


def splits_table(folder: Folder, measured: Measured) -> pd.DataFrame | None:
    """tile_id, year, split, row, col, class_percent of the patches that a split names, or None."""
    table = measured.table
    if folder.splits is None or "mining" not in table or "image_transform" not in table:
        return None
    known = table[table["mining"].notna() & table["image_transform"].notna()]
    at = np.array([one if isinstance(one, tuple) else (0.0,) * 6 for one in known["image_transform"]])
    if not len(at):
        return None
    height, width = known["image_shape"].mode().iloc[0]
    col, row = (np.round(at[:, 2] / (at[:, 0] * width)), np.round(at[:, 5] / (at[:, 4] * height)))
    share = 100 * known["mining"] / (known["mining"] + known["background"]).replace(0, np.nan)
    place = pd.DataFrame(
        {
            "tile_id": known["tile"],
            "year": known["year"].astype(int),
            "row": row.astype(int),
            "col": col.astype(int),
            "class_percent": share,
        }
    )
    place[["row", "col"]] -= place[["row", "col"]].min()
    return folder.splits.merge(place, on=["tile_id", "year"])


def leaks(folder: Folder, table: pd.DataFrame | None, limits: Doctor) -> Iterator[Finding]:
    """What a split lets a model know, and whether it names every patch once."""
    if folder.splits is None or table is None:
        if folder.splits is None:
            yield Finding("note", "leakage", "no split", "a file of splits", "none", "smallmines splits make")
        return
    pairs = set(zip(folder.pairs["tile"], folder.pairs["year"].astype(int), strict=True))
    given = list(zip(folder.splits["tile_id"], folder.splits["year"], strict=True))
    odd: dict[str, Any] = {
        "in no split": pairs - set(given),
        "in a split and not there": set(given) - pairs,
        "named twice": {one for one, count in Counter(given).items() if count > 1},
    }
    for told, some in odd.items():
        if some:
            tiles = tuple(f"{tile} {year}" for tile, year in sorted(some))
            yield Finding("error", "leakage", "split incomplete", "every patch in one split", f"{len(some)} {told}", "make it again", tiles)
    if not {"train", "test"} <= set(table["split"]):
        return
    found = leakage(table.drop_duplicates(["tile_id", "year"]))
    if found.twins > limits.twins:
        trained = set(table.loc[table["split"] == "train", "tile_id"])
        twin = table[(table["split"] == "test") & table["tile_id"].isin(trained)].rename(columns={"tile_id": "tile"})
        told = f"{100 * found.twins:.0f} % of the test patches have their tile in train in another year"
        yield Finding("error", "leakage", "twins", f"at most {100 * limits.twins:g} %", told, "splits.method: spatial_block", names(twin))
    if np.isfinite(found.r2) and found.r2 > limits.location_r2:
        told = f"{found.r2:.2f} (AUC of any mining {found.auc:.2f}; {100 * found.neighbours:.0f} % of the test touch train)"
        expected = f"R² of the class share by place and year alone of at most {limits.location_r2:g}"
        yield Finding("error", "leakage", "place tells", expected, told, "splits.method: spatial_block")
