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


@pytest.fixture
def place(tmp_path):
    place = make_place(tmp_path, year="2016", overlap=40)
    truth = annotators.truth_path(place.config, "2016", tmp_path)
    raster.write(truth, read_truth(place).astype(np.uint8), place.lattice.block("1"), 255, ["mask"])
    return place


def test_they_err_as_told(place):
    annotators.label(place, 1.0, 0, Errors(omit=0.3, commit=0.1))
    events = place.events()
    assert {event.annotator for event in events} == {"A01", "A02"}
    truth = dict(zip(place.features()["key"].tolist(), truth_of(place), strict=True))
    said = pd.DataFrame({"true": [truth[event.key] for event in events], "said": [event.label == "mining" for event in events]})
    assert len(events) == len(place.features()) + 40
    assert 1 - said.loc[said["true"], "said"].mean() == pytest.approx(0.3, abs=0.09)
    assert said.loc[~said["true"], "said"].mean() == pytest.approx(0.1, abs=0.03)
    assert {event.evidence for event in events} == {"simulated"}


def test_a_third_settles_disputes_and_the_next_round_is_later(place):
    annotators.label(place, 0.2, 0, Errors(omit=0.5, commit=0.3))
    first = max(event.instant for event in place.events())
    labels = decide_again(place)
    disputed = int((labels["provenance"] == "disputed").sum())
    assert disputed > 0
    (settled,) = annotators.settle_disputes(place)
    assert settled.counts["adjudicated"] == disputed
    labels = decide_again(place)
    own = (labels["provenance"] == "adjudicated").to_numpy()
    assert own.sum() == disputed
    assert (labels["label"].to_numpy()[own] == truth_of(place)[own]).all()
    assert annotators.settle_disputes(place) == []
    before = len(place.events())
    annotators.label(place, 0.2, 0)
    assert len(place.events()) > before
    assert min(event.instant for event in place.events()[before:]) > first


def test_the_same_round_gives_the_same_files(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        place = make_place(tmp_path / folder)
        truth = annotators.truth_path(place.config, "2016", place.root)
        raster.write(truth, read_truth(place).astype(np.uint8), place.lattice.block("1"), 255, ["mask"])
        annotators.label(place, 0.1, 7)
        names.append(sorted(path.name for path in (place.user / "events/2016/1").iterdir()))
    assert names[0] == names[1]


def test_the_accuracy_sample_is_looked_at_once(place):
    labels = decide_again(place)
    lut = np.r_[255, labels["label"].to_numpy(int) % 256].astype(np.uint8)
    raster.write(place.results / "masks/2016/1.tif", lut[place.segments()], place.lattice.block("1"), 255, ["mining"])
    (found,) = annotators.look_at_sample(place)
    assert found.counts["reference"] == len(place.references()) >= 200
    truth = read_truth(place)
    for event in place.references():
        col, row = ~place.lattice.block("1").transform @ (event.x, event.y)
        assert (event.label == "mining") == truth[int(row), int(col)]
    assert annotators.look_at_sample(place) == []


def test_without_labels_there_is_nothing_to_correct(place):
    with pytest.raises(UserError, match="no such file"):
        annotators.correct(place.config, root=place.root)  # 2022 has not been run
