"""Assign tiles to train, val and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.product import BUFFER, SPLITS
from smallmines.settings.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

BINS = np.arange(0.0, 101.0, 10.0)
"""Bins of the class share in %, as in the released split: 0 to 10 inclusive, above 10 to 20 inclusive …"""

RELEASED_TRAIN = 0.7
TRIES = 64
"""Number of random assignments of blocks; the best balanced is taken."""

LEAST_GROUPS = 12
"""Minimum number of blocks; their size is limited accordingly, so that three splits can be balanced."""


def bins_of(percent: Floats) -> NDArray[np.int64]:
    """Return the bin 0…9 of each class share."""
    return np.clip(np.ceil(np.asarray(percent, np.float64) / 10).astype(np.int64) - 1, 0, 9)


def correlogram(row: NDArray[np.int64], col: NDArray[np.int64], percent: Floats, farthest: int = 20) -> Floats:
    """Return the autocorrelation of the class share at distances of 1, 2, … `farthest` tiles, NaN without pairs.

    The distance is the larger of rows and columns. Computed by Fourier transform of the masked grid, so that the cost does not depend
    on the number of pairs.
    """
    shape = (int(row.max() - row.min()) + 1, int(col.max() - col.min()) + 1)
    present = np.zeros(shape)
    values = np.zeros(shape)
    present[row - row.min(), col - col.min()] = 1
    values[row - row.min(), col - col.min()] = percent - percent.mean()
    size = (2 * shape[0], 2 * shape[1])

    def pairs(grid: Floats) -> Floats:
        spectrum = np.fft.rfft2(grid, size)
        autocorrelation: Floats = np.fft.irfft2(np.abs(spectrum) ** 2, size)
        return autocorrelation

    dy, dx = np.meshgrid(np.fft.fftfreq(size[0], 1 / size[0]), np.fft.fftfreq(size[1], 1 / size[1]), indexing="ij")
    lag = np.rint(np.maximum(np.abs(dy), np.abs(dx))).astype(np.int64).ravel()
    products, number = (np.bincount(lag, pairs(grid).ravel())[: farthest + 1] for grid in (values, present))
    variance = float(np.mean((percent - percent.mean()) ** 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        by_lag = np.where(np.rint(number) > 0, products / np.rint(number) / variance, np.nan)
    return np.asarray(np.pad(by_lag[1:], (0, max(0, farthest + 1 - len(by_lag))), constant_values=np.nan), np.float64)


def correlation_range(tiles: pd.DataFrame, percent: Floats) -> int:
    """Return the distance in tiles at which the correlogram of the class share reaches 0, at most 20.

    A value counts as 0 below the standard error 1/√n of a field without correlation.
    """
    by_lag = correlogram(tiles["row"].to_numpy(np.int64), tiles["col"].to_numpy(np.int64), percent)
    zero = np.flatnonzero(np.nan_to_num(by_lag) < 1 / np.sqrt(len(tiles)))
    return int(zero[0]) + 1 if len(zero) else len(by_lag)


def block_side(tiles: pd.DataFrame, percent: Floats) -> int:
    """Return the side of a block in tiles: `correlation_range`, limited by `LEAST_GROUPS`."""
    side = correlation_range(tiles, percent)
    while side > 1 and len(np.unique(groups_of(tiles, side))) < LEAST_GROUPS:
        side -= 1
    return side


def groups_of(tiles: pd.DataFrame, side: int) -> NDArray[np.int64]:
    """Return the number of the block of `side` × `side` tiles in which each tile lies."""
    row, col = (tiles[name].to_numpy(np.int64) - int(tiles[name].min()) for name in ("row", "col"))
    key = (row // side) * (int(col.max()) // side + 1) + col // side
    return np.unique(key, return_inverse=True)[1].astype(np.int64)


def make_splits(table: pd.DataFrame, settings: Splits) -> pd.DataFrame:
    """Assign every tile and year to a split.

    Args:
        table: tile_id, year, row, col, block, class_percent (NaN counts as 0); one row per tile and year.

    Returns:
        tile_id, year, split, sorted by year and tile.

    Raises:
        UserError: too few tiles, or `splits.test_block` is no block of the run.
    """
    table = table.sort_values(["year", "tile_id"], ignore_index=True).fillna({"class_percent": 0.0})
    if settings.method == "paper_histogram":
        split = np.full(len(table), "", object)
        for number, (_, rows) in enumerate(table.groupby("year", sort=True)):
            split[rows.index] = paper_histogram(rows["class_percent"].to_numpy(np.float64), settings.seed + number)
        return table[["tile_id", "year"]].assign(split=split.astype(str))
    tiles, percent = by_tile(table)
    if settings.method == "leave_block_out":
        chosen = leave_block_out(tiles, percent, settings)
    else:
        group = groups_of(tiles, _side(tiles, percent, settings)) if settings.method == "spatial_block" else np.arange(len(tiles))
        shares = {"train": settings.train, "val": settings.val, "test": settings.test}
        if settings.method == "histogram_tile":
            chosen = stratified(bins_of(percent.max(axis=1)), shares, settings.seed)
        else:
            chosen = balanced_group_split(group, percent, shares, settings.seed)
    if settings.buffer_tiles:
        chosen = with_buffer(tiles, chosen, settings.buffer_tiles)
    if missing := sorted({name for name in SPLITS if getattr(settings, name) > 0} - set(chosen)):
        raise UserError(
            f"tiles for {', '.join(SPLITS)}",
            f"none for {', '.join(missing)}: {len(tiles)} tiles",
            "take smaller blocks (splits.block_tiles), no buffer, or another method",
        )
    return table[["tile_id", "year"]].assign(split=table["tile_id"].map(dict(zip(tiles["tile_id"], chosen, strict=True))))


def leave_block_out(tiles: pd.DataFrame, percent: Floats, settings: Splits) -> NDArray[np.object_]:
    """Return the split of each tile: those of `splits.test_block` test, the others train and val by blocks of tiles."""
    if settings.test_block not in set(tiles["block"]):
        blocks = ", ".join(sorted(set(tiles["block"])))
        raise UserError(f"splits.test_block among the blocks {blocks}", f"{settings.test_block}", "name one of them")
    inside = (tiles["block"] == settings.test_block).to_numpy()
    if inside.all():
        raise UserError("tiles of other blocks than splits.test_block", "none: the run has one block", "choose another method")
    group = groups_of(tiles[~inside].reset_index(drop=True), _side(tiles, percent, settings))
    share = settings.val / (settings.val + settings.train)
    chosen = np.full(len(tiles), "test", object)
    chosen[~inside] = balanced_group_split(group, percent[~inside], {"train": 1 - share, "val": share}, settings.seed)
    return chosen


def by_tile(table: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """Return the tiles in order, one row each, and their class shares (tile, year), 0 where unknown."""
    tiles = table.drop_duplicates("tile_id").sort_values("tile_id", ignore_index=True)
    shares = table.pivot_table(index="tile_id", columns="year", values="class_percent", dropna=False).loc[tiles["tile_id"]]
    return tiles, np.nan_to_num(shares.to_numpy(np.float64))


def _side(tiles: pd.DataFrame, percent: Floats, settings: Splits) -> int:
    return block_side(tiles, percent.mean(axis=1)) if settings.block_tiles == "correlogram" else settings.block_tiles


def paper_histogram(percent: Floats, seed: int) -> NDArray[np.object_]:
    """Return the released split of one year: of the n shuffled tiles of a bin `int(0.7 n)` train, the rest test; a single tile trains."""
    bins = bins_of(percent)
    rng = np.random.default_rng(seed)
    split = np.full(len(percent), "test", object)
    for number in range(len(BINS) - 1):
        members = rng.permutation(np.flatnonzero(bins == number))
        split[members[: max(int(RELEASED_TRAIN * len(members)), 1 if len(members) == 1 else 0)]] = "train"
    return split


def stratified(stratum: NDArray[np.int64], shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """Assign tiles at random so that the shares are kept in every stratum, and over all where a stratum has too few tiles."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.uniform(size=len(stratum)), stratum))
    names, share = list(shares), np.array(list(shares.values()))
    # each tile goes to the split that lacks most so far: every stretch of the order keeps the shares
    assigned = np.zeros(len(names))
    split = np.full(len(stratum), "", object)
    for number, place in enumerate(order, 1):
        pick = int(np.argmax(share * number - assigned))
        assigned[pick] += 1
        split[place] = names[pick]
    return split


def balanced_group_split(group: NDArray[np.int64], percent: Floats, shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """Assign whole groups so that numbers of tiles, mining area and histograms of the class share meet the shares.

    Groups are assigned one by one in random order, larger ones earlier, each to the split where it brings the sums nearest to their
    targets. The best balanced of `TRIES` such assignments is taken.

    Args:
        group: number of the group of each tile, from 0.
        percent: (tile, year) class shares.
    """
    count = int(group.max()) + 1 if len(group) else 0
    tiles = np.bincount(group, minlength=count)
    columns = [tiles.astype(np.float64)]
    for year in range(percent.shape[1]):
        columns.append(np.bincount(group, percent[:, year], minlength=count).astype(np.float64))
        bins = bins_of(percent[:, year])
        columns += [
            np.bincount(group, bins == number, minlength=count).astype(np.float64) for number in range(10) if (bins == number).any()
        ]
    sums = np.stack(columns, axis=1)
    whole = np.maximum(sums.sum(axis=0), 1e-9)
    # the number of tiles and the mining area weigh as much as all bins of a year together
    weight = np.full(sums.shape[1], 1.0 / max(sums.shape[1], 1))
    weight[0] = 1.0
    part = sums / whole
    names, share = list(shares), np.array(list(shares.values()))
    rng = np.random.default_rng(seed)
    best, least = np.zeros(count, np.int64), np.inf
    for _ in range(TRIES):
        order = np.argsort(-tiles * rng.uniform(0.5, 1.5, count), kind="stable")
        assigned = np.zeros((len(names), sums.shape[1]))
        chosen = np.zeros(count, np.int64)
        for member in order:
            excess = assigned - share[:, None]
            cost = ((excess + part[member]) ** 2 - excess**2) @ weight / share  # a split of a small share misses its target sooner
            chosen[member] = int(np.argmin(cost))
            assigned[chosen[member]] += part[member]
        miss = float(np.sum((assigned - share[:, None]) ** 2 @ weight / share))
        if miss < least:
            best, least = chosen, miss
    return np.array(names, object)[best][group]


def with_buffer(tiles: pd.DataFrame, chosen: NDArray[np.object_], width: int) -> NDArray[np.object_]:
    """Move the tiles of train and val within `width` tiles of a test tile, and those of train within it of val, to the buffer."""
    from scipy.spatial import cKDTree

    at = tiles[["row", "col"]].to_numpy(np.float64)
    split = chosen.copy()
    for near, others in (("test", ("train", "val")), ("val", ("train",))):
        members = at[chosen == near]
        if len(members):
            distance, _ = cKDTree(members).query(at, p=np.inf, distance_upper_bound=width + 0.5)
            split[np.isin(chosen, others) & np.isfinite(distance)] = BUFFER
    return split


def folds(table: pd.DataFrame, settings: Splits, number: int = 5) -> pd.DataFrame:
    """Assign folds of a cross-validation over blocks, balanced like `spatial_block`: tile_id, year, fold (1…)."""
    tiles, percent = by_tile(table)
    group = groups_of(tiles, _side(tiles, percent, settings))
    chosen = balanced_group_split(group, percent, {str(fold): 1 / number for fold in range(1, number + 1)}, settings.seed)
    ordered = table.sort_values(["year", "tile_id"], ignore_index=True)
    fold = ordered["tile_id"].map(dict(zip(tiles["tile_id"], chosen.astype(np.int64), strict=True)))
    return ordered[["tile_id", "year"]].assign(fold=fold)


def moves(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, int]:
    """Count the tiles and years that change their split (`train → test`), are new or are gone."""
    both = before.merge(after, on=["tile_id", "year"], how="outer", suffixes=("_before", "_after"))
    old, new = (both[f"split_{name}"].fillna("–") for name in ("before", "after"))
    changed = old != new
    return {str(key): int(value) for key, value in (old[changed] + " → " + new[changed]).value_counts().sort_index().items()}
