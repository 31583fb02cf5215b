"""The map of synthetic results: what `fake_results` lacks for it, and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio

from fake_results import ITEMS, YEAR, Results, make_results
from smallmines.core.product import S2_BANDS
from smallmines.labels import tables
from smallmines.map.change_map import YearFiles
from smallmines.map.dates import ImageDates
from smallmines.map.mosaics import BlockProducts, write_mosaics
from smallmines.map.polygons import MapFiles
from smallmines.sensors.manifest import Manifest, ManifestItem, Query, Sentinel2Entry
from smallmines.sensors.manifest_files import write_manifest

DAYS = ("2016-01-05", "2016-01-15")
"""Days of `fake_results.ITEMS`."""

YEARS = ("2016", "2022")
"""Of `make_years`."""


def make_map(folder: Path, side: int = 16) -> tuple[Results, MapFiles, ImageDates]:
    """Write synthetic results, their mosaics and their manifest."""
    results = make_results(folder, side)
    files = write_map(results, products(results))
    return results, files, dates(results)


def make_years(folder: Path, side: int = 32) -> tuple[Results, dict[str, YearFiles]]:
    """Write synthetic results of two years; in the second one mines are moved, and some pixels are not seen."""
    files = {}
    for number, year in enumerate(YEARS):
        results = make_results(folder / year, side)
        for paths in results.files().values():
            if number:
                with rasterio.open(paths.masks, "r+") as target:
                    mask = target.read(1)
                    moved = np.roll(mask, (3, 5), (0, 1))
                    target.write(np.where((mask == 255) | (moved == 255), 255, moved), 1)
                with rasterio.open(paths.clear_mask, "r+") as target:
                    clear = target.read(1)
                    clear[10:14] = 0
                    target.write(clear, 1)
        mosaics = write_map(results, products(results))
        clear_masks = {block: paths.clear_mask for (_, block), paths in results.files().items()}
        files[year] = YearFiles(year, mosaics.mask, clear_masks, dates(results))
    return results, files


def products(results: Results) -> dict[str, BlockProducts]:
    """Return the products of each block; write the probabilities, which `fake_results` lacks."""
    made = {}
    for (_, block), paths in results.files().items():
        labels = pd.read_parquet(paths.labels)
        share = labels["probability"].clip(0, 1)
        path = results.folder / f"assistant/{YEAR}/{block}/probabilities.parquet"
        table = pd.DataFrame({"segment": labels["segment"], "probability": np.float32(0.5), "entropy": np.float32(1), "calibrated": share})
        tables.write(path, table, "probabilities")
        made[block] = BlockProducts(paths.masks, paths.segments, paths.labels, str(path))
    return made


def write_map(results: Results, blocks: dict[str, BlockProducts]) -> MapFiles:
    """Write the mosaics of some products; without segments, the mask alone."""
    names = ("mask", "probability", "provenance") if blocks["1"].segments else ("mask",)
    targets = {name: str(results.folder / f"map/{YEAR}/{name}.tif") for name in names}
    write_mosaics(blocks, results.lattice, YEAR, targets)
    return MapFiles(**targets)


def dates(results: Results) -> ImageDates:
    """Write the manifest of the two images; return the days of the pixels."""
    entries = [
        Sentinel2Entry(name, number, name, number, f"{day}T10:34:22Z", "T30NXN", "sentinel-2a", 1.0, 500, True)
        for number, (name, day) in enumerate(zip(ITEMS, DAYS, strict=True), 1)
    ]
    hrefs = {band: f"https://example.org/{band}.tif" for band in S2_BANDS}
    chosen = tuple(ManifestItem(entry, None, hrefs) for entry in entries)
    path = results.folder / f"manifests/{YEAR}/s2.json"
    write_manifest(path, Manifest("s2", "static", None, "2026-01-01T00:00:00Z", None, Query("made-up", YEAR, {}, {}), chosen, {}))
    files = results.files()
    sources, composites = ({block: getattr(paths, name) for (_, block), paths in files.items()} for name in ("source", "s2"))
    return ImageDates(results.lattice, sources, composites, path)
