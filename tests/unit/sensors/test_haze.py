"""Haze against other dates of a pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smallmines.sensors.haze import hazy, median_of_others

FOREST, BARE, TAILINGS, ROOF, SALT, POND = (300, 300), (900, 1400), (1250, 2090), (3500, 3600), (5500, 6500), (500, 620)


def dates(*surfaces: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pixel on several clear dates: B02, B04 and clearness, (date, 1)."""
    blue, red = (np.array([[surface[band]] for surface in surfaces], np.int32) for band in (0, 1))
    return blue, red, np.ones(blue.shape, bool)


def through(surface: tuple[int, int], haze: int, red: float = 0.7) -> tuple[int, int]:
    """A surface through haze that adds light to B02, and `red` of it to B04."""
    return surface[0] + haze, surface[1] + round(red * haze)


def test_a_hazy_date_is_found_over_every_surface() -> None:
    for surface in (FOREST, BARE, TAILINGS, POND):
        for red in (0.6, 0.8, 1.0):
            assert hazy(*dates(surface, through(surface, 450, red), surface, surface)).ravel().tolist() == [False, True, False, False]


def test_a_stable_bright_surface_is_no_haze() -> None:
    for surface in (ROOF, SALT, TAILINGS):
        brighter, darker = (tuple(round(gain * value) for value in surface) for gain in (1.07, 0.93))
        assert not hazy(*dates(surface, brighter, darker)).any(), surface  # type: ignore[arg-type]


def test_ground_that_is_laid_bare_is_no_haze() -> None:
    for after in (BARE, TAILINGS):
        assert not hazy(*dates(FOREST, FOREST, FOREST, after)).any(), after
        assert not hazy(*dates(FOREST, after, after)).any(), after


def test_a_cloud_shadow_on_another_date_makes_nothing_hazy() -> None:
    shadow = (round(0.4 * BARE[0]), round(0.5 * BARE[1]))
    assert not hazy(*dates(BARE, shadow, BARE)).any()


def test_two_hazy_dates_of_three_are_both_found() -> None:
    assert hazy(*dates(FOREST, through(FOREST, 900), through(FOREST, 950))).ravel().tolist() == [False, True, True]


def test_with_fewer_than_three_clear_dates_nothing_is_hazy() -> None:
    blue, red, clear = dates(FOREST, through(FOREST, 2000), FOREST)
    assert hazy(blue, red, clear).any()
    clear[2] = False
    assert not hazy(blue, red, clear).any()
    assert not hazy(blue[:2], red[:2], clear[:2]).any()


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int32, (4, 6), elements=st.integers(0, 8000)),
    arrays(np.int32, (4, 6), elements=st.integers(0, 8000)),
    arrays(np.bool_, (4, 6)),
)
def test_only_clear_observations_are_hazy_and_never_all_of_a_pixel(blue: np.ndarray, red: np.ndarray, clear: np.ndarray) -> None:
    result = hazy(blue, red, clear)
    assert not (result & ~clear).any()
    assert not (result.any(axis=0) & (clear.sum(axis=0) < 3)).any()
    assert ((clear & ~result).any(axis=0) == clear.any(axis=0)).all(), "a pixel that is clear on a date stays so on one"


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, (5, 8), elements=st.integers(-50, 50)), arrays(np.bool_, (5, 8)))
def test_the_median_of_the_others_against_numpy(values: np.ndarray, valid: np.ndarray) -> None:
    result = median_of_others(values, valid)
    for row, col in np.argwhere(valid):
        others = [values[other, col] for other in range(5) if other != row and valid[other, col]]
        if others:
            assert result[row, col] == np.median(others)
