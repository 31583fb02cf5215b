"""Measure the difficulty of a place: statistics of its imagery and segments, and accuracy of a per-pixel forest on unseen tiles.

The figures are computed for the miniature Earth, from the files of its archive, and for real images.

Usage: PYTHONPATH=tests python tests/bench/difficulty.py --config CONFIG [--images FOLDER] [--picture PNG] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import rasterio
import typer
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from miniature.noise import rng_of
from miniature.score import figures, truth_of
from smallmines.archive.catalogue import items_of
from smallmines.archive.providers import provider_of
from smallmines.archive.read import read_on_grid
from smallmines.cli.console import ConfigPath, plain_errors, read_config, show
from smallmines.composite.observations import near_cloud
from smallmines.config.imagery import Sentinel2
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice, lattice_of
from smallmines.grid.make import blocks_of, fishnet, lattice_json
from smallmines.segment import orfeo
from smallmines.segment.segmentation import masked_image, mean_shift
from smallmines.sensors.manifest import Item
from smallmines.sensors.radiometry import baseline_of, has_offset, to_radiometry
from smallmines.sensors.scl import SCL, cloud_reach
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of
from smallmines.settings.segmentation import Segmentation

if TYPE_CHECKING:
    from numpy.random import Generator

Floats = NDArray[np.float32]

MOST_TILES = 160
"""Largest number of tiles that are measured, evenly spread."""
WINDOW = 8
"""Largest side in tiles of the window that is segmented."""
REAL: dict[str, tuple[str, int]] = {"Tanzania": ("38D_378R_2_3", 4), "Brazil": ("282D_485L_3_3", 6)}
"""Real images in TerraMesh's layout: id, and the land-cover class in place of mines."""
REAL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
REAL_TILE = 28


@dataclass(frozen=True)
class Tiles:
    """Tiles of a place.

    Attributes:
        cube: (tile, band, row, column) reflectance × 10000.
        height: (tile, row, column) in m.
        truth: (tile, row, column), True for the positive class.
        valid: (tile, row, column), True where the ground is visible.
        window: (band, row, column), adjacent tiles that are segmented; 0 where the ground is not visible.
    """

    cube: Floats
    height: Floats
    truth: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    window: NDArray[np.uint16]


def world_tiles(config: Config, year: str, root: str | Path = ".") -> Tiles:
    """Read tiles of a miniature Earth on the clearest date of a year. Specks of false cloud count as visible, clouds and their rims do not.

    Raises:
        UserError: the world has not been made.
    """
    lattice = _lattice(config, Path(root))
    archive = Path(root) / "resources/automatic" / config.run / "archive/catalog.json"
    scenes = clearest(items_of(provider_of("s2", "static"), str(archive), {}, {}), config, year)
    heights = [item.hrefs["DEM"] for item in items_of(provider_of("dem", "static"), str(archive), {}, {})]
    cells = lattice.cells
    chosen = cells.iloc[np.unique(np.linspace(0, len(cells) - 1, min(MOST_TILES, len(cells))).astype(int))]
    side = lattice.tile_size
    parts = []
    for row, col in zip(chosen["row"] * side, chosen["col"] * side, strict=True):
        box = lattice.geobox[row : row + side, col : col + side]
        parts.append((*_seen(scenes, box), _height(heights, box), truth_of(config, year, box, root) == 1))
    cube, valid, height, truth = (np.stack(part) for part in zip(*parts, strict=True))
    window, clear = _seen(scenes, _window(lattice))
    return Tiles(cube.astype(np.float32), height, truth, valid, np.where(clear, window, np.uint16(0)))


def _lattice(config: Config, root: Path) -> Lattice:
    """Return the run's lattice over the area of interest of the world."""
    import geopandas as gpd

    path = root / "resources/user" / config.run / "aoi.gpkg"
    if not path.is_file():
        raise UserError(str(path), "no such file", "make the world first: miniature make")
    grid = settings_of(config.grid, Grid)
    cells = fishnet(gpd.read_file(path), grid)
    cells["block"] = blocks_of(cells, grid.blocks, grid.block_seed).astype(str)
    return lattice_of(lattice_json(cells, grid, 0.0))


def clearest(items: Sequence[Item], config: Config, year: str) -> list[Item]:
    """Return the items of the datatake with the lowest cloud cover among those within the year's dates that cover everything."""
    epoch = config.years[int(year)]
    takes: dict[str, list[Item]] = {}
    for item in items:
        if epoch.start <= item.day <= epoch.end and not item.properties["s2:nodata_pixel_percentage"]:
            takes.setdefault(item.datetime, []).append(item)
    return min(takes.values(), key=lambda take: (np.mean([item.properties["eo:cloud_cover"] for item in take]), take[0].id))


def _seen(scenes: Sequence[Item], box: GeoBox) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Read digital numbers without offset (band, row, column), at least 1 where there is data, and where the ground is visible."""
    settings = Sentinel2()
    dilation, opening, margin = cloud_reach(settings.cloud_dilation_px, settings.cloud_opening_px, box)
    wide = box.pad(margin)
    cube = np.zeros((len(S2_BANDS), *box.shape), np.uint16)
    classes = np.zeros(tuple(wide.shape), np.uint8)
    for item in scenes:
        offset = has_offset(baseline_of(item.id, item.properties, ("product",)) or 0)
        dn = np.stack([_onto(item.hrefs[band], box) for band in S2_BANDS])
        np.copyto(cube, to_radiometry(dn, offset, "dn_harmonised"), where=cube == 0)
        np.copyto(classes, _onto(item.hrefs[SCL], wide), where=classes == 0)
    near = near_cloud(classes, settings.masked_classes, dilation, opening)[margin : margin + box.shape.y, margin : margin + box.shape.x]
    return cube, (cube > 0).all(axis=0) & ~near


def _onto(href: str, box: GeoBox) -> NDArray[Any]:
    with rasterio.open(href) as source:
        return read_on_grid(source, box, "nearest")


def _height(hrefs: Sequence[str], box: GeoBox) -> Floats:
    height = np.zeros(tuple(box.shape), np.float32)
    for href in hrefs:
        with rasterio.open(href) as source:
            np.copyto(height, read_on_grid(source, box, "bilinear"), where=height == 0)
    return height


def _window(lattice: Lattice) -> GeoBox:
    """Return the square, at most `WINDOW` tiles wide, with most of the run's tiles."""
    cells, side = lattice.cells, lattice.tile_size
    present = np.zeros((int(cells["row"].max()) + 1, int(cells["col"].max()) + 1), np.int64)
    present[cells["row"], cells["col"]] = 1
    wide = min(WINDOW, *present.shape)
    total = np.pad(present.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[wide:, wide:] - total[:-wide, wide:] - total[wide:, :-wide] + total[:-wide, :-wide]
    row, col = np.unravel_index(int(inside.argmax()), inside.shape)
    return lattice.geobox[int(row) * side : int(row + wide) * side, int(col) * side : int(col + wide) * side]


def real_tiles(folder: str | Path, name: str, positive: int) -> Tiles:
    """Read tiles of 28 px of a real image in TerraMesh's layout (`S2L2A/<name>.tif`, `DEM/…`, `LULC/…`).

    Args:
        positive: land-cover code of the positive class.
    """
    files = {kind: Path(folder) / kind / f"{name}.tif" for kind in ("S2L2A", "DEM", "LULC")}
    image = raster.read(files["S2L2A"])[[REAL_BANDS.index(band) for band in S2_BANDS]]
    tiles = [
        _cut(part, REAL_TILE)
        for part in (image, raster.read(files["DEM"]).astype(np.float32), raster.read(files["LULC"]) == positive, image[:1] > 0)
    ]
    cube, height, truth, valid = tiles
    return Tiles(cube.astype(np.float32), height[:, 0], truth[:, 0], valid[:, 0], image.astype(np.uint16))


def _cut(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Cut (band, row, column) into (tile, band, row, column)."""
    bands, height, width = image.shape
    parts = image.reshape(bands, height // side, side, width // side, side)
    return parts.transpose(1, 3, 0, 2, 4).reshape(-1, bands, side, side)


def difficulty(tiles: Tiles, settings: Segmentation, seed: int = 0, trees: int = 100, pixels: int = 60_000) -> dict[str, Any]:
    """Return the figures of a place.

    The forest has `trees` trees and uses ten bands and the elevation. It is trained on `pixels` pixels of every other tile and predicts
    the other tiles at probability 0.5.
    """
    valid = tiles.valid
    bands = tiles.cube.transpose(1, 0, 2, 3)
    spread = np.linalg.eigvalsh(np.cov(bands[:, valid].astype(np.float64)))[::-1]
    share = np.array([truth[seen].mean() for truth, seen in zip(tiles.truth, valid, strict=True) if seen.any()])
    imagery = {
        "mean_dn": [round(float(band[valid].mean(dtype=np.float64)) + 1000) for band in bands],
        "sd_dn": [round(float(band[valid].std(dtype=np.float64))) for band in bands],
        "lag1": [round(lag1(band, valid), 3) for band in bands],
        "first_three_components": round(float(spread[:3].sum() / spread.sum()), 4),
        "first_component": round(float(spread[0] / spread.sum()), 4),
        "share": round(float(tiles.truth[valid].mean()), 4),
        "empty_tiles": round(float((share == 0).mean()), 3),
        "fullest_tile": round(float(share.max()), 3),
    }
    return imagery | segment_figures(tiles.window, settings) | forest_figures(tiles, rng_of(seed, 120), trees, pixels)


def lag1(band: Floats, valid: NDArray[np.bool_]) -> float:
    """Return the correlation of valid pixels with their valid right neighbours, over (tile, row, column)."""
    both = valid[..., 1:] & valid[..., :-1]
    return float(np.corrcoef(band[..., 1:][both], band[..., :-1][both])[0, 1])


def segment_figures(window: NDArray[np.uint16], settings: Segmentation) -> dict[str, Any]:
    """Return the number of segments per million valid pixels and their median size."""
    from affine import Affine

    geobox = GeoBox(window.shape[1:], Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    limits = orfeo.resources(1, 2000, len(settings.bands))
    with TemporaryDirectory(prefix="segments-") as folder:
        composite, image = Path(folder) / "composite.tif", Path(folder) / "image.tif"
        raster.write(composite, window, geobox, 0, S2_BANDS, zlevel=1)
        valid = masked_image(composite, geobox, np.ones(window.shape[1:], bool), settings.bands, image)
        labels = mean_shift(image, valid, geobox, settings, orfeo.find(settings.backend, 1), limits)
    sizes = np.bincount(labels.ravel())[1:]
    return {"segments_per_mpx": round(len(sizes) / (valid.sum() / 1e6)), "median_size_px": float(np.median(sizes))}


def forest_figures(tiles: Tiles, rng: Generator, trees: int, pixels: int) -> dict[str, Any]:
    """Return IoU, precision and recall of a per-pixel forest on tiles that it was not trained on."""
    from sklearn.ensemble import RandomForestClassifier

    features = np.concatenate([tiles.cube, tiles.height[:, None]], axis=1)

    def rows(part: slice) -> tuple[Floats, NDArray[np.bool_]]:
        seen = tiles.valid[part]
        return features[part].transpose(0, 2, 3, 1)[seen], tiles.truth[part][seen]

    x, y = rows(slice(0, None, 2))
    chosen = rng.choice(len(y), min(pixels, len(y)), replace=False)
    forest = RandomForestClassifier(trees, min_samples_leaf=3, max_features="sqrt", random_state=0, n_jobs=-1).fit(x[chosen], y[chosen])
    unseen, truth = rows(slice(1, None, 2))
    predicted = forest.predict(unseen)
    counts = np.bincount(truth.astype(np.int64) * 2 + predicted, minlength=4)
    return {f"forest_{key}": value for key, value in figures(*counts).items() if key in ("iou", "precision", "recall")}


def places(config: Config, images: str | Path | None, root: str | Path = ".") -> Iterator[tuple[str, Tiles]]:
    """Yield name and tiles of the years of a miniature Earth and, with `images`, of the real images."""
    for year in config.year_names:
        yield year, world_tiles(config, year, root)
    for name, (image, positive) in REAL.items() if images else ():
        yield name, real_tiles(str(images), image, positive)


def picture(places: dict[str, Tiles], target: str | Path) -> None:
    """Draw crops of the windows in natural colours with one stretch."""
    from smallmines.report import canvas

    figure = canvas.figure(4.2 * len(places), 4.6)
    for axes, (name, tiles) in zip(np.ravel(figure.subplots(1, len(places))), places.items(), strict=True):
        crop = tiles.window[[2, 1, 0], :224, :224].astype(np.float32)
        colours = (crop / np.float32(3000)).clip(0, 1).transpose(1, 2, 0) ** np.float32(1 / canvas.GAMMA)
        canvas.show(axes, colours, name, 10)
    canvas.save(figure, target)


def main(
    config: ConfigPath,
    images: Annotated[
        Path | None, typer.Option("--images", help="Real images in TerraMesh's layout, for comparison.", file_okay=False)
    ] = None,
    picture_path: Annotated[Path | None, typer.Option("--picture", help="Write crops in natural colours to this PNG.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure the difficulty of a miniature Earth: imagery, segments, and a per-pixel forest on unseen tiles."""
    with plain_errors():
        settings = read_config(config)
        tiles = dict(places(settings, images))
        measured = {name: difficulty(of, settings_of(settings.segmentation, Segmentation), seed) for name, of in tiles.items()}
        if picture_path:
            picture(tiles, picture_path)
        if json:
            write_json(json, measured)
    first = next(iter(measured.values()))
    single = [key for key, value in first.items() if not isinstance(value, list)]
    show("How hard", [{"figure": key.replace("_", " ")} | {name: str(of[key]) for name, of in measured.items()} for key in single])
    for key in (key for key in first if key not in single):
        rows = [{"band": band} | {name: str(of[key][index]) for name, of in measured.items()} for index, band in enumerate(S2_BANDS)]
        show(key.replace("_", " "), rows)


if __name__ == "__main__":
    typer.run(main)
