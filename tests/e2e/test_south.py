"""A run south of the equator, from a made archive in zone 19S to the verified dataset."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from smallmines.core.files import read_json
from smallmines.core.readable import read_parquet
from smallmines.grid.lattice import read_lattice
from workspace import MINIATURE_TILES, SAME_ARITHMETIC, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

CRS = "EPSG:32719"
CENTRE = (610600, 9_310_000)
"""6.2° S, 68° W, where two elevation tiles meet."""
LEAST_IOU = 0.55
"""Of the masks against the truth; the run has 0.66."""


@pytest.fixture(scope="module")
def south(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    run = replace(Workspace.make(repository, tmp_path_factory.mktemp("south"), "south.yaml", "south"), environment=SAME_ARITHMETIC)
    shutil.copy2(repository / "tests/e2e/south.yaml", run.folder / "south.yaml")
    run.world("make", "--config", "south.yaml", "--tiles", str(MINIATURE_TILES))
    run.snakemake("--set-threads", "assistant=1", "segment=1")
    return run


def test_products_of_the_archive_have_southern_names(south: Workspace) -> None:
    archive = south.folder / "resources/automatic/south/archive"
    assert sorted(path.name for path in (archive / "cop-dem-glo-30").glob("*/")) == [
        f"Copernicus_DSM_COG_10_S07_00_{west}_00_DEM" for west in ("W068", "W069")
    ]
    assert {path.name.split("_")[5] for path in (archive / "sentinel-2-l2a").glob("*/")} == {"T19MWN", "T19MXN"}
    chosen = read_json(south.results / "manifests/2022/s2.json")["chosen"]
    assert chosen
    assert not [item["id"] for item in chosen if "T19M" not in item["id"]]
    with rasterio.open(south.results / "composites/static/1/dem.tif") as dem:
        heights = dem.read(1)
    assert np.isfinite(heights).all(), "both elevation tiles are read, without a gap between them"


def test_tiles_count_from_the_south_west(south: Workspace) -> None:
    lattice = read_lattice(south.results / "grid/grid.json")
    assert str(lattice.geobox.crs) == CRS
    cells = gpd.read_parquet(south.results / "grid/fishnet.parquet")
    assert cells["tile_id"].tolist() == [f"{number:04d}" for number in range(1, MINIATURE_TILES + 1)]
    corners = cells.bounds[["miny", "minx"]].to_numpy()
    assert corners.tolist() == sorted(corners.tolist())
    assert np.hypot(*(cells.union_all().centroid.coords[0] - np.array(CENTRE))) < 1500
    longitude, latitude = cells.to_crs(4326).union_all().centroid.coords[0]
    assert (longitude, latitude) == pytest.approx((-68.0, -6.24), abs=0.02)


def test_patches_lie_on_the_grid_and_show_the_mines(south: Workspace) -> None:
    index = read_parquet(south.results / "dataset/index.parquet")
    assert len(index) == MINIATURE_TILES
    assert set(index["proj:code"]) == {CRS}
    lattice = read_lattice(south.results / "grid/grid.json")
    with rasterio.open(south.folder / "resources/automatic/south/truth/2022.tif") as source:
        truth, world = source.read(1), GeoBox(source.shape, source.transform, source.crs)
    both = either = 0
    for row in index.to_dict("records"):
        with (
            rasterio.open(south.results / "dataset" / row["image"]) as image,
            rasterio.open(south.results / "dataset" / row["mask"]) as file,
        ):
            assert (image.crs, image.transform) == (file.crs, file.transform)
            assert image.crs.to_string() == CRS
            mask, corner = file.read(1), file.transform
        assert (corner.c - lattice.geobox.transform.c) % 1280 == (lattice.geobox.transform.f - corner.f) % 1280 == 0
        top, left = round((world.transform.f - corner.f) / 10), round((corner.c - world.transform.c) / 10)
        mined = truth[top : top + 128, left : left + 128] == 1
        both += int(((mask == 1) & mined).sum())
        either += int(((mask == 1) | (mined & (mask != 255))).sum())
    assert both / either > LEAST_IOU
    verified = read_json(south.results / "verify.json")
    assert (verified["findings"], verified["pairs"], verified["files"]) == (0, MINIATURE_TILES, 2 * MINIATURE_TILES)
    item = json.loads((south.results / "dataset/stac/2022/PE_0001_2022.json").read_text())
    west, low, east, high = item["bbox"]
    assert -68.1 < west < east < -67.9
    assert -6.4 < low < high < -6.1
