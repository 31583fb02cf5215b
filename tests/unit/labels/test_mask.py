"""Masks: the lookup table, what is left open, and unclear pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rasterio

from block_of_segments import make_block
from smallmines.core.errors import UserError
from smallmines.labels import tables
from smallmines.labels.mask import Inputs, lookup, make_mask, masked


def labels_table(label, provenance):
    count = len(label)
    return pd.DataFrame(
        {
            "segment": np.arange(1, count + 1, dtype=np.uint32),
            "key": np.arange(count, dtype=np.uint64),
            "label": np.array(label, np.int8),
            "provenance": np.array(provenance, object),
            "probability": np.zeros(count, np.float32),
            "who": "",
            "when": "",
        }
    )


def test_values_of_a_window():
    values, predicted = lookup(labels_table([1, 0, -1, 1], ["predicted", "predicted", "corrected", "manual"]))
    segments = np.array([[0, 1, 1], [2, 3, 4]], np.uint32)
    clear = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    assert masked(segments, clear, values, predicted).tolist() == [[255, 1, 0], [0, 255, 1]]
    background, _ = lookup(labels_table([1, 0, -1, 1], ["predicted", "predicted", "corrected", "manual"]), 0)
    assert masked(segments, clear, background, predicted).tolist() == [[255, 1, 0], [0, 0, 1]]
    with pytest.raises(UserError, match="segment 5"):
        masked(np.array([[5]], np.uint32), clear, values, predicted)
    with pytest.raises(UserError, match="in order"):
        lookup(labels_table([1, 0], ["manual", "manual"]).iloc[::-1])


def test_the_file(tmp_path):
    block = make_block(tmp_path)
    count = len(block.features)
    tables.write(tmp_path / "labels.parquet", labels_table(block.truth, ["predicted"] * count), "labels")
    inputs = Inputs(*[tmp_path / name for name in ("segments.tif", "clear.tif", "labels.parquet", "grid.json")])
    make_mask(inputs, "1", "ignore", {"YEAR": "2016"}, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as source:
        mask = source.read(1)
        assert (source.dtypes[0], source.nodata, source.tags()["YEAR"]) == ("uint8", 255, "2016")
    assert (mask[~block.own] == 255).all()
    assert (mask[block.segments == 0] == 255).all()
    assert (mask[block.segments > 0] == block.truth[block.segments[block.segments > 0] - 1]).all()
    make_mask(inputs, "1", "ignore", {"YEAR": "2016"}, tmp_path / "b.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
