"""The assistant: prevalence, threshold, weighted scores, the same result from any number of threads, pooling."""

from __future__ import annotations

from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest

from block_of_segments import make_block
from sections import Assistant
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS
from smallmines.labels import assistant, feature_table, forest, prevalence, tables
from smallmines.segment.context import CONTEXT, RADAR

SETTINGS = Assistant(trees=(30,), max_depth=(8,), min_samples_split=(5,))


def samples_of(block, rows):
    table = block.features.iloc[rows][["segment", "tile_id"]].reset_index(drop=True)
    return table.assign(label=block.truth[rows], subclass="", who="")[["segment", "label", "subclass", "tile_id", "who"]]


def balanced(block, each, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.choice(np.flatnonzero(block.truth == value), each, replace=False) for value in (0, 1)]))


def run(folder, blocks, settings=SETTINGS, threads=2, block="1"):
    assistant.assist(
        block,
        assistant.Inputs(
            {name: str(made.folder / "features.parquet") for name, made in blocks.items()},
            {name: str(made.folder / "context.parquet") for name, made in blocks.items() if settings.features == "context"},
            {name: str(made.folder / "samples.parquet") for name, made in blocks.items()},
        ),
        settings,
        threads,
        assistant.Outputs(folder / "probabilities.parquet", folder / "metrics.json", folder / "model.joblib"),
    )
    return tables.read(folder / "probabilities.parquet", "probabilities"), read_json(folder / "metrics.json")


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    made = make_block(tmp_path_factory.mktemp("block"), share=0.08)
    tables.write(made.folder / "samples.parquet", samples_of(made, balanced(made, 60)), "samples")
    return made


def test_the_predicted_share_meets_the_prevalence_where_half_over_predicts(block, tmp_path):
    probabilities, metrics = run(tmp_path, {"1": block})
    true = block.truth.mean()
    assert metrics["predicted_share_of_clear_area"]["0.5"] > 1.3 * true
    assert abs(metrics["prevalence"]["share"] - true) < 0.07
    at = metrics["predicted_share_of_clear_area"][f"{metrics['threshold']:g}"]
    assert abs(at - metrics["prevalence"]["share"]) < 0.01
    assert at == pytest.approx((probabilities["probability"].astype(float).round(4) >= metrics["threshold"]).mean(), abs=1e-6)
    assert metrics["samples"]["mining"]["segments"] == 60
    assert metrics["segments_without"] == {"DEM": 1}
    assert "NOT map accuracy" in metrics["out_of_fold"]["as_drawn"]["note"]
    drawn, weighted = (metrics["out_of_fold"][name]["0.5"] for name in ("as_drawn", "at_class_shares_of_the_area"))
    assert weighted["precision"] < drawn["precision"]
    assert weighted["recall"] == pytest.approx(drawn["recall"], abs=1e-6)
    model = joblib.load(tmp_path / "model.joblib")
    assert model["versions"] == metrics["versions"]
    assert model["features"] == feature_table.PAPER


def test_the_same_bytes_from_any_number_of_threads(block, tmp_path, monkeypatch):
    run(tmp_path / "one", {"1": block}, threads=1)
    monkeypatch.setattr(forest, "CHUNK", 100)
    run(tmp_path / "three", {"1": block}, threads=3)
    for name in ("probabilities.parquet", "metrics.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_known_prevalence_and_fixed_threshold(block, tmp_path):
    _, metrics = run(tmp_path, {"1": block}, replace(SETTINGS, prevalence=0.2))
    assert metrics["prevalence"] == {"share": 0.2, "source": "configuration"}
    assert abs(metrics["predicted_share_of_clear_area"][f"{metrics['threshold']:g}"] - 0.2) < 0.01
    _, metrics = run(tmp_path, {"1": block}, replace(SETTINGS, threshold=0.6))
    assert (metrics["threshold"], metrics["threshold_rule"]) == (0.6, "number")


def test_an_estimate_is_at_least_what_was_sampled_as_mining(block, tmp_path, monkeypatch):
    monkeypatch.setattr(assistant, "estimate", lambda *_: 0.0)
    _, metrics = run(tmp_path, {"1": block})
    assert metrics["prevalence"]["estimate"] == 0
    assert metrics["prevalence"]["share"] == pytest.approx(60 / len(block.features), abs=1e-4)


def test_a_block_without_a_class_stops_or_borrows(block, tmp_path):
    poor = make_block(tmp_path / "poor", share=0.08, seed=1)
    tables.write(poor.folder / "samples.parquet", samples_of(poor, np.flatnonzero(poor.truth == 0)[:40]), "samples")
    with pytest.raises(UserError, match="0 mining segments in 0 tiles, 40 not_mining"):
        run(tmp_path, {"1": poor})
    pooled = replace(SETTINGS, on_missing_class="pooled_model")
    _, metrics = run(tmp_path, {"1": poor, "2": block}, pooled)
    assert metrics["trained_on_blocks"] == ["1", "2"]
    assert metrics["samples"]["not_mining"]["segments"] == 100
    _, metrics = run(tmp_path, {"1": poor, "2": block}, pooled, block="2")
    assert metrics["trained_on_blocks"] == ["2"]


def test_the_threshold_counts_area():
    probability, area = np.array([0.9, 0.8, 0.8, 0.1, 0.0]), np.array([10.0, 20.0, 10.0, 60.0, 0.0])
    assert assistant.matching_threshold(probability, area, 0.1) == 0.9
    assert assistant.matching_threshold(probability, area, 0.35) == 0.8
    assert assistant.matching_threshold(probability, area, 0.0) == 1.0001
    assert assistant.matching_threshold(probability, area, 1.0) == 0.1
    clear = assistant.ClearSegments(np.empty((5, 0), np.float32), area, np.column_stack([1 - probability, probability]))
    assert clear.predicted_share(0.8) == pytest.approx(0.4)


def test_scores_at_the_shares_of_the_area():
    y, p = np.array([1, 1, 0, 0], np.int8), np.array([0.9, 0.2, 0.9, 0.1])
    assert assistant.scores(y, p, 0.5, None) == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "iou": pytest.approx(1 / 3)}
    weighted = assistant.scores(y, p, 0.5, 0.1)  # hit 0.05, false 0.45, missed 0.05
    assert weighted["precision"] == pytest.approx(0.1)
    assert weighted["iou"] == pytest.approx(0.05 / 0.55)


def test_entropy():
    assert assistant.entropy(np.array([0.0, 0.5, 1.0, 0.25])).tolist() == pytest.approx([0, 1, 0, 0.8113])


# --- prevalence -----------------------------------------------------------------------------------------------------------


def test_maximise_finds_the_shares_of_a_known_mixture():
    rng = np.random.default_rng(0)
    true = rng.random(50_000) < 0.06
    x = np.where(true, 1.5, 0) + rng.normal(size=true.size)
    posterior = 1 / (1 + np.exp(-(1.5 * x - 1.125)))  # exact for 1 : 1
    share = prevalence.maximise(np.column_stack([posterior, 1 - posterior]), np.array([0.5, 0.5]), np.ones(true.size))
    assert share[0] == pytest.approx(true.mean(), abs=0.005)
    assert share.sum() == pytest.approx(1)


def test_types_are_subclasses_or_clusters():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    y = np.repeat([1, 0], 100).astype(np.int8)
    subclass = np.array([""] * 100 + ["forest"] * 50 + ["water"] * 45 + ["roof"] * 5, object)
    named = prevalence.types_of(x, y, subclass, 0)
    assert (named.source, named.number) == ("subclass", 2)
    assert np.bincount(named.code).tolist() == [100, 55, 45]
    assert prevalence.types_of(x, y, np.full(200, "", object), 0).source == "clusters"


def simulated(rng, count, share, mix):
    """Four surfaces; the last two non-mining ones look like mining."""
    centres = np.array([[2.0, 2, 0, 0], [0, 0, 0, 0], [-2, 0, 1, 0], [1.2, 1, 1, 0]])
    kind = np.where(rng.random(count) < share, 0, 1 + rng.choice(3, count, p=mix))
    return (centres[kind] + rng.normal(0, 0.9, (count, 4))).astype(np.float32), kind


@pytest.mark.heavy
@pytest.mark.parametrize("named", [True, False])
def test_the_estimate_survives_samples_of_other_shares(named):
    """6 % mining; samples 1 : 1, their look-alikes a third of the negatives where they are a twentieth of the land."""
    rng = np.random.default_rng(3)
    x, kind = simulated(rng, 20_000, 0.06, [0.6, 0.35, 0.05])
    chosen = np.concatenate([rng.choice(np.flatnonzero(kind == one), number) for one, number in enumerate([300, 100, 100, 100])])
    names = np.array(["", "crops", "forest", "sand"], object)[kind[chosen]]
    tiles = rng.integers(0, 30, len(chosen)).astype(str).astype(object)
    label = (kind[chosen] == 0).astype(np.int8)
    training = forest.Training(x[chosen], label, names if named else np.full(len(chosen), "", object), tiles)
    params = {"n_estimators": 60, "max_depth": 10, "min_samples_split": 5}
    probabilities = forest.predict(forest.fit(training.x, label, params, 0, 2), x, [0, 1], 2)
    clear = assistant.ClearSegments(x, np.ones(len(x)), probabilities)
    estimate = assistant.estimate_prevalence(training, params, clear, replace(SETTINGS, folds=3, seed=0), 2)
    assert estimate.details["types_from"] == ("subclass" if named else "clusters")
    assert 0.03 < estimate.share < 0.09
    assert clear.predicted_share(0.5) > 0.09


def test_a_forest_of_two_classes_is_the_same_in_either_order():
    """So the estimate of the prevalence takes the probabilities of the forest that predicts the block."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 11)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=400) > 0.5).astype(np.int8)
    params = {"n_estimators": 50, "max_depth": 15, "min_samples_split": 5}
    one, other = (forest.fit(x, classes, params, 0, 1).predict_proba(x) for classes in (y, 1 - y.astype(np.int64)))
    assert (one == other[:, ::-1]).all()


def test_values_that_are_missing_become_the_median():
    table = pd.DataFrame(
        {band: np.full(3, 1000, np.float32) for band in S2_BANDS}
        | {
            "DEM": np.array([100, np.nan, 300], np.float32),
            "VV": np.array([-8, np.nan, -12], np.float32),
            "VH_9": np.full(3, np.nan, np.float32),
        }
    )
    names = (*feature_table.PAPER, "VV", "VH_9")
    x = feature_table.matrix(table, names)
    assert feature_table.missing(table, names) == {"DEM": 1, "VV": 1, "VH_9": 3}
    assert x[:, 10].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert x[:, 11].tolist() == pytest.approx([-0.4, -0.5, -0.6])
    assert x[:, 12].tolist() == [0, 0, 0]
    assert x[0, 0] == pytest.approx(0.1)


# --- context --------------------------------------------------------------------------------------------------------------


def with_context(made, seed=0, **columns):
    """Write context features of a block: NDVI in the window of 9 px tells the class, the others are noise."""
    rng = np.random.default_rng(seed)
    count = len(made.features)
    table = pd.DataFrame({"segment": made.features["segment"]} | {name: rng.normal(size=count).astype(np.float32) for name in CONTEXT})
    table["NDVI_9"] = (made.truth + rng.normal(0, 0.2, count)).astype(np.float32)
    table.assign(**columns).to_parquet(made.folder / "context.parquet", index=False)


def test_context_features_are_used(block, tmp_path):
    with_context(block)
    probabilities, metrics = run(tmp_path / "context", {"1": block}, replace(SETTINGS, features="context"))
    paper, _ = run(tmp_path / "paper", {"1": block})
    assert metrics["features"] == [*feature_table.PAPER, *CONTEXT]
    assert max(metrics["importances"], key=metrics["importances"].get) == "NDVI_9"
    error, before = (np.mean((table["probability"] - block.truth) ** 2) for table in (probabilities, paper))
    assert error < 0.5 * before


def test_a_block_without_radar_is_predicted_by_the_other_features(block, tmp_path, caplog):
    radar = [name for name in CONTEXT if name.startswith(RADAR)]
    with_context(block, **dict.fromkeys(radar, np.float32(np.nan)))
    _, metrics = run(tmp_path, {"1": block}, replace(SETTINGS, features="context"))
    assert metrics["segments_without"] == {"DEM": 1} | dict.fromkeys(radar, len(block.features))
    assert all(metrics["importances"][name] == 0 for name in radar)
    assert sum("no segment has VV_21" in text for text in caplog.messages) == 1


def test_context_of_another_segmentation_is_refused(block, tmp_path):
    with_context(block)
    table = pd.read_parquet(block.folder / "context.parquet")
    table.iloc[1:].to_parquet(block.folder / "context.parquet", index=False)
    with pytest.raises(UserError, match=f"{len(block.features) - 1} other segments"):
        run(tmp_path, {"1": block}, replace(SETTINGS, features="context"))
