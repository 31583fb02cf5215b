"""A made-up block as large as a real one, for measurements: 3840 × 3840 pixels in 1.25 million segments, two years of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from affine import Affine
from numpy.typing import NDArray

from place import decide_again
from smallmines.annotation.block_year import BlockYear
from smallmines.config.parse import parse_config
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.labels import assistant, tables
from smallmines.labels.feature_table import feature_names, matrix, medians, scales
from smallmines.labels.forest import fit, predict
from smallmines.segment import context
from smallmines.segment.features import describe

TILE = 128
CRS = "EPSG:32630"
YEAR, BEFORE = "2022", "2016"
FOREST = {"n_estimators": 50, "max_depth": 12, "min_samples_split": 5}
GROUND = np.array([1300, 1500, 1400, 1900, 2800, 3200, 3400, 3600, 2600, 1900], np.float32)
MINE = np.array([1700, 2100, 2500, 2700, 2800, 2900, 3000, 3100, 3500, 3100], np.float32)
"""Typical values of the ten bands."""


def make_big_block(root: Path, tiles: int = 30, features: str = "paper", seed: int = 0) -> BlockYear:
    """Write the products of one block and year, and images and mask of the year before; `config.yaml` in `root` is its configuration.

    Args:
        tiles: rows and columns of tiles of 128 px; with 30 there are 1.25 million segments.
        features: key `assistant.features`.
    """
    content = {
        "run": "big",
        "grid": {"blocks": 1, "crs": CRS, "tile_size": TILE},
        "years": {name: {"start": f"{name}-01-01", "end": f"{name}-01-31"} for name in (BEFORE, YEAR)},
        "assistant": {"features": features},
        "labels": {"annotators": [f"A{number:02d}" for number in range(1, 6)]},
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    block_year = BlockYear(parse_config(content), YEAR, "1", root)
    _grid(block_year, tiles)
    geobox, layout = block_year.lattice.block("1"), block_year.layout
    rng = np.random.default_rng(seed)
    labels = small_segments(tiles * TILE, rng)
    raster.write(layout.segments(YEAR, "1"), labels, geobox, 0, ["segment"])
    mines = _smooth(tiles * TILE, 40, rng) > 1.3
    for year, mined in ((YEAR, mines), (BEFORE, np.roll(mines, 12, axis=1))):
        _composites(block_year, year, mined, rng)
    raster.write(layout.mask(BEFORE, "1"), np.roll(mines, 12, axis=1).astype(np.uint8), geobox, 255, ["mining"])
    heights = (200 + 40 * _smooth(tiles * TILE, 60, rng)).astype(np.float32)
    raster.write(layout.dem("1"), heights, geobox, float("nan"), ["DEM"])
    raster.write(layout.clear(YEAR, "1"), np.ones(labels.shape, np.uint8), geobox, None, ["clear"])
    s2, s1, table = layout.s2(YEAR, "1"), layout.s1(YEAR, "1"), layout.features(YEAR, "1")
    describe(layout.segments(YEAR, "1"), s2, layout.clear(YEAR, "1"), layout.dem("1"), layout.grid, "1", table)
    if features == "context":
        inputs = context.Inputs(layout.segments(YEAR, "1"), table, s2, s1, layout.grid)
        context.describe_context(inputs, "1", layout.context(YEAR, "1"))
    _assistant(block_year, labels, mines, rng)
    mask = decide_again(block_year)["label"].to_numpy(np.uint8)
    raster.write(layout.mask(YEAR, "1"), np.concatenate([np.zeros(1, np.uint8), mask])[labels], geobox, 255, ["mining"])
    return block_year


def small_segments(side: int, rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return a label raster of connected segments of about 12 pixels: bands of three rows, cut at places that move from row to row."""
    widths = rng.choice([3, 4, 5], (side // 3, side // 3), p=[0.36, 0.36, 0.28])
    cuts = np.cumsum(widths, axis=1)
    labels = np.zeros((side, side), np.uint32)
    before = 0
    for band in range(side // 3):
        own = cuts[band][cuts[band] <= side - 3]
        rows = slice(3 * band, side if band == side // 3 - 1 else 3 * band + 3)
        starts = np.zeros((labels[rows].shape[0], side), np.uint32)
        starts[:, 0] = 1
        moved = own + rng.integers(0, 2, (len(starts), len(own)))
        np.put_along_axis(starts, moved, 1, axis=1)
        labels[rows] = before + np.cumsum(starts, axis=1)
        before += len(own) + 1
    return labels


def _grid(block_year: BlockYear, tiles: int) -> None:
    cells = [(f"{row * tiles + col + 1:04d}", row, col, "1") for row in range(tiles) for col in range(tiles)]
    transform = list(Affine(10, 0, 600000, 0, -10, 700000))[:6]
    shape = [tiles * TILE, tiles * TILE]
    content = {
        "crs": CRS,
        "tile_size": TILE,
        "transform": transform,
        "shape": shape,
        "windows": {"1": [0, 0, tiles, tiles]},
        "cells": cells,
    }
    write_json(block_year.layout.grid, content)


def _smooth(side: int, scale: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a smooth random field of mean 0 and standard deviation 1."""
    from scipy import ndimage

    coarse = ndimage.gaussian_filter(rng.normal(size=(side // 8 + 2, side // 8 + 2)), scale / 16)
    field = ndimage.zoom(coarse, 8, order=1)[:side, :side]
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _composites(block_year: BlockYear, year: str, mined: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Write the composites of a year, strip by strip."""
    geobox, side = block_year.lattice.block("1"), len(mined)
    cover = _smooth(side, 20, rng)
    s2, s1 = block_year.layout.s2(year, "1"), block_year.layout.s1(year, "1")
    with (
        raster.created(s2, geobox, "uint16", 0, S2_BANDS, {"RADIOMETRY": "dn_plus1000"}) as optical,
        raster.created(s1, geobox, "float32", float("nan"), ["VV", "VH"]) as radar,
    ):
        for window in raster.strips(mined.shape):
            rows = window.toslices()
            shade = 1 + 0.12 * cover[rows] + rng.normal(0, 0.02, cover[rows].shape).astype(np.float32)
            for band, (ground, mine) in enumerate(zip(GROUND, MINE, strict=True), 1):
                values = np.where(mined[rows], mine, ground) * shade + rng.normal(0, 20, shade.shape)
                optical.write(np.clip(values, 1, 65535).astype(np.uint16), band, window=window)
            for band, level in enumerate((-9, -15), 1):
                radar.write((level - 3 * mined[rows] + rng.normal(0, 1, shade.shape)).astype(np.float32), band, window=window)


def _assistant(block_year: BlockYear, labels: NDArray[np.uint32], mines: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Write samples, probabilities, metrics and the model of a forest of 50 trees."""
    at, layout = (block_year.year, "1"), block_year.layout
    table = block_year.forest_features()
    names = feature_names(block_year.config.assistant.features)
    pixels = np.bincount(labels.ravel(), minlength=len(table) + 1)[1:]
    truth = np.bincount(labels.ravel(), mines.ravel(), len(table) + 1)[1:] * 2 >= pixels
    chosen = np.sort(np.concatenate([rng.choice(np.flatnonzero(truth == mining), 500, replace=False) for mining in (False, True)]))
    own = table.iloc[chosen]
    samples: dict[str, Any] = {"segment": own["segment"], "label": truth[chosen].astype(np.int8), "subclass": "", "tile_id": own["tile_id"]}
    tables.write(layout.samples(*at), pd.DataFrame({**samples, "who": ""}).astype({"subclass": object, "who": object}), "samples")
    fill = medians(table, names)
    model = fit(matrix(own, names, fill), truth[chosen].astype(np.int8), FOREST, 0, 1)
    starts = range(0, len(table), 50_000)
    votes = np.concatenate([predict(model, matrix(table.iloc[at : at + 50_000], names, fill), [0, 1], 1)[:, 1] for at in starts])
    unsure = np.clip(votes + rng.normal(0, 0.05, len(votes)), 0, 1).round(4)
    probabilities = pd.DataFrame({"segment": table["segment"], "probability": unsure.astype(np.float32)})
    probabilities["entropy"] = assistant.entropy(unsure)
    probabilities["calibrated"] = probabilities["probability"]
    tables.write(layout.probabilities(*at), probabilities, "probabilities")
    importances = dict(zip(names, model.feature_importances_.round(6).tolist(), strict=True))
    share = float(np.average(unsure >= 0.5, weights=table["area"]))
    metrics = {"threshold": 0.5, "forest": FOREST, "features": names, "importances": importances, "prevalence": {"share": round(share, 4)}}
    write_json(layout.forest_metrics(*at), metrics)
    assistant.save(layout.forest(*at), {"model": model, "features": names, "scales": scales(names), "threshold": 0.5, "fill": fill})
