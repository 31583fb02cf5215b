"""Pictures and plots: their arithmetic, and that each is drawn, alike twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fake_results import ITEMS, YEAR, Results, make_results, publish
from smallmines.core import raster
from smallmines.core.product import S2_BANDS
from smallmines.dataset.band_statistics import band_statistics
from smallmines.dataset.index import read_index
from smallmines.report import canvas
from smallmines.report.pictures import block_pictures, label_pictures, middle_tile, scene_name, shaded
from smallmines.report.plots import plots, scores, series_of

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("results"))
    publish(made)
    return made


def draw(results: Results, folder: Path) -> dict[str, bytes]:
    """Every picture of block 1."""
    files = results.files()[(YEAR, "1")]
    labels = pd.read_parquet(files.labels)
    probabilities = folder / "probabilities.parquet"
    folder.mkdir(exist_ok=True)
    labels[["segment", "probability"]].to_parquet(probabilities)
    first = {name: str(folder / f"{name}.png") for name in ("rgb", "s1", "hillshade", "segments", "source", "seams", "steps")}
    corner = results.lattice.block("1").transform
    line = [[corner.c + 10 * step, corner.f - 100.0] for step in range(20)]
    joins = [{"items": ITEMS[:1] * 2, "step_db": {"VV": -0.3, "VH": 0.1}, "line": line}]
    bands = dict.fromkeys(S2_BANDS, 12.0)
    meeting = [{"scenes": ["a", "b"], "numbers": [1, 2], "pairs": 30, "km": 0.3, "step": bands, "usual": bands | {"B02": None}}]
    (folder / "s1.json").write_text(json.dumps({"joins": joins}))
    (folder / "s2.json").write_text(json.dumps({"seams": meeting}))
    second = {name: str(folder / f"{name}.png") for name in ("probability", "mask")}
    sources = {
        "s2": files.s2,
        "clear_mask": files.clear_mask,
        "s1": files.s1,
        "dem": files.dem,
        "source": files.source,
        "segments": files.segments,
        "s2_stats": str(folder / "s2.json"),
        "s1_stats": str(folder / "s1.json"),
    }
    block_pictures(sources, results.lattice, YEAR, "1", first)
    label_pictures({**sources, "probabilities": str(probabilities), "mask": files.masks}, results.lattice, YEAR, "1", second)
    return {name: Path(path).read_bytes() for name, path in (first | second).items()}


@pytest.mark.heavy
def test_all_pictures_are_drawn_with_the_same_bytes(results: Results, tmp_path: Path) -> None:
    first, second = draw(results, tmp_path / "a"), draw(results, tmp_path / "b")
    assert all(content.startswith(PNG) for content in first.values())
    assert first == second


@pytest.mark.heavy
def test_all_plots_are_drawn(results: Results, tmp_path: Path) -> None:
    metrics: dict[str, Any] = {"importances": {"B02": 0.25, "VV_21": 0.75}}
    metrics |= {"at_class_shares_of_the_area": {"0.71": {"iou": 0.5, "f1": 0.66}, "0.5": {"iou": 0.3, "f1": 0.4}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    targets = {
        name: str(tmp_path / f"{name}.png")
        for name in ("location", "class_share", "change", "radiometry", "metrics", "labels", "splits", "examples")
    }
    overview = [str(tmp_path / "overview.png")]
    files = {f"2016, {block}": str(tmp_path / "metrics.json") for block in "12"}
    grid = results.folder / "grid"
    index, quality = (str(results.folder / "dataset" / name) for name in ("index.parquet", "labels.json"))
    leak = {"twins": 0.0, "neighbours": 0.4, "r2": -0.1, "auc": None, "r2_low": None, "r2_high": None, "places": 0, "judgement": "no test"}
    rows = read_index(index)["split"].value_counts().to_dict()
    report = {
        "source": "spatial_block",
        "rows": rows,
        "mining_share": dict.fromkeys(rows, 0.1),
        "reason": "made up",
        "advice": "",
        "leakage": leak,
        "methods": {"spatial_block": leak, "leave_block_out 1": {"error": "x"}},
    }
    (tmp_path / "splits.json").write_text(json.dumps(report))
    images = sorted((results.folder / "dataset" / YEAR / "IMAGE").glob("*.tif"))
    (tmp_path / "statistics.json").write_text(json.dumps(band_statistics(images)))
    statistics, splits = {YEAR: str(tmp_path / "statistics.json")}, str(tmp_path / "splits.json")
    sources = {"index": index, "blocks": str(grid / "blocks.parquet"), "label_quality": quality, "splits": splits}
    plots(sources, files, statistics, {**targets, "overview": overview})
    assert all(Path(path).read_bytes().startswith(PNG) for path in [*targets.values(), *overview])


def test_a_large_raster_is_read_decimated(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geobox = results.lattice.block("1")
    array = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    raster.write(tmp_path / "x.tif", array, geobox, 0, ["x"])
    monkeypatch.setattr(canvas, "LIMIT", 16)
    means = canvas.thumbnail(tmp_path / "x.tif")
    assert means.shape == (1, 16, 16)
    assert means[0, 1, 1] in (82, 83)  # mean of 66, 67, 98, 99
    assert canvas.thumbnail(tmp_path / "x.tif", categories=True)[0, 1, 1] in (66, 67, 98, 99)
    assert canvas.sampled(array, (16, 16)).shape == (16, 16)


def test_the_stretch_ignores_gaps() -> None:
    bands = np.tile(np.arange(101, dtype=np.float32), (3, 1, 1))
    valid = np.ones((1, 101), bool)
    valid[0, 100] = False
    colours = canvas.stretched(bands, valid, 0, 100)
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert colours[0, 99].tolist() == [1, 1, 1]
    assert colours[0, 100].tolist() == pytest.approx(canvas.NO_DATA)


def test_a_slope_to_the_north_west_is_lit_and_one_to_the_south_east_is_not() -> None:
    row, column = np.mgrid[:5, :5]
    towards = shaded((row + column) * 10.0, 10.0, 1.0)  # falls to the north-west
    away = shaded(-(row + column) * 10.0, 10.0, 1.0)
    flat = shaded(np.zeros((5, 5)), 10.0)
    assert flat[0, 0] == pytest.approx(np.sqrt(0.5))
    assert towards.min() > flat[0, 0] > away.max()


def test_the_middle_tile_is_the_blocks_own(results: Results) -> None:
    for block in "12":
        window = middle_tile(results.lattice, block)
        own = results.lattice.own(block)[window.toslices()]
        assert own.shape == (results.side, results.side)
        assert own.all()


def test_clouds_do_not_darken_the_land() -> None:
    bands = np.tile(np.r_[np.arange(100, 200), np.full(50, 9000)].astype(np.float32), (3, 1, 1))
    valid, clear = np.ones((1, 150), bool), np.arange(150)[None] < 100
    assert canvas.stretched(bands, valid)[0, 99, 0] < 0.02
    assert canvas.stretched(bands, valid, basis=clear)[0, 99, 0] == 1
    assert canvas.stretched(bands, valid, basis=clear, gamma=2)[0, 50, 0] == pytest.approx(0.71, abs=0.02)
    np.testing.assert_array_equal(canvas.stretched(bands, valid, basis=~valid), canvas.stretched(bands, valid))


def test_masks_are_drawn_over_the_image() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[2:7, 2:7], mask[9:] = 1, 255
    shown = canvas.masked(np.ones((12, 12, 3), np.float32), mask)
    assert shown[0, 0].tolist() == [1, 1, 1]
    assert shown[2, 2].tolist() == pytest.approx(canvas.MINING)
    assert shown[4, 4].tolist() == pytest.approx(0.6 + 0.4 * np.array(canvas.MINING))
    assert (shown[9:].std(axis=-1) < 1e-6).all()


def test_scenes_have_short_names() -> None:
    assert scene_name(1, list(ITEMS)) == "2016-01-05 S2A T30NXN N0500"
    assert scene_name(0, []) == "no data"
    assert scene_name(255, []) == "several scenes"
    assert scene_name(3, ["a", "b", "something else"]) == "something else"


def test_scores_are_told_apart() -> None:
    metrics = {
        "threshold": 0.7512,
        "out_of_fold": {
            "as_drawn": {"note": "not map accuracy", "0.5": {"iou": 0.79, "f1": 0.88}},
            "at_class_shares_of_the_area": {"0.7512": {"iou": 0.45, "precision": 0.5}, "0.5": {"iou": 0.29}},
        },
    }
    found = {(series_of(path), path[-1]): value for path, value in scores(metrics)}
    assert found == {
        ((True, True), "iou"): 0.79,
        ((True, True), "f1"): 0.88,
        ((False, False), "iou"): 0.45,
        ((False, True), "iou"): 0.29,
    }
