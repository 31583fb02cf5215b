"""Phase correlation (Kuglin & Hines 1975), summed over the patches of a group."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smallmines.core.phase_correlation import low_pass, peak_position, surroundings, taper

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

NEAR = 8
"""Pixels around a peak that do not count as away from it."""


STEP = 2.0**-36
"""Cross-power spectra are rounded to multiples of this. Sums of up to 131,000 are then exact, and do not depend on their order: parts that
were summed earlier give the same sum as all patches at once."""


@dataclass
class Spectra:
    """Sums of normalised cross-power spectra by kind (what is correlated with what) and group.

    Attributes:
        parts: by kind, group and shape: complex (side, side // 2 + 1), and number of patches.
    """

    parts: dict[tuple[str, str, tuple[int, ...]], tuple[Complex, int]] = field(default_factory=dict)

    def add(self, key: tuple[str, str], cross: Complex, count: int = 1) -> None:
        """Add to a sum."""
        place = (*key, cross.shape)
        if place in self.parts:
            former, number = self.parts[place]
            former += cross
            self.parts[place] = former, number + count
        else:
            self.parts[place] = cross.copy(), count

    def merge(self, other: Spectra) -> None:
        """Add all sums of another."""
        for (kind, group, _), (cross, count) in other.parts.items():
            self.add((kind, group), cross, count)

    def sums(self) -> dict[tuple[str, str], tuple[Complex, int]]:
        """Return the sum of each kind and group, and its number of patches; where patches have several sizes, that of most patches."""
        chosen: dict[tuple[str, str], tuple[Complex, int]] = {}
        for (kind, group, _), (cross, count) in sorted(self.parts.items(), key=lambda part: (part[1][1], part[0])):
            chosen[kind, group] = cross, count
        return chosen


def centred(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Return values less their mean, 0 where they are not valid."""
    difference: Floats = np.where(valid, values - (values[valid].mean() if valid.any() else 0.0), 0.0)
    return difference


def spectrum(values: Floats) -> Complex:
    """Return the Fourier transform of a patch through a Hann window, its mean removed."""
    return np.fft.rfft2((values - values.mean()) * taper(values.shape))


def cross_power(first: Complex, second: Complex) -> Complex:
    """Return the normalised cross-power spectrum: the phase of the second relative to the first, at every frequency, to `STEP`."""
    cross = np.conj(first) * second
    cross /= np.maximum(np.abs(cross), 1e-12)
    parts = cross.view(np.float64)
    np.multiply(np.round(parts / STEP, out=parts), STEP, out=parts)
    return cross


@dataclass(frozen=True)
class Shift:
    """Number of pixels by which the second patch lies below and right of the first.

    Attributes:
        significance: peak over the standard deviation of the correlation away from it.
        distinct: peak over the greatest correlation away from it.
    """

    down: float
    right: float
    significance: float
    distinct: float


def shift_of(cross: Complex, count: int, signed: bool = False) -> Shift:
    """Return the shift of a sum of normalised cross-power spectra, to subpixel precision by parabolas.

    Args:
        count: number of spectra in the sum.
        signed: the peak may be negative, as where slopes are lit from an unknown side.
    """
    height, width = cross.shape[0], 2 * (cross.shape[1] - 1)
    rows, cols = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    weights = low_pass(rows, cols)
    weights[0, 0] = 0
    surface = np.fft.irfft2(cross / max(count, 1) * weights, s=(height, width))
    strength = np.abs(surface) if signed else surface
    top, left = (int(index) for index in np.unravel_index(int(strength.argmax()), strength.shape))
    away = np.ones(strength.shape, bool)
    away[surroundings(strength.shape, top, left, NEAR)] = False
    scatter = float(surface[away].std()) if away.any() else 0.0  # none away in a patch of a few pixels
    down, right = peak_position(strength, top, left)
    peak, other = float(strength[top, left]), float(strength[away].max(initial=0))
    return Shift(down, right, peak / scatter if scatter else 0.0, peak / other if other > 0 else 0.0)
