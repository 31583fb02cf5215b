"""The elevation composite: no seams between tiles, blocks that agree, gaps that stay gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from archive_builder import ArchiveBuilder, grid, write_grid
from sections import asked, cache
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite.elevation import composite
from smallmines.composite.sampling import Piece, SourceLattice, pasted, read_piece, resample
from smallmines.config.imagery import Elevation
from smallmines.core.files import read_json
from smallmines.settings.fetch import FetchElevation

LON, LAT, SECOND = -2.1 - 0.5 / 3600, 6.35 + 0.5 / 3600, 1 / 3600
BLOCKS = {"1": (0, 0, 2, 2), "2": (1, 1, 2, 3), "3": (0, 0, 3, 4)}
WHOLE = grid(600003.7, 700001.3, (96, 128))


def surface(geobox: GeoBox) -> np.ndarray:
    """Rough heights that depend on the place alone."""
    rows, cols = np.indices(geobox.shape)
    row = rows + round((LAT - geobox.transform.f) * 3600)
    col = cols + round((geobox.transform.c - LON) * 3600)
    return (200 + 40 * np.sin(row * 1.7) * np.cos(col * 2.3) + col).astype(np.float32)


def build(folder: Path, tiles: list[GeoBox]) -> Path:
    archive = ArchiveBuilder(folder / "archive")
    for number, tile in enumerate(tiles):
        archive.add_dem(f"tile{number}", tile, surface(tile))
    write_grid(folder / "grid.json", WHOLE, 32, BLOCKS)
    return archive.save()


def make(folder: Path, catalogue: Path, block: str = "3", resampling: Any = "bilinear") -> tuple[np.ndarray, dict]:
    config = Elevation(provider="static", catalogue=str(catalogue), resampling=resampling)
    manifest, fetched, output, stats = (folder / name for name in ("dem.json", "fetched.json", "dem.tif", "stats.json"))
    search("dem", "static", {}, asked(config), folder / "grid.json", manifest)
    fetch("dem", block, folder / "grid.json", manifest, cache(folder / "pixels"), FetchElevation(None), fetched)
    composite(block, folder / "grid.json", fetched, config, {"image": output, "stats": stats})
    with rasterio.open(output) as source:
        assert (source.descriptions, source.units, source.dtypes) == (("DEM",), ("m",), ("float32",))
        return source.read(1), read_json(stats)


ALL = grid(LON, LAT, (140, 120), SECOND, "EPSG:4326")
# The four corners of the area meet in it.
FOUR = [ALL[:82, :18], ALL[:82, 18:], ALL[82:, :18], ALL[82:, 18:]]


def test_bilinear_is_that_of_the_formula(tmp_path: Path) -> None:
    done, stats = make(tmp_path, build(tmp_path, [ALL]))
    t = WHOLE.transform
    x, y = np.meshgrid(t.c + (np.arange(128) + 0.5) * 10, t.f - (np.arange(96) + 0.5) * 10)
    lon, lat = Transformer.from_crs("EPSG:32630", "EPSG:4326", always_xy=True).transform(x, y)
    col, row = (lon - LON) * 3600 - 0.5, (LAT - lat) * 3600 - 0.5
    heights = surface(ALL).astype(float)
    top, left = np.floor(row).astype(int), np.floor(col).astype(int)
    down, right = row - top, col - left
    expected = (1 - down) * ((1 - right) * heights[top, left] + right * heights[top, left + 1])
    expected += down * ((1 - right) * heights[top + 1, left] + right * heights[top + 1, left + 1])
    assert np.allclose(done, expected, atol=1e-3)
    assert stats["nodata_share"] == 0.0


@pytest.mark.parametrize("resampling", ["bilinear", "nearest"])
def test_four_tiles_give_what_one_tile_gives(tmp_path: Path, resampling: Any) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "four").mkdir()
    one, _ = make(tmp_path / "one", build(tmp_path / "one", [ALL]), resampling=resampling)
    four, stats = make(tmp_path / "four", build(tmp_path / "four", FOUR), resampling=resampling)
    assert len(stats["items"]) == 4
    assert np.array_equal(one, four)


@pytest.mark.parametrize("resampling", ["bilinear", "nearest"])
def test_blocks_agree_to_the_bit(tmp_path: Path, resampling: Any) -> None:
    catalogue = build(tmp_path, FOUR)
    whole, _ = make(tmp_path, catalogue, "3", resampling)
    for block, window in (("1", np.s_[0:64, 0:64]), ("2", np.s_[32:96, 32:128])):
        assert np.array_equal(make(tmp_path, catalogue, block, resampling)[0], whole[window]), block


def test_a_missing_tile_is_a_gap(tmp_path: Path) -> None:
    done, stats = make(tmp_path, build(tmp_path, FOUR[1:]), "1")
    assert 0 < np.isnan(done).mean() < 1
    assert stats["nodata_share"] == pytest.approx(np.isnan(done).mean(), abs=1e-6)
    assert np.isfinite(done[-1]).all()


def test_windows_of_one_lattice_know_their_place(tmp_path: Path) -> None:
    from smallmines.core.raster import write

    pieces = []
    for number, part in enumerate((ALL[3:40, 5:60], ALL[30:90, 50:120])):
        write(tmp_path / f"{number}.tif", surface(part), part, None, ["DEM"])
        pieces.append(read_piece(tmp_path / f"{number}.tif"))
    assert pieces[0].lattice == pieces[1].lattice
    assert (pieces[1].row - pieces[0].row, pieces[1].col - pieces[0].col) == (27, 45)
    whole = pasted(pieces)
    assert whole.values.shape == (87, 115)
    assert np.array_equal(whole.values[27:, 45:], surface(ALL[30:90, 50:120]))
    assert np.isnan(whole.values[-1, 0])


def test_half_a_pixel_without_data_decides() -> None:
    values = np.array([[1.0, 3.0, np.nan, np.nan]], np.float32)
    piece = Piece(SourceLattice("EPSG:32630", (10.0, -10.0), (0.0, 0.0)), 0, 0, values)
    done = resample(piece, grid(4, 0, (1, 3)), "bilinear")
    assert done[0, 0] == pytest.approx(0.6 * 1 + 0.4 * 3)
    assert done[0, 1] == 3.0
    assert np.isnan(done[0, 2])
    assert resample(piece, grid(4, 0, (1, 3)), "nearest")[0, :2].tolist() == [1.0, 3.0]
