"""Figures of a segmentation against hand counts, the grid of settings, and a run on a small window with Orfeo ToolBox."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from sections import Segmentation
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.known_classes import classes_of_mask, classes_of_samples
from smallmines.annotation.segment_tuning import (
    Crop,
    _clearest,
    _known_classes,
    ceiling,
    edge_contrast,
    grid_of,
    measure,
    mixed_class_share,
    try_all,
    variance_within,
    write_results,
)
from smallmines.cli.main import app
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import UserFolder

GEOBOX = GeoBox((4, 4), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
LABELS = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3], [0, 0, 3, 3]], np.uint32)


def test_variance_within_segments() -> None:
    flat = np.where(LABELS == 1, 100, np.where(LABELS == 2, 300, 200)).astype(np.uint16)
    assert variance_within(LABELS, flat[np.newaxis]) == pytest.approx(0)
    one = np.where(LABELS > 0, 1, 0).astype(np.uint32)
    assert variance_within(one, flat[np.newaxis]) == pytest.approx(1)
    band = np.array([[1, 3, 5, 5], [1, 3, 5, 5], [4, 4, 4, 4], [9, 9, 4, 4]], np.uint16)
    values = band[LABELS > 0].astype(float)
    assert variance_within(LABELS, band[np.newaxis]) == pytest.approx(4 * 1.0 / ((values - values.mean()) ** 2).sum())


def test_contrast_of_borders_where_they_are_and_where_they_are_not() -> None:
    steps = np.zeros((1, 4, 8), np.uint16)
    steps[:, :, 4:] = 100
    steps += (np.indices((4, 8)).sum(axis=0) % 2 * 10).astype(np.uint16)
    good = np.repeat([[1, 1, 1, 1, 2, 2, 2, 2]], 4, axis=0).astype(np.uint32)
    bad = np.repeat([[1, 1, 2, 2, 2, 2, 2, 2]], 4, axis=0).astype(np.uint32)
    assert 5 < edge_contrast(good, steps) < 15, "100 across the border and 10 inside, or 90 and 110 where the checks meet"
    assert edge_contrast(bad, steps) < 1
    assert np.isnan(edge_contrast(np.ones((4, 8), np.uint32), steps))


def test_segments_with_known_pixels_of_both_classes() -> None:
    known = np.full((4, 4), -1, np.int8)
    known[0, :3], known[3, 0] = [1, 0, 1], 1
    assert mixed_class_share(LABELS, known) == 0.5
    assert mixed_class_share(LABELS, np.full((4, 4), -1, np.int8)) is None
    found = measure(LABELS, Crop(np.ones((10, 4, 4), np.uint16), GEOBOX, known))
    assert (found["segments"], found["median_px"], found["small_share"], found["ceiling"]) == (3, 4.0, 1.0, None)
    assert found["per_km2"] == pytest.approx(3 / (14 * 100 / 1e6), rel=1e-3)


def test_the_ceiling_is_the_iou_of_the_majority() -> None:
    labels = np.arange(1, 41, dtype=np.uint32).repeat(4).reshape(40, 4)
    known = np.zeros((40, 4), np.int8)
    known[:10] = 1  # ten segments of mining
    assert ceiling(labels, known) == 1
    known[0, :3] = 0  # three of four pixels are none: the fourth is lost
    known[1, 0] = 0  # one is none: it is mapped too much
    known[2, :2] = 0  # half: mining
    hits, mapped, missed = 7 * 4 + 3 + 2, 9 * 4, 1
    assert ceiling(labels, known) == round(hits / (mapped + missed), 4)
    assert ceiling(labels, np.where(known == 1, 0, known).astype(np.int8)) is None, "no mining"
    assert ceiling(labels, np.ones_like(known)) is None, "nothing but mining"
    single = np.full((40, 4), -1, np.int8)
    single[:, 0] = known[:, 0]
    assert ceiling(labels, single) is None, "single points always fit"


def test_classes_of_masks_and_samples(tmp_path: Path) -> None:
    wide = GeoBox((6, 6), Affine(10, 0, 599990, 0, -10, 700010), "EPSG:32630")
    mask = np.zeros((6, 6), np.uint8)
    mask[1, 1], mask[2, 2], mask[3, 3] = 1, 255, 1
    raster.write(tmp_path / "mask.tif", mask, wide, 255, ["mining"])
    expected = np.zeros((4, 4), np.int8)
    expected[0, 0], expected[1, 1], expected[2, 2] = 1, -1, 1
    assert classes_of_mask(tmp_path / "mask.tif", GEOBOX).tolist() == expected.tolist()
    with pytest.raises(UserError, match="no pixel with 0 or 1"):
        classes_of_mask(tmp_path / "mask.tif", GeoBox((4, 4), Affine(10, 0, 900000, 0, -10, 700000), "EPSG:32630"))
    (tmp_path / "broken.tif").write_bytes(b"II*")
    with pytest.raises(UserError, match="a mask at"):
        classes_of_mask(tmp_path / "broken.tif", GEOBOX)
    folder = UserFolder(tmp_path)
    assert (classes_of_samples(folder, "2022", "1", GEOBOX) == -1).all()
    shapes = [shapely.box(600000, 699980, 600020, 700000), shapely.Point(600035, 699965), shapely.Point(600900, 699965)]
    frame = gpd.GeoDataFrame({"label": ["mining", "not_mining", "mining"]}, geometry=shapes, crs="EPSG:32630")
    folder.samples("2022", "1").parent.mkdir(parents=True)
    frame.to_file(folder.samples("2022", "1").with_suffix(".gpkg"), layer="samples")
    expected = np.full((4, 4), -1, np.int8)
    expected[:2, :2], expected[3, 3] = 1, 0
    assert classes_of_samples(folder, "2022", "1", GEOBOX).tolist() == expected.tolist()


def test_a_release_without_a_class_in_the_window_tells_nothing_and_a_named_mask_is_refused(tmp_path: Path) -> None:
    raster.write(tmp_path / "mask.tif", np.full((4, 4), 255, np.uint8), GEOBOX, 255, ["mining"])
    layout = SimpleNamespace(mask=lambda *_: tmp_path / "mask.tif", user=UserFolder(tmp_path))
    block_year = cast(BlockYear, SimpleNamespace(year="2022", block="1", segmented=False, layout=layout))
    assert (_known_classes(GEOBOX, block_year, None)[0] == -1).all()
    with pytest.raises(UserError, match="no pixel with 0 or 1"):
        _known_classes(GEOBOX, block_year, tmp_path / "mask.tif")


def test_a_mask_of_this_run_is_not_taken_for_a_released_one(tmp_path: Path) -> None:
    layout = SimpleNamespace(mask=lambda *_: tmp_path / "mask.tif", user=UserFolder(tmp_path))
    block_year = cast(BlockYear, SimpleNamespace(year="2022", block="1", segmented=False, layout=layout))
    for tags, source in (({}, "samples"), ({"PROVENANCE": "released"}, "released masks")):
        raster.write(tmp_path / "mask.tif", np.eye(4, dtype=np.uint8), GEOBOX, 255, ["mining"], tags)
        known, name = _known_classes(GEOBOX, block_year, None)
        assert name == source
        assert (known == 1).sum() == (4 if tags else 0)


@pytest.mark.parametrize(
    ("values", "dtype", "told"),
    [
        ([0, 1, 2], "uint8", "also 2"),
        ([0.0, 1.0, 0.5], "float32", "also 0.5"),
        ([0, 255, 255], "uint8", ""),
        ([0, 1, -1], "int8", ""),
        ([0, 1, np.nan], "float32", ""),
    ],
)
def test_values_of_a_mask_that_mean_nothing_are_refused(tmp_path: Path, values: list[float], dtype: str, told: str) -> None:
    mask = np.resize(np.array(values, dtype), (4, 4))
    raster.write(tmp_path / "mask.tif", mask, GEOBOX, None, ["mining"])
    if told:
        with pytest.raises(UserError, match=told):
            classes_of_mask(tmp_path / "mask.tif", GEOBOX)
    else:
        assert (classes_of_mask(tmp_path / "mask.tif", GEOBOX) == np.select([mask == 1, mask == 0], [1, 0], -1)).all()


def test_masks_of_two_bands_south_up_and_without_a_known_crs(tmp_path: Path) -> None:
    mask = np.triu(np.ones((4, 4), np.uint8))
    profile = {"driver": "GTiff", "width": 4, "height": 4, "dtype": "uint8"}
    up = Affine(10, 0, 600000, 0, 10, 699960)
    with rasterio.open(tmp_path / "up.tif", "w", count=1, crs="EPSG:32630", transform=up, **profile) as target:
        target.write(mask[::-1], 1)
    assert (classes_of_mask(tmp_path / "up.tif", GEOBOX) == mask).all()
    with rasterio.open(tmp_path / "two.tif", "w", count=2, crs="EPSG:32630", transform=GEOBOX.transform, **profile) as target:
        target.write(np.stack([mask, mask]))
    with pytest.raises(UserError, match="one band"):
        classes_of_mask(tmp_path / "two.tif", GEOBOX)
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with rasterio.open(tmp_path / "local.tif", "w", count=1, crs=local, transform=GEOBOX.transform, **profile) as target:
        target.write(mask, 1)
    with pytest.raises(UserError):
        classes_of_mask(tmp_path / "local.tif", GEOBOX)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_pixels_of_samples_of_both_classes_are_not_known_in_any_order(tmp_path: Path, order: list[int]) -> None:
    folder = UserFolder(tmp_path)
    shapes = [shapely.box(600000, 699960, 600040, 700000), shapely.box(600000, 699980, 600020, 700000)]
    frame = gpd.GeoDataFrame({"label": ["not_mining", "mining"]}, geometry=shapes, crs="EPSG:32630").iloc[order]
    folder.samples("2022", "1").parent.mkdir(parents=True)
    frame.to_file(folder.samples("2022", "1").with_suffix(".gpkg"), layer="samples")
    expected = np.zeros((4, 4), np.int8)
    expected[:2, :2] = -1
    assert classes_of_samples(folder, "2022", "1", GEOBOX).tolist() == expected.tolist()


def test_the_configured_settings_are_always_tried() -> None:
    settings = Segmentation(spatial_radius=4, range_radius=70, min_size=3)
    tried = grid_of(settings, [5], [100, 200], [5])
    assert [(one.spatial_radius, one.range_radius, one.min_size) for one in tried] == [(4, 70, 3), (5, 100, 5), (5, 200, 5)]
    assert settings in tried
    assert len(grid_of(Segmentation(), [5], [100], [5])) == 1


def test_the_window_is_where_it_is_clearest() -> None:
    clear, own = np.zeros((40, 60), bool), np.ones((40, 60), bool)
    clear[20:, 40:] = True
    assert _clearest(clear, own, 20) == (20, 40)
    own[:, 50:] = False
    assert _clearest(clear, own, 40) == (0, 20)


@pytest.mark.heavy
def test_coarser_settings_give_fewer_segments_and_files_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plots = np.kron(rng.integers(1500, 3000, (10, 8, 8)), np.ones((1, 8, 8)))
    cube = (plots + rng.normal(0, 40, plots.shape)).astype(np.uint16)
    geobox = GeoBox((64, 64), GEOBOX.transform, GEOBOX.crs)
    crop = Crop(cube, geobox, np.full((64, 64), -1, np.int8))
    settings = grid_of(Segmentation(), [5], [100, 400], [5, 30])
    rows, labels = zip(*try_all(crop, settings, 1, 1000), strict=True)
    table = pd.DataFrame(rows).set_index(["range_radius", "min_size"])
    assert table.loc[(400, 5), "segments"] <= table.loc[(100, 5), "segments"]
    assert table.loc[(100, 30), "segments"] < table.loc[(100, 5), "segments"]
    assert table.loc[(400, 5), "segments"] == pytest.approx(64, abs=6), "the plots"
    write_results(table.reset_index(), labels, crop, settings.index(Segmentation()), "plots", tmp_path)
    assert len(pd.read_csv(tmp_path / "segments_tune.csv")) == len(settings)
    assert (tmp_path / "segments_tune.png").read_bytes().startswith(b"\x89PNG")
    empty = Crop(np.zeros_like(cube), geobox, crop.known)
    with pytest.raises(UserError, match="another one with --row"):
        list(try_all(empty, settings, 1, 1000))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--year", "1999"], "years 2016, 2022"),
        (["--year", "2016"], "snakemake composites_2016_1"),
        (["--year", "2016", "--range", "x"], "3,5,8"),
    ],
)
def test_what_is_missing_is_said(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["segments", "tune", "--config", str(repository / "config/demo.yaml"), *words])
    assert done.exit_code == 1
    assert told in str(done.exception) + done.output
