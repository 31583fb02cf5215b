"""`snakemake benchmark` on the small miniature, and `smallmines predict` on one of its blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml

from smallmines.benchmark.pack import Pack
from smallmines.core.product import PATCH_BANDS
from smallmines.grid.lattice import read_lattice
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

SECTION = {"rows": ["boosting_13/fixed", "other_year_mask/fixed", "everything_mining/fixed"], "splits": ["in_force", "paper_histogram"]}


@pytest.fixture(scope="module")
def benchmark(miniature: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished benchmark of three rows on two splits."""
    clone = miniature.clone(tmp_path_factory.mktemp("benchmark") / "clone")
    path = clone.folder / clone.config
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"benchmark": SECTION}))
    clone.snakemake("benchmark")
    return clone


def test_the_table_has_every_row_and_the_controls_show_the_leak(benchmark: Workspace) -> None:
    table = pd.read_parquet(benchmark.results / "benchmark/table.parquet")
    assert len(table) == 3 * 2 * 2
    iou = table[table["threshold"] == "half"].set_index(["split", "row"])["iou"]
    assert iou["in_force", "other_year_mask"] == 0 < iou["paper_histogram", "other_year_mask"]
    assert iou["in_force", "boosting_13"] > 0.3 > iou["in_force", "everything_mining"]
    assert "Gradient boosting, all bands" in (benchmark.results / "benchmark/table.html").read_text()


def test_nothing_else_is_planned_and_nothing_runs_twice(benchmark: Workspace) -> None:
    assert benchmark.planned("benchmark") == {}
    assert benchmark.planned() == {}, "the benchmark is in no other target"


def test_a_block_is_predicted_as_its_patches(benchmark: Workspace) -> None:
    row = benchmark.results / "benchmark/boosting_13/fixed/in_force/0"
    pack = Pack.open(benchmark.results / "benchmark/pack")
    split = pd.read_parquet(benchmark.results / "benchmark/splits/in_force.parquet")["split"]
    predicted = np.load(row / "probabilities.npy")
    rows = np.flatnonzero(split.isin(["val", "test"]))
    lattice = read_lattice(benchmark.results / "grid/grid.json")
    compared = 0
    for block in ("1", "2"):
        composites = benchmark.results / f"composites/2016/{block}"
        benchmark.smallmines("predict", str(row / "model.joblib"), str(composites), "--out", f"probability_{block}.tif")
        with rasterio.open(benchmark.folder / f"probability_{block}.tif") as source:
            whole = source.read(1)
        cells = lattice.cells_of(block).set_index("tile_id")
        for place, number in enumerate(rows):
            tile = pack.tiles.iloc[number]
            if tile["year"] == 2016 and tile["tile_id"] in cells.index:
                x, y = (int(cells.loc[tile["tile_id"], axis]) for axis in ("x", "y"))
                own = whole[y : y + pack.side, x : x + pack.side]
                whole_pixels = np.isfinite(pack.read(np.array([number]), PATCH_BANDS)[0]).all(axis=0)
                np.testing.assert_array_equal(own[whole_pixels], predicted[place][whole_pixels])
                compared += 1
    assert compared >= 2


def test_findings_stop_the_rows_of_a_band_and_the_table_names_them(benchmark: Workspace, tmp_path: Path) -> None:
    clone = benchmark.clone(tmp_path / "clone")
    report = json.loads((clone.results / "doctor.json").read_text())
    finding = {"severity": "error", "family": "radiometry", "check": "VV linear", "expected": "", "found": "all of it", "remedy": ""}
    finding |= {"tiles": [], "count": 0}
    (clone.folder / "doctor_of_others.json").write_text(json.dumps(report | {"findings": [finding]}))
    path = clone.folder / clone.config
    own = {**SECTION, "splits": ["in_force"], "dataset": f"results/{clone.run}/dataset", "doctor": "doctor_of_others.json"}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"benchmark": own}))
    clone.snakemake("benchmark")
    table = pd.read_parquet(clone.results / "benchmark/table.parquet").set_index(["row", "threshold"])
    assert table["stopped"]["boosting_13", "half"] == "VV: VV linear: all of it"
    assert table["stopped"]["everything_mining", "half"] == ""
    assert "was stopped" in (clone.results / "benchmark/table.html").read_text()
