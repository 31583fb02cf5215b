"""The lattice: tiles, ids and blocks, on small areas and on the real districts."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS

from fake_results import make_results, publish
from sections import Grid
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.patch_files import images_digest
from smallmines.grid.area import area_of, read_area
from smallmines.grid.boundaries import select_units
from smallmines.grid.existing import read_fishnet
from smallmines.grid.lattice import read_lattice
from smallmines.grid.make import blocks_of, check_size, fishnet, make_grid, tile_ids, tiles_of
from smallmines.settings.grid import Anchor

GRID = Grid()


def area(*boxes: tuple[float, float, float, float], crs: str = "EPSG:32630") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=[shapely.box(*box) for box in boxes], crs=crs)


def test_ids_run_from_the_south_west_eastwards_then_northwards() -> None:
    cells = fishnet(area((586700, 727200, 589100, 729600)), GRID)
    assert cells["tile_id"].tolist() == ["0001", "0002", "0003", "0004"]
    assert cells["row"].tolist() == [1, 1, 0, 0]
    assert cells["col"].tolist() == [0, 1, 0, 1]
    assert cells.geometry.iloc[0].bounds == (586600, 727080, 587880, 728360)


def test_a_cell_that_only_shares_a_border_is_not_touched() -> None:
    assert len(fishnet(area((586600, 728360, 587880, 729640)), GRID)) == 1
    assert len(fishnet(area((586600, 728360, 587880.001, 729640)), GRID)) == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(560000, 620000), st.floats(700000, 740000), st.floats(50, 6000), st.floats(50, 6000)), min_size=1, max_size=4
    )
)
def test_every_cell_lies_on_the_lattice_and_all_together_cover_the_area(boxes: list[tuple[float, float, float, float]]) -> None:
    aoi = area(*[(x, y, x + width, y + height) for x, y, width, height in boxes])
    cells = fishnet(aoi, GRID)
    bounds = cells.geometry.bounds
    assert np.all((bounds["minx"] - 586600) % 1280 == 0)
    assert np.all((729640 - bounds["maxy"]) % 1280 == 0)
    assert np.all(bounds["maxx"] - bounds["minx"] == 1280)
    assert aoi.union_all().difference(cells.union_all()).area < 1e-3
    assert all(cells.intersects(aoi.union_all()))
    order = list(zip(-bounds["miny"], -bounds["minx"], strict=True))
    assert order == sorted(order, reverse=True)


@pytest.mark.real
def test_the_five_districts(shared_data: Path, tmp_path: Path) -> None:
    aoi = read_area([str(shared_data / "ghana/districts.geojson")], None, "u")
    check_size(aoi, GRID.crs, 3194.7)
    grid = Grid(expected_tiles=2135, released_ids_up_to=2040)
    make_grid(aoi, grid, *(str(tmp_path / name) for name in ("fishnet.parquet", "blocks.parquet", "grid.json")))
    lattice = read_lattice(tmp_path / "grid.json")
    cells = gpd.read_parquet(tmp_path / "fishnet.parquet")
    assert len(cells) == len(lattice.cells) == 2134
    assert sorted(cells["block"].value_counts()) == [483, 522, 545, 584]
    assert cells["released_id"].sum() == 2040
    assert cells["tile_id"].iloc[[0, -1]].tolist() == ["0001", "2134"]
    assert (np.asarray(lattice.geobox.shape) % 128 == 0).all()
    assert lattice.geobox.transform.c == 587880
    assert lattice.geobox.transform.f == 729640
    for name in "1234":
        own = lattice.own(name)
        assert own.shape == tuple(lattice.block(name).shape)
        assert own.sum() == len(lattice.cells_of(name)) * 128 * 128


def test_blocks_are_numbered_from_the_south_west_whatever_the_order_of_cells() -> None:
    cells = fishnet(area((586700, 700000, 600000, 701000), (640000, 728000, 650000, 729600)), GRID)
    names = blocks_of(cells, 2, 0)
    assert set(names[cells["row"] == cells["row"].max()]) == {1}
    shuffled = cells.sample(frac=1, random_state=3)
    assert (blocks_of(shuffled, 2, 0) == names[shuffled.index]).all()


def test_block_windows_and_offsets(tmp_path: Path) -> None:
    aoi = area((586700, 727200, 589100, 729600), (592000, 727200, 593100, 728000))
    make_grid(area_of(aoi), Grid(blocks=2), *(str(tmp_path / name) for name in ("f.parquet", "b.parquet", "g.json")))
    lattice = read_lattice(tmp_path / "g.json")
    assert lattice.windows == {"1": (0, 0, 2, 2), "2": (1, 4, 1, 2)}
    assert lattice.offset("2") == (128, 512)
    assert lattice.cells_of("2")[["tile_id", "y", "x"]].values.tolist() == [["0003", 0, 0], ["0004", 0, 128]]
    assert lattice.block("2").transform.c == 586600 + 4 * 1280


def test_more_than_9999_tiles_get_longer_ids() -> None:
    assert tile_ids(3)[-1] == "0003"
    assert tile_ids(10000)[0] == "00001"


@pytest.mark.parametrize(
    ("aoi", "told"),
    [
        (gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]), "a CRS"),
        (gpd.GeoDataFrame(geometry=[shapely.Point(0, 6)], crs=4326), "no area"),
        (gpd.GeoDataFrame(geometry=[shapely.Polygon()], crs=4326), "no area"),
    ],
)
def test_an_aoi_without_area_or_crs_is_refused(aoi: gpd.GeoDataFrame, told: str) -> None:
    with pytest.raises(UserError, match=told):
        fishnet(aoi, GRID)


def test_too_few_tiles_for_the_blocks() -> None:
    cells = fishnet(area((586700, 729000, 586800, 729100)), GRID)
    with pytest.raises(UserError, match="1 tiles"):
        blocks_of(cells, 4, 0)


def test_aoi_in_any_format_and_crs(tmp_path: Path) -> None:
    aoi = area((586700, 727200, 589100, 729600))
    wanted = fishnet(aoi, GRID)["tile_id"].tolist()
    for name, crs in (("a.geojson", 4326), ("b.gpkg", 32631), ("c.fgb", 3857)):
        aoi.to_crs(crs).to_file(tmp_path / name)
        assert fishnet(read_area([str(tmp_path / name)], None, "u").table, GRID)["tile_id"].tolist() == wanted


def test_area_off_by_more_than_one_per_cent(tmp_path: Path) -> None:
    area((600000, 700000, 610000, 710000)).to_file(tmp_path / "aoi.gpkg")
    aoi = read_area([str(tmp_path / "aoi.gpkg")], None, "u")
    check_size(aoi, GRID.crs, None)
    check_size(aoi, GRID.crs, 100.9)
    with pytest.raises(UserError) as caught:
        check_size(aoi, GRID.crs, 102)
    assert "102.0 km²" in caught.value.expected
    assert "100.0 km²" in caught.value.found


@pytest.mark.parametrize("files", [[], ["a.gpkg", "aoi.geojson"]])
def test_no_aoi_or_two(files: list[str]) -> None:
    with pytest.raises(UserError, match=r"resources/user/demo/aoi\.gpkg"):
        read_area(files, None, "resources/user/demo")


NAMES = ("Bekwai", "Bibiani-Bekwai", "Amansie", "Amansie")
UNITS = [{"properties": {"shapeName": name, "shapeID": f"id{number}"}} for number, name in enumerate(NAMES)]


def test_units_are_matched_exactly() -> None:
    assert select_units(UNITS, ("Bekwai",), "GHA ADM2") == [UNITS[0]]
    with pytest.raises(UserError, match="near: Bekwai"):
        select_units(UNITS, ("Bekway",), "GHA ADM2")
    with pytest.raises(UserError, match="2 units: id2, id3"):
        select_units(UNITS, ("Amansie",), "GHA ADM2")


def test_a_fishnet_from_a_file_keeps_its_ids(tmp_path: Path) -> None:
    aoi = area((586700, 727200, 589100, 729600))
    cells = fishnet(aoi, GRID)
    cells["tile_id"] = ["7", "8", "12", "3"]
    cells.to_crs(4326).to_file(tmp_path / "net.gpkg")
    grid = Grid(source="file", file=str(tmp_path / "net.gpkg"), blocks=1)
    make_grid(
        area_of(area((586700, 727200, 589100, 729600))), grid, *(str(tmp_path / name) for name in ("f.parquet", "b.parquet", "g.json"))
    )
    assert read_lattice(tmp_path / "g.json").cells[["tile_id", "row", "col"]].values.tolist() == [
        ["0003", 0, 1],
        ["0007", 1, 0],
        ["0008", 1, 1],
        ["0012", 0, 0],
    ]
    shifted = cells.set_geometry(cells.translate(30, 0))
    shifted.to_file(tmp_path / "off.gpkg")
    with pytest.raises(UserError, match=r"4 of 4 cells off it, the farthest by 30\.0 m"):
        make_grid(area_of(area((0, 0, 100, 100))), replace(grid, file=str(tmp_path / "off.gpkg")), "f", "b", "g")


def net(path: Path, ids: list[Any], shapes: list[Any] | None = None) -> Grid:
    """Write the four cells of a small area as a fishnet with these ids, or other shapes, and return the keys that name it."""
    squares = fishnet(area((586700, 727200, 589100, 729600)), GRID).geometry.tolist()
    gpd.GeoDataFrame({"tile_id": ids}, geometry=squares if shapes is None else shapes, crs="EPSG:32630").to_file(path)
    return Grid(source="file", file=str(path), blocks=1)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([1.0, 2.0, 3.0, 4.5], "4 of 4 others: '1.0', '2.0', '3.0', '4.5'"),
        (["1.0", "2", "3", "4"], "1 of 4 others: '1.0'"),
        (["1", None, "3", "4"], "1 of 4 others: 'nothing'"),
        (["1", "-2", "3e2", ""], "3 of 4 others: '-2', '3e2', 'nothing'"),
        (["1", "0001", "3", "4"], "several cells of the number 1"),
        ([7, 8, 8, 7], "several cells of the number 7, 8"),
        (["1", "2", "3", "99999999999999999999"], "1 of 4 others"),
    ],
)
def test_ids_of_given_cells_are_whole_numbers_once_each(tmp_path: Path, ids: list[Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_fishnet(net(tmp_path / "net.gpkg", ids))
    assert words in caught.value.found


def test_given_cells_are_whole_cells_once_each(tmp_path: Path) -> None:
    squares = fishnet(area((586700, 727200, 589100, 729600)), GRID).geometry.tolist()
    west, south, east, north = squares[2].bounds
    for shape, words in (
        (shapely.box(west, south, east, (south + north) / 2), r"1 of 4 cells are none: 8 \(the first: 1280\.0 × 640\.0 m"),
        (shapely.box(west, south, (west + east) / 2, north), r"640\.0 × 1280\.0 m"),
        (shapely.Polygon([(west, south), (east, south), (east, north)]), r"1280\.0 × 1280\.0 m, 819200 m²"),
        (None, r"cells are none: 8 \(the first: no geometry\)"),
        (shapely.box(west + 640, south, east + 640, north), r"1 of 4 cells off it, the farthest by 640\.0 m: 8"),
        (squares[1], "cells 7 and 8 of 1280 m in one place"),
    ):
        grid = net(tmp_path / "net.gpkg", [5, 7, 8, 9], [squares[0], squares[1], shape, squares[3]])
        with pytest.raises(UserError, match=words):
            read_fishnet(grid)
    assert len(read_fishnet(net(tmp_path / "net.gpkg", [5, 7, 8, 9]))) == 4


def test_a_fishnet_of_unknown_datum_or_without_crs(tmp_path: Path) -> None:
    grid = net(tmp_path / "net.shp", [1, 2, 3, 4])
    unknown = CRS("+proj=utm +zone=30 +ellps=clrk80 +units=m")
    (tmp_path / "net.prj").write_text(unknown.to_wkt("WKT1_ESRI"))
    with pytest.raises(UserError, match=r"net\.shp: .*Unknown.*no transformation"):
        read_fishnet(grid)
    cells = fishnet(area((586700, 727200, 589100, 729600)), GRID)
    cells.set_crs(None, allow_override=True).to_file(tmp_path / "none.gpkg")
    with pytest.raises(UserError, match="a CRS in"):
        read_fishnet(replace(grid, file=str(tmp_path / "none.gpkg")))


# --- limit and remarks ---------------------------------------------------------------------------------------------------------


def test_too_many_tiles_are_counted_and_not_made(tmp_path: Path) -> None:
    box = (586700, 727200, 586700 + 9 * 1280, 727200 + 9 * 1280)
    count = len(fishnet(area(box), GRID))
    assert count == 100
    assert len(fishnet(area(box), replace(GRID, max_tiles=100))) == 100
    with pytest.raises(UserError, match=r"at most 99 tiles \(grid.max_tiles\)\nfound     100 tiles of 1280 m"):
        fishnet(area(box), replace(GRID, max_tiles=99))
    with pytest.raises(UserError, match="found     at least 81 tiles"):
        fishnet(area(box), replace(GRID, max_tiles=80))
    given = net(tmp_path / "net.gpkg", [1, 2, 3, 4])
    with pytest.raises(UserError, match="found     4 tiles in"):
        tiles_of(area_of(area(box)), replace(given, max_tiles=3))


def test_an_area_as_large_as_a_continent_is_refused_at_once() -> None:
    africa = area((-2e6, -3e6, 3e6, 3e6))
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"at least 18310547 tiles of 1280 m for 30000000 km²"):
        fishnet(africa, GRID)
    with pytest.raises(UserError, match=r"(more than 20000|[0-9]{5}) tiles"):  # a thin diagonal
        fishnet(gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (2e7, 2e7)]).buffer(5)], crs="EPSG:32630"), GRID)
    assert time.monotonic() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 90000), st.floats(0, 90000), st.floats(1, 20000), st.floats(1, 20000)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_the_tiles_are_those_of_the_whole_rectangle(boxes: list[tuple[float, float, float, float]], tenths: int) -> None:
    """Dividing squares gives the cells that trying every cell of the bounding rectangle gives."""
    grid = replace(GRID, resolution=10.0 * tenths)
    aoi = area(*[(560000 + x, 700000 + y, 560000 + x + width, 700000 + y + height) for x, y, width, height in boxes])
    cells = fishnet(aoi, grid)
    union, side = aoi.union_all(), grid.resolution * grid.tile_size
    west, south, east, north = union.bounds
    cols = np.arange(np.floor((west - grid.anchor.x) / side), np.floor((east - grid.anchor.x) / side) + 1)
    rows = np.arange(np.floor((grid.anchor.y - north) / side), np.floor((grid.anchor.y - south) / side) + 1)
    left, top = (values.ravel() for values in np.meshgrid(grid.anchor.x + cols * side, grid.anchor.y - rows * side))
    squares = shapely.box(left, top - side, left + side, top)
    expected = squares[shapely.intersects(union, squares) & ~shapely.touches(union, squares)]
    assert {shape.bounds for shape in cells.geometry} == {shape.bounds for shape in expected}
    assert len(cells) == len(expected)


def remarks_of(aoi: gpd.GeoDataFrame, grid: Grid, folder: Path) -> list[str]:
    make_grid(area_of(aoi), grid, *(str(folder / name) for name in ("f.parquet", "b.parquet", "g.json")))
    return [remark["found"] for remark in read_json(folder / "g.json").get("remarks", [])]


def test_what_is_unusual_about_a_place_is_in_grid_json(tmp_path: Path) -> None:
    aoi, grid = area((586700, 727200, 589100, 729600)), Grid(blocks=1)
    assert remarks_of(aoi, grid, tmp_path) == []
    assert "remarks" not in read_json(tmp_path / "g.json"), "good input leaves no trace"
    assert remarks_of(aoi, replace(grid, anchor=Anchor(586605, 729640)), tmp_path) == [
        "x: 586605, y: 729640; all pixels of Sentinel-2 are resampled"
    ]
    assert remarks_of(aoi, replace(grid, anchor=Anchor(386600, 729640)), tmp_path) == [
        "x: 386600, y: 729640, 200 km away: perhaps that of another area"
    ]
    point = gpd.GeoDataFrame(geometry=[*aoi.geometry, shapely.Point(586700, 727300)], crs=aoi.crs)
    assert remarks_of(point, grid, tmp_path) == ["1 point beside 1 polygon: left out"]
    given = net(tmp_path / "net.gpkg", [1, 2, 3, 4])
    assert remarks_of(area((596700, 727200, 599100, 729600)), given, tmp_path) == ["none of the given tiles touches it"]
    found = remarks_of(aoi, replace(grid, crs="EPSG:32631"), tmp_path)
    assert len(found) == 2
    assert "zone 31N" in found[0], "the neighbouring zone is allowed"


def test_the_grid_of_a_far_zone_is_refused(tmp_path: Path) -> None:
    aoi = gpd.GeoDataFrame(geometry=[shapely.box(-70.2, -12.9, -70.0, -12.7)], crs="EPSG:4326")
    with pytest.raises(UserError, match=r"set grid\.crs: EPSG:32719, the UTM zone 19S of the area"):
        remarks_of(aoi, Grid(blocks=1), tmp_path)
    assert not (tmp_path / "g.json").exists()


def test_released_images_off_the_lattice_of_sentinel2_are_remarked(tmp_path: Path) -> None:
    add_image(tmp_path / "released", "IMG_GH_0001_2016.tif", 600005, 700000)
    from_folder(tmp_path / "released", tmp_path, blocks=1)
    (remark,) = read_json(tmp_path / "g.json")["remarks"]
    assert remark["found"] == "x: 600005, y: 700000; all pixels of Sentinel-2 are resampled"
    assert remark["do"] == "set grid.anchor: {x: 600000, y: 700000}"


AREA = (600010, 699000, 600600, 699990)
"""Touches the tiles of `fake_results`."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The published images of six tiles of 16 px."""
    return publish(make_results(tmp_path / "made"))


def from_folder(folder: Path, target: Path, **others: object) -> None:
    grid = Grid(**{"source": "released_folder", "folder": str(folder), "tile_size": 16, "blocks": 2, **others})
    make_grid(area_of(area(AREA)), grid, *(str(target / name) for name in ("f.parquet", "b.parquet", "g.json")))


def add_image(folder: Path, name: str, left: float, top: float, side: int = 16) -> Path:
    geobox = GeoBox((side, side), Affine(10, 0, left, 0, -10, top), "EPSG:32630")
    raster.write(folder / name, np.zeros((side, side), np.float32), geobox, -9999, ["B02"])
    return folder / name


def test_tiles_ids_and_anchor_from_released_images(images: Path, tmp_path: Path) -> None:
    from_folder(images, tmp_path)
    found, known = read_lattice(tmp_path / "g.json"), read_lattice(tmp_path / "made/grid/grid.json")
    assert found.cells[["tile_id", "row", "col"]].values.tolist() == known.cells[["tile_id", "row", "col"]].values.tolist()
    assert found.geobox == known.geobox
    cells = gpd.read_parquet(tmp_path / "f.parquet")
    assert cells["released_id"].all()
    wanted = gpd.read_parquet(tmp_path / "made/grid/fishnet.parquet")
    assert cells.geometry.geom_equals(wanted.geometry).all()
    # another year of the same tile changes nothing, in whatever folder and without the country
    add_image(images / "elsewhere", "IMG_0004_2022.tif", 600000, 700000)
    from_folder(images, tmp_path)
    assert read_lattice(tmp_path / "g.json").cells.equals(found.cells)


def test_released_images_that_make_no_lattice_are_refused(images: Path, tmp_path: Path) -> None:
    off = add_image(images, "IMG_GH_0009_2016.tif", 600050, 700000)
    with pytest.raises(UserError, match=r"1 of 7 images off the lattice through \(600000, 700000\), the farthest by 50\.0 m.*IMG_GH_0009"):
        from_folder(images, tmp_path)
    off.unlink()
    twice = add_image(images, "IMG_GH_0009_2016.tif", 600000, 700000)
    with pytest.raises(UserError, match=r"one tile in each place\n.*IMG_GH_0004_2016.* and .*IMG_GH_0009_2016"):
        from_folder(images, tmp_path)
    twice.unlink()
    moved = add_image(images, "IMG_GH_0004_2022.tif", 600160, 700000)
    with pytest.raises(UserError, match=r"one place for each tile in all years\n.*at \(600000, 700000\) and .*at \(600160, 700000\)"):
        from_folder(images, tmp_path)
    moved.unlink()
    with pytest.raises(UserError, match=r"images of 16×16 px of 20 m in EPSG:32630\nfound     16×16 px of 10×10 m"):
        from_folder(images, tmp_path, resolution=20)
    with pytest.raises(UserError, match="found     none"):
        from_folder(tmp_path / "made/grid", tmp_path)


def test_the_digest_of_images_follows_names_and_places_alone(images: Path) -> None:
    before = images_digest(images)
    assert images_digest(images) == before
    path = add_image(images, "IMG_GH_0010_2016.tif", 600000, 700320)
    more = images_digest(images)
    assert more != before
    add_image(images, path.name, 600160, 700320)
    moved = images_digest(images)
    assert len({before, more, moved}) == 3
    path.write_text("broken off")
    assert images_digest(images) not in (before, moved)
    path.unlink()
    assert images_digest(images) == before
