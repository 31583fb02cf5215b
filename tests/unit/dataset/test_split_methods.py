"""Splits: the released algorithm on the released figures, blocks that do not leak, balance, buffers, and how leakage is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from released import on_the_lattice, released
from sections import Splits
from smallmines.config.parse import parse_config
from smallmines.core.errors import UserError
from smallmines.core.product import BUFFER
from smallmines.dataset.split_leakage import leakage
from smallmines.dataset.split_methods import (
    block_side,
    by_tile,
    correlogram,
    folds,
    groups_of,
    make_splits,
    moves,
    paper_histogram,
    with_buffer,
)

RELEASED = {
    2016: ([1758, 166, 90, 59, 23, 22, 10, 6, 1, 0], [1230, 116, 62, 41, 16, 15, 7, 4, 1, 0]),
    2022: ([1638, 229, 110, 68, 37, 24, 20, 8, 0, 1], [1146, 160, 77, 47, 25, 16, 14, 5, 0, 1]),
}
"""Tiles of each bin, and how many of them the release trains on."""


def world(side=30, seed=0, length=3.0):
    """Tiles with a class share that is alike over `length` tiles, two years of the same places."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(side, side)), length)
    field = np.clip((field / field.std() - 0.8) * 25, 0, 95)
    row, col = np.indices((side, side)).reshape(2, -1)
    tile = [f"{number + 1:04d}" for number in range(side * side)]
    parts = []
    for year, gain in ((2016, 0.7), (2022, 1.0)):
        share = np.clip(field.ravel() * gain + rng.normal(0, 1, field.size) * (field.ravel() > 0), 0, 100)
        block = (row // (side // 2) * 2 + col // (side // 2) + 1).astype(str)
        parts.append(pd.DataFrame({"tile_id": tile, "year": year, "row": row, "col": col, "block": block, "class_percent": share}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("year", [2016, 2022])
def test_the_paper_s_algorithm_gives_every_bin_s_numbers(shared_data: Path, year: int) -> None:
    table = released(shared_data, year)
    count, trained = RELEASED[year]
    bins = np.clip(np.ceil(table["class_percentage"] / 10).astype(int) - 1, 0, 9)
    assert (bins == table["bin"].str.extract(r"(\d+)-")[0].astype(int) // 10).all()
    for seed in (0, 1):
        found = paper_histogram(table["class_percentage"].to_numpy(), seed)
        assert [int((bins == one).sum()) for one in range(10)] == count
        assert [int(((bins == one) & (found == "train")).sum()) for one in range(10)] == trained
    assert (paper_histogram(table["class_percentage"].to_numpy(), 0) != found).any()


@pytest.fixture(scope="module")
def ghana(shared_data: Path, repository: Path) -> pd.DataFrame:
    """The released percentages on the lattice."""
    return on_the_lattice(shared_data, repository)


def test_the_release_leaks_and_blocks_do_not(ghana: pd.DataFrame) -> None:
    found = leakage(ghana)
    assert found.twins == pytest.approx(0.70, abs=0.01)
    assert found.neighbours > 0.99
    assert found.r2 == pytest.approx(0.67, abs=0.03)
    assert found.auc == pytest.approx(0.90, abs=0.02)
    bare = ghana.drop(columns="split")
    tiles, percent = by_tile(bare)
    assert block_side(tiles, percent.mean(axis=1)) == 6
    blocks = [leakage(bare.merge(make_splits(bare, Splits(seed=seed)), on=["tile_id", "year"])) for seed in range(9)]
    assert np.median([one.r2 for one in blocks]) <= 0.1
    assert np.median([one.auc for one in blocks]) < 0.8
    assert {one.twins for one in blocks} == {0.0}


def test_blocks_are_whole_and_balanced() -> None:
    table = world()
    found = make_splits(table, Splits(block_tiles=4))
    merged = table.merge(found, on=["tile_id", "year"])
    assert len(merged) == len(table)
    assert merged.groupby("tile_id")["split"].nunique().max() == 1
    tiles, _ = by_tile(table)
    block = pd.Series(groups_of(tiles, 4), index=tiles["tile_id"])
    assert merged.groupby(merged["tile_id"].map(block))["split"].nunique().max() == 1
    share = merged["split"].value_counts(normalize=True)
    assert share.to_dict() == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.03)
    area = merged.groupby("split")["class_percent"].sum() / merged["class_percent"].sum()
    assert area.to_dict() == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.05)


def test_the_same_seed_gives_the_same_split_whatever_the_order() -> None:
    table = world()
    first = make_splits(table, Splits(seed=3))
    again = make_splits(table.sample(frac=1, random_state=0), Splits(seed=3))
    pd.testing.assert_frame_equal(first, again)
    assert moves(first, make_splits(table, Splits(seed=4)))
    assert moves(first, again) == {}


def test_tiles_by_chance_keep_both_years_together_and_the_histogram() -> None:
    table = world()
    merged = table.merge(make_splits(table, Splits(method="histogram_tile")), on=["tile_id", "year"])
    assert merged.groupby("tile_id")["split"].nunique().max() == 1
    mined = merged.groupby("tile_id").agg(percent=("class_percent", "max"), split=("split", "first"))
    shares = mined[mined["percent"] > 20]["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.03)


def test_a_block_left_out_is_the_test() -> None:
    table = world()
    merged = table.merge(make_splits(table, Splits(method="leave_block_out", test_block="3")), on=["tile_id", "year"])
    assert set(merged.loc[merged["block"] == "3", "split"]) == {"test"}
    assert set(merged.loc[merged["block"] != "3", "split"]) == {"train", "val"}
    with pytest.raises(UserError, match="blocks 1, 2, 3, 4"):
        make_splits(table, Splits(method="leave_block_out", test_block="9"))
    with pytest.raises(UserError, match="test_block"):
        parse_config({"run": "x", "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}, "splits": {"method": "leave_block_out"}})


def test_a_buffer_keeps_train_away_from_the_test() -> None:
    table = world()
    merged = table.merge(make_splits(table, Splits(block_tiles=5, buffer_tiles=1)), on=["tile_id", "year"])
    assert leakage(merged).neighbours == 0.0
    assert set(merged["split"]) == {"train", "val", "test", BUFFER}
    tiles = pd.DataFrame({"row": [0, 0, 0, 0], "col": [0, 1, 2, 3]})
    assert with_buffer(tiles, np.array(["test", "train", "train", "val"], object), 1).tolist() == ["test", BUFFER, BUFFER, "val"]


def test_correlogram_of_a_field_that_is_known() -> None:
    row, col = np.indices((40, 40)).reshape(2, -1)
    stripes = (col // 4 % 2 * 100.0).astype(float)  # alike over 4 tiles, opposite over 4 more
    found = correlogram(row, col, stripes)
    here = np.abs(row[:, None] - row[None])
    there = np.abs(col[:, None] - col[None])
    z = stripes - stripes.mean()
    for lag in (1, 3, 7):
        pairs = np.maximum(here, there) == lag
        assert found[lag - 1] == pytest.approx((z[:, None] * z[None])[pairs].mean() / z.var())
    assert np.isnan(correlogram(np.array([0, 0]), np.array([0, 1]), np.array([0.0, 1.0]))[5])


def test_five_folds_cover_every_tile_once() -> None:
    table = world()
    found = folds(table, Splits(block_tiles=4))
    assert sorted(found["fold"].unique()) == [1, 2, 3, 4, 5]
    assert found.groupby("tile_id")["fold"].nunique().max() == 1
    assert found["fold"].value_counts(normalize=True).to_numpy() == pytest.approx(0.2, abs=0.03)


def test_too_few_tiles_are_told() -> None:
    with pytest.raises(UserError, match="none for"):
        make_splits(world(2), Splits(block_tiles=2))


def test_moves_are_counted() -> None:
    before = pd.DataFrame({"tile_id": ["1", "2", "3"], "year": 2016, "split": ["train", "test", "val"]})
    after = pd.DataFrame({"tile_id": ["1", "2", "4"], "year": 2016, "split": ["test", "test", "train"]})
    assert moves(before, after) == {"train → test": 1, "val → –": 1, "– → train": 1}
