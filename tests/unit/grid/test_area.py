"""Areas of interest as people have them: several layers, broken and mixed geometries, heights, wrong coordinates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from shapely.geometry import mapping

from smallmines.core.errors import UserError
from smallmines.grid.area import Area, area_of, read_area
from smallmines.grid.make import polygon

UTM = "EPSG:32630"
NORTH, SOUTH = shapely.box(600000, 704000, 606000, 708000), shapely.box(600000, 696000, 606000, 700000)
"""Two areas of 24 km²."""

BOW_TIE = shapely.Polygon([(600000, 700000), (606000, 704000), (606000, 700000), (600000, 704000)])
"""Crosses itself: two triangles of 6 km² each."""


def frame(*shapes: Any, crs: str = UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": [f"n{number}" for number in range(len(shapes))]}, geometry=list(shapes), crs=crs)


def km2(area: Area) -> float:
    return round(float(polygon(area.table, UTM).area) / 1e6, 3)


def read(path: Path) -> Area:
    return read_area([str(path)], str(path), "resources/user/x")


def kml(path: Path, folders: dict[str, list[Any]]) -> Path:
    """Write a KML with folders of placemarks, as Google Earth saves them."""

    def placemark(shape: Any) -> str:
        shape = gpd.GeoSeries([shape], crs=UTM).to_crs(4326)[0]
        text = " ".join(f"{x},{y},0" for x, y in (shape.exterior if shape.geom_type == "Polygon" else shape).coords)
        coordinates = f"<coordinates>{text}</coordinates>"
        polygon_text = f"<Polygon><outerBoundaryIs><LinearRing>{coordinates}</LinearRing></outerBoundaryIs></Polygon>"
        return f"<Placemark>{polygon_text if shape.geom_type == 'Polygon' else f'<Point>{coordinates}</Point>'}</Placemark>"

    body = "".join(f"<Folder><name>{name}</name>{''.join(map(placemark, shapes))}</Folder>" for name, shapes in folders.items())
    path.write_text(f'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{body}</Document></kml>')
    return path


# --- layers --------------------------------------------------------------------------------------------------------------------


def test_layers_with_polygons_are_refused_by_name(tmp_path: Path) -> None:
    frame(NORTH).to_file(tmp_path / "two.gpkg", layer="north")
    frame(SOUTH).to_file(tmp_path / "two.gpkg", layer="south")
    for path in (tmp_path / "two.gpkg", kml(tmp_path / "two.kml", {"north": [NORTH], "south": [SOUTH]})):
        with pytest.raises(UserError, match=r"one layer with polygons in .*two") as caught:
            read(path)
        assert caught.value.found == "north, south"


def test_folders_of_one_name_are_two_layers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one layer with polygons"):
        read(kml(tmp_path / "two.kml", {"area": [NORTH], "area ": [SOUTH], "points": [NORTH.centroid]}))


def test_a_layer_of_points_or_a_table_beside_the_polygons_is_left_out_and_told(tmp_path: Path) -> None:
    for path in (tmp_path / "a.gpkg", kml(tmp_path / "a.kml", {"pins": [SOUTH.centroid, NORTH.centroid], "area": [NORTH]})):
        if path.suffix == ".gpkg":
            frame(SOUTH.centroid, NORTH.centroid).to_file(path, layer="pins")
            frame(NORTH).to_file(path, layer="area")
            gpd.pd.DataFrame({"a": [1]}).pipe(gpd.GeoDataFrame).to_file(path, layer="notes")
        area = read(path)
        assert km2(area) == 24
        assert [remark.found for remark in area.remarks] == ["2 points in the layer pins beside 1 polygon: left out"]


# --- geometries ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "size", "words"),
    [
        ([BOW_TIE], 12, "1 of 1 polygons, whose outlines cross themselves: repaired"),
        ([BOW_TIE, shapely.box(603000, 698000, 609000, 702000)], 33, "1 of 2 polygons"),
        ([shapely.MultiPolygon([NORTH, shapely.box(603000, 706000, 609000, 710000)])], 42, "1 of 1 polygons"),
        (
            [shapely.Polygon(SOUTH.exterior.coords, [shapely.box(601000, 697000, 608000, 699000).exterior.coords])],
            18,
            "1 of 1 polygons",
        ),
    ],
)
def test_polygons_are_repaired_before_anything_else(tmp_path: Path, shapes: list[Any], size: float, words: str) -> None:
    frame(*shapes).to_file(tmp_path / "a.gpkg")
    area = read(tmp_path / "a.gpkg")
    assert km2(area) == size
    assert words in area.remarks[0].found
    assert area.table.geometry.is_valid.all()


def test_points_and_lines_beside_polygons_are_left_out_and_told(tmp_path: Path) -> None:
    line = shapely.LineString([(0, 0), (5e5, 5e5)])
    collection = shapely.GeometryCollection([SOUTH, line, shapely.GeometryCollection([shapely.Point(0, 0), NORTH])])
    cases: list[tuple[list[Any], float, str]] = [
        ([NORTH, shapely.Point(0, 0)], 24, "1 point beside 1 polygon: left out"),
        (
            [NORTH, line, line, shapely.MultiPoint([(0, 0), (1, 1)]), None, SOUTH],
            48,
            "1 feature without geometry, 2 lines, 1 point beside 2 poly",
        ),
        ([collection], 48, "parts of 1 of the collections beside 1 polygon: left out"),
        ([collection, line], 48, "1 line, parts of 1 of the collections beside 1 polygon"),
        ([NORTH, shapely.Polygon()], 24, "1 feature without geometry"),
    ]
    for number, (shapes, size, words) in enumerate(cases):
        path = tmp_path / f"{number}.parquet"
        frame(*shapes).to_parquet(path)
        area = read(path)
        assert km2(area) == size
        assert words in area.remarks[0].found, "told"
        bounds = area.table.to_crs(4326).total_bounds
        assert (area.west, area.north) == (bounds[0], bounds[3]), "what is left out does not count"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([shapely.LineString([(0, 0), (1e5, 1e5)]), shapely.Point(0, 0)], "2 features with no area: 1 line, 1 point"),
        ([None], "1 features with no area: 1 feature without geometry"),
        ([shapely.GeometryCollection([shapely.Point(0, 0)])], "1 collection without polygons"),
        ([shapely.Polygon([(600000, 700000), (600000, 700000), (600000, 700000)])], "0 m² in"),
        ([shapely.Polygon([(600000, 700000), (600100, 700000), (600200, 700000)])], "0 m² in"),
        ([shapely.from_wkt("POLYGON ((600000 700000, 600100 NaN, 600200 700100, 600000 700000))")], "no finite numbers"),
        ([shapely.from_wkt("POLYGON ((600000 700000, 600100 Infinity, 600200 700100, 600000 700000))")], "no finite numbers"),
        ([], "no features"),
    ],
)
def test_areas_without_an_area(tmp_path: Path, shapes: list[Any], words: str) -> None:
    frame(*shapes).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a.parquet")
    assert words in caught.value.found


def test_heights_and_measures_are_left_out(tmp_path: Path) -> None:
    frame(shapely.force_3d(NORTH, 300)).to_file(tmp_path / "z.gpkg")
    ring = ", ".join(f"{x} {y} 300 7" for x, y in NORTH.exterior.coords)
    (tmp_path / "zm.csv").write_text(f'WKT,name\n"POLYGON ZM (({ring}))",a\n')
    area = read(tmp_path / "z.gpkg")
    assert km2(area) == 24
    assert not area.table.geometry.has_z.any()
    assert area.remarks == ()
    with pytest.raises(UserError, match="an AOI with a CRS"):
        read(tmp_path / "zm.csv")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(600000, 610000), st.integers(700000, 710000)), min_size=3, max_size=9, unique=True))
def test_any_ring_is_repaired_or_refused(corners: list[tuple[int, int]]) -> None:
    """The repaired area is that of the even-odd rule, whatever way the ring crosses itself."""
    ring = shapely.Polygon(corners)
    expected = shapely.make_valid(ring).area
    if expected < 200:
        with pytest.raises(UserError):
            area_of(frame(ring))
    else:
        area = area_of(frame(ring))
        assert polygon(area.table, UTM).area == pytest.approx(expected, rel=1e-9)
        assert (len(area.remarks) == 1) == (not ring.is_valid)


# --- coordinates ---------------------------------------------------------------------------------------------------------------


def geojson(path: Path, shape: Any) -> Path:
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": mapping(shape)}]})
    )
    return path


def test_metres_and_exchanged_axes_in_a_file_of_degrees(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"longitudes and latitudes in .*m\.geojson") as caught:
        read(geojson(tmp_path / "m.geojson", NORTH))
    assert caught.value.found == "x from 600000 to 606000, y from 704000 to 708000"
    with pytest.raises(UserError, match="exchange longitude and latitude") as caught:
        read(geojson(tmp_path / "swapped.geojson", shapely.box(-1.5, 113, -1.3, 113.2)))  # Kalimantan
    with pytest.raises(UserError, match="180° of longitude"):
        read(geojson(tmp_path / "globe.geojson", shapely.box(-180, -60, 180, 60)))


@pytest.mark.parametrize("suffix", ["shp", "gpkg", "fgb", "parquet"])
def test_an_area_of_unknown_datum_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    crs = "EPSG:4019"
    shapes = frame(shapely.box(-2, 6, -1.9, 6.1), crs=crs)
    if suffix == "parquet":
        shapes.to_parquet(path)
    else:
        shapes.to_file(path)
    with pytest.raises(UserError, match="no transformation") as caught:
        read(path)
    assert str(path) in caught.value.found
    assert "Unknown datum based upon the GRS 1980 ellipsoid" in caught.value.found


def test_a_prj_file_without_a_datum(tmp_path: Path) -> None:
    frame(NORTH).to_file(tmp_path / "a.shp")
    unknown = CRS("+proj=tmerc +lat_0=4.66666666666667 +lon_0=-1 +k=0.99975 +x_0=274319.51 +y_0=0 +ellps=clrk80 +units=m")
    (tmp_path / "a.prj").write_text(unknown.to_wkt("WKT1_ESRI"))
    with pytest.raises(UserError, match="no transformation"):
        read(tmp_path / "a.shp")
    (tmp_path / "a.prj").unlink()
    with pytest.raises(UserError, match="an AOI with a CRS"):
        read(tmp_path / "a.shp")


@pytest.mark.parametrize("crs", ["EPSG:25000", "EPSG:2136", "EPSG:4250", "EPSG:32630", "EPSG:3857", "EPSG:32631", "EPSG:4979"])
def test_an_area_in_any_crs_of_a_known_datum(tmp_path: Path, crs: str) -> None:
    frame(NORTH).to_crs(crs).to_file(tmp_path / "a.gpkg")
    area = read(tmp_path / "a.gpkg")
    assert km2(area) == pytest.approx(24, abs=0.01)
    assert area.remarks == ()


def test_damaged_files(tmp_path: Path) -> None:
    for name in ("a.gpkg", "a.parquet", "a.geojson", "a.shp", "a.kml", "a.fgb"):
        (tmp_path / name).write_bytes(b"no vector file\n")
        with pytest.raises(UserError, match=f"an area of interest GDAL can read at .*{name}") as caught:
            read(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 3
