"""The assistant: threshold, weighted scores, the same result from any number of threads, pooling."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest

from block_of_segments import make_block
from sections import Assistant
from smallmines.annotation.checkout import _other_forests
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS
from smallmines.labels import assistant, feature_table, forest, tables, threshold
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
            next(iter(blocks.values())).folder / "grid.json",
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
    assert metrics["prevalence"]["low"] <= true <= metrics["prevalence"]["high"]
    assert 1 / 1.5 < metrics["prevalence"]["share"] / true < 1.5
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
    assert metrics["prevalence"] == {"share": 0.2, "low": 0.2, "high": 0.2, "source": "configuration", "identifiable": True}
    assert abs(metrics["predicted_share_of_clear_area"][f"{metrics['threshold']:g}"] - 0.2) < 0.01
    _, metrics = run(tmp_path, {"1": block}, replace(SETTINGS, threshold=0.6))
    assert (metrics["threshold"], metrics["threshold_rule"]) == (0.6, "number")


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
    assert threshold.matching_threshold(probability, area, 0.1) == 0.9
    assert threshold.matching_threshold(probability, area, 0.35) == 0.8
    assert threshold.matching_threshold(probability, area, 0.0) == 1.0001
    assert threshold.matching_threshold(probability, area, 1.0) == 0.1
    clear = threshold.ClearSegments(
        np.empty((5, 0), np.float32), area, np.column_stack([1 - probability, probability]), np.full(5, -1, np.int8)
    )
    assert clear.predicted_share(0.8) == pytest.approx(0.4)


def test_scores_at_the_shares_of_the_area():
    y, p = np.array([1, 1, 0, 0], np.int8), np.array([0.9, 0.2, 0.9, 0.1])
    assert assistant.scores(y, p, 0.5, None) == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "iou": pytest.approx(1 / 3)}
    weighted = assistant.scores(y, p, 0.5, 0.1)  # hit 0.05, false 0.45, missed 0.05
    assert weighted["precision"] == pytest.approx(0.1)
    assert weighted["iou"] == pytest.approx(0.05 / 0.55)


def test_entropy():
    assert assistant.entropy(np.array([0.0, 0.5, 1.0, 0.25])).tolist() == pytest.approx([0, 1, 0, 0.8113])


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
    fill = feature_table.medians(table, names, {"VH_9": -17.0, "DEM": 9.0})
    assert (fill["VH_9"], fill["DEM"]) == (-17, 200), "another block's value only where this one has none"
    assert feature_table.matrix(table[1:2], names, fill)[0, 10:].tolist() == pytest.approx([0.4, -0.5, -0.85])
    assert feature_table.usable([table], names) == (*feature_table.PAPER, "VV")
    assert feature_table.usable([table[:1], table[1:2]], names) == S2_BANDS, "lacking in any of the blocks"


def test_samples_in_all_bags_have_no_votes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype(np.float32)
    with pytest.warns(UserWarning, match="do not have OOB scores"):
        model = forest.fit(x, (x[:, 0] > 0).astype(int), {"n_estimators": 3}, 0, 1, oob=True)
    votes = forest.out_of_bag(model)
    drawn = [np.unique(rows) for rows in model.estimators_samples_]
    always = np.isin(np.arange(60), np.intersect1d(np.intersect1d(drawn[0], drawn[1]), drawn[2]))
    assert 0 < always.sum() < 60
    assert (np.isnan(votes).all(axis=1) == always).all()
    assert votes[~always].sum(axis=1).tolist() == pytest.approx([1] * int((~always).sum()))


def test_forests_of_other_features_are_left_out_of_the_queue(block, tmp_path):
    names = {"2": feature_table.PAPER, "3": feature_table.feature_names("context")}
    rng = np.random.default_rng(0)
    for name, features in names.items():
        model = forest.fit(rng.normal(size=(50, len(features))).astype(np.float32), np.repeat([0, 1], 25), {"n_estimators": 5}, 0, 1)
        assistant.save(tmp_path / f"{name}.joblib", {"model": model, "features": features, "fill": dict.fromkeys(features, 0.0)})
    table = pd.DataFrame({"provenance": ["predicted"] * len(block.features)})
    found = {}
    for others in ("2", "23", "3"):
        config = SimpleNamespace(blocks=["1", *others], assistant=SimpleNamespace(features="paper"), labels=SimpleNamespace(seed=0))
        layout = SimpleNamespace(forest=lambda _, name: tmp_path / f"{name}.joblib")
        found[others] = _other_forests(
            SimpleNamespace(year="2022", block="1", config=config, layout=layout, forest_features=lambda: block.features), table
        )
    assert np.isfinite(found["2"]).all()
    assert found["23"].tolist() == found["2"].tolist()
    assert found["3"] is None


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
    assert metrics["features_left_out"] == radar
    assert set(metrics["importances"]) == {*feature_table.PAPER, *CONTEXT} - set(radar)
    assert joblib.load(tmp_path / "model.joblib")["features"] == tuple(metrics["features"])
    (text,) = (text for text in caplog.messages if "does without" in text)
    assert "VH_21" in text
    assert "which most segments of block 1 lack" in text


def test_a_forest_of_several_blocks_does_without_what_one_of_them_lacks(block, tmp_path):
    """Else radar that is constant in the block without it says in which block a segment lies, and so that none there is a mine."""
    other = make_block(tmp_path / "other", share=0.1, seed=5)
    radar = [name for name in CONTEXT if name.startswith(RADAR)]
    with_context(block)
    with_context(other, **dict.fromkeys(radar, np.float32(np.nan)))
    tables.write(other.folder / "samples.parquet", samples_of(other, np.flatnonzero(~other.truth.astype(bool))[:60]), "samples")
    settings = replace(SETTINGS, features="context", on_missing_class="pooled_model")
    probabilities, metrics = run(tmp_path, {"1": other, "2": block}, settings)
    assert metrics["trained_on_blocks"] == ["1", "2"]
    assert metrics["features_left_out"] == radar
    true = np.average(other.truth, weights=other.features["area"])
    assert metrics["prevalence"]["share"] == pytest.approx(true, rel=0.5)
    mapped = probabilities["probability"].to_numpy() >= metrics["threshold"] - 1e-6
    assert (mapped & (other.truth == 1)).sum() > 0.5 * (mapped | (other.truth == 1)).sum()


def test_a_part_without_radar_is_told(block, tmp_path, caplog):
    values = np.where(np.arange(len(block.features)) % 4 == 0, np.nan, 0.5).astype(np.float32)
    with_context(block, VV_21=values)
    _, metrics = run(tmp_path, {"1": block}, replace(SETTINGS, features="context"))
    assert metrics["features_left_out"] == []
    assert any("up to 25 % of the segments have no VV_21" in text for text in caplog.messages)


def test_context_of_another_segmentation_is_refused(block, tmp_path):
    with_context(block)
    table = pd.read_parquet(block.folder / "context.parquet")
    table.iloc[1:].to_parquet(block.folder / "context.parquet", index=False)
    with pytest.raises(UserError, match=f"{len(block.features) - 1} other segments"):
        run(tmp_path, {"1": block}, replace(SETTINGS, features="context"))


def test_folds_are_separated_by_the_largest_window():
    """Samples along a line, 10 tiles of 100 m: of those beside a test tile, the ones within 210 m train nothing."""
    x = np.arange(0, 1000, 10.0)
    points = np.column_stack([x, np.zeros(len(x))])
    tile = (x // 100).astype(int).astype(str).astype(object)
    y = (np.arange(len(x)) % 2).astype(np.int8)
    training = forest.Training(np.zeros((len(x), 1), np.float32), y, tile, tile, np.ones(len(x)), points)
    settings = replace(SETTINGS, folds=10)
    for (train, test), (kept, same) in zip(forest.folds_of(training, settings), forest.folds_of(training, settings, 210.0), strict=True):
        assert test.tolist() == same.tolist()
        near = np.abs(x[train][:, None] - x[test]).min(axis=1) < 210
        assert near.any()
        assert kept.tolist() == train[~near].tolist()
    far = forest.folds_of(training, settings, 5000.0)
    assert all(len(train) + len(test) == len(x) for train, test in far)  # nothing would be left: nothing is left out
