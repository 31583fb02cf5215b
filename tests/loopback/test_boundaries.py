"""Administrative boundaries from a service on loopback, through the real HTTP client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas as gpd
import pytest

from sections import Boundaries
from smallmines.core.errors import UserError
from smallmines.grid.boundaries import download_boundaries

pytestmark = [pytest.mark.loopback, pytest.mark.heavy]

PATH = "/raw/9469f09/releaseData/gbOpen/GHA/ADM2/geoBoundaries-GHA-ADM2.geojson"


def unit(name: str, west: float) -> dict[str, object]:
    ring = [[west, 6.0], [west + 0.1, 6.0], [west + 0.1, 6.1], [west, 6.1], [west, 6.0]]
    return {"type": "Feature", "properties": {"shapeName": name, "shapeID": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


class Service(ThreadingHTTPServer):
    """Answers `PATH`; the first `faults` requests get a 503."""

    faults = 0
    body = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        faulty = len(self.server.asked) <= self.server.faults
        status = 503 if faulty else 200 if self.path == PATH else 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.server.body) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    features = [unit("Amansie West", -2.0), unit("Bekwai Municipal", -1.7), unit("Bibiani-Anhwiaso-Bekwai Municipal", -2.4)]
    server.body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def settings(service: Service, *names: str, **changes: str) -> Boundaries:
    return Boundaries(source="geoboundaries", names=names, base_url=f"http://127.0.0.1:{service.server_port}/raw", **changes)


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
