"""`smallmines predict`: the same as on patches, and refusals that state both sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from typer.testing import CliRunner

from made_pack import CRS, SIDE, write_dataset
from smallmines.benchmark import on_map
from smallmines.benchmark.models import FitJob, Fitted, fitted, save
from smallmines.benchmark.on_map import files_of, predict_image, predict_images
from smallmines.benchmark.pack import Pack
from smallmines.cli.main import app
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.settings.benchmark import Boosting, Control, Forest

ALL = Boosting(PATCH_BANDS, 20, 0.2, 7, 600)
PUBLISHED = Forest(("B04", "B03", "B02"), 10, None, 1, None, None)


@pytest.fixture(scope="module")
def models(pack: Pack) -> dict[str, Fitted]:
    train, val = (np.flatnonzero(pack.tiles["split"] == name) for name in ("train", "val"))
    return {"all": fitted(pack, train, val, ALL, FitJob(0, 1, True)), "published": fitted(pack, train, val, PUBLISHED, FitJob(0, 1, True))}


def write(
    path: Path, bands: NDArray[np.generic], names: tuple[str, ...] | None, nodata: float | None, radiometry: str | None = "dn_plus1000"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(10, 0, 600_000, 0, -10, 700_000)
    with rasterio.open(path, "w", "GTiff", *bands.shape[:0:-1], len(bands), CRS, transform, bands.dtype, nodata=nodata) as target:
        target.write(bands)
        if names:
            target.descriptions = names
        if radiometry:
            target.update_tags(RADIOMETRY=radiometry)
    return path


@pytest.fixture(scope="module")
def mosaic(pack: Pack) -> NDArray[np.float32]:
    """All tiles of 2016 at their places: (13, row, column), NaN gaps."""
    first = np.flatnonzero(pack.years == 2016)
    tiles = pack.read(first, PATCH_BANDS).reshape(6, 6, 13, SIDE, SIDE)
    return np.ascontiguousarray(tiles.transpose(2, 0, 3, 1, 4).reshape(13, 6 * SIDE, 6 * SIDE))


@pytest.fixture
def composites(mosaic: NDArray[np.float32], tmp_path: Path) -> Path:
    """The mosaic as composites of a year and block."""
    folder = tmp_path / "composites/2016/1"
    write(folder / "s2.tif", np.nan_to_num(mosaic[:10], nan=0).astype(np.uint16), S2_BANDS, 0)
    write(folder / "s1.tif", mosaic[10:12], ("VV", "VH"), np.nan, None)
    write(tmp_path / "composites/static/1/dem.tif", mosaic[12:], ("DEM",), np.nan, None)
    return folder


@pytest.mark.parametrize("name", ["all", "published"])
def test_a_composite_is_predicted_as_its_patches_are(
    models: dict[str, Fitted], pack: Pack, composites: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, first = models[name], np.flatnonzero(pack.years == 2016)
    assert model.model is not None
    patches = model.model.on_pack(pack, first, 1).reshape(6, 6, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(6 * SIDE, 6 * SIDE)
    for side in (512, 37):
        monkeypatch.setattr(on_map, "AT_ONCE", side)
        predict_image(model, files_of(composites, model.bands), tmp_path / "probability.tif", 1)
        with rasterio.open(tmp_path / "probability.tif") as source:
            np.testing.assert_array_equal(source.read(1), patches)
            gaps = source.read_masks(1) == 0
    assert gaps[0, SIDE : SIDE + 3].all()
    assert gaps.sum() == (4 if name == "all" else 3)


def test_the_images_of_a_dataset(models: dict[str, Fitted], pack: Pack, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset")
    assert predict_images(models["all"], root, tmp_path / "out", 1) == 72
    model = models["all"].model
    assert model is not None
    with rasterio.open(tmp_path / "out/2022/IMG_GH_0003_2022.tif") as source:
        np.testing.assert_array_equal(source.read(1), model.on_pack(pack, np.array([38]), 1)[0])
    with pytest.raises(UserError, match="none"):
        predict_images(models["all"], tmp_path, tmp_path / "out", 1)


Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
SWAPPED = ("B04", "B03", "B02", *PATCH_BANDS[3:])


@pytest.mark.parametrize(
    ("change", "names", "nodata", "radiometry", "expected", "found"),
    [
        (lambda image: image, None, -9999, "dn_plus1000", "by name", "13 bands without"),
        (lambda image: image, SWAPPED, -9999, "dn_plus1000", "in the order", "B04, B03, B02"),
        (lambda image: image[:10], S2_BANDS, -9999, "dn_plus1000", "the model's bands", "no VV, VH, DEM"),
        (lambda image: image, PATCH_BANDS, -9999, "dn_harmonised", "radiometry dn_plus1000", "dn_harmonised in"),
        (lambda image: image, PATCH_BANDS, -9999, None, "radiometry dn_plus1000", "no tag RADIOMETRY"),
        (lambda image: image / 10_000, PATCH_BANDS, -9999, "dn_plus1000", "mean 2", "mean 0.2"),
        (lambda image: image - 1900, PATCH_BANDS, -9999, "dn_plus1000", "the darkest from 800 on", "an image without it"),
        (lambda image: 10 ** (image.clip(-30, 30) / 10), PATCH_BANDS, -9999, "dn_plus1000", "VV in dB, mean -1", "linear power"),
        (lambda image: image, PATCH_BANDS, 65535, "dn_plus1000", "nodata 0, -9999 or NaN in B02", "65535.0 in"),
        (lambda image: image, PATCH_BANDS, None, "dn_plus1000", "nodata 0, -9999 or NaN in B02", "None in"),
    ],
    ids=["names", "order", "missing", "radiometry", "untagged", "reflectance", "offset", "linear", "nodata", "no_nodata"],
)
def test_images_unlike_those_of_train_are_refused(
    models: dict[str, Fitted],
    mosaic: NDArray[np.float32],
    tmp_path: Path,
    change: Change,
    names: tuple[str, ...] | None,
    nodata: float | None,
    radiometry: str | None,
    expected: str,
    found: str,
) -> None:
    image = mosaic.copy()
    changed = change(image)
    part = slice(10, 12) if "linear" in found else slice(0, 10)
    image[part] = changed[part]
    image = image[: len(changed)]
    path = write(tmp_path / "image.tif", np.nan_to_num(image, nan=-9999), names, nodata, radiometry)
    with pytest.raises(UserError) as refused:
        predict_image(models["all"], [path], tmp_path / "out.tif", 1)
    assert expected in refused.value.expected
    assert found in refused.value.found
    assert not (tmp_path / "out.tif").exists()


def test_a_band_that_train_never_saw_is_not_compared(models: dict[str, Fitted], mosaic: NDArray[np.float32], tmp_path: Path) -> None:
    """Its mean is 0 where all of train has gaps in it."""
    path = write(tmp_path / "image.tif", np.nan_to_num(mosaic, nan=-9999), PATCH_BANDS, -9999)
    statistics = {**models["all"].statistics, "B12": {"count": 0, "mean": 0.0, "sd": 1.0}}
    predict_image(dataclasses.replace(models["all"], statistics=statistics), [path], tmp_path / "out.tif", 1)
    with rasterio.open(tmp_path / "out.tif") as source:
        assert source.read(1).max() > 200


def test_the_verb(models: dict[str, Fitted], composites: Path, pack: Pack, mosaic: NDArray[np.float32], tmp_path: Path) -> None:
    save(models["all"], tmp_path / "model.joblib")
    run = CliRunner().invoke
    arguments = ["predict", str(tmp_path / "model.joblib")]
    done = run(app, [*arguments, str(composites / "s2.tif"), "--out", str(tmp_path / "out.tif")])
    assert done.exit_code == 0
    assert (tmp_path / "out.tif").is_file()
    untagged = write(tmp_path / "image.tif", np.nan_to_num(mosaic, nan=-9999), PATCH_BANDS, -9999, None)
    assert run(app, [*arguments, str(untagged), "--out", str(tmp_path / "a.tif")]).exit_code == 1
    assert run(app, [*arguments, str(untagged), "--out", str(tmp_path / "a.tif"), "--radiometry", "dn_plus1000"]).exit_code == 0
    assert run(app, [*arguments, str(untagged), "--out", str(tmp_path / "b.tif"), "--radiometry", "dn"]).exit_code == 1
    for settings, stop in ((Control((), "everything"), False), (ALL, True)):
        about = {**pack.about, "findings": {"VV": ["VV linear: all"]}}
        model = fitted(dataclasses.replace(pack, about=about), np.array([0, 1, 2]), np.array([3]), settings, FitJob(0, 1, stop))
        with pytest.raises(UserError, match="control" if not stop else "VV linear"):
            on_map.image_model(model)
