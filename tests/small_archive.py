"""A small static archive over one block of 64 × 64 px, and its way through search, fetch and composite."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from archive_builder import ArchiveBuilder, grid, ten_bands, write_grid
from miniature.stac import corners, lonlat
from sections import asked, cache, fetching
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite import sentinel2
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS

WHOLE = grid(600000, 700000, (64, 64))
"""The area: one block of four cells."""

TILE = grid(599680, 700320, (128, 128))
"""A file around it: the area is its rows and columns 32 to 96."""

SIZE = (128, 128)
WINDOWS = {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31)), "2022": (dt.date(2022, 1, 1), dt.date(2022, 1, 31))}
SECTIONS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "s2": (Sentinel2, {"cloud_dilation_px": 0, "cloud_opening_px": 0}),
    "s1": (Sentinel1, {}),
    "dem": (Elevation, {}),
}
COLLECTIONS = {"s2": "sentinel-2-l2a", "s1": "sentinel-1-rtc", "dem": "cop-dem-glo-30"}


def clear_bands(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random digital numbers of a cloudless tile, with a scene classification."""
    return ten_bands(SIZE, seed) | {"SCL": np.full((64, 64), 4, np.uint8)}


def part(bands: Mapping[str, NDArray[Any]], rows: slice) -> dict[str, NDArray[Any]]:
    """Bands that are 0 outside some rows of 10 m (even numbers)."""
    result = {}
    for band, values in bands.items():
        scale = SIZE[0] // values.shape[0]
        kept = np.zeros_like(values)
        inside = slice(*(edge if edge is None else edge // scale for edge in (rows.start, rows.stop)))
        kept[inside] = values[inside]
        result[band] = kept
    return result


def footprint(geobox: GeoBox) -> dict[str, Any]:
    """Outline of a grid as catalogues state it."""
    return {"type": "Polygon", "coordinates": [lonlat(corners(geobox), str(geobox.crs))]}


def write_plain(path: Path, array: NDArray[Any], geobox: GeoBox, nodata: float | None, continuous: bool = True) -> None:
    """Write one band as an uncompressed GeoTIFF, much faster than a COG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"height": geobox.shape.y, "width": geobox.shape.x, "count": 1, "dtype": str(array.dtype), "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", crs=str(geobox.crs), transform=geobox.transform, **profile) as target:
        target.write(array, 1)


class SmallArchive(ArchiveBuilder):
    """An archive below `folder`/archive with a grid of one block."""

    write = staticmethod(write_plain)

    def __init__(self, folder: Path, whole: GeoBox = WHOLE) -> None:
        super().__init__(folder / "archive")
        self.root = folder
        self.grid = write_grid(folder / "grid.json", whole, 32, {"1": (0, 0, 2, 2)})

    def item(self, sensor: str, name: str) -> Path:
        """Path of an item's JSON."""
        return self.folder / COLLECTIONS[sensor] / name / f"{name}.json"

    def edit(self, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change a JSON file of the catalogue."""
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def section(self, sensor: str, **settings: Any) -> Any:
        """Section of the configuration."""
        kind, defaults = SECTIONS[sensor]
        return kind(provider="static", catalogue=str(self.folder / "catalog.json"), **(defaults | settings))

    def search(self, sensor: str = "s2", year: str = "2016", **settings: Any) -> dict[str, Any]:
        """Content of the manifest; the catalogue must be saved."""
        year = "static" if sensor == "dem" else year
        windows: dict[str, Any] = {"s2": {year: WINDOWS.get(year)}, "s1": WINDOWS, "dem": {}}[sensor]
        search(sensor, year, windows, asked(self.section(sensor, **settings)), self.grid, self.manifest(sensor))
        content: dict[str, Any] = read_json(self.manifest(sensor))
        return content

    def manifest(self, sensor: str) -> Path:
        """Path of the manifest."""
        return self.root / f"{sensor}.json"

    def fetch(self, sensor: str = "s2", **settings: Any) -> dict[str, Any]:
        """Content of the fetched list; the manifest must be there."""
        output = self.root / f"fetched-{sensor}.json"
        pixels = cache(self.root / "pixels")
        fetch(sensor, "1", self.grid, self.manifest(sensor), pixels, fetching(self.section(sensor, **settings)), output)
        content: dict[str, Any] = read_json(output)
        return content

    def image(self, **settings: Any) -> NDArray[Any]:
        """Sentinel-2 composite (band, row, column) after search and fetch."""
        self.search(**settings)
        self.fetch(**settings)
        return self.composite(**settings)

    def composite(self, **settings: Any) -> NDArray[Any]:
        """Sentinel-2 composite (band, row, column) of what is fetched."""
        outputs = {name: self.root / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {"stats": self.root / "stats.json"}
        sentinel2.composite("1", self.grid, self.root / "fetched-s2.json", composite_settings(self.section("s2", **settings)), outputs)
        with rasterio.open(outputs["image"]) as source:
            image: NDArray[Any] = source.read()
        return image


def composite_settings(section: Sentinel2) -> Any:
    """Settings of the composite from the section."""
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.sentinel2 import Sentinel2 as Settings

    return settings_of(section, Settings)


def on_the_area(bands: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Ten bands on the area (band, row, column), 20 m pixels four times."""
    wide = [np.kron(bands[band], np.ones((SIZE[0] // bands[band].shape[0],) * 2, bands[band].dtype)) for band in S2_BANDS]
    return np.stack([values[32:96, 32:96] for values in wide])


def reasons(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Reasons of rejection by id."""
    return {item["id"]: item["reason"] for item in manifest["rejected"]}


def chosen(manifest: Mapping[str, Any]) -> list[str]:
    """Ids of the chosen items in their order."""
    return [item["id"] for item in manifest["chosen"]]
