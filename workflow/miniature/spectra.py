"""Reflectance and backscatter of the land: class means and variation within classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from miniature.landscape import CLASSES, Land
from miniature.layers import Layer, Scratch, Window
from miniature.noise import Field, Noise, noise, rng_of
from miniature.weather import sunlight
from smallmines.core.product import S2_BANDS

MEANS: dict[str, tuple[float, ...]] = {
    # B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12: reflectance × 10000, dry season, forest zone of Ghana
    "forest": (270, 490, 340, 780, 2120, 2600, 2730, 2890, 1760, 840),
    "fallow": (360, 640, 560, 1070, 2220, 2640, 2790, 2960, 2230, 1180),
    "crops": (470, 760, 820, 1310, 2130, 2470, 2600, 2800, 2700, 1640),
    "bare_land": (830, 1170, 1640, 1990, 2350, 2550, 2700, 2880, 3450, 2650),
    "road": (930, 1290, 1820, 2120, 2400, 2560, 2680, 2840, 3400, 2680),
    "roof": (1330, 1560, 1860, 2020, 2200, 2350, 2500, 2580, 2850, 2500),
    "clear_water": (360, 440, 330, 340, 310, 300, 280, 260, 140, 90),
    "turbid_river": (760, 1120, 1380, 1430, 1250, 1200, 1080, 880, 370, 220),
    "sand_winning": (1150, 1540, 1990, 2240, 2420, 2560, 2720, 2830, 3350, 2680),
    "pit": (880, 1220, 1660, 1950, 2200, 2360, 2500, 2630, 3090, 2400),
    "tailings": (1250, 1660, 2090, 2320, 2460, 2590, 2740, 2810, 3230, 2600),
    "pond": (800, 1190, 1440, 1500, 1310, 1260, 1130, 930, 440, 280),
    "regrowth": (500, 800, 880, 1330, 2080, 2400, 2530, 2700, 2500, 1600),
}
"""Mean reflectance × 10000 per class, after published class means of the region's land covers."""

VARIATION: dict[str, tuple[float, float, float]] = {
    "forest": (0.11, 0.05, 0.05),
    "fallow": (0.13, 0.12, 0.07),
    "crops": (0.14, 0.17, 0.08),
    "bare_land": (0.18, 0.24, 0.12),
    "road": (0.14, 0.14, 0.07),
    "roof": (0.24, 0.16, 0.10),
    "clear_water": (0.28, 0.05, 0.04),
    "turbid_river": (0.20, 0.08, 0.06),
    "sand_winning": (0.17, 0.16, 0.08),
    "pit": (0.20, 0.26, 0.14),
    "tailings": (0.18, 0.14, 0.10),
    "pond": (0.24, 0.14, 0.09),
    "regrowth": (0.14, 0.22, 0.08),
}
"""Standard deviations within a class of brightness (share of the mean), vegetation fraction and moisture."""

GREEN = tuple(leaf - soil for leaf, soil in zip(MEANS["fallow"], MEANS["bare_land"], strict=True))
"""Change of reflectance × 10000 per unit of the vegetation fraction."""
WET = (-0.35, -0.4, -0.45, -0.45, -0.4, -0.4, -0.4, -0.45, -1.1, -1.35)
"""Change per unit of moisture as a share of a band's mean, strongest where water absorbs."""

BACKSCATTER: dict[str, tuple[float, float]] = {
    "forest": (-7.2, -12.6),
    "fallow": (-8.2, -13.9),
    "crops": (-9.6, -15.8),
    "bare_land": (-12.0, -19.2),
    "road": (-12.4, -20.0),
    "roof": (-3.0, -11.0),
    "clear_water": (-20.0, -26.5),
    "turbid_river": (-18.5, -25.5),
    "sand_winning": (-12.8, -20.2),
    "pit": (-10.6, -17.6),
    "tailings": (-13.0, -20.4),
    "pond": (-17.5, -24.5),
    "regrowth": (-9.0, -15.2),
}
"""Mean γ0 in dB (VV, VH) per class at C band."""

BLUR = 0.9
"""Standard deviation in pixels of the Gaussian point-spread function."""
REACH = 4
"""Radius in pixels of the point-spread function."""
NOISE = 0.018
"""Standard deviation of the independent noise of each band, as a share of the class mean."""
GRAIN = (0.0, 3.0)
"""Scale in pixels and exponent of that noise."""


@dataclass(frozen=True)
class Ground:
    """What sensors see of the ground in a year, without sky and speckle; layers of the world.

    Attributes:
        reflectance: × 10000 on flat ground, uint16 (10, row, column) in the order of `S2_BANDS`.
        light: relative to flat ground, float32 (row, column).
        power: mean γ0 of VV and VH, linear, float32 (row, column).
    """

    reflectance: Layer
    light: Layer
    power: tuple[Layer, Layer]


def make_ground(land: Land, years: Sequence[str], seed: int, scratch: Scratch) -> dict[str, Ground]:
    """Make the ground of all years, window by window; the textures of a window serve reflectance and backscatter."""
    layers = {
        year: Ground(
            scratch.empty(f"ground_{year}", np.uint16, len(S2_BANDS)),
            scratch.empty(f"light_{year}", np.float32),
            (scratch.empty(f"vv_{year}", np.float32), scratch.empty(f"vh_{year}", np.float32)),
        )
        for year in years
    }
    grain = {year: [noise(land.where.shape, rng_of(seed, 60, int(year), band), *GRAIN) for band in range(len(S2_BANDS))] for year in years}

    def fill(window: Window) -> None:
        outer = window.wider(REACH)
        varied = [texture(outer) for texture in land.texture]
        for year, ground in layers.items():
            classes, fields = land.classes(year, outer), [field[year] for field in varied]
            ground.reflectance[(..., *window.at)] = _reflectance(classes, fields, grain[year], window)
            ground.light[window.at] = sunlight(partial(land.height, year, share=0.3), window)
            for pol, layer in enumerate(ground.power):
                layer[window.at] = _backscatter(pol, classes, fields, window)

    scratch.each_window(fill)
    return layers


def _reflectance(classes: NDArray[np.uint8], fields: Sequence[Field], grain: Sequence[Noise], window: Window) -> NDArray[np.uint16]:
    """Return the reflectance of a window.

    Class means are varied by three fields (so that few components hold most of a class's covariance), blurred by the point-spread
    function (so that edges are mixed), and given independent noise per band.

    Args:
        classes, fields: class and textures, `REACH` pixels wider than the window.
    """
    from scipy.ndimage import gaussian_filter

    inner = window.inside(window.wider(REACH))
    light, green, wet = (_VARIES[k][classes] * fields[k] for k in range(3))
    light = np.exp(light)
    cube = np.empty((len(S2_BANDS), *window.size), np.uint16)
    for band in range(len(S2_BANDS)):
        mean = _MEANS[band][classes]
        pure = mean * (light + np.float32(WET[band]) * wet) + np.float32(GREEN[band]) * green
        seen = gaussian_filter(np.maximum(pure, 0.25 * mean), BLUR, truncate=REACH / BLUR)[inner]
        seen += np.float32(NOISE) * mean[inner] * grain[band](*window.at)
        cube[band] = np.clip(np.rint(seen), 20, 12000)
    return cube


def _backscatter(pol: int, classes: NDArray[np.uint8], fields: Sequence[Field], window: Window) -> Field:
    """Return the mean γ0 of VV (0) or VH (1) in a window as linear power, without speckle; arguments as for `_reflectance`."""
    from scipy.ndimage import gaussian_filter

    rough, green, _ = fields
    varied = _LEVELS[pol][classes] + 0.7 * rough + 0.5 * green
    power = gaussian_filter(np.power(10, varied / 10).astype(np.float32), 0.8, truncate=REACH / 0.8)
    return np.asarray(power[window.inside(window.wider(REACH))])


def _by_class(numbers: Mapping[str, Sequence[float]]) -> Field:
    """Return the columns of a table of classes, float32 (column, class)."""
    return np.ascontiguousarray(np.array([numbers[name] for name in CLASSES], np.float32).T)


_MEANS, _VARIES, _LEVELS = _by_class(MEANS), _by_class(VARIATION), _by_class(BACKSCATTER)
