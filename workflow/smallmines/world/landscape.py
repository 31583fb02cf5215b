"""The land of the miniature Earth: where it lies, its hills, rivers, villages and mines, one class per 10 m pixel and year.

All fields cover the world's grid (the run's lattice with a margin) as (row, column) arrays, and depend on seed and
size alone. Lengths in pixels are pixels of 10 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.config import Config, Grid
from smallmines.grid import blocks_of, fishnet
from smallmines.job import UserError

if TYPE_CHECKING:
    import geopandas as gpd

Field = NDArray[np.float32]

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
"""Classes of the land; a class's position is its code."""
CODE = {name: code for code, name in enumerate(CLASSES)}
MINING = ("pit", "tailings", "pond")

MARGIN = 64
"""Pixels of land around the run's lattice, so that scenes reach beyond the area of interest."""
CENTRE = (610600.0, 690000.0)
"""Easting and northing of the middle of the area: the meridian 2° W of EPSG:32630, where two real DEM tiles meet."""
COARSE = 8
"""Side in pixels of a cell of the drainage network."""
SHARES = (0.055, 0.0766)
"""True share of mining in the first and the last year (SmallMinesDS: 5.493 % and 7.655 %)."""


@dataclass(frozen=True)
class Place:
    """Where the world lies.

    Attributes:
        aoi: one irregular polygon, in the grid's CRS.
        cells: the run's tiles (tile_id, row, col, block, geometry).
        geobox: the world's grid: the bounding rectangle of all tiles and `MARGIN` pixels around it.
    """

    aoi: gpd.GeoDataFrame
    cells: gpd.GeoDataFrame
    geobox: GeoBox
    tile_size: int

    def tiles_of_pixels(self) -> NDArray[np.int32]:
        """Position of each pixel's tile in `cells`, −1 outside, (row, column)."""
        out = np.full(self.geobox.shape, -1, np.int32)
        for index, (row, col) in enumerate(zip(self.cells["row"], self.cells["col"], strict=True)):
            top, left = MARGIN + row * self.tile_size, MARGIN + col * self.tile_size
            out[top : top + self.tile_size, left : left + self.tile_size] = index
        return out


def window_in(outer: GeoBox, inner: GeoBox) -> tuple[slice, slice]:
    """Rows and columns of `outer` that `inner`, on the same lattice, covers."""
    row = round((inner.transform.f - outer.transform.f) / outer.transform.e)
    col = round((inner.transform.c - outer.transform.c) / outer.transform.a)
    return slice(row, row + inner.shape.y), slice(col, col + inner.shape.x)


@dataclass(frozen=True)
class Land:
    """What is on the ground.

    Attributes:
        elevation: height of the ground in m.
        canopy: height of what stands on it in m, per year.
        classes: class code (uint8) per year.
        truth: True where people would call it mining, per year. Vegetation islands are left out, smaller ones kept.
        texture: variation within the classes, per year: three fields of mean 0 and sd 1 (brightness, greenness, moisture).
    """

    elevation: Field
    canopy: dict[str, Field]
    classes: dict[str, NDArray[np.uint8]]
    truth: dict[str, NDArray[np.bool_]]
    texture: dict[str, tuple[Field, Field, Field]]


def rng_of(seed: int, *keys: int) -> np.random.Generator:
    """The random stream of one thing: independent of every other and of the order in which they are made."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *keys])))


def noise(shape: tuple[int, int], rng: np.random.Generator, scale: float, beta: float = 3.0) -> Field:
    """A random field of mean 0 and sd 1: flat spectrum for waves longer than `scale` pixels, power ∝ k^−beta for shorter ones."""
    import scipy.fft

    padded = tuple(scipy.fft.next_fast_len(int(side + min(side, 2 * scale)), real=True) for side in shape)
    spectrum = scipy.fft.rfft2(rng.standard_normal(padded, np.float32))
    ky = scipy.fft.fftfreq(padded[0]).astype(np.float32)[:, None]
    kx = scipy.fft.rfftfreq(padded[1]).astype(np.float32)[None]
    spectrum *= (1 + (ky * ky + kx * kx) * np.float32((2.2 * scale) ** 2)) ** np.float32(-beta / 4)
    out = scipy.fft.irfft2(spectrum, s=padded)[: shape[0], : shape[1]]
    out -= out.mean(dtype=np.float64)
    out /= out.std(dtype=np.float64)
    return np.ascontiguousarray(out, np.float32)


def place(config: Config, tiles: int, seed: int) -> Place:
    """An irregular area that touches `tiles` cells of the config's lattice (the nearest count it can reach).

    Raises:
        UserError: fewer tiles than blocks.
    """
    import geopandas as gpd
    import shapely

    grid = config.grid
    if tiles < grid.blocks:
        raise UserError(f"at least {grid.blocks} tiles for {grid.blocks} blocks", f"{tiles}", "raise --tiles or lower grid.blocks")
    rng = rng_of(seed, 1)
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    waves = np.arange(2, 16)
    sizes = rng.normal(0, 0.34 / waves**0.9)
    radius = np.exp((sizes[:, None] * np.cos(waves[:, None] * angle + rng.uniform(0, 2 * np.pi, len(waves))[:, None])).sum(axis=0))
    outline = np.column_stack([1.12 * radius * np.cos(angle), 0.9 * radius * np.sin(angle)])

    def area(size: float) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
        shape = shapely.make_valid(shapely.Polygon(np.round(np.asarray(CENTRE) + size * outline, 2)))
        aoi = gpd.GeoDataFrame({"name": ["miniature Earth"]}, geometry=[shape], crs=grid.crs)
        return aoi, fishnet(aoi, grid)

    low, high = 0.0, 2 * np.sqrt(tiles) * grid.resolution * grid.tile_size
    best = area(high)
    for _ in range(48):
        middle = (low + high) / 2
        found = area(middle)
        if abs(len(found[1]) - tiles) < abs(len(best[1]) - tiles):
            best = found
        if len(found[1]) == tiles:
            break
        low, high = (middle, high) if len(found[1]) < tiles else (low, middle)
    aoi, cells = best
    cells["block"] = blocks_of(cells, grid.blocks, grid.block_seed).astype(str)
    return Place(aoi, cells, _world_grid(cells, grid), grid.tile_size)


def _world_grid(cells: gpd.GeoDataFrame, grid: Grid) -> GeoBox:
    from affine import Affine

    west, south, east, north = cells.total_bounds
    margin, step = MARGIN * grid.resolution, grid.resolution
    shape = (round((north - south) / step) + 2 * MARGIN, round((east - west) / step) + 2 * MARGIN)
    return GeoBox(shape, Affine(step, 0, west - margin, 0, -step, north + margin), grid.crs)


def make_land(where: Place, years: Sequence[str], seed: int) -> Land:
    """Grow the land of all years, which share everything but the mines, the colour of the rivers and part of the texture."""
    shape = (where.geobox.shape.y, where.geobox.shape.x)
    hills = noise(shape, rng_of(seed, 10), 150, 3.6)
    rivers = _rivers(hills, rng_of(seed, 11))
    distance = _distance(rivers.raster(rivers.accumulated >= STREAM, shape))
    relief = np.logaddexp(0, 1.6 * hills).astype(np.float32) * (1 - np.exp(-((distance / 45) ** 1.3)))
    rough = noise(shape, rng_of(seed, 12), 40, 3.2)
    elevation = (118 + rivers.fall(shape) * 0.0022 + 58 * relief + 5 * rough * np.minimum(relief, 1)).astype(np.float32)
    mines = _mines(where, distance, len(years), seed)
    base = _cover(shape, hills, distance, rivers, seed)
    classes: dict[str, NDArray[np.uint8]] = {}
    truth: dict[str, NDArray[np.bool_]] = {}
    texture: dict[str, tuple[Field, Field, Field]] = {}
    canopy: dict[str, Field] = {}
    common = [_texture(shape, rng_of(seed, 20, index)) for index in range(3)]
    for number, (year, mine) in enumerate(zip(years, mines, strict=True)):
        cover = base.copy()
        if number:
            cover[mines[number - 1] & ~mine] = CODE["regrowth"]
        turbid = rivers.downstream(mine) > 40
        water = rivers.accumulated >= STREAM
        cover[rivers.raster(water & ~turbid, shape)] = CODE["clear_water"]
        cover[rivers.raster(water & turbid, shape)] = CODE["turbid_river"]
        big = rivers.raster(rivers.accumulated >= 12 * STREAM, shape)
        cover, truth[year] = _dig(cover, mine & ~big, shape, seed)
        classes[year] = cover
        own = [_texture(shape, rng_of(seed, 21, number, index)) for index in range(3)]
        texture[year] = tuple(0.8 * a + 0.6 * b for a, b in zip(common, own, strict=True))  # type: ignore[assignment]
        tall = np.zeros(len(CLASSES), np.float32)
        tall[[CODE["forest"], CODE["fallow"], CODE["roof"], CODE["regrowth"]]] = (16, 5, 3, 2)
        canopy[year] = tall[cover]
    return Land(elevation, canopy, classes, truth, texture)


def _texture(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Patchiness at several scales: stands of 400 m, plots of 80 m, single pixels."""
    sum_ = 0.6 * noise(shape, rng, 40) + 0.65 * noise(shape, rng, 6, 2.6) + 0.4 * rng.standard_normal(shape, np.float32)
    return np.asarray(sum_ / sum_.std(dtype=np.float64), np.float32)


def _distance(of: NDArray[np.bool_]) -> Field:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~of), np.float32)


STREAM = 220
"""Cells of the drainage network (of 80 m) from which on a stream is drawn: 1.4 km²."""


@dataclass(frozen=True)
class Rivers:
    """The drainage tree: each coarse cell, row by row, and the cell it drains into.

    Attributes:
        parent: index of the next cell downstream; an outlet's own index.
        depth: cells down to the outlet.
        length: metres down to the outlet.
        accumulated: cells upstream, the cell itself included.
        xy: drawn position (column, row) in pixels.
    """

    grid: tuple[int, int]
    parent: NDArray[np.intp]
    depth: NDArray[np.int64]
    length: NDArray[np.float64]
    accumulated: NDArray[np.float64]
    xy: NDArray[np.float64]

    def raster(self, chosen: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels of the channels that leave the chosen cells; wider where more land drains into them."""
        import shapely

        lines = shapely.linestrings(np.stack([self.xy[chosen], self.xy[self.parent[chosen]]], axis=1))
        half_width = 0.38 + 0.011 * np.sqrt(self.accumulated[chosen])
        return burn(shapely.buffer(lines, half_width, quad_segs=3), shape)

    def fall(self, shape: tuple[int, int]) -> Field:
        """Metres along the water to the outlet, smoothed over divides."""
        from scipy.ndimage import gaussian_filter, zoom

        smooth = gaussian_filter(self.length.reshape(self.grid), 5)
        return np.asarray(zoom(smooth, COARSE, order=1)[: shape[0], : shape[1]], np.float32)

    def downstream(self, source: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Pixels of `source` upstream of each cell."""
        rows, cols = np.nonzero(source)
        cell = np.minimum(rows // COARSE, self.grid[0] - 1) * self.grid[1] + np.minimum(cols // COARSE, self.grid[1] - 1)
        return _accumulate(np.bincount(cell, minlength=self.parent.size).astype(np.float64), self.parent, self.depth)


def burn(shapes: NDArray[Any], shape: tuple[int, int], all_touched: bool = False) -> NDArray[np.bool_]:
    """Pixels of geometries in pixel coordinates (column, row)."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    if not len(shapes):
        return np.zeros(shape, bool)
    return np.asarray(rasterize(list(shapes), shape, transform=Affine.identity(), all_touched=all_touched, dtype="uint8") > 0)


def _rivers(hills: Field, rng: np.random.Generator) -> Rivers:
    """Drain the land: each cell follows the cheapest way to an outlet at the border, where high ground costs more.

    A shortest-path tree has no pits, so every stream reaches the border.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    rows, cols = (-(-side // COARSE) for side in hills.shape)
    padded = np.pad(hills, ((0, rows * COARSE - hills.shape[0]), (0, cols * COARSE - hills.shape[1])), mode="edge")
    height = padded.reshape(rows, COARSE, cols, COARSE).mean(axis=(1, 3)) + 0.25 * rng.standard_normal((rows, cols))
    index = np.arange(rows * cols).reshape(rows, cols)
    cost = np.exp(1.3 * height)
    starts, ends, costs = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, rows - dy), slice(max(0, -dx), cols - max(0, dx)))
        b = (slice(dy, rows), slice(max(0, dx), cols + min(0, dx)))
        starts.append(index[a].ravel())
        ends.append(index[b].ravel())
        costs.append(((cost[a] + cost[b]) * np.hypot(dy, dx)).ravel())
    graph = coo_array((np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends))), shape=(index.size, index.size)).tocsr()
    border = np.concatenate([index[-1], index[:, 0]])
    pieces = np.array_split(border, max(2, len(border) // 130))
    outlets = [int(piece[np.argmin(height.ravel()[piece])]) for piece in pieces]
    _, parent, _ = dijkstra(graph, directed=False, indices=outlets, min_only=True, return_predecessors=True)
    own = np.arange(index.size)
    parent = np.where(parent < 0, own, parent).astype(np.intp)
    y, x = np.divmod(own, cols)
    xy = np.column_stack([x, y]) * COARSE + rng.uniform(0.1, 0.9, (index.size, 2)) * COARSE
    for _ in range(3):
        xy = (xy + xy[parent]) / 2
    step = np.hypot(*(xy - xy[parent]).T) * 10
    depth, length = _to_outlet((parent != own).astype(np.int64), parent), _to_outlet(step, parent)
    return Rivers((rows, cols), parent, depth, length, _accumulate(np.ones(index.size), parent, depth), xy)


def _to_outlet(step: NDArray[Any], parent: NDArray[np.intp]) -> NDArray[Any]:
    """Sum of `step` along the way to the outlet, by pointer doubling."""
    total, jump = step.copy(), parent.copy()
    while (jump != jump[jump]).any():
        total = total + np.where(jump != np.arange(jump.size), total[jump], 0)
        jump = jump[jump]
    return total + 0


def _accumulate(value: NDArray[np.float64], parent: NDArray[np.intp], depth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of `value` over all cells upstream, level by level from the farthest."""
    total = value.copy()
    order = np.argsort(depth, kind="stable")
    edges = np.searchsorted(depth[order], np.arange(1, depth.max() + 2))
    for level in range(len(edges) - 1, 0, -1):
        members = order[edges[level - 1] : edges[level]]
        np.add.at(total, parent[members], total[members])
    return total


def _mines(where: Place, distance: Field, years: int, seed: int) -> list[NDArray[np.bool_]]:
    """The mined ground of each year: clusters along the streams that grow, while some are reclaimed."""
    from scipy.ndimage import label

    shape = distance.shape
    inside = where.tiles_of_pixels() >= 0
    cluster = noise(shape, rng_of(seed, 30), 200, 4.4)
    patch = noise(shape, rng_of(seed, 31), 14, 3.1)
    drawn = 4.0 * cluster + 1.0 * patch - distance / 5.5
    reclaimed = noise(shape, rng_of(seed, 32), 45, 3.2) > 1.25
    mines: list[NDArray[np.bool_]] = []
    for number in range(years):
        share = SHARES[0] + (SHARES[1] - SHARES[0]) * (number / max(1, years - 1))
        score = drawn + 0.5 * noise(shape, rng_of(seed, 33, number), 25, 3.0)
        if mines:
            score = np.where(reclaimed, -np.inf, np.where(mines[-1], np.inf, score))
        # 1.05: the main river's channel, islands and specks take about a twentieth away again
        mine = score > np.quantile(score[inside], 1 - 1.05 * share)
        parts, _ = label(mine)
        large = np.bincount(parts.ravel()) >= 25
        large[0] = False
        mines.append(large[parts])
    return mines


def _dig(
    cover: NDArray[np.uint8], mine: NDArray[np.bool_], shape: tuple[int, int], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay pits, tailings, ponds and islands of vegetation into the mined ground; return the cover and the true mask."""
    from scipy.ndimage import binary_opening

    cover = cover.copy()
    ponds = noise(shape, rng_of(seed, 40), 5, 3.5) > 0.95
    heaps = noise(shape, rng_of(seed, 41), 6, 3.4) > 0.35
    island = mine & (noise(shape, rng_of(seed, 42), 4, 3.4) > 1.35)
    cover[mine] = CODE["pit"]
    cover[mine & heaps] = CODE["tailings"]
    cover[mine & ponds] = CODE["pond"]
    cover[island] = CODE["fallow"]
    return cover, mine & ~binary_opening(island, np.ones((3, 3), bool))


def _cover(shape: tuple[int, int], hills: Field, distance: Field, rivers: Rivers, seed: int) -> NDArray[np.uint8]:
    """Everything but mines and rivers: forest, fields in plots, villages, roads, bare land, sand-winning, ponds."""
    wild = noise(shape, rng_of(seed, 50), 80, 3.2) + 0.55 * hills + 0.35 * noise(shape, rng_of(seed, 51), 12, 2.6)
    plot, size = _plots(shape, rng_of(seed, 52))
    chance = rng_of(seed, 53).uniform(size=size).astype(np.float32)[plot]
    cover = np.full(shape, CODE["fallow"], np.uint8)
    cover[chance > 0.58] = CODE["crops"]
    cover[chance > 0.965] = CODE["bare_land"]
    cover[(wild > 0.15) & (chance < 0.93)] = CODE["forest"]
    cover[(wild < -0.9) & (chance < 0.18)] = CODE["forest"]
    bare = noise(shape, rng_of(seed, 54), 16, 3.0)
    cover[bare > 2.45] = CODE["bare_land"]
    village, roads = _settle(shape, distance, rng_of(seed, 55))
    speck = rng_of(seed, 56).uniform(size=shape).astype(np.float32) * np.exp(0.5 * noise(shape, rng_of(seed, 57), 3, 2.5))
    cover[speck < 0.85 * village] = CODE["bare_land"]
    cover[speck < 0.48 * village] = CODE["roof"]
    cover[roads] = CODE["road"]
    sand = noise(shape, rng_of(seed, 58), 11, 3.2) - np.minimum(_distance(roads), distance) / 25
    cover[sand > np.quantile(sand, 0.988)] = CODE["sand_winning"]
    lake = noise(shape, rng_of(seed, 59), 18, 3.6) - distance / 20
    cover[lake > np.quantile(lake, 0.9965)] = CODE["clear_water"]
    return cover


def _plots(shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.intp], int]:
    """Number of the plot (a field of about 0.8 ha) of each pixel, and how many plots there are."""
    from scipy.spatial import cKDTree

    count = max(16, shape[0] * shape[1] // 80)
    seeds = rng.uniform((0, 0), shape, (count, 2))
    bend = [1.6 * noise(shape, rng, 5, 4.0) for _ in range(2)]
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    _, plot = cKDTree(seeds).query(np.column_stack([(rows + bend[0]).ravel(), (cols + bend[1]).ravel()]))
    return np.asarray(plot, np.intp).reshape(shape), count


def _settle(shape: tuple[int, int], distance: Field, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    """Density of villages (0 to 1) and the roads that join them."""
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
    density = np.zeros(shape, np.float32)
    for (y, x), radius in zip(centres, rng.lognormal(2.75, 0.45, len(centres)), strict=True):
        reach = int(3 * radius)
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        rows, cols = np.ogrid[top : min(shape[0], int(y) + reach), left : min(shape[1], int(x) + reach)]
        part = density[top : top + rows.shape[0], left : left + cols.shape[1]]
        np.maximum(part, np.exp(-(((rows - y) ** 2 + (cols - x) ** 2) / radius**2)), out=part)
    tree = minimum_spanning_tree(cdist(centres, centres)).tocoo()
    ends = np.stack([centres[tree.row], centres[tree.col]], axis=1)
    along = np.linspace(0, 1, 25)[None, :, None]
    points = ends[:, :1] * (1 - along) + ends[:, 1:] * along
    sway = np.cumsum(rng.normal(0, 3.0, points.shape), axis=1)
    points += sway - sway[:, -1:] * along - sway[:, :1] * (1 - along)
    lines = shapely.linestrings(points[..., ::-1])
    return density, burn(np.array([shapely.union_all(shapely.buffer(lines, 0.55))]), shape)
