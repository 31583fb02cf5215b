"""Tables on terminals of several widths, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smallmines.cli.console import show
from smallmines.cli.output import output

ROWS = [
    {"year": year, "block": "1", "share_of_the_area": share, "to_review": 12, "copy": "work/A01/2016-1.gpkg", "error": error}
    for year, share, error in (("2016", 0.5, None), ("2022", float("nan"), "none of the methods"))
]


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, rows: list[dict]) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    show("A title of some length that says what the table holds, in which unit, and what its columns mean", rows)
    return capsys.readouterr().out.removesuffix("\n\n").splitlines()


def test_a_wide_terminal_shows_a_line_per_row(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, 200, ROWS)
    header, rule, first, second = lines[-4:]
    assert header.split("  ")[:3] == ["year", "block", "share of the area"]
    assert set(rule) == {"─", " "}
    assert first.split() == ["2016", "1", "0.500", "12", "work/A01/2016-1.gpkg", "–"]
    assert "–" in second.split()
    assert second.endswith("none of the methods")
    assert header.index("area") + len("area") == first.index("0.500") + len("0.500"), "numbers are flush right"


def test_headers_wrap_at_80_columns_and_nothing_is_cut(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, 80, ROWS)
    assert all(len(line) <= 80 for line in lines)
    assert [line.split() for line in lines if "share" in line] == [["share"]]
    assert "work/A01/2016-1.gpkg" in lines[-1]
    assert "none of the methods" in lines[-1]


def test_a_table_that_does_not_fit_becomes_a_block_per_row(capsys, monkeypatch):
    rows = [{**row, "copy": "resources/user/a_long_name/work/A01/2016-1-accuracy.gpkg"} for row in ROWS]
    lines = shown(capsys, monkeypatch, 80, rows)
    assert all(len(line) <= 80 for line in lines)
    assert "share of the area:  0.500" in lines
    assert "year:               2022" in lines
    assert sum(line.endswith(rows[0]["copy"]) for line in lines) == 2


def test_blocks_stand_side_by_side_where_they_fit(capsys, monkeypatch):
    rows = [{f"number_{name}": 10 * number for name in range(12)} for number in range(30)]
    lines = shown(capsys, monkeypatch, 80, rows)
    assert all(len(line) <= 80 for line in lines)
    values = [value for line in lines if line.startswith("number 3:") for value in line.split(":")[1].split()]
    assert values == [str(10 * number) for number in range(30)]


def test_no_rows(capsys, monkeypatch):
    assert shown(capsys, monkeypatch, 80, [])[-1] == "none"


def test_one_table_is_a_list_and_several_are_named(capsys):
    with output(True) as out:
        out.table("Title", [{"a": np.int64(1), "b": float("nan"), "c": Path("x"), "d": None}])
        out.message("said aside")
    done = capsys.readouterr()
    assert json.loads(done.out) == [{"a": 1, "b": None, "c": "x", "d": None}]
    assert done.err == "said aside\n"
    with output(True) as out:
        out.table("Title", [], name="first")
        out.table("Title", [{"a": 1}], name="second")
    assert json.loads(capsys.readouterr().out) == {"first": [], "second": [{"a": 1}]}
    with output(False) as out:
        out.table("Title", [{"a": 1}])
    assert "Title" in capsys.readouterr().out
