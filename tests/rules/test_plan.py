"""What the workflow plans, without running it: the production run, targets, code tracking of every rule."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import list_sources
import numpy as np
import pytest
import shapely
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox

from smallmines.benchmark.pack import FILES
from smallmines.core import raster
from smallmines.core.rerun import code
from smallmines.grid.lattice import read_lattice
from workspace import Workspace, job_counts

pytestmark = pytest.mark.rules

SCRIPTS = sorted((Path(__file__).parents[2] / "workflow/scripts").glob("*.py"))


def write_area(workspace: Workspace, name: str = "aoi.gpkg", crs: str = "EPSG:32630") -> None:
    """Write the area of six small tiles of the demo."""
    workspace.user.mkdir(parents=True, exist_ok=True)
    gpd.GeoDataFrame(geometry=[shapely.box(600010, 699690, 600310, 699990)], crs=crs).to_file(workspace.user / name)


@pytest.mark.parametrize("config", ["config/config.yaml", pytest.param("config/demo.yaml", marks=pytest.mark.heavy)])
def test_a_fresh_clone_plans_everything_without_network_or_labels(repository: Path, tmp_path: Path, config: str) -> None:
    workspace = Workspace.make(repository, tmp_path, config, "demo")
    if config == "config/demo.yaml":
        write_area(workspace)
    planned = workspace.planned()
    per_year_and_block = ("composite_s2", "composite_s1", "segment", "describe", "samples", "assistant", "labels", "mask")
    assert {planned[rule] for rule in (*per_year_and_block, "image_patches", "mask_patches")} == {8}
    assert planned["composite_dem"] == 4
    assert planned["search"] == 5
    assert planned["fetch"] == 20
    assert planned["assemble"] == 4
    assert planned["grid"] == planned["index"] == planned["verify"] == 1
    assert ("boundaries" in planned) == (config == "config/config.yaml")
    assert "huggingface" not in planned, "the shards are made on demand"
    assert not [rule for rule in planned if rule.startswith("map")], "the map is made on demand"


@pytest.mark.heavy
def test_targets_of_a_block_become_rules_where_they_are_named(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    write_area(workspace)
    stages = {name for name in workspace.snakemake("--list-target-rules").split() if name.startswith("patches")}
    assert stages == {"patches", "patches_2016", "patches_2022"}
    planned = workspace.planned("patches_2022_3", "masks_2016_1")
    assert (planned["image_patches"], planned["mask_patches"], planned["mask"]) == (1, 1, 2)
    assert "patches_2022_5" in workspace.snakemake("-n", "patches_2022_5", succeeds=False)


THREADS = """
import json, pathlib, sys
from smallmines.report import planned_jobs
planned_jobs.MOST_CORES = int(sys.argv[1])
print(json.dumps({job.rule: job.threads for job in planned_jobs._plan(pathlib.Path("config/demo.yaml"))}))
"""


@pytest.mark.parametrize(("cores", "threads"), [(2, 1), pytest.param(20, 2, marks=pytest.mark.heavy)])
def test_segmentations_of_all_blocks_and_years_share_the_cores(repository: Path, tmp_path: Path, cores: int, threads: int) -> None:
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    write_area(workspace)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "workflow")}
    command = [sys.executable, "-c", THREADS, str(cores)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    planned = json.loads(done.stdout.splitlines()[-1])
    assert (planned["segment"], planned["assistant"], planned["describe"], planned["doctor"]) == (threads, threads, 1, 2)


@pytest.mark.heavy
def test_released_masks_are_pasted_and_nothing_is_segmented_or_predicted(repository: Path, tmp_path: Path) -> None:
    """The plan is made offline, before anything is downloaded."""
    workspace = Workspace.make(repository, tmp_path, "masks.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["labels"] = {**values.get("labels", {}), "source": "released_masks"}
    (tmp_path / "masks.yaml").write_text(yaml.safe_dump(values))
    write_area(workspace)
    planned = workspace.planned()
    of_segments = {"segment", "describe", "samples", "decisions", "assistant", "labels", "candidates", "mask"}
    assert not of_segments & set(planned)
    assert planned["released"] == planned["label_quality"] == planned["index"] == planned["verify"] == planned["page"] == 1
    assert planned["released_mask"] == planned["mask_patches"] == planned["label_pictures"] == 8
    assert workspace.planned("masks_2016_1").keys() == {"grid", "released", "released_mask", "masks_2016_1"}


@pytest.mark.heavy
def test_there_is_nothing_to_annotate_with_released_masks(repository: Path, tmp_path: Path) -> None:
    """The target ends in three lines that name the key. That other targets are planned is tested above."""
    workspace = Workspace.make(repository, tmp_path, "annotate.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["labels"] = {**values.get("labels", {}), "source": "released_masks"}
    (tmp_path / "annotate.yaml").write_text(yaml.safe_dump(values))
    write_area(workspace)
    refusal = r"^expected  a run with segments to label .*\nfound     labels\.source released_masks: .*nothing to annotate\ndo        .+$"
    for words in (["annotate"], ["-n", "annotate_2016_2"]):
        output = workspace.snakemake(*words, succeeds=False)
        assert re.search(refusal, output, re.MULTILINE), output
        assert "Traceback" not in output
        assert "MissingRule" not in output
    assert not list((tmp_path / ".snakemake").glob("locks/*")), "the folder is not left locked"


@pytest.mark.heavy
def test_labels_of_a_release_are_drawn_where_people_gave_no_samples(repository: Path, tmp_path: Path) -> None:
    """The plan is made offline, before anything is downloaded."""
    workspace = Workspace.make(repository, tmp_path, "drawn.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["labels"] = {**values.get("labels", {}), "source": "released_samples"}
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump(values))
    write_area(workspace)
    planned = workspace.planned()
    assert planned["released"] == planned["label_quality"] == 1
    of_blocks = ("released_mask", "released_labels", "released_agreement", "segment", "samples", "assistant", "labels", "mask")
    assert {planned[rule] for rule in of_blocks} == {8}
    (workspace.user / "samples/2016").mkdir(parents=True)
    (workspace.user / "samples/2016/1.csv").write_text("x,y,label\n600020,699700,mining\n")
    jobs = workspace.snakemake("-n", "results/demo/people/2016/1/samples.parquet", "results/demo/people/2016/2/samples.parquet")
    assert (job_counts(jobs)["samples"], job_counts(jobs)["released_labels"]) == (2, 1)


def test_every_script_has_a_rule_and_stays_thin(repository: Path) -> None:
    text = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    for script in SCRIPTS:
        assert f'"../scripts/{script.name}"' in text
        assert f'*code("{script.stem}")' in text
        assert len(script.read_text().splitlines()) <= 22


def test_every_rule_declares_what_a_cluster_needs(repository: Path) -> None:
    for path in (repository / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in rule:
                name = rule.split(":")[0]
                for directive in ("log:", "benchmark:", "conda:", "threads:", "mem_mb", "runtime", "message:"):
                    assert directive in rule, f"rule {name} has no {directive}"


def test_sources_of_each_rule_are_the_listed_ones() -> None:
    """A change here is a change of what reruns what: look at it before you run `make generated`."""
    assert yaml.safe_load(list_sources.LIST.read_text()) == list_sources.sources_of_rules()
    assert list_sources.LIST.read_text() == list_sources.text()


def test_rules_right_of_the_masks_know_nothing_of_satellites_and_left_of_the_labels_nothing_of_labels() -> None:
    def modules(rule: str) -> str:
        return " ".join(code(rule))

    for rule in ("composite_s2", "composite_s1", "composite_dem", "segment", "describe"):
        assert "labels" not in modules(rule)
        assert "assistant" not in modules(rule)
    for rule in ("assemble", "mask_patches", "verify", "mask"):
        assert "archive" not in modules(rule)
        assert "sentinel" not in modules(rule)


@pytest.mark.heavy
def test_unknown_keys_stop_the_plan(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "wrong.yaml", "wrong")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["segmentation"] = {"spatialr": 5}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(values))
    output = workspace.snakemake("-n", succeeds=False)
    assert "segmentation.spatialr: unknown key, the nearest known one is `spatial_radius`" in output


@pytest.mark.heavy
def test_a_missing_or_doubled_area_stops_the_plan(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    output = workspace.snakemake("-n", succeeds=False)
    assert "one area of interest at resources/user/demo/aoi.gpkg" in output
    assert "found     none\n" in output
    assert "Traceback" not in output
    write_area(workspace)
    write_area(workspace, "aoi.geojson")
    assert "found     resources/user/demo/aoi.geojson, resources/user/demo/aoi.gpkg\n" in workspace.snakemake("-n", succeeds=False)


@pytest.mark.heavy
def test_a_run_is_checked_before_its_first_job_and_a_plan_is_not(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    write_area(workspace, crs="EPSG:32636")
    output = workspace.snakemake("grid", succeeds=False)
    assert "set grid.crs: EPSG:32636, the UTM zone 36N of the area" in output
    assert "nothing was run" in output
    assert "Traceback" not in output
    assert not (tmp_path / "logs").exists()
    assert workspace.planned("grid") == {"grid": 1}, "the folder is not left locked"


@pytest.mark.heavy
def test_braces_in_texts_are_texts_and_a_key_twice_is_none(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "braces.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["publish"] = {"title": "{x} <results> {{}}", "attributions": ["{y} <logs>", "{years}"], "description": "{z}", "funding": "{"}
    text = yaml.safe_dump(values)
    (tmp_path / "braces.yaml").write_text(text)
    write_area(workspace)
    assert workspace.planned()["doctor"] == 1
    (tmp_path / "braces.yaml").write_text(f"{text}run: demo\n")
    output = workspace.snakemake("-n", succeeds=False)
    assert "the key 'run' stands twice" in output
    assert "Traceback" not in output


@pytest.mark.heavy
def test_the_grid_of_a_released_folder_follows_names_and_places(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "given.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["grid"] |= {"source": "released_folder", "folder": "released", "tile_size": 16, "blocks": 1}
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(values))
    grid = "results/demo/grid/grid.json"
    write_area(workspace)
    assert workspace.planned(grid) == {"grid": 1}
    assert "none" in workspace.snakemake(grid, succeeds=False)

    def write(name: str, left: float, value: float = 0) -> None:
        geobox = GeoBox((16, 16), Affine(10, 0, left, 0, -10, 700000), "EPSG:32630")
        raster.write(tmp_path / "released/2016/IMAGE" / name, np.full((1, 16, 16), value, np.float32), geobox, -9999, ["B02"])

    write("IMG_GH_0007_2016.tif", 600000)
    workspace.snakemake(grid)
    assert read_lattice(tmp_path / grid).cells["tile_id"].tolist() == ["0007"]
    write("IMG_GH_0007_2016.tif", 600000, value=5)  # other pixels
    assert workspace.planned(grid) == {}
    write("IMG_GH_0008_2016.tif", 600160)
    assert workspace.planned(grid) == {"grid": 1}


def test_job_counts_reads_the_table() -> None:
    text = "Job stats:\njob      count\n-----  -------\ngrid         1\nall          1\ntotal        2\n\n"
    assert job_counts(text) == {"grid": 1}


@pytest.mark.heavy
def test_a_network_from_scratch_is_not_trained_again_for_the_word_unpretrained(repository: Path, tmp_path: Path) -> None:
    """It starts from random numbers with and without `allow_unpretrained`, under one name."""
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    path = workspace.folder / workspace.config
    model = f"results/{workspace.run}/benchmark/unet_rgb_plus_scratch/fixed/in_force/0/model.joblib"
    names = [*(f"pack/{name}" for name in FILES), "splits/in_force.parquet"]
    files = [workspace.results / "benchmark" / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    script = workspace.folder / "workflow/scripts/benchmark_train.py"
    script.write_text("from pathlib import Path\nfor path in snakemake.output:\n    Path(path).touch()\n")
    content = yaml.safe_load(path.read_text())
    for allowed in (False, True):
        section = {"dataset": "elsewhere", "splits": ["in_force"], "rows": [], "deep_rows": ["unet_rgb_plus_scratch/fixed"]}
        path.write_text(yaml.safe_dump(content | {"benchmark": {**section, "allow_unpretrained": allowed}}))
        if not allowed:
            workspace.snakemake(model)
        assert workspace.planned(model) == {}
