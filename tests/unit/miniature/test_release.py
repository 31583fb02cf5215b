"""An imitated release of a miniature: the truth in the released form, placed by its georeference."""

from __future__ import annotations

import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from miniature.release import make_release
from smallmines.config.parse import parse_config
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

CRS = "EPSG:32630"
SIDE = 16


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A run with an area of 2 × 3 tiles and a true mask with 8 px of land around them."""
    years = {2016: {"start": "2016-01-01", "end": "2016-01-31"}}
    grid = {"blocks": 1, "crs": CRS, "tile_size": SIDE, "anchor": {"x": 600000, "y": 700000}}
    config = parse_config({"run": "made", "years": years, "grid": grid})
    layout = Layout("made", tmp_path)
    layout.user.path.mkdir(parents=True)
    area = shapely.box(600010, 700000 - 310, 600000 + 470, 699990)
    gpd.GeoDataFrame({"name": ["a"]}, geometry=[area], crs=CRS).to_file(layout.user.aoi.with_suffix(".gpkg"))
    geobox = GeoBox((48, 64), Affine(10, 0, 599920, 0, -10, 700080), CRS)
    truth = (np.random.default_rng(0).random((48, 64)) < 0.2).astype(np.uint8)
    raster.write(layout.true_mask("2016"), truth, geobox, None, ["mining"])
    return config


def test_masks_are_the_truth_of_their_place(config: Config, tmp_path: Path) -> None:
    assert make_release(config, tmp_path / "release", root=tmp_path) == 6
    truth = raster.read(Layout("made", tmp_path).true_mask("2016"))[0]
    masks = sorted((tmp_path / "release/SmallMinesDS/2016/MASK").iterdir())
    assert [path.name for path in masks] == [f"MASK_GH_{number:04d}_2016.tif" for number in range(1, 7)]
    for number, path in enumerate(masks):
        with rasterio.open(path) as mask:
            row, col = divmod(number, 3)
            assert (mask.transform.c, mask.transform.f) == (600000 + col * 160, 700000 - row * 160)
            assert (mask.dtypes, mask.nodata, mask.crs.to_string()) == (("uint8",), 255, CRS)
            assert (mask.read(1) == truth[8 + row * SIDE :, 8 + col * SIDE :][:SIDE, :SIDE]).all()


def test_a_zip_has_the_same_files_and_the_same_bytes_twice(config: Config, tmp_path: Path) -> None:
    make_release(config, tmp_path / "release", root=tmp_path)
    for name in ("a.zip", "b.zip"):
        make_release(config, tmp_path / name, root=tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.namelist()) == 6
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_DEFLATED
            assert archive.read(entry) == (tmp_path / "release" / entry.filename).read_bytes()


def test_images_of_a_dataset_go_to_the_ids_of_the_release(config: Config, tmp_path: Path) -> None:
    images = tmp_path / "dataset/2016/IMAGE"
    images.mkdir(parents=True)
    for number in range(1, 7):
        (images / f"IMG_GH_{number:04d}_2016.tif").write_text(f"{number}")
    assert make_release(config, tmp_path / "release", tmp_path / "dataset", tmp_path) == 12
    copies = {number: (tmp_path / f"release/SmallMinesDS/2016/IMAGE/IMG_GH_{number:04d}_2016.tif").read_text() for number in range(1, 7)}
    assert copies == {1: "4", 2: "5", 3: "6", 4: "1", 5: "2", 6: "3"}, "ours count from the south, the release from the north"
    (images / "IMG_GH_0003_2016.tif").unlink()
    with pytest.raises(UserError, match="IMG_GH_0003_2016"):
        make_release(config, tmp_path / "again", tmp_path / "dataset", tmp_path)
