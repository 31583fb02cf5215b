"""Named splits: what each promises of place and year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallmines.benchmark.split_names import FOLDS, assign, bootstrap_blocks, group_of, with_val
from smallmines.core.errors import UserError


@pytest.fixture(scope="module")
def tiles() -> pd.DataFrame:
    """400 tiles of two years with clumps of mining that reach over four tiles."""
    rng = np.random.default_rng(1)
    side, years = 20, (2016, 2022)
    coarse = rng.gamma(0.4, 20, (side // 4, side // 4)).repeat(4, 0).repeat(4, 1)
    rows = []
    for year in years:
        for number in range(side**2):
            row, col = divmod(number, side)
            percent = min(100.0, coarse[row, col] * rng.uniform(0.5, 1.5))
            split = ("train", "val", "test", "buffer")[min(col // 6, 3)]
            rows.append((f"{number:04d}", year, split, str(1 + (row >= 10) * 2 + (col >= 10)), row, col, percent))
    return pd.DataFrame(rows, columns=["tile_id", "year", "split", "block", "row", "col", "mining_percent"])


def tiles_in(tiles: pd.DataFrame, split: np.ndarray, name: str) -> set[str]:
    return set(tiles.loc[split == name, "tile_id"])


def test_in_force_leaves_the_buffer_out(tiles: pd.DataFrame) -> None:
    split = assign(tiles, "in_force", 0)
    assert (split == np.where(tiles["split"] == "buffer", "", tiles["split"])).all()


def test_each_tile_is_tested_once_over_the_folds_and_never_trained_on(tiles: pd.DataFrame) -> None:
    tested = []
    for fold in range(1, FOLDS + 1):
        split = assign(tiles, f"spatial_block_{fold}", 0)
        assert set(split) == {"train", "val", "test"}
        assert not tiles_in(tiles, split, "test") & (tiles_in(tiles, split, "train") | tiles_in(tiles, split, "val"))
        tested += sorted(tiles_in(tiles, split, "test"))
    assert sorted(tested) == sorted(set(tiles["tile_id"]))


def test_the_histogram_split_has_twins_and_a_val_out_of_its_train(tiles: pd.DataFrame) -> None:
    split = assign(tiles, "paper_histogram", 0)
    assert tiles_in(tiles, split, "test") & tiles_in(tiles, split, "train"), "the other year of a test tile trains"
    assert not tiles_in(tiles, split, "val") & tiles_in(tiles, split, "train")
    assert (split == "test").mean() == pytest.approx(0.3, abs=0.02)
    assert (split == "val").mean() == pytest.approx(0.7 / 8, abs=0.02)


def test_a_block_left_out_is_the_test(tiles: pd.DataFrame) -> None:
    split = assign(tiles, "leave_block_out_3", 0)
    assert set(tiles.loc[split == "test", "block"]) == {"3"}
    assert "3" not in set(tiles.loc[split != "test", "block"])
    with pytest.raises(UserError, match="9"):
        assign(tiles, "leave_block_out_9", 0)


@pytest.mark.parametrize(("first", "second"), [(2016, 2022), (2022, 2016)])
def test_another_year_is_tested_on_other_tiles(tiles: pd.DataFrame, first: int, second: int) -> None:
    split = assign(tiles, f"{first}_to_{second}", 0)
    assert set(tiles.loc[np.isin(split, ("train", "val")), "year"]) == {first}
    assert set(tiles.loc[split == "test", "year"]) == {second}
    assert not tiles_in(tiles, split, "test") & tiles_in(tiles, split, "train")


def test_the_released_tables_are_joined_by_id(tiles: pd.DataFrame, tmp_path: Path) -> None:
    for year in (2016, 2022):
        names = [f"MASK_{number:04d}_{year}.tif" for number in range(100)]
        splits = ["test" if number % 3 == 0 else "train" for number in range(100)]
        pd.DataFrame({"patch_name": names, "split": splits}).to_csv(tmp_path / f"train_test_splits_{year}.csv", index=False)
    split = assign(tiles, "released", 0, tmp_path)
    number = tiles["tile_id"].astype(int).to_numpy()
    assert ((split == "test") == ((number < 100) & (number % 3 == 0))).all()
    assert (split[number >= 100] == "").all()
    with pytest.raises(UserError, match="released_splits"):
        assign(tiles, "released", 0)


@pytest.mark.parametrize("name", ["unknown", "spatial_block_6", "1999_to_2022"])
def test_names_that_are_none(tiles: pd.DataFrame, name: str) -> None:
    with pytest.raises(UserError):
        assign(tiles, name, 0)


def test_a_few_rows_of_train_keep_no_val(tiles: pd.DataFrame) -> None:
    few = tiles.head(4)
    assert list(with_val(few, np.array(["train", "train", "test", ""], object), 0)) == ["train", "train", "test", ""]
    with pytest.raises(UserError, match="none in test"):
        assign(few.assign(split="train"), "in_force", 0)


def test_blocks_of_the_bootstrap_hold_both_years_and_splits_are_grouped(tiles: pd.DataFrame) -> None:
    block = bootstrap_blocks(tiles)
    assert tiles.assign(group=block).groupby("tile_id")["group"].nunique().max() == 1
    assert len(set(block)) >= 12
    names = ["spatial_block_2", "leave_block_out_a1", "2016_to_2022", "in_force"]
    assert [group_of(name) for name in names] == ["spatial_block", "leave_block_out", "2016_to_2022", "in_force"]
