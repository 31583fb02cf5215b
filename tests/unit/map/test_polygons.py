"""Mines as polygons: against a flood fill, whatever the strips; numbers, dates, tiles; both files say the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from fake_map import DAYS, dates, make_map
from fake_results import YEAR, Results, make_results
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.map import polygons
from smallmines.map.dates import NEVER, ImageDates
from smallmines.map.mosaics import PROVENANCE_CODES
from smallmines.map.polygons import MEANINGS, MapFiles, mines, mines_schema, write_mines


def flood(mining: NDArray[np.bool_]) -> Iterator[list[tuple[int, int]]]:
    """Yield the pixels of each group that touches with sides or corners, by its first pixel."""
    left = {(int(row), int(col)) for row, col in zip(*np.nonzero(mining), strict=True)}
    for start in sorted(left):
        if start in left:
            group, todo = [], [start]
            left.remove(start)
            while todo:
                row, col = todo.pop()
                group.append((row, col))
                near = {(row + down, col + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
                left -= near
                todo += near
            yield group


def tiled(results: Results) -> NDArray[np.bool_]:
    """Return which pixels of the lattice are in a tile."""
    inside = np.zeros(results.lattice.geobox.shape, bool)
    side = results.side
    for cell in results.lattice.tiles:
        inside[cell.row * side : (cell.row + 1) * side, cell.col * side : (cell.col + 1) * side] = True
    return inside


def write(results: Results, mask: NDArray[np.uint8], **others: NDArray[np.uint8]) -> MapFiles:
    """Write mosaics by hand."""
    paths = {}
    for name, pixels in {"mask": mask, **others}.items():
        paths[name] = str(results.folder / f"by_hand/{name}.tif")
        raster.write(paths[name], pixels, results.lattice.geobox, 255, [name])
    return MapFiles(**paths)


@pytest.mark.parametrize(("seed", "share", "strip"), [(0, 0.15, 512), (1, 0.4, 1), (2, 0.55, 1), (3, 0.8, 1)])
def test_mines_are_those_of_a_flood_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, share: float, strip: int) -> None:
    """With strips of one row of tiles, mines cross from strip to strip, also by a corner."""
    monkeypatch.setattr(polygons, "STRIP", strip)
    results = make_results(tmp_path, side=8, cells=[(f"{n:04d}", n // 3, n % 3, "12"[n > 6]) for n in range(1, 12)])
    rng = np.random.default_rng(seed)
    geobox, inside = results.lattice.geobox, tiled(results)
    mask = np.where(inside, rng.random(geobox.shape) < share, 255).astype(np.uint8)
    percent = np.where(inside & (rng.random(geobox.shape) < 0.9), rng.integers(0, 101, geobox.shape), 255).astype(np.uint8)
    provenance = rng.integers(1, 11, geobox.shape).astype(np.uint8)
    days = dates(results)
    table = mines(write(results, mask, probability=percent, provenance=provenance), results.lattice, YEAR, days, 0)
    groups = list(flood(mask == 1))
    assert table["mine"].tolist() == list(range(1, len(groups) + 1))
    first, last = days.read(rasterio.windows.Window(0, 0, geobox.shape.x, geobox.shape.y))
    ids = {(cell.row, cell.col): cell.tile_id for cell in results.lattice.tiles}
    seen = [PROVENANCE_CODES[name] for name in ("manual", "corrected", "confirmed", "adjudicated", "transferred", "disputed")]
    for row, group in zip(table.itertuples(), groups, strict=True):
        pixels = np.zeros(geobox.shape, bool)
        pixels[tuple(np.transpose(group))] = True
        np.testing.assert_array_equal(rasterize([row.geometry], geobox.shape, transform=geobox.transform) > 0, pixels)
        assert row.geometry.area == len(group) * 100
        assert row.area_ha == pytest.approx(len(group) / 100)
        values = percent[pixels & (percent < 255)]
        assert row.probability == pytest.approx(values.mean() / 100, abs=6e-5) if len(values) else np.isnan(row.probability)
        assert row.seen_share == pytest.approx(np.isin(provenance[pixels], seen).mean(), abs=6e-5)
        ends = ["" if day in NEVER else dt.date.fromordinal(day).isoformat() for day in (int(first[pixels].min()), int(last[pixels].max()))]
        assert [row.image_date_first, row.image_date_last] == ends
        assert row.tile_ids == sorted({ids[r // 8, c // 8] for r, c in group})
    assert table.geometry.is_valid.all()
    monkeypatch.setattr(polygons, "STRIP", 512)
    again = mines(write(results, mask, probability=percent, provenance=provenance), results.lattice, YEAR, days, 0)
    assert again.geometry.to_wkb().tolist() == table.geometry.to_wkb().tolist(), "outlines do not tell the strips"


def test_a_corner_joins_and_a_gap_does_not(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    mask = np.zeros(results.lattice.geobox.shape, np.uint8)
    mask[0, 0] = mask[1, 1] = mask[2, 0] = 1  # joined by corners
    mask[0, 3] = mask[0, 5] = 1  # apart
    table = mines(write(results, mask), results.lattice, YEAR, dates(results), 0)
    assert table["area_ha"].tolist() == [0.03, 0.01, 0.01]
    assert shapely.get_num_geometries(table.geometry.to_numpy()).tolist() == [3, 1, 1]
    assert table["probability"].isna().all(), "no forest"
    assert (table["seen_share"] == 0).all()


def test_small_mines_are_left_out_and_the_others_numbered_from_1(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    mask = np.zeros(results.lattice.geobox.shape, np.uint8)
    mask[0, 0] = 1
    mask[0, 3:5] = 1
    mask[4, :3] = 1
    files = write(results, mask)
    table = mines(files, results.lattice, YEAR, dates(results), 2)
    assert (table["mine"].tolist(), table["area_ha"].tolist()) == ([1, 2], [0.02, 0.03])
    assert len(mines(files, results.lattice, YEAR, dates(results), 3)) == 1


def test_dates_are_those_of_the_pixels(tmp_path: Path) -> None:
    """The left half of each block is of the first image, its right half of the second; a corner of its first tile has none."""
    results = make_results(tmp_path)
    mask = np.zeros(results.lattice.geobox.shape, np.uint8)
    mask[17, 0:2] = 1  # in the gap of tile 0001
    mask[30, 4:6] = 1  # block 1, left
    mask[30, 30:32] = 1  # right
    mask[24, 14:18] = 1  # across
    table = mines(write(results, mask), results.lattice, YEAR, dates(results), 0).set_index("mine")
    ends = table[["image_date_first", "image_date_last"]].apply(tuple, axis=1).tolist()
    assert ends == [("", ""), DAYS, (DAYS[0], DAYS[0]), (DAYS[1], DAYS[1])]
    assert table["tile_ids"].tolist() == [["0001"], ["0001", "0002"], ["0001"], ["0002"]]


def test_a_pixel_of_several_images_has_the_first_and_last_day_of_its_block(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    days = dates(results)
    with rasterio.open(days.sources["1"], "r+") as source:
        source.write(np.full((1, *source.shape), 255, np.uint8))
    first, last = days.read(rasterio.windows.Window(0, 16, results.lattice.geobox.shape.x, 16))
    assert (last[0, 0] - first[0, 0], {*np.unique(last[:, :32] - first[:, :32])}) == (10, {10})


def test_an_image_that_the_manifest_lacks_is_refused(tmp_path: Path) -> None:
    _, files, days = make_map(tmp_path)
    content = read_json(days.manifest)
    content["chosen"] = content["chosen"][:1]
    write_json(days.manifest, content)
    lattice = days.lattice
    with pytest.raises(UserError, match="1 of 2 missing, first S2A_MSIL2A_20160115"):
        mines(files, lattice, YEAR, replace(days, _tables={}), 0)


def test_both_files_say_the_same(tmp_path: Path) -> None:
    results, files, days = make_map(tmp_path)
    parquet, flatgeobuf = tmp_path / "map/mines.parquet", tmp_path / "map/mines.fgb"

    def bytes_written() -> list[bytes]:
        write_mines(files, results.lattice, YEAR, days, 0, parquet, flatgeobuf)
        return [path.read_bytes() for path in (parquet, flatgeobuf)]

    assert bytes_written() == bytes_written()
    table = gpd.read_parquet(parquet)
    other = gpd.read_file(flatgeobuf).sort_values("mine", ignore_index=True)
    assert list(table.columns) == [*MEANINGS, "geometry"]
    assert list(mines_schema().columns) == list(MEANINGS)
    assert table.crs.to_epsg() == other.crs.to_epsg() == 32630
    assert round(table["area_ha"].sum() * 100) == (raster.read(files.mask)[0] == 1).sum() > 0
    for name in ("mine", "year", "area_ha", "probability", "seen_share", "image_date_first", "image_date_last"):
        assert table[name].tolist() == other[name].tolist()
    assert [" ".join(names) for names in table["tile_ids"]] == other["tile_ids"].tolist()
    assert table.geometry.geom_equals(other.geometry).all()


def test_a_map_without_a_mine(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    files = write(results, np.zeros(results.lattice.geobox.shape, np.uint8))
    write_mines(files, results.lattice, YEAR, dates(results), 0, tmp_path / "a.parquet", tmp_path / "a.fgb")
    table, other = gpd.read_parquet(tmp_path / "a.parquet"), gpd.read_file(tmp_path / "a.fgb")
    assert (len(table), len(other), table.crs.to_epsg()) == (0, 0, 32630)
    assert list(table.columns) == [*MEANINGS, "geometry"]


def test_days_of_whole_rows(tmp_path: Path) -> None:
    """Rows that start in the middle of the lattice."""
    _, _, days = make_map(tmp_path)
    assert isinstance(days, ImageDates)
    whole = days.read(rasterio.windows.Window(0, 0, 64, 32))
    lower = days.read(rasterio.windows.Window(0, 16, 64, 16))
    for of_whole, of_lower in zip(whole, lower, strict=True):
        np.testing.assert_array_equal(of_whole[16:], of_lower)
