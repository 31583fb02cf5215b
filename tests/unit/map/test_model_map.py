"""Mosaics of a model's predictions against the predictions of the blocks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from fake_results import Results, make_results
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.map.model_map import write_model_mosaics

MODEL = "boosting_13/fixed/in_force/0"


def predicted(results: Results, folder: Path) -> dict[str, Path]:
    """Write random predictions with gaps for each block, as `smallmines predict` does."""
    paths = {}
    for number, block in enumerate(results.lattice.windows):
        box, random = results.lattice.block(block), np.random.default_rng(number)
        paths[block] = folder / f"{block}.tif"
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), raster.created(paths[block], box, "uint8", None, ["probability of mining"]) as out:
            out.write(random.integers(0, 256, box.shape, np.uint8), 1)
            out.write_mask(np.where(random.random(box.shape) < 0.9, 255, 0).astype(np.uint8))
    return paths


def test_each_pixel_is_that_of_its_block(tmp_path: Path) -> None:
    results = make_results(tmp_path, 16)
    paths = predicted(results, tmp_path)
    targets = SimpleNamespace(mask=tmp_path / "mask.tif", probability=tmp_path / "probability.tif")
    write_model_mosaics(paths, results.lattice, "2016", MODEL, 100, targets)
    shape = results.lattice.geobox.shape
    mask, percent = np.full(shape, 255, np.uint8), np.full(shape, 255, np.uint8)
    for block, path in paths.items():
        with rasterio.open(path) as source:
            value, whole = source.read(1), source.read_masks(1) > 0
        row, col = results.lattice.offset(block)
        own = results.lattice.own(block)
        place = (slice(row, row + own.shape[0]), slice(col, col + own.shape[1]))
        mask[place] = np.where(own, np.where(whole, value >= 100, 255), mask[place])
        percent[place] = np.where(own, np.where(whole, (value / 2.55).round(), 255), percent[place])
    np.testing.assert_array_equal(raster.read(targets.mask, results.lattice.geobox)[0], mask)
    np.testing.assert_array_equal(raster.read(targets.probability)[0], percent)
    with rasterio.open(targets.probability) as source:
        assert source.tags()["MODEL"] == MODEL
        assert source.tags()["THRESHOLD"] == "0.3922"
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert {0, 1, 255} == set(np.unique(mask))


def test_a_prediction_of_another_grid_is_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path, 16)
    paths = predicted(results, tmp_path)
    first, *_ = paths
    box = results.lattice.block(first)
    raster.write(paths[first], np.zeros((box.shape.y, box.shape.x - 1), np.uint8), box[:, :-1], None, ["probability of mining"])
    targets = SimpleNamespace(mask=tmp_path / "mask.tif", probability=tmp_path / "probability.tif")
    with pytest.raises(UserError, match=f"{first}.tif"):
        write_model_mosaics(paths, results.lattice, "2016", MODEL, 100, targets)
    assert not targets.mask.exists()
