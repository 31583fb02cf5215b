"""The chain from the area to the composites, called as the scripts call it, for many combinations in little time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from services import Archives

from sections import Grid, asked, cache, fetching
from smallmines.archive.coverage import coverage, require_coverage
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite import elevation, sentinel1, sentinel2
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.core.files import read_json
from smallmines.grid.area import area_of
from smallmines.grid.make import make_grid

WINDOWS = {year: (dt.date(int(year), 1, 1), dt.date(int(year), 1, 31)) for year in ("2016", "2022")}
KINDS = {"s2": Sentinel2, "s1": Sentinel1, "dem": Elevation}


@dataclass
class Place:
    """A working folder of a run over the served archive."""

    folder: Path
    archives: Archives

    def settings(self, sensor: str, provider: str, **changes: Any) -> Any:
        """Settings of a sensor from a provider, asked here."""
        static = str(self.archives.root / "catalog.json")
        addresses = {name: self.archives.catalogue(name) for name in (provider, *changes.get("fallbacks", ()))} | {"static": static}
        return KINDS[sensor](provider=provider, **({"catalogue": addresses} | changes))

    def grid(self) -> Path:
        """`grid/grid.json` of the served world."""
        path = self.folder / "grid.json"
        if not path.is_file():
            aoi = gpd.read_file(self.folder / "resources/user/served/aoi.gpkg")
            make_grid(
                area_of(aoi), Grid(blocks=2), *(str(self.folder / name) for name in ("fishnet.parquet", "blocks.parquet", "grid.json"))
            )
        return path

    def search(self, sensor: str, settings: Any, year: str = "2016", archived: Path | None = None) -> dict[str, Any]:
        """The manifest of a sensor and year."""
        windows = {} if sensor == "dem" else WINDOWS if sensor == "s1" else {year: WINDOWS[year]}
        output = self.folder / f"manifests/{year}/{sensor}.json"
        search(sensor, year, windows, asked(settings), self.grid(), output, archived)
        return dict(read_json(output))

    def cover(self, settings: Mapping[str, Any], year: str = "2016", minimum: float = 0.99) -> dict[str, Any]:
        """Coverage of the manifests that are there, required."""
        manifests = {f"{year}/{sensor}": self.folder / f"manifests/{year}/{sensor}.json" for sensor in settings}
        output = self.folder / "coverage.json"
        coverage(manifests, self.grid(), cache("pixels"), {sensor: fetching(one) for sensor, one in settings.items()}, output)
        require_coverage(output, minimum, self.folder / "sufficient.json")
        return dict(read_json(output))

    def fetch(self, sensor: str, settings: Any, year: str = "2016", block: str = "1") -> Path:
        """Bring a block's pixels."""
        output = self.folder / f"fetched/{year}/{block}/{sensor}.json"
        fetch(sensor, block, self.grid(), self.folder / f"manifests/{year}/{sensor}.json", cache("pixels"), fetching(settings), output)
        return output

    def composite(self, sensor: str, settings: Any, year: str = "2016", block: str = "1") -> Path:
        """Search, fetch and composite; the image."""
        self.search(sensor, settings, year)
        fetched = self.fetch(sensor, settings, year, block)
        image, stats = self.folder / f"{sensor}-{year}-{block}.tif", self.folder / f"{sensor}-{year}-{block}.json"
        outputs = {"image": image, "source": self.folder / "source.tif", "clear_mask": self.folder / "clear.tif", "stats": stats}
        composite = {"s2": sentinel2, "s1": sentinel1, "dem": elevation}[sensor].composite
        composite(block, self.grid(), fetched, settings, outputs)
        return image


def pixels(path: Path) -> np.ndarray:
    """All bands of a raster."""
    with rasterio.open(path) as source:
        return np.asarray(source.read())


def tags(path: Path) -> dict[str, str]:
    """Tags of a raster."""
    with rasterio.open(path) as source:
        return dict(source.tags())
