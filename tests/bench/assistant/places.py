"""Places on which the assistant is measured: blocks of finished miniature runs, and real images whose land cover plays the mines.

Each is a folder of files as the workflow writes them, and the full truth of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from miniature.score import truth_of
from smallmines.composite.sentinel1 import BANDS as S1_BANDS
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.layout import Layout
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.segment import orfeo
from smallmines.segment.segmentation import masked_image, mean_shift
from smallmines.settings.segmentation import Segmentation

REAL = {"Tanzania": ("38D_378R_2_3", (4, 9)), "Brazil": ("282D_485L_3_3", (1, 2, 6, 9))}
"""Real images in TerraMesh's layout: id, and the land-cover classes that play the mines (0.04 to 0.57 of the area)."""

REAL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
REAL_TILE = 28


@dataclass(frozen=True)
class Place:
    """A block with its full truth.

    Attributes:
        name: `Tanzania`, or run, year and block of a miniature.
        block: name of the block in the lattice `grid`.
        grid, segments, s2, clear, s1, dem: files as the rules write them.
        targets: by name, where the ground is the class in question (row, column).
    """

    name: str
    block: str
    grid: Path
    segments: Path
    s2: Path
    clear: Path
    s1: Path
    dem: Path
    targets: dict[str, NDArray[np.bool_]]

    @property
    def lattice(self) -> Lattice:
        """The lattice in which the block lies."""
        return read_lattice(self.grid)

    def labels(self) -> NDArray[np.uint32]:
        """Return the label raster (row, column), 0 outside segments."""
        return raster.read(self.segments)[0]


def share_of_segments(labels: NDArray[np.uint32], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each segment 1..n that is true, (segment,)."""
    area = np.bincount(labels.ravel())
    return np.asarray((np.bincount(labels.ravel(), truth.ravel(), minlength=len(area)) / np.maximum(area, 1))[1:])


def miniature_places(config: Config, root: Path, name: str) -> Iterator[Place]:
    """Yield the blocks and years of a miniature run in `root`, made at least up to composites and segments; one target, `mining`."""
    layout = Layout(config.run, root)
    for year in config.year_names:
        for block in config.blocks:
            folder, segments = layout.results / "composites" / year / block, layout.results / "segments" / year / block / "segments.tif"
            box = read_lattice(layout.grid).block(block)
            dem = layout.results / "composites/static" / block / "dem.tif"
            files = (layout.grid, segments, folder / "s2.tif", folder / "clear.tif", folder / "s1.tif", dem)
            yield Place(f"{name}, {year}, block {block}", block, *files, {"mining": truth_of(config, year, box, root) == 1})


def real_places(images: Path, folder: Path, settings: Segmentation) -> Iterator[Place]:
    """Segment the real images in `images`, write the files of each under `folder`, and yield the places."""
    for name, (image, classes) in REAL.items():
        yield _real_place(images, folder / name, name, image, classes, settings)


def _real_place(images: Path, folder: Path, name: str, image: str, classes: tuple[int, ...], settings: Segmentation) -> Place:
    files = {kind: images / kind / f"{image}.tif" for kind in ("S2L2A", "S1RTC", "DEM", "LULC")}
    cube = raster.read(files["S2L2A"])[[REAL_BANDS.index(band) for band in S2_BANDS]].astype(np.uint16)
    with rasterio.open(files["S2L2A"]) as source:
        crs = str(source.crs)
    geobox = GeoBox(cube.shape[1:], Affine(10, 0, 600000, 0, -10, 700000), crs)
    grid = _write_grid(folder, geobox)
    paths = [folder / f"{kind}.tif" for kind in ("segments", "s2", "clear", "s1", "dem")]
    segments, s2, clear, s1, dem = paths
    raster.write(s2, cube, geobox, 0, S2_BANDS)
    raster.write(clear, np.ones(cube.shape[1:], np.uint8), geobox, 255, ["clear"])
    raster.write(s1, raster.read(files["S1RTC"]).astype(np.float32), geobox, np.nan, S1_BANDS)
    raster.write(dem, raster.read(files["DEM"])[0].astype(np.float32), geobox, np.nan, ["DEM"])
    if not segments.is_file():
        raster.write(segments, segmented(s2, geobox, settings), geobox, 0, ["segment"])
    cover = raster.read(files["LULC"])[0]
    return Place(name, "1", grid, *paths, {f"class {code}": cover == code for code in classes})


def segmented(s2: Path, geobox: GeoBox, settings: Segmentation) -> NDArray[np.uint32]:
    """Segment a composite as the rule `segment` does, and return the label raster (row, column)."""
    limits = orfeo.resources(1, 2000, len(settings.bands))
    with TemporaryDirectory(prefix="segments-") as scratch:
        image = Path(scratch) / "image.tif"
        valid = masked_image(s2, geobox, np.ones(tuple(geobox.shape), bool), settings.bands, image)
        return mean_shift(image, valid, geobox, settings, orfeo.find(settings.backend, 1), limits)


def _write_grid(folder: Path, geobox: GeoBox) -> Path:
    """Write a lattice of one block of tiles of `REAL_TILE` px."""
    rows, cols = (side // REAL_TILE for side in geobox.shape)
    content = {
        "crs": str(geobox.crs),
        "tile_size": REAL_TILE,
        "transform": list(geobox.affine)[:6],
        "shape": list(geobox.shape),
        "windows": {"1": [0, 0, rows, cols]},
        "cells": [(f"{row * cols + col + 1:04d}", row, col, "1") for row in range(rows) for col in range(cols)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "grid.json", content)
    return folder / "grid.json"
