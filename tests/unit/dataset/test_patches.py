"""Patches: names, form, values, gaps, tags, bytes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from fake_results import CELLS, SIDE, Results, make_results
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS, UNITS, PatchName, parse_patch_name, patch_name, patch_path
from smallmines.dataset.patch_measures import measure, pair_counts
from smallmines.dataset.patches import Composites, PatchFile, PatchForm, PatchSet, image_array, read_patch, write_images, write_masks
from smallmines.dataset.pixel_counts import MaskCounts, PairCounts, count_gaps, count_image, count_mask


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return make_results(tmp_path)


def images(results: Results, folder: Path, block: str = "1") -> int:
    one = results.files()[("2016", block)]
    return write_images(Composites(one.s2, one.s1, one.dem), PatchSet(results.lattice, "2016", block, "GH", "abc"), folder)


def test_names_are_the_released_ones() -> None:
    assert patch_name("IMAGE", "GH", "0001", "2016") == "IMG_GH_0001_2016.tif"
    assert patch_name("MASK", "TZ", "2135", "2022") == "MASK_TZ_2135_2022.tif"
    assert patch_path("MASK", "TZ", "2135", "2022") == "2022/MASK/MASK_TZ_2135_2022.tif"


def test_parts_of_a_name() -> None:
    assert parse_patch_name("IMG_GH_0001_2016.tif") == parse_patch_name("IMG_0001_2016.tiff") == PatchName("IMG", "0001", "2016")
    assert parse_patch_name("MASK_0001_2016.tif.aux.xml") is parse_patch_name("overview_2016.tif") is None


def test_gaps_become_nodata_each_for_itself() -> None:
    s2 = np.full((10, 2, 3), 1500, np.uint16)
    s2[4, 0, 0] = 0
    s1 = np.full((2, 2, 3), -8.5, np.float32)
    s1[1, 0, 1], s1[0, 1, 1] = np.nan, -np.inf
    dem = np.full((1, 2, 3), 190.25, np.float32)
    dem[0, 1, 2] = np.nan
    image = image_array(s2, s1, dem)
    assert image.dtype == np.float32
    assert (image[:10, 0, 0] == -9999).all()
    assert (image[10:, 0, 0] == [-8.5, -8.5, 190.25]).all()
    assert image[11, 0, 1] == -9999
    assert image[10, 0, 1] == -8.5
    assert image[10, 1, 1] == -9999
    assert image[12, 1, 2] == -9999
    assert (image == -9999).sum() == 13


def test_images_are_the_composites_cut(results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "patches" / "IMAGE"
    folder.mkdir(parents=True)
    assert images(results, folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == [f"IMG_GH_{name}_2016.tif" for name in ("0001", "0002", "0004")]
    one = results.files()[("2016", "1")]
    with rasterio.open(folder / "IMG_GH_0002_2016.tif") as patch, rasterio.open(one.s2) as s2, rasterio.open(one.s1) as s1:
        assert (patch.count, patch.shape, patch.nodata) == (13, (SIDE, SIDE), -9999)
        assert set(patch.dtypes) == {"float32"}
        assert patch.descriptions == PATCH_BANDS
        assert patch.units == UNITS
        assert patch.bounds == (600160, 699680, 600320, 699840)
        window = rasterio.windows.Window(SIDE, SIDE, SIDE, SIDE)
        np.testing.assert_array_equal(patch.read(list(range(1, 11))), s2.read(window=window))
        expected = s1.read(window=window)
        np.testing.assert_array_equal(patch.read([11, 12]), np.where(np.isnan(expected), -9999, expected))
        tags = patch.tags()
    assert {"TILE_ID": "0002", "YEAR": "2016", "BLOCK": "1", "RADIOMETRY": "dn_plus1000", "CONFIG": "abc"}.items() <= tags.items()
    assert tags["RADIOMETRY_VERDICT"] == "declared"
    assert not [key for key in tags if key.startswith("S2_RADIOMETRY")]
    assert tags["S2_BASELINES"] == "05.00,05.00"
    assert tags["S1_RELATIVE_ORBIT"] == "147"
    assert not [path for path in folder.parent.iterdir() if path.name != "IMAGE"]
    assert not list(folder.glob("*.xml"))


def test_masks_do_not_see_other_gaps(results: Results, tmp_path: Path) -> None:
    one = results.files()[("2016", "2")]
    assert write_masks(one.masks, PatchSet(results.lattice, "2016", "2", "GH", "def"), tmp_path / "MASK") == 3
    with rasterio.open(tmp_path / "MASK" / "MASK_GH_0006_2016.tif") as patch:
        assert (patch.count, patch.dtypes, patch.nodata, patch.descriptions) == (1, ("uint8",), 255, ("mask",))
        expected_tags = {"CLASSES": "0 not_mining, 1 mining, 255 nodata", "CONFIG": "def", "SEGMENTS": patch.tags()["SEGMENTS"]}
        assert expected_tags.items() <= patch.tags().items()
        cell = results.lattice.cells_of("2").set_index("tile_id").loc["0006"]
        expected = raster.read(one.masks)[0, cell.y : cell.y + SIDE, cell.x : cell.x + SIDE]
        np.testing.assert_array_equal(patch.read(1), expected)


def test_bytes_are_the_same_twice_and_a_rerun_replaces_the_folder(results: Results, tmp_path: Path) -> None:
    images(results, tmp_path / "a")
    images(results, tmp_path / "b")
    (tmp_path / "b" / "IMG_GH_9999_2016.tif").touch()
    images(results, tmp_path / "b")
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second
    assert len(first) == sum(block == "1" for *_, block in CELLS)


def test_wrong_composites_are_refused(results: Results, tmp_path: Path) -> None:
    one, other = (results.files()[("2016", block)] for block in "12")
    patches = PatchSet(results.lattice, "2016", "1", "GH", "")
    with pytest.raises(UserError, match="on the grid"):
        write_images(Composites(one.s2, other.s1, one.dem), patches, tmp_path / "x")
    with pytest.raises(UserError, match="2 bands"):
        write_images(Composites(one.s2, one.dem, one.dem), patches, tmp_path / "x")
    raster.write(one.masks, np.full(results.lattice.block("1").shape, 7, np.uint8), results.lattice.block("1"), 255, ["mask"])
    with pytest.raises(UserError, match=r"\[7\]"):
        write_masks(one.masks, patches, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_counts_of_a_pair() -> None:
    image = np.full((13, 2, 3), 1500, np.float32)
    image[:10, 0, 0], image[3, 0, 1], image[4, 1, 1], image[5, 1, 2] = -9999, -9999, 1500.5, 70000
    image[10, 1, 0], image[12, 1, 1] = -9999, np.nan
    mask = np.array([[255, 0, 255], [1, 1, 7]], np.uint8)
    counts = count_image(image)
    assert (counts.nonfinite, counts.partial, counts.fraction, counts.outside) == (1, 1, pytest.approx(1 / 49), 1)
    assert (~counts.valid).sum() == 13
    assert count_mask(mask) == MaskCounts(mining=2, background=1, unlabelled=2, strange=(7,))
    assert count_gaps(image) == (1, 0)
    tile = GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32630")
    form = PatchForm(tile, (), (), ("float32",), None, {})
    of_image, of_mask = (measure(PatchFile(form, array), kind)[0] for array, kind in ((image, "image"), (mask[np.newaxis], "mask")))
    assert pair_counts(of_image, of_mask) == PairCounts(s2_gap=2, s1_gap=1, dem_gap=0, unsupported=1, unused=1)
    assert pair_counts(of_image, replace(of_mask, size=(3, 2))) is None


def test_a_patch_is_read_whatever_its_form(results: Results, tmp_path: Path) -> None:
    images(results, tmp_path / "IMAGE")
    path = tmp_path / "IMAGE" / "IMG_GH_0001_2016.tif"
    patch = read_patch(path)
    assert patch.form is not None
    assert (patch.form.bands, patch.form.units, patch.form.dtypes, patch.form.nodata) == (PATCH_BANDS, UNITS, ("float32",), -9999)
    assert (patch.error, patch.form.tags["TILE_ID"]) == ("", "0001")
    os.truncate(path, path.stat().st_size // 2)
    assert read_patch(path).array is None
    assert read_patch(path).error
    path.write_text("no raster")
    assert read_patch(path).form is None
