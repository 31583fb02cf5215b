"""Phase correlation (Kuglin & Hines 1975), summed over the patches of a group."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

NEAR = 8
"""Pixels around a peak that do not count as away from it."""


@dataclass
class Spectra:
    """Sums of normalised cross-power spectra by kind (what is correlated with what) and group.

    Attributes:
        sums: by (kind, group): complex (side, side // 2 + 1).
        counts: number of patches in each sum.
    """

    sums: dict[tuple[str, str], Complex] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, key: tuple[str, str], cross: Complex, count: int = 1) -> None:
        """Add to a sum; a spectrum of another shape than the first is left out."""
        if key not in self.sums:
            self.sums[key], self.counts[key] = np.zeros_like(cross), 0
        if self.sums[key].shape == cross.shape:
            self.sums[key] += cross
            self.counts[key] += count

    def merge(self, other: Spectra) -> None:
        """Add all sums of another."""
        for key, cross in other.sums.items():
            self.add(key, cross, other.counts[key])


def centred(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Return values less their mean, 0 where they are not valid."""
    difference: Floats = np.where(valid, values - (values[valid].mean() if valid.any() else 0.0), 0.0)
    return difference


def spectrum(values: Floats) -> Complex:
    """Return the Fourier transform of a patch through a Hann window, its mean removed."""
    taper = np.outer(np.hanning(values.shape[0]), np.hanning(values.shape[1]))
    return np.fft.rfft2((values - values.mean()) * taper)


def cross_power(first: Complex, second: Complex) -> Complex:
    """Return the normalised cross-power spectrum: the phase of the second relative to the first, at every frequency."""
    cross = np.conj(first) * second
    return cross / np.maximum(np.abs(cross), 1e-12)


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
    low_pass = np.exp(-((rows[:, None] ** 2 + cols[None] ** 2) / (2 * 0.15**2)))
    low_pass[0, 0] = 0
    surface = np.fft.irfft2(cross / max(count, 1) * low_pass, s=(height, width))
    strength = np.abs(surface) if signed else surface
    top, left = np.unravel_index(int(strength.argmax()), strength.shape)
    away = np.ones(strength.shape, bool)
    away[np.ix_(np.arange(top - NEAR, top + NEAR + 1) % height, np.arange(left - NEAR, left + NEAR + 1) % width)] = False
    scatter = surface[away].std()
    place = []
    for at, line in ((int(top), strength[:, left]), (int(left), strength[top])):
        before, here, after = (float(line[(at + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * here + after
        part = 0.0 if bend == 0 else 0.5 * (before - after) / bend
        place.append((at if at <= len(line) // 2 else at - len(line)) + part)
    peak, other = float(strength[top, left]), float(strength[away].max(initial=0))
    return Shift(place[0], place[1], peak / float(scatter) if scatter else 0.0, peak / other if other > 0 else 0.0)
