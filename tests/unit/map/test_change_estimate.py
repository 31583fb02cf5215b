"""The change sample: strata, draw, and estimates whose intervals hold the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from smallmines.core.errors import UserError
from smallmines.dataset.change import CLASSES, GONE, NEW, STABLE_MINING, STABLE_OTHER, UNKNOWN
from smallmines.map.change_estimate import (
    BUFFER,
    BUFFER_PX,
    FEWEST,
    LEAST,
    allocation,
    draw,
    estimates,
    reference_class,
    strata,
    unknown_strata,
)
from smallmines.map.intervals import interval


def test_land_around_mines_of_either_year_is_a_stratum_of_its_own() -> None:
    classes = np.full((60, 80), STABLE_OTHER, np.uint8)
    classes[30, 40], classes[30, 41], classes[0, 0] = GONE, UNKNOWN, UNKNOWN
    stratum = strata(classes)
    assert stratum[30, 40] == GONE
    assert stratum[30, 41] == stratum[0, 0] == UNKNOWN
    assert stratum[30 - BUFFER_PX, 40 + BUFFER_PX] == BUFFER
    assert stratum[30 - BUFFER_PX - 1, 40] == STABLE_OTHER
    assert (stratum == BUFFER).sum() == (2 * BUFFER_PX + 1) ** 2 - 2


def test_points_are_allocated_by_size_and_doubt_with_a_least_number_in_each_stratum() -> None:
    points = allocation(np.array([1_000_000, 20_000, 10_000, 30_000, 30]), 1000)
    assert points[0] > 700
    assert points[1:4].min() >= LEAST
    assert points[1] > points[2]
    assert points[4] == 30, "never more than there are"


def parts(stratum: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    for top in range(0, len(stratum), 16):
        yield top, 0, stratum[top : top + 16]


def test_a_draw_takes_each_pixel_of_a_stratum_with_the_same_chance() -> None:
    random = np.random.default_rng(0)
    stratum = random.choice(np.array([0, 1, 4, 255], np.uint8), (40, 50), p=[0.7, 0.1, 0.1, 0.1])
    times = np.zeros(stratum.shape)
    for seed in range(300):
        points = draw(lambda: parts(stratum), 400, seed)
        times[points["row"], points["col"]] += 1
        assert (stratum[points["row"], points["col"]] == points["stratum"]).all()
        assert not points.duplicated(["row", "col"]).any()
    for code in (0, 1, 4):
        own = points[points["stratum"] == code]
        assert len(own) == round(own["inclusion"].iloc[0] * own["pixels"].iloc[0])
        assert own["pixels"].iloc[0] == (stratum == code).sum()
        drawn = times[stratum == code]
        assert drawn.mean() == pytest.approx(300 * own["inclusion"].iloc[0])
        assert drawn.std() < 1.2 * np.sqrt(300 * own["inclusion"].iloc[0])
    assert times[stratum == 255].sum() == 0
    same = draw(lambda: parts(stratum), 400, 299)
    assert same.equals(points), "the same seed draws the same pixels"


def test_a_map_without_a_class_has_no_sample() -> None:
    with pytest.raises(UserError, match="pixels with a class in both years"):
        draw(lambda: parts(np.full((40, 50), 255, np.uint8)), 100, 0)


def test_the_reference_class_needs_both_years() -> None:
    first, last = np.array([0, 0, 1, 1, -1, 1, -2]), np.array([0, 1, 0, 1, 1, -2, -1])
    assert reference_class(first, last).tolist() == [STABLE_OTHER, NEW, GONE, STABLE_MINING, -1, -1, -1]


def test_areas_are_those_of_a_stratified_sample() -> None:
    """Two strata of 800 and 200 px: 1 of 20 and 6 of 10 points are new, one point of the second has no class."""
    stratum = np.repeat([0, 1], [20, 11])
    pixels = np.where(stratum == 0, 800, 200)
    reference = np.concatenate([[NEW], np.full(19, STABLE_OTHER), np.full(6, NEW), np.full(4, STABLE_MINING), [-1]])
    result = estimates(stratum, pixels, reference, 0.01)
    assert result["new"].value == pytest.approx((800 / 20 + 200 * 0.6) * 0.01)
    assert result["stable_mining"].value == pytest.approx(200 * 0.4 * 0.01)
    assert sum(estimate.value for estimate in result.values()) == pytest.approx(10.0)
    assert result["new"].low < result["new"].value < result["new"].high
    assert np.isnan([result["stable_mining"].low, result["stable_mining"].high]).all(), f"fewer than {FEWEST} points"
    assert result["gone"].value == 0


def test_a_stratum_without_a_class_is_unknown_in_all_areas_and_between_none_and_all_in_intervals() -> None:
    """Two strata of 800 and 200 px; in the second one nobody settled a point."""
    stratum = np.repeat([0, 1], [20, 10])
    pixels = np.where(stratum == 0, 800, 200)
    reference = np.concatenate([np.full(8, NEW), np.full(12, STABLE_OTHER), np.full(10, -1)])
    alone = estimates(stratum[:20], pixels[:20], reference[:20], 0.01)
    result = estimates(stratum, pixels, reference, 0.01)
    assert unknown_strata(stratum, reference) == [1]
    assert not unknown_strata(stratum[:20], reference[:20])
    for name in ("new", "stable_other"):
        assert np.isnan(result[name].value)
        assert result[name].low == pytest.approx(alone[name].low)
        assert result[name].high == pytest.approx(alone[name].high + 2)
    assert np.isnan([result["gone"].value, result["gone"].low, result["gone"].high]).all()
    assert np.isnan([estimate.value for estimate in estimates(stratum, pixels, np.full(30, -1), 0.01).values()]).all()


DESIGNS = {
    "much change": [
        [239015, 267, 251, 13],
        [12215, 26837, 487, 3861],
        [6924, 570, 12306, 3184],
        [2045, 4313, 2718, 22865],
        [693619, 10342, 5595, 1149],
    ],
    "little change": [
        [691734, 407, 294, 11],
        [3662, 6060, 95, 617],
        [2230, 167, 3195, 679],
        [402, 579, 542, 3046],
        [330024, 2825, 1717, 290],
    ],
}
"""Pixels by stratum and true class (`CLASSES`) of two made maps of a megapixel."""


@pytest.mark.parametrize(
    ("design", "number"),
    [
        ("little change", 400),
        pytest.param("much change", 400, marks=pytest.mark.heavy),
        pytest.param("little change", 1200, marks=pytest.mark.heavy),
        pytest.param("much change", 1200, marks=pytest.mark.heavy),
    ],
)
def test_intervals_hold_the_true_gain_and_loss(design: str, number: int) -> None:
    """1000 redraws: 93 to 97 %, as the confidence is 95 %."""
    pixels = np.array(DESIGNS[design])
    size, true = pixels.sum(axis=1), pixels.sum(axis=0)
    points = allocation(size, number)
    random = np.random.default_rng(1)
    inside = np.zeros((1000, 2), bool)
    for draw_number in range(len(inside)):
        drawn = np.array([random.multivariate_hypergeometric(own, count) for own, count in zip(pixels, points, strict=True)])
        for place, value in enumerate((NEW, GONE)):
            low, high = interval(drawn[:, value].astype(np.float64), points.astype(np.float64), size.astype(np.float64))
            inside[draw_number, place] = low <= true[value] <= high
    assert (inside.mean(axis=0) >= 0.93).all()
    assert (inside.mean(axis=0) <= 0.975).all()
    assert len(CLASSES) == pixels.shape[1]
