"""The change of the finished miniature: map, sample that people look at in both years, areas that hold the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from miniature.annotators import look_at_sample
from miniature.score import truth_of
from smallmines.annotation.block_year import BlockYear
from smallmines.cli.console import read_config
from smallmines.dataset.change import CLASSES
from smallmines.grid.lattice import read_lattice
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

KINDS = ("change_before", "change_after")


def test_gain_and_loss_are_estimated_from_a_sample_of_both_years(clone: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "map_change" not in clone.planned("all")
    planned = clone.planned("change")
    assert planned == {"map_mosaic": 2, "map_change": 1, "map_change_areas": 1, "change": 1}
    where = ("--config", "small.yaml", "--block", "1", "--annotator", "A01")
    assert "run snakemake change" in clone.smallmines("labels", "sample", "--for", "change_after", "--year", "2022", *where, succeeds=False)
    clone.snakemake("change")
    folder = clone.results / "map/change/2016_2022"
    assert pd.read_csv(folder / "areas.csv")["why"].unique().tolist() == ["no change sample"]
    assert "name 2022" in clone.smallmines("labels", "sample", "--for", "change_after", "--year", "2016", *where, succeeds=False)
    monkeypatch.chdir(clone.folder)
    config = read_config(Path("small.yaml"))
    for block in config.blocks:
        for kind in KINDS:
            look_at_sample(BlockYear(config, "2022", block), kind)
    designs = {path.read_text() for kind in KINDS for path in (clone.user / kind / "2022").glob("*.csv")}
    assert len(designs) == 1, "one design for the run"
    assert clone.planned("change") == {"map_change_areas": 1, "change": 1}
    clone.snakemake("change")
    areas = pd.read_csv(folder / "areas.csv").set_index("change")
    lattice = read_lattice(clone.results / "grid/grid.json")
    true = np.zeros(len(CLASSES))
    with rasterio.open(folder / "change.tif") as source:
        classes = source.read(1)
    for block in config.blocks:
        before, after = (truth_of(config, year, lattice.block(block), ".") == 1 for year in ("2016", "2022"))
        row, col = lattice.offset(block)
        seen = lattice.own(block) & (classes[row : row + before.shape[0], col : col + before.shape[1]] != 255)
        true += np.bincount(np.where(before, np.where(after, 3, 2), np.where(after, 1, 0))[seen], minlength=len(CLASSES)) / 100
    for name, value in zip(CLASSES, true, strict=True):
        assert areas["low"][name] <= value <= areas["high"][name], name
    assert areas["area_ha"].sum() == pytest.approx(true.sum(), rel=1e-6)
    assert clone.planned("change") == {}
    pairs = pd.read_parquet(folder / "pairs.parquet")
    assert len(pairs) == len(lattice.tiles)
    assert set(pairs["split"]) <= {"train", "val", "test", "buffer", ""}
    clone.smallmines("labels", "sample", "--for", "change_after", "--year", "2022", *where, succeeds=False)
