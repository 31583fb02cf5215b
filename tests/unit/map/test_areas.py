"""Areas by unit: against counts by hand, estimates against the formula written out and against simulated truths, and wrong layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from numpy.typing import NDArray

from fake_results import YEAR, make_grid
from smallmines.config.map import Map
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.grid.lattice import Lattice
from smallmines.labels.event_files import Event, write_events
from smallmines.map.areas import MEANINGS, areas, areas_schema, write_areas
from smallmines.map.estimates import domain_estimate, domain_total, no_points, samples_of_years
from smallmines.map.units import Unit, aoi_units, layer_units, layers_of, whole_run
from smallmines.segment.features import splitmix64

CRS = "EPSG:32630"
WEST, NORTH = 600000, 700000


def lattice_of(folder: Path, side: int = 16) -> Lattice:
    """Two rows of tiles; block 1 in the west, block 2 in the east; no tile in the second place of the upper row."""
    return make_grid(folder, side)


def box(left: float, top: float, width: float, height: float) -> shapely.Polygon:
    """Return a rectangle by column, row, width and height in pixels from the north-west corner of the lattice."""
    return shapely.box(WEST + 10 * left, NORTH - 10 * (top + height), WEST + 10 * (left + width), NORTH - 10 * top)


def write_layer(path: Path, names: Sequence[object], shapes: Sequence[shapely.Geometry], attribute: str = "name") -> str:
    gpd.GeoDataFrame({attribute: list(names)}, geometry=list(shapes), crs=CRS).to_file(path)
    return str(path)


def table_of(
    lattice: Lattice, folder: Path, mask: NDArray[np.uint8], units: Sequence[Unit], points: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the areas of the units of one layer, by unit."""
    path = folder / f"map/{YEAR}/mask.tif"
    raster.write(path, mask, lattice.geobox, 255, ["mining"])
    table = areas([units], {YEAR: str(path)}, {YEAR: no_points() if points is None else points}, lattice)
    return table.set_index("unit")


def test_areas_are_the_counts_of_pixels_by_centre(tmp_path: Path) -> None:
    """A unit of 7.4 × 5.6 px has the pixels whose centres it holds; the cell without a tile counts nowhere."""
    lattice = lattice_of(tmp_path)
    mask = np.where(np.kron(tiles(lattice), np.ones((16, 16))) > 0, 0, 255).astype(np.uint8)
    mask[20:23, 2:6] = 1
    mask[24, 4:9] = 255
    units = [
        Unit("a", "whole tile", box(0, 0, 16, 16)),
        Unit("a", "by centres", box(2.3, 19.6, 7.4, 5.6)),  # columns 2 to 9, rows 20 to 24
        Unit("a", "half outside", box(8, 0, 16, 16)),  # reaches into the empty cell
        Unit("a", "elsewhere", box(500, 500, 3, 3)),
    ]
    table = table_of(lattice, tmp_path, mask, units)
    assert table.loc["whole tile", ["area_ha", "mapped_ha", "unmapped_ha"]].tolist() == [2.56, 0, 0]
    assert table.loc["by centres", ["area_ha", "mapped_ha", "unmapped_ha"]].tolist() == [0.4, 0.12, 0.05]
    assert table.loc["half outside", "area_ha"] == 1.28
    assert "elsewhere" not in table.index
    assert table.loc["whole tile", "overlap_ha"] == table.loc["half outside", "overlap_ha"] == 1.28
    assert table.loc["by centres", "overlap_ha"] == 0
    assert set(table["why"]) == {"no accuracy sample"}
    assert table[["mining_ha", "low", "high"]].isna().all(axis=None)


def tiles(lattice: Lattice) -> NDArray[np.int64]:
    """Return the block of each cell, 0 without a tile."""
    cells = np.zeros([length // lattice.tile_size for length in lattice.geobox.shape], int)
    for tile in lattice.tiles:
        cells[tile.row, tile.col] = int(tile.block)
    return cells


def test_odd_shapes_are_as_points_in_polygons(tmp_path: Path) -> None:
    """A star with a hole over several strips and blocks, against each pixel's centre in the polygon."""
    lattice = lattice_of(tmp_path, side=200)
    height, width = lattice.geobox.shape
    turn = np.linspace(0, 2 * np.pi, 15)[:-1]
    far = np.where(np.arange(14) % 2, 60, 190)
    star = shapely.Polygon(np.column_stack([WEST + 10 * (400.2 + 2 * far * np.cos(turn)), NORTH - 10 * (201.7 + far * np.sin(turn))]))
    star = star.difference(box(380, 190, 30, 30))
    mask = (np.random.default_rng(1).random((height, width)) < 0.1).astype(np.uint8)
    table = table_of(lattice, tmp_path, mask, [Unit("a", "star", star)])
    x, y = np.meshgrid(WEST + 10 * (np.arange(width) + 0.5), NORTH - 10 * (np.arange(height) + 0.5))
    within = shapely.contains_xy(star, x.ravel(), y.ravel()).reshape(mask.shape)
    within &= np.kron(tiles(lattice), np.ones((200, 200), int)) > 0
    assert table.loc["star", "area_ha"] == round(int(within.sum()) / 100, 4)
    assert table.loc["star", "mapped_ha"] == round(int((mask[within] == 1).sum()) / 100, 4)


def design(counts: Sequence[tuple[str, int, int, int, int]]) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return points and which are inside, from (stratum, pixels, reference, inside, number) each."""
    table = pd.DataFrame(counts, columns=["stratum", "pixels", "reference", "inside", "number"])
    table = table.loc[table.index.repeat(table["number"])].reset_index(drop=True)
    block = table["stratum"].str.partition("/")[0]
    return table.assign(block=block, row=0, col=0), table["inside"].to_numpy(bool)


def test_the_estimate_is_that_of_a_domain_in_a_stratified_sample() -> None:
    """Cochran 1977, section 5A.14, written out for two strata of one block; the other block's strata have no part in it."""
    points, inside = design(
        [
            ("1/0", 1000, 0, 1, 20),
            ("1/0", 1000, 1, 1, 2),
            ("1/0", 1000, 0, 0, 18),
            ("1/0", 1000, -1, 1, 3),  # nobody knows
            ("1/4", 60, 1, 1, 9),
            ("1/4", 60, 1, 0, 6),
            ("1/4", 60, 0, 1, 5),
            ("2/0", 500, 1, 0, 1),  # one point only
        ]
    )
    estimate = domain_estimate(points, inside, ["1"])
    assert (estimate.points, estimate.mining_points, estimate.why) == (36, 11, "")
    assert estimate.pixels is not None
    value = 1000 * 2 / 40 + 60 * 9 / 20
    variance = 1000**2 * (1 - 40 / 1000) / 40 * (40 / 39 * 0.05 * 0.95) + 60**2 * (1 - 20 / 60) / 20 * (20 / 19 * 0.45 * 0.55)
    half = 1.959964 * np.sqrt(variance)
    assert estimate.pixels.high - estimate.pixels.low == pytest.approx(2 * half, rel=0.1), "about as wide as a normal one"
    assert value - half < estimate.pixels.low < value < value + half < estimate.pixels.high, "and farther up: shares are skewed"
    assert domain_estimate(points, inside, ["1", "2"]).why == "fewer than 2 interpreted points in 1 of 3 strata"
    assert domain_estimate(points, inside, ["1", "3"]).why == "no accuracy sample in block 3"


def test_no_more_mining_than_the_unit_is_large(tmp_path: Path) -> None:
    """20 points of a stratum of 1500 px fall into a unit of 20 px by chance, all mining: a sixth of the stratum is more than the unit."""
    lattice = lattice_of(tmp_path)
    row, col = np.divmod(np.r_[np.arange(20), 300 + np.arange(100)], 20)
    points = pd.DataFrame({"block": "1", "stratum": "1/0", "pixels": 1500, "reference": [1] * 20 + [0] * 100, "row": row + 16, "col": col})
    unit = box(0, 16, 20, 1)
    table = table_of(lattice, tmp_path, np.zeros(lattice.geobox.shape, np.uint8), [Unit("a", "x", unit)], points)
    assert table.loc["x", "mining_points"] == 20
    assert table.loc["x", ["low", "mining_ha", "high"]].tolist() == [0.2, 0.2, 0.2]
    assert table.loc["x", "area_ha"] == 0.2


@pytest.mark.parametrize(
    ("mining", "other", "why"), [(4, 40, "too few points"), (5, 14, "too few points"), (5, 15, ""), (30, 0, "")], ids=str
)
def test_few_points_give_no_number(mining: int, other: int, why: str) -> None:
    points, inside = design([("1/0", 1000, 1, 1, mining), ("1/0", 1000, 0, 1, other), ("1/0", 1000, 1, 0, 50)])
    estimate = domain_estimate(points, inside, ["1"])
    assert (estimate.why, estimate.points, estimate.mining_points) == (why, mining + other, mining)
    assert (estimate.pixels is None) == bool(why)


def test_all_drawn_is_certain() -> None:
    """Where every pixel of a stratum is interpreted, the interval has no width."""
    points, inside = design([("1/0", 30, 1, 1, 10), ("1/0", 30, 0, 1, 20)])
    estimate = domain_estimate(points, inside, ["1"]).pixels
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((10, 10, 10))


@pytest.mark.parametrize(
    ("blocks", "omitted"),
    [pytest.param(4, 3_000, marks=pytest.mark.heavy), (1, 6_000), (1, 900)],
    ids=["a unit over four blocks", "a unit in one block", "mines that the map misses are rare"],
)
def test_intervals_hold_the_truth_in_95_of_100_draws(blocks: int, omitted: int) -> None:
    """Strata of each block: mapped as forest, near edges, mapped as mines. A draw is the number of hits in each; 1000 redraws.

    The last case has two of 120 points that show what the map misses: a normal interval holds the truth in 88 of 100.
    """
    rng = np.random.default_rng(20)
    size, drawn, hit = (np.tile(values, blocks) for values in ([60_000, 8_000, 4_000], [120, 70, 60], [omitted, 1_100, 1_000]))
    stratum = np.repeat(np.arange(len(size)), drawn)
    inside, values, draws = 0, [], 1000
    for hits in rng.hypergeometric(hit, size - hit, drawn, (draws, len(size))):
        y = np.concatenate([np.arange(number) < count for number, count in zip(drawn, hits, strict=True)])
        estimate = domain_total(y, stratum, size.astype(np.float64))
        inside += estimate.low <= hit.sum() <= estimate.high
        values.append(estimate.value)
    assert 0.93 <= inside / draws <= 0.97
    assert np.mean(values) == pytest.approx(hit.sum(), rel=0.01), "without bias"


def test_a_sample_as_people_gave_it(tmp_path: Path) -> None:
    """Drawn pixels of block 1 are looked at: those of the western half of the area are mining."""
    lattice = lattice_of(tmp_path)
    rng = np.random.default_rng(3)
    row, col = np.nonzero(np.kron(tiles(lattice) == 1, np.ones((16, 16))))
    chosen = rng.choice(len(row), 100, replace=False)
    row, col = row[chosen], col[chosen]
    x, y = lattice.geobox.transform @ (col + 0.5, row + 0.5)
    key = splitmix64(row.astype(np.uint64) * np.uint64(lattice.geobox.shape.x) + col.astype(np.uint64))
    pixels = 3 * 256
    drawn = pd.DataFrame(
        {"key": key, "x": x, "y": y, "tile_id": "0001", "stratum": 0, "pixels": pixels, "inclusion": 100 / pixels, "mapped": 0}
    )
    path = tmp_path / f"user/accuracy/{YEAR}/1.csv"
    path.parent.mkdir(parents=True)
    drawn.to_csv(path, index=False)
    events = [
        Event(
            int(YEAR),
            "1",
            int(code),
            0,
            0,
            "mining" if west else "not_mining",
            "reference",
            "A01",
            f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z",
        )
        for n, (code, west) in enumerate(zip(key, col < 8, strict=True))
    ]
    references = [str(write_events(path.with_suffix(""), events))]
    points = samples_of_years([str(path)], references, [YEAR, "2022"], lattice.geobox)
    assert (len(points[YEAR]), len(points["2022"])) == (100, 0)
    with pytest.raises(UserError, match=r"the design of an accuracy sample\n.*1 check-ins"):
        samples_of_years([], references, [YEAR, "2022"], lattice.geobox)
    mask = np.zeros(lattice.geobox.shape, np.uint8)
    table = table_of(lattice, tmp_path, mask, [Unit("a", "west", box(0, 0, 16, 32)), Unit("a", "all", box(0, 0, 64, 32))], points[YEAR])
    in_west, mining = int((col < 16).sum()), int((col < 8).sum())
    assert table.loc["west", ["points", "mining_points", "why"]].tolist() == [in_west, mining, ""]
    assert table.loc["west", "mining_ha"] == pytest.approx(pixels * mining / 100 / 100)
    assert table.loc["west", "low"] < table.loc["west", "mining_ha"] < table.loc["west", "high"]
    assert table.loc["all", ["points", "why"]].tolist() == [100, "no accuracy sample in block 2"]
    assert np.isnan(table.loc["all", "mining_ha"])
    path.write_text(path.read_text().replace(f"{x[0]:.1f}", f"{x[0] + 10:.1f}"))
    with pytest.raises(UserError, match="where their keys say"):
        samples_of_years([str(path)], references, [YEAR], lattice.geobox)


def test_the_table_of_all_layers(tmp_path: Path) -> None:
    lattice = lattice_of(tmp_path)
    aoi = write_layer(tmp_path / "aoi.gpkg", ["B", "A"], [box(0, 16, 16, 16), box(16, 16, 16, 16)])
    units = write_layer(tmp_path / "reserves.gpkg", ["r", "s", "r"], [box(0, 16, 4, 4), box(8, 16, 4, 4), box(0, 20, 4, 4)])
    layers = layers_of(aoi, [units], CRS)
    masks = {}
    for year in ("2016", "2022"):
        masks[year] = str(tmp_path / f"map/{year}/mask.tif")
        raster.write(masks[year], np.full(lattice.geobox.shape, int(year == "2022"), np.uint8), lattice.geobox, 255, ["mining"])
    write_areas(layers, masks, dict.fromkeys(masks, no_points()), lattice, tmp_path / "areas.csv")
    table = pd.read_csv(tmp_path / "areas.csv")
    assert list(table.columns) == list(MEANINGS) == list(areas_schema().columns)
    rows = table[["layer", "unit", "year", "area_ha", "mapped_ha"]].to_numpy().tolist()
    assert rows == [
        ["run", "all tiles", 2016, 15.36, 0],
        ["run", "all tiles", 2022, 15.36, 15.36],
        ["aoi", "A", 2016, 2.56, 0],
        ["aoi", "A", 2022, 2.56, 2.56],
        ["aoi", "B", 2016, 2.56, 0],
        ["aoi", "B", 2022, 2.56, 2.56],
        ["reserves", "r", 2016, 0.32, 0],
        ["reserves", "r", 2022, 0.32, 0.32],
        ["reserves", "s", 2016, 0.16, 0],
        ["reserves", "s", 2022, 0.16, 0.16],
    ]


@pytest.mark.parametrize(
    ("attribute", "names", "expected"),
    [
        ("shapeName", ["Bekwai", "Amansie"], ["Amansie", "Bekwai"]),
        ("district", ["Bekwai", "Amansie"], ["area of interest"]),
        ("name", ["Bekwai", None], ["area of interest"]),
    ],
    ids=str,
)
def test_units_of_the_area_of_interest(
    tmp_path: Path, attribute: str, names: list[object], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_layer(tmp_path / "aoi.gpkg", names, [box(0, 0, 4, 4), box(4, 0, 4, 4)], attribute)
    with caplog.at_level(logging.WARNING):
        units = aoi_units(path, CRS)
    assert [unit.name for unit in units] == expected
    unnamed = f"2 polygons of {path} are one unit: no attribute name or shapeName names them all (it has: {attribute})"
    assert caplog.messages == ([unnamed] if len(expected) == 1 else [])
    assert sum(unit.shape.area for unit in units) == pytest.approx(3200)


def test_an_attribute_with_gaps_does_not_hide_the_other_one(tmp_path: Path) -> None:
    table = {"name": ["", None], "shapeName": ["Bekwai", "Amansie"]}
    gpd.GeoDataFrame(table, geometry=[box(0, 0, 4, 4), box(4, 0, 4, 4)], crs=CRS).to_file(tmp_path / "aoi.gpkg")
    assert [unit.name for unit in aoi_units(str(tmp_path / "aoi.gpkg"), CRS)] == ["Amansie", "Bekwai"]


def test_layers_in_degrees_are_moved_to_the_grid(tmp_path: Path) -> None:
    gpd.GeoDataFrame({"name": ["a"]}, geometry=[box(0, 0, 16, 16)], crs=CRS).to_crs("EPSG:4326").to_file(tmp_path / "units.geojson")
    (unit,) = layer_units(str(tmp_path / "units.geojson"), CRS)
    assert (unit.layer, unit.name) == ("units", "a")
    assert unit.shape.symmetric_difference(box(0, 0, 16, 16)).area < 1


def test_polygons_without_an_area_are_left_out(tmp_path: Path) -> None:
    """Lines that were drawn as polygons: repaired, nothing is left of them."""
    flat = shapely.Polygon([(WEST, NORTH), (WEST + 40, NORTH - 40), (WEST, NORTH)])
    (unit,) = layer_units(write_layer(tmp_path / "units.gpkg", ["a", "b"], [flat, box(0, 0, 4, 4)]), CRS)
    assert (unit.name, unit.shape.area) == ("b", 1600)
    for units in (layer_units, aoi_units):
        with pytest.raises(UserError, match=r"polygons with an area(.|\n)*2 polygons without one"):
            units(write_layer(tmp_path / f"{units.__name__}.gpkg", ["a", "b"], [flat, flat]), CRS)


def wrong(path: Path, kind: str) -> str:
    """Write a layer that cannot be used."""
    shapes = [box(0, 0, 4, 4), box(4, 0, 4, 4)]
    if kind == "missing":
        return str(path)
    if kind == "no CRS":
        gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes).to_file(path)
        return str(path)
    if kind == "lines":
        return write_layer(path, ["a", "b"], [shape.boundary for shape in shapes])
    return write_layer(path, ["a", None] if kind == "no names" else ["a", "b"], shapes, "district" if kind == "other attribute" else "name")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "found     no such file"),
        ("no CRS", "a layer of units with a CRS"),
        ("lines", "2 features with no area: 2 lines"),
        ("no names", "1 of 2 polygons without one"),
        ("other attribute", "the attributes district"),
    ],
    ids=str,
)
def test_wrong_layers_are_refused(tmp_path: Path, kind: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        layer_units(wrong(tmp_path / "units.gpkg", kind), CRS)
    assert told in str(error.value)


def test_a_layer_elsewhere_is_refused(tmp_path: Path) -> None:
    lattice = lattice_of(tmp_path)
    with pytest.raises(UserError, match="none of 2 has a pixel there"):
        table_of(lattice, tmp_path, np.zeros(lattice.geobox.shape, np.uint8), [Unit("a", name, box(90, 0, 4, 4)) for name in "xy"])


@pytest.mark.parametrize("paths", [["a/districts.gpkg", "b/districts.shp"], ["run.gpkg"], ["x/aoi.geojson"]], ids=str)
def test_layers_need_names_of_their_own(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="stands twice"):
        Map(units=tuple(paths))
    assert Map(units=("a/districts.gpkg", "b/reserves.gpkg")).units[1] == "b/reserves.gpkg"


def test_the_whole_run_is_every_tile(tmp_path: Path) -> None:
    lattice = lattice_of(tmp_path)
    table = table_of(lattice, tmp_path, np.zeros(lattice.geobox.shape, np.uint8), whole_run())
    assert table.loc["all tiles", "area_ha"] == len(lattice.tiles) * 2.56
