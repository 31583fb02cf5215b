"""A synthetic `results/<run>` folder for unit tests: two blocks, six tiles, one year, with every kind of gap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.dataset.index import PROVENANCES, BlockFiles
from smallmines.grid.lattice import Lattice, read_lattice

SIDE = 16
YEAR = "2016"
CELLS = [("0001", 1, 0, "1"), ("0002", 1, 1, "1"), ("0003", 1, 2, "2"), ("0004", 0, 0, "1"), ("0005", 0, 2, "2"), ("0006", 0, 3, "2")]
ITEMS = ("S2A_MSIL2A_20160105T103422_N0500_R108_T30NXN_20210528T081650", "S2A_MSIL2A_20160115T103402_N0500_R108_T30NXN_20210528T101010")


@dataclass(frozen=True)
class Results:
    """Paths of the synthetic products."""

    folder: Path
    lattice: Lattice
    side: int

    def path(self, stage: str, block: str, name: str, year: str = YEAR) -> str:
        return str(self.folder / stage / year / block / name)

    def files(self, year: str = YEAR) -> dict[tuple[str, str], BlockFiles]:
        return {
            (year, block): BlockFiles(
                masks=str(self.folder / "masks" / year / f"{block}.tif"),
                s2=self.path("composites", block, "s2.tif", year),
                s1=self.path("composites", block, "s1.tif", year),
                dem=self.path("composites", block, "dem.tif", "static"),
                source=self.path("composites", block, "s2_source.tif", year),
                clear_mask=self.path("composites", block, "clear.tif", year),
                segments=self.path("segments", block, "segments.tif", year),
                labels=str(self.folder / "labels" / year / f"{block}.parquet"),
            )
            for block in self.lattice.windows
        }

    @property
    def lists(self) -> list[Path]:
        return [self.folder / "dataset" / YEAR / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]


def make_grid(
    folder: Path, side: int = SIDE, cells: list[tuple[str, int, int, str]] = CELLS, crs: str = "EPSG:32630", west: float = 600000
) -> Lattice:
    """Write `grid/`: grid.json, fishnet.parquet and blocks.parquet."""
    table = pd.DataFrame(cells, columns=["tile_id", "row", "col", "block"])
    rows, cols = int(table["row"].max()) + 1, int(table["col"].max()) + 1
    windows = {}
    for name, own in table.groupby("block"):
        row, col = int(own["row"].min()), int(own["col"].min())
        windows[str(name)] = [row, col, int(own["row"].max()) + 1 - row, int(own["col"].max()) + 1 - col]
    geobox = GeoBox((rows * side, cols * side), Affine(10, 0, west, 0, -10, 700000), crs)
    grid = {"crs": crs, "transform": list(geobox.transform)[:6], "shape": list(geobox.shape), "tile_size": side}
    write_json(folder / "grid" / "grid.json", {**grid, "windows": windows, "cells": table.values.tolist()})
    size = side * 10.0
    left, top = west + table["col"].to_numpy() * size, 700000 - table["row"].to_numpy() * size
    fishnet = gpd.GeoDataFrame(table, geometry=shapely.normalize(shapely.box(left, top - size, left + size, top)), crs=crs)
    fishnet.insert(4, "released_id", pd.array([True] * len(table), "boolean"))
    fishnet.to_parquet(folder / "grid" / "fishnet.parquet", index=False)
    fishnet[["block", "geometry"]].dissolve("block").reset_index().to_parquet(folder / "grid" / "blocks.parquet", index=False)
    return read_lattice(folder / "grid" / "grid.json")


def make_results(
    folder: Path,
    side: int = SIDE,
    cells: list[tuple[str, int, int, str]] = CELLS,
    year: str = YEAR,
    crs: str = "EPSG:32630",
    west: float = 600000,
) -> Results:
    """Write the products of all stages up to the masks, block by block."""
    lattice = make_grid(folder, side, cells, crs, west)
    results = Results(folder, lattice, side)
    for (_, block), files in results.files(year).items():
        make_block(files, lattice, block, np.random.default_rng(int(block) + int(year) + int(west - 600000)))
    return results


def make_block(files: BlockFiles, lattice: Lattice, block: str, random: np.random.Generator) -> None:
    """Write one block: smooth terrain, round mines, gaps in S2 (first tile), S1 and DEM, an open label, an unclear area."""
    geobox, own, side = lattice.block(block), lattice.own(block), lattice.tile_size
    height, width = geobox.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    first = lattice.cells_of(block).iloc[0]
    gap = np.zeros((height, width), bool)
    gap[first.y : first.y + side // 4, first.x : first.x + side // 4] = True
    wave = np.sin(x / side * 3) * np.cos(y / side * 2)
    mine = wave > 0.75
    s2 = np.stack([1500 + 150 * band + 300 * wave * (band % 3) + 900 * mine + random.normal(0, 40, gap.shape) for band in range(10)])
    s2 = s2.clip(1, 65535).astype(np.uint16)
    s2[:, gap] = 0
    tags = {"RADIOMETRY": "dn_plus1000", "RADIOMETRY_VERDICT": "declared", "CLOUDS": "scl", "METHOD": "best_scene"}
    tags |= {"ITEMS": ",".join(ITEMS), "BASELINES": "05.00,05.00"}
    raster.write(files.s2, s2, geobox, 0, S2_BANDS, tags)
    source = np.where(x < width / 2, 1, 2).astype(np.uint8)
    raster.write(files.source, np.where(gap, 0, source).astype(np.uint8), geobox, 0, ["scene"], {"ITEMS": ",".join(ITEMS)})
    clear = ~gap & ~((y > height - side // 4) & (x < side // 2))
    raster.write(files.clear_mask, clear.astype(np.uint8), geobox, None, ["clear"])
    s1 = np.stack([-8 + 2 * wave, -14 + 3 * wave]).astype(np.float32) + random.normal(0, 1, (2, height, width)).astype(np.float32)
    s1[:, -3:, -5:] = np.nan
    raster.write(files.s1, s1, geobox, np.nan, ["VV", "VH"], {"ITEMS": "S1A_1", "RELATIVE_ORBIT": "147"})
    dem = (200 + 40 * np.sin(x / 37) + 30 * np.cos(y / 23)).astype(np.float32)
    dem[:2, -2:] = np.nan
    raster.write(files.dem, dem, geobox, np.nan, ["DEM"], {"EDITION": "2021_1"})
    segments, labels = make_segments(own & ~gap, mine, random)
    raster.write(files.segments, segments, geobox, 0, ["segment"])
    Path(files.labels).parent.mkdir(parents=True, exist_ok=True)
    labels.to_parquet(files.labels, index=False)
    lut = np.concatenate([[255], np.where(labels["label"] < 0, 255, labels["label"])]).astype(np.uint8)
    raster.write(files.masks, lut[segments], geobox, 255, ["mining"], {"SEGMENTS": str(len(labels)), "CONFIG": "of the mask"})


def make_segments(
    inside: NDArray[np.bool_], mine: NDArray[np.bool_], random: np.random.Generator
) -> tuple[NDArray[np.uint32], pd.DataFrame]:
    """4×4 px segments cut by the mines' edges, with labels; one segment in fifty left open."""
    y, x = np.mgrid[: inside.shape[0], : inside.shape[1]] // 4
    raw = (y * (inside.shape[1] // 4 + 1) + x) * 2 + mine
    ids, inverse = np.unique(np.where(inside, raw, -1), return_inverse=True)
    segments = (inverse.reshape(inside.shape) + (0 if ids[0] == -1 else 1)).astype(np.uint32)
    label = (ids[ids >= 0] % 2).astype(np.int8)
    label[::50] = -1
    provenance = np.where(label < 0, "corrected", random.choice(["manual", "predicted", "cloud"], label.size))
    assert set(provenance) <= set(PROVENANCES)
    number = np.arange(1, label.size + 1, dtype=np.uint32)
    probability = np.where(label == 1, 0.8, 0.1).astype(np.float32) + random.uniform(0, 0.2, label.size).astype(np.float32)
    table = {"segment": number, "key": number.astype(np.uint64), "label": label, "provenance": provenance}
    return segments, pd.DataFrame({**table, "probability": probability.round(4)})


def worth(year: str) -> dict[str, object]:
    """Return the content of `labels.json` for a year."""

    def estimate(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05}

    pair = {"people": ["A01", "A02"], "segments": 80, "tiles": 6, "unsure": 3, "raw": 0.95, "ac1": 0.9, "area": 0.94, "iou": 0.7}
    pairs = [{**pair, "kappa": 0.81, "low": 0.7, "high": 0.9}]
    classes = {"mining": estimate(0.8), "not_mining": estimate(0.94)}
    accuracy = {"blocks": ["1"], "points": 200, "settled": 190, "overall": estimate(0.93), "users": classes, "producers": classes}
    hectares = {"mining_ha": {"value": 12.0, "low": 10.0, "high": 14.0}, "mapped_ha": {"value": 13.0, "low": 13.0, "high": 13.0}}
    shares = {"manual": {"segments": 10, "area_share": 0.1}, "predicted": {"segments": 90, "area_share": 0.9}}
    return {
        "years": {
            year: {
                "provenance": shares,
                "validated_share": 0.1,
                "open_share": 0.02,
                "agreement": {"year": pairs, "blocks": {"1": pairs, "2": []}},
                "accuracy": {**accuracy, "iou": estimate(0.7), **hectares},
            }
        }
    }


def release_masks(results: Results, year: str = YEAR) -> dict[str, object]:
    """Replace the masks by those of a release, and return the content of `labels.json`.

    They have a class also where Sentinel-2 has no data, and none in the first three rows of each block.
    """
    from smallmines.labels.released import released_shares

    masks = {}
    for (_, block), files in results.files(year).items():
        own, geobox = results.lattice.own(block), results.lattice.block(block)
        values = np.where(own, np.arange(own.shape[1]) % 5 == 0, 255).astype(np.uint8)
        values[:3] = 255
        raster.write(files.masks, values, geobox, 255, ["mining"], {"PROVENANCE": "released"})
        masks[block] = files.masks
    missing = {"tiles_without_mask": 1, "masks_without_tile": 2}
    agreement = {"year": [], "blocks": {block: [] for block in masks}}
    own = {**released_shares(masks, results.lattice), "agreement": agreement, "accuracy": None, "released": missing}
    about = {"source": "folder", "address": "release", "revision": None, "sha256": None, "license": "CC-BY-SA-4.0"}
    return {"years": {year: own}, "released": about}


def publish(results: Results, country: str = "GH", year: str = YEAR, released: dict[str, object] | None = None) -> Path:
    """Write patches, assembled folder and index of synthetic results; return the dataset's folder.

    Args:
        released: content of `labels.json`, where the masks are released ones.
    """
    from smallmines.dataset.assemble import assemble
    from smallmines.dataset.index import IndexSources, write_index
    from smallmines.dataset.patches import Composites, PatchSet, write_images, write_masks

    files = results.files(year)
    if released:
        files = {place: replace(one, segments=None, labels=None) for place, one in files.items()}
    for (_, block), one in files.items():
        where = results.folder / "patches" / year / block
        composites = Composites(one.s2, one.s1, one.dem)
        write_images(composites, PatchSet(results.lattice, year, block, country, "abc"), where / "IMAGE")
        write_masks(one.masks, PatchSet(results.lattice, year, block, country, "def"), where / "MASK")
    lists = [results.folder / "dataset" / year / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
    for kind, target in zip(("IMAGE", "MASK"), lists, strict=True):
        folders = {block: results.folder / "patches" / year / block / kind for _, block in files}
        assemble(folders, results.lattice, year, kind, country, target)
    dataset = results.folder / "dataset"
    write_json(dataset / "labels.json", released or worth(year))
    fishnet = results.folder / "grid" / "fishnet.parquet"
    cells = results.lattice.cells
    names = ["train", "test", "val"]
    rows = pd.DataFrame(
        {"tile_id": cells["tile_id"], "year": int(year), "split": [names[number % 3] for number in range(len(cells))], "fold": 1}
    )
    rows.to_csv(dataset / "splits.csv", index=False)
    sources = IndexSources(files, lists, fishnet, dataset / "labels.json", dataset / "splits.csv")
    windows = {year: [f"{year}-01-01", f"{year}-01-31"]}
    write_index(sources, results.lattice, country, windows, "made-up", dataset / "index.parquet")
    document(dataset, lists, windows, country)
    return dataset


def document(dataset: Path, lists: list[Path], windows: dict[str, list[str]], country: str) -> None:
    """Documents, catalogue and seal of a made-up dataset."""
    from smallmines.config.publish import Publish
    from smallmines.core.files import read_json
    from smallmines.dataset.band_statistics import band_statistics
    from smallmines.dataset.documents import DOCUMENTS, write_documents
    from smallmines.dataset.facts import FactSources, gather
    from smallmines.dataset.index import read_index
    from smallmines.dataset.seal import write_sums
    from smallmines.dataset.stac import write_catalogue
    from smallmines.sensors.manifest import Manifest, Query

    about = Publish(title="Made up", authors=("A. Nobody",))
    index = read_index(dataset / "index.parquet")
    statistics = {year: band_statistics(sorted((dataset / year / "IMAGE").glob("*.tif"))) for year in windows}
    unknown = dict.fromkeys(("twins", "neighbours", "r2", "auc", "r2_low", "r2_high"))
    leakage = {**unknown, "places": 0, "judgement": "no test"}
    labels, splits = read_json(dataset / "labels.json"), {"source": "frozen", "leakage": leakage, "reason": "made up", "advice": ""}
    software = {"versions": {"gdal": ["3.10.3"], "otb": ["8.1.1"]}, "mixed": {}, "unknown": {}}
    manifests = {
        (place, sensor): Manifest(sensor, provider, None, "2026-01-01T00:00:00Z", None, Query("made-up", place, {}, {}), (), {})
        for place, sensor, provider in (*((year, "s2", "earth_search") for year in windows), ("static", "dem", "aws"))
    }
    facts = gather(FactSources(index, labels, splits, statistics, windows, software, manifests, ()), about, "made-up", country)
    write_documents(facts, about, dataset)
    write_catalogue(index, windows, "made-up", about, facts, dataset / "stac/collection.json")
    files = [dataset / name for name in (*DOCUMENTS, "index.parquet", "labels.json", "splits.csv", "stac/collection.json")]
    write_sums(dataset, lists, files)
