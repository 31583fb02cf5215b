"""Test which jobs an edit of a finished miniature reruns, and no others. Each test that edits has its own clone."""

from __future__ import annotations

import json
import os
import time

import geopandas as gpd
import pytest

from e2e.edits import edit_one_label, patches
from workspace import Workspace, job_counts, messages

pytestmark = pytest.mark.e2e


def test_a_touch_a_remark_or_a_rewrite_with_the_same_content_reruns_nothing(clone: Workspace) -> None:
    touched, turned, large = (clone.user / f"samples/{name}.gpkg" for name in ("2016/1", "2016/2", "2022/1"))
    later = time.time() + 100
    os.utime(touched, (later, later))
    for source in (clone.folder / "workflow").rglob("*.py"):
        source.write_text(source.read_text() + "\n# a remark\n")
    for name, old, new in (
        ("core/raster.py", "Return the grid of an open dataset.", "Return the grid of a dataset that is open."),  # a docstring
        ("composite/sentinel2.py", "lower sentinel2.max_datatakes", "lower the number sentinel2.max_datatakes"),  # an error
        ("segment/features.py", "segments described", "segments have features"),  # a line of the log
    ):
        module = clone.folder / "workflow/smallmines" / name
        assert old in module.read_text()
        module.write_text(module.read_text().replace(old, new))
    keys = clone.folder / "workflow/smallmines/config/sections.py"
    keys.write_text(keys.read_text().replace('description="Name of the run;', 'description="The name of the run;'))
    before = turned.read_bytes()
    samples = gpd.read_file(turned)
    turned.unlink()
    samples.iloc[::-1].to_file(turned, engine="pyogrio")
    assert turned.read_bytes() != before
    samples = gpd.read_file(large)
    large.unlink()
    samples.assign(note="looked at again " * 1000).to_file(large, engine="pyogrio")
    assert large.stat().st_size > 1_000_000, "files over 1 MB are not compared by checksum"
    assert clone.planned() == {}


def test_one_edited_label_plans_its_chain_and_nothing_else(clone: Workspace) -> None:
    edit_one_label(clone, "2016", "2")
    plan = clone.snakemake("-n")
    planned = job_counts(plan)
    assert planned == {
        "samples": 1,
        "assistant": 1,
        "labels": 1,
        "mask": 1,
        "mask_patches": 1,
        "measure_masks": 1,
        "contradictions": 1,
        "index_block": 1,
        "assemble": 1,
        "label_quality": 1,
        "index": 1,
        "leakage": 1,
        "software": 1,
        "documents": 1,
        "catalogue": 1,
        "seal": 1,
        "verify": 1,
        "doctor": 1,
        "page": 1,
        "label_pictures": 1,
        "plots": 1,
    }
    lines = messages(plan)
    assert len(lines) == sum(planned.values())
    assert not [line for line in lines if "2022" in line or "block 1" in line]


@pytest.mark.heavy
def test_one_edited_label_changes_its_masks_and_nothing_else(clone: Workspace) -> None:
    before = patches(clone)
    image = next((clone.results / "dataset/2016/IMAGE").glob("*.tif"))
    inode = image.stat().st_ino
    edit_one_label(clone, "2016", "2")
    clone.snakemake()
    after = patches(clone)
    changed = {name for name in before if before[name] != after[name]}
    cells = gpd.read_parquet(clone.results / "grid/fishnet.parquet")
    own = {f"MASK_GH_{name}_2016.tif" for name in cells.loc[cells["block"] == "2", "tile_id"]}
    assert changed <= own
    assert image.stat().st_ino == inode
    edit_one_label(clone, "2016", "2")
    clone.snakemake(*(f"results/small/dataset/{year}/{kind}.sha256" for year in ("2016", "2022") for kind in ("IMAGE", "MASK")))
    assert patches(clone) == before, "the edit taken back must give the old bytes"


@pytest.mark.heavy
def test_frozen_splits_count_in_a_run_that_makes_masks_again(clone: Workspace) -> None:
    """An edit of people's files that only jobs after the masks read takes effect in the same run."""
    clone.smallmines("splits", "freeze", "--config", "small.yaml")
    edit_one_label(clone, "2016", "2")
    planned = clone.planned()
    assert (planned["mask"], planned["splits"], planned["index"]) == (1, 1, 1)


@pytest.mark.heavy
def test_a_new_grid_is_searched_and_fetched_for_at_once(clone: Workspace) -> None:
    """The grid is an `ancient` input of both: when it is made anew, their own parameters count all the same."""
    config = clone.folder / clone.config
    assert "blocks: 2" in config.read_text()
    config.write_text(config.read_text().replace("blocks: 2", "blocks: 1"))
    planned = clone.planned("composites_2016_1")
    assert planned["grid"] == planned["composite_s2"] == 1
    assert (planned["search"], planned["fetch"]) == (5, 3)


def test_an_edited_module_reruns_its_users(clone: Workspace) -> None:
    with (clone.folder / "workflow/smallmines/labels/mask.py").open("a") as module:
        module.write("\nEDITED = True\n")
    plan = clone.snakemake("-n")
    planned = job_counts(plan)
    assert planned["mask"] == 4
    assert not {"composite_s2", "segment", "samples", "assistant", "labels", "image_patches", "search", "fetch", "grid"} & set(planned)
    assert "smallmines/labels/mask.py" in plan or "Params have changed" in plan


@pytest.mark.heavy
def test_an_edit_of_the_fetching_code_queries_nothing_again(clone: Workspace) -> None:
    with (clone.folder / "workflow/smallmines/archive/search.py").open("a") as module:
        module.write("\nEDITED = True\n")
    assert set(clone.planned()) == {"coverage", "covered"}, "which look at the manifests again, and ask no archive"


@pytest.mark.heavy
def test_a_raised_number_of_fetch_reads_again_and_taken_back_it_reads_nothing(clone: Workspace) -> None:
    rerun, target = clone.folder / "workflow/smallmines/core/rerun.py", "results/small/fetched/static/1/dem.json"
    code = rerun.read_text()
    before = json.loads((clone.folder / target).read_text())["items"][0]["files"]["DEM"]
    stamp = (clone.folder / before).stat().st_mtime_ns
    rerun.write_text(code.replace('"fetch": 1', '"fetch": 2'))
    planned = clone.planned()
    assert planned["fetch"] == 10
    assert "search" not in planned
    clone.snakemake(target, "--allowed-rules", "fetch")
    after = json.loads((clone.folder / target).read_text())["items"][0]["files"]["DEM"]
    assert after != before
    assert (clone.folder / after).is_file()
    rerun.write_text(code)
    clone.snakemake(target, "--allowed-rules", "fetch")
    assert json.loads((clone.folder / target).read_text())["items"][0]["files"]["DEM"] == before
    assert (clone.folder / before).stat().st_mtime_ns == stamp


@pytest.mark.heavy
def test_single_targets(miniature: Workspace) -> None:
    assert set(miniature.planned("masks_2016_2", "--forcerun", "mask")) == {"mask", "masks_2016_2"}
    assert miniature.planned("composites_2022", "--forcerun", "composite_s2")["composite_s2"] == 2


@pytest.mark.heavy
def test_removed_pixels_make_nothing_run_again_and_a_label_edit_needs_none(clone: Workspace) -> None:
    software = clone.results / "software.json"
    before = software.read_bytes()
    [removed] = json.loads(clone.smallmines("pixels", "--remove", "--run", "small", "--json"))
    assert removed["files"] > 300
    assert (removed["gb"] > 0.03, removed["files_kept"]) == (True, 0)
    cached = [path for path in (clone.folder / "resources/automatic/pixels").glob("*/*.tif")]
    assert (cached, clone.planned()) == ([], {})
    clone.snakemake("results/small/software.json", "--forcerun", "software")
    assert software.read_bytes() == before, "the versions of removed pixels are known"
    output = clone.snakemake("results/small/composites/2016/1/s1.tif", "--forcerun", "composite_s1", succeeds=False)
    assert "missing, first resources/automatic/pixels/" in output
    assert "delete results/small/fetched/2016/1/s1.json and run again" in output


@pytest.mark.heavy
def test_what_a_failed_job_removed_is_made_again_with_all_that_follows(clone: Workspace) -> None:
    samples = clone.user / "samples/2016/2.gpkg"
    table = gpd.read_file(samples)
    samples.unlink()
    table.assign(label=["mime", *table["label"].iloc[1:]]).to_file(samples, engine="pyogrio")
    assert "'mime'" in clone.snakemake(succeeds=False)
    assert not (clone.results / "people/2016/2/samples.parquet").exists()
    (clone.results / "masks/2016/1.tif").unlink()  # by hand
    planned = clone.planned()
    assert [planned[rule] for rule in ("samples", "assistant", "mask", "mask_patches", "doctor")] == [1, 1, 2, 2, 1]
    assert "segment" not in planned
    assert "'mime'" in clone.snakemake(succeeds=False), "the same refusal, not nothing to be done"
