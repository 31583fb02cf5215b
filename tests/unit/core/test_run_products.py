"""Damage to the products of a run is found without a job that reads them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archive_builder import grid
from small_archive import write_plain
from smallmines.core.run_products import PNG_END, damaged

SOFTWARE = {"versions": {}, "mixed": {}, "unknown": {}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run with a product of each kind."""
    folder = tmp_path / "results"
    texts = {
        "software.json": SOFTWARE,
        "compare_years/1.json": [],
        "verify.json": {"files": 3},
        "segments/2016/1/segments.json": {"segments": 3, "pixels": 9, "settings": {}},
        "statistics/2016.json": {},
        "assistant/2016/1/metrics.json": {"threshold": 0.5},
        "other.json": [1],
    }
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "assistant/2016/1/model.joblib").write_bytes(zlib.compress(bytes(range(256)) * 40))
    (folder / "plot.png").write_bytes(b"\x89PNG" + PNG_END)
    (folder / "points.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "LICENSE").write_text("free")
    (folder / ".leftover.json").write_text("{")
    pd.DataFrame({"a": [1, 2]}).to_parquet(folder / "labels.parquet")
    write_plain(folder / "mask.tif", np.ones((64, 64), np.uint8), grid(600000, 700000, (64, 64)), None)
    return folder


def test_whole_products_are_silent(results: Path) -> None:
    assert list(damaged(results)) == []


@pytest.mark.parametrize(
    "name", ["software.json", "verify.json", "segments/2016/1/segments.json", "compare_years/1.json", "assistant/2016/1/metrics.json"]
)
def test_json_of_another_shape_is_named(results: Path, name: str) -> None:
    (results / name).write_text('"text"')
    assert [path for path, _ in damaged(results)] == [results / name]


@pytest.mark.parametrize("name", ["mask.tif", "labels.parquet", "plot.png", "points.csv", "other.json", "assistant/2016/1/model.joblib"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_files_that_are_cut_or_emptied_are_named(results: Path, name: str, kept: float) -> None:
    content = (results / name).read_bytes()
    (results / name).write_bytes(content[: int(kept * len(content))])
    faults = list(damaged(results))
    assert [path for path, _ in faults] == [results / name]
    assert faults[0][1]


def test_a_model_with_a_wrong_byte_is_named(results: Path) -> None:
    path = results / "assistant/2016/1/model.joblib"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert [path for path, _ in damaged(results)] == [path]
