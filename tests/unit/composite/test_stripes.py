"""Stripes between elevation tiles: narrow ones are filled from both sides, everything else without data stays so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_builder import ArchiveBuilder, grid, write_grid
from sections import asked, cache
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite.elevation import composite
from smallmines.composite.sampling import Piece, SourceLattice
from smallmines.composite.stripes import fill_stripes
from smallmines.config.imagery import Elevation
from smallmines.core.files import read_json
from smallmines.settings.fetch import FetchElevation

LATTICE = SourceLattice("EPSG:4326", (1 / 3600, -1 / 3600), (0.0, 0.0))
PLANE = (np.arange(40)[:, np.newaxis] * 3 + np.arange(50) * 2).astype(np.float32)
"""A plane, which linear interpolation gives back."""


def piece(rows: slice, cols: slice) -> Piece:
    return Piece(LATTICE, rows.start, cols.start, PLANE[rows, cols].copy())


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_a_narrow_stripe_is_filled_linearly(width: int, turned: bool) -> None:
    if turned:
        parts, count = [piece(slice(0, 20), slice(0, 50)), piece(slice(20 + width, 40), slice(0, 50))], 50 * width
    else:
        parts, count = [piece(slice(0, 40), slice(0, 20)), piece(slice(0, 40), slice(20 + width, 50))], 40 * width
    done, filled = fill_stripes(parts)
    assert filled == count
    assert np.allclose(done.values, PLANE, atol=1e-4)


def test_last_columns_without_data_are_a_stripe_too() -> None:
    west, east = piece(slice(0, 40), slice(0, 20)), piece(slice(0, 40), slice(20, 50))
    west.values[:, -1] = np.nan
    east.values[:, 0] = np.nan
    done, filled = fill_stripes([west, east])
    assert filled == 80
    assert np.allclose(done.values, PLANE, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(5, 30), st.integers(5, 40), st.permutations(range(4)))
def test_where_four_tiles_meet_the_crossing_is_filled(high: int, wide: int, row: int, col: int, order: list[int]) -> None:
    parts = [piece(rows, cols) for rows in (slice(0, row), slice(row + high, 40)) for cols in (slice(0, col), slice(col + wide, 50))]
    done, filled = fill_stripes([parts[number] for number in order])
    assert filled == 40 * wide + 50 * high - wide * high
    assert np.allclose(done.values, PLANE, atol=1e-3)


def test_holes_wider_gaps_and_the_outside_stay() -> None:
    west, east = piece(slice(0, 40), slice(0, 20)), piece(slice(0, 40), slice(23, 50))
    done, filled = fill_stripes([west, east])
    assert filled == 0
    assert np.isnan(done.values[:, 20:23]).all()
    west, east = piece(slice(0, 40), slice(0, 20)), piece(slice(5, 30), slice(21, 50))
    west.values[10, 3:5] = np.nan  # a hole in a tile
    west.values[:, 8] = np.nan  # a line without data in a tile
    west.values[20, 18:] = np.nan  # the stripe is three wide there
    done, filled = fill_stripes([west, east])
    assert np.isnan(done.values[10, 3:5]).all()
    assert np.isnan(done.values[:, 8]).all()
    assert np.isnan(done.values[:5, 20:]).all()
    assert np.isnan(done.values[30:, 20:]).all()
    assert np.isnan(done.values[20, 18:21]).all()
    assert filled == 24
    west, east = piece(slice(0, 40), slice(0, 20)), piece(slice(0, 40), slice(20, 50))
    west.values[12:14, -1] = np.nan  # a hole of two pixels at the border of two tiles
    done, filled = fill_stripes([west, east])
    assert filled == 0
    assert np.isnan(done.values[12:14, 19]).all()


def test_a_single_tile_is_left_alone() -> None:
    alone = piece(slice(0, 40), slice(0, 50))
    alone.values[:, 20] = np.nan
    done, filled = fill_stripes([alone])
    assert filled == 0
    assert np.array_equal(done.values, alone.values, equal_nan=True)


LON, LAT, SECOND = -2.1 - 0.5 / 3600, 6.35 + 0.5 / 3600, 1 / 3600
ALL = grid(LON, LAT, (140, 120), SECOND, "EPSG:4326")
HEIGHTS = (200 + np.arange(140)[:, np.newaxis] * 0.5 + np.arange(120)).astype(np.float32)


def make(folder: Path, catalogue: Path, block: str) -> tuple[np.ndarray, dict[str, str], dict[str, Any]]:
    config = Elevation(provider="static", catalogue=str(catalogue))
    search("dem", "static", {}, asked(config), folder / "grid.json", folder / "dem.json")
    fetch("dem", block, folder / "grid.json", folder / "dem.json", cache(folder / "pixels"), FetchElevation(None), folder / "fetched.json")
    composite(block, folder / "grid.json", folder / "fetched.json", config, {"image": folder / "dem.tif", "stats": folder / "s.json"}, 0.99)
    with rasterio.open(folder / "dem.tif") as source:
        return source.read(1), source.tags(), read_json(folder / "s.json")


def test_the_composite_fills_counts_and_reports_stripes_and_blocks_agree(tmp_path: Path) -> None:
    results = {}
    for name, gap in (("gap", 1), ("whole", 0)):
        folder = tmp_path / name
        folder.mkdir()
        archive = ArchiveBuilder(folder / "archive")
        for number, cols in enumerate((slice(0, 18), slice(18 + gap, 120))):
            archive.add_dem(f"tile{number}", ALL[:, cols], HEIGHTS[:, cols])
        write_grid(folder / "grid.json", grid(600003.7, 700001.3, (96, 128)), 32, {"1": (0, 0, 2, 2), "2": (1, 0, 2, 3), "3": (0, 0, 3, 4)})
        catalogue = archive.save()
        results[name] = {block: make(folder, catalogue, block) for block in ("1", "2", "3")}
    heights, tags, stats = results["gap"]["3"]
    assert np.isfinite(heights).all()
    assert np.allclose(heights, results["whole"]["3"][0], atol=1e-3)
    assert stats["filled_pixels"] > 30
    assert stats["findings"] == [
        f"Elevation of block 3: {stats['filled_pixels']} source pixels in narrow stripes between tiles were filled from both sides"
    ]
    assert tags["FILLED"].startswith(str(stats["filled_pixels"]))
    assert np.array_equal(results["gap"]["1"][0], heights[:64, :64])
    assert np.array_equal(results["gap"]["2"][0], heights[32:, :96])
    _, tags, stats = results["whole"]["3"]
    assert (stats["filled_pixels"], stats["findings"]) == (0, [])
    assert "FILLED" not in tags
