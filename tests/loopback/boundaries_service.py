"""A geoBoundaries on loopback: one layer of Ghana's districts, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/raw/9469f09/releaseData/gbOpen/GHA/ADM2/geoBoundaries-GHA-ADM2.geojson"


class Boundaries(ThreadingHTTPServer):
    """Answers `PATH`; the first `faults` requests get a 503.

    Attributes:
        asked: paths of all requests.
    """

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.faults = body, 0
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """Value of `aoi.base_url`."""
        return f"http://127.0.0.1:{self.server_port}/raw"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Boundaries

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


def unit(name: str, geometry: Any) -> dict[str, Any]:
    """Return a district as a feature; the geometry is in degrees."""
    return {"type": "Feature", "properties": {"shapeName": name, "shapeID": name}, "geometry": geometry.__geo_interface__}


@contextmanager
def serving(units: Sequence[dict[str, Any]]) -> Iterator[Boundaries]:
    """Run the service with some districts."""
    server = Boundaries(json.dumps({"type": "FeatureCollection", "features": list(units)}).encode())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
