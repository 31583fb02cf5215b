"""Metrics against hand-made values and brute force over pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from smallmines.benchmark import metrics
from smallmines.benchmark.metrics import HALF, THRESHOLDS, best_threshold, boundary, count_tiles, median_iou, reliability, scores, to_uint8

TILES = arrays(np.uint8, (2, 7, 6), elements=st.integers(0, 255))
MASKS = arrays(np.uint8, (2, 7, 6), elements=st.sampled_from([0, 0, 1, 1, 255]))


def neighbours(place: tuple[int, int], shape: tuple[int, int], reach: int) -> list[tuple[int, int]]:
    rows, cols = (range(max(0, at - reach), min(size, at + reach + 1)) for at, size in zip(place, shape, strict=True))
    return list(itertools.product(rows, cols))


def slow_boundary(mask: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a pixel within two that is known and not of the mask."""
    near = np.zeros(mask.shape, bool)
    for place in zip(*np.nonzero(mask), strict=True):
        near[place] = any(not mask[other] and not unknown[other] for other in neighbours(place, mask.shape, metrics.BOUNDARY_PX))
    return near


@settings(max_examples=60, deadline=None)
@given(TILES, MASKS, st.integers(1, 255))
def test_counts_are_those_of_a_loop_over_pixels(probability: np.ndarray, mask: np.ndarray, threshold: int) -> None:
    counts = count_tiles(probability, mask, {"half": HALF, "val": threshold}, 100.0)
    for tile, (values, truth) in enumerate(zip(probability, mask, strict=True)):
        unknown = truth == 255
        for name, least in (("half", HALF), ("val", threshold)):
            pairs = [(value >= least, bool(true)) for value, true in zip(values.ravel(), truth.ravel(), strict=True) if true != 255]
            assert [counts[f"{column}_{name}"][tile] for column in ("tp", "fp", "fn", "tn")] == [
                pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
            ]
            drawn = (values >= least) & ~unknown
            edges = slow_boundary(truth == 1, unknown), slow_boundary(drawn, unknown)
            assert counts[f"boundary_and_{name}"][tile] == (edges[0] & edges[1]).sum()
            assert counts[f"boundary_or_{name}"][tile] == (edges[0] | edges[1]).sum()
            areas, number = label(drawn, np.ones((3, 3)))
            false = [area for area in range(1, number + 1) if (areas == area).sum() >= 5 and not (truth[areas == area] == 1).any()]
            assert counts[f"false_mines_{name}"][tile] == len(false)
            mines, number = label(truth == 1, np.ones((3, 3)))
            detected = [mine for mine in range(1, number + 1) if drawn[mines == mine].mean() >= 0.5]
            assert sum(counts[f"found_{size}_{name}"][tile] for size in metrics.SIZES) == len(detected)
        assert sum(counts[f"mines_{size}"][tile] for size in metrics.SIZES) == number
        labelled = truth != 255
        assert counts["mining"][tile].sum() + counts["other"][tile].sum() == labelled.sum()


def test_scores_by_hand() -> None:
    sums = {name: np.array(0.0) for name in metrics.linear_columns()}
    sums |= {"tp_half": np.array(30.0), "fp_half": np.array(10.0), "fn_half": np.array(20.0), "tn_half": np.array(9940.0)}
    sums |= {"boundary_and_half": np.array(4.0), "boundary_or_half": np.array(16.0), "false_mines_half": np.array(2.0)}
    sums |= {"mines_1_to_10_ha": np.array(4.0), "found_1_to_10_ha_half": np.array(3.0)}
    own = {name: float(value) for name, value in scores(sums, "half", 100.0).items()}
    assert own["precision"] == pytest.approx(0.75)
    assert own["recall"] == pytest.approx(0.6)
    assert own["iou"] == pytest.approx(0.5)
    assert own["dice"] == pytest.approx(2 * own["iou"] / (1 + own["iou"]))
    assert own["boundary_iou"] == pytest.approx(0.25)
    assert own["false_mines_km2"] == pytest.approx(2.0)
    assert own["area_ratio"] == pytest.approx(0.8)
    assert own["found_1_to_10_ha"] == pytest.approx(0.75)
    assert np.isnan(own["found_above_10_ha"])
    assert np.isnan(scores(sums, "val", 100.0)["iou"])


def test_the_boundary_stops_at_the_tile_and_at_unknown_pixels() -> None:
    mask = np.zeros((9, 9), bool)
    mask[:, :5] = True
    nowhere = np.zeros((9, 9), bool)
    expected = np.zeros((9, 9), bool)
    expected[:, 3:5] = True
    np.testing.assert_array_equal(boundary(mask, nowhere), expected)
    assert not boundary(mask, ~mask).any()


def test_sizes_of_mines_in_hectares() -> None:
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 0, :9] = 1  # 0.09 ha
    mask[0, 10:12, :5] = 1  # 0.1 ha
    mask[0, 20:30, :10] = 1  # 1 ha
    mask[0, 40, 40] = mask[0, 41, 41] = 1  # one mine: corners touch
    counts = count_tiles(np.full((1, 64, 64), 255, np.uint8), mask, {"half": HALF}, 100.0)
    assert [int(counts[f"mines_{size}"][0]) for size in metrics.SIZES] == [2, 1, 1, 0]


@settings(max_examples=100, deadline=None)
@given(TILES, MASKS)
def test_no_threshold_has_a_higher_iou_than_the_best(probability: np.ndarray, mask: np.ndarray) -> None:
    mining, other = (values.sum(axis=0) for values in metrics.histograms(probability, mask))
    best = best_threshold(mining, other)

    def iou(least: int) -> float:
        drawn, true = (probability >= least)[mask != 255], (mask == 1)[mask != 255]
        return (drawn & true).sum() / max((drawn | true).sum(), 1)

    ious = [iou(least) for least in range(1, 256)]
    assert iou(best) == pytest.approx(max(ious))
    if not mining.sum():
        assert best == HALF


def test_a_tie_of_votes_is_not_mining() -> None:
    votes = np.array([0.0, 149 / 300, 150 / 300, 151 / 300, 1.0, np.nan])
    assert (to_uint8(votes) >= HALF).tolist() == [False, False, False, True, True, False]
    assert to_uint8(votes)[[0, 4]].tolist() == [0, 255]
    assert set(THRESHOLDS) == {"half", "val"}


def test_the_median_is_over_tiles_with_mining() -> None:
    counts = {"tp_half": np.array([1, 0, 3]), "fp_half": np.array([1, 9, 0]), "fn_half": np.array([2, 0, 0])}
    assert median_iou(counts, "half") == pytest.approx((0.25 + 1.0) / 2)
    assert np.isnan(median_iou({name: values[1:2] for name, values in counts.items()}, "half"))


def test_reliability_by_hand() -> None:
    """A model that says 0.2 where half is mining, and 0.8 where 0.8 is."""
    mining, other = np.zeros(256, np.int64), np.zeros(256, np.int64)
    mining[51], other[51], mining[204], other[204] = 500, 500, 800, 200
    bins, error = reliability(mining, other)
    assert [(round(entry["predicted"], 3), entry["observed"], entry["pixels"]) for entry in bins] == [(0.2, 0.5, 1000), (0.8, 0.8, 1000)]
    assert error == pytest.approx(0.15)
    assert reliability(np.zeros(256, np.int64), np.zeros(256, np.int64))[0] == []


def test_bins_of_the_reliability_hold_about_equal_numbers_of_pixels() -> None:
    both = np.random.default_rng(0).integers(50, 150, 256)
    bins, _ = reliability(both // 3, both - both // 3)
    pixels = [entry["pixels"] for entry in bins]
    assert len(bins) == 10
    assert max(pixels) - min(pixels) < 0.03 * sum(pixels)
