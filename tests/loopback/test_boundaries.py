"""Administrative boundaries from a service on loopback, through the real HTTP client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from boundaries_service import PATH, serving, unit
from boundaries_service import Boundaries as Service

from sections import Boundaries
from smallmines.core.errors import UserError
from smallmines.grid.boundaries import download_boundaries

pytestmark = [pytest.mark.loopback, pytest.mark.heavy]


@pytest.fixture
def service() -> Iterator[Service]:
    names = {"Amansie West": -2.0, "Bekwai Municipal": -1.7, "Bibiani-Anhwiaso-Bekwai Municipal": -2.4}
    with serving([unit(name, shapely.box(west, 6.0, west + 0.1, 6.1)) for name, west in names.items()]) as running:
        yield running


def settings(service: Service, *names: str, **changes: str) -> Boundaries:
    return Boundaries(source="geoboundaries", names=names, base_url=service.address, **changes)


def test_named_units_are_kept_after_two_faults(service: Service, tmp_path: Path) -> None:
    service.faults = 2
    download_boundaries(settings(service, "Bekwai Municipal", "Amansie West"), str(tmp_path / "b.geojson"))
    kept = gpd.read_file(tmp_path / "b.geojson")
    assert kept["shapeName"].tolist() == ["Bekwai Municipal", "Amansie West"]
    assert kept.crs.to_epsg() == 4326
    assert service.asked == [PATH] * 3


def test_an_unknown_name_lists_candidates_and_leaves_nothing(service: Service, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Amansie West"):
        download_boundaries(settings(service, "Amansie Wst"), str(tmp_path / "b.geojson"))
    assert not list(tmp_path.iterdir())


def test_an_unknown_release_names_the_address(service: Service, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="404") as caught:
        download_boundaries(settings(service, "Amansie West", release="0000000"), str(tmp_path / "b.geojson"))
    assert "/raw/0000000/releaseData" in caught.value.expected


def test_an_answer_that_is_no_geojson(service: Service, tmp_path: Path) -> None:
    service.body = b"<html>captive portal</html>"
    with pytest.raises(UserError, match=r"aoi\.source: file"):
        download_boundaries(settings(service, "Amansie West"), str(tmp_path / "b.geojson"))
