"""The doctor on splits: silent about place where the test is too small to tell, and never advising the method in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from sections import Splits
from smallmines.config.doctor import Doctor
from smallmines.core.finding import Finding
from smallmines.dataset.split_methods import make_splits
from smallmines.doctor import leakage
from smallmines.doctor.folder import Folder
from smallmines.report.checks import passed
from smallmines.settings.doctor import Doctor as Limits
from smallmines.settings.parameters import settings_of

LIMITS = settings_of(Doctor(), Limits)


def split(rows: int, cols: int, seed: int = 0, **keys: Any) -> pd.DataFrame:
    """Tiles of two years, alike over some three tiles, with their split."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.normal(size=(rows, cols)), 3)
    share = np.clip(10 + 5 * (field - field.mean()) / field.std(), 0, 100).ravel()
    row, col = np.indices((rows, cols)).reshape(2, -1)
    tiles = pd.DataFrame({"tile_id": [f"{number:04d}" for number in range(1, share.size + 1)], "row": row, "col": col, "block": "1"})
    table = pd.concat([tiles.assign(year=year, class_percent=share) for year in (2016, 2022)], ignore_index=True)
    return table.merge(make_splits(table, replace(Splits(), **keys)), on=["tile_id", "year"])


def findings(table: pd.DataFrame, method: str | None = None) -> dict[str, Finding]:
    pairs = table.rename(columns={"tile_id": "tile"})[["tile", "year"]]
    facts = None if method is None else {"split_method": method}
    folder = Folder(Path(), pairs, (), (), None, table[["tile_id", "year", "split"]], None, facts)
    return {finding.check: finding for finding in leakage.check(folder, table, LIMITS)}


@pytest.mark.parametrize("seed", range(5))
def test_forty_tiles_by_blocks_tell_nothing_of_place(seed: int) -> None:
    found = findings(split(5, 8, seed), "spatial_block")
    assert set(found) == {"test too small"}
    assert (found["test too small"].severity, "separate places in the test" in found["test too small"].found) == ("note", True)


def test_scattered_tiles_of_a_smooth_area_tell() -> None:
    found = findings(split(30, 30, method="histogram_tile"))
    assert set(found) == {"place tells"}
    assert found["place tells"].remedy == "splits.method: spatial_block"


@pytest.mark.parametrize(
    ("method", "advised"),
    [
        ("spatial_block", "larger blocks"),
        ("frozen (spatial_block seed=0)", "larger blocks"),
        ("leave_block_out", "another block"),
        ("histogram_tile", "splits.method: spatial_block"),
        ("frozen (method not recorded)", "splits.method: spatial_block"),
    ],
)
def test_the_method_in_use_is_not_advised(method: str, advised: str) -> None:
    remedy = findings(split(30, 30, method="histogram_tile"), method)["place tells"].remedy
    assert remedy.startswith(advised)
    assert f"splits.method: {method}" not in remedy
    table = split(30, 30, method="paper_histogram")
    assert findings(table, "paper_histogram")["twins"].remedy == "splits.method: spatial_block"
    assert "splits make" in findings(table, "spatial_block")["twins"].remedy


def test_the_report_does_not_say_that_place_tells_nothing_where_nobody_can_tell() -> None:
    def families(*checks: tuple[str, str]) -> dict[str, Any]:
        notes = [{"family": family, "check": check, "severity": "note"} for family, check in checks]
        doctor = {"findings": notes, "shifts": [], "years": [2016, 2022], "label_auc": {}}
        return {family.name: family for family in passed(doctor, agreement=False)}

    assert "place tells" in families(("leakage", "test too small"))["leakage"].impossible
    assert "place and year alone do not predict the test" not in families(("leakage", "test too small"))["leakage"].passed
    assert "place and year alone do not predict the test" in families()["leakage"].passed


def test_unusual_names_of_splits_are_told() -> None:
    table = split(5, 8)
    found = findings(table.assign(split=table["split"].replace({"test": "Test", "val": "validation"})))
    assert (found["split names"].severity, found["split names"].found) == ("warning", "Test")
    assert "split names" not in findings(table.assign(split=table["split"].replace({"val": "validation"})))
