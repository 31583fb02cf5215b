"""Images as tiles: which layers a session has, and each pixel of their tiles."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import rasterio
from PIL import Image

from shown_place import make_shown_place
from smallmines.annotation import images
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.view import layers
from smallmines.annotation.server.view.pyramid import Pyramid, levels, merged, require_tile
from smallmines.core import raster
from smallmines.core.errors import UserError

IMAGES_2022 = ("true-2022", "true-2016", "false-2022", "false-2016", "radar-2022", "radar-2016", "hillshade")


@pytest.fixture(scope="module")
def block_year(tmp_path_factory):
    return make_shown_place(tmp_path_factory.mktemp("shown"))


def picture(tile):
    """Pixels of a tile, (row, column, RGBA)."""
    assert tile.media_type == "image/webp"
    return np.asarray(Image.open(io.BytesIO(tile.body)).convert("RGBA"))


def large(folder, shape=(1100, 1290), dtype="uint16", bands=("B02", "B03", "B04", "B08", "B11"), nodata=0):
    """A raster of several internal tiles, without data in a corner."""
    values = np.random.default_rng(3).integers(900, 4000, (len(bands), *shape)).astype(dtype)
    values[:, :50, :301] = nodata
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": len(bands), "dtype": dtype, "nodata": nodata}
    path = folder / "large.tif"
    with rasterio.open(path, "w", **profile, tiled=True, crs="EPSG:32630", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as target:
        target.write(values)
        target.descriptions = bands
    return path, values


# --- which layers ---------------------------------------------------------------------------------------------------------


def test_a_review_has_all_images_and_the_masks_of_other_years_alone(block_year):
    found = layers.layers_of(block_year, "review")
    assert tuple(layer.id for layer in found) == (*IMAGES_2022, "mask-2016")
    assert [(layer.title, layer.year, layer.style) for layer in found[-2:]] == [
        ("hillshade", "", "hillshade"),
        ("2016 mask", "2016", "mask"),
    ]


@pytest.mark.parametrize("kind", ["adjudication", "accuracy", "prevalence", "change_after"])
def test_nothing_of_a_map_is_a_layer_of_other_work(block_year, kind):
    assert tuple(layer.id for layer in layers.layers_of(block_year, kind)) == IMAGES_2022


def test_the_year_to_label_comes_first(block_year):
    found = [layer.id for layer in layers.layers_of(block_year, "change_before")]
    assert found == ["true-2016", "true-2022", "false-2016", "false-2022", "radar-2016", "radar-2022", "hillshade"]


def test_an_image_that_is_missing_is_no_layer(tmp_path):
    block_year = make_shown_place(tmp_path)
    block_year.layout.s1("2016", "1").unlink()
    block_year.layout.dem("1").unlink()
    assert [layer.id for layer in layers.layers_of(block_year, "accuracy")] == [*IMAGES_2022[:4], "radar-2022"]


def test_only_listed_layers_are_found(block_year):
    found = layers.layers_of(block_year, "review")
    assert layers.layer_of(found, "radar-2016").path == block_year.layout.s1("2016", "1")
    for name in ("mask-2022", "../../etc/passwd", "", "true-2022/"):
        with pytest.raises(UserError, match="a layer of true-2022"):
            layers.layer_of(found, name)


# --- levels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "number"), [((1, 1), 1), ((256, 256), 1), ((257, 9), 2), ((512, 512), 2), ((513, 512), 3), ((3840, 3840), 5)], ids=str
)
def test_the_last_level_has_one_tile(shape, number):
    assert levels(shape) == number
    require_tile(shape, number - 1, 0, 0)


@pytest.mark.parametrize("place", [(-1, 0, 0), (3, 0, 0), (0, 3, 0), (0, 0, 3), (0, -1, 0), (1, 2, 0), (40, 0, 0)], ids=str)
def test_a_tile_outside_the_block_is_refused(place):
    with pytest.raises(UserError, match="a tile z/x/y of 3 levels of 700 × 600 pixels"):
        require_tile((600, 700), *place)


def test_the_contrast_is_that_of_the_qgis_project_and_of_the_whole_raster(tmp_path):
    path, values = large(tmp_path, (2100, 2300))
    bands = ("B02", "B03", "B04", "B08", "B11")
    measured = images.limits_of(path, bands)
    assert Pyramid(path, bands, "average", tmp_path / "cache").limits(bands) == list(measured)
    for band, name, found in zip(values, bands, measured, strict=True):
        assert found == pytest.approx(images.limits(band[band > 0].astype(float), name), rel=0.02)


def test_the_contrast_is_measured_all_over_the_raster():
    windows = images.sampled_windows((3840, 2300))
    assert len(windows) == 36
    assert {window.row_off for window in windows} == {0, 768, 1536, 2048, 2816, 3584}
    assert max(window.row_off + window.height for window in windows) == 3840
    assert max(window.col_off + window.width for window in windows) == 2300
    assert [tuple(window.flatten()) for window in images.sampled_windows((128, 160))] == [(0, 0, 160, 128)]


def test_limits_follow_the_darkest_ground_and_not_clouds():
    values = np.concatenate([np.arange(0, 101), np.full(20, 9000), [np.nan]])
    low, high = images.limits(values, "B04")
    assert low == pytest.approx(np.percentile(values[:-1], 2))
    assert high == pytest.approx(60 + 6 * (60 - low))
    assert images.limits(np.arange(-100.0, 1.0), "VV") == (-98, -2)
    assert images.limits(np.array([-7.0]), "VV") == (-7, -6)
    assert images.limits(np.array([]), "VV") == (0, 1)


def test_a_level_is_the_mean_of_the_pixels_with_data(tmp_path):
    path, values = large(tmp_path)
    bands = ("B02", "B03", "B04", "B08", "B11")
    pyramid = Pyramid(path, bands, "average", tmp_path / "cache")
    for z in (0, 1, 2):
        step = 1 << z
        height, width = 1100 // step, 1290 // step  # pixels that lie inside as a whole
        found = pyramid.window(("B04", "B11"), z, (0, -(-1100 // step)), (0, -(-1290 // step)))
        assert found.shape == (2, -(-1100 // step), -(-1290 // step))
        squares = values[[2, 4], : height * step, : width * step].reshape(2, height, step, width, step)
        total, number = squares.sum(axis=(2, 4), dtype=float), (squares > 0).sum(axis=(2, 4))
        expected = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
        assert np.abs(found[:, :height, :width] - expected).max() <= 0.51
    deep = pyramid.window(("B04",), 4, (0, 69), (0, 81))
    assert deep.shape == (1, 69, 81)
    assert deep[0, 60, 40] == pytest.approx(values[2, 960:976, 640:656].mean(), abs=1)


def test_classes_are_never_averaged():
    cube = np.array([[[0, 0, 1, 1], [0, 255, 1, 255]]], np.uint8)
    assert merged(cube, 2, 255, "mode").ravel().tolist() == [0, 1]


def test_pixels_without_data_do_not_darken_an_overview():
    cube = np.array([[[100, 0], [0, 0]], [[0, 0], [0, 0]]], np.uint16)
    assert merged(cube, 2, 0, "average").ravel().tolist() == [100, 0]


# --- tiles ----------------------------------------------------------------------------------------------------------------


def test_a_tile_shows_the_bands_by_name_and_nothing_outside(block_year, tmp_path):
    layer = layers.layer_of(layers.layers_of(block_year, "review"), "false-2016")
    found = picture(layers.tile(layer, 0, 0, 0, tmp_path))
    with rasterio.open(layer.path) as source:
        cube = source.read([source.descriptions.index(band) + 1 for band in ("B11", "B08", "B04")]).astype(float)
    rows, cols = cube.shape[1:]
    assert (rows, cols) == (128, 160)
    assert not found[rows:].any()
    assert not found[:, cols:].any()
    shown = found[:rows, :cols]
    assert (shown[..., 3] == np.where((cube > 0).all(axis=0), 255, 0)).all()
    limits = images.limits_of(layer.path, ("B11", "B08", "B04"))
    expected = np.stack([np.clip(255 * (band - low) / (high - low), 0, 255) for band, (low, high) in zip(cube, limits, strict=True)], -1)
    lit = shown[..., 3] == 255
    assert np.abs(shown[lit][:, :3] - expected[lit]).max() <= 0.51
    assert (shown[~lit] == 0).all()


def test_radar_is_grey_and_transparent_without_data(block_year, tmp_path):
    found = picture(layers.tile(layers.layer_of(layers.layers_of(block_year, "review"), "radar-2022"), 0, 0, 0, tmp_path))
    assert (found[:124, :160, 3] == 255).all()
    assert not found[124:, :, 3].any()
    assert (found[..., 0] == found[..., 1]).all()
    assert found[:124, :160, 0].std() > 40


def test_a_mask_shows_mining_and_open_and_leaves_the_rest_free(block_year, tmp_path):
    layer = layers.layer_of(layers.layers_of(block_year, "review"), "mask-2016")
    found = picture(layers.tile(layer, 0, 0, 0, tmp_path))[:128, :160]
    mask = raster.read(layer.path)[0]
    assert (found[mask == 1] == (227, 26, 28, 255)).all()
    assert (found[mask == 255] == (120, 120, 120, 255)).all()
    assert not found[mask == 0][:, 3].any()


def test_the_hillshade_of_a_plane_is_even_and_known(block_year, tmp_path):
    """Heights rise by 2 m a pixel of 10 m to the east and by 1 m to the south."""
    found = picture(layers.tile(layers.layer_of(layers.layers_of(block_year, "review"), "hillshade"), 0, 0, 0, tmp_path))
    normal = np.array([-0.2, 0.1, 1.0]) / np.sqrt(1.05)  # east, north, up
    light = np.array([-0.5, 0.5, np.sqrt(0.5)])
    assert np.unique(found[1:127, 1:159, 0]).tolist() == [round(255 * float(normal @ light))]


def test_no_seam_of_the_hillshade_between_tiles(tmp_path):
    heights = np.cumsum(np.random.default_rng(0).normal(size=(1, 300, 520)), axis=2).astype(np.float32)
    path = tmp_path / "dem.tif"
    profile = {"driver": "GTiff", "height": 300, "width": 520, "count": 1, "dtype": "float32", "nodata": float("nan")}
    with rasterio.open(path, "w", **profile, crs="EPSG:32630", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as target:
        target.write(heights)
        target.descriptions = ("DEM",)
    layer = layers.Layer("hillshade", "hillshade", "", "hillshade", path)
    whole = layers.shaded(np.pad(heights[0], 1, mode="edge"), 10)
    found = np.concatenate([picture(layers.tile(layer, 0, x, 0, tmp_path / "cache")) for x in range(3)], axis=1)
    assert (found[:256, :520] == whole[:256]).all()


def test_overviews_show_the_block_at_a_quarter_of_its_size(tmp_path):
    path, values = large(tmp_path)
    layer = layers.Layer("true-2016", "", "2016", "true", path)
    found = picture(layers.tile(layer, 2, 1, 0, tmp_path / "cache"))
    low, high = images.limits_of(path, ("B04",))[0]
    mean = values[2, 400:404, 1200:1204].mean()  # row 100 and column 300 of the level
    assert abs(int(found[100, 300 - 256, 0]) - round(255 * (mean - low) / (high - low))) <= 1
    assert (found[:275, : 323 - 256, 3] == 255).all()
    assert not found[:, 323 - 256 :, 3].any()


# --- cache ----------------------------------------------------------------------------------------------------------------


def test_a_tile_is_rendered_once_and_again_when_the_image_changes(tmp_path, monkeypatch):
    path, values = large(tmp_path, (300, 300))
    layer, rendered = layers.Layer("true-2016", "", "2016", "true", path), layers._rendered
    calls = []
    monkeypatch.setattr(layers, "_rendered", lambda *values: calls.append(values) or rendered(*values))
    first = layers.tile(layer, 0, 0, 0, tmp_path / "cache")
    assert layers.tile(layer, 0, 0, 0, tmp_path / "cache") == first
    assert len(calls) == 1
    with rasterio.open(path, "r+") as target:
        target.write(np.roll(values, 1, axis=0))
    second = layers.tile(layer, 0, 0, 0, tmp_path / "cache")
    assert second.etag != first.etag
    assert second.body != first.body
    assert (picture(second)[60:256, :256, 0] == picture(first)[60:256, :256, 0]).mean() < 0.1


def test_the_cache_may_be_deleted_left_half_empty_or_refuse_a_file(tmp_path, monkeypatch):
    path, _ = large(tmp_path, (300, 300))
    layer, cache = layers.Layer("true-2016", "", "2016", "true", path), tmp_path / "cache"
    first = layers.tile(layer, 0, 1, 1, cache)
    next(cache.rglob("1-1.webp")).write_bytes(b"")
    assert layers.tile(layer, 0, 1, 1, cache) == first

    def full(*values, **more):
        raise OSError(28, "No space left on device")

    next(cache.rglob("1-1.webp")).unlink()
    monkeypatch.setattr(layers, "written", full)
    assert layers.tile(layer, 0, 1, 1, cache) == first


def test_many_threads_get_the_same_tiles(tmp_path):
    path, _ = large(tmp_path)
    layer, found, errors = layers.Layer("true-2016", "", "2016", "true", path), {}, []

    def ask(number):
        try:
            for z, x in ((2, 0), (0, 1), (1, 0), (2, 1)):
                found.setdefault((z, x), set()).add(layers.tile(layer, z, x, 0, tmp_path / "cache").body)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [len(bodies) for bodies in found.values()] == [1, 1, 1, 1]


def test_an_image_that_is_gone_is_named(block_year, tmp_path):
    layer = layers.Layer("true-2016", "", "2016", "true", tmp_path / "s2.tif")
    with pytest.raises(UserError, match=r"s2\.tif"):
        layers.tile(layer, 0, 0, 0, tmp_path)
    assert isinstance(block_year, BlockYear)
