"""Footprints: what can be used, what is repaired, and what they cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_builder import grid
from smallmines.sensors.footprint import footprint_of, pixels_under, problem_of, repaired, share_under, touches

AREA = grid(600000, 700000, (64, 64))
AROUND = footprint_of(grid(599000, 701000, (300, 300)))
AWAY = {"type": "Polygon", "coordinates": [[[100, 60], [101, 60], [101, 61], [100, 61], [100, 60]]]}


def polygon(*points: Any, kind: str = "Polygon") -> dict[str, Any]:
    return {"type": kind, "coordinates": [[list(point) for point in points]]}


def test_the_outline_of_a_grid_is_its_footprint() -> None:
    outline = footprint_of(AREA)
    assert problem_of(outline) is None
    assert outline["coordinates"][0][0] == [-2.0958828, 6.332074], "by pyproj"
    assert share_under(outline, AREA) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("footprint", "problem"),
    [
        (None, "none"),
        ([], "a list"),
        ({"type": "Point", "coordinates": [0, 0]}, "a Point"),
        ({"type": "Polygon"}, "coordinates that are no numbers"),
        ({"type": "Polygon", "coordinates": []}, "a Polygon without an area"),
        ({"type": "MultiPolygon", "coordinates": []}, "a MultiPolygon without an area"),
        (polygon((0, 0), (1, 0), (2, 0), (0, 0)), "a Polygon without an area"),
        (polygon((0, 0), (1, 0)), "a broken Polygon"),
        (polygon((0, 0), (1, float("inf")), (1, 1), (0, 0)), "coordinates that are no numbers"),
        (polygon((0, 0), (1, True), (1, 1), (0, 0)), "coordinates that are no numbers"),
        (polygon((0, 0), (999, 0), (999, 1), (0, 0)), "coordinates beyond the globe"),
        (polygon((0, 0), (1, 0), (1, 91), (0, 0)), "coordinates beyond the globe"),
        (polygon((0, 0), (1, 0), (1, 1), (0, 0), kind="MultiPolygon"), "a broken MultiPolygon"),
    ],
)
def test_what_cannot_be_a_footprint_is_named(footprint: Any, problem: str) -> None:
    assert str(problem_of(footprint)).startswith(problem)


def test_a_bow_tie_becomes_two_triangles() -> None:
    bow = polygon((0, 0), (2, 2), (2, 0), (0, 2), (0, 0))
    assert problem_of(bow) is None
    mended = repaired(bow)
    assert mended["type"] == "MultiPolygon"
    assert shapely.geometry.shape(mended).area == pytest.approx(2)
    assert repaired(AROUND) is AROUND


def test_places_near_and_far() -> None:
    assert touches(None, AREA)
    assert touches(AROUND, AREA)
    assert not touches(AWAY, AREA)
    assert pixels_under(AROUND, AREA).all()
    assert not pixels_under(AWAY, AREA).any()
    half = footprint_of(grid(599000, 701000, (300, 132)))
    assert pixels_under(half, AREA).mean(axis=0).tolist() == [1.0] * 32 + [0.0] * 32
    assert share_under(half, AREA) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "globe",
    [
        polygon((-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)),
        polygon((-180, -60), (180, -60), (180, 60), (-180, 60), (-180, -60)),
        polygon((-20, -40), (40, -40), (40, 40), (-20, 40), (-20, -40)),
    ],
)
def test_a_footprint_of_continents_covers_the_area(globe: dict[str, Any]) -> None:
    assert touches(globe, AREA)
    assert pixels_under(globe, AREA).all()
    assert share_under(globe, AREA) == 1.0


W, E, N, S = 179.95, 180.05, -16.85, -16.95


@pytest.mark.parametrize(
    "footprint",
    [
        polygon((W, S), (E, S), (E, N), (W, N), (W, S)),
        polygon((W - 360, S), (E - 360, S), (E - 360, N), (W - 360, N), (W - 360, S)),
        polygon((E - 360, S), (W, S), (W, N), (E - 360, N), (E - 360, S)),
    ],
)
def test_footprints_across_the_antimeridian(footprint: dict[str, Any]) -> None:
    """Beyond 180°, beyond −180°, and wound round the globe."""
    area = grid(819560, 8129100, (64, 64), crs="EPSG:32760")
    assert touches(footprint, area)
    assert pixels_under(footprint, area).all()


NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-200, 200) | st.none() | st.text(max_size=2)
RING = st.lists(st.lists(NUMBER, max_size=3), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Polygon", "MultiPolygon", "Point"]), "coordinates": st.lists(RING | NUMBER, max_size=3)}
    )
)
def test_any_geometry_is_refused_or_covers_a_share(footprint: dict[str, Any]) -> None:
    if problem_of(footprint) is None:
        mended = repaired(footprint)
        assert problem_of(mended) is None
        assert 0 <= share_under(mended, AREA) <= 1.000001
        assert pixels_under(mended, AREA).dtype == np.bool_


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=3, max_size=7))
def test_any_polygon_on_the_globe_is_usable(points: list[tuple[float, float]]) -> None:
    footprint = polygon(*points, points[0])
    if problem_of(footprint) is None:
        mended = repaired(footprint)
        assert 0 <= share_under(mended, AREA) <= 1.000001
        assert touches(mended, AREA) in (True, False)
        if pixels_under(mended, AREA).any():
            assert touches(mended, AREA)
