"""Both ways to OTB, whatever the tiles and threads, give the same label raster of a real Sentinel-2 image."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sections import Segmentation
from smallmines.core import raster
from smallmines.core.product import S2Band
from smallmines.segment import orfeo
from smallmines.segment.segmentation import mean_shift

pytestmark = pytest.mark.real

BANDS: tuple[S2Band, ...] = ("B05", "B06", "B07", "B8A", "B11", "B12")
SIDE = 480
GEOBOX = GeoBox((SIDE, SIDE), Affine(20, 0, 300000, 0, -20, 4200000), "EPSG:32618")


@pytest.fixture(scope="session")
def image(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crop of the six 20 m bands of January 2016 with a masked corner."""
    folder = shared_data / "sentinel2_2016"
    cube = np.stack([raster.read(folder / f"s2_{band}.jp2")[0, 300 : 300 + SIDE, 300 : 300 + SIDE] for band in BANDS])
    cube[:, :90, :150] = orfeo.FAR
    target = tmp_path_factory.mktemp("image") / "image.tif"
    raster.write(target, cube, GEOBOX, None, BANDS)
    return target


def labels(image: Path, folder: Path, backend: str, tile_px: int, threads: int) -> Path:
    """The label raster as `.npy`, made in a process of its own, since ITK reads the number of threads once per process."""
    folder.mkdir(exist_ok=True)
    target = folder / f"{backend}-{tile_px}-{threads}.npy"
    code = f"import sys; sys.path[:0] = {sys.path!r}; from {Path(__file__).stem} import make; make(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(image), str(target), backend, str(tile_px), str(threads)]
    subprocess.run(command, check=True, cwd=Path(__file__).parent)
    return target


def make(image: str, target: str, backend: Literal["python", "cli"], tile_px: str, threads: str) -> None:
    """Segment in this process (see `labels`); small tiles go with memory so small that the smoothing is streamed too."""
    with tempfile.TemporaryDirectory() as folder:
        own = shutil.copy(image, Path(folder) / "image.tif")  # the chain removes what it no longer needs
        valid = raster.read(own)[0] != orfeo.FAR
        otb = orfeo.find(backend, int(threads))
        assert otb.backend == backend
        limits = orfeo.Resources(int(threads), 1500 if int(tile_px) > SIDE else 8, int(tile_px))
        np.save(target, mean_shift(own, valid, GEOBOX, Segmentation(bands=BANDS), otb, limits))


@pytest.fixture(scope="session")
def reference(image: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """By programs, one tile, one thread."""
    return np.load(labels(image, tmp_path_factory.mktemp("reference"), "cli", 512, 1))


def test_the_real_image_is_cut_into_plausible_segments(reference: np.ndarray) -> None:
    sizes = np.bincount(reference.ravel())[1:]
    assert not reference[:90, :150].any()
    assert sizes.sum() == SIDE * SIDE - 90 * 150
    assert 5_000 < len(sizes) < 50_000
    assert 5 <= np.median(sizes) < 30
    assert (sizes >= 5).mean() > 0.999


@pytest.mark.heavy
@pytest.mark.parametrize(("tile_px", "threads"), [(512, 2), (150, 1), (150, 2)])
def test_programs_agree_whatever_tiles_and_threads(image: Path, reference: np.ndarray, tmp_path: Path, tile_px: int, threads: int) -> None:
    assert (np.load(labels(image, tmp_path, "cli", tile_px, threads)) == reference).all()


@pytest.mark.heavy
@pytest.mark.parametrize(("tile_px", "threads"), [(512, 1), (512, 2), (150, 1), (150, 2)])
def test_python_api_gives_the_same_as_the_programs(image: Path, reference: np.ndarray, tmp_path: Path, tile_px: int, threads: int) -> None:
    pytest.importorskip("otbApplication", reason="otbApplication is not built for this Python (make otb-python)")
    assert (np.load(labels(image, tmp_path, "python", tile_px, threads)) == reference).all()
