"""The whole workflow on two real places (Tanzania, Brazil): pixels against their source, and the assistant on held-out tiles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy import ndimage

from real.triples import TILE, Triple, read_triple, write_archive, write_config, write_people
from workspace import Workspace

pytestmark = [pytest.mark.real, pytest.mark.heavy]

PLACES = {"tanzania": ("38D_378R_2_3", 2023, 4, 150), "brazil": ("282D_485L_3_3", 2021, 6, 150)}
"""Image, year, land-cover class in the place of mines, labels per class."""

EXPECTED = {"38D_378R_2_3": (0.5, 0.5), "282D_485L_3_3": (0.85, 0.6)}
"""Least accuracy and balanced accuracy on held-out tiles. Tanzania's two classes can hardly be told apart by their spectra: a forest
that sees tiles it has not learnt from has a Brier score of 0.29 there, no better than a coin."""


@pytest.fixture(scope="module", params=["tanzania", "brazil"])
def place(
    request: pytest.FixtureRequest, shared_data: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Triple, Workspace]:
    """A triple and the workspace in which the workflow made its dataset; Brazil's with report, doctor and pictures, too."""
    name, year, positive, per_class = PLACES[request.param]
    triple = read_triple(shared_data / "terramesh", name, year, positive)
    folder = tmp_path_factory.mktemp(request.param)
    workspace = Workspace.make(repository, folder, "triple.yaml", "triple")
    write_config(triple, folder / "triple.yaml")
    write_archive(triple, folder / "resources/automatic/triple/archive")
    write_people(triple, workspace.user, per_class, seed=1)
    workspace.snakemake(*(() if request.param == "brazil" else ("results/triple/dataset/SHA256SUMS",)))
    return triple, workspace


def test_the_doctor_finds_nothing_wrong(place: tuple[Triple, Workspace]) -> None:
    """Real ground raises no alarm: notes tell of the sea and of a test that is small, a warning of the single date."""
    from sections import Doctor
    from smallmines.doctor.examine import examine

    found = examine(place[1].results / "dataset", Doctor(), 1).findings
    allowed = {("note", "DEM flat"), ("note", "test too small"), ("warning", "composites")}
    assert {(finding.severity, finding.check) for finding in found} <= allowed
    findings = json.loads((place[1].results / "dataset/facts.json").read_text())["composite_findings"]
    year = place[0].year
    assert findings == [f"{year}: Haze of Sentinel-2 of block 1 is unassessed: fewer than 3 clear dates"]


def mosaic(workspace: Workspace, year: int, kind: str, bands: int, dtype: type, side: int = 224) -> np.ndarray:
    """The dataset's patches laid side by side, (band, row, column)."""
    cells = json.loads((workspace.results / "grid/grid.json").read_text())["cells"]
    whole = np.zeros((bands, side, side), dtype)
    prefix = {"IMAGE": "IMG", "MASK": "MASK"}[kind]
    for tile_id, row, col, _ in cells:
        with rasterio.open(workspace.results / f"dataset/{year}/{kind}/{prefix}_XX_{tile_id}_{year}.tif") as source:
            whole[:, row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE] = source.read()
    return whole


def test_sentinel2_and_elevation_are_the_source_pixels(place: tuple[Triple, Workspace]) -> None:
    triple, workspace = place
    image = mosaic(workspace, triple.year, "IMAGE", 13, np.float32)
    np.testing.assert_array_equal(image[:10], triple.s2.astype(np.float32) + 1000)
    np.testing.assert_allclose(image[12], triple.dem, atol=1e-3)


def test_sentinel1_is_the_circular_mean_of_the_power_in_db(place: tuple[Triple, Workspace]) -> None:
    triple, workspace = place
    image = mosaic(workspace, triple.year, "IMAGE", 13, np.float32)
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.float64)
    for found, power in zip(image[10:12], triple.s1.astype(np.float64), strict=True):
        mean = ndimage.convolve(power, plus, mode="constant") / ndimage.convolve(np.ones_like(power), plus, mode="constant")
        np.testing.assert_allclose(found, 10 * np.log10(mean), atol=2e-3)


def test_no_cloud_mask_is_said_in_log_and_tags(place: tuple[Triple, Workspace]) -> None:
    triple, workspace = place
    with rasterio.open(workspace.results / f"composites/{triple.year}/1/s2.tif") as composite:
        assert composite.tags()["CLOUDS"] == "none"
        assert composite.tags()["RADIOMETRY"] == "dn_plus1000"
    log = (workspace.folder / f"logs/triple/composite_s2/{triple.year}-1.log").read_text()
    assert "WARNING" in log
    assert "clouds" in log


def test_segments_and_the_assistant_on_held_out_tiles(place: tuple[Triple, Workspace], record_property: pytest.RecordProperty) -> None:
    """Accuracy and IoU by area over the segments whose interior point lies in a tile without labels."""
    triple, workspace = place
    where = workspace.results / f"segments/{triple.year}/1"
    features = pd.read_parquet(where / "features.parquet")
    with rasterio.open(where / "segments.tif") as source:
        labels = source.read(1).ravel()
    assert (labels > 0).all()
    size = np.bincount(labels)[1:]
    assert (size == features["area"]).all()
    truth = np.bincount(labels, triple.positive.ravel())[1:] / size >= 0.5
    col = np.floor((features["x"] - triple.geobox.transform.c) / 10).astype(int)
    row = np.floor((triple.geobox.transform.f - features["y"]) / 10).astype(int)
    unseen = triple.held_out[row, col]
    probability = pd.read_parquet(workspace.results / f"assistant/{triple.year}/1/probabilities.parquet")["probability"].to_numpy()
    metrics = json.loads((workspace.results / f"assistant/{triple.year}/1/metrics.json").read_text())
    called = probability.astype(np.float64).round(4) >= metrics["threshold"]
    area = size[unseen]
    right = (called == truth)[unseen]
    both, either = (called & truth)[unseen], (called | truth)[unseen]
    found = {
        "place": triple.name,
        "segments": len(features),
        "median_px": float(features["area"].median()),
        "held_out_segments": int(unseen.sum()),
        "accuracy": round(float(area[right].sum() / area.sum()), 4),
        "balanced_accuracy": round(float(np.mean([right[truth[unseen]].mean(), right[~truth[unseen]].mean()])), 4),
        "iou": round(float(area[both].sum() / area[either].sum()), 4),
        "threshold": metrics["threshold"],
        "prevalence": metrics["prevalence"]["share"],
        "true_share": round(float(triple.positive.mean()), 4),
    }
    record_property("held_out", found)
    print(json.dumps(found))
    assert 1000 < found["segments"] < 20000
    accuracy, balanced = EXPECTED[triple.name]
    assert found["accuracy"] > accuracy
    assert found["balanced_accuracy"] > balanced
