"""Simulated annotators work through working copies, err as told, and a third settles what they disagree about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from miniature import annotators
from miniature.annotators import Errors
from place import decide_again, make_place, read_truth, truth_of
from smallmines.core import raster
from smallmines.core.errors import UserError

pytestmark = pytest.mark.heavy


@pytest.fixture
def block_year(tmp_path):
    block_year = make_place(tmp_path, year="2016", overlap=40)
    truth = annotators.truth_path(block_year.config, "2016", tmp_path)
    raster.write(truth, read_truth(block_year).astype(np.uint8), block_year.lattice.block("1"), 255, ["mask"])
    return block_year


def test_they_err_as_told(block_year):
    annotators.label(block_year, 1.0, 0, Errors(omit=0.3, commit=0.1))
    events = block_year.events()
    assert {event.annotator for event in events} == {"A01", "A02"}
    truth = dict(zip(block_year.features()["key"].tolist(), truth_of(block_year), strict=True))
    said = pd.DataFrame({"true": [truth[event.key] for event in events], "said": [event.label == "mining" for event in events]})
    assert len(events) == len(block_year.features()) + 40
    assert 1 - said.loc[said["true"], "said"].mean() == pytest.approx(0.3, abs=0.09)
    assert said.loc[~said["true"], "said"].mean() == pytest.approx(0.1, abs=0.03)
    assert {event.evidence for event in events} == {"simulated"}


def test_a_third_settles_disputes_and_the_next_round_is_later(block_year):
    annotators.label(block_year, 0.2, 0, Errors(omit=0.5, commit=0.3))
    first = max(event.instant for event in block_year.events())
    labels = decide_again(block_year)
    disputed = int((labels["provenance"] == "disputed").sum())
    assert disputed > 0
    (settled,) = annotators.settle_disputes(block_year)
    assert settled.counts["adjudicated"] == disputed
    labels = decide_again(block_year)
    own = (labels["provenance"] == "adjudicated").to_numpy()
    assert own.sum() == disputed
    assert (labels["label"].to_numpy()[own] == truth_of(block_year)[own]).all()
    assert annotators.settle_disputes(block_year) == []
    before = len(block_year.events())
    annotators.label(block_year, 0.2, 0)
    assert len(block_year.events()) > before
    assert min(event.instant for event in block_year.events()[before:]) > first


def test_the_same_round_gives_the_same_files(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        block_year = make_place(tmp_path / folder)
        truth = annotators.truth_path(block_year.config, "2016", block_year.root)
        raster.write(truth, read_truth(block_year).astype(np.uint8), block_year.lattice.block("1"), 255, ["mask"])
        annotators.label(block_year, 0.1, 7)
        names.append(sorted(path.name for path in (block_year.user / "events/2016/1").iterdir()))
    assert names[0] == names[1]


def test_the_accuracy_sample_is_looked_at_once(block_year):
    labels = decide_again(block_year)
    lut = np.r_[255, labels["label"].to_numpy(int) % 256].astype(np.uint8)
    raster.write(block_year.results / "masks/2016/1.tif", lut[block_year.segments()], block_year.lattice.block("1"), 255, ["mining"])
    (found,) = annotators.look_at_sample(block_year)
    assert found.counts["reference"] == len(block_year.references()) >= 200
    truth = read_truth(block_year)
    for event in block_year.references():
        col, row = ~block_year.lattice.block("1").transform @ (event.x, event.y)
        assert (event.label == "mining") == truth[int(row), int(col)]
    assert annotators.look_at_sample(block_year) == []


def test_without_labels_there_is_nothing_to_correct(block_year):
    with pytest.raises(UserError, match="no such file"):
        annotators.correct(block_year.config, root=block_year.root)  # 2022 has not been run


def test_the_prevalence_sample_is_looked_at_once(block_year):
    (found,) = annotators.look_at_sample(block_year, "prevalence")
    assert found.counts["reference"] == len(block_year.references("prevalence")) == 200
    truth = read_truth(block_year)
    for event in block_year.references("prevalence"):
        col, row = ~block_year.lattice.block("1").transform @ (event.x, event.y)
        assert (event.label == "mining") == truth[int(row), int(col)]
    assert annotators.look_at_sample(block_year, "prevalence") == []
    assert block_year.references() == block_year.events() == []


@pytest.mark.parametrize(("prevalence", "kinds"), [("sample", ["prevalence", "accuracy"]), ("estimate", ["accuracy"])])
def test_a_round_begins_with_the_prevalence_sample(tmp_path, monkeypatch, prevalence, kinds):
    calls = []
    monkeypatch.setattr(annotators, "settle_disputes", lambda _: [])
    monkeypatch.setattr(annotators, "label", lambda *_: calls.append("review") or [])
    monkeypatch.setattr(annotators, "look_at_sample", lambda _, kind="accuracy": calls.append(kind) or [])
    config = make_place(tmp_path, assistant={"prevalence": prevalence}).config
    assert annotators.correct(config, root=tmp_path) == []
    assert calls == [*kinds[:-1], "review", kinds[-1]] * 4
