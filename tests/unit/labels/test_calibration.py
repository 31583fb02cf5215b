"""Calibrated probabilities: their mean is the prevalence, their order that of the votes, and they are right where the votes are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallmines.labels.calibration import calibrate
from smallmines.labels.threshold import ClearSegments


def segments_of(votes: np.ndarray, area: np.ndarray | None = None) -> ClearSegments:
    area = np.ones(len(votes)) if area is None else area
    return ClearSegments(np.zeros((len(votes), 1), np.float32), area, np.column_stack([1 - votes, votes]), np.full(len(votes), -1, np.int8))


def test_a_known_mixture_is_found_again() -> None:
    """Votes are the exact posterior at 1 : 1 with half the evidence; in the area one in twenty is mining."""
    rng = np.random.default_rng(0)

    def votes_of(mining: np.ndarray) -> np.ndarray:
        x = np.where(mining, 1.5, 0) + rng.normal(size=len(mining))
        return 1 / (1 + np.exp(-(1.5 * x - 1.125) / 2))

    y = np.repeat([1, 0], 1000).astype(np.int8)
    mining = rng.random(100_000) < 0.05
    votes = votes_of(mining)
    estimated = calibrate(votes_of(y == 1), y, segments_of(votes), 0.05)
    assert estimated.slope == pytest.approx(2, abs=0.2)
    assert estimated.intercept == pytest.approx(np.log(0.05 / 0.95), abs=0.15)
    probability = estimated.probability(votes)
    for low, high in ((0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 1)):
        own = (probability >= low) & (probability < high)
        assert mining[own].mean() == pytest.approx(probability[own].mean(), abs=0.02)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50), st.floats(0.001, 0.999), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_mean_over_the_area_is_the_prevalence_and_the_order_stays(levels: list[int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, area = np.array(levels) / 1000, rng.integers(1, 50, len(levels)).astype(float)
    y = np.array([0, 1, 0, 1], np.int8)
    estimated = calibrate(rng.random(4).round(2), y, segments_of(votes, area), share)
    probability = estimated.probability(votes)
    assert np.average(probability, weights=area) == pytest.approx(share, abs=2e-3)
    order = np.argsort(votes, kind="stable")
    assert (np.diff(probability[order]) >= 0).all()


def test_no_mining_samples_out_of_bag_and_no_prevalence() -> None:
    votes = np.array([0.0, 0.2, 0.9])
    estimated = calibrate(np.array([0.1, np.nan]), np.array([0, 1], np.int8), segments_of(votes), 0.0)
    assert estimated.slope == 1
    assert estimated.probability(votes).max() < 1e-3
