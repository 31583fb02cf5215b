"""Intervals over spatial blocks: coverage of the truth, pairs of models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from smallmines.benchmark.intervals import APPROXIMATE, Floats, Sums, block_sums, coverage, drawn_blocks, drawn_sums, expanded_tail, limits


def iou(sums: Sums) -> Floats:
    return np.asarray(sums["tp"] / (sums["tp"] + sums["fp"] + sums["fn"]))


def blocks_of(number: int, shape: float) -> Callable[[np.random.Generator], Sums]:
    """Blocks of which a few hold most of the mining: the less the shape, the fewer."""

    def make(rng: np.random.Generator) -> Sums:
        mined, recall = rng.gamma(shape, 2000, number), rng.beta(6, 2, number)
        return {"tp": mined * recall, "fn": mined * (1 - recall), "fp": mined * rng.beta(2, 6, number) + rng.gamma(0.5, 300, number)}

    return make


@pytest.mark.parametrize("shape", [0.7, 0.3])
@pytest.mark.parametrize("number", [12, 30])
def test_intervals_hold_the_truth_in_92_to_98_percent_of_500_simulations(number: int, shape: float) -> None:
    truth = float(iou({name: values.sum() for name, values in blocks_of(1_000_000, shape)(np.random.default_rng(9)).items()}))
    assert 0.92 <= coverage(blocks_of(number, shape), iou, truth, 500) <= 0.98


def test_the_sums_of_a_draw_are_those_of_its_blocks() -> None:
    counts = {"tp": np.array([1, 2, 4, 8])}
    sums = block_sums(counts, np.array([0, 2, 2, 0]), 4)
    assert sums["tp"].tolist() == [9, 0, 6, 0]
    drawn = drawn_blocks(4)
    assert (drawn.sum(axis=1) == 4).all()
    assert drawn_sums(sums, drawn)["tp"].tolist() == [float(9 * row[0] + 6 * row[2]) for row in drawn]


def test_models_are_paired_by_the_same_draws() -> None:
    rng = np.random.default_rng(3)
    first = blocks_of(25, 0.3)(rng)
    second = {**first, "tp": first["tp"] * 0.98, "fn": first["fn"] + first["tp"] * 0.02}
    drawn = drawn_blocks(25)
    difference = iou(drawn_sums(first, drawn)) - iou(drawn_sums(second, drawn))
    low, high = limits(difference, float(difference.mean()), 25, (-1, 1))
    alone = limits(iou(drawn_sums(first, drawn)), float(iou({name: values.sum() for name, values in first.items()})), 25)
    assert 0 < low < high < 0.02
    assert alone[1] - alone[0] > 5 * (high - low)


def test_few_blocks_give_wider_intervals_or_none() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.05, 2000)
    widths = [np.subtract(*limits(values, 0.5, number)[::-1]) for number in (5, 12, APPROXIMATE, 200)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * 1.96 * 0.05, rel=0.08)
    assert np.isnan(limits(values, 0.5, 4)).all()
    assert np.isnan(limits(np.where(np.arange(2000) < 1200, np.nan, values), 0.5, 50)).all()
    assert limits(values + 0.45, 0.95, 5)[1] == 1.0
    assert expanded_tail(10_000) == pytest.approx(0.025, rel=1e-2)
