"""Masking, canonical ids and OTB's chain on small images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from sections import Segmentation
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import sha256, write_json
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import read_lattice
from smallmines.segment import orfeo
from smallmines.segment.segmentation import Outputs, masked_image, pieces, segment

images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 3))


@given(images)
@settings(max_examples=60, deadline=None)
def test_pieces_are_the_connected_components_of_each_label(labels: np.ndarray) -> None:
    found = pieces(labels)
    assert found.dtype == np.uint32
    assert ((found == 0) == (labels == 0)).all()
    count = 0
    for value in np.unique(labels[labels > 0]):
        parts, number = ndimage.label(labels == value)
        count += number
        for part in range(1, number + 1):
            inside = found[parts == part]
            assert (inside == inside[0]).all()
            assert (found == inside[0]).sum() == len(inside)
    assert found.max() == count


@given(images)
@settings(max_examples=30, deadline=None)
def test_ids_are_row_major_by_first_pixel_whatever_the_numbers_were(labels: np.ndarray) -> None:
    found = pieces(labels)
    ids, first = np.unique(found, return_index=True)
    assert ids[ids > 0].tolist() == list(range(1, int(found.max()) + 1))
    assert (np.diff(first[ids > 0]) > 0).all()
    other = np.array([0, 900, 5, 4_000_000_000], np.uint32)[labels]
    assert (pieces(other) == found).all()
    assert (pieces(found) == found).all()


TILE = 32


@pytest.fixture
def composite(tmp_path: Path) -> dict[str, Path]:
    """Two blocks of fields with texture; block 1 owns an L of three of four tiles, and lacks data in a stripe and a pixel."""
    cells = [["0001", 1, 0, "1"], ["0002", 1, 1, "1"], ["0003", 0, 0, "1"], ["0004", 0, 1, "2"]]
    grid = {"crs": "EPSG:32630", "tile_size": TILE, "transform": [10, 0, 0, 0, -10, 900], "shape": [64, 64], "cells": cells}
    write_json(tmp_path / "grid.json", grid | {"windows": {"1": [0, 0, 2, 2], "2": [0, 1, 1, 1]}})
    rng = np.random.default_rng(0)
    fields = np.kron(1100 + 60 * rng.permutation(64).reshape(8, 8), np.ones((8, 8), int))
    cube = fields + np.arange(10)[:, None, None] * 20 + rng.normal(0, 10, (10, 64, 64)).round().astype(int)
    cube[:, :, 10:13] = 0
    cube[4, 50, 50] = 0
    raster.write(tmp_path / "s2.tif", cube.astype(np.uint16), read_lattice(tmp_path / "grid.json").block("1"), 0, S2_BANDS)
    return {"s2": tmp_path / "s2.tif", "grid": tmp_path / "grid.json"}


def test_masked_pixels_lie_far_from_every_reflectance(composite: dict[str, Path], tmp_path: Path) -> None:
    lattice = read_lattice(composite["grid"])
    valid = masked_image(composite["s2"], lattice.block("1"), lattice.own("1"), ("B03", "B12"), tmp_path / "image.tif")
    cube, image = raster.read(composite["s2"]), raster.read(tmp_path / "image.tif")
    expected = lattice.own("1") & (cube != 0).all(axis=0)
    assert (valid == expected).all()
    assert not valid[50, 50]
    assert valid.sum() == 3 * TILE * TILE - 3 * 64 - 1
    assert (image[:, ~valid] == orfeo.FAR).all()
    assert (image[:, valid] == cube[[1, 9]][:, valid]).all()


def run(composite: dict[str, Path], target: Path, **settings: object) -> np.ndarray:
    outputs = Outputs(target, target.with_suffix(".json"))
    segment(composite["s2"], composite["grid"], "1", Segmentation(backend="cli", **settings), 1, 2000, outputs)
    return raster.read(target)[0]


def test_segments_never_mix_image_and_mask(composite: dict[str, Path], tmp_path: Path) -> None:
    labels = run(composite, tmp_path / "out" / "segments.tif")
    cube, own = raster.read(composite["s2"]), read_lattice(composite["grid"]).own("1")
    assert ((labels > 0) == (own & (cube != 0).all(axis=0))).all()
    assert (pieces(labels) == labels).all()
    report = json.loads((tmp_path / "out" / "segments.json").read_text())
    sizes = np.bincount(labels.ravel())[1:]
    assert report["segments"] == labels.max() == len(sizes)
    assert report["median_size_px"] == np.median(sizes)
    assert report["below_min_size"] == 0
    assert report["backend"] == "cli"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["segments.json", "segments.tif"]
    # The fields are far apart, so no segment spans two of them.
    field = np.arange(64)[:, None] // 8 * 8 + np.arange(64) // 8
    assert max(len(np.unique(field[labels == label])) for label in range(1, labels.max() + 1)) == 1
    # Again, the same bytes.
    run(composite, tmp_path / "again" / "segments.tif")
    assert sha256(tmp_path / "out/segments.tif") == sha256(tmp_path / "again/segments.tif")


def test_masked_value_does_not_reach_the_image(composite: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = run(composite, tmp_path / "far.tif")
    monkeypatch.setattr(orfeo, "FAR", 40000)
    assert (run(composite, tmp_path / "other.tif") == far).all()


def test_an_island_below_the_minimum_size_stays_a_segment(composite: dict[str, Path], tmp_path: Path) -> None:
    cube = raster.read(composite["s2"])
    cube[:, 40:50, 40:50] = 0
    cube[:, 44:46, 44] = 2000
    raster.write(composite["s2"], cube, read_lattice(composite["grid"]).block("1"), 0, S2_BANDS)
    labels = run(composite, tmp_path / "segments.tif")
    assert labels[44, 44] == labels[45, 44] > 0
    assert (labels == labels[44, 44]).sum() == 2


def test_no_merging_where_the_minimum_size_asks_for_none(composite: dict[str, Path], tmp_path: Path) -> None:
    assert run(composite, tmp_path / "a.tif", min_size=0).max() >= run(composite, tmp_path / "b.tif", min_size=5).max()


def test_a_block_without_data_has_no_segments_and_needs_no_otb(
    composite: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTB_ROOT", str(tmp_path))
    geobox = read_lattice(composite["grid"]).block("1")
    raster.write(composite["s2"], np.zeros((10, *geobox.shape), np.uint16), geobox, 0, S2_BANDS)
    assert not run(composite, tmp_path / "segments.tif").any()
    assert json.loads((tmp_path / "segments.json").read_text())["median_size_px"] is None


def test_a_failing_application_leaves_nothing(composite: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, orfeo.Value]:
        return {"in": tmp_path / "nothing.tif", "out": orfeo.Image(tmp_path / "out.tif", "uint32")}

    monkeypatch.setattr(orfeo, "segmentation", broken)
    with pytest.raises(UserError, match=r"LSMSSegmentation.*(?s:.*)nothing\.tif"):
        run(composite, tmp_path / "out" / "segments.tif")
    assert list((tmp_path / "out").iterdir()) == []
