"""What place alone tells of a test: intervals that know how few places there are, judgements, rows without a class share."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sections import Splits
from smallmines.dataset.split_leakage import LEAST_PLACES, TOUCHING, Leakage, judge, leakage, r2_interval
from smallmines.dataset.split_methods import make_splits

LIMIT = 0.35
KNOWN = Leakage(twins=0.0, neighbours=0.4, r2=0.1, auc=0.6, r2_low=-0.2, r2_high=0.3, places=20)


def world(rows: int, cols: int, length: float, seed: int = 0) -> pd.DataFrame:
    """Tiles of two years with a class share that is alike over about `length` tiles; 0: independent from tile to tile."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.normal(size=(rows, cols)), length) if length else random.normal(size=(rows, cols))
    share = np.clip(10 + 5 * (field - field.mean()) / field.std(), 0, 100).ravel()
    row, col = np.indices((rows, cols)).reshape(2, -1)
    tiles = pd.DataFrame({"tile_id": [f"{number:04d}" for number in range(1, share.size + 1)], "row": row, "col": col, "block": "1"})
    years = [tiles.assign(year=year, class_percent=share + random.normal(0, 0.3, share.size).clip(-share)) for year in (2016, 2022)]
    return pd.concat(years, ignore_index=True)


def split(table: pd.DataFrame, **keys: object) -> pd.DataFrame:
    return table.merge(make_splits(table, replace(Splits(), **keys)), on=["tile_id", "year"])  # type: ignore[arg-type]


def test_scattered_tiles_of_a_smooth_field_leak() -> None:
    measured = leakage(split(world(30, 30, 3), method="histogram_tile"))
    assert measured.r2_low > 0.8
    assert measured.r2_low < measured.r2 < measured.r2_high
    assert judge(measured, LIMIT)[0] == "leaks"


def test_a_field_without_correlation_is_separated_even_by_scattered_tiles() -> None:
    measured = leakage(split(world(30, 30, 0), method="histogram_tile"))
    assert measured.r2_high < 0.1
    assert judge(measured, LIMIT)[0] == "separated"


def test_two_years_on_both_sides_leak_whatever_the_interval() -> None:
    measured = leakage(split(world(20, 20, 0), method="paper_histogram"))
    assert measured.twins > 0.6
    word, reason = judge(measured, LIMIT)
    assert word == "leaks"
    assert "have their tile in train in another year" in reason


@pytest.mark.parametrize("seed", range(6))
def test_a_handful_of_blocks_tells_nothing(seed: int) -> None:
    """40 tiles alike over their whole area: R² of a single split by blocks is high by chance or not at all."""
    measured = leakage(split(world(5, 8, 3, seed), method="spatial_block"))
    assert measured.places < LEAST_PLACES
    assert np.isnan(measured.r2_low)
    word, reason = judge(measured, LIMIT)
    assert word == ("not separated" if measured.neighbours >= TOUCHING else "undecided")
    assert f"{measured.places} separate places" in reason


def test_rows_without_a_class_share_count_for_neighbours_only() -> None:
    table = split(world(20, 20, 2), method="spatial_block", block_tiles=4)
    hole = table["tile_id"].isin(table.loc[table["split"] == "test", "tile_id"].iloc[:3]) | (table["tile_id"] == "0001")
    with_holes = table.assign(class_percent=table["class_percent"].mask(hole))
    measured, without = leakage(with_holes), leakage(table[~hole])
    assert (measured.r2, measured.auc, measured.places) == pytest.approx((without.r2, without.auc, without.places), nan_ok=True)
    assert measured.neighbours == leakage(table).neighbours
    nothing = leakage(table.assign(class_percent=np.nan))
    assert np.isnan([nothing.r2, nothing.auc, nothing.r2_low]).all()
    assert nothing.twins == 0
    assert judge(nothing, LIMIT)[0] == "undecided"


def test_the_order_and_the_index_of_the_rows_do_not_count() -> None:
    table = world(12, 12, 2)
    other = table.sample(frac=1, random_state=3).set_index(np.arange(len(table)) * 7 % 1000 + 5)
    for method in ("spatial_block", "paper_histogram", "histogram_tile"):
        keys = replace(Splits(), method=method, block_tiles=3)
        pd.testing.assert_frame_equal(make_splits(table, keys), make_splits(other, keys))
    first, again = (asdict(leakage(split(rows, block_tiles=3))) for rows in (table, other))
    assert again == pytest.approx(first, nan_ok=True)


def test_the_interval_by_hand() -> None:
    share = np.repeat(np.arange(6.0), 4)
    place = np.repeat(np.arange(6), 4)
    assert r2_interval(share, share, place) == (1.0, 1.0)
    low, high = r2_interval(share, np.full(24, 2.5), place)
    assert high <= 0.0
    assert low < -0.5
    assert np.isnan(r2_interval(share, share, place // 2)).all(), "three places"
    assert np.isnan(r2_interval(np.ones(24), np.ones(24), place)).all(), "one value"


@given(seed=st.integers(0, 10_000), places=st.integers(LEAST_PLACES, 12), noise=st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_an_interval_is_ordered_and_repeats(seed: int, places: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    place = np.arange(4 * places) % places
    share = random.normal(size=place.size)
    predicted = share + noise * random.normal(size=place.size)
    low, high = r2_interval(share, predicted, place)
    assert low <= high <= 1
    assert (low, high) == r2_interval(share, predicted, place)


@pytest.mark.parametrize(
    ("changes", "word", "words"),
    [
        ({}, "separated", "R² 0.10 (90 % interval -0.20 to 0.30)"),
        ({"r2_high": 0.36}, "undecided", "with 20 separate places"),
        ({"r2_high": 0.36, "neighbours": 1.0}, "not separated", "100 % of the test patches touch"),
        ({"r2": 0.6, "r2_low": 0.4, "r2_high": 0.7}, "leaks", "R² 0.60 (90 % interval 0.40 to 0.70)"),
        ({"r2": 0.915, "r2_low": float("nan"), "r2_high": float("nan"), "places": 3}, "undecided", "3 separate places, fewer than 5"),
        ({"r2": float("nan")}, "undecided", "the class share is the same all over the test"),
        ({"twins": 0.01}, "leaks", "1 % of the test patches have their tile in train"),
        ({"twins": float("nan")}, "no test", "no tile is in the test"),
    ],
)
def test_judgements(changes: dict[str, float], word: str, words: str) -> None:
    judged, reason = judge(replace(KNOWN, **changes), LIMIT)  # type: ignore[arg-type]
    assert judged == word
    assert words in reason
