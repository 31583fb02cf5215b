"""Splits of the tiles into train, val and test, and how much of the test a model could know from the place alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.settings.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

NAMES = ("train", "val", "test")
BUFFER = "buffer"
"""Tiles of no split: too near to one of another."""

BINS = np.arange(0.0, 101.0, 10.0)
"""Bins of the class share in %, as in the released split: 0 to 10 inclusive, above 10 to 20 inclusive …"""

RELEASED_TRAIN = 0.7
TRIES = 64
"""Assignments of blocks that are tried; the best balanced is taken."""

LEAST_GROUPS = 12
"""Blocks are made no larger than leaves this many of them, so that three splits can be balanced at all."""

NEIGHBOURS, YEAR = 5, 0.5
"""Of the model that sees only row, column and year: how many neighbours, and how many tiles another year is away."""


def bins_of(percent: Floats) -> NDArray[np.int64]:
    """Bin 0…9 of each class share."""
    return np.clip(np.ceil(np.asarray(percent, np.float64) / 10).astype(np.int64) - 1, 0, 9)


def correlogram(row: NDArray[np.int64], col: NDArray[np.int64], percent: Floats, farthest: int = 20) -> Floats:
    """Autocorrelation of the class share at distances of 1, 2, … `farthest` tiles (the larger of rows and columns), NaN without pairs.

    By the autocorrelation of the masked grid (Fourier transform), so that it costs the same whatever the number of pairs.
    """
    shape = (int(row.max() - row.min()) + 1, int(col.max() - col.min()) + 1)
    here = np.zeros(shape)
    values = np.zeros(shape)
    here[row - row.min(), col - col.min()] = 1
    values[row - row.min(), col - col.min()] = percent - percent.mean()
    size = (2 * shape[0], 2 * shape[1])

    def pairs(grid: Floats) -> Floats:
        spectrum = np.fft.rfft2(grid, size)
        found: Floats = np.fft.irfft2(np.abs(spectrum) ** 2, size)
        return found

    dy, dx = np.meshgrid(np.fft.fftfreq(size[0], 1 / size[0]), np.fft.fftfreq(size[1], 1 / size[1]), indexing="ij")
    lag = np.rint(np.maximum(np.abs(dy), np.abs(dx))).astype(np.int64).ravel()
    products, number = (np.bincount(lag, pairs(grid).ravel())[: farthest + 1] for grid in (values, here))
    variance = float(np.mean((percent - percent.mean()) ** 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(np.rint(number) > 0, products / np.rint(number) / variance, np.nan)
    return np.asarray(np.pad(found[1:], (0, max(0, farthest + 1 - len(found))), constant_values=np.nan), np.float64)


def block_side(tiles: pd.DataFrame, percent: Floats) -> int:
    """Side of a block in tiles: the distance at which the correlogram of the class share reaches 0, as far as `LEAST_GROUPS` allows.

    0 is what cannot be told from it: less than the standard error 1/√n of a field without correlation.
    """
    found = correlogram(tiles["row"].to_numpy(np.int64), tiles["col"].to_numpy(np.int64), percent)
    zero = np.flatnonzero(np.nan_to_num(found) < 1 / np.sqrt(len(tiles)))
    side = int(zero[0]) + 1 if len(zero) else len(found)
    while side > 1 and len(np.unique(groups_of(tiles, side))) < LEAST_GROUPS:
        side -= 1
    return side


def groups_of(tiles: pd.DataFrame, side: int) -> NDArray[np.int64]:
    """Number of the block of `side` × `side` tiles in which each tile lies."""
    row, col = (tiles[name].to_numpy(np.int64) - int(tiles[name].min()) for name in ("row", "col"))
    key = (row // side) * (int(col.max()) // side + 1) + col // side
    return np.unique(key, return_inverse=True)[1].astype(np.int64)


def make_splits(table: pd.DataFrame, settings: Splits) -> pd.DataFrame:
    """Assign every tile and year.

    Args:
        table: tile_id, year, row, col, block, class_percent (NaN counts as 0); one row per tile and year.

    Returns:
        tile_id, year, split, sorted by year and tile.

    Raises:
        UserError: too few tiles, or no such block.
    """
    table = table.sort_values(["year", "tile_id"], ignore_index=True).assign(class_percent=table["class_percent"].fillna(0.0))
    if settings.method == "paper_histogram":
        found = np.full(len(table), "", object)
        for number, (_, own) in enumerate(table.groupby("year", sort=True)):
            found[own.index] = paper_histogram(own["class_percent"].to_numpy(np.float64), settings.seed + number)
        return table[["tile_id", "year"]].assign(split=found.astype(str))
    tiles, percent = by_tile(table)
    if settings.method == "leave_block_out":
        if settings.test_block not in set(tiles["block"]):
            known = ", ".join(sorted(set(tiles["block"])))
            raise UserError(f"splits.test_block among the blocks {known}", f"{settings.test_block}", "name one of them")
        inside = (tiles["block"] == settings.test_block).to_numpy()
        if inside.all():
            raise UserError("tiles of other blocks than splits.test_block", "none: the run has one block", "choose another method")
        side = _side(tiles, percent, settings)
        rest = tiles[~inside].reset_index(drop=True)
        share = settings.val / (settings.val + settings.train)
        chosen = np.full(len(tiles), "test", object)
        chosen[~inside] = balanced(groups_of(rest, side), percent[~inside], {"train": 1 - share, "val": share}, settings.seed)
    else:
        group = groups_of(tiles, _side(tiles, percent, settings)) if settings.method == "spatial_block" else np.arange(len(tiles))
        shares = {"train": settings.train, "val": settings.val, "test": settings.test}
        if settings.method == "histogram_tile":
            chosen = stratified(bins_of(percent.max(axis=1)), shares, settings.seed)
        else:
            chosen = balanced(group, percent, shares, settings.seed)
    if settings.buffer_tiles:
        chosen = with_buffer(tiles, chosen, settings.buffer_tiles)
    if missing := sorted({name for name in NAMES if getattr(settings, name) > 0} - set(chosen)):
        raise UserError(
            f"tiles for {', '.join(NAMES)}",
            f"none for {', '.join(missing)}: {len(tiles)} tiles",
            "take smaller blocks (splits.block_tiles), no buffer, or another method",
        )
    return table[["tile_id", "year"]].assign(split=table["tile_id"].map(dict(zip(tiles["tile_id"], chosen, strict=True))))


def by_tile(table: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """The tiles in order, one row each, and their class shares (tile, year), 0 where not known."""
    tiles = table.drop_duplicates("tile_id").sort_values("tile_id", ignore_index=True)
    shares = table.pivot_table(index="tile_id", columns="year", values="class_percent", dropna=False).loc[tiles["tile_id"]]
    return tiles, np.nan_to_num(shares.to_numpy(np.float64))


def _side(tiles: pd.DataFrame, percent: Floats, settings: Splits) -> int:
    return block_side(tiles, percent.mean(axis=1)) if settings.block_tiles == "correlogram" else settings.block_tiles


def paper_histogram(percent: Floats, seed: int) -> NDArray[np.object_]:
    """The released split of one year: in each bin of ten points shuffle, `int(0.7 n)` train, the rest test; a single one trains."""
    bins = bins_of(percent)
    rng = np.random.default_rng(seed)
    found = np.full(len(percent), "test", object)
    for one in range(len(BINS) - 1):
        own = rng.permutation(np.flatnonzero(bins == one))
        found[own[: max(int(RELEASED_TRAIN * len(own)), 1 if len(own) == 1 else 0)]] = "train"
    return found


def stratified(stratum: NDArray[np.int64], shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """Random assignment that keeps the shares in every stratum, and over all where a stratum has too few."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.uniform(size=len(stratum)), stratum))
    names, share = list(shares), np.array(list(shares.values()))
    # the n-th of the ordered tiles goes where most is lacking so far: every stretch of the order keeps the shares
    given = np.zeros(len(names))
    found = np.full(len(stratum), "", object)
    for number, place in enumerate(order, 1):
        pick = int(np.argmax(share * number - given))
        given[pick] += 1
        found[place] = names[pick]
    return found


def balanced(group: NDArray[np.int64], percent: Floats, shares: Mapping[str, float], seed: int) -> NDArray[np.object_]:
    """Whole groups to splits, so that numbers of tiles, mining area and histograms of the class share meet the shares.

    Groups are given out one by one, largest first with some chance, each to where it brings the sums nearest to their targets;
    of `TRIES` such assignments the best balanced one is taken.

    Args:
        group: of each tile, 0….
        percent: (tile, year) class shares.
    """
    count = int(group.max()) + 1 if len(group) else 0
    tiles = np.bincount(group, minlength=count)
    columns = [tiles.astype(np.float64)]
    for year in range(percent.shape[1]):
        columns.append(np.bincount(group, percent[:, year], minlength=count).astype(np.float64))
        bins = bins_of(percent[:, year])
        columns += [np.bincount(group, bins == one, minlength=count).astype(np.float64) for one in range(10) if (bins == one).any()]
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
        given = np.zeros((len(names), sums.shape[1]))
        chosen = np.zeros(count, np.int64)
        for one in order:
            now = given - share[:, None]
            gain = ((now + part[one]) ** 2 - now**2) @ weight / share  # a split of a small share misses its target sooner
            chosen[one] = int(np.argmin(gain))
            given[chosen[one]] += part[one]
        miss = float(np.sum((given - share[:, None]) ** 2 @ weight / share))
        if miss < least:
            best, least = chosen, miss
    return np.array(names, object)[best][group]


def with_buffer(tiles: pd.DataFrame, chosen: NDArray[np.object_], width: int) -> NDArray[np.object_]:
    """Take out the tiles of train and val that lie within `width` tiles of a test tile (and of train within it of val)."""
    from scipy.spatial import cKDTree

    at = tiles[["row", "col"]].to_numpy(np.float64)
    found = chosen.copy()
    for near, others in (("test", ("train", "val")), ("val", ("train",))):
        here = at[chosen == near]
        if len(here):
            distance, _ = cKDTree(here).query(at, p=np.inf, distance_upper_bound=width + 0.5)
            found[np.isin(chosen, others) & np.isfinite(distance)] = BUFFER
    return found


@dataclass(frozen=True)
class Leakage:
    """What a test could be known from without looking at pixels; NaN where there is nothing to compare.

    Attributes:
        twins: share of the test's rows whose tile is in train in another year.
        neighbours: share of the test's rows that touch a tile of train (of any year).
        r2, auc: of the class share, and of whether there is any mining, by the `NEIGHBOURS` nearest rows of train in row, column and
            year, weighted by distance.
    """

    twins: float
    neighbours: float
    r2: float
    auc: float


def leakage(table: pd.DataFrame) -> Leakage:
    """Measure it.

    Args:
        table: tile_id, year, row, col, class_percent, split.
    """
    from scipy.spatial import cKDTree
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.neighbors import KNeighborsRegressor

    train, test = (table[table["split"] == name] for name in ("train", "test"))
    if train.empty or test.empty:
        return Leakage(*[float("nan")] * 4)
    twins = float(test["tile_id"].isin(train["tile_id"]).mean())
    tree = cKDTree(train[["row", "col"]].drop_duplicates().to_numpy(np.float64))
    distance, _ = tree.query(test[["row", "col"]].to_numpy(np.float64), k=2, p=np.inf)
    nearest = np.where(distance[:, 0] == 0, distance[:, 1], distance[:, 0])
    years = {year: number for number, year in enumerate(sorted(table["year"].unique()))}

    def seen(rows: pd.DataFrame) -> Any:
        return np.column_stack([rows["row"], rows["col"], rows["year"].map(years) * YEAR]).astype(np.float64)

    model = KNeighborsRegressor(min(NEIGHBOURS, len(train)), weights="distance").fit(
        seen(train), train["class_percent"].to_numpy(np.float64)
    )
    guess = model.predict(seen(test))
    share = test["class_percent"].to_numpy(np.float64)
    mined = share > 0
    r2 = float(r2_score(share, guess)) if len(test) > 1 and share.std() > 0 else float("nan")
    auc = float(roc_auc_score(mined, guess)) if 0 < mined.sum() < len(mined) else float("nan")
    return Leakage(twins, float((nearest <= 1).mean()), r2, auc)


def folds(table: pd.DataFrame, settings: Splits, number: int = 5) -> pd.DataFrame:
    """A cross-validation over blocks, balanced like `spatial_block`: tile_id, year, fold (1…)."""
    tiles, percent = by_tile(table)
    group = groups_of(tiles, _side(tiles, percent, settings))
    chosen = balanced(group, percent, {str(one): 1 / number for one in range(1, number + 1)}, settings.seed)
    ordered = table.sort_values(["year", "tile_id"], ignore_index=True)
    fold = ordered["tile_id"].map(dict(zip(tiles["tile_id"], chosen.astype(np.int64), strict=True)))
    return ordered[["tile_id", "year"]].assign(fold=fold)


def moves(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, int]:
    """How many tiles and years go from where to where (`train → test`), come or go."""
    both = before.merge(after, on=["tile_id", "year"], how="outer", suffixes=("_before", "_after"))
    old, new = (both[f"split_{name}"].fillna("–") for name in ("before", "after"))
    changed = old != new
    return {str(key): int(value) for key, value in (old[changed] + " → " + new[changed]).value_counts().sort_index().items()}
