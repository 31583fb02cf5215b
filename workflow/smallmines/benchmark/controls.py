"""Controls: what is reached without a model of the pixels. A score near theirs is no skill, and theirs show what a split leaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.metrics import LEVELS, best_threshold, to_uint8
from smallmines.benchmark.offsets import offsets_of
from smallmines.benchmark.pack import Pack, Rows, chunks, known
from smallmines.core.log import logger
from smallmines.dataset.split_leakage import NEIGHBOURS, YEAR
from smallmines.settings.benchmark import Control

Floats = NDArray[np.float64]

CELL = 8
"""Side in pixels of the cells whose share of mining the control of place and year knows."""

SPAN = (-1.0, 1.0)
"""Range of both indices, in `LEVELS` steps for the choice of the threshold."""

INDEX_BANDS = ("B02", "B04", "B8A", "B11")


@dataclass(frozen=True)
class PlaceModel:
    """Share of mining of the cells of train in place and time.

    Attributes:
        points: (cell, 3) row and column in tiles, and the year in steps of `split_leakage.YEAR`.
        share: (cell,) of mining.
        years: known years in order.
    """

    points: Floats
    share: Floats
    years: tuple[int, ...]

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return the mean share of the nearest cells of train, weighted by inverse distance: uint8 (tile, row, column)."""
        from scipy.spatial import cKDTree

        tree, cell = cKDTree(self.points), cell_side(pack.side)
        result = np.zeros((len(rows), pack.side, pack.side), np.uint8)
        nearest = min(NEIGHBOURS, len(self.points))
        for part in chunks(np.arange(len(rows))):
            distance, place = tree.query(cell_points(pack, rows[part], self.years), k=nearest, workers=threads)
            distance, place = (np.reshape(values, (-1, nearest)) for values in (distance, place))
            weight = 1 / np.maximum(distance, 1e-9)
            share = (weight * self.share[place]).sum(axis=1) / weight.sum(axis=1)
            cells = to_uint8(share).reshape(len(part), pack.side // cell, pack.side // cell)
            result[part] = cells.repeat(cell, 1).repeat(cell, 2)
        return result


@dataclass(frozen=True)
class OtherYearModel:
    """Rows of train, whose masks stand in for those of the same tiles in the nearest other year."""

    train: Rows

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return 255 where the tile's mask of the nearest other year in train has mining, else 0: uint8 (tile, row, column)."""
        own = pack.tiles.iloc[self.train]
        by_tile: dict[str, list[tuple[int, int]]] = {}
        for tile, year, row in zip(own["tile_id"], own["year"], self.train.tolist(), strict=True):
            by_tile.setdefault(tile, []).append((int(year), row))
        result = np.zeros((len(rows), pack.side, pack.side), np.uint8)
        for place, row in enumerate(rows.tolist()):
            year = int(pack.years[row])
            others = [(abs(other - year), twin) for other, twin in by_tile.get(pack.tiles["tile_id"].iloc[row], []) if other != year]
            if others:
                result[place] = np.where(pack.masks(np.array([min(others)[1]]))[0] == 1, 255, 0)
        return result


@dataclass(frozen=True)
class IndexModel:
    """Threshold of a spectral index.

    Attributes:
        index: of `INDICES`.
        threshold: mining from it on.
        offset: of the digital numbers, by year.
    """

    index: str
    threshold: float
    offset: dict[int, int]
    bands: tuple[str, ...] = INDEX_BANDS

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return the index, stretched so that its threshold is 0.5: uint8 (tile, row, column)."""
        result = np.zeros((len(rows), pack.side, pack.side), np.uint8)
        for part in chunks(np.arange(len(rows))):
            value = index_values(pack, rows[part], self.offset)[self.index]
            # 0.5 itself counts as no mining, the threshold itself as mining
            stretched = 0.5 + (value - self.threshold) / (2 * (SPAN[1] - SPAN[0])) + 1 / LEVELS
            result[part] = np.where(np.isfinite(value), to_uint8(stretched), 0)
        return result


@dataclass(frozen=True)
class EverythingModel:
    """Mining everywhere."""

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return 255 everywhere: uint8 (tile, row, column)."""
        return np.full((len(rows), pack.side, pack.side), 255, np.uint8)


ControlModel = PlaceModel | OtherYearModel | IndexModel | EverythingModel


def fit(pack: Pack, train: Rows, val: Rows, settings: Control, seed: int, threads: int) -> ControlModel:
    """Return what a control knows of train."""
    if settings.control == "place":
        years = tuple(sorted(set(pack.years.tolist())))
        share = np.concatenate([cell_shares(pack, part) for part in chunks(train)])
        points = np.concatenate([cell_points(pack, part, years) for part in chunks(train)])
        stated = np.isfinite(share)
        return PlaceModel(points[stated], share[stated], years)
    if settings.control == "other_year":
        return OtherYearModel(train)
    if settings.control == "index":
        return fit_index(pack, train)
    return EverythingModel()


def cell_side(side: int) -> int:
    """Return the side of a cell in pixels: the largest divisor of the tile's side up to `CELL`."""
    return max(size for size in range(1, CELL + 1) if side % size == 0)


def cell_shares(pack: Pack, rows: Rows) -> Floats:
    """Return the share of mining of the cells of rows (cell,), tile by tile; NaN without a known pixel."""
    cell = cell_side(pack.side)
    number = pack.side // cell
    cells = pack.masks(rows).reshape(len(rows), number, cell, number, cell)
    mining, there = (cells == 1).sum(axis=(2, 4)), known(cells).sum(axis=(2, 4))
    return np.asarray(mining / np.where(there, there, np.nan), np.float64).ravel()


def cell_points(pack: Pack, rows: Rows, years: tuple[int, ...]) -> Floats:
    """Return the centres of the cells of rows (cell, 3): row and column in tiles, years in steps of `split_leakage.YEAR`."""
    number = pack.side // cell_side(pack.side)
    tiles = pack.tiles.iloc[rows]
    inside = (np.arange(number) + 0.5) / number
    down, right = np.meshgrid(inside, inside, indexing="ij")
    row, col = (tiles[name].to_numpy(np.float64)[:, None, None] + axis[None] for name, axis in (("row", down), ("col", right)))
    step = np.array([years.index(int(year)) for year in tiles["year"]], np.float64) * YEAR
    return np.column_stack([row.ravel(), col.ravel(), np.broadcast_to(step[:, None, None], row.shape).ravel()])


def index_values(pack: Pack, rows: Rows, offset: dict[int, int]) -> dict[str, NDArray[np.float32]]:
    """Return the indices of rows by name, (tile, row, column), NaN gaps: of reflectances, so after the offset is taken off.

    `bare_soil`: BSI = ((B11 + B04) − (B8A + B02)) / ((B11 + B04) + (B8A + B02)) (Rikimaru et al. 2002). `no_plants`: −NDVI.
    """
    image = pack.read(rows, INDEX_BANDS)
    taken_off = np.array([offset[int(year)] for year in pack.years[rows]], np.float32)
    blue, red, nir, swir = np.moveaxis(np.maximum(image - taken_off[:, None, None, None], 0), 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "bare_soil": ((swir + red) - (nir + blue)) / ((swir + red) + (nir + blue)),
            "no_plants": (red - nir) / (red + nir),
        }


def fit_index(pack: Pack, train: Rows) -> IndexModel:
    """Choose index and threshold of the highest IoU on train."""
    offset = offsets_of(pack, pack.years.tolist())
    edges = np.linspace(*SPAN, LEVELS)
    pooled: dict[str, NDArray[np.int64]] = {}
    for part in chunks(train):
        mask = pack.masks(part)
        for name, value in index_values(pack, part, offset).items():
            usable = np.isfinite(value) & known(mask)
            level = np.clip(np.searchsorted(edges, value[usable], side="right") - 1, 0, LEVELS - 1)
            counts = np.bincount(mask[usable].astype(np.int64) * LEVELS + level, minlength=2 * LEVELS).reshape(2, LEVELS)
            pooled[name] = pooled.get(name, np.zeros((2, LEVELS), np.int64)) + counts
    reached = []
    for name, (other, mining) in pooled.items():
        least = best_threshold(mining, other)
        iou = float(mining[least:].sum() / max(mining.sum() + other[least:].sum(), 1))
        reached.append((iou, name, float(edges[least])))
    iou, name, threshold = max(reached)
    logger.info("%s from %.3f on: IoU %.3f on train", name, threshold, iou)
    return IndexModel(name, threshold, offset)
