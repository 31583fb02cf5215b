"""A miniature whose labels come from an imitated release: agreement where it was held out, and people who win over it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from place import correct, read
from smallmines.labels.released import held_out
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

KEYS = """
labels: {source: released_samples, seed: 2}
released: {path: release.zip, hold_out: 0.2}
"""
"""Four of the twelve tiles are held out, two of them with mines; the others have too few mines for a forest per block."""


@pytest.fixture
def released(clone: Workspace) -> Workspace:
    """A miniature with imagery and segments, an imitated release, and no samples of people."""
    keys = (
        (clone.folder / "small.yaml")
        .read_text()
        .replace("min_samples_split: [5]", "min_samples_split: [5], on_missing_class: pooled_model")
    )
    (clone.folder / "released.yaml").write_text(keys + KEYS)
    clone.world("release", "--config", "small.yaml", "--out", "release.zip")
    shutil.move(clone.user / "samples", clone.folder / "samples")
    return replace(clone, config="released.yaml")


def labels_of(run: Workspace, year: str, block: str) -> pd.DataFrame:
    labels = pd.read_parquet(run.results / f"labels/{year}/{block}.parquet")
    features = pd.read_parquet(run.results / f"segments/{year}/{block}/features.parquet")
    return labels.merge(features[["segment", "tile_id"]], on="segment")


def test_labels_from_a_release_and_people_who_correct_them(released: Workspace) -> None:
    planned = released.planned()
    assert planned["released"] == 1
    assert {planned[rule] for rule in ("released_mask", "released_labels", "released_agreement", "samples", "labels", "mask")} == {4}
    assert not {"grid", "search", "fetch", "composite_s2", "segment", "describe", "image_patches", "splits"} & set(planned)
    released.snakemake("--set-threads", "assistant=1")
    assert released.planned() == {}
    the_release_is_measured_where_it_was_held_out(released)
    the_queue_leaves_out_what_the_release_labels(released)
    a_correction_wins_and_runs_its_block_alone(released)
    samples_of_people_take_the_place_of_those_drawn(released)


def the_release_is_measured_where_it_was_held_out(run: Workspace) -> None:
    document = json.loads((run.results / "dataset/labels.json").read_text())
    print(json.dumps({year: values["released"] for year, values in document["years"].items()}, indent=1))
    assert (document["released"]["source"], document["released"]["address"]) == ("zip", "release.zip")
    index = pd.read_parquet(run.results / "dataset/index.parquet")
    held = held_out(sorted(set(index["tile_id"])), (), 0.2, 2)
    for year, values in document["years"].items():
        part, others = values["released"]["held_out"], values["released"]["others"]
        assert (part["tiles"], others["tiles"]) == (len(held), 12 - len(held)) == (4, 8)
        assert (values["released"]["tiles_without_mask"], values["released"]["masks_without_tile"]) == (0, 0)
        assert values["validated_share"] == 0
        assert abs(part["forest"] - part["mask"]) < 0.01, "tiles held out carry the forest's word"
        assert part["segments"] > 0.7
        assert others["segments"] - 0.03 < others["mask"] <= others["segments"], "as near as segments allow"
        assert others["mask"] > others["forest"] + 0.05
        for block in ("1", "2"):
            labels = labels_of(run, year, block)
            assert not (labels["provenance"] == "released")[labels["tile_id"].isin(held)].any()
            assert (labels["provenance"] == "released")[~labels["tile_id"].isin(held)].mean() > 0.9
    assert document["years"]["2022"]["released"]["held_out"]["forest"] > 0.3
    assert (index["share_released"][~index["tile_id"].isin(held)] > 0.8).all()
    card = (run.results / "dataset/README.md").read_text(encoding="utf-8")
    assert "**The labels come from a release**: the local archive release.zip, SHA-256" in card
    doctor = json.loads((run.results / "doctor.json").read_text())
    assert [finding for finding in doctor["findings"] if finding["severity"] == "error"] == []
    assert {finding["severity"] for finding in doctor["findings"] if finding["check"] == "nobody looked"} == {"note"}
    assert "That the masks agree with it proves nothing" in (run.results / "report.html").read_text(encoding="utf-8")


def the_queue_leaves_out_what_the_release_labels(run: Workspace) -> None:
    run.smallmines("labels", "checkout", "--config", run.config, "--year", "2022", "--block", "1", "--annotator", "A02", "--size", "200")
    copy = read(run.user / "work/A02/2022-1.gpkg").astype({"key": "uint64"})
    overlap = pd.concat(pd.read_csv(path, dtype={"key": "uint64"}) for path in (run.user / "overlap/2022").glob("1-*.csv"))
    waiting = labels_of(run, "2022", "1").merge(copy[~copy["key"].isin(overlap["key"])][["key"]], on="key")
    assert len(waiting) > 50
    assert set(waiting["provenance"]) <= {"predicted", "cloud"}
    assert "released" in run.smallmines("labels", "status", "--config", run.config)


def a_correction_wins_and_runs_its_block_alone(run: Workspace) -> None:
    where = ("--config", run.config, "--year", "2016", "--block", "2", "--annotator", "A01")
    run.smallmines("labels", "checkout", *where, "--tiles", "0011")
    path = run.user / "work/A01/2016-2.gpkg"
    before = labels_of(run, "2016", "2").set_index("key")
    copy = read(path).astype({"key": "uint64"})
    keys = before.index[(before["provenance"] == "released") & (before["label"] == 1) & (before["tile_id"] == "0011")]
    fid = int(copy.index[copy["key"].isin(keys) & (copy["prediction"] == "mining")][0])
    key = copy.loc[fid, "key"]
    assert copy.loc[fid, "previous"] == "mining (released)"
    correct(path, fid, "not_mining")
    run.smallmines("labels", "checkin", "--config", run.config, str(path))
    planned = run.planned()
    assert {planned[rule] for rule in ("decisions", "labels", "mask", "mask_patches", "released_agreement", "label_quality")} == {1}
    assert not {"released", "released_mask", "released_labels", "samples", "assistant", "image_patches"} & set(planned)
    run.snakemake("masks_2016_2")
    after = labels_of(run, "2016", "2").set_index("key")
    assert after.loc[key, ["label", "provenance", "who"]].tolist() == [0, "corrected", "A01"]
    assert (after.drop(key)["label"] == before.drop(key)["label"]).all()


def samples_of_people_take_the_place_of_those_drawn(run: Workspace) -> None:
    target = run.user / "samples/2016/1.gpkg"
    target.parent.mkdir(parents=True)
    shutil.copy2(Path(run.folder / "samples/2016/1.gpkg"), target)
    planned = run.planned("masks")
    assert (planned["samples"], planned["assistant"], planned["labels"]) == (1, 2, 2), "the blocks of the year share a forest"
    assert "released_labels" not in planned
    run.snakemake("masks_2016_1", "--set-threads", "assistant=1")
    labels = labels_of(run, "2016", "1")
    table = pd.read_parquet(run.results / "people/2016/1/samples.parquet").merge(labels, on="segment", suffixes=("_sample", ""))
    assert len(table) > 30
    assert (table["label"] == table["label_sample"]).all()
    assert set(table["provenance"]) == {"manual"}
    assert (labels["provenance"] == "released").mean() > 0.4
