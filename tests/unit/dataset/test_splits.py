"""Splits as files: shares from masks, a frozen file held against the tiles, what each method leaks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from block_of_segments import TILE, make_block
from sections import Splits
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.dataset.split_files import frozen_method, frozen_text
from smallmines.dataset.splits import advice, class_shares, read_splits, write_leakage, write_splits
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


LIMIT = 0.35


def told(table: pd.DataFrame, made: Path, settings: Splits, frozen: list[str], target: Path) -> dict[str, Any]:
    """What `write_leakage` writes of a split, with an index of the columns that it reads."""
    index = table.rename(columns={"class_percent": "mining_percent"}).merge(read_splits(made, table), on=["tile_id", "year"])
    write_leakage(index, settings, LIMIT, frozen, target)
    report: dict[str, Any] = json.loads(target.read_text())
    return report


def test_made_from_the_masks_or_taken_from_people(masks: tuple[dict[tuple[str, str], str], Lattice], tmp_path: Path) -> None:
    outputs, settings, years = [tmp_path / name for name in ("splits.csv", "splits.json")], Splits(block_tiles=2), ["2016", "2022"]
    write_splits(masks[0], years, masks[1], settings, [], outputs[0])
    report = told(class_shares(*masks), outputs[0], settings, [], outputs[1])
    assert report["source"] == "spatial_block"
    assert sum(report["rows"].values()) == 96
    assert sum(report["mining_share"].values()) == pytest.approx(1, abs=0.001)
    assert set(report["methods"]) == {"spatial_block", "paper_histogram", "histogram_tile", "leave_block_out 1", "leave_block_out 2"}
    assert report["methods"]["spatial_block"] == {**report["leakage"], "test_share": 0.1667, "agreement": 1.0}
    assert report["leakage"]["twins"] == 0.0
    assert report["methods"]["paper_histogram"]["twins"] > 0.4
    assert sorted(pd.read_csv(outputs[0])["fold"].unique()) == [1, 2, 3, 4, 5]
    made = outputs[0].read_text()
    frozen = tmp_path / "frozen.csv"
    turned = made.replace("train", "x").replace("val", "train").replace("x", "val")
    frozen.write_text(turned)
    write_splits({}, years, masks[1], settings, [str(frozen)], outputs[0])
    assert outputs[0].read_text() == turned
    report = told(class_shares(*masks), outputs[0], settings, [str(frozen)], outputs[1])
    assert report["source"] == "frozen (method not recorded)"
    assert report["methods"]["spatial_block"]["agreement"] < 0.5
    frozen.write_text(made)
    write_splits({}, years, masks[1], settings, [str(frozen)], outputs[0])
    report = told(class_shares(*masks), outputs[0], settings, [str(frozen)], outputs[1])
    assert report["source"] == "frozen (method not recorded; 100 % as spatial_block gives now)"
    frozen.write_text(frozen_text(read_splits(frozen, class_shares(*masks)), "spatial_block seed=0"))
    report = told(class_shares(*masks), outputs[0], settings, [str(frozen)], outputs[1])
    assert report["source"] == "frozen (spatial_block seed=0)"
    write_splits(masks[0], years, masks[1], settings, [], outputs[0])
    frozen.write_text(turned.replace("2022", "2023"))
    with pytest.raises(UserError, match=r"48 missing, 48 unknown.*the dataset has the years 2016, 2022, not 2023"):
        write_splits({}, years, masks[1], settings, [str(frozen)], outputs[0])
    assert outputs[0].read_text() == made


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
    report = told(class_shares(one, block.lattice), outputs[0], Splits(), [], outputs[1])
    assert report["source"] in ("spatial_block", "none: too few tiles")
    assert set(made["split"]) == ({"train"} if report["source"].startswith("none") else {"train", "val", "test"})
    assert "one block" in report["methods"]["leave_block_out 1"]["error"]
    with pytest.raises(UserError, match="one block"):
        write_splits(one, ["2016"], block.lattice, Splits(method="leave_block_out", test_block="1"), [], outputs[0])


FROZEN = "tile_id,year,split,fold\n0001,2016,train,1\n0002,2016,test,2\n0001,2022,train,1\n0002,2022,test,2\n"
TILES = pd.DataFrame({"tile_id": ["0001", "0002"] * 2, "year": [2016, 2016, 2022, 2022]})


@pytest.mark.parametrize(
    "content",
    [
        FROZEN.encode(),
        FROZEN.encode("utf-8-sig"),
        FROZEN.replace("\n", "\r\n").encode(),
        FROZEN.replace("0001", '"0001"').replace(",train", ", train ").encode(),
        (FROZEN + "\n\n,,,\n").encode(),
        "".join(f"{row},remark\n" for row in FROZEN.splitlines()).encode(),
    ],
    ids=["plain", "byte order mark", "Windows", "quoted", "empty lines", "another column"],
)
def test_forms_of_a_frozen_file_that_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes(content)
    expected = TILES.assign(split=["train", "test"] * 2, fold=[1, 2] * 2)
    pd.testing.assert_frame_equal(read_splits(path, TILES), expected, check_dtype=False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (FROZEN.replace(",", ";").encode(), "columns separated by commas .*found     semicolons in line 1: tile_id;year;split;fold"),
        (FROZEN.replace(",", "\t").encode(), "found     tabs in line 1"),
        (FROZEN.replace(",", "|").encode(), "found     vertical bars in line 1"),
        (FROZEN.encode("utf-16"), "found     UTF-16"),
        (FROZEN.encode("utf-16-le"), "found     UTF-16"),
        (FROZEN.replace("train", "traïn").encode("latin-1"), "another encoding in line 2"),
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "UTF-16, or no text"),
        (FROZEN.replace("year", "Year").encode(), "none named year, but tile_id, Year, split, fold"),
        (FROZEN.replace("fold", "split").encode(), "none named fold"),
        ((FROZEN + "0001,2016\n").encode(), "4 values in each row .*found     line 6: 2"),
        (FROZEN.replace("train,1\n0002,2016", '"train,1\n0002,2016').encode(), "line 6: unexpected end of data|line 5"),
        (FROZEN.replace("2016,train", "2016.0,train").encode(), r"year '2016\.0' in line 2"),
        (FROZEN.replace("test,2", "test,2.5").encode(), r"fold '2\.5' in line 3; fold '2\.5' in line 5"),
        (FROZEN.replace("test", "Test").encode(), "split 'Test' in line 3; split 'Test' in line 5"),
        (FROZEN.replace("test", "validate").encode(), "split 'validate' in line 3"),
        (FROZEN.replace("0002,2022", ",2022").encode(), "tile_id '' in line 5"),
        ((FROZEN + "0001,2016,test,1\n").encode(), "1 twice: tile 0001 of 2016 in lines 2 and 6"),
        (FROZEN.replace("0001", "1").encode(), "2 missing, 2 unknown.*unknown tile 1 of 2016 in line 2.*1 looks like 0001"),
        (FROZEN.replace("0001", "1.0").encode(), r"unknown tile 1\.0 of 2022 in line 4; 1\.0 looks like 0001.*write ids as text"),
        (FROZEN.replace("2022", "2023").encode(), "2 missing, 2 unknown.*years 2016, 2022, not 2023"),
        (FROZEN.replace("0002,2022,test,2\n", "").encode(), "1 missing, 0 unknown; missing tile 0002 of 2022"),
        ((FROZEN + "0003,2022,test,2\n").encode(), "0 missing, 1 unknown; unknown tile 0003 of 2022 in line 6"),
    ],
)
def test_a_frozen_file_that_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_splits(path, TILES)
    assert re.search(words, str(error.value), re.DOTALL), error.value
    assert str(path) in error.value.expected
    assert len(str(error.value).splitlines()) == 3


@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)), damage=st.integers(0, len(FROZEN)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, damage: int) -> None:
    path = tmp_path / "splits.csv"
    for whole in (content, FROZEN.encode()[:damage] + content, FROZEN.encode()[:damage] + content[:3] + FROZEN.encode()[damage:]):
        path.write_bytes(whole)
        text = ""
        try:
            table = read_splits(path, TILES)
        except UserError as error:
            text = str(error)
        if text:
            assert len(text.splitlines()) == 3
        else:
            assert table[["tile_id", "year"]].to_numpy().tolist() == TILES.to_numpy().tolist()
            assert set(table["split"]) <= {"train", "val", "test", "buffer"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_splits(tmp_path / "splits.csv", TILES)


def test_a_frozen_file_says_how_it_was_made_and_whether_it_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    made = TILES.assign(split=["train", "test"] * 2, fold=[1, 2] * 2)
    path.write_text(frozen_text(made, "spatial_block seed=7"))
    assert path.read_text().splitlines()[0] == "tile_id,year,split,fold,method"
    assert frozen_method(path) == "spatial_block seed=7"
    pd.testing.assert_frame_equal(read_splits(path, TILES), made, check_dtype=False)
    path.write_text(frozen_text(made.iloc[::-1], "spatial_block seed=7"))
    assert frozen_method(path) == "spatial_block seed=7"
    text = path.read_text()
    path.write_text(text.replace("2022,test", "2022,val"))
    assert frozen_method(path) == "spatial_block seed=7, then changed by hand"
    path.write_text(FROZEN)
    assert frozen_method(path) == "method not recorded"
    path.write_text("".join(f"{row},{'method' if number == 0 else 'my own'}\n" for number, row in enumerate(FROZEN.splitlines())))
    assert frozen_method(path) == "method not recorded"


def test_the_report_names_a_method_that_separates_better(masks: tuple[dict[tuple[str, str], str], Lattice], tmp_path: Path) -> None:
    table = class_shares(*masks)
    write_splits(masks[0], ["2016", "2022"], masks[1], Splits(method="histogram_tile"), [], tmp_path / "splits.csv")
    report = told(table, tmp_path / "splits.csv", Splits(method="histogram_tile"), [], tmp_path / "splits.json")
    assert report["leakage"]["judgement"] == "leaks"
    assert report["reason"].startswith("place and year alone predict the class share of the test, R² 0.9")
    assert report["methods"]["histogram_tile"]["judgement"] == "leaks"
    assert report["advice"].startswith("splits.method: spatial_block would be ")
    assert "splits.buffer_tiles: 1" in report["advice"]


def test_advice_never_names_the_method_in_use_nor_one_that_is_no_better() -> None:
    def of(judgement: str, neighbours: float, twins: float = 0.0) -> dict[str, Any]:
        return {"judgement": judgement, "neighbours": neighbours, "twins": twins, "test_share": 0.2}

    methods = {"spatial_block": of("undecided", 0.5), "leave_block_out 2": of("undecided", 0.45), "paper_histogram": of("leaks", 1.0, 0.7)}
    assert advice({"leakage": of("separated", 0.4), "methods": methods}, Splits()) == ""
    assert advice({"leakage": of("undecided", 0.5), "methods": methods}, Splits(buffer_tiles=1)) == ""
    assert "leave_block_out with splits.test_block: 2 would be undecided, with 45 %" in advice(
        {"leakage": of("undecided", 0.56), "methods": methods}, Splits()
    )
    small = {**methods, "leave_block_out 1": of("separated", 0.0) | {"test_share": 0.02}, "leave_block_out 3": {"error": "one block"}}
    assert "test_block: 2" in advice({"leakage": of("undecided", 0.56), "methods": small}, Splits())
    own = Splits(method="leave_block_out", test_block="2")
    assert "spatial_block would be undecided" in advice({"leakage": of("not separated", 0.95), "methods": methods}, own)
    assert "splits.method: leave_block_out" not in advice({"leakage": of("not separated", 0.95), "methods": methods}, own)
