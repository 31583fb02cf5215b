"""Conversion between CRS: exact where PROJ knows the way, refused where it would guess."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from smallmines.core.crs import DEGREES, horizontal, reproject, reproject_shapes, transformer
from smallmines.core.errors import UserError

GHANA = "+proj=tmerc +lat_0=4.66666666666667 +lon_0=-1 +k=0.99975 +x_0=274319.51 +y_0=0 +ellps=clrk80 +units=m +no_defs"
"""Ghana's metre grid without its datum, as old files state it: 300 m off where the datum is guessed."""

ENGINEERING = 'LOCAL_CS["site grid",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        (GHANA, "Unknown"),
        ("EPSG:4019", "Unknown datum based upon the GRS 1980 ellipsoid"),
        ("EPSG:4001", "Unknown datum based upon the Airy 1830 ellipsoid"),
        ("+proj=utm +zone=30 +ellps=WGS84 +units=m", "Unknown based on WGS 84 ellipsoid"),
        (ENGINEERING, "site grid"),
        ("EPSG:5773", "EGM96 height"),
        ("IAU_2015:30100", "Moon"),
    ],
)
def test_a_datum_that_nobody_knows_is_refused_by_name(crs: str, name: str) -> None:
    points = gpd.GeoSeries([shapely.Point(1, 2)], crs=crs)
    for target in (DEGREES, "EPSG:32630"):
        with pytest.raises(UserError) as caught:
            reproject(points, target, "aoi.gpkg")
        assert caught.value.found.startswith("aoi.gpkg: ")
        assert name in caught.value.found
        assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("code", [2136, 25000, 4250, 4168, 25830, 31979, 24878, 21036])
def test_datums_with_a_transformation_that_needs_no_grid_file(code: int) -> None:
    """Accra, Leigon, ETRS89, SIRGAS 2000, PSAD56 and Arc 1960: there and back gives the place."""
    crs = f"EPSG:{code}"
    use = CRS(crs).area_of_use
    assert use is not None
    longitude, latitude = (use.west + use.east) / 2, (use.south + use.north) / 2
    there = transformer(DEGREES, crs).transform(longitude, latitude)
    assert np.isfinite(there).all()
    np.testing.assert_allclose(transformer(crs, DEGREES).transform(*there), (longitude, latitude), atol=1e-8)


def test_the_shift_of_a_known_datum_is_made() -> None:
    """The same numbers on Ghana's metre grid and on a copy without a datum lie 300 m apart; the first is converted by Helmert."""
    x, y = transformer("EPSG:25000", "EPSG:32630").transform(200000.0, 200000.0)
    guessed = Transformer.from_crs(GHANA, "EPSG:32630", always_xy=True).transform(200000.0, 200000.0)
    assert 250 < np.hypot(x - guessed[0], y - guessed[1]) < 400


@settings(max_examples=50, deadline=None)
@given(st.floats(-8, 4), st.floats(-60, 70))
def test_numbers_are_those_of_geopandas(longitude: float, latitude: float) -> None:
    frame = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(longitude, latitude, longitude + 0.1, latitude + 0.1)], crs=DEGREES)
    for crs in ("EPSG:32630", "EPSG:25830", "EPSG:6933", "OGC:CRS84"):
        assert reproject(frame, crs).equals(frame.to_crs(crs))


def test_frames_keep_names_columns_and_missing_geometries() -> None:
    frame = gpd.GeoDataFrame(
        {"name": ["a", "b"], "place": [shapely.Point(-2, 6, 300), None]}, geometry="place", crs="EPSG:9518", index=[7, 3]
    )
    moved = reproject(frame, "EPSG:32630")
    assert moved.geometry.name == "place"
    assert moved.index.tolist() == [7, 3]
    assert moved["name"].tolist() == ["a", "b"]
    assert moved.crs == CRS("EPSG:32630")
    assert not moved.geometry.iloc[0].has_z
    assert moved.geometry.iloc[1] is None
    assert frame.geometry.iloc[0].has_z, "the original stays"


@pytest.mark.parametrize(("crs", "code"), [("EPSG:32630+5773", 32630), ("EPSG:4979", 4326), ("EPSG:9518", 4326), ("EPSG:32630", 32630)])
def test_heights_are_left_out_of_a_crs(crs: str, code: int) -> None:
    assert horizontal(crs).equals(CRS(code))


@pytest.mark.parametrize("crs", ["EPSG:abc", "", "nothing", "EPSG:999999"])
def test_texts_that_are_no_crs(crs: str) -> None:
    with pytest.raises(UserError, match="a CRS that PROJ knows"):
        transformer(crs, DEGREES)


def test_coordinates_without_a_place_are_refused() -> None:
    shapes = [shapely.Point(-2, 6), shapely.Point(6, 91)]
    with pytest.raises(UserError, match=r"1 of 2 in WGS 84 have none, the first at \(6, 91\)"):
        reproject_shapes(shapes, DEGREES, "EPSG:32630")
    with pytest.raises(UserError, match="with a CRS"):
        reproject(gpd.GeoSeries(shapes), DEGREES)


def test_no_other_module_converts_by_itself(repository: Path) -> None:
    pattern = re.compile(r"\.to_crs\(|Transformer\s*\.\s*from_(crs|proj|pipeline)|import .*\bTransformer\b|pyproj\.transform")
    others = [path for path in (repository / "workflow/smallmines").rglob("*.py") if path.name != "crs.py" or path.parent.name != "core"]
    assert len(others) > 100
    assert [path.name for path in others if pattern.search(path.read_text(encoding="utf-8"))] == []
