"""The review queue: who waits, in what order, from which reasons; and the overlap's chances."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from smallmines.annotation import queue as module
from smallmines.annotation.queue import draw_overlap, near_features, review_queue
from smallmines.config.sections import Queue
from smallmines.core.errors import UserError


def table(count=40):
    entropy = np.linspace(0.9, 0.1, count).round(4)
    return pd.DataFrame(
        {
            "segment": np.arange(1, count + 1),
            "area": 10,
            "x": np.arange(count) * 100.0,
            "y": 0.0,
            "tile_id": [f"{place % 4:04d}" for place in range(count)],
            "label": (np.arange(count) < 2).astype(np.int8),
            "provenance": "predicted",
            "probability": 0.5,
            "entropy": entropy,
        }
    )


ONLY = {"uncertainty": 0, "disagreement": 0, "unmined": 0, "audit": 0}


def queue(rows, again=(), others=None, before=None, **shares):
    return review_queue(rows, Queue(**{**ONLY, "size": 6, **shares}), 0, np.array(again, np.int64), others, before)


def test_the_least_sure_come_first_even_where_fewer_wait_than_are_asked_for():
    assert queue(table(), uncertainty=1)["segment"].tolist() == [1, 2, 3, 4, 5, 6]
    few = table().assign(provenance=["predicted" if place in (3, 20, 30) else "confirmed" for place in range(40)])
    assert queue(few.sample(frac=1, random_state=0).sort_values("segment"), uncertainty=1)["segment"].tolist() == [4, 21, 31]


def test_what_did_not_survive_comes_before_all():
    found = queue(table(), again=[40, 30], uncertainty=1)
    assert found["segment"].tolist()[:2] == [30, 40]
    assert found["why"].tolist() == ["transfer"] * 2 + ["uncertainty"] * 4


def test_labels_of_a_release_wait_only_where_a_decision_was_lost():
    rows = table().assign(provenance=["predicted" if place in (3, 20) else "released" for place in range(40)])
    chosen = queue(rows, again=[30], uncertainty=1)
    assert chosen["segment"].tolist() == [30, 4, 21]
    assert chosen["why"].tolist() == ["transfer", "uncertainty", "uncertainty"]
    assert len(draw_overlap(rows, 12, 0)) == 12


def test_no_tile_is_crowded():
    rows = table().assign(tile_id=["0001"] * 30 + [f"1{place:03d}" for place in range(10)])
    found = queue(rows, size=11, uncertainty=1)
    tiles = rows.set_index("segment").loc[found["segment"], "tile_id"]
    assert (tiles == "0001").sum() == 4  # four times an even share of the eleven tiles


def test_each_reason_gives_its_share_and_uncertainty_the_rest():
    others, before = np.full(40, np.nan), np.zeros(40)
    others[[10, 11]] = 0.9, 0.8  # of which the larger difference first
    before[35] = 0.6
    found = queue(table(), others=others, before=before, size=8, uncertainty=0.25, disagreement=0.25, unmined=0.25, audit=0.25)
    by_reason = found.groupby("why")["segment"].agg(list).to_dict()
    assert by_reason["disagreement"] == [11, 12]
    assert by_reason["unmined"] == [36]
    assert len(by_reason["audit"]) == 2
    assert by_reason["uncertainty"] == [1, 2, 3]


def test_nothing_that_people_looked_at_is_asked_again():
    assert queue(table().assign(provenance="corrected"), uncertainty=1).empty


def test_the_overlap_takes_even_numbers_and_says_with_what_chance():
    drawn = draw_overlap(table(600).assign(label=(np.arange(600) % 3 == 0).astype(np.int8)), 60, 0)
    assert drawn["stratum"].value_counts().to_dict() == dict.fromkeys(range(6), 10)
    assert (1 / drawn["inclusion"]).sum() == pytest.approx(600)


def test_half_of_the_overlap_lies_near_water_and_settlements(tmp_path):
    rows = table(600).assign(label=(np.arange(600) % 3 == 0).astype(np.int8))
    river = gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 200), (3000, 200)])], crs="EPSG:32630")
    river.to_crs("EPSG:4326").to_file(tmp_path / "river.gpkg")
    near = near_features(rows, tmp_path / "river.gpkg", "EPSG:32630")
    assert np.flatnonzero(near).tolist() == list(range(33))  # 300 m from the end at x = 3000, 200 m aside
    drawn = draw_overlap(rows, 48, 0, near)
    close = near[drawn["segment"].to_numpy() - 1]
    assert set(drawn.loc[close, "stratum"]) <= set(range(6, 12))
    assert close.sum() > 48 * near.mean() * 3
    assert (1 / drawn["inclusion"]).sum() == pytest.approx(600, rel=0.2)
    with pytest.raises(UserError, match="overlap_near"):
        near_features(rows, tmp_path / "gone.gpkg", "EPSG:32630")


@pytest.mark.parametrize("mines", [0, 1, 40])
def test_segments_near_mines_are_those_within_300_m_of_one(mines):
    random = np.random.default_rng(mines)
    x, y = random.integers(0, 400, (2, 2000)) * 10 + 5.0
    label = (np.arange(2000) < mines).astype(np.int8)
    asked = random.random(2000) < 0.9
    near = module._near_mines(pd.DataFrame({"x": x, "y": y, "label": label}), asked)
    expected = ((x[:, None] - x[:mines]) ** 2 + (y[:, None] - y[:mines]) ** 2 < 300**2).any(axis=1) & asked
    np.testing.assert_array_equal(near, expected)
    assert (0 < near.sum() < asked.sum()) == (mines > 0)


@pytest.mark.parametrize("number", [1, 7, 50, 299, 400])
@pytest.mark.parametrize("crowded", [False, True])
def test_the_best_are_spread_over_tiles_as_where_all_are_looked_at(number, crowded):
    random = np.random.default_rng(number)
    score = np.where(random.random(400) < 0.75, random.random(400).round(2), -np.inf)
    tile = np.where(score > 0.4, 0, random.integers(1, 9, 400)) if crowded else random.integers(0, 9, 400)
    order = [place for place in np.argsort(-score, kind="stable") if np.isfinite(score[place])]
    most, taken, spread, rest = int(np.ceil(4 * number / len(set(tile[order])))), dict.fromkeys(range(9), 0), [], []
    for place in order:
        taken[tile[place]] += 1
        (spread if taken[tile[place]] <= most else rest).append(place)
    assert module._best(score, number, tile).tolist() == (spread + rest)[:number]
