"""Overpasses of Sentinel-2 over the miniature Earth, and the sky on each: clouds, shadows, haze, cirrus, swath edge, sunlight."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miniature.layers import Window
from miniature.noise import Field, Index, indices, noise, rng_of
from smallmines.config.sections import Year

AZIMUTH, ZENITH = 138.0, 38.0
"""Azimuth and zenith angle of the sun in degrees."""


@dataclass(frozen=True)
class Datatake:
    """An overpass of Sentinel-2.

    Attributes:
        start: start of the datatake, UTC.
        platform: "S2A" or "S2B".
        orbit: relative orbit; orbit 8 covers the west only.
        cover: share of the area under opaque cloud.
        haze: haze in DN of B02; SCL does not see it.
        baselines: processing baseline of each product; a second one stands for a reprocessed product of the same overpass.
    """

    number: int
    start: dt.datetime
    platform: str
    orbit: int
    cover: float
    haze: float
    baselines: tuple[str, ...]

    @property
    def absolute_orbit(self) -> int:
        """A plausible absolute orbit; relative orbits repeat after 143."""
        cycle = (self.start.date() - dt.date(2015, 7, 4)).days // 10
        return cycle * 143 + self.orbit


def datatakes(year: Year, number: int, years: int) -> list[Datatake]:
    """Return the overpasses of a year: without offset in the first of several years, with offset in the others.

    Orbit 108 covers the whole area, orbit 8 its west. One overpass is overcast, one is after the window.
    """
    old = number == 0 and years > 1
    base = ("02.08",) if old else ("05.00",)
    second = "S2A" if old else "S2B"
    plan = (  # day, platform, orbit, cloud cover, haze, baselines
        (4, "S2A", 108, 0.20, 25.0, base),
        (14, second, 108, 0.10, 12.0, (*base, "05.00") if old else base),
        (7, "S2A", 8, 0.15, 40.0, base),
        (20, second, 108, 0.14, 230.0, base),
        (24, "S2A", 108, 0.95, 60.0, base),
        (33, second, 108, 0.05, 15.0, base),
    )
    days = (year.end - year.start).days + 1
    times = []
    for index, (day, platform, orbit, cover, haze, baselines) in enumerate(plan):
        inside = day * days // 31
        date = year.start + dt.timedelta(days=inside)
        clock = dt.time(10, 34, 22) if orbit == 108 else dt.time(10, 44, 2)
        times.append(Datatake(index, dt.datetime.combine(date, clock), platform, orbit, cover, haze, baselines))
    return times


@dataclass(frozen=True)
class Sky:
    """Sky over a window.

    Attributes:
        cloud, shadow: opacity and depth, 0 to 1.
        haze: in DN of B02.
        seen: inside the swath; edge: on a detector edge.
    """

    cloud: Field
    shadow: Field
    haze: Field
    cirrus: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    edge: NDArray[np.bool_]


class Weather:
    """Sky of an overpass, computed window by window.

    In the first year, clouds cover the south-east on every date, as in 2016.
    """

    def __init__(self, shape: tuple[int, int], take: Datatake, number: int, seed: int) -> None:
        rng = rng_of(seed, 70, number, take.number)
        self.shape, self.take, self.bank = shape, take, number == 0
        self.towers, self.tufts = noise(shape, rng, 38, 4.6), noise(shape, rng, 5, 3.0)
        self.depth, self.dust = noise(shape, rng, 120, 3.2), noise(shape, rng, 300, 4.0)
        self.thin, self.edges = noise(shape, rng, 70, 4.0), noise(shape, rng, 0)
        away = int(rng.integers(14, 26))  # height of the clouds: 1 to 2 km
        sun = np.radians(AZIMUTH)
        self.rows_off, self.cols_off = round(away * np.cos(sun)), round(-away * np.sin(sun))
        step = max(1, int(np.sqrt(shape[0] * shape[1] / 1_000_000)))
        sample = (np.arange(step // 2, size, step, dtype=np.intp) for size in shape)
        self.limit = np.float32(np.quantile(self._heights(*sample), 1 - take.cover))

    def _heights(self, rows: Index, cols: Index) -> Field:
        heights = self.towers(rows, cols) + np.float32(0.12) * self.tufts(rows, cols)
        if self.bank:
            side, y, x = min(self.shape), indices(rows), indices(cols)
            away = np.hypot(y[:, None] - 0.70 * self.shape[0], x[None] - 0.66 * self.shape[1]) / (0.045 * side)
            heights = np.maximum(heights, 5.0 - 3.0 * away.astype(np.float32) + np.float32(0.6) * heights)
        return np.asarray(heights, np.float32)

    def clouds(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> tuple[Field, Field]:
        """Return the opacity of clouds, 0 to 1, at successive rows and columns, and that of the clouds whose shadow falls there."""
        there = ((rows - self.rows_off).clip(0, self.shape[0] - 1), (cols - self.cols_off).clip(0, self.shape[1] - 1))
        both = [slice(int(min(part[0], off[0])), int(max(part[-1], off[-1])) + 1) for part, off in zip((rows, cols), there, strict=True)]
        opacity: Field = np.clip((self._heights(*both) - self.limit) / np.float32(0.45) + np.float32(0.4), 0, 1)
        here, there = (np.ix_(*(part - whole.start for part, whole in zip(at, both, strict=True))) for at in ((rows, cols), there))
        return opacity[here], opacity[there]

    def __call__(self, window: Window) -> Sky:
        """Return the sky over a window."""
        rows, cols = (np.arange(part.start, part.stop) for part in window.at)
        cloud, shading = self.clouds(rows, cols)
        shadow = shading * (1 - cloud)
        depth = 1 + np.float32(0.5) * self.depth(*window.at)
        if self.take.haze > 100:  # Harmattan dust over one half
            depth = depth + np.float32(1.4) * self.dust(*window.at)
        haze = np.float32(self.take.haze) * np.maximum(depth, np.float32(0.05))
        seen, edge = np.ones(window.size, bool), np.zeros(window.size, bool)
        if self.take.orbit == 8:
            border = (0.57 - 0.10 * rows[:, None] / (self.shape[0] - 1)) * self.shape[1]
            seen = cols[None] < border
            edge = (cols[None] >= border - 4) & seen & (self.edges(*window.at) < -0.67)  # a quarter of them
        return Sky(cloud, shadow, haze, self.thin(*window.at) > 2.1, seen, edge)


def sunlight(height: Callable[[Window], Field], window: Window) -> Field:
    """Return the illumination of a window relative to flat ground, float32: cosine of incidence, damped for skylight.

    Args:
        height: of the lit surface in a window, in m.
    """
    from scipy.ndimage import gaussian_filter

    outer = window.wider(10)
    down, right = (part[window.inside(outer)] for part in np.gradient(gaussian_filter(height(outer), 2.0), 10.0))
    sun, high = np.radians(AZIMUTH), np.radians(ZENITH)
    facing = -right * np.sin(sun) + down * np.cos(sun)
    incidence = (np.cos(high) + np.sin(high) * facing) / np.sqrt(1 + down**2 + right**2)
    light: Field = np.clip(1 + 0.65 * (incidence / np.cos(high) - 1), 0.35, 1.5).astype(np.float32)
    return light
