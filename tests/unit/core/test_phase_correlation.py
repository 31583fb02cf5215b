"""The peak of a periodic surface to a fraction of a pixel, and the weights of a phase correlation."""

from __future__ import annotations

import numpy as np
import pytest

from smallmines.core.phase_correlation import low_pass, peak_position, surroundings, taper


@pytest.mark.parametrize(("row", "col"), [(3.0, 5.0), (3.25, 5.0), (-2.3, 0.4), (0.0, -0.25), (31.5, -31.4)])
def test_parabolas_find_the_top_of_a_parabola(row: float, col: float) -> None:
    down, right = (np.arange(64) - shift for shift in (row, col))
    down, right = ((distance + 32) % 64 - 32 for distance in (down, right))
    surface = -(down[:, None] ** 2) - right[None] ** 2
    top, left = np.unravel_index(int(surface.argmax()), surface.shape)
    assert peak_position(surface, int(top), int(left)) == pytest.approx((row, col))


def test_a_flat_surface_has_its_peak_on_the_pixel() -> None:
    assert peak_position(np.zeros((8, 8)), 7, 2) == (-1.0, 2.0)


def test_surroundings_go_around_the_edges() -> None:
    surface = np.zeros((10, 10), int)
    surface[surroundings((10, 10), 0, 9, 1)] = 1
    assert surface.sum() == 9
    assert surface[[9, 0, 1]][:, [8, 9, 0]].all()


def test_weights() -> None:
    frequencies = np.fft.fftfreq(16)
    weights = low_pass(frequencies, frequencies)
    assert weights[0, 0] == 1.0
    assert weights.max() == 1.0
    assert low_pass(np.array([0.15]), np.array([0.0]))[0, 0] == pytest.approx(np.exp(-0.5))
    assert taper((16, 8)).shape == (16, 8)
    assert taper((16, 8))[0].max() == 0.0
