"""Splits as files: shares from masks, a frozen file held against the tiles, what each method leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from block_of_segments import TILE, make_block
from sections import Splits
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.dataset.splits import class_shares, read_splits, write_leakage, write_splits
from smallmines.grid.lattice import Lattice


@pytest.fixture
def masks(tmp_path: Path) -> tuple[dict[tuple[str, str], str], Lattice]:
    """Masks of two years; the n-th tile of block 1 has n percent of mining, of 1000 pixels; the rest of the tile is open."""
    block = make_block(tmp_path, rows=6, cols=8)
    lattice = block.lattice
    found = {}
    for year in ("2016", "2022"):
        for name in ("1", "2"):
            box = lattice.block(name)
            mask = np.zeros(box.shape, np.uint8)
            for number, cell in enumerate(lattice.cells_of(name).itertuples()):
                tile = np.full(TILE * TILE, 255, np.uint8)
                tile[:1000] = 0
                tile[: 10 * number] = 1
                mask[cell.y : cell.y + TILE, cell.x : cell.x + TILE] = tile.reshape(TILE, TILE)
            found[year, name] = str(tmp_path / f"{year}-{name}.tif")
            raster.write(found[year, name], mask, box, 255, ["mining"])
    return found, lattice


def test_shares_of_the_tiles(masks: tuple[dict[tuple[str, str], str], Lattice]) -> None:
    table = class_shares(*masks)
    assert len(table) == 2 * 48
    own = table[(table["year"] == 2016) & (table["block"] == "1")]
    assert own["class_percent"].tolist() == [float(number) for number in range(47)]
    assert own["row"].tolist() == [number // 8 for number in range(47)]


def told(table: pd.DataFrame, made: Path, settings: Splits, frozen: bool, target: Path) -> dict[str, Any]:
    """What `write_leakage` writes of a split, with an index of the columns that it reads."""
    index = table.rename(columns={"class_percent": "mining_percent"}).merge(read_splits(made, table), on=["tile_id", "year"])
    write_leakage(index, settings, frozen, target)
    report: dict[str, Any] = json.loads(target.read_text())
    return report


def test_made_from_the_masks_or_taken_from_people(masks: tuple[dict[tuple[str, str], str], Lattice], tmp_path: Path) -> None:
    outputs, settings, years = [tmp_path / name for name in ("splits.csv", "splits.json")], Splits(block_tiles=2), ["2016", "2022"]
    write_splits(masks[0], years, masks[1], settings, [], outputs[0])
    report = told(class_shares(*masks), outputs[0], settings, False, outputs[1])
    assert report["source"] == "spatial_block"
    assert sum(report["rows"].values()) == 96
    assert sum(report["mining_share"].values()) == pytest.approx(1, abs=0.001)
    assert set(report["methods"]) == {"spatial_block", "paper_histogram", "histogram_tile", "leave_block_out 1", "leave_block_out 2"}
    assert report["methods"]["spatial_block"] == report["leakage"]
    assert report["leakage"]["twins"] == 0.0
    assert report["methods"]["paper_histogram"]["twins"] > 0.4
    assert sorted(pd.read_csv(outputs[0])["fold"].unique()) == [1, 2, 3, 4, 5]
    made = outputs[0].read_text()
    frozen = tmp_path / "frozen.csv"
    turned = made.replace("train", "x").replace("val", "train").replace("x", "val")
    frozen.write_text(turned)
    write_splits({}, years, masks[1], settings, [str(frozen)], outputs[0])
    assert outputs[0].read_text() == turned
    assert told(class_shares(*masks), outputs[0], settings, True, outputs[1])["source"] == "frozen"
    frozen.write_text(turned.replace("2022", "2023"))
    with pytest.raises(UserError, match="48 missing, 48 unknown"):
        write_splits({}, years, masks[1], settings, [str(frozen)], outputs[0])
    assert outputs[0].read_text() == turned


@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (2, 2), (2, 3)])
def test_a_handful_of_tiles_or_one_block_stops_nothing(tmp_path: Path, rows: int, cols: int) -> None:
    block = make_block(tmp_path, rows=rows, cols=cols)
    box = block.lattice.block("1")
    raster.write(tmp_path / "mask.tif", np.zeros(box.shape, np.uint8), box, 255, ["mining"])
    outputs = [tmp_path / name for name in ("splits.csv", "splits.json")]
    one = {("2016", "1"): str(tmp_path / "mask.tif")}
    write_splits(one, ["2016"], block.lattice, Splits(), [], outputs[0])
    made = pd.read_csv(outputs[0])
    assert len(made) == rows * cols - 1
    report = told(class_shares(one, block.lattice), outputs[0], Splits(), False, outputs[1])
    assert report["source"] in ("spatial_block", "none: too few tiles")
    assert set(made["split"]) == ({"train"} if report["source"].startswith("none") else {"train", "val", "test"})
    assert "one block" in report["methods"]["leave_block_out 1"]["error"]
    with pytest.raises(UserError, match="one block"):
        write_splits(one, ["2016"], block.lattice, Splits(method="leave_block_out", test_block="1"), [], outputs[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.iloc[1:], "1 missing, 0 unknown, 0 twice"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "0 missing, 0 unknown, 1 twice"),
        (lambda table: table.assign(split="training"), "found     training"),
        (lambda table: table.drop(columns="year"), "columns tile_id, year, split, fold"),
        (lambda table: table.assign(tile_id=["9999", *table["tile_id"][1:]]), "1 missing, 1 unknown"),
    ],
)
def test_an_unfit_frozen_file_is_refused(masks, tmp_path, change, words) -> None:  # type: ignore[no-untyped-def]
    table = class_shares(*masks)
    good = table[["tile_id", "year"]].assign(split="train", fold=1)
    change(good).to_csv(tmp_path / "frozen.csv", index=False)
    with pytest.raises(UserError, match=words):
        read_splits(tmp_path / "frozen.csv", table)
    good.to_csv(tmp_path / "frozen.csv", index=False)
    assert len(read_splits(tmp_path / "frozen.csv", table)) == 96
