"""Find the area of interest of a run."""

from __future__ import annotations

import os

from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.files import only_file
from smallmines.grid.area import require_one

AOI_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".parquet", ".kml", ".fgb")
"""Suffixes of the file `resources/user/<run>/aoi.*`."""


def user_aoi(config: Config) -> list[str]:
    """Return the AOI files of a run that exist: `aoi.path`, or all `resources/user/<run>/aoi.*`.

    Raises:
        UserError: `aoi.path` is a folder.
    """
    if config.aoi.path is None:
        return [path for path in only_file(f"resources/user/{config.run}", "aoi", AOI_SUFFIXES) if os.path.isfile(path)]
    if os.path.isdir(config.aoi.path):
        raise UserError("a vector file in aoi.path", f"the folder {config.aoi.path}", "name the file in it")
    return [config.aoi.path] if os.path.isfile(config.aoi.path) else []


def only_aoi(config: Config) -> list[str]:
    """Return the AOI file of a run, as a list of one.

    Raises:
        UserError: there is none, there are several, or it may not be read.
    """
    files = require_one(user_aoi(config), config.aoi.path, f"resources/user/{config.run}")
    if not os.access(files[0], os.R_OK):
        raise UserError("an area of interest that may be read", f"{files[0]}: permission denied", "change the rights of the file")
    return files
