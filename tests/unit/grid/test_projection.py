"""The CRS of the grid against the area: projected, in metres, east and north, right to 1 %, of this place."""

from __future__ import annotations

import geopandas as gpd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Proj

from smallmines.core.errors import UserError
from smallmines.grid.area import Area, area_of
from smallmines.grid.projection import LARGEST_SCALE_ERROR, anchor_remarks, crs_remarks, resolution_remarks, scale_error
from smallmines.grid.utm import zone_at
from smallmines.settings.grid import Anchor


def square(longitude: float, latitude: float, half: float = 0.1) -> Area:
    box = shapely.box(longitude - half, latitude - half, longitude + half, latitude + half)
    return area_of(gpd.GeoDataFrame(geometry=[box], crs="EPSG:4326"))


GHANA, PERU = (-1.97, 6.17), (-69.95, -12.95)


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        ("EPSG:4326", "WGS 84 (Geographic 2D CRS)"),
        ("EPSG:4979", "Geographic 3D CRS"),
        ("EPSG:4978", "Geocentric CRS"),
        ("EPSG:2136", "Accra / Ghana National Grid (Projected CRS)"),  # Gold Coast feet
        ("EPSG:2263", "US survey foot"),
        ("EPSG:5773", "EGM96 height (Vertical CRS)"),
        ("EPSG:32630+5773", "Compound CRS"),
        ("EPSG:abc", "EPSG:abc"),
        ("nonsense", "nonsense"),
        ("+proj=utm +zone=30 +datum=WGS84 +units=m", "+proj=utm +zone=30"),
        ("+proj=laea +lat_0=6 +lon_0=-2 +datum=WGS84", "+proj=laea"),
        ('LOCAL_CS["site",UNIT["metre",1]]', "Engineering CRS"),
        ("EPSG:2054", "west and south"),  # Hartebeesthoek94 / Lo31
        ("EPSG:31467", "north and east"),  # Gauß-Krüger
        ("EPSG:32661", "south and south"),  # polar stereographic
        ("EPSG:32631 ", "EPSG:32631 "),
        ("EPSG:32730", "grid.crs EPSG:32730, zone 30S; the area lies around 6.17° N, 1.97° W"),
        ("EPSG:32719", "zone 19S"),
        ("EPSG:32632", "wrong by up to"),  # 11° from its meridian
        ("EPSG:32660", "there"),
        ("EPSG:5641", "Brazil"),
        ("EPSG:6933", "EASE"),
        ("ESRI:54009", "Mollweide"),
        ("EPSG:25830", "around 6.17° N, 1.97° W"),  # ETRS89 is European
        ("EPSG:23030", "around 6.17° N, 1.97° W"),  # ED50
        ("EPSG:27700", "United Kingdom"),
    ],
)
def test_what_is_no_grid_for_ghana_is_refused_with_the_right_zone(crs: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        crs_remarks(crs, square(*GHANA))
    error = caught.value
    if crs not in ("EPSG:2263", "+proj=utm +zone=30 +datum=WGS84 +units=m", "EPSG:32631 "):
        assert "set grid.crs: EPSG:32630, the UTM zone 30N of the area" in error.do
    if crs != "EPSG:2263":
        assert words in f"{error.expected} {error.found}"
    assert len(str(error).splitlines()) == 3


@pytest.mark.parametrize(
    ("crs", "place", "remarks"),
    [
        ("EPSG:32630", GHANA, []),
        ("EPSG:32719", PERU, []),
        ("EPSG:25000", GHANA, ["all pixels are resampled"]),
        ("EPSG:31979", PERU, ["all pixels are resampled"]),  # SIRGAS 2000 / UTM zone 19S
        ("EPSG:24879", PERU, ["all pixels are resampled"]),  # PSAD56 / UTM zone 19S
        ("EPSG:3857", (-1.97, 3.0), ["all pixels are resampled"]),  # 0.8 % northwards at 3° of latitude
        ("EPSG:32631", GHANA, ["zone 31N"]),
        ("EPSG:32718", PERU, ["zone 18S"]),
        ("EPSG:32719", (-72.3, -12.6), ["zone 19S"]),  # Madre de Dios reaches west of zone 19
        ("EPSG:32635", (30.05, 1.9), ["zone 35N"]),  # Ituri across 30° E
        ("EPSG:32636", (30.05, 1.9), ["zone 36N"]),
        ("EPSG:32736", (33.0, 0.5), ["zone 36S"]),  # across the equator
        ("EPSG:3460", (178.0, -17.8), ["all pixels are resampled"]),  # Fiji Map Grid, whose area of use reaches across 180°
    ],
)
def test_leaving_the_area_of_use_is_only_remarked(crs: str, place: tuple[float, float], remarks: list[str]) -> None:
    found = [remark.found for remark in crs_remarks(crs, square(*place))]
    assert len(found) == len(remarks)
    assert all(words in text for words, text in zip(remarks, found, strict=True))


def test_exchanged_axes_are_named() -> None:
    with pytest.raises(UserError) as caught:
        crs_remarks("EPSG:32630", square(GHANA[1], GHANA[0]))
    assert "set grid.crs: EPSG:32732" in caught.value.do
    assert caught.value.do.endswith("or exchange latitude and longitude in the area, which then lies in zone 30N")


def test_an_area_too_wide_for_any_zone() -> None:
    with pytest.raises(UserError, match="divide the area into several runs, one for each UTM zone; it is 40° wide"):
        crs_remarks("EPSG:32635", square(27, 0, half=20))


def test_before_the_area_is_known_only_the_kind_is_checked() -> None:
    assert crs_remarks("EPSG:32660", None) == []
    with pytest.raises(UserError, match=r"set grid\.crs to the UTM zone of the area"):
        crs_remarks("EPSG:4326", None)


@settings(max_examples=60, deadline=None)
@given(st.floats(-179.5, 179.5), st.floats(-79, 83))
def test_the_own_zone_of_every_place_is_accepted(longitude: float, latitude: float) -> None:
    area = square(longitude, latitude, half=0.2)
    zone = zone_at(*area.centre)
    assert all("all pixels" not in remark.found for remark in crs_remarks(zone.epsg, area))
    assert scale_error(zone.epsg, area) < 0.002


@settings(max_examples=60, deadline=None)
@given(st.floats(-12, 12), st.floats(-75, 75))
def test_scale_is_that_of_proj(east: float, latitude: float) -> None:
    """In a conformal projection the scale is the same in all directions; PROJ computes it analytically."""
    area = square(3 + east, latitude, half=0.01)
    crs = "EPSG:32631" if latitude >= 0 else "EPSG:32731"
    factors = Proj(crs).get_factors(*area.hull.T)
    assert scale_error(crs, area) == pytest.approx(
        abs(factors.meridional_scale - 1).max(), abs=2e-6 + 2e-3 * abs(factors.meridional_scale - 1).max()
    )


def test_the_limit_of_a_zone_is_where_its_docstring_says() -> None:
    assert (
        scale_error("EPSG:32631", square(3 + 8.1, 0, half=0.01))
        < LARGEST_SCALE_ERROR
        < scale_error("EPSG:32631", square(3 + 8.3, 0, half=0.01))
    )
    assert scale_error("EPSG:32631", square(9, 0, half=0.01)) == pytest.approx(0.0051, abs=1e-4)


def test_pixels_that_are_no_part_of_those_of_sentinel2_are_remarked() -> None:
    assert [list(resolution_remarks(resolution)) for resolution in (10.0, 5.0, 2.5, 1.0, 0.1)] == [[]] * 5
    for resolution, words in ((20.0, "without a mean"), (30.0, "without a mean"), (7.0, "repeated unevenly"), (9.99, "repeated unevenly")):
        (remark,) = resolution_remarks(resolution)
        assert remark.found.startswith(f"{resolution:g}: the bands of 10 m are resampled")
        assert words in remark.found


def test_anchors() -> None:
    bounds = (586000.0, 654000.0, 674000.0, 729000.0)
    assert list(anchor_remarks(Anchor(586600, 729640), bounds)) == []
    assert list(anchor_remarks(Anchor(486620, 729640), bounds)) == []
    (far,) = anchor_remarks(Anchor(0, 0), bounds)
    assert far.found == "x: 0, y: 0, 878 km away: perhaps that of another area"
    off, far = anchor_remarks(Anchor(386610.5, 729640), bounds)
    assert off.found == "x: 386610.5, y: 729640; all pixels of Sentinel-2 are resampled"
    assert off.do == "set grid.anchor: {x: 386600, y: 729640}"
    assert "199 km away" in far.found
