"""Classes of change between two masks: tolerance, smallest area, windows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from smallmines.dataset.change import GONE, NEW, STABLE_MINING, STABLE_OTHER, UNKNOWN, change_classes, halo, seen, windows


def squares(*places: tuple[int, int, int], side: int = 40) -> np.ndarray:
    """A mask of squares (row, column, side)."""
    mask = np.zeros((side, side), np.uint8)
    for row, col, size in places:
        mask[row : row + size, col : col + size] = 1
    return mask


def test_without_tolerance_the_classes_are_those_of_the_two_masks() -> None:
    first = np.array([[0, 0, 1, 1, 255, 0, 1]], np.uint8)
    last = np.array([[0, 1, 0, 1, 1, 255, 255]], np.uint8)
    expected = [[STABLE_OTHER, NEW, GONE, STABLE_MINING, UNKNOWN, UNKNOWN, UNKNOWN]]
    assert change_classes(first, last, 0, 1).tolist() == expected


def test_an_outline_that_moves_by_the_tolerance_is_no_change_and_one_that_moves_farther_is() -> None:
    mine = squares((10, 10, 12))
    moved = change_classes(mine, squares((11, 11, 12)), 1, 1)
    assert set(np.unique(moved)) == {STABLE_OTHER, STABLE_MINING}
    assert (moved == STABLE_MINING).sum() == 2 * 144 - 11 * 11, "pixels of either outline belong to the mine that both have"
    grown = change_classes(mine, squares((9, 9, 14)), 1, 1)
    assert not (grown == NEW).any()
    farther = change_classes(mine, squares((8, 8, 16)), 1, 1)
    assert (farther == NEW).sum() == 16 * 16 - 12 * 12, "where change reaches farther, its pixels at the old edge count, too"
    assert (change_classes(squares((8, 8, 16)), mine, 1, 1) == GONE).sum() == 16 * 16 - 12 * 12


def test_a_mine_elsewhere_is_new_and_counts_whole() -> None:
    classes = change_classes(squares((5, 5, 4)), squares((5, 5, 4), (20, 20, 3)), 1, 9)
    assert (classes == NEW).sum() == 9
    assert (classes == STABLE_MINING).sum() == 16


def test_areas_below_the_smallest_do_not_count() -> None:
    last = squares((5, 5, 4), (20, 20, 2), (30, 30, 3))
    classes = change_classes(squares((5, 5, 4)), last, 1, 5)
    assert (classes[20:22, 20:22] == STABLE_OTHER).all()
    assert (classes[30:33, 30:33] == NEW).all()
    diagonal = np.zeros((40, 40), np.uint8)
    diagonal[np.arange(5) + 10, np.arange(5) + 10] = 1
    assert (change_classes(np.zeros_like(diagonal), diagonal, 1, 5) == NEW).sum() == 5, "connected by corners"


def test_land_that_was_not_seen_is_unknown_unless_people_decided_that_it_is_a_mine() -> None:
    mask, clear = np.array([[0, 1, 0, 1, 255]], np.uint8), np.array([[0, 0, 1, 2, 1]], np.uint8)
    assert seen(mask, clear).tolist() == [[255, 1, 0, 1, 255]]


@pytest.mark.parametrize("tolerance", [1, 3])
def test_the_edge_of_a_mine_that_the_other_year_hides_in_part_is_no_change(tolerance: int) -> None:
    """A cloud over the mine but for its outermost pixels, where outlines differ."""
    mine, wider = squares((10, 10, 12)), squares((10 - tolerance, 10 - tolerance, 12 + 2 * tolerance))
    cloudy = np.where(mine == 1, 255, wider).astype(np.uint8)
    for classes in (change_classes(mine, cloudy, tolerance, 1), change_classes(cloudy, mine, tolerance, 1)):
        assert set(np.unique(classes)) == {STABLE_OTHER, UNKNOWN}
    cloudy[wider == 0] = squares((30, 30, 5))[wider == 0]
    assert (change_classes(mine, cloudy, tolerance, 1) == NEW).sum() == 25, "a mine elsewhere is new all the same"


def made(seed: int, side: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Masks of two years with mines of many sizes, specks and gaps."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.normal(size=(side, side)), 2)
    other = field + gaussian_filter(random.normal(size=(side, side)), 1.5) * 0.7
    masks = [(own > np.quantile(own, 0.8)).astype(np.uint8) for own in (field, other)]
    for mask in masks:
        mask[random.random(mask.shape) < 0.01] ^= 1
        mask[random.integers(side) :][:7] = 255
    return masks[0], masks[1]


def by_hand(first: np.ndarray, last: np.ndarray, tolerance: int, smallest: int) -> np.ndarray:
    """The classes, pixel by pixel."""
    side = len(first)
    before, after = ((mask == 1) & (first < 2) & (last < 2) for mask in (first, last))

    def near(mask: np.ndarray, row: int, col: int, distance: int) -> bool:
        own = mask[max(0, row - distance) : row + distance + 1, max(0, col - distance) : col + distance + 1]
        return bool(own.any())

    def change(difference: np.ndarray, other: np.ndarray) -> np.ndarray:
        places = list(zip(*np.nonzero(difference), strict=True))
        core, kept = np.zeros((side, side), bool), np.zeros((side, side), bool)
        for row, col in places:
            core[row, col] = not near(other, row, col, tolerance)
        for row, col in places:
            kept[row, col] = near(core, row, col, tolerance)
        areas, number = label(kept, np.ones((3, 3)))
        for area in range(1, number + 1):
            if (areas == area).sum() < smallest:
                kept[areas == area] = False
        return kept

    new, gone = change(after & ~before, first == 1), change(before & ~after, last == 1)
    result = np.full(first.shape, STABLE_OTHER)
    for row, col in np.ndindex(first.shape):
        if max(first[row, col], last[row, col]) > 1:
            result[row, col] = UNKNOWN
        elif new[row, col] or gone[row, col]:
            result[row, col] = NEW if new[row, col] else GONE
        elif before[row, col] and after[row, col]:
            result[row, col] = STABLE_MINING
        elif before[row, col] or after[row, col]:
            result[row, col] = STABLE_MINING if near(before & after, row, col, tolerance) else STABLE_OTHER
    return result


@pytest.mark.parametrize(("seed", "tolerance", "smallest"), [(0, 1, 1), (1, 1, 6), (2, 2, 9)])
def test_all_rules_together_against_a_pixel_by_pixel_version_also_by_windows(seed: int, tolerance: int, smallest: int) -> None:
    first, last = made(seed, 90)
    whole = change_classes(first, last, tolerance, smallest)
    np.testing.assert_array_equal(whole, by_hand(first, last, tolerance, smallest))
    assert set(np.unique(whole)) == {STABLE_OTHER, NEW, GONE, STABLE_MINING, UNKNOWN}
    pieces = np.full_like(whole, 77)
    for window, read, inner in windows(first.shape, halo(tolerance, smallest), side=32):
        pieces[window.toslices()] = change_classes(first[read.toslices()], last[read.toslices()], tolerance, smallest)[inner]
    np.testing.assert_array_equal(pieces, whole)
