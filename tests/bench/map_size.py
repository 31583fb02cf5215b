"""Write made products of SmallMinesDS's size, up to the masks, for `snakemake map` and `snakemake change`.

    snakemake grid --cores 2 --configfile made.yaml      # made.yaml: run, aoi, grid and years; the area in resources/user/<run>/
    PYTHONPATH=workflow:tests python tests/bench/map_size.py made.yaml
    snakemake map change --cores 2 --configfile made.yaml --allowed-rules map map_mosaic map_polygons map_areas map_picture \
        map_catalogue map_public change map_change map_change_areas

Segments are squares of 4 × 4 px, as large as those of the paper; mines are smooth noise above a threshold, 6 % of the land, with specks.
Seconds and memory of each job are then in benchmarks/<run>/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fake_map import DAYS
from fake_results import ITEMS
from smallmines.cli.console import read_config
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.layout import Layout
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels import tables
from smallmines.sensors.manifest import Manifest, ManifestItem, Query, Sentinel2Entry
from smallmines.sensors.manifest_files import write_manifest

CELL = 4
"""Side of a segment in pixels."""

SHARE = 0.06
"""Share of the land that is mined."""


def mines(shape: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """Return which segments of the whole lattice are mined: two thirds of the noise is that of all years."""
    lasting, own = np.random.default_rng(0), np.random.default_rng(seed)
    field = sum(
        weight * gaussian_filter(random.standard_normal(shape, dtype=np.float32), 6) for weight, random in ((0.8, lasting), (0.4, own))
    )
    field += 0.008 * own.standard_normal(shape, dtype=np.float32)
    return np.asarray(field > np.quantile(field, 1 - SHARE))


def write_block(layout: Layout, lattice: Lattice, year: str, block: str, mined: NDArray[np.bool_]) -> None:
    """Write the products of a block and year that the map reads."""
    random, geobox, own = np.random.default_rng(int(year) + int(block)), lattice.block(block), lattice.own(block)
    row, col = (offset // CELL for offset in lattice.offset(block))
    inside = own[::CELL, ::CELL]
    mine = mined[row : row + inside.shape[0], col : col + inside.shape[1]]
    number = np.where(inside, np.cumsum(inside).reshape(inside.shape), 0).astype(np.uint32)
    segments = number.repeat(CELL, 0).repeat(CELL, 1)
    count = int(inside.sum())
    label = mine[inside].astype(np.int8)
    share = np.where(label == 1, 0.6, 0.0).astype(np.float32) + random.random(count, np.float32).round(2) * np.float32(0.4)
    segment = np.arange(1, count + 1, dtype=np.uint32)
    key = segment.astype(np.uint64) + np.uint64(int(year) * 10**10 + int(block) * 10**8)
    who = np.where(random.random(count) < 0.02, "manual", "predicted").astype(object)
    blank = np.full(count, "", object)
    table = {"segment": segment, "key": key, "label": label, "provenance": who, "probability": share, "who": blank, "when": blank}
    tables.write(layout.labels(year, block), pd.DataFrame(table), "labels")
    votes = {"segment": segment, "probability": share, "entropy": np.float32(0.5), "calibrated": share}
    tables.write(layout.probabilities(year, block), pd.DataFrame(votes), "probabilities")
    raster.write(layout.segments(year, block), segments, geobox, 0, ["segment"])
    mask = np.where(own, mine.repeat(CELL, 0).repeat(CELL, 1), 255).astype(np.uint8)
    raster.write(layout.mask(year, block), mask, geobox, 255, ["mining"])
    coarse = random.integers(1200, 2400, (1, *(length // 16 for length in geobox.shape))).astype(np.uint16)
    pixels = np.broadcast_to(coarse.repeat(16, 1).repeat(16, 2) + 800 * mask[None].astype(np.uint16) * (mask < 2), (10, *geobox.shape))
    raster.write(layout.s2(year, block), pixels, geobox, 0, S2_BANDS, {"ITEMS": ",".join(ITEMS)})
    folder = layout.s2(year, block).parent
    scene = np.where(np.arange(geobox.shape.x) < geobox.shape.x / 2, 1, 2).astype(np.uint8)
    raster.write(folder / "s2_source.tif", np.broadcast_to(scene, geobox.shape), geobox, 0, ["scene"], {"ITEMS": ",".join(ITEMS)})
    clear = (gaussian_filter(random.standard_normal(inside.shape, dtype=np.float32), 8) < 0.08).astype(np.uint8)
    raster.write(folder / "clear.tif", clear.repeat(CELL, 0).repeat(CELL, 1), geobox, None, ["clear"])
    metrics = layout.forest_metrics(year, block)
    forest = {"n_estimators": 200, "max_depth": 15, "min_samples_split": 5}
    write_json(metrics, {"features": list(S2_BANDS), "forest": forest, "threshold": 0.5, "versions": {"scikit-learn": "1.9.1"}})
    metrics.with_name("model.joblib").write_bytes(b"no forest")


def write_scenes(layout: Layout, year: str) -> None:
    """Write the manifest of two images of a year."""
    entries = [
        Sentinel2Entry(name, number, name, number, f"{year}{day[4:]}T10:34:22Z", "T30NXN", "sentinel-2a", 1.0, 500, True)
        for number, (name, day) in enumerate(zip(ITEMS, DAYS, strict=True), 1)
    ]
    hrefs = {band: f"https://example.org/{band}.tif" for band in S2_BANDS}
    items = tuple(ManifestItem(entry, None, hrefs) for entry in entries)
    query = Query("made-up", year, {}, {})
    write_manifest(layout.manifests / year / "s2.json", Manifest("s2", "static", None, "2026-01-01T00:00:00Z", None, query, items, {}))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    config = read_config(parser.parse_args().config)
    layout = Layout(config.run)
    lattice = read_lattice(layout.grid)
    shape = tuple(length // CELL for length in lattice.geobox.shape)
    for year in config.year_names:
        write_scenes(layout, year)
        mined = mines((shape[0], shape[1]), int(year))
        for block in config.blocks:
            write_block(layout, lattice, year, block, mined)
            print(year, block, flush=True)
    splits = [(tile.tile_id, year, "train", 0) for tile in lattice.tiles for year in config.year_names]
    target = layout.results / "dataset/splits.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(splits, columns=["tile_id", "year", "split", "fold"]).to_csv(target, index=False)


main()
