"""The rules that read a release: what is planned for the comparison, and one job of each through Snakemake, from a local zip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from release import CRS, LEFT, SIDE, TOP, write_release, zipped
from smallmines.core.files import sha256
from workspace import Workspace

pytestmark = [pytest.mark.rules, pytest.mark.heavy]


def workspace(repository: Path, folder: Path, source: str) -> Workspace:
    """Make a run of four tiles whose release is a local zip."""
    import geopandas as gpd
    import shapely

    made = Workspace.make(repository, folder, "released.yaml", "released")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values |= {"run": "released", "labels": {"source": source}, "released": {"path": "release.zip"}}
    values["grid"] |= {"tile_size": SIDE, "blocks": 1, "anchor": {"x": LEFT, "y": TOP}}
    values["publish"]["license"] = "CC-BY-SA-4.0"
    (folder / "released.yaml").write_text(yaml.safe_dump(values))
    made.user.mkdir(parents=True, exist_ok=True)
    area = shapely.box(LEFT + 10, TOP - 630, LEFT + 630, TOP - 10)
    gpd.GeoDataFrame(geometry=[area], crs=CRS).to_file(made.user / "aoi.gpkg")
    return made


@pytest.mark.parametrize("source", ["people", "released_masks"])
def test_images_are_planned_for_the_comparison_alone(repository: Path, tmp_path: Path, source: str) -> None:
    made = workspace(repository, tmp_path, source)
    everything, comparison = made.planned(), made.planned("compare")
    assert not {"compare", "released_images"} & everything.keys()
    assert comparison["compare"] == comparison["released_images"] == 1
    assert comparison.get("released", 0) == everything.get("released", 0) == (source != "people")


def test_the_rules_read_a_local_zip(repository: Path, tmp_path: Path) -> None:
    made = workspace(repository, tmp_path, "released_masks")
    archive = zipped(write_release(tmp_path / "made", tiles=5), tmp_path / "release.zip", image_bytes=100)
    made.snakemake("results/released/released/images.json", "results/released/released/release.json")
    release = json.loads((made.results / "released/release.json").read_text())
    assert (release["source"], release["sha256"], len(release["masks"])) == ("zip", sha256(archive), 10)
    assert {year: len(names) for year, names in release["only_released"].items()} == {"2016": 1, "2022": 1}
    images = json.loads((made.results / "released/images.json").read_text())
    assert len(list((tmp_path / images["folder"]).glob("*/IMAGE/IMG_*.tif"))) == 10
    assert not made.planned("results/released/released/images.json")


def test_a_release_that_is_not_there_stops_the_run_before_its_first_job(repository: Path, tmp_path: Path) -> None:
    made = workspace(repository, tmp_path, "released_masks")
    output = made.snakemake("results/released/released/release.json", succeeds=False)
    assert "found     no such file: release.zip" in output
    assert not made.results.exists()
