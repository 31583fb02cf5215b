"""Land of the miniature Earth: hills, rivers, villages and mines, one class per 10 m pixel and year.

All depends on seed, outline and size alone. Lengths in pixels are pixels of 10 m. Rivers, villages and roads are kept as cells of
80 m and lines for the whole world; everything else is computed window by window into layers on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from miniature.layers import Layer, Scratch, Shapes, Window, bilinear, windows
from miniature.noise import Field, Noise, noise, rng_of
from miniature.place import Place
from miniature.rivers import COARSE, STREAM, Rivers, drained

CLASSES = (
    "forest",
    "fallow",
    "crops",
    "bare_land",
    "road",
    "roof",
    "clear_water",
    "turbid_river",
    "sand_winning",
    "pit",
    "tailings",
    "pond",
    "regrowth",
)
"""Classes of the land; the position of a class is its code."""
CODE = {name: code for code, name in enumerate(CLASSES)}
MINING = ("pit", "tailings", "pond")

SHARES = (0.055, 0.0766)
"""True share of mining in the first and the last year (SmallMinesDS: 5.493 % and 7.655 %)."""
FAR = 160
"""Largest distance to streams and roads in pixels; a halo as wide makes distances exact."""
SMALLEST = 25
"""Size of the smallest mine in pixels."""
PLOT = 9
"""Side in pixels of the squares that contain the centre of one plot (a field of about 0.8 ha) each."""
SAMPLES = 1_000_000
"""Approximate number of pixels from which shares of the world are estimated."""
CANOPY = {"forest": 16.0, "fallow": 5.0, "roof": 3.0, "regrowth": 2.0}
"""Height of the canopy or roof in m."""

Index = slice | NDArray[np.intp]
Parts = tuple[tuple[float, Noise], ...]


@dataclass(frozen=True)
class Land:
    """Land of all years.

    Attributes:
        elevation: height of the ground in m, float32.
        cover: class code by year (uint8); the highest bit is the truth, mining or not.
        texture: variation within the classes: three fields of mean 0 and sd 1 (brightness, greenness, moisture).
    """

    where: Place
    elevation: Layer
    cover: dict[str, Layer]
    texture: tuple[Texture, ...]

    def classes(self, year: str, window: Window) -> NDArray[np.uint8]:
        """Return the class codes of a window, (row, column)."""
        return np.asarray(self.cover[year][window.at] & 127, np.uint8)

    def truth(self, year: str, window: Window) -> NDArray[np.bool_]:
        """Return where a window is mining, as people delineate it: without large islands of vegetation, with small ones."""
        return np.asarray(self.cover[year][window.at] > 127)

    def height(self, year: str, window: Window, share: float) -> Field:
        """Return the height of the ground and a share of the canopy and the roofs in a window in m, float32."""
        return np.asarray(self.elevation[window.at] + np.float32(share) * _TALL[self.classes(year, window)], np.float32)


_TALL = np.array([CANOPY.get(name, 0.0) for name in CLASSES], np.float32)


@dataclass(frozen=True)
class Texture:
    """Variation at several scales: stands of 400 m, plots of 80 m, groups of pixels; part of it is the same in all years.

    Attributes:
        common: weights and fields of all years; own: of each year.
    """

    common: Parts
    own: dict[str, Parts]

    def __call__(self, window: Window) -> dict[str, Field]:
        """Return the field of each year in a window, mean 0 and sd 1."""
        common = _added(np.zeros(window.size, np.float32), self.common, window)
        return {
            year: np.asarray(_added(common, parts, window) / np.sqrt(sum(weight**2 for weight, _ in (*self.common, *parts))), np.float32)
            for year, parts in self.own.items()
        }


def _added(total: Field, parts: Parts, window: Window) -> Field:
    for weight, field in parts:
        total = total + np.float32(weight) * field(*window.at)
    return total


def textures(shape: tuple[int, int], years: Sequence[str], seed: int) -> tuple[Texture, ...]:
    """Make the three textures: weight 0.8 for the part common to all years, 0.6 for a year's own."""

    def parts(share: float, *keys: int) -> Parts:
        rng = rng_of(seed, *keys)
        return tuple((share * weight, noise(shape, rng, scale, beta)) for weight, scale, beta in _SCALES)

    return tuple(
        Texture(parts(0.8, 20, index), {year: parts(0.6, 21, number, index) for number, year in enumerate(years)}) for index in range(3)
    )


_SCALES = ((0.6, 40.0, 3.0), (0.65, 6.0, 2.6), (0.4, 1.0, 2.6))
"""Weights of the parts of a texture, scales in pixels, exponents."""


def make_land(where: Place, years: Sequence[str], seed: int, scratch: Scratch) -> Land:
    """Make the land of all years; mines, colour of the rivers and part of the texture differ between years."""
    shape = where.shape
    hills = noise(shape, rng_of(seed, 10), 150, 3.6)
    rivers = drained(hills, shape, rng_of(seed, 11))
    streams = Shapes(rivers.channels(rivers.accumulated >= STREAM))
    distance = scratch.filled("distance", np.float32, lambda window: _distance(streams, window))
    elevation = scratch.filled("elevation", np.float32, _ground(hills, rivers, distance, shape, seed))
    villages, roads = _settle(shape, distance, rng_of(seed, 55))
    to_road = scratch.filled("to_road", np.float32, lambda window: _distance(roads, window))
    base = scratch.filled("base", np.uint8, _cover(shape, hills, distance, to_road, villages, roads, seed))
    mines = _mines(where, distance, len(years), seed, scratch)
    cover: dict[str, Layer] = {}
    big = Shapes(rivers.channels(rivers.accumulated >= 12 * STREAM))
    dig = _digger(shape, seed)

    def covered(window: Window, mine: Layer, before: Layer | None, clean: Shapes, muddy: Shapes) -> NDArray[np.uint8]:
        outer = window.wider(2)
        codes = base[outer.at]
        if before is not None:
            codes[before[outer.at] & ~mine[outer.at]] = CODE["regrowth"]
        codes[clean.burn(outer)] = CODE["clear_water"]
        codes[muddy.burn(outer)] = CODE["turbid_river"]
        codes, mined = dig(codes, mine[outer.at] & ~big.burn(outer), outer)
        return np.asarray((codes + np.uint8(128) * mined)[window.inside(outer)], np.uint8)

    for number, (year, mine) in enumerate(zip(years, mines, strict=True)):
        turbid = rivers.downstream(_per_cell(mine, rivers.grid)) > 40
        water = rivers.accumulated >= STREAM
        clean, muddy = (Shapes(rivers.channels(water & kind)) for kind in (~turbid, turbid))
        before = mines[number - 1] if number else None
        cover[year] = scratch.filled(f"cover_{year}", np.uint8, partial(covered, mine=mine, before=before, clean=clean, muddy=muddy))
    return Land(where, elevation, cover, textures(shape, years, seed))


def _sampled(shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of a regular sample of the world, about `SAMPLES` pixels."""
    step = max(1, int(np.sqrt(shape[0] * shape[1] / SAMPLES)))
    rows, cols = (np.arange(step // 2, size, step, dtype=np.intp) for size in shape)
    return rows, cols


def _distance(of: Shapes, window: Window) -> Field:
    """Return the distance to shapes in pixels, at most `FAR`."""
    from scipy.ndimage import distance_transform_edt

    outer = window.wider(FAR)
    burnt = of.burn(outer)
    if not burnt.any():
        return np.full(window.size, FAR, np.float32)
    return np.asarray(np.minimum(distance_transform_edt(~burnt)[window.inside(outer)], FAR), np.float32)


def _ground(hills: Noise, rivers: Rivers, distance: Layer, shape: tuple[int, int], seed: int) -> Callable[[Window], Field]:
    rough = noise(shape, rng_of(seed, 12), 40, 3.2)
    fall = rivers.fall()

    def ground(window: Window) -> Field:
        relief = np.logaddexp(0, 1.6 * hills(*window.at)) * (1 - np.exp(-((distance[window.at] / 45) ** 1.3)))
        height = 118 + bilinear(fall, COARSE, window) * 0.0022 + 58 * relief + 5 * rough(*window.at) * np.minimum(relief, 1)
        return np.asarray(height, np.float32)

    return ground


def _mines(where: Place, distance: Layer, years: int, seed: int, scratch: Scratch) -> list[Layer]:
    """Make the mined ground of each year: clusters along streams, which grow; some are reclaimed."""
    from scipy.ndimage import label

    shape = where.shape
    cluster = noise(shape, rng_of(seed, 30), 200, 4.4)
    patch = noise(shape, rng_of(seed, 31), 14, 3.1)
    reclaimed = noise(shape, rng_of(seed, 32), 45, 3.2)
    rows, cols = _sampled(shape)
    inside = where.tiles(rows, cols) >= 0
    mines: list[Layer] = []
    for number in range(years):
        share = SHARES[0] + (SHARES[1] - SHARES[0]) * (number / max(1, years - 1))
        drift = noise(shape, rng_of(seed, 33, number), 25, 3.0)
        before = mines[-1] if mines else None

        def score(y: Index, x: Index, drift: Noise, before: Layer | None) -> Field:
            at = (y, x) if isinstance(y, slice) else np.ix_(y, x)  # type: ignore[arg-type]
            suitability = 4.0 * cluster(y, x) + 1.0 * patch(y, x) - distance[at] / np.float32(5.5) + np.float32(0.5) * drift(y, x)
            if before is not None:
                suitability = np.where(reclaimed(y, x) > 1.25, -np.inf, np.where(before[at], np.inf, suitability))
            return np.asarray(suitability, np.float32)

        # 1.05: the main river, islands and specks remove about a twentieth
        least = float(np.quantile(score(rows, cols, drift, before)[inside], 1 - 1.05 * share))

        def mined(window: Window, drift: Noise, before: Layer | None, least: float) -> NDArray[np.bool_]:
            outer = window.wider(SMALLEST)
            mine = score(*outer.at, drift, before) > least
            parts, _ = label(mine)
            large = np.bincount(parts.ravel()) >= SMALLEST
            large[0] = False
            return np.asarray(large[parts][window.inside(outer)])

        mines.append(scratch.filled(f"mines_{number}", np.bool_, partial(mined, drift=drift, before=before, least=least)))
    return mines


def _per_cell(mine: Layer, grid: tuple[int, int]) -> NDArray[np.float64]:
    """Count mined pixels in each cell of the drainage network, (row, column)."""
    counts = np.zeros(grid)
    for window in windows((mine.shape[0], mine.shape[1])):
        rows, cols = (-(-size // COARSE) for size in window.size)
        padded = np.zeros((rows * COARSE, cols * COARSE), bool)
        padded[: window.size[0], : window.size[1]] = mine[window.at]
        top, left = window.rows.start // COARSE, window.cols.start // COARSE
        counts[top : top + rows, left : left + cols] = padded.reshape(rows, COARSE, cols, COARSE).sum(axis=(1, 3))
    return counts


def _digger(
    shape: tuple[int, int], seed: int
) -> Callable[[NDArray[np.uint8], NDArray[np.bool_], Window], tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Return a function that adds pits, tailings, ponds and vegetation to the mined ground of a window and returns the true mask."""
    from scipy.ndimage import binary_opening

    ponds, heaps, islands = (
        noise(shape, rng_of(seed, 40), 5, 3.5),
        noise(shape, rng_of(seed, 41), 6, 3.4),
        noise(shape, rng_of(seed, 42), 4, 3.4),
    )

    def dig(cover: NDArray[np.uint8], mine: NDArray[np.bool_], window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        cover = cover.copy()
        island = mine & (islands(*window.at) > 1.35)
        cover[mine] = CODE["pit"]
        cover[mine & (heaps(*window.at) > 0.35)] = CODE["tailings"]
        cover[mine & (ponds(*window.at) > 0.95)] = CODE["pond"]
        cover[island] = CODE["fallow"]
        return cover, mine & ~binary_opening(island, np.ones((3, 3), bool))

    return dig


def _cover(
    shape: tuple[int, int], hills: Noise, distance: Layer, to_road: Layer, villages: Villages, roads: Shapes, seed: int
) -> Callable[[Window], NDArray[np.uint8]]:
    """Return a function for all classes but mines and rivers: forest, plots, villages, roads, bare land, sand winning, ponds."""
    from scipy.special import ndtr

    stands, edges = noise(shape, rng_of(seed, 50), 80, 3.2), noise(shape, rng_of(seed, 51), 12, 2.6)
    plots = Plots(shape, seed)
    bare = noise(shape, rng_of(seed, 54), 16, 3.0)
    chances, groups = noise(shape, rng_of(seed, 56), 0), noise(shape, rng_of(seed, 57), 3, 2.5)
    sand, lake = noise(shape, rng_of(seed, 58), 11, 3.2), noise(shape, rng_of(seed, 59), 18, 3.6)

    def sandy(y: Index, x: Index, near: Field) -> Field:
        return np.asarray(sand(y, x) - near / 25, np.float32)

    def wet(y: Index, x: Index, near: Field) -> Field:
        return np.asarray(lake(y, x) - near / 20, np.float32)

    rows, cols = _sampled(shape)
    at = np.ix_(rows, cols)
    near = distance[at]
    sand_limit = np.quantile(sandy(rows, cols, np.minimum(to_road[at], near)), 0.988)
    lake_limit = np.quantile(wet(rows, cols, near), 0.9965)

    def cover(window: Window) -> NDArray[np.uint8]:
        y, x = window.at
        wild = stands(y, x) + 0.55 * hills(y, x) + 0.35 * edges(y, x)
        chance = plots.chance(window)
        codes = np.full(window.size, CODE["fallow"], np.uint8)
        codes[chance > 0.58] = CODE["crops"]
        codes[chance > 0.965] = CODE["bare_land"]
        codes[(wild > 0.15) & (chance < 0.93)] = CODE["forest"]
        codes[(wild < -0.9) & (chance < 0.18)] = CODE["forest"]
        codes[bare(y, x) > 2.45] = CODE["bare_land"]
        village = villages.density(window)
        speck = ndtr(chances(y, x)) * np.exp(0.5 * groups(y, x))
        codes[speck < 0.85 * village] = CODE["bare_land"]
        codes[speck < 0.48 * village] = CODE["roof"]
        codes[roads.burn(window)] = CODE["road"]
        near = distance[window.at]
        codes[sandy(y, x, np.minimum(to_road[window.at], near)) > sand_limit] = CODE["sand_winning"]
        codes[wet(y, x, near) > lake_limit] = CODE["clear_water"]
        return codes

    return cover


class Plots:
    """Fields: each square of the world has one plot, and a pixel belongs to the nearest; borders are bent."""

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        squares = tuple(-(-size // PLOT) + 6 for size in shape)
        rng = rng_of(seed, 52)
        self._middles = rng.random((2, *squares), np.float32)
        self._chance = rng_of(seed, 53).random(squares, np.float32)
        self._bend = [noise(shape, rng, 5, 4.0) for _ in range(2)]

    def chance(self, window: Window) -> Field:
        """Return the uniform random number (0 to 1) of each pixel's plot in a window."""
        y = np.arange(window.rows.start, window.rows.stop, dtype=np.float32)[:, None] + 1.6 * self._bend[0](*window.at)
        x = np.arange(window.cols.start, window.cols.stop, dtype=np.float32)[None] + 1.6 * self._bend[1](*window.at)
        row, col = (np.floor(part / PLOT).astype(np.intp) + 3 for part in (y, x))
        nearest = np.full(window.size, np.inf, np.float32)
        numbers = np.zeros(window.size, np.float32)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                at = ((row + down).clip(0, self._chance.shape[0] - 1), (col + right).clip(0, self._chance.shape[1] - 1))
                away = ((at[0] - 3 + self._middles[0][at]) * PLOT - y) ** 2 + ((at[1] - 3 + self._middles[1][at]) * PLOT - x) ** 2
                closer = away < nearest
                nearest[closer] = away[closer]
                numbers[closer] = self._chance[at][closer]
        return numbers


@dataclass(frozen=True)
class Villages:
    """Centres (row, column) and radii of the villages, in pixels."""

    centres: NDArray[np.float64]
    radii: NDArray[np.float64]

    def density(self, window: Window) -> Field:
        """Return the density of buildings in a window, 0 to 1."""
        density = np.zeros(window.size, np.float32)
        for (y, x), radius in zip(self.centres, self.radii, strict=True):
            reach = int(3 * radius)
            top, bottom = (min(max(int(y) + side * reach, window.rows.start), window.rows.stop) for side in (-1, 1))
            left, right = (min(max(int(x) + side * reach, window.cols.start), window.cols.stop) for side in (-1, 1))
            if top < bottom and left < right:
                rows, cols = np.ogrid[top:bottom, left:right]
                part = density[top - window.rows.start : bottom - window.rows.start, left - window.cols.start : right - window.cols.start]
                np.maximum(part, np.exp(-(((rows - y) ** 2 + (cols - x) ** 2) / radius**2)), out=part)
        return density


def _settle(shape: tuple[int, int], distance: Layer, rng: np.random.Generator) -> tuple[Villages, Shapes]:
    """Make the villages and the roads that connect them."""
    import shapely
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import cdist

    count = max(4, shape[0] * shape[1] // 50_000)
    offers = rng.uniform((0, 0), shape, (60 * count, 2))
    far = distance[tuple(offers.astype(int).T)]
    offers = offers[(far > 6) & (far < 60)]
    centres = offers[:1]
    for point in offers[1:]:
        if len(centres) < count and cdist(point[None], centres).min() > 90:
            centres = np.vstack([centres, point])
    villages = Villages(centres, rng.lognormal(2.75, 0.45, len(centres)))
    tree = minimum_spanning_tree(cdist(centres, centres)).tocoo()
    ends = np.stack([centres[tree.row], centres[tree.col]], axis=1)
    along = np.linspace(0, 1, 25)[None, :, None]
    points = ends[:, :1] * (1 - along) + ends[:, 1:] * along
    sway = np.cumsum(rng.normal(0, 3.0, points.shape), axis=1)
    points += sway - sway[:, -1:] * along - sway[:, :1] * (1 - along)
    lines = shapely.linestrings(points[..., ::-1])
    return villages, Shapes(np.asarray(shapely.buffer(lines, 0.55), object))
