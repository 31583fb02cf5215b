"""Context features, held to brute force over each segment and window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.segment.context import (
    CONTEXT,
    Inputs,
    Points,
    _normalised_difference,
    cumulative,
    describe_context,
    read_context,
    window_corners,
    window_sums,
)
from smallmines.segment.features import describe
from smallmines.segment.segmentation import pieces

SHAPE = (64, 32)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 1000, 0, -10, 5000), "EPSG:32630")


def write_block(folder: Path, tags: Mapping[str, str], seed: int = 0) -> Inputs:
    """Write a block of two tiles: random segments, bands with holes, radar with a hole in the north."""
    rng = np.random.default_rng(seed)
    cube = rng.integers(1001, 9000, (10, *SHAPE)).astype(np.uint16)
    cube[:, 5:9, 3:11] = 0
    labels = pieces(np.where(cube[0] > 0, rng.integers(1, 3, SHAPE), 0).astype(np.uint32))
    radar = rng.normal([[[-8]], [[-15]]], 3, (2, *SHAPE)).astype(np.float32)
    radar[0, :15], radar[1, :12] = np.nan, np.nan
    cells = [("0001", 0, 0, "1"), ("0002", 1, 0, "1")]
    grid = {"crs": "EPSG:32630", "tile_size": 32, "transform": list(GEOBOX.affine)[:6], "shape": list(SHAPE)}
    write_json(folder / "grid.json", grid | {"windows": {"1": [0, 0, 2, 1]}, "cells": cells})
    raster.write(folder / "segments.tif", labels, GEOBOX, 0, ["segment"])
    raster.write(folder / "s2.tif", cube, GEOBOX, 0, S2_BANDS, tags)
    raster.write(folder / "s1.tif", radar, GEOBOX, np.nan, ["VV", "VH"])
    raster.write(folder / "clear.tif", np.ones(SHAPE, np.uint8), GEOBOX, 255, ["clear"])
    raster.write(folder / "dem.tif", np.ones(SHAPE, np.float32), GEOBOX, np.nan, ["DEM"])
    files = (folder / name for name in ("segments.tif", "s2.tif", "clear.tif", "dem.tif", "grid.json"))
    describe(*files, "1", folder / "features.parquet")
    return Inputs(*(folder / name for name in ("segments.tif", "features.parquet", "s2.tif", "s1.tif", "grid.json")))


@pytest.fixture(params=[("dn_plus1000", 1000), ("dn_harmonised", 0)])
def block(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Inputs, int]:
    return write_block(tmp_path, {"RADIOMETRY": request.param[0]}), request.param[1]


def brute_force(inputs: Inputs, offset: int) -> pd.DataFrame:
    """Compute the context features segment by segment."""
    labels, s1 = raster.read(inputs.segments)[0], raster.read(inputs.s1).astype(np.float64)
    s2 = raster.read(inputs.s2).astype(np.float64)
    points = pd.read_parquet(inputs.features)
    rows = []
    for number, x, y in zip(points["segment"], points["x"], points["y"], strict=True):
        row, col, values = int((5000 - y) // 10), int((x - 1000) // 10), {}
        parts = {"": labels == number}
        for side in (9, 21):
            near = np.zeros(SHAPE, bool)
            near[max(0, row - side // 2) : row + side // 2 + 1, max(0, col - side // 2) : col + side // 2 + 1] = True
            parts[f"_{side}"] = near
        for suffix, part in parts.items():
            seen = part & np.isfinite(s1).all(axis=0)
            for name, band in zip(("VV", "VH"), s1, strict=True):
                values[name + suffix] = 10 * np.log10(np.mean(10 ** (band[seen] / 10))) if seen.any() else np.nan
            mean = {name: band[part & (s2[0] > 0)].mean() - offset for name, band in zip(S2_BANDS, s2, strict=True)}
            values["NDVI" + suffix] = (mean["B08"] - mean["B04"]) / (mean["B08"] + mean["B04"])
            values["MNDWI" + suffix] = (mean["B03"] - mean["B11"]) / (mean["B03"] + mean["B11"])
            bare, other = mean["B11"] + mean["B04"], mean["B08"] + mean["B02"]
            values["BSI" + suffix] = (bare - other) / (bare + other)
        rows.append(values)
    return pd.DataFrame(rows)[list(CONTEXT)]


@pytest.mark.parametrize("strip", [256, 7])
def test_features_are_those_of_each_segment_and_window(block: tuple[Inputs, int], strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, offset = block
    original = raster.strips
    monkeypatch.setattr(raster, "strips", lambda shape: original(shape, strip))
    target = Path(inputs.features).with_name("context.parquet")
    describe_context(inputs, "1", target)
    table, expected = read_context(target), brute_force(inputs, offset)
    assert table.columns.tolist() == ["segment", *CONTEXT]
    assert expected["VV"].isna().sum() > 20  # segments without radar
    for name in CONTEXT:
        np.testing.assert_allclose(table[name], expected[name], atol=1e-4, err_msg=name)
    assert (table["NDVI"].round(4) == table["NDVI"]).mean() > 0.9


def test_reflectances_without_a_positive_sum_have_no_index(tmp_path: Path) -> None:
    inputs = write_block(tmp_path, {"RADIOMETRY": "dn_plus1000"})
    raster.write(inputs.s2, np.full((10, *SHAPE), 990, np.uint16), GEOBOX, 0, S2_BANDS, {"RADIOMETRY": "dn_plus1000"})
    describe_context(inputs, "1", tmp_path / "context.parquet")
    table = read_context(tmp_path / "context.parquet")
    assert table[["NDVI_9", "MNDWI_21", "BSI_9"]].isna().all(axis=None)
    assert table["VV_21"].notna().sum() > 100


def test_a_window_without_radar_beside_radar_has_no_value(tmp_path: Path) -> None:
    """Differences of sums of powers leave a rest that is not exactly zero, and its logarithm would be infinite."""
    inputs = write_block(tmp_path, {})
    radar = np.random.default_rng(1).normal(-10, 6, (2, *SHAPE)).astype(np.float32)
    radar[:, 20:50, 8:] = np.nan
    raster.write(inputs.s1, radar, GEOBOX, np.nan, ["VV", "VH"])
    describe_context(inputs, "1", tmp_path / "context.parquet")
    table, expected = read_context(tmp_path / "context.parquet"), brute_force(inputs, 0)
    assert 50 < expected["VV_9"].isna().sum() < 200
    for name in ("VV_9", "VH_9", "VV_21", "VH_21"):
        assert (table[name].isna() == expected[name].isna()).all(), name
        assert not np.isinf(table[name]).any()


def test_values_that_no_ground_has_are_left_out(tmp_path: Path) -> None:
    """A nodata value that nobody declared drowns sums of powers: 385 dB beside −10 dB."""
    inputs = write_block(tmp_path, {})
    radar = np.random.default_rng(1).normal(-10, 3, (2, *SHAPE)).astype(np.float32)
    holes = radar.copy()
    radar[0, 5, 5], radar[1, 30, 9], radar[0, 40, 20] = 385, 61, -150
    for row, col in ((5, 5), (30, 9), (40, 20)):
        holes[:, row, col] = np.nan
    outputs = []
    for values in (radar, holes):
        raster.write(inputs.s1, values, GEOBOX, np.nan, ["VV", "VH"])
        describe_context(inputs, "1", tmp_path / "context.parquet")
        outputs.append(read_context(tmp_path / "context.parquet"))
    pd.testing.assert_frame_equal(*outputs)
    assert outputs[0]["VV_21"].between(-12, -8).all()


def test_segments_of_another_segmentation_are_refused(tmp_path: Path) -> None:
    inputs = write_block(tmp_path, {})
    labels = raster.read(inputs.segments)[0]
    labels[labels == labels.max()] = 0
    raster.write(inputs.segments, labels, GEOBOX, 0, ["segment"])
    with pytest.raises(UserError, match=f"{labels.max()} in"):
        describe_context(inputs, "1", tmp_path / "context.parquet")


@pytest.mark.parametrize(("a", "b", "expected"), [(300.0, 100.0, 0.5), (10.0, -4.0, 1.0), (-4.0, 10.0, -1.0), (0.0, 0.0, np.nan)])
def test_an_index_is_at_most_one_either_way(a: float, b: float, expected: float) -> None:
    assert _normalised_difference(np.array([a]), np.array([b])).tolist() == pytest.approx([expected], nan_ok=True)


def test_a_block_without_segments_and_one_without_radar(tmp_path: Path) -> None:
    inputs = write_block(tmp_path, {})
    raster.write(inputs.s1, np.full((2, *SHAPE), np.nan, np.float32), GEOBOX, np.nan, ["VV", "VH"])
    describe_context(inputs, "1", tmp_path / "context.parquet")
    assert read_context(tmp_path / "context.parquet")[["VV", "VH", "VV_9", "VH_21"]].isna().all(axis=None)
    raster.write(inputs.segments, np.zeros(SHAPE, np.uint32), GEOBOX, 0, ["segment"])
    describe(*(tmp_path / name for name in ("segments.tif", "s2.tif", "clear.tif", "dem.tif", "grid.json")), "1", inputs.features)
    describe_context(inputs, "1", tmp_path / "context.parquet")
    assert len(read_context(tmp_path / "context.parquet")) == 0


def test_radar_on_another_grid_and_a_broken_table_are_refused(tmp_path: Path) -> None:
    inputs = write_block(tmp_path, {})
    shifted = GeoBox(SHAPE, Affine(10, 0, 1010, 0, -10, 5000), "EPSG:32630")
    raster.write(inputs.s1, np.zeros((2, *SHAPE), np.float32), shifted, np.nan, ["VV", "VH"])
    with pytest.raises(UserError, match="on the grid"):
        describe_context(inputs, "1", tmp_path / "context.parquet")
    assert not (tmp_path / "context.parquet").exists()
    pd.read_parquet(inputs.features).to_parquet(tmp_path / "context.parquet")
    with pytest.raises(UserError, match="a table of context features"):
        read_context(tmp_path / "context.parquet")


@given(
    arrays(np.uint32, (17, 23), elements=st.integers(0, 2**32 - 1)),
    st.integers(0, 16),
    st.integers(0, 22),
    st.integers(0, 12),
)
@settings(max_examples=50, deadline=None)
def test_sums_of_windows_are_exact_modulo_two_to_the_32(values: np.ndarray, row: int, col: int, reach: int) -> None:
    from rasterio.windows import Window

    corners = window_corners(np.array([row]), np.array([col]), reach, Window(0, 0, 23, 17))
    inside = values[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
    assert window_sums(cumulative(values), corners).tolist() == [int(inside.astype(np.uint64).sum() % 2**32)]


def test_points_are_the_pixels_of_the_table() -> None:
    features = pd.DataFrame({"x": [1005.0, 1315.0], "y": [4995.0, 4365.0]})
    points = Points.of(features, GEOBOX)
    assert points.row.tolist() == [0, 63]
    assert points.col.tolist() == [0, 31]
