"""The estimate of the prevalence: mixtures of known shares, samples that are typical and samples that are not, edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_of_segments import make_block
from sections import Assistant
from smallmines.core.files import read_json
from smallmines.labels import assistant, forest, prevalence, tables
from smallmines.labels.feature_table import PAPER, matrix
from smallmines.labels.threshold import ClearSegments

SETTINGS = Assistant(trees=(60,), max_depth=(10,), min_samples_split=(5,))
PARAMS = {"n_estimators": 60, "max_depth": 10, "min_samples_split": 5}
MIX = (0.6, 0.35, 0.05)
NAMES = np.array(["", "crops", "forest", "sand"], object)


def land(rng, count, share, mix=MIX):
    """Features and kind (0 mining) of four surfaces; sand looks like mining."""
    centres = np.array([[2.0, 2, 0, 0], [0, 0, 0, 0], [-2, 0, 1, 0], [1.2, 1, 1, 0]])
    kind = np.where(rng.random(count) < share, 0, 1 + rng.choice(3, count, p=mix))
    return (centres[kind] + rng.normal(0, 0.7, (count, 4))).astype(np.float32), kind


def case(seed, share, numbers, named=True, count=12_000):
    """Samples (`numbers` of each kind) and segments, as `estimate` takes them."""
    rng = np.random.default_rng(seed)
    x, kind = land(rng, count, share)
    area = rng.integers(3, 20, count).astype(np.float64)
    chosen = np.concatenate([rng.choice(np.flatnonzero(kind == one), number, replace=False) for one, number in enumerate(numbers)])
    y = (kind[chosen] == 0).astype(np.int8)
    names = NAMES[kind[chosen]] if named else np.full(len(chosen), "", object)
    training = forest.Training(
        x[chosen], y, names, np.arange(len(chosen)).astype(str).astype(object), area[chosen], np.zeros((len(chosen), 2))
    )
    label = np.full(count, -1, np.int8)
    label[chosen] = y
    truth = float(area[kind == 0].sum() / area.sum())
    return training, ClearSegments(x, area, np.zeros((count, 2)), label), truth


@given(shares=st.lists(st.floats(0.05, 1), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_maximise_finds_the_shares_of_a_known_mixture_by_area(shares, seed):
    """Exact densities: the shares of the area come back, whatever they are, and those of the number do not count."""
    rng = np.random.default_rng(seed)
    true = np.array(shares) / sum(shares)
    kind = rng.choice(len(true), 20_000, p=true)
    area = 1.0 + 3 * (kind == 0)
    x = 3.0 * kind + rng.normal(size=kind.size)
    density = np.exp(-((x[:, None] - 3.0 * np.arange(len(true))) ** 2) / 2)
    estimated = prevalence.maximise(density, area)
    assert estimated == pytest.approx(np.bincount(kind, area, len(true)) / area.sum(), abs=0.015)
    assert estimated.sum() == pytest.approx(1)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.06, 0.4])
def test_samples_of_other_shares_than_the_land(named, share):
    """Look-alikes are a third of the negatives where they are a twentieth of the land."""
    training, clear, truth = case(3, share, (150, 100, 100, 100), named)
    estimated = prevalence.estimate(training, PARAMS, clear, 0, 2)
    assert estimated.identifiable
    assert estimated.details["types_from"] == ("subclass" if named else "clusters")
    assert 1 / 1.5 < estimated.share / truth < 1.5
    assert estimated.low <= truth <= estimated.high
    assert estimated.remedy == ""


def test_hard_negatives_alone_are_not_identifiable(caplog):
    training, clear, truth = case(4, 0.06, (200, 0, 0, 200))
    estimated = prevalence.find_prevalence(training, PARAMS, clear, SETTINGS, 2)
    assert not estimated.identifiable
    assert estimated.details["misfit"] > 0.2
    assert estimated.low <= truth <= estimated.high
    assert estimated.document()["remedy"] == prevalence.REMEDY
    assert "not identifiable: the samples are not typical of the land" in caplog.text


def test_classes_that_look_alike_are_not_identifiable():
    training, clear, _ = case(5, 0.06, (60, 30, 20, 10), named=False)
    shuffled = replace(training, x=np.random.default_rng(0).permutation(training.x))
    estimated = prevalence.estimate(shuffled, PARAMS, clear, 0, 2)
    assert not estimated.identifiable
    assert estimated.high > prevalence.WIDEST * estimated.low
    assert "too few or too alike" in estimated.details["why"] or "not typical" in estimated.details["why"]


def test_sampled_segments_are_known():
    """Where all was sampled nothing is estimated; nothing is below what was sampled as mining."""
    training, clear, _ = case(6, 0.1, (60, 50, 50, 20))
    every = clear.label >= 0
    all_known = ClearSegments(clear.x[every], clear.area[every], clear.probabilities[every], clear.label[every])
    estimated = prevalence.estimate(training, PARAMS, all_known, 0, 1)
    area, label = all_known.area, all_known.label
    assert estimated.share == estimated.low == estimated.high == pytest.approx(area[label == 1].sum() / area.sum())
    sampled = clear.area[clear.label == 1].sum() / clear.area.sum()
    estimated = prevalence.estimate(training, PARAMS, clear, 0, 1)
    assert sampled <= estimated.low + 1e-4
    assert estimated.details["sampled_share"] == pytest.approx(sampled, abs=1e-4)


def test_no_mining_in_the_area():
    """Samples of another block: the share is near 0, and its interval holds 0."""
    training, _, _ = case(7, 0.1, (150, 100, 100, 100))
    x, _ = land(np.random.default_rng(8), 8000, 0.0)
    clear = ClearSegments(x, np.ones(8000), np.zeros((8000, 2)), np.full(8000, -1, np.int8))
    estimated = prevalence.estimate(training, PARAMS, clear, 0, 2)
    assert estimated.share < 0.015
    assert estimated.low == 0
    assert not estimated.identifiable


def test_five_samples_of_a_class():
    training, clear, truth = case(9, 0.1, (5, 2, 2, 1))
    estimated = prevalence.estimate(training, PARAMS, clear, 0, 1)
    assert estimated.details["types"] == 1
    assert estimated.low <= truth <= estimated.high
    assert not estimated.identifiable
    assert estimated.details["why"] == "one class has 5 samples, fewer than 10"


def test_few_mines_among_many_samples_and_wide_intervals_are_not_identifiable():
    types, fits = prevalence.Types(np.zeros(3, np.int64), "clusters", 1), prevalence.Misfit(0.0, 0.1)
    assert prevalence.judged(0.3, (0.1, 0.6), fits, types, 0.0, 10).identifiable
    few = prevalence.judged(0.1, (0.05, 0.15), fits, types, 0.01, 9)
    assert (few.identifiable, few.low, few.high) == (False, 0.01, 0.3)
    sampled = prevalence.judged(0.008, (0.008, 0.0114), fits, types, 0.0079, 100)
    assert (sampled.identifiable, sampled.low) == (False, 0.0079)
    assert sampled.high == pytest.approx(0.0228)
    assert "nearly all mining that the samples tell of was sampled" in sampled.details["why"]
    assert prevalence.judged(0.008, (0.008, 0.0114), fits, types, 0.0055, 100).identifiable
    wide = prevalence.judged(0.8, (0.45, 1.0), fits, types, 0.0, 100)
    assert not wide.identifiable
    assert wide.details["why"] == "the samples of the two classes are too few or too alike"


def test_the_same_from_any_number_of_threads_and_trees_that_see_every_sample():
    training, clear, _ = case(10, 0.1, (40, 30, 30, 20), count=3000)
    few = {**PARAMS, "n_estimators": 3}  # a sample is in all bags of three trees in one of four cases
    with pytest.warns(UserWarning, match="out-of-bag|OOB"):
        one, three = (prevalence.estimate(training, few, clear, 0, threads) for threads in (1, 3))
    assert one == three
    assert 0 < one.share < 1


def test_some_trees_predict_as_out_of_bag_ones_do():
    rng = np.random.default_rng(0)
    x, kind = land(rng, 4000, 0.3)
    y = (kind == 0).astype(np.int8)
    model = forest.fit(x[:1500], y[:1500], PARAMS, 0, 1, oob=True)
    some = forest.predict_by_some(model, x[1500:], 0, 2)
    assert some.sum(axis=1) == pytest.approx(1, abs=2e-4)
    all_trees = model.predict_proba(x[1500:])
    assert some.mean(axis=0) == pytest.approx(all_trees.mean(axis=0), abs=0.005)
    wrong = y[1500:] - some[:, 1]
    oob_wrong = y[:1500] - model.oob_decision_function_[:, 1]
    assert np.mean(wrong**2) == pytest.approx(np.mean(oob_wrong**2), abs=0.012)
    assert np.mean(wrong**2) > np.mean((y[1500:] - all_trees[:, 1]) ** 2)


def test_interval_by_hand():
    low, high = prevalence.interval(0.1, 0.01, 0.02, 100)
    assert low == pytest.approx(0.1 - np.sqrt(0.025**2 + 0.03**2 + 0.02**2))
    assert high == pytest.approx(0.1 + np.sqrt(0.025**2 + 0.03**2 + 0.005**2))
    assert prevalence.interval(0.03, 0.05, 0.02, 100)[0] == 0.02
    assert prevalence.interval(0.9, 0.2, 0.0, 100)[1] == 1


def test_misfit_by_hand():
    """Samples that all lie above the land differ by one half, the same rows by nothing; areas count."""
    x = np.array([[1.0], [2], [3]], np.float32)
    same = prevalence.Described(np.zeros((3, 2)), np.ones(3), x)
    code = np.array([0, 1, 1])
    assert prevalence.misfit(same, code, same, np.array([1 / 3, 2 / 3])).value == pytest.approx(0)
    above = prevalence.Described(np.zeros((3, 2)), np.ones(3), x + 10)
    assert prevalence.misfit(above, code, same, np.array([0.5, 0.5])).value == pytest.approx(0.5)
    heavy = prevalence.Described(np.zeros((3, 2)), np.array([1.0, 0, 0]), x)
    few = prevalence.misfit(same, code, heavy, np.array([1.0, 0.0]))
    assert few == (pytest.approx(0), pytest.approx(0.05 + 0.45 * np.sqrt(2)))  # one sample and one segment count


def test_types_are_subclasses_or_clusters():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    y = np.repeat([1, 0], 100).astype(np.int8)
    subclass = np.array([""] * 100 + ["forest"] * 50 + ["water"] * 45 + ["roof"] * 5, object)
    named = prevalence.types_of(x, y, subclass, 0)
    assert (named.source, named.number) == ("subclass", 2)
    assert np.bincount(named.code).tolist() == [100, 55, 45]
    assert prevalence.types_of(x, y, np.full(200, "", object), 0).source == "clusters"


@pytest.mark.parametrize("defect", ["never clear", "one tile"])
def test_a_block_never_seen_clearly_and_samples_of_one_tile_only(tmp_path, defect):
    """Where no segment is clear all count. Samples of one tile train a forest only with one fold, which settings do not allow."""
    made = make_block(tmp_path, share=0.1)
    rng = np.random.default_rng(0)
    rows = np.sort(np.concatenate([rng.choice(np.flatnonzero(made.truth == value), 50, replace=False) for value in (0, 1)]))
    table = made.features.iloc[rows][["segment", "tile_id"]].reset_index(drop=True)
    samples = table.assign(label=made.truth[rows], subclass="", who="")[["segment", "label", "subclass", "tile_id", "who"]]
    features = made.features.copy()
    if defect == "never clear":
        features["clear_share"] = np.float32(0)
        label = np.full(len(features), -1, np.int8)
        label[samples["segment"].to_numpy(np.int64) - 1] = samples["label"]
        clear = assistant.clear_segments(features, matrix(features, PAPER), np.zeros((len(features), 2)), samples)
        assert len(clear.area) == len(features)
        assert (clear.label == label).all()
    else:
        features["tile_id"] = "0001"
    training = forest.training_of({"1": samples}, {"1": features}, lambda block: matrix({"1": features}[block], PAPER))
    clear = assistant.clear_segments(features, matrix(features, PAPER), np.zeros((len(features), 2)), samples)
    estimated = prevalence.estimate(training, PARAMS, clear, 0, 1)
    assert estimated.low <= made.truth.mean() <= estimated.high


def test_the_file_says_what_to_do(tmp_path, monkeypatch):
    made = make_block(tmp_path, share=0.1)
    rows = np.sort(np.concatenate([np.flatnonzero(made.truth == value)[:40] for value in (0, 1)]))
    table = made.features.iloc[rows][["segment", "tile_id"]].reset_index(drop=True)
    samples = table.assign(label=made.truth[rows], subclass="", who="")[["segment", "label", "subclass", "tile_id", "who"]]
    tables.write(tmp_path / "samples.parquet", samples, "samples")
    monkeypatch.setattr(prevalence, "misfit", lambda *_: prevalence.Misfit(0.4, 0.1))
    outputs = assistant.Outputs(tmp_path / "probabilities.parquet", tmp_path / "metrics.json", tmp_path / "model.joblib")
    paths = {"1": str(tmp_path / "features.parquet")}, {}, {"1": str(tmp_path / "samples.parquet")}
    assistant.assist("1", assistant.Inputs(*paths, tmp_path / "grid.json"), SETTINGS, 1, outputs)
    estimated = read_json(tmp_path / "metrics.json")["prevalence"]
    assert estimated["identifiable"] is False
    assert estimated["why"].startswith("the samples are not typical of the land (misfit 0.400")
    assert estimated["remedy"] == prevalence.REMEDY
    assert estimated["low"] == estimated["sampled_share"] <= estimated["share"] <= estimated["high"]


# --- wrong labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.0, 0.02])
def test_some_wrong_labels_do_not_take_mining_away(wrong):
    """Of 600 samples that are no mining, twelve are: unnoticed, they would explain 2 of the 5 % of mining."""
    training, clear, truth = case(2, 0.05, [300, 200, 200, 200])
    rng = np.random.default_rng(1)
    y = np.where(rng.random(len(training.y)) < wrong, 1 - training.y, training.y).astype(np.int8)
    label = clear.label.copy()
    label[clear.label >= 0] = -1  # the land that was sampled is a part of the land as any other
    estimated = prevalence.estimate(replace(training, y=y), PARAMS, replace(clear, label=label), 0, 1)
    assert estimated.share == pytest.approx(truth, rel=0.25)
    assert estimated.low <= truth <= estimated.high
    assert estimated.details["contested_samples"] < 40


@pytest.mark.parametrize("wrong", [0, 6])
def test_the_land_is_read_with_and_without_contested_samples(wrong, monkeypatch):
    """Whether contested labels are wrong or look-alikes: the interval covers both readings, the share is that without them."""
    training, clear, truth = case(6, 0.06, (200, 130, 130, 130))
    y = training.y.copy()
    y[np.flatnonzero(y == 0)[:wrong]] = 1
    training = replace(training, y=y)
    both = prevalence.estimate(training, PARAMS, clear, 0, 1)
    number = both.details["contested_samples"]
    assert number > 0
    real = prevalence.is_contested
    monkeypatch.setattr(prevalence, "is_contested", lambda model, code: np.zeros(len(code), bool))
    everyone = prevalence.estimate(training, PARAMS, clear, 0, 1)
    types = prevalence.types_of(training.x, y, training.subclass, 0)
    kept = ~real(forest.fit(training.x, types.code, PARAMS, 0, 1, oob=True), types.code)
    fewer = replace(training, **{name: getattr(training, name)[kept] for name in ("x", "y", "subclass", "groups", "area", "points")})
    without = prevalence.estimate(fewer, PARAMS, clear, 0, 1)
    assert both.share == without.share != everyone.share
    assert both.low == pytest.approx(min(everyone.low, without.low), abs=0.002)  # fewer samples, a wider interval
    assert both.high == pytest.approx(max(everyone.high, without.high), abs=0.002)
    assert both.low <= truth <= both.high


def test_many_contested_samples_are_overlapping_classes_and_count():
    class Votes:
        """A forest whose out-of-bag votes for mining are given."""

        def __init__(self, mining):
            self.oob_decision_function_ = np.column_stack([mining, 1 - np.array(mining)])

    code = np.repeat([0, 1], 100)
    few, many = np.repeat([0.9, 0.1], 100), np.repeat([0.9, 0.1], 100)
    few[:3], few[100:103] = 0.04, [0.96, 0.94, np.nan]
    assert np.flatnonzero(prevalence.is_contested(Votes(few), code)).tolist() == [0, 1, 2, 100]
    many[:3], many[100:110] = 0.04, 0.96
    assert np.flatnonzero(prevalence.is_contested(Votes(many), code)).tolist() == [0, 1, 2]
    always_in_the_bag = np.repeat([0.9, 0.1], 100)
    votes = Votes(always_in_the_bag)
    votes.oob_decision_function_[:2] = 0  # as scikit-learn has it
    assert not prevalence.is_contested(votes, code).any()
    tiny = np.array([0, 0, 1, 1])
    assert not prevalence.is_contested(Votes(np.array([0.9, 0.9, 0.1, 0.97])), tiny).any()
