"""Check the splits: every patch in exactly one, and little that a model could know of the test from the location alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.finding import Family, Finding
from smallmines.core.product import BUFFER, SPLITS
from smallmines.dataset.frames import cells_in_one_frame
from smallmines.dataset.split_leakage import Leakage, leakage
from smallmines.doctor.folder import Folder, tile_names, tiles_of
from smallmines.doctor.measure import Measured
from smallmines.settings.doctor import Doctor

LEAKAGE = Family("leakage")
REMEDY = "splits.method: spatial_block"
NAMES = {*SPLITS, BUFFER, "validation", "validate"}
"""Usual names of splits."""


def splits_table(folder: Folder, measured: Measured) -> pd.DataFrame | None:
    """Return tile_id, year, split, row, col, class_percent of the patches that a split names, or None without splits or masks."""
    table = measured.table
    if folder.splits is None or "mining" not in table or "image_transform" not in table:
        return None
    pairs = table[table["mining"].notna() & table["image_transform"].notna()]
    transforms = np.array([transform if isinstance(transform, tuple) else (0.0,) * 6 for transform in pairs["image_transform"]])
    if not len(transforms):
        return None
    height, width = pairs["image_shape"].mode().iloc[0]
    if folder.index is not None and "origin_run" in folder.index and pairs["image_crs"].map(bool).all():
        side = float(transforms[0, 0] * width)
        row, col = cells_in_one_frame(pairs["image_crs"].to_numpy(object), transforms[:, 2], transforms[:, 5], side)
    else:
        col = np.round(transforms[:, 2] / (transforms[:, 0] * width))
        row = np.round(transforms[:, 5] / (transforms[:, 4] * height))
    share = 100 * pairs["mining"] / (pairs["mining"] + pairs["background"]).replace(0, np.nan)
    cells = pd.DataFrame({"tile_id": pairs["tile"], "year": pairs["year"].astype(int), "row": row.astype(int), "col": col.astype(int)})
    cells[["row", "col"]] -= cells[["row", "col"]].min()
    return folder.splits.merge(cells.assign(class_percent=share), on=["tile_id", "year"])


def check(folder: Folder, table: pd.DataFrame | None, limits: Doctor) -> Iterator[Finding]:
    """Yield patches that are not in exactly one split, and leakage beyond the limits.

    Args:
        table: as `splits_table` returns it.
    """
    if folder.splits is None:
        yield LEAKAGE.note("no split", "a file of splits", "none", "smallmines splits make")
    if folder.splits is None or table is None:
        return
    if unknown := sorted(set(folder.splits["split"]) - NAMES):
        found = ", ".join(unknown[:5])
        yield LEAKAGE.warning("split names", f"splits {', '.join(SPLITS)} or {BUFFER}", found, "rename them, or nobody trains on them")
    pairs = set(zip(folder.pairs["tile"], folder.pairs["year"].astype(int), strict=True))
    listed = list(zip(folder.splits["tile_id"], folder.splits["year"], strict=True))
    problems: dict[str, Any] = {
        "in no split": pairs - set(listed),
        "in a split and not there": set(listed) - pairs,
        "named twice": {pair for pair, count in Counter(listed).items() if count > 1},
    }
    for problem, wrong in problems.items():
        if wrong:
            found = f"{len(wrong)} {problem}"
            yield LEAKAGE.error("split incomplete", "every patch in one split", found, "make it again", tile_names(sorted(wrong)))
    if not {"train", "test"} <= set(table["split"]):
        return
    measure = leakage(table.drop_duplicates(["tile_id", "year"]))
    method = str((folder.facts or {}).get("split_method") or "")
    if measure.twins > limits.twins:
        trained = set(table.loc[table["split"] == "train", "tile_id"])
        twins = table[(table["split"] == "test") & table["tile_id"].isin(trained)].rename(columns={"tile_id": "tile"})
        found = f"{100 * measure.twins:.0f} % of the test patches have their tile in train in another year"
        yield LEAKAGE.error("twins", f"at most {100 * limits.twins:g} %", found, _remedy(method, measure), tiles_of(twins))
    expected = f"R² of the class share by place and year alone of at most {limits.location_r2:g}"
    near = f"{100 * measure.neighbours:.0f} % of the test touch train"
    interval = f"90 % interval {measure.r2_low:.2f} to {measure.r2_high:.2f}"
    if measure.r2_low > limits.location_r2:
        found = f"{measure.r2:.2f} ({interval}; AUC of any mining {measure.auc:.2f}; {near})"
        yield LEAKAGE.error("place tells", expected, found, _remedy(method, measure))
    elif not measure.r2_high <= limits.location_r2:
        reason = f"R² {measure.r2:.2f}, {interval}" if np.isfinite(measure.r2_low) else "no interval"
        found = f"{measure.places} separate places in the test ({reason}; {near})"
        yield LEAKAGE.note(
            "test too small", f"a test that can show an {expected}", found, "a larger test, or folds over blocks (column fold)"
        )


def _remedy(method: str, measure: Leakage) -> str:
    """Return what separates train and test better than the method in use.

    Args:
        method: `split_method` of the facts; empty where it is not known.
    """
    if measure.twins > 0:
        return "make the splits again: smallmines splits make" if "paper_histogram" not in method and method else REMEDY
    if "spatial_block" in method:
        return "larger blocks (splits.block_tiles), a buffer (splits.buffer_tiles), or splits.method: leave_block_out"
    if "leave_block_out" in method:
        return "another block (splits.test_block), or a buffer (splits.buffer_tiles)"
    return REMEDY
