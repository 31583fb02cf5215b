"""Haze against other dates of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smallmines.sensors import haze
from smallmines.sensors.haze import BANDS, hazy, level_of_others

Spectrum = tuple[int, int]
FOREST, BARE, TAILINGS, ROOF, SALT, POND = (300, 300), (900, 1400), (1250, 2090), (3500, 3600), (5500, 6500), (500, 620)
"""B02 and B04."""


def dates(*spectra: Spectrum) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One pixel on several clear dates: bands and clearness, (date, 1)."""
    bands = {band: np.array([[spectrum[number]] for spectrum in spectra], np.int32) for number, band in enumerate(BANDS)}
    return bands, np.ones((len(spectra), 1), bool)


def through(surface: Spectrum, haze: int, red: float = 0.7) -> Spectrum:
    """A surface through haze that adds light to B02, and `red` of it to B04."""
    return surface[0] + haze, surface[1] + round(red * haze)


def scaled(surface: Spectrum, blue: float, red: float) -> Spectrum:
    return round(blue * surface[0]), round(red * surface[1])


def test_a_hazy_date_is_found_over_every_surface() -> None:
    for surface in (FOREST, BARE, TAILINGS, POND):
        for red in (0.6, 0.8, 1.0):
            assert hazy(*dates(surface, through(surface, 450, red), surface, surface)).ravel().tolist() == [False, True, False, False]


def test_a_stable_bright_surface_is_no_haze() -> None:
    for surface in (ROOF, SALT, TAILINGS):
        brighter, darker = (scaled(surface, gain, gain) for gain in (1.07, 0.93))
        assert not hazy(*dates(surface, brighter, darker)).any(), surface


def test_ground_that_is_laid_bare_is_no_haze() -> None:
    for after in (BARE, TAILINGS):
        assert not hazy(*dates(FOREST, FOREST, FOREST, after)).any(), after
        assert not hazy(*dates(FOREST, after, after)).any(), after


def test_a_cloud_shadow_on_another_date_makes_nothing_hazy() -> None:
    for surface in (FOREST, BARE, TAILINGS, ROOF, SALT):
        shadow = scaled(surface, 0.64, 0.5)  # skylight is blue
        assert not hazy(*dates(surface, shadow, surface)).any(), surface
        assert not hazy(*dates(surface, shadow, surface, shadow)).any(), surface


def test_two_hazy_dates_of_three_are_both_found() -> None:
    assert hazy(*dates(FOREST, through(FOREST, 900), through(FOREST, 950))).ravel().tolist() == [False, True, True]


def test_with_fewer_than_three_clear_dates_nothing_is_hazy() -> None:
    bands, clear = dates(FOREST, through(FOREST, 2000), FOREST)
    assert hazy(bands, clear).any()
    clear[2] = False
    assert not hazy(bands, clear).any()
    assert not hazy({band: values[:2] for band, values in bands.items()}, clear[:2]).any()


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, (2, 4, 6), elements=st.integers(0, 8000)), arrays(np.bool_, (4, 6)))
def test_only_clear_observations_are_hazy_and_never_all_of_a_pixel(values: np.ndarray, clear: np.ndarray) -> None:
    result = hazy(dict(zip(BANDS, values, strict=True)), clear)
    assert not (result & ~clear).any()
    assert not (result.any(axis=0) & (clear.sum(axis=0) < 3)).any()
    assert ((clear & ~result).any(axis=0) == clear.any(axis=0)).all(), "a pixel that is clear on a date stays so on one"


def test_parts_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bands = {band: rng.integers(200, 2500, (5, 20, 30)).astype(np.int32) for band in BANDS}
    clear = rng.random((5, 20, 30)) < 0.8
    whole = hazy(bands, clear)
    assert 0.02 < whole.mean() < 0.5
    monkeypatch.setattr(haze, "AT_ONCE", 35)
    assert np.array_equal(hazy(bands, clear), whole)
    monkeypatch.setattr(haze, "AT_ONCE", 1)
    assert np.array_equal(hazy(bands, clear), whole)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, (5, 8), elements=st.integers(-50, 50)), arrays(np.bool_, (5, 8)))
def test_the_level_of_the_others_against_numpy(values: np.ndarray, valid: np.ndarray) -> None:
    result = level_of_others(values, valid)
    for row, col in np.argwhere(valid):
        others = [values[other, col] for other in range(5) if other != row and valid[other, col]]
        if others:
            assert result[row, col] == np.quantile(others, 0.5, method="inverted_cdf")
