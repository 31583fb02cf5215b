"""The whole workflow with the masks of a release: equal to it to the byte, no segments, no forest, accuracy sample end to end."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from numpy.typing import NDArray

from miniature.annotators import truth_path
from place import correct
from smallmines.cli.console import read_config
from smallmines.loaders.folder import read_pairs
from workspace import MINIATURE_TILES, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

LACKING = (2016, "0001")
"""Year and id in the release of the mask that is taken away."""


def test_masks_of_a_release_from_the_plan_to_the_accuracy(miniature: Workspace, tmp_path: Path) -> None:
    run = replace(miniature.clone(tmp_path / "clone", finished=False), config="masks.yaml")
    values = yaml.safe_load((run.folder / "small.yaml").read_text())
    values |= {"labels": {"source": "released_masks"}, "released": {"path": "release"}}
    (run.folder / "masks.yaml").write_text(yaml.safe_dump(values))
    run.world("release", "--config", "masks.yaml", "--out", "release")
    released = spoiled(run.folder / "release/SmallMinesDS")
    run.snakemake()
    masks_are_the_release(run, released)
    nothing_is_segmented(run)
    documents_and_doctor(run)
    sampled(run)


def spoiled(folder: Path) -> dict[tuple[int, float, float], NDArray[np.uint8]]:
    """Take one mask away and cut a gap into another; return the pixels by year and upper left corner."""
    (folder / "2016/MASK/MASK_GH_0001_2016.tif").unlink()
    with rasterio.open(folder / "2022/MASK/MASK_GH_0005_2022.tif", "r+") as target:
        values = target.read(1)
        values[5:25, 40:50] = 255
        target.write(values, 1)
    pixels = {}
    for path in sorted(folder.glob("*/MASK/*.tif")):
        with rasterio.open(path) as source:
            pixels[int(path.parents[1].name), source.transform.c, source.transform.f] = source.read(1)
    assert len(pixels) == 2 * MINIATURE_TILES - 1
    return pixels


def masks_are_the_release(run: Workspace, released: dict[tuple[int, float, float], NDArray[np.uint8]]) -> None:
    """Each mask has the pixels of the release, and 255 where it has none."""
    lacking = gaps = 0
    for year in (2016, 2022):
        for path in sorted((run.results / f"dataset/{year}/MASK").glob("*.tif")):
            with rasterio.open(path) as source:
                own, place = source.read(1), (year, source.transform.c, source.transform.f)
                assert source.tags()["PROVENANCE"] == "released"
            if place in released:
                assert own.tobytes() == released[place].tobytes(), path.name
                gaps += int((own == 255).sum())
            else:
                lacking += 1
                assert (own == 255).all()
    assert (lacking, gaps) == (1, 200)


def nothing_is_segmented(run: Workspace) -> None:
    """No file and no column has anything of segments or a forest."""
    assert not {"segments", "people", "assistant", "labels", "candidates"} & {path.name for path in run.results.iterdir()}
    names = [path.relative_to(run.results).as_posix() for path in run.results.rglob("*") if path.is_file()]
    assert not [name for name in names if "probab" in name or "metrics" in name or "segments" in name]
    index = pd.read_parquet(run.results / "dataset/index.parquet")
    assert [name for name in index if name.startswith("share_")] == ["share_released"]
    assert not [name for name in index if "probab" in name]
    assert index["share_released"].dropna().eq(1).all()
    assert (index["share_released"].isna().sum(), index["validated_share"].dropna().max()) == (1, 0)
    assert index["unsupported_percent"].eq(0).all()
    assert index["open_percent"].gt(0).sum() == 2


def documents_and_doctor(run: Workspace) -> None:
    """The seal is verified, texts speak of no forest, the doctor finds no error, and loaders read the folder."""
    dataset = run.results / "dataset"
    assert json.loads((run.results / "verify.json").read_text())["findings"] == 0
    for path in (dataset / "README.md", dataset / "DATASHEET.md", dataset / "croissant.json", run.results / "report.html"):
        text = path.read_text()
        assert not re.search(r"\bforest\b", text.lower()), path.name  # the random forest; forests are named
        assert "proves nothing" in text, path.name
    labels = json.loads((dataset / "labels.json").read_text())
    assert labels["years"]["2016"]["released"] == {"tiles_without_mask": 1, "masks_without_tile": 0}
    assert labels["years"]["2016"]["open_share"] == pytest.approx(1 / MINIATURE_TILES, abs=1e-6)
    assert labels["years"]["2022"]["open_share"] == pytest.approx(200 / (MINIATURE_TILES * 128**2), abs=1e-6)
    doctor = json.loads((run.results / "doctor.json").read_text())
    assert doctor["counts"]["error"] == 0
    assert [finding["check"] for finding in doctor["findings"] if finding["severity"] == "warning"] == ["empty mask"]
    assert len(read_pairs(dataset)) == 2 * MINIATURE_TILES


def sampled(run: Workspace) -> None:
    """The queue refuses; the accuracy sample is interpreted from the truth, and its figures are in the dataset."""
    where = ("--config", "masks.yaml", "--year", "2022", "--block", "1", "--annotator", "A01")
    assert "labels.source released_masks" in run.smallmines("labels", "checkout", *where, succeeds=False)
    assert "labels.source released_masks" in run.smallmines("labels", "status", "--config", "masks.yaml")
    run.smallmines("labels", "sample", *where)
    copy = run.user / "work/A01/2022-1-accuracy.gpkg"
    centres = gpd.read_file(copy, layer="segments", fid_as_index=True).geometry.centroid
    with rasterio.open(truth_path(read_config(run.folder / "masks.yaml"), "2022", run.folder)) as source:
        mined = [value[0] == 1 for value in source.sample(zip(centres.x, centres.y, strict=True))]
    for fid, mining in zip(centres.index, mined, strict=True):
        correct(copy, int(fid), "mining" if mining else "not_mining", day="2022-01-10")
    run.smallmines("labels", "checkin", "--config", "masks.yaml", str(copy))
    planned = run.planned()
    assert planned["label_quality"] == planned["verify"] == 1
    assert not {"released", "released_mask", "mask_patches", "splits"} & set(planned)
    run.snakemake()
    years = json.loads((run.results / "dataset/labels.json").read_text())["years"]
    assert years["2016"]["accuracy"] is None
    accuracy = years["2022"]["accuracy"]
    assert accuracy["points"] == accuracy["settled"] == len(mined)
    assert accuracy["overall"]["value"] == 1, "the release of the miniature is its truth"
    assert "No accuracy sample" not in (run.results / "dataset/README.md").read_text()
