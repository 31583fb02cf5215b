"""Measure how much of a test a model could know from the location alone, and judge a split by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.dataset.split_methods import by_tile, correlation_range, groups_of

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

NEIGHBOURS, YEAR = 5, 0.5
"""Of the model that sees only row, column and year: number of neighbours, and distance in tiles between two successive years."""

DRAWS = 1000
INTERVAL = (5, 95)
"""Number of bootstrap draws, and percentiles of the interval of R².

Measured on square windows of the published percentages (`tests/bench/place_tells.py`). R² itself exceeds 0.35 in 17, 24 and 10 % of the
splits by `spatial_block` of 40, 80 and 160 tiles, although its median over all windows is −0.40, 0.08 and −0.01; the lower end of the
interval exceeds it in 0, 1 and 0 %. Of the splits by `paper_histogram`, which leak, the lower end finds 9 % at 40 tiles, 40 % at 160,
79 % at 640 and all from 1280 on.
"""

LEAST_PLACES = 5
"""Minimum number of separate places in a test for an interval. With 4 and fewer it is wider than 2 on windows of 40 tiles."""

TOUCHING = 0.9
"""Share of the test that touches train above which train and test are not separated in space: blocks of 2 × 2 tiles and single tiles give
1.00, blocks of 6 × 6 tiles on SmallMinesDS 0.41, one of four geographic blocks left out 0.55 to 0.78 on 40 tiles."""

Judgement = Literal["separated", "leaks", "not separated", "undecided", "no test"]


@dataclass(frozen=True)
class Leakage:
    """How much of the test can be predicted without its pixels; NaN where there is nothing to compare.

    Attributes:
        twins: share of the test's rows whose tile is in train in another year.
        neighbours: share of the test's rows that touch a tile of train (of any year).
        r2, auc: R² of the class share and AUC of any mining, predicted from the `NEIGHBOURS` nearest rows of train in row, column
            and year, weighted by distance. Rows without a class share are left out.
        r2_low, r2_high: 90 % interval of R², see `r2_interval`; NaN with fewer than `LEAST_PLACES` places.
        places: number of separate places of the test: squares whose side is the distance of correlation.
    """

    twins: float
    neighbours: float
    r2: float
    auc: float
    r2_low: float
    r2_high: float
    places: int


def leakage(table: pd.DataFrame) -> Leakage:
    """Measure the leakage of a split.

    Args:
        table: tile_id, year, row, col, class_percent (may be NaN), split.
    """
    from scipy.spatial import cKDTree

    nothing = float("nan")
    table = table.sort_values(["year", "tile_id"], ignore_index=True)  # of rows at equal distances the first are the nearest
    train, test = (table[table["split"] == name] for name in ("train", "test"))
    if train.empty or test.empty:
        return Leakage(nothing, nothing, nothing, nothing, nothing, nothing, 0)
    twins = float(test["tile_id"].isin(train["tile_id"]).mean())
    tree = cKDTree(train[["row", "col"]].drop_duplicates().to_numpy(np.float64))
    distance, _ = tree.query(test[["row", "col"]].to_numpy(np.float64), k=2, p=np.inf)
    nearest = np.where(distance[:, 0] == 0, distance[:, 1], distance[:, 0])
    return Leakage(twins, float((nearest <= 1).mean()), *_by_location(table.dropna(subset=["class_percent"])))


def _by_location(table: pd.DataFrame) -> tuple[float, float, float, float, int]:
    """Return r2, auc, r2_low, r2_high and places, see `Leakage`."""
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.neighbors import KNeighborsRegressor

    nothing = float("nan")
    train, test = (table[table["split"] == name] for name in ("train", "test"))
    if train.empty or test.empty:
        return nothing, nothing, nothing, nothing, 0
    years = {year: number for number, year in enumerate(sorted(table["year"].unique()))}

    def coordinates(rows: pd.DataFrame) -> Any:
        return np.column_stack([rows["row"], rows["col"], rows["year"].map(years) * YEAR]).astype(np.float64)

    model = KNeighborsRegressor(min(NEIGHBOURS, len(train)), weights="distance").fit(
        coordinates(train), train["class_percent"].to_numpy(np.float64)
    )
    predicted = np.asarray(model.predict(coordinates(test)), np.float64)
    share = test["class_percent"].to_numpy(np.float64)
    mined = share > 0
    r2 = float(r2_score(share, predicted)) if len(test) > 1 and share.std() > 0 else nothing
    auc = float(roc_auc_score(mined, predicted)) if 0 < mined.sum() < len(mined) else nothing
    tiles, percent = by_tile(table)
    place = groups_of(test, correlation_range(tiles, percent.mean(axis=1)))
    low, high = r2_interval(share, predicted, place) if np.isfinite(r2) else (nothing, nothing)
    return r2, auc, low, high, int(place.max()) + 1


def r2_interval(share: Floats, predicted: Floats, place: NDArray[np.int64]) -> tuple[float, float]:
    """Return the 90 % interval of R² by bootstrap over places (Efron & Tibshirani 1993, percentile method), so that tiles that are alike
    count once; NaN with fewer than `LEAST_PLACES` places.

    Args:
        share: true values.
        place: number of the place of each row, from 0.
    """
    count = int(place.max()) + 1
    if count < LEAST_PLACES:
        return float("nan"), float("nan")
    rows, sums, squares, misses = (np.bincount(place, of, count) for of in (np.ones(len(share)), share, share**2, (share - predicted) ** 2))
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    variation = drawn @ squares - (drawn @ sums) ** 2 / (drawn @ rows)
    varied = variation > 1e-9 * max(float(squares.sum()), 1e-9)
    r2 = 1 - (drawn @ misses)[varied] / variation[varied]
    if len(r2) < DRAWS / 2:
        return float("nan"), float("nan")
    low, high = np.percentile(r2, INTERVAL)
    return float(low), float(high)


def judge(measured: Leakage, limit: float) -> tuple[Judgement, str]:
    """Judge a split, in a word and in a sentence.

    Args:
        limit: of R² (`doctor.location_r2`).
    """
    if not np.isfinite(measured.twins):
        return "no test", "no tile is in the test, or none in train"
    if measured.twins > 0:
        return "leaks", f"{100 * measured.twins:.0f} % of the test patches have their tile in train in another year"
    if not np.isfinite(measured.r2):
        reason = "the class share is the same all over the test, so that it cannot tell whether place alone predicts it"
    elif not np.isfinite(measured.r2_low):
        reason = (
            f"the test has {measured.places} separate places, fewer than {LEAST_PLACES}: too few to tell whether place alone predicts it"
        )
    else:
        measure = f"R² {measured.r2:.2f} (90 % interval {measured.r2_low:.2f} to {measured.r2_high:.2f})"
        if measured.r2_low > limit:
            return "leaks", f"place and year alone predict the class share of the test, {measure}"
        if measured.r2_high <= limit:
            return "separated", f"place and year alone do not predict the class share of the test, {measure}"
        reason = f"the test is too small to tell whether place alone predicts it, {measure} with {measured.places} separate places"
    if measured.neighbours >= TOUCHING:
        return "not separated", f"{100 * measured.neighbours:.0f} % of the test patches touch a tile of train, and {reason}"
    return "undecided", reason
