"""A synthetic place (see `place`) with all that a session in the browser shows: images of two years, elevation, masks, a forest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from place import YEARS, decide_again, make_place
from smallmines.annotation.block_year import BlockYear
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.labels import tables
from smallmines.labels.feature_table import PAPER, matrix, medians
from smallmines.labels.forest import fit, predict

FOREST = {"n_estimators": 20, "max_depth": 8, "min_samples_split": 5}


def make_shown_place(root: Path, year: str = "2022", **labels: object) -> BlockYear:
    """Make a place whose probabilities come from a forest of 30 samples of each class, with images and masks of both years."""
    block_year = make_place(root, year, **labels)
    rng, geobox, layout = np.random.default_rng(5), block_year.lattice.block("1"), block_year.layout
    shape = tuple(geobox.shape)
    for name in YEARS:
        dn = rng.integers(1000, 3000, (len(S2_BANDS), *shape)).astype(np.uint16)
        dn[:, :6, :10] = 0
        raster.write(layout.s2(name, "1"), dn, geobox, 0, S2_BANDS)
        radar = rng.normal(-10, 2, (2, *shape)).astype(np.float32)
        radar[:, -4:] = np.nan
        raster.write(layout.s1(name, "1"), radar, geobox, float("nan"), ["VV", "VH"])
    row, col = np.indices(shape)
    raster.write(layout.dem("1"), (200 + row + 2 * col).astype(np.float32), geobox, float("nan"), ["DEM"])
    for name in YEARS:
        mask = rng.choice(np.array([0, 1, 255], np.uint8), shape, p=[0.6, 0.3, 0.1])
        raster.write(layout.mask(name, "1"), mask, geobox, 255, ["mining"])
    _assistant(block_year, rng)
    decide_again(block_year)
    return block_year


def _assistant(block_year: BlockYear, rng: np.random.Generator) -> None:
    """Write samples by the segments' brightness, and probabilities and metrics of a forest trained on them."""
    at, layout, table = (block_year.year, "1"), block_year.layout, block_year.features()
    bright = table[list(S2_BANDS)].mean(axis=1).to_numpy()
    order = np.argsort(bright)
    chosen = np.sort(np.concatenate([rng.choice(order[-200:], 30, replace=False), rng.choice(order[:-200], 30, replace=False)]))
    label = (bright[chosen] >= bright[order[-200]]).astype(np.int8)
    samples = pd.DataFrame(
        {"segment": table["segment"].iloc[chosen], "label": label, "subclass": "", "tile_id": table["tile_id"].iloc[chosen]}
    )
    tables.write(layout.samples(*at), samples.assign(who="").astype({"subclass": object, "who": object}), "samples")
    x = matrix(table, PAPER, medians(table, PAPER))
    model = fit(x[chosen], label, FOREST, block_year.config.assistant.seed, 1)
    votes = predict(model, x, [0, 1], 1)[:, 1]
    entropy = -sum(p * np.log2(np.clip(p, 1e-12, 1)) for p in (votes, 1 - votes))
    probabilities = pd.DataFrame({"segment": table["segment"], "probability": votes.astype(np.float32)})
    probabilities = probabilities.assign(entropy=entropy.astype(np.float32).clip(0, 1), calibrated=probabilities["probability"])
    tables.write(layout.probabilities(*at), probabilities, "probabilities")
    importances = dict(zip(PAPER, model.feature_importances_.round(6).tolist(), strict=True))
    share = float(np.average(votes >= 0.5, weights=table["area"]))
    metrics = {"threshold": 0.5, "forest": FOREST, "features": PAPER, "importances": importances, "prevalence": {"share": share}}
    write_json(layout.forest_metrics(*at), metrics)
