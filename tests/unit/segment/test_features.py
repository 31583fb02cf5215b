"""The table of segments, held to brute force on small label images."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Cell, Lattice
from smallmines.segment import features
from smallmines.segment.features import content_keys, describe, interior_points, read_features, splitmix64, squared_distances
from smallmines.segment.segmentation import pieces

TILE = 8
images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12), elements=st.integers(0, 2)).map(pieces)


def lattice() -> Lattice:
    """Three by three tiles; block 2 is the two right columns without the south-east tile, block 1 the rest."""
    cells = [
        Cell(f"{7 - 3 * row + col:04d}", row, col, "2" if col and (row, col) != (2, 2) else "1") for row in range(3) for col in range(3)
    ]
    return Lattice(
        GeoBox((3 * TILE, 3 * TILE), Affine(10, 0, 1000, 0, -10, 5000), "EPSG:32630"),
        TILE,
        {"1": (0, 0, 3, 3), "2": (0, 1, 3, 2)},
        tuple(cells),
    )


def outline(labels: np.ndarray, label: int) -> shapely.Geometry:
    rows, cols = np.nonzero(labels == label)
    return shapely.union_all(shapely.box(cols, rows, cols + 1, rows + 1)).boundary


@pytest.mark.parametrize("aside", [1, features.COLUMNS_ASIDE])
@given(labels=images)
@settings(max_examples=60, deadline=None)
def test_distances_to_the_outline_are_exact(labels: np.ndarray, aside: int) -> None:
    with patch.object(features, "COLUMNS_ASIDE", aside):  # segments that are wider get a distance transform
        found = squared_distances(labels)
    assert not found[labels == 0].any()
    for label in np.unique(labels[labels > 0]):
        rows, cols = np.nonzero(labels == label)
        expected = shapely.distance(shapely.points(cols + 0.5, rows + 0.5), outline(labels, label))
        np.testing.assert_allclose(np.sqrt(found[rows, cols]) / 2, expected, atol=1e-12)


@given(images)
@settings(max_examples=60, deadline=None)
def test_interior_point_is_the_first_of_the_farthest_members(labels: np.ndarray) -> None:
    points = interior_points(labels, int(labels.max()))
    assert points.shape == (labels.max(),)
    for label, point in enumerate(points, 1):
        members = np.flatnonzero(labels == label)
        rows, cols = np.divmod(members, labels.shape[1])
        distance = shapely.distance(shapely.points(cols + 0.5, rows + 0.5), outline(labels, label))
        assert point == members[np.flatnonzero(np.isclose(distance, distance.max()))[0]]


def test_interior_point_of_known_shapes() -> None:
    square = np.ones((5, 7), np.uint32)
    assert interior_points(square, 1).tolist() == [2 * 7 + 2]  # three pixels are 2.5 px from the frame; the first
    horseshoe = np.array([[1, 1, 1], [1, 2, 1], [1, 2, 1]], np.uint32)
    assert interior_points(horseshoe, 2).tolist() == [0, 4]  # the centre of mass of 1 lies in 2


def test_splitmix64_is_the_published_generator() -> None:
    # The first outputs of SplitMix64 with seed 0 are its finaliser at the states 0, γ, 2γ (γ is added first).
    states = np.array([0, 0x9E3779B97F4A7C15, 2 * 0x9E3779B97F4A7C15 % 2**64], np.uint64)
    assert [hex(value) for value in splitmix64(states)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@given(arrays(np.uint32, (3 * TILE, 2 * TILE), elements=st.integers(0, 2)).map(pieces))
@settings(max_examples=20, deadline=None)
def test_content_keys_count_pixels_of_the_whole_lattice(labels: np.ndarray) -> None:
    keys = content_keys(labels, int(labels.max()), lattice(), "2")
    for label, key in enumerate(keys, 1):
        rows, cols = np.nonzero(labels == label)
        indices = (rows * 3 * TILE + cols + TILE).astype(np.uint64)
        assert int(key) == sum(int(value) for value in splitmix64(indices)) % 2**64


def test_content_key_of_the_same_pixels_is_the_same_in_overlapping_blocks() -> None:
    whole = np.zeros((3 * TILE, 3 * TILE), np.uint32)
    whole[5:9, 10:14] = 1
    assert content_keys(whole, 1, lattice(), "1") == content_keys(whole[:, TILE:], 1, lattice(), "2")


@pytest.fixture
def block(tmp_path: Path) -> dict[str, Path]:
    """Block 2 with random segments in its own cells, bands, sky and a DEM with holes."""
    known = lattice()
    geobox, own = known.block("2"), known.own("2")
    rng = np.random.default_rng(3)
    labels = pieces(np.where(own, rng.integers(1, 3, own.shape), 0).astype(np.uint32))
    cube = np.where(own, rng.integers(1, 65535, (10, *own.shape)), 0).astype(np.uint16)
    heights = rng.normal(200, 30, own.shape).astype(np.float32)
    heights[:12] = np.nan
    raster.write(tmp_path / "segments.tif", labels, geobox, 0, ["segment"])
    raster.write(tmp_path / "s2.tif", cube, geobox, 0, S2_BANDS)
    raster.write(tmp_path / "clear.tif", rng.integers(0, 2, own.shape).astype(np.uint8), geobox, None, ["clear"])
    raster.write(tmp_path / "dem.tif", heights, geobox, np.nan, ["DEM"])
    cells = known.cells.values.tolist()
    windows = {name: list(window) for name, window in known.windows.items()}
    grid = {"crs": "EPSG:32630", "tile_size": TILE, "transform": list(known.geobox.transform)[:6], "shape": [24, 24]}
    write_json(tmp_path / "grid.json", grid | {"windows": windows, "cells": cells})
    return {name: tmp_path / name for name in ("segments.tif", "s2.tif", "clear.tif", "dem.tif", "grid.json")}


def test_features_against_brute_force(block: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "features.parquet"
    describe(*block.values(), "2", target)
    table = read_features(target)
    known = lattice()
    labels, cube = raster.read(block["segments.tif"])[0], raster.read(block["s2.tif"]).astype(float)
    clear, heights = raster.read(block["clear.tif"])[0], raster.read(block["dem.tif"])[0].astype(float)
    left, _, _, top = known.block("2").boundingbox
    tiles = {(row, col): name for name, row, col, name_of_block in known.cells.values if name_of_block == "2"}
    assert len(table) == labels.max() > 20
    assert table["DEM"].isna().any()
    for line in table.itertuples():
        member = labels == line.segment
        assert line.area == member.sum()
        expected = [np.float32(band[member].mean()) for band in cube]
        assert [getattr(line, band) for band in S2_BANDS] == pytest.approx(expected, rel=1e-6)
        height = heights[member & np.isfinite(heights)]
        np.testing.assert_allclose(line.DEM, height.mean() if len(height) else np.nan, rtol=1e-6)
        assert line.clear_share == np.float32(clear[member].mean())
        row, col = int((top - line.y) // 10), int((line.x - left) // 10)
        assert (left + col * 10 + 5, top - row * 10 - 5) == (line.x, line.y)
        assert member[row, col]
        assert line.tile_id == tiles[row // TILE, col // TILE + 1]
    assert [str(kind) for kind in table.dtypes] == [
        "uint32",
        "uint32",
        *["float32"] * 11,
        "float64",
        "float64",
        "uint64",
        "object",
        "float32",
    ]


def test_features_are_the_same_bytes_again(block: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        describe(*block.values(), "2", tmp_path / name / "features.parquet")
    assert (tmp_path / "a/features.parquet").read_bytes() == (tmp_path / "b/features.parquet").read_bytes()


def test_a_block_without_segments_has_an_empty_table(block: dict[str, Path], tmp_path: Path) -> None:
    geobox = lattice().block("2")
    raster.write(block["segments.tif"], np.zeros(geobox.shape, np.uint32), geobox, 0, ["segment"])
    describe(*block.values(), "2", tmp_path / "features.parquet")
    assert len(read_features(tmp_path / "features.parquet")) == 0


def test_a_table_that_breaks_the_contract_is_refused(block: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "features.parquet"
    describe(*block.values(), "2", target)
    table = pd.read_parquet(target)
    for broken in (table.assign(more=1), table.drop(columns="key"), table.iloc[::-1], table.assign(area=table["area"] * 0)):
        broken.to_parquet(target, index=False)
        with pytest.raises(UserError, match=r"features\.parquet"):
            read_features(target)


def test_rasters_of_another_grid_or_without_a_band_are_refused(block: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="on the grid"):
        describe(*block.values(), "1", tmp_path / "features.parquet")
    geobox = lattice().block("2")
    raster.write(block["s2.tif"], np.ones((1, *geobox.shape), np.uint16), geobox, 0, ["B02"])
    with pytest.raises(UserError, match="B03"):
        describe(*block.values(), "2", tmp_path / "features.parquet")
    assert not (tmp_path / "features.parquet").exists()
