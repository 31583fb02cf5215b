"""Agreement of two people: against a library, by hand, and the interval against simulated error rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from smallmines.labels.agreement import agreements, kappa
from smallmines.labels.event_files import Event


def events_of(labels, who, blind=True):
    names = {1: "mining", 0: "not_mining", -1: "unsure"}
    return [
        Event(2016, "1", key, 0.0, 0.0, names[int(label)], "corrected", who, "2026-01-01T00:00:00Z", blind=blind)
        for key, label in enumerate(labels)
    ]


def overlap_of(count, tiles=20, area=10, inclusion=1.0):
    keys = np.arange(count, dtype=np.uint64)
    return pd.DataFrame({"key": keys, "tile_id": [f"{key % tiles:04d}" for key in range(count)], "area": area, "inclusion": inclusion})


def test_by_hand_and_against_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    a = np.array([1] * 20 + [1] * 5 + [0] * 10 + [0] * 65)
    b = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 65)
    overlap = overlap_of(100)
    (found,) = agreements(events_of(a, "A01") + events_of(b, "A02"), overlap, 0)
    assert (found.people, found.segments, found.tiles, found.unsure) == (("A01", "A02"), 100, 20, 0)
    assert found.raw == pytest.approx(0.85)
    assert found.kappa == pytest.approx(cohen_kappa_score(a, b))
    mean = (25 + 30) / 200
    chance = 2 * mean * (1 - mean)
    assert found.ac1 == pytest.approx((0.85 - chance) / (1 - chance))
    assert found.iou == pytest.approx(20 / 35)
    assert found.low < found.kappa < found.high


def test_area_counts_by_the_chance_of_being_drawn():
    overlap = overlap_of(4, area=np.array([10, 10, 30, 10]), inclusion=np.array([0.5, 1.0, 1.0, 1.0]))
    (found,) = agreements(events_of([1, 1, 0, 0], "A01") + events_of([1, 0, 0, 0], "A02"), overlap, 0)
    assert found.area == pytest.approx((20 + 30 + 10) / 70)
    assert found.iou == pytest.approx(20 / 30)


def test_what_is_not_blind_or_unsure_or_superseded_does_not_count():
    overlap = overlap_of(4)
    later = Event(2016, "1", 0, 0.0, 0.0, "not_mining", "corrected", "A02", "2026-02-01T00:00:00Z", blind=True)
    (found,) = agreements([*events_of([1, 1, 0, -1], "A01"), *events_of([1, 1, 0, 0], "A02"), later], overlap, 0)
    assert (found.segments, found.unsure, found.raw) == (3, 1, pytest.approx(2 / 3))
    assert agreements(events_of([1], "A01") + events_of([1], "A02", blind=False), overlap, 0) == []


def test_one_class_alone_has_no_kappa():
    assert np.isnan(kappa(np.array([5.0, 0, 0, 0])))


@pytest.mark.heavy
def test_the_interval_holds_the_kappa_that_error_rates_imply():
    """Two annotators who miss a mine in 10 % and see one in 2 %: in at least 45 of 50 draws of 400 segments."""
    omit, commit, share = 0.10, 0.02, 0.4
    both = share * (1 - omit) ** 2 + (1 - share) * commit**2
    one = share * (1 - omit) * omit + (1 - share) * commit * (1 - commit)
    implied = float(kappa(np.array([1 - both - 2 * one, one, one, both])))
    held = 0
    overlap = overlap_of(400, tiles=50)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        truth = rng.random(400) < share
        says = [np.where(truth, rng.random(400) >= omit, rng.random(400) < commit).astype(int) for _ in range(2)]
        (found,) = agreements(events_of(says[0], "A01") + events_of(says[1], "A02"), overlap, seed)
        held += found.low <= implied <= found.high
    assert held >= 45
