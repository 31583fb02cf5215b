"""A raster gets its name when all of it is on the disk."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from smallmines.core import raster

GRID = GeoBox((300, 520), Affine(10, 0, 604520, 0, -10, 695080), "EPSG:32630")


@pytest.fixture(params=[1, 3])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A raster of six tiles a band."""
    values = np.random.default_rng(0).integers(0, 60_000, (request.param, *GRID.shape)).astype(np.uint16)
    raster.write(tmp_path / "whole.tif", values, GRID, 0, [f"B{number}" for number in range(request.param)])
    return tmp_path / "whole.tif"


def test_a_whole_raster_is_taken(whole: Path) -> None:
    raster.require_whole(whole)


@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.99, -1])
def test_a_raster_without_its_end_is_refused(whole: Path, kept: float) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: int(kept * len(content)) if kept >= 0 else -1])
    with pytest.raises(OSError, match="the end of the file could not be written") as refused:
        raster.require_whole(whole)
    assert refused.value.errno == errno.ENOSPC


def test_a_block_that_was_never_written_is_refused(whole: Path) -> None:
    with rasterio.open(whole) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    content = bytearray(whole.read_bytes())
    content[start : start + 4096] = bytes(4096)
    whole.write_bytes(content)
    with pytest.raises(OSError, match="the end of the file"):
        raster.require_whole(whole)


def test_blocks_that_no_window_names_are_whole(tmp_path: Path) -> None:
    """GDAL writes them when the file is closed."""
    with raster.created(tmp_path / "empty.tif", GRID, "float32", float("nan"), ["VV"]):
        pass
    assert np.isnan(raster.read(tmp_path / "empty.tif")).all()


def test_a_raster_that_is_cut_when_it_is_closed_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = raster.require_whole

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])
        check(path)

    monkeypatch.setattr(raster, "require_whole", cut)
    with pytest.raises(OSError, match="the end of the file"):
        raster.write(tmp_path / "cut.tif", np.ones(GRID.shape, np.uint8), GRID, 0, ["mask"])
    assert list(tmp_path.iterdir()) == []
