"""The stop signal: rounds are counted per person, and the advice follows what they changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from place import annotate, decide_again, make_place
from smallmines.annotation.rounds import Round, advice, latest, progress, rounds_of, training_labels
from smallmines.core.files import write_json
from smallmines.core.layout import Layout
from smallmines.core.product import S2_BANDS
from smallmines.labels import tables
from smallmines.labels.event_files import Event
from smallmines.labels.forest import apart_of
from smallmines.segment.context import CONTEXT


def event(key, who, base, day, how="confirmed", label="mining"):
    return Event(2016, "1", key, 0.0, 0.0, label, how, who, f"2024-01-{day:02d}T00:00:00Z", base=base)


def test_the_nth_copy_of_a_person_is_his_nth_round():
    found = rounds_of(
        [
            event(1, "A01", "a", 1),
            event(2, "A01", "a", 5, "corrected"),
            event(3, "A01", "b", 6),
            event(4, "A02", "c", 9, label="unsure", how="corrected"),
            event(5, "J01", "d", 9, "adjudicated"),
        ]
    )
    assert found.set_index("key")["round"].to_dict() == {1: 1, 2: 1, 3: 2, 4: 1}
    assert found.set_index("key")["corrected"].to_dict() == {1: False, 2: True, 3: False, 4: True}


def test_a_withdrawn_decision_is_none():
    found = rounds_of(
        [event(1, "A01", "a", 1, "corrected"), event(1, "A01", "a", 2, "corrected", label="withdrawn"), event(2, "A01", "a", 3)]
    )
    assert found["corrected"].tolist() == [True, False, False]
    assert found["label"].tolist() == [1, -2, 1]
    assert latest(found.assign(segment=found["key"]))["key"].tolist() == [2]
    two = rounds_of([event(1, "A01", "a", 1), event(1, "A02", "b", 2), event(1, "A02", "b", 3, label="withdrawn")])
    assert latest(two.assign(segment=two["key"]))["who"].tolist() == ["A01"]


@pytest.mark.parametrize(
    ("rounds", "differ", "words"),
    [
        ([Round(0, 0, 0, 0.8)], 0.1, "no round yet"),
        ([Round(0, 0, 0, 0.8), Round(1, 100, 20, 0.85)], 0.1, "go on: the last round changed 20.0 %"),
        ([Round(0, 0, 0, 0.8), Round(1, 100, 8, 0.85)], 0.1, "enough: the last round changed 8.0 % of what was looked at, and two people"),
        ([Round(0, 0, 0, 0.8), Round(1, 100, 8, 0.85)], float("nan"), "go on"),
        ([Round(0, 0, 0, 0.8), Round(1, 9, 5, 0.85), Round(2, 9, 5, 0.803)], float("nan"), "enough: the forest gained +0.003"),
    ],
)
def test_advice(rounds, differ, words):
    assert advice(rounds, differ).startswith(words)


def test_with_context_nothing_near_a_fold_trains_its_forest(tmp_path, monkeypatch):
    """Windows of 21 px reach over the edge of a tile of 32: what lies nearer to the tile that is left out teaches nothing."""
    block_year = make_place(tmp_path, assistant={"features": "context", "folds": 3}, queue={"size": 2000})
    truth = annotate(block_year, 0.0)
    features = block_year.features()
    around = pd.DataFrame({"segment": features["segment"]}).assign(**dict.fromkeys(CONTEXT, np.float32(0.5)))
    around.to_parquet(block_year.layout.context("2016", "1"), index=False)
    chosen = np.sort(np.concatenate([np.flatnonzero(truth == value)[::7] for value in (True, False)]))
    own = features.iloc[chosen]
    samples = pd.DataFrame({"segment": own["segment"], "label": truth[chosen].astype("int8"), "subclass": "", "tile_id": own["tile_id"]})
    tables.write(block_year.results / "people/2016/1/samples.parquet", samples.assign(who="").reset_index(drop=True), "samples")
    forest = {"n_estimators": 10, "max_depth": 4, "min_samples_split": 5}
    write_json(block_year.results / "assistant/2016/1/metrics.json", {"threshold": 0.5, "forest": forest})
    distances = []

    def watched(points, others, y, distance):
        kept = apart_of(points, others, y, distance)
        distances.append(float(np.abs(points[kept][:, None] - others).max(axis=2).min()))
        return kept

    monkeypatch.setattr("smallmines.annotation.rounds.apart_of", watched)
    progress(block_year)
    assert len(distances) == 3
    assert min(distances) >= 210


@pytest.mark.heavy
def test_a_forest_learns_from_decisions(tmp_path):
    """Sixty samples of noisy segments teach little; people's decisions on all the others teach more."""
    block_year = make_place(tmp_path, queue={"size": 2000})
    truth = annotate(block_year, 0.0)
    features = block_year.features()
    rng = np.random.default_rng(0)
    bands = list(S2_BANDS)
    features[bands] = (features[bands] + rng.normal(0, 700, (len(features), len(bands)))).clip(1).astype(np.float32)
    features.to_parquet(block_year.product(Layout.features), index=False)
    own = features[np.isin(np.arange(len(features)), [*np.flatnonzero(truth)[:30], *np.flatnonzero(~truth)[:30]])]
    label = truth[own["segment"].to_numpy(int) - 1].astype("int8")
    samples = pd.DataFrame({"segment": own["segment"], "label": label, "subclass": "", "tile_id": own["tile_id"], "who": ""})
    tables.write(block_year.results / "people/2016/1/samples.parquet", samples.reset_index(drop=True), "samples")
    forest = {"n_estimators": 100, "max_depth": 8, "min_samples_split": 5}
    write_json(block_year.results / "assistant/2016/1/metrics.json", {"threshold": 0.5, "forest": forest})
    decide_again(block_year)
    annotate(block_year, 1.0)
    first, last = progress(block_year)
    assert (first.number, first.decisions, last.number) == (0, 0, 1)
    assert last.decisions == len(block_year.events()) > 1000
    assert 0.5 < first.f1 < last.f1 - 0.03 < 1


def test_decisions_outweigh_samples_in_what_trains_a_forest():
    samples, decided = pd.DataFrame({"segment": [1, 3], "label": [1, 0]}), pd.DataFrame({"segment": [3, 4], "label": [1, 0]})
    assert training_labels(5, samples, decided).tolist() == [1, -1, 1, 0, -1]
    assert training_labels(5, samples, decided[:0]).tolist() == [1, -1, 0, -1, -1]
