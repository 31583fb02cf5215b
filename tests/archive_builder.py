"""Build small static STAC archives from arrays, one item per call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from miniature.stac import Catalogue, corners, lonlat, write_cog
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS

UTM = "EPSG:32630"
TWENTY = ("B05", "B06", "B07", "B8A", "B11", "B12", "SCL")


def grid(x: float, y: float, shape: tuple[int, int], pixel: float = 10.0, crs: str = UTM) -> GeoBox:
    """Return a north-up grid from its north-west corner."""
    return GeoBox(shape, Affine(pixel, 0, x, 0, -pixel, y), crs)


Blocks = Mapping[str, tuple[int, int, int, int]]


def write_grid(path: Path, whole: GeoBox, tile: int, blocks: Blocks, outside: Sequence[tuple[int, int]] = ()) -> Path:
    """Write a `grid/grid.json` whose blocks are windows of cells (row, col, rows, cols); a cell belongs to the first block over it."""
    cells = []
    for row in range(whole.shape.y // tile):
        for col in range(whole.shape.x // tile):
            owners = [name for name, (top, left, rows, cols) in blocks.items() if top <= row < top + rows and left <= col < left + cols]
            if owners and (row, col) not in outside:
                cells.append([f"{len(cells) + 1:04d}", row, col, owners[0]])
    lattice = {"crs": str(whole.crs), "shape": list(whole.shape), "transform": list(whole.transform[:6]), "tile_size": tile}
    write_json(path, lattice | {"windows": {name: list(window) for name, window in blocks.items()}, "cells": cells})
    return path


class ArchiveBuilder:
    """Writes items below a folder; `save` writes the catalogue and returns its path. `write` writes a file, a COG by default."""

    write = staticmethod(write_cog)

    def __init__(self, folder: Path) -> None:
        self.catalogue = Catalogue(folder)
        self.folder = folder

    def save(self) -> Path:
        self.catalogue.close()
        return self.folder / "catalog.json"

    def add_s2(
        self, name: str, geobox: GeoBox, bands: Mapping[str, NDArray[Any]], cloud_cover: float | None = 0.0, **properties: Any
    ) -> None:
        """A Sentinel-2 product on a 10 m `geobox`; 20 m bands (and SCL) have half its size. The time is that in the name."""
        when = dt.datetime.strptime(name.split("_")[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        twenty = GeoBox((geobox.shape.y // 2, geobox.shape.x // 2), geobox.transform @ Affine.scale(2), geobox.crs)
        for band, values in bands.items():
            self.write(
                self.catalogue.folder("sentinel-2-l2a", name) / f"{band}.tif",
                values,
                twenty if band in TWENTY else geobox,
                0,
                band != "SCL",
            )
        cover = {} if cloud_cover is None else {"eo:cloud_cover": cloud_cover}
        self._add("sentinel-2-l2a", name, when, geobox, {"platform": f"sentinel-{name[1:3].lower()}"} | cover | properties, bands)

    def add_s1(
        self, name: str, geobox: GeoBox, vv: NDArray[np.float32], vh: NDArray[np.float32], orbit: tuple[str, int], **assets: Any
    ) -> None:
        """A Sentinel-1 slice in linear power; `assets` are extra fields of both assets."""
        when = dt.datetime.strptime(name.split("_")[4], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        for key, values in (("vv", vv), ("vh", vh)):
            self.write(self.catalogue.folder("sentinel-1-rtc", name) / f"{key}.tif", values.astype(np.float32), geobox, -32768.0)
        properties = {"platform": "SENTINEL-1A", "sat:orbit_state": orbit[0], "sat:relative_orbit": orbit[1], "proj:code": str(geobox.crs)}
        self._add("sentinel-1-rtc", name, when, geobox, properties, {"vv": assets, "vh": assets})

    def add_dem(self, name: str, geobox: GeoBox, heights: NDArray[np.float32]) -> None:
        """An elevation tile on any grid."""
        self.write(self.catalogue.folder("cop-dem-glo-30", name) / "data.tif", heights.astype(np.float32), geobox, None)
        self._add("cop-dem-glo-30", name, dt.datetime(2021, 4, 22, tzinfo=dt.UTC), geobox, {}, {"data": {}})

    def _add(
        self, collection: str, name: str, when: dt.datetime, geobox: GeoBox, properties: Mapping[str, Any], assets: Mapping[str, Any]
    ) -> None:
        ring = lonlat(corners(geobox), str(geobox.crs))
        extra = {key: value if isinstance(value, dict) else {} for key, value in assets.items()}
        self.catalogue.add(collection, name, when, ring, properties, extra)


def product(day: str, tile: str = "30NXN", baseline: str = "0500", made: str = "20210528T081650", platform: str = "S2A") -> str:
    """Name of a Sentinel-2 product."""
    return f"{platform}_MSIL2A_{day}T103422_N{baseline}_R108_T{tile}_{made}"


def ten_bands(shape: tuple[int, int], seed: int = 0, low: int = 1100, high: int = 4000) -> dict[str, NDArray[np.uint16]]:
    """Random digital numbers: 10 m bands of `shape`, 20 m bands of half of it, no scene classification."""
    rng = np.random.default_rng(seed)
    half = (shape[0] // 2, shape[1] // 2)
    return {band: rng.integers(low, high, half if band in TWENTY else shape).astype(np.uint16) for band in S2_BANDS}
