"""Reflectance and backscatter of the land: class means and variation within classes."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from miniature.landscape import CLASSES, Land
from miniature.layers import Layer, Scratch, Window
from miniature.noise import Field, noise, rng_of
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


def reflectance(land: Land, year: str, seed: int, scratch: Scratch) -> Layer:
    """Return surface reflectance × 10000 of a year, uint16 (10, row, column) in the order of `S2_BANDS`, on flat ground without haze.

    Class means are varied by three fields (so that few components hold most of a class's covariance), blurred by the point-spread
    function (so that edges are mixed), and given independent noise per band.
    """
    from scipy.ndimage import gaussian_filter

    means = np.array([MEANS[name] for name in CLASSES], np.float32)
    varies = np.array([VARIATION[name] for name in CLASSES], np.float32)
    grain = [noise(land.where.shape, rng_of(seed, 60, int(year), band), *GRAIN) for band in range(len(S2_BANDS))]

    def ground(window: Window) -> NDArray[np.uint16]:
        outer = window.wider(REACH)
        inner = window.inside(outer)
        classes = land.classes(year, outer)
        light, green, wet = (varies[:, k][classes] * land.texture[year][k](outer) for k in range(3))
        light = np.exp(light)
        cube = np.empty((len(S2_BANDS), *window.size), np.uint16)
        for band in range(len(S2_BANDS)):
            mean = means[:, band][classes]
            pure = mean * (light + np.float32(WET[band]) * wet) + np.float32(GREEN[band]) * green
            seen = gaussian_filter(np.maximum(pure, 0.25 * mean), BLUR, truncate=REACH / BLUR)[inner]
            seen += np.float32(NOISE) * mean[inner] * grain[band](*window.at)
            cube[band] = np.clip(np.rint(seen), 20, 12000)
        return cube

    return scratch.filled(f"ground_{year}", np.uint16, ground, len(S2_BANDS))


def backscatter(land: Land, year: str, scratch: Scratch) -> tuple[Layer, Layer]:
    """Return the mean γ0 of a year as linear power, float32 (VV, VH), without speckle."""
    from scipy.ndimage import gaussian_filter

    def power(window: Window, levels: Field) -> Field:
        outer = window.wider(REACH)
        rough, green = (land.texture[year][k](outer) for k in range(2))
        varied = levels[land.classes(year, outer)] + 0.7 * rough + 0.5 * green
        return np.asarray(gaussian_filter(np.power(10, varied / 10).astype(np.float32), 0.8, truncate=REACH / 0.8)[window.inside(outer)])

    vv, vh = (
        scratch.filled(
            f"{name}_{year}", np.float32, partial(power, levels=np.array([BACKSCATTER[kind][pol] for kind in CLASSES], np.float32))
        )
        for pol, name in enumerate(("vv", "vh"))
    )
    return vv, vh


def surface(land: Land, year: str, scratch: Scratch, share: float) -> Layer:
    """Return the height of the ground and a share of the canopy in m, float32."""

    def height(window: Window) -> Field:
        return np.asarray(land.elevation[window.at] + np.float32(share) * land.canopy(year, window), np.float32)

    return scratch.filled(f"surface_{year}", np.float32, height)
