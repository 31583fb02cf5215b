"""The worked examples `config/regions/*.yaml`, and areas that stand in for the boundaries, which tests do not download."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import shapely

from smallmines.config.parse import read_config
from smallmines.config.sections import Config

FOLDER = Path(__file__).parents[1] / "config/regions"
PLACES = {
    "madre_de_dios": ("PE", "EPSG:32719", (-70.45, -13.15, -69.45, -12.65), ("07-01", "08-31")),
    "tapajos": ("BR", "EPSG:32721", (-56.3, -5.1, -55.5, -4.4), ("07-01", "08-31")),
    "kivu": ("CD", "EPSG:32735", (27.8, -3.7, 28.6, -2.8), ("06-01", "08-31")),
}
"""By run: country, CRS, bounds (west, south, east, north) in degrees of land in the units that the file names, first and last day."""
YEARS = ("2018", "2023")


def config_of(run: str) -> Config:
    """Return the shipped configuration of a region."""
    return read_config(FOLDER / f"{run}.yaml")


def stand_in(run: str, path: Path, size: float = 1.0) -> gpd.GeoDataFrame:
    """Write a hexagon at the place of a region as its boundaries would be downloaded; return it, in degrees.

    Args:
        size: of the hexagon against `PLACES`.
    """
    west, south, east, north = PLACES[run][2]
    x, y = (west + east) / 2, (south + north) / 2
    a, b = size * (east - west) / 2, size * (north - south) / 2
    hexagon = shapely.Polygon([(x - a, y), (x - a / 2, y - b), (x + a / 2, y - b), (x + a, y), (x + a / 2, y + b), (x - a / 2, y + b)])
    names = [{"shapeName": name} for name in config_of(run).aoi.names[:1]]
    table = gpd.GeoDataFrame(names, geometry=[hexagon], crs="EPSG:4326")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_file(path)
    return table
