"""Test the prevalence sample on the miniature: a first run without it, draw, answers from the truth, the threshold that follows."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
import rasterio.windows

from miniature.annotators import truth_path
from place import correct
from smallmines.cli.console import read_config
from smallmines.core.files import read_json
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

FOLLOWING = {"assistant", "labels", "mask", "masks_2016_1"}


def test_the_threshold_follows_from_the_prevalence_sample(clone: Workspace) -> None:
    config = clone.folder / "small.yaml"
    config.write_text(config.read_text().replace("assistant: {", "assistant: {prevalence: sample, prevalence_points: 150, "))
    planned = clone.planned("masks_2016_1")
    assert set(planned) == FOLLOWING
    clone.snakemake("masks_2016_1")
    metrics = clone.results / "assistant/2016/1/metrics.json"
    before = read_json(metrics)
    assert before["prevalence"]["source"] == "estimate"
    assert before["prevalence"]["identifiable"] is False
    assert "none is checked in" in (clone.folder / "logs/small/assistant/2016-1.log").read_text()
    assert "--for prevalence" in before["prevalence"]["remedy"]
    where = ("--config", "small.yaml", "--year", "2016", "--block", "1", "--annotator", "A02")
    assert clone.smallmines("labels", "checkout", *where, "--dry-run").startswith("FIRST label the prevalence sample")
    clone.smallmines("labels", "sample", "--for", "prevalence", *where)
    assert clone.planned("masks_2016_1") == {}, "a draw alone changes nothing"
    true = answer(clone)
    told = clone.smallmines("labels", "checkin", "--config", "small.yaml", str(clone.user / "work/A02/2016-1-prevalence.gpkg"))
    assert "reference" in told
    planned = clone.planned("masks_2016_1")
    assert planned == dict.fromkeys(FOLLOWING, 1), "what is said of the sample is never a label"
    labels = pd.read_parquet(clone.results / "labels/2016/1.parquet")
    clone.snakemake("masks_2016_1")
    after = read_json(metrics)
    found = after["prevalence"]
    assert (found["source"], found["points"], found["settled"]) == ("sample", 150, 150)
    assert found["low"] <= true <= found["high"]
    assert found["high"] < 0.05  # 0.5 % of the block is mining: a few of the pixels
    assert after["predicted_share_of_clear_area"][f"{after['threshold']:g}"] == pytest.approx(found["share"], abs=0.01)
    assert after["forest"] == before["forest"]
    assert after["importances"] == before["importances"]
    now = pd.read_parquet(clone.results / "labels/2016/1.parquet")
    people = labels["provenance"] == "manual"
    assert people.any()
    assert (now["provenance"] == "manual").equals(people)
    assert now["label"][people].equals(labels["label"][people])
    assert not {"confirmed", "corrected", "adjudicated"} & set(now["provenance"])
    assert "FIRST" not in clone.smallmines("labels", "checkout", *where, "--dry-run")
    assert not (clone.user / "accuracy").exists()
    assert clone.planned("masks_2016_1") == {}
    config.write_text(config.read_text().replace("prevalence_points: 150", "prevalence_points: 300"))
    assert clone.planned("masks_2016_1") == {}, "the number is of a draw, and this one is made"
    assert "has 150 pixels and is drawn once" in clone.smallmines("labels", "status", "--config", "small.yaml")
    clone.snakemake("masks_2016_1", "--forcerun", "assistant")
    assert "assistant.prevalence_points 300 does not change it" in (clone.folder / "logs/small/assistant/2016-1.log").read_text()
    assert read_json(metrics)["prevalence"] == found


def answer(clone: Workspace) -> float:
    """Label the pixels by the truth; return the true share of mining in the segments of the block."""
    copy = clone.user / "work/A02/2016-1-prevalence.gpkg"
    centres = gpd.read_file(copy, layer="segments", fid_as_index=True).geometry.centroid
    with rasterio.open(truth_path(read_config(clone.folder / "small.yaml"), "2016", clone.folder)) as source:
        mined = [value[0] == 1 for value in source.sample(zip(centres.x, centres.y, strict=True))]
        with rasterio.open(clone.results / "segments/2016/1/segments.tif") as ids:
            segments = ids.read(1) > 0
            window = rasterio.windows.from_bounds(*ids.bounds, transform=source.transform)
        true = source.read(1, window=window.round_offsets().round_lengths()) == 1
    for fid, mining in zip(centres.index, mined, strict=True):
        correct(copy, int(fid), "mining" if mining else "not_mining")
    return float(true[segments].mean())
