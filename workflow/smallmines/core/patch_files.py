"""Patches in a folder, found by their names, and where their headers place them.

The names are those of the released dataset, with or without the country (`IMG_GH_0001_2016.tif`, `MASK_0001_2016.tif`), in any folders.
The number in a name is never a place: two datasets may number the same lattice differently.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from smallmines.core.errors import UserError
from smallmines.core.files import digest

NAME = re.compile(r"(IMG|MASK)_(?:[A-Z]{2}_)?(\w+)_(\d{4})\.tiff?")
"""Kind, tile id and year in a patch's file name."""


@dataclass(frozen=True)
class Header:
    """A patch and its place.

    Attributes:
        kind: `IMG` or `MASK`.
        crs: as `EPSG:…` where it has a code.
        left, top: the north-west corner in the units of the CRS.
        width, height: in pixels.
        resolution: side of a pixel in the units of the CRS, (x, y), both positive where north is up.
    """

    path: Path
    kind: str
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
        """Everything that says where the patch lies."""
        return self.crs, self.left, self.top, self.width, self.height, self.resolution


def patch_files(folder: str | Path, kinds: Iterable[str] = ("IMG", "MASK")) -> list[Path]:
    """The patches below a folder, sorted by path."""
    wanted, found = set(kinds), []
    for where, _, names in os.walk(folder):
        found += [Path(where) / name for name in names if (match := NAME.fullmatch(name)) and match[1] in wanted]
    return sorted(found)


def named(path: Path) -> tuple[str, str, str]:
    """Kind (`IMG` or `MASK`), tile id and year in the name of a patch."""
    match = NAME.fullmatch(path.name)
    assert match is not None, path
    return match[1], match[2], match[3]


def read_header(path: Path) -> Header:
    """Name and georeference of a patch.

    Raises:
        UserError: it is no raster, has no CRS, or is not a north-up raster.
    """
    try:
        with rasterio.open(path) as source:
            t, crs, width, height = source.transform, source.crs, source.width, source.height
    except RasterioError as error:
        raise UserError(f"a readable patch at {path}", str(error), "restore the file") from error
    if crs is None or t.b != 0 or t.d != 0 or t.a <= 0 or t.e >= 0:
        found = "no CRS" if crs is None else f"the transform {tuple(t)[:6]}"
        raise UserError(f"a georeferenced north-up patch at {path}", found, "take the GeoTIFFs of the dataset, unaltered")
    return Header(path, *named(path), crs.to_string(), t.c, t.f, width, height, (t.a, -t.e))


def images_digest(folder: str | Path) -> str:
    """Digest of names and places of the images below a folder, where they can be read; of an empty list where there are none.

    Headers are read again only when a file's name, size or time of change differs.
    """
    files = [(str(path), status.st_size, status.st_mtime_ns) for path in patch_files(folder, ["IMG"]) for status in [path.stat()]]
    return _digest_of_headers(tuple(files))


@functools.cache
def _digest_of_headers(files: tuple[tuple[str, int, int], ...]) -> str:
    places: list[tuple[Any, ...]] = []
    for path in (Path(name) for name, _, _ in files):
        try:
            places.append((path.name, *read_header(path).place))
        except UserError:  # told by whoever needs the image
            places.append((path.name,))
    return digest(places)
