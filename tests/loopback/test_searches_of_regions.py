"""What the worked examples of other countries ask a catalogue for: area, dates and collection, read by a service on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from services import Archives, Server

from sections import asked
from smallmines.archive.search import search
from smallmines.core.errors import UserError
from smallmines.grid.area import area_of
from smallmines.grid.make import make_grid
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of
from worked_regions import PLACES, YEARS, config_of, stand_in

pytestmark = pytest.mark.loopback

COLLECTIONS = {("s2", "cdse"): "sentinel-2-l2a", ("s1", "planetary_computer"): "sentinel-1-rtc"}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Archives]:
    """Catalogues without items."""
    archives = Archives(tmp_path / "archive")
    for (_, provider), collection in COLLECTIONS.items():
        archives.collections[provider] = {collection: []}
    server = Server(archives)
    archives.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield archives
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("run", PLACES)
def test_a_search_asks_for_the_area_and_the_dry_season(run: str, empty: Archives, tmp_path: Path) -> None:
    config = config_of(run)
    area = stand_in(run, tmp_path / "area.geojson", size=0.3)
    grid = settings_of(config.grid.model_copy(update={"blocks": 1}), Grid)
    make_grid(area_of(area), grid, *(str(tmp_path / name) for name in ("fishnet.parquet", "blocks.parquet", "grid.json")))
    windows = {str(year): (epoch.start, epoch.end) for year, epoch in config.years.items()}
    of_searches = {"s2": {YEARS[0]: windows[YEARS[0]]}, "s1": windows}
    _, _, _, (first, last) = PLACES[run]
    for (sensor, provider), collection in COLLECTIONS.items():
        section = {"s2": config.sentinel2, "s1": config.sentinel1}[sensor]
        assert section.provider == provider
        settings = asked(section.model_copy(update={"catalogue": {provider: empty.catalogue(provider)}}))
        empty.searches.clear()
        with pytest.raises(UserError):  # the catalogue has nothing
            search(sensor, YEARS[0], of_searches[sensor], settings, tmp_path / "grid.json", tmp_path / "manifest.json")
        assert [request["datetime"] for request in empty.searches] == [
            f"{year}-{first}T00:00:00Z/{year}-{last}T23:59:59Z" for year in of_searches[sensor]
        ]
        assert {tuple(request["collections"]) for request in empty.searches} == {(collection,)}
        (hull,) = {shapely.geometry.shape(request["intersects"]) for request in empty.searches}
        outline = area.union_all()
        assert hull.buffer(1e-6).covers(outline)
        tile = 1280 / 110_000
        assert outline.buffer(2 * tile).covers(hull)
