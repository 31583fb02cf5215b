"""Windows of cached files, in pixels of the grid or of twice their side."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from smallmines.core import raster
from smallmines.sensors.manifest_files import read_cached

GRID = GeoBox((40, 60), rasterio.Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
COARSE = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "B11.tif"
    raster.write(path, COARSE, raster.doubled(GRID), 0, ["B11"])
    return path


def test_the_doubled_grid_covers_the_same_ground():
    assert raster.doubled(GRID).boundingbox == GRID.boundingbox
    assert raster.doubled(GRID).shape == (20, 30)


@given(st.integers(0, 39), st.integers(0, 59), st.integers(1, 40), st.integers(1, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_window_is_that_of_the_repeated_pixels(coarse: Path, row: int, col: int, height: int, width: int):
    window = Window(col, row, min(width, 60 - col), min(height, 40 - row))
    expected = COARSE.repeat(2, 0).repeat(2, 1)[window.toslices()]
    with rasterio.open(coarse) as source:
        assert np.array_equal(read_cached(source, window, 2), expected)
