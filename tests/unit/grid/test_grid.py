"""The lattice: tiles, ids and blocks, on small areas and on the real districts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from fake_results import make_results, publish
from sections import Aoi, Grid
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.patch_files import images_digest
from smallmines.grid.aoi import read_aoi, select_units
from smallmines.grid.lattice import read_lattice
from smallmines.grid.make import blocks_of, fishnet, make_grid, tile_ids

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
    aoi = read_aoi([str(shared_data / "ghana/districts.geojson")], Aoi(expected_area_km2=3194.7), GRID.crs, "u")
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
    make_grid(aoi, Grid(blocks=2), *(str(tmp_path / name) for name in ("f.parquet", "b.parquet", "g.json")))
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
        assert fishnet(read_aoi([str(tmp_path / name)], Aoi(), GRID.crs, "u"), GRID)["tile_id"].tolist() == wanted


def test_area_off_by_more_than_one_per_cent(tmp_path: Path) -> None:
    area((600000, 700000, 610000, 710000)).to_file(tmp_path / "aoi.gpkg")
    read_aoi([str(tmp_path / "aoi.gpkg")], Aoi(expected_area_km2=100.9), GRID.crs, "u")
    with pytest.raises(UserError) as caught:
        read_aoi([str(tmp_path / "aoi.gpkg")], Aoi(expected_area_km2=102), GRID.crs, "u")
    assert "102.0 km²" in caught.value.expected
    assert "100.0 km²" in caught.value.found


@pytest.mark.parametrize("files", [[], ["a.gpkg", "aoi.geojson"]])
def test_no_aoi_or_two(files: list[str]) -> None:
    with pytest.raises(UserError, match=r"resources/user/demo/aoi\.gpkg"):
        read_aoi(files, Aoi(), GRID.crs, "resources/user/demo")


NAMES = ("Bekwai", "Bibiani-Bekwai", "Amansie", "Amansie")
UNITS = [{"properties": {"shapeName": name, "shapeID": f"id{number}"}} for number, name in enumerate(NAMES)]


def test_units_are_matched_exactly() -> None:
    assert select_units(UNITS, ("Bekwai",), "GHA ADM2") == [UNITS[0]]
    with pytest.raises(UserError, match="near: Bekwai"):
        select_units(UNITS, ("Bekway",), "GHA ADM2")
    with pytest.raises(UserError, match="2 units: id2, id3"):
        select_units(UNITS, ("Amansie",), "GHA ADM2")


def test_a_fishnet_from_a_file_keeps_its_ids(tmp_path: Path) -> None:
    cells = fishnet(area((586700, 727200, 589100, 729600)), GRID)
    cells["tile_id"] = ["7", "8", "12", "3"]
    cells.to_crs(4326).to_file(tmp_path / "net.gpkg")
    grid = Grid(source="file", file=str(tmp_path / "net.gpkg"), blocks=1)
    make_grid(area((586700, 727200, 589100, 729600)), grid, *(str(tmp_path / name) for name in ("f.parquet", "b.parquet", "g.json")))
    assert read_lattice(tmp_path / "g.json").cells[["tile_id", "row", "col"]].values.tolist() == [
        ["0003", 0, 1],
        ["0007", 1, 0],
        ["0008", 1, 1],
        ["0012", 0, 0],
    ]
    shifted = cells.set_geometry(cells.translate(30, 0))
    shifted.to_file(tmp_path / "off.gpkg")
    with pytest.raises(UserError, match=r"4 of 4 cells off it, the farthest by 30\.0 m"):
        make_grid(area((0, 0, 1, 1)), replace(grid, file=str(tmp_path / "off.gpkg")), "f", "b", "g")


AREA = (600010, 699000, 600600, 699990)
"""Touches the tiles of `fake_results`."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The published images of six tiles of 16 px."""
    return publish(make_results(tmp_path / "made"))


def from_folder(folder: Path, target: Path, **others: object) -> None:
    grid = Grid(**{"source": "released_folder", "folder": str(folder), "tile_size": 16, "blocks": 2, **others})
    make_grid(area(AREA), grid, *(str(target / name) for name in ("f.parquet", "b.parquet", "g.json")))


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
