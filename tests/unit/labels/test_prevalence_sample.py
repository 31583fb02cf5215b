"""The sample of pixels for the prevalence: how it is drawn, values by hand, coverage, none estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallmines.core.errors import UserError
from smallmines.labels import prevalence_sample
from smallmines.labels.prevalence_sample import draw_sample, estimate_from_sample, ignored_points


def block(seed, count=3000, share=0.05):
    """Segments with a forest's probability that is right on the whole: probability, area, truth."""
    rng = np.random.default_rng(seed)
    mining = rng.random(count) < share
    probability = np.clip(np.where(mining, 0.6, 0.15) + rng.normal(0, 0.2, count), 0, 1).round(4)
    return probability, rng.integers(3, 30, count), mining.astype(np.int64)


def test_pixels_are_drawn_equally_in_ranges_of_the_probability():
    probability, area, _ = block(0)
    points = draw_sample(probability, area, 200, 1)
    assert list(points.columns) == ["segment", "pixel", "stratum", "pixels", "inclusion"]
    assert points["stratum"].value_counts().to_dict() == dict.fromkeys(range(5), 40)
    assert not points.duplicated(["segment", "pixel"]).any()
    assert (points["pixel"] < area[points["segment"]]).all()
    sizes = points.groupby("stratum")["pixels"].first()
    assert sizes.sum() == area.sum()
    assert points["inclusion"].to_numpy() == pytest.approx(40 / sizes[points["stratum"]].to_numpy())
    ranges = points.assign(p=probability[points["segment"]]).groupby("stratum")["p"].agg(["min", "max"])
    assert (ranges["max"].to_numpy()[:-1] <= ranges["min"].to_numpy()[1:]).all()
    assert sizes[0] > 2 * sizes[4]  # where the forest is unsure pixels are drawn more densely
    pd.testing.assert_frame_equal(points, draw_sample(probability, area, 200, 1))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=30), st.integers(10, 60), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_any_block_can_be_sampled(segments, number, seed):
    """Few segments, equal probabilities: no pixel twice, inclusion as counted, at most all pixels."""
    probability, area = np.array([p for p, _ in segments]), np.array([a for _, a in segments])
    points = draw_sample(probability, area, number, seed)
    assert len(points) <= min(number, area.sum())
    assert not points.duplicated(["segment", "pixel"]).any()
    for _, own in points.groupby("stratum"):
        assert own["inclusion"].iloc[0] == pytest.approx(len(own) / own["pixels"].iloc[0])
    assert points.groupby("stratum")["pixels"].first().sum() == area.sum()
    assert ignored_points(points, number, "2016", "1") == ""
    told = ignored_points(points, 5000, "2016", "1")
    assert bool(told) == (len(points) < area.sum()), "where all pixels are drawn, a larger number draws no more"
    if told:
        before = int(told.split("set it back to ")[1].split(",")[0])
        assert ignored_points(points, before, "2016", "1") == ""
    estimated = estimate_from_sample(points, np.ones(len(points), np.int64), probability, area)
    assert estimated.value == pytest.approx(1)
    assert estimated.high == pytest.approx(1)


def test_every_pixel_is_as_likely_as_its_inclusion():
    probability, area = np.array([0.0, 0.1, 0.5, 0.9]), np.array([40, 5, 5, 10])
    drawn, expected = np.zeros(4), np.zeros(4)
    for seed in range(600):
        points = draw_sample(probability, area, 15, seed)
        drawn += np.bincount(points["segment"], minlength=4)
        expected += np.bincount(points["segment"], 1 / points["inclusion"], minlength=4)  # Horvitz and Thompson
    assert expected / 600 == pytest.approx(area, rel=0.1)
    assert drawn[0] / 600 < 40 * drawn[3] / 600 / 10


def test_an_estimate_by_hand():
    """Two strata of 300 and 100 pixels; a constant probability, so that nothing is regressed."""
    points = pd.DataFrame({"segment": [0] * 8, "stratum": [0] * 4 + [1] * 4, "pixels": [300] * 4 + [100] * 4})
    reference = np.array([0, 0, 0, 1, 1, 1, 0, -1])
    estimated = estimate_from_sample(points, reference, np.array([0.3]), np.array([400]))
    assert estimated.value == pytest.approx(0.75 / 4 + 0.25 * 2 / 3)
    assert estimated.low < 0.15 < estimated.value < 0.6 < estimated.high


def test_a_probability_that_tells_the_truth_removes_the_chance():
    probability, area, truth = block(3)
    share = np.average(truth, weights=area)
    errors = []
    for auxiliary in (truth.astype(np.float64), np.full(len(truth), 0.5)):
        estimated = []
        for seed in range(30):
            points = draw_sample(probability, area, 200, seed)
            estimated.append(estimate_from_sample(points, truth[points["segment"]], auxiliary, area).value - share)
        errors.append(np.std(estimated))
    assert errors[0] == pytest.approx(0, abs=1e-9)
    assert errors[1] > 0.005


@pytest.mark.parametrize("share", [0.003, 0.02, 0.1, 0.4])
def test_the_interval_holds_the_truth(share):
    """95 % of 200 draws, but for chance; where the forest is worth nothing too."""
    probability, area, truth = block(4, share=share)
    true = np.average(truth, weights=area)
    for auxiliary in (probability, np.random.default_rng(0).permutation(probability)):
        estimated = []
        for seed in range(200):
            points = draw_sample(auxiliary, area, 200, seed)
            estimated.append(estimate_from_sample(points, truth[points["segment"]], auxiliary, area))
        assert np.mean([one.low <= true <= one.high for one in estimated]) >= 0.93
        assert np.mean([one.value for one in estimated]) == pytest.approx(true, rel=0.1, abs=0.001)


def test_none_found():
    """The rule of three: from no positive among n pixels up to about 3 in n."""
    probability, area = np.zeros(1000), np.full(1000, 10)
    points = draw_sample(probability, area, 200, 0)
    estimated = estimate_from_sample(points, np.zeros(200, np.int64), probability, area)
    assert (estimated.value, estimated.low) == (0, 0)
    assert 0.01 < estimated.high < 0.03


def test_too_few_pixels_or_nothing_looked_at():
    probability, area, _ = block(0)
    with pytest.raises(UserError, match="3000 segments, 9 pixels"):
        draw_sample(probability, area, 9, 0)
    points = draw_sample(probability, area, 20, 0)
    reference = np.where(points["stratum"] == 2, -1, 0)
    with pytest.raises(UserError, match="none in 1"):
        estimate_from_sample(points, reference, probability, area)
    assert prevalence_sample.STRATA == 5
