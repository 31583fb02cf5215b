"""Random fields of the miniature Earth: their statistics, and that a window does not depend on how it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from miniature.noise import noise, rng_of

ALL = slice(0, 1500)


@pytest.mark.parametrize(("scale", "beta"), [(0, 0), (6, 2.6), (40, 3.2), (150, 3.6)])
def test_standard_and_the_same_by_windows(scale: float, beta: float) -> None:
    fields = [noise((1500, 1500), rng_of(seed, 1), scale, beta) for seed in range(5)]
    whole = [field(ALL, ALL) for field in fields]
    assert np.mean([part.mean() for part in whole]) == pytest.approx(0, abs=0.1)
    assert np.mean([part.std() for part in whole]) == pytest.approx(1, abs=0.08)
    part = fields[0](slice(700, 900), slice(33, 777))
    assert (part == whole[0][700:900, 33:777]).all()
    rows, cols = np.arange(0, 1500, 8), np.arange(3, 1500, 8)
    assert (fields[0](rows, cols) == whole[0][np.ix_(rows, cols)]).all()


@pytest.mark.parametrize("scale", [6, 40])
def test_whole_windows_have_the_bytes_of_single_pixels(scale: float) -> None:
    field = noise((1500, 1300), rng_of(4, 1), scale)
    for rows, cols in ((slice(3, 1203), slice(1, 64)), (slice(1021, 1500), slice(333, 1300)), (slice(77, 78), slice(0, 1300))):
        pixels = field(np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop))
        assert field(rows, cols).tobytes() == pixels.tobytes()


def test_a_function_of_a_field_is_computed_once() -> None:
    field = noise((1500, 1300), rng_of(4, 1), 3)
    squares = field.mapped(np.square)
    assert (squares(slice(5, 900), slice(7, 1300)) == field(slice(5, 900), slice(7, 1300)) ** 2).all()
    with pytest.raises(ValueError, match="does not repeat"):
        noise((1500, 1300), rng_of(4, 1), 40).mapped(np.square)


def test_long_waves_and_short_ones_join_to_one_spectrum() -> None:
    """Mean squared differences over 1 to 128 px against those of the spectrum itself."""
    scale, beta, lags = 40.0, 3.0, (1, 4, 16, 64, 128)
    fields = [noise((1500, 1500), rng_of(seed, 2), scale, beta)(ALL, ALL) for seed in range(4)]
    k = np.fft.fftfreq(2048)
    power = (1 + (k[:, None] ** 2 + k[None] ** 2) * (2.2 * scale) ** 2) ** (-beta / 2)
    correlation = np.fft.ifft(power.sum(axis=0)).real / np.fft.ifft(power.sum(axis=0)).real[0]
    for lag in lags:
        found = np.mean([((field[:, lag:] - field[:, :-lag]) ** 2).mean() for field in fields])
        assert found == pytest.approx(2 * (1 - correlation[lag]), rel=0.08, abs=0.004), lag


def test_smoother_with_a_longer_scale() -> None:
    rough, smooth = (np.abs(np.diff(noise((300, 300), rng_of(0, 1), scale)(slice(0, 300), slice(0, 300)))).mean() for scale in (3.0, 30.0))
    assert rough > 2 * smooth
