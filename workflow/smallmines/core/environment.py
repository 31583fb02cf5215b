"""Environment variables of a job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from smallmines.core.log import logger

GDAL_CACHE_MB = "256"
"""GDAL's block cache in a job. GDAL's default is 5 % of the machine's memory, whatever the job may use."""

DATA_FOLDERS = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH", "OGR_DRIVER_PATH")
"""Variables that name folders of PROJ's and GDAL's data and drivers. Each version of these libraries needs its own."""


def prepare() -> None:
    """Set the environment of a job; values that are set already stay."""
    os.environ.setdefault("GDAL_CACHEMAX", GDAL_CACHE_MB)


def remove_foreign_folders() -> None:
    """Remove `DATA_FOLDERS` from the environment where rasterio is a wheel, which contains PROJ, GDAL and their data.

    Called before rasterio and pyproj are imported. With them, `PROJ_LIB=/usr/share/proj` of another version makes every use of a CRS
    fail. Other builds (conda, a distribution) find their data through these variables, which stay.
    """
    names = [name for name in DATA_FOLDERS if os.environ.get(name)]
    if names and any((Path(folder) / "rasterio/proj_data").is_dir() for folder in sys.path):
        for name in names:
            logger.warning("%s=%s is ignored: rasterio contains its own data", name, os.environ[name])
            del os.environ[name]
