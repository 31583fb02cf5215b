"""Find the patches in a folder by their names and read where their headers place them.

The names are those of the released dataset, with or without the country (`IMG_GH_0001_2016.tif`, `MASK_0001_2016.tif`), in any folders.
The tile id in a name does not say where the tile lies: two datasets may number the same lattice differently.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.core.product import parse_patch_name


@dataclass(frozen=True)
class Header:
    """Name and georeference of a patch.

    Attributes:
        prefix: `IMG` or `MASK`.
        crs: as `EPSG:…` where it has a code.
        left, top: north-west corner in the units of the CRS.
        width, height: in pixels.
        resolution: side of a pixel in the units of the CRS, (x, y), both positive.
    """

    path: Path
    prefix: str
    tile_id: str
    year: str
    crs: str
    left: float
    top: float
    width: int
    height: int
    resolution: tuple[float, float]

    @property
    def place(self) -> tuple[str, float, float, int, int, tuple[float, float]]:
        """CRS, corner, size and resolution."""
        return self.crs, self.left, self.top, self.width, self.height, self.resolution


def patch_files(folder: str | Path, prefixes: Iterable[str] = ("IMG", "MASK")) -> list[Path]:
    """Return the patches below a folder whose names have one of the prefixes, sorted by path."""
    wanted = set(prefixes)
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in files if (parts := parse_patch_name(path.name)) and parts.prefix in wanted)


def read_header(path: Path) -> Header:
    """Read name and georeference of a patch.

    Raises:
        UserError: the file is no raster, has no CRS, or is not north-up.
    """
    parts = parse_patch_name(path.name)
    assert parts is not None, path
    try:
        with rasterio.open(path) as source:
            t, crs, width, height = source.transform, source.crs, source.width, source.height
    except RasterioError as error:
        raise UserError(f"a readable patch at {path}", str(error), "restore the file") from error
    if crs is None or t.b != 0 or t.d != 0 or t.a <= 0 or t.e >= 0:
        found = "no CRS" if crs is None else f"the transform {tuple(t)[:6]}"
        raise UserError(f"a georeferenced north-up patch at {path}", found, "take the GeoTIFFs of the dataset, unaltered")
    return Header(path, *parts, crs.to_string(), t.c, t.f, width, height, (t.a, -t.e))


def images_digest(folder: str | Path) -> str:
    """Return the digest of names and georeferences of the images below a folder; of an empty list where there are none.

    An image that cannot be read counts with its name alone. Headers are read again only when a file's name, size or modification time
    differs.
    """
    files = [(str(path), status.st_size, status.st_mtime_ns) for path in patch_files(folder, ["IMG"]) for status in [path.stat()]]
    return _digest_of_headers(tuple(files))


@functools.cache
def _digest_of_headers(files: tuple[tuple[str, int, int], ...]) -> str:
    places: list[tuple[Any, ...]] = []
    for path in (Path(name) for name, _, _ in files):
        try:
            places.append((path.name, *read_header(path).place))
        except UserError:  # reported by the rule that needs the image
            places.append((path.name,))
    return digest(places)
