"""What patches made with the project's own code tell about how they were made, and what they cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from scipy import ndimage
from typer.testing import CliRunner

from smallmines.archive.read import read_on_grid
from smallmines.cli.main import app
from smallmines.compare.identify import (
    BANDS_20M,
    UNDECIDED,
    Answer,
    Clues,
    as_config,
    identify,
    kernel_weight,
    residuals,
    upsampling_matrix,
)
from smallmines.compare.pairs import find_patches
from smallmines.composite.sampling import Piece, SourceLattice, resample
from smallmines.composite.sentinel1 import circular_mean
from smallmines.core import raster
from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS, S2_BANDS
from smallmines.dataset.patches import image_array

SIDE, ROWS, COLS = 64, 2, 4
LEFT, TOP = 600020.0, 700040.0
LARGE = GeoBox((ROWS * SIDE, COLS * SIDE), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32630")


def scene(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Something like land: coarse and fine detail, mean 0, standard deviation 1."""
    random = np.random.default_rng(seed)
    made = sum(ndimage.gaussian_filter(random.normal(size=shape), width) * (1 + 3 * width) for width in (0, 1, 4))
    return np.asarray(made / np.std(made))


def sentinel2(method: str, shift: float = 0.0, level: float = 1900.0, green: float = 2600.0) -> NDArray[np.uint16]:
    """Ten bands on LARGE, those of 20 m by the workflow's own reading; the 20 m grid moved by `shift` m.

    All bands have one level, those of the near infrared `green` more, as over vegetation.
    """
    size = (LARGE.shape.y // 2 + 20, LARGE.shape.x // 2 + 20)
    bands = []
    for number, name in enumerate(S2_BANDS):
        mean = level + green * (name in ("B06", "B07", "B08", "B8A"))
        if name not in BANDS_20M:
            bands.append((mean + 50 * number + 120 * scene(tuple(LARGE.shape), number)).round().astype(np.uint16))
            continue
        transform = Affine(20, 0, LEFT - 200 + shift, 0, -20, TOP + 200 + shift)
        profile: dict[str, Any] = {"driver": "GTiff", "height": size[0], "width": size[1], "count": 1, "dtype": "uint16", "nodata": 0}
        with MemoryFile() as memory:
            with memory.open(**profile, crs="EPSG:32630", transform=transform) as file:
                file.write((mean + 120 * scene(size, number)).round().astype(np.uint16), 1)
            with memory.open() as file:
                bands.append(read_on_grid(file, LARGE, method))
    return np.stack(bands)


def sentinel1(kernel: str, looks: int = 4, seed: int = 3) -> NDArray[np.float32]:
    """VV and VH in dB: speckle over land, bilinear from a lattice of its own, then the workflow's own mean."""
    random = np.random.default_rng(seed)
    lattice = SourceLattice("EPSG:32630", (10.0, -10.0), (0.3, 0.6))
    halo = LARGE.pad(4)
    shape = (halo.shape.y + 8, halo.shape.x + 8)
    bands = []
    for level in (-8, -14):
        power = 10 ** ((level + 2 * scene(shape, seed)) / 10) * random.gamma(looks, 1 / looks, shape)
        piece = Piece(lattice, int((halo.transform.f / -10) - 4), int(halo.transform.c / 10) - 4, power.astype(np.float32))
        mine = resample(piece, halo, "bilinear").astype(np.float64)
        bands.append((10 * np.log10(mine if kernel == "none" else circular_mean(mine, kernel)))[4:-4, 4:-4])  # type: ignore[arg-type]
    return np.stack(bands).astype(np.float32)


def elevation(method: str) -> NDArray[np.float32]:
    """The workflow's own resampling of hills on a lattice of 1″; `cubic` by scipy."""
    second = 1 / 3600
    lattice = SourceLattice("EPSG:4326", (second, -second), (0.5, 0.5))
    west, north = -2.11, 6.35  # degrees, north-west of LARGE
    hills = 200 + 40 * ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(260, 330)), 2) * 7
    piece = Piece(lattice, round(-north / second), round(west / second), hills.astype(np.float32))
    if method != "cubic":
        return resample(piece, LARGE, method)[np.newaxis]
    y, x = np.mgrid[: LARGE.shape.y, : LARGE.shape.x] * 10 / 30.8 + 5
    return ndimage.map_coordinates(hills, [y, x + 0.004 * y], order=3).astype(np.float32)[np.newaxis]


def write(folder: Path, image: NDArray[np.float32]) -> None:
    """The image of LARGE as patches, numbered from the south-west."""
    for number in range(ROWS * COLS):
        row, col = ROWS - 1 - number // COLS, number % COLS
        where = (slice(row * SIDE, (row + 1) * SIDE), slice(col * SIDE, (col + 1) * SIDE))
        raster.write(folder / f"IMG_GH_{number + 1:04d}_2016.tif", image[:, *where], LARGE[where], IMAGE_NODATA, PATCH_BANDS)


def found(folder: Path) -> dict[str, Any]:
    return {answer.key: answer.value for answer in identify(find_patches(folder))}


@pytest.fixture(scope="module")
def parts() -> tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32]]:
    return sentinel2("nearest"), sentinel1("plus"), elevation("bilinear")


Parts = tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32]]


def test_the_lattice_and_everything_else_of_this_workflow(tmp_path: Path, parts: Parts) -> None:
    write(tmp_path, image_array(*parts))
    told = found(tmp_path)
    assert told == {
        "grid.crs": "EPSG:32630",
        "grid.resolution": 10.0,
        "grid.tile_size": SIDE,
        "grid.anchor": {"x": LEFT, "y": TOP},
        "sentinel2.radiometry": "dn_plus1000",
        "sentinel2.resampling_20m": "nearest",
        "sentinel1.kernel": "plus",
        "elevation.resampling": "bilinear",
    }


@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_resampling_of_the_20_m_bands(tmp_path: Path, parts: Parts, method: str, shift: float) -> None:
    write(tmp_path, image_array(sentinel2(method, shift), *parts[1:]))
    answer = next(one for one in identify(find_patches(tmp_path)) if one.key == "sentinel2.resampling_20m")
    assert answer.value == method, answer
    begin = 1 if shift else 0
    assert f"begin at row {begin}, column {begin}" in answer.evidence
    assert ("100 % of 2×2" in answer.evidence) == (method == "nearest")


def test_a_patchwork_of_dates_hides_no_resampling(tmp_path: Path) -> None:
    # a tenth of the pixels, one by one, from another date
    first, second = sentinel2("nearest"), sentinel2("nearest", level=2500)
    seams = np.random.default_rng(0).uniform(size=tuple(LARGE.shape)) < 0.1
    write(tmp_path, image_array(np.where(seams, second, first), sentinel1("box"), elevation("nearest")))
    assert found(tmp_path)["sentinel2.resampling_20m"] == "nearest"


@pytest.mark.parametrize("kernel", ["plus", "box", "none"])
@pytest.mark.parametrize("looks", [4, 12])
def test_kernel_of_sentinel_1(tmp_path: Path, parts: Parts, kernel: str, looks: int) -> None:
    image = image_array(parts[0], sentinel1(kernel, looks, seed=looks), parts[2])
    write(tmp_path, image)
    assert found(tmp_path)["sentinel1.kernel"] == kernel


def test_kernel_of_patches_in_linear_power(tmp_path: Path, parts: Parts) -> None:
    image = image_array(*parts)
    image[10:12] = 10 ** (image[10:12] / 10)
    write(tmp_path, image)
    assert found(tmp_path)["sentinel1.kernel"] == "plus"


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_resampling_of_the_elevation(tmp_path: Path, parts: Parts, method: str) -> None:
    write(tmp_path, image_array(*parts[:2], elevation(method)))
    assert found(tmp_path)["elevation.resampling"] == method


@pytest.mark.parametrize(
    ("level", "green", "value", "words"),
    [
        (1900, 2600, "dn_plus1000", "offset in 2016: 1000 DN"),
        (900, 2600, "dn_harmonised", "offset in 2016: 0 DN"),
        (2900, 2600, UNDECIDED, "offset in 2016: 2000 DN, the offset was added several times"),
        (2500, 0, UNDECIDED, "offset in 2016: bright ground alone"),
    ],
)
def test_radiometry_by_dark_ground_and_vegetation(tmp_path: Path, parts: Parts, level: float, green: float, value: str, words: str) -> None:
    slope = np.arange(10, dtype=np.uint16)[:, np.newaxis, np.newaxis] * np.uint16(300 if not green else 0)  # like desert
    write(tmp_path, image_array(sentinel2("nearest", level=level, green=green) + slope, *parts[1:]))
    answer = next(one for one in identify(find_patches(tmp_path)) if one.key == "sentinel2.radiometry")
    assert answer.value == value
    assert words in answer.evidence


def test_years_of_two_radiometries(tmp_path: Path, parts: Parts) -> None:
    write(tmp_path / "a", image_array(*parts))
    write(tmp_path / "b", image_array(parts[0] - np.uint16(1000), *parts[1:]))
    for path in (tmp_path / "b").iterdir():
        path.rename(path.with_name(path.name.replace("2016", "2022")))
    answer = next(one for one in identify(find_patches(tmp_path)) if one.key == "sentinel2.radiometry")
    assert answer.value == UNDECIDED
    assert "offset in 2016: 1000 DN" in answer.evidence
    assert "offset in 2022: 0 DN" in answer.evidence


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("sentinel2.resampling_20m", lambda image: np.concatenate([np.full_like(image[:10], 1200), image[10:]])),  # flat
        ("sentinel2.resampling_20m", lambda image: np.concatenate([image[:10] + np.round(20 * noise(10)), image[10:]])),  # no 20 m pixels
        ("sentinel1.kernel", lambda image: np.concatenate([image[:10], ndimage.gaussian_filter(image[10:12], (0, 2, 2)), image[12:]])),
        ("sentinel1.kernel", lambda image: np.concatenate([image[:10], np.full_like(image[10:12], -9), image[12:]])),
        ("elevation.resampling", lambda image: np.concatenate([image[:12], np.full_like(image[12:], 120)])),
        ("elevation.resampling", lambda image: np.concatenate([image[:12], elevation("cubic")])),
        ("elevation.resampling", lambda image: np.concatenate([image[:12], image[12:].round()])),  # whole metres
        ("elevation.resampling", lambda image: np.concatenate([image[:12], (image[12:] / 8).round() * 8.2])),  # steps
    ],
)
def test_what_the_pixels_cannot_tell(
    tmp_path: Path, parts: Parts, key: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> None:
    write(tmp_path, change(image_array(*parts)).astype(np.float32))
    told = found(tmp_path)
    assert told.pop(key) == UNDECIDED
    assert UNDECIDED not in told.values()


def noise(bands: int) -> NDArray[np.float32]:
    return np.random.default_rng(9).normal(size=(bands, *LARGE.shape)).astype(np.float32)


def test_few_patches_and_gaps_decide_little(tmp_path: Path, parts: Parts) -> None:
    image = image_array(*parts)
    image[:, ::SIDE, ::SIDE] = IMAGE_NODATA
    write(tmp_path, image)
    told = found(tmp_path)
    assert [key for key, value in told.items() if value == UNDECIDED] == [
        "sentinel2.resampling_20m",
        "sentinel1.kernel",
        "elevation.resampling",
    ]
    with rasterio.open(tmp_path / "IMG_GH_0003_2016.tif", "r+") as file:
        file.transform = Affine.translation(10, 0) @ file.transform
    assert found(tmp_path)["grid.anchor"] == UNDECIDED


def test_cubic_is_bilinear_of_sharpened_pixels() -> None:
    """Why residuals cannot tell the two apart: the weights at a quarter pixel are those of bilinear after [−3, 38, −3] / 32."""
    at = np.array([[-1.25, -0.25, 0.75, 1.75]])
    assert np.convolve([-3, 38, -3], [0.25, 0.75][::-1]) / 32 == pytest.approx(kernel_weight("cubic", at)[0])
    made, back = upsampling_matrix("bilinear", 0, 32)
    other, _ = upsampling_matrix("cubic", 0, 32)
    assert made @ (back @ other) == pytest.approx(other, abs=1e-9)
    band = np.random.default_rng(0).integers(0, 999, (32, 32)).repeat(2, 0).repeat(2, 1)[:32, :32].astype(float)
    assert residuals(band)[0].argmin() == 0
    assert residuals(band)[0, 0] == pytest.approx(0, abs=1e-9)


def test_the_verb_prints_a_configuration(tmp_path: Path, parts: Parts) -> None:
    image = image_array(parts[0], sentinel1("none"), np.full_like(parts[2], 100))
    write(tmp_path, image)
    done = CliRunner().invoke(app, ["compare", str(tmp_path), "--identify"])
    assert done.exit_code == 0, done.output
    text = done.stdout
    told = yaml.safe_load(text)
    assert told["grid"]["anchor"] == {"x": LEFT, "y": TOP}
    assert told["sentinel2"] == {"radiometry": "dn_plus1000", "resampling_20m": "nearest"}
    assert set(told) == {"grid", "sentinel2"}
    assert "# elevation.resampling: undecided" in text
    assert "# sentinel1.kernel: none, which this workflow does not offer" in text
    assert "ids run row by row from the south-west: yes" in done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = CliRunner().invoke(app, ["compare", str(empty), "--identify"])
    assert "images IMG_" in str(failed.exception)


def test_nothing_decided_is_only_comments() -> None:
    text = as_config([Answer("sentinel1.kernel", UNDECIDED, "why")])
    assert text == "# sentinel1.kernel: undecided (why)\n"


@pytest.mark.real
@pytest.mark.parametrize("kernel", ["none", "plus", "box"])
def test_kernel_and_resampling_of_real_imagery(shared_data: Path, kernel: Any) -> None:
    """Real speckle is correlated by itself (0.77 between neighbours), and real 20 m bands were repeated by whoever cut these crops."""
    names = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    clues = Clues()
    for path in sorted((shared_data / "terramesh/S1RTC").glob("*.tif")):
        s2, s1, dem = (raster.read(path.parents[1] / kind / path.name).astype(float) for kind in ("S2L2A", "S1RTC", "DEM"))
        if kernel != "none":
            s1 = 10 * np.log10(np.stack([circular_mean(10 ** (band / 10), kernel) for band in s1]))
        clues.add(np.concatenate([s2[[names.index(band) for band in S2_BANDS]], s1, dem]), "2018")
    assert clues.kernel().value == kernel
    assert clues.resampling().value == "nearest"
    assert clues.radiometry().value == "dn_harmonised"
