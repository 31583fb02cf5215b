"""Mosaics: every pixel is that of its block, overviews join as they should, the bytes are the same again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from fake_map import make_map, products, write_map
from fake_results import YEAR, make_results
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.labels.tables import PROVENANCES
from smallmines.map.cog import Form, created_cog
from smallmines.map.mosaics import own_windows


def test_each_pixel_is_that_of_its_block_and_there_is_none_elsewhere(tmp_path: Path) -> None:
    results, files, _ = make_map(tmp_path)
    side, shape = results.side, results.lattice.geobox.shape
    names = {"mask": files.mask, "probability": files.probability, "provenance": files.provenance}
    mosaic = {name: raster.read(str(path), results.lattice.geobox)[0] for name, path in names.items()}
    expected = {name: np.full(shape, 0 if name == "provenance" else 255) for name in mosaic}
    for (_, block), paths in results.files().items():
        segments, mask = raster.read(str(paths.segments))[0], raster.read(paths.masks)[0]
        labels = pd.read_parquet(str(paths.labels))
        percent = [255, *np.round(100 * labels["probability"].clip(0, 1).to_numpy(np.float64))]
        codes = [0, *(1 + PROVENANCES.index(name) for name in labels["provenance"])]
        for cell in results.lattice.cells_of(block).itertuples():
            here = (slice(cell.y, cell.y + side), slice(cell.x, cell.x + side))
            there = (slice(cell.row * side, (cell.row + 1) * side), slice(cell.col * side, (cell.col + 1) * side))
            expected["mask"][there] = mask[here]
            expected["probability"][there] = np.array(percent)[segments[here]]
            expected["provenance"][there] = np.array(codes)[segments[here]]
    for name, pixels in expected.items():
        np.testing.assert_array_equal(mosaic[name], pixels)
    assert (mosaic["mask"][:side, side : 2 * side] == 255).all(), "the cell without a tile"
    assert {*np.unique(mosaic["mask"])} == {0, 1, 255}
    with rasterio.open(str(files.provenance)) as source:
        tag = dict(part.split(" ") for part in source.tags()["PROVENANCES"].split(", "))
        assert tag == {str(code): name for code, name in enumerate(PROVENANCES, 1)}
        assert {source.colormap(1)[int(code)] for code in tag} == {source.colormap(1)[code] for code in range(1, 11)}
        assert len({source.colormap(1)[code] for code in range(1, 11)}) == 10
    with rasterio.open(files.mask) as source:
        assert (source.nodata, source.dtypes, source.descriptions, source.tags()["YEAR"]) == (255, ("uint8",), ("mining",), YEAR)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_windows_are_each_cell_of_a_block_once(tmp_path: Path) -> None:
    lattice = make_results(tmp_path).lattice
    for block in lattice.windows:
        seen = np.zeros(lattice.geobox.shape, int)
        for window in own_windows(lattice, block):
            seen[window.toslices()] += 1
        row, col = lattice.offset(block)
        own = lattice.own(block)
        expected = np.zeros_like(seen)
        expected[row : row + own.shape[0], col : col + own.shape[1]] = own
        np.testing.assert_array_equal(seen, expected)
    assert [window.width for window in own_windows(lattice, "2")] == [32, 16], "cells beside each other together"


@pytest.mark.parametrize("overviews", ["mode", "average"])
def test_overviews(tmp_path: Path, overviews: str) -> None:
    """Squares of 2 × 2 pixels without ties; pixels without data do not count."""
    rng = np.random.default_rng(0)
    most, other = rng.integers(0, 9, (2, 400, 400))
    pixels = np.kron(most, np.ones((2, 2), int))
    pixels[1::2, 1::2] = other
    pixels[:2, :2] = [[255, 255], [255, 7]]
    pixels[:2, 2:4] = 255
    geobox = GeoBox((800, 800), Affine(10, 0, 0, 0, -10, 0), "EPSG:32630")
    colours = {value: (value, 0, 0, 255) for value in range(9)} if overviews == "mode" else {}
    with created_cog(tmp_path / "a.tif", geobox, Form("a", 255, overviews, {}, colours)) as target:  # type: ignore[arg-type]  # a name of a way
        target.write(pixels.astype(np.uint8), 1)
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(1), pixels)
        assert source.overviews(1) == [2]
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as source:
        small = source.read(1).astype(float)
    expected = most if overviews == "mode" else (3 * most + other) / 4
    assert (small[0, 0], small[0, 1]) == (7, 255)
    small[0, :2] = expected[0, :2]
    assert np.abs(small - expected).max() <= (0 if overviews == "mode" else 0.5)


def test_the_bytes_depend_on_neither_threads_nor_time_nor_order(tmp_path: Path) -> None:
    _, files, _ = make_map(tmp_path / "one", 64)
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from fake_map import make_map
make_map(Path({str(tmp_path / "two")!r}), 64)
"""
    environment = {"GDAL_NUM_THREADS": "ALL_CPUS", "SOURCE_DATE_EPOCH": "1", "TZ": "Asia/Tokyo", "GDAL_CACHEMAX": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    for path in (files.mask, files.probability, files.provenance):
        other = tmp_path / "two" / Path(str(path)).relative_to(tmp_path / "one")
        assert Path(str(path)).read_bytes() == other.read_bytes()
    assert sorted(path.name for path in (tmp_path / f"one/map/{YEAR}").iterdir()) == ["mask.tif", "probability.tif", "provenance.tif"]


def test_released_masks_have_no_segments(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    masks = {block: replace(files, segments=None, labels=None, probabilities=None) for block, files in products(results).items()}
    files = write_map(results, masks)
    assert (files.probability, files.provenance) == (None, None)
    assert (raster.read(files.mask)[0] == 1).any()
    assert [path.name for path in (tmp_path / f"map/{YEAR}").iterdir()] == ["mask.tif"]


def test_tables_of_another_segmentation_are_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    blocks = products(results)
    path = str(blocks["2"].labels)
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)
    with pytest.raises(UserError, match=r"segments of .*2/segments.tif that the tables of block 2 have"):
        write_map(results, blocks)
    assert not list((tmp_path / f"map/{YEAR}").iterdir()), "nothing half done is left"


def test_a_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    blocks = products(results)
    with pytest.raises(UserError, match="on the grid"):
        write_map(results, blocks | {"2": replace(blocks["2"], mask=blocks["1"].mask)})
