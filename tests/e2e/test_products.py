"""Test the products of the miniature: layout, pixels, and masks against the truth."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

from miniature.score import seen_mines, truth_of
from smallmines.cli.console import read_config
from smallmines.composite.sentinel2 import composite
from smallmines.grid.lattice import read_lattice
from workspace import Workspace

pytestmark = pytest.mark.e2e

YEARS = ("2016", "2022")


def test_the_released_layout(miniature: Workspace) -> None:
    cells = gpd.read_parquet(miniature.results / "grid/fishnet.parquet").set_index("tile_id")
    for year in YEARS:
        folder = miniature.results / "dataset" / year
        images = sorted(path.name for path in (folder / "IMAGE").glob("*.tif"))
        masks = sorted(path.name for path in (folder / "MASK").glob("*.tif"))
        assert images == [f"IMG_GH_{name}_{year}.tif" for name in cells.index]
        assert masks == [f"MASK_GH_{name}_{year}.tif" for name in cells.index]
        for name in (cells.index[0], cells.index[-1]):
            with rasterio.open(folder / "IMAGE" / f"IMG_GH_{name}_{year}.tif") as image:
                assert (image.count, image.shape, set(image.dtypes), image.nodata) == (13, (128, 128), {"float32"}, -9999)
                assert image.descriptions == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "VV", "VH", "DEM")
                assert tuple(image.bounds) == cells.geometry[name].bounds
                assert image.tags()["RADIOMETRY"] == "dn_plus1000"
            with rasterio.open(folder / "MASK" / f"MASK_GH_{name}_{year}.tif") as mask:
                assert (mask.count, mask.shape, mask.dtypes[0], mask.nodata) == (1, (128, 128), "uint8", 255)
                assert set(np.unique(mask.read())) <= {0, 1, 255}


def test_both_years_carry_the_offset_though_one_archive_year_does_not(miniature: Workspace) -> None:
    """DN + 1000 in both years (FACTS: the mix-up that cost users most): no valid pixel below 1001, similar forest levels."""
    medians = []
    for year in YEARS:
        images = [rasterio.open(path).read(1) for path in (miniature.results / "dataset" / year / "IMAGE").glob("*.tif")]
        blue = np.concatenate([image[image != -9999] for image in images])
        assert blue.min() >= 1001
        medians.append(float(np.median(blue)))
    assert abs(medians[0] - medians[1]) < 300


def test_verified_and_complete(miniature: Workspace) -> None:
    assert (miniature.results / "verify.json").is_file()
    index = pd.read_parquet(miniature.results / "dataset/index.parquet")
    assert len(index) == 2 * len(gpd.read_parquet(miniature.results / "grid/fishnet.parquet"))


@pytest.mark.heavy
def test_mines_are_no_haze(miniature: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where haze is looked for, all true mine pixels stay valid, and on dates without haze they are not left out."""
    config = read_config(miniature.folder / "small.yaml")
    monkeypatch.chdir(miniature.folder)
    lattice = read_lattice(miniature.results / "grid/grid.json")
    for year in YEARS:
        for block in "12":
            outputs = {name: tmp_path / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {"stats": tmp_path / "stats.json"}
            fetched = miniature.results / f"fetched/{year}/{block}/s2.json"
            settings = config.sentinel2.model_copy(update={"haze": "always"})
            composite(block, miniature.results / "grid/grid.json", fetched, settings, outputs, config.minimum_coverage)
            with (
                rasterio.open(miniature.results / f"composites/{year}/{block}/clear.tif") as before,
                rasterio.open(outputs["clear_mask"]) as after,
            ):
                mined = (truth_of(config, year, lattice.block(block), miniature.folder) == 1) & lattice.own(block)
                assert ((after.read(1) > 0) == (before.read(1) > 0))[mined].all()
                assert after.tags()["HAZE"] == "corrected"
            hazy = json.loads(outputs["stats"].read_text())["haze"]["hazy_share_of_clear"]
            assert all(share < 0.01 for datatake, share in hazy.items() if f"{year}0121" not in datatake), hazy
            assert max(hazy, key=hazy.__getitem__)[4:12] == f"{year}0121", "the date with Harmattan dust"


def test_the_mines_are_seen_though_the_classification_calls_them_cloud(miniature: Workspace) -> None:
    seen = seen_mines(read_config(miniature.folder / "small.yaml"), miniature.folder).set_index("year")
    assert seen.loc["all", "valid"] >= 0.95
    assert seen.loc["all", "stable"] > 0.005
    for year in YEARS:
        for block in "12":
            told = json.loads((miniature.results / f"composites/{year}/{block}/s2.json").read_text())
            assert told["kept_pixels"] == sum(told["kept_pixels_of_tiles"].values()) > 0
            assert told["seams"][0]["km"] > 0.1


def test_masks_agree_with_the_truth(miniature: Workspace, tmp_path: Path) -> None:
    miniature.world("score", "--config", "small.yaml", "--json", str(tmp_path / "score.json"))
    score = pd.read_json(tmp_path / "score.json", dtype={"year": str}).set_index(["masks", "year"])["iou"]
    for year in YEARS:
        assert 0.2 < score["prediction alone", year] < 0.95
        # samples err too (1.5 %), so that they may cost what they bring where the prediction is good
        assert score["with people's labels", year] >= score["prediction alone", year] - 0.01


def test_neighbouring_blocks_agree_on_shared_pixels(miniature: Workspace) -> None:
    for name in ("2016/{}/s2.tif", "2022/{}/s2.tif", "2016/{}/s1.tif", "2022/{}/s1.tif", "static/{}/dem.tif"):
        with (
            rasterio.open(miniature.results / "composites" / name.format("1")) as one,
            rasterio.open(miniature.results / "composites" / name.format("2")) as two,
        ):
            shared = one.window(*rasterio.coords.BoundingBox(*_overlap(one.bounds, two.bounds))).round_offsets().round_lengths()
            other = two.window(*_overlap(one.bounds, two.bounds)).round_offsets().round_lengths()
            a, b = one.read(window=shared), two.read(window=other)
        assert a.size > 0
        np.testing.assert_array_equal(a, b)


def _overlap(a: rasterio.coords.BoundingBox, b: rasterio.coords.BoundingBox) -> tuple[float, float, float, float]:
    return max(a.left, b.left), max(a.bottom, b.bottom), min(a.right, b.right), min(a.top, b.top)
