"""Test mistakes in people's files: messages, and that the dataset stays as it was. Each test has its own clone."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import pytest

from e2e.edits import patches
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]


def test_bad_samples_stop_at_the_labels_and_leave_the_dataset_intact(clone: Workspace) -> None:
    """With a mistake in each block and year, each is reported with its reason."""
    before = patches(clone)
    tables = {name: gpd.read_file(clone.user / f"samples/{name}.gpkg") for name in ("2016/1", "2016/2", "2022/1")}
    for name in (*tables, "2022/2"):
        (clone.user / f"samples/{name}.gpkg").unlink()
    tables["2016/1"].loc[:2, "label"] = "galamsey"
    tables["2016/2"] = tables["2016/2"].query("label == 'mining'")
    tables["2022/1"]["geometry"] = tables["2022/1"].translate(5e5, 0)
    for name, samples in tables.items():
        samples.to_file(clone.user / f"samples/{name}.gpkg", engine="pyogrio")
    output = clone.snakemake("--keep-going", succeeds=False)
    assert output.count("expected ") >= 4
    assert "Traceback" not in output
    for name, told in {"2016-1": "label", "2016-2": "not_mining", "2022-1": "outside", "2022-2": "snakemake annotate"}.items():
        log = (clone.folder / f"logs/small/samples/{name}.log").read_text()
        assert "expected " in log
        assert told in log
    assert patches(clone) == before


def test_a_corrupt_file_of_samples_is_named(clone: Workspace) -> None:
    before = patches(clone)
    (clone.user / "samples/2016/1.gpkg").write_bytes(b"SQLite format 3\0" + bytes(500))
    output = clone.snakemake(succeeds=False)
    assert "samples/2016/1.gpkg" in output
    assert "expected " in output
    assert "Traceback" not in output
    assert patches(clone) == before


def test_annotate_needs_no_labels(clone: Workspace) -> None:
    shutil.rmtree(clone.user / "samples")
    clone.snakemake("annotate")
    for year in ("2016", "2022"):
        for block in "12":
            candidates = gpd.read_file(clone.results / f"candidates/{year}/{block}.gpkg", layer="samples")
            assert len(candidates) == 50
    assert "samples" in clone.planned(), "a full run still plans"


def test_a_patch_deleted_by_hand_is_found(clone: Workspace) -> None:
    path = sorted((clone.results / "dataset/2022/MASK").glob("*.tif"))[3]
    path.unlink()
    assert path.name in clone.snakemake("verify", "--forcerun", "verify", succeeds=False)


def test_catalogue_missing(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "small.yaml", "small")
    shutil.copy2(repository / "tests/e2e/small.yaml", tmp_path / "small.yaml")
    workspace.user.mkdir(parents=True)
    gpd.GeoDataFrame({"a": [1]}, geometry=gpd.points_from_xy([600000], [700000]).buffer(1500), crs=32630).to_file(
        workspace.user / "aoi.gpkg"
    )
    output = workspace.snakemake("composites", succeeds=False)
    assert "resources/automatic/small/archive/catalog.json" in output
    assert "Traceback" not in output
