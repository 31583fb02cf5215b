"""Random forest on single pixels, as published and fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.pack import Pack, Rows
from smallmines.benchmark.pixel_model import Floats, PixelModel
from smallmines.benchmark.sample import reservoir, undersample
from smallmines.core.log import logger
from smallmines.core.product import IMAGE_NODATA
from smallmines.labels import forest
from smallmines.settings.benchmark import Forest

PUBLISHED_SEED = 42
"""Seed of the released scripts for the undersampling."""


def fit(pack: Pack, train: Rows, val: Rows, settings: Forest, seed: int, threads: int) -> PixelModel:
    """Fit a forest. Without `pixels_per_class` the pixels are drawn as published, and val trains too: the paper has none.

    Args:
        val: rows to choose a threshold on; not seen by the fixed variant.
        seed: of the forest, and of the draw of the fixed variant.
    """
    as_published = settings.pixels_per_class is None
    if settings.pixels_per_class is None:
        pixels = undersample(pack, np.sort(np.concatenate([train, val])), settings.bands, PUBLISHED_SEED)
    else:
        pixels = reservoir(pack, train, settings.bands, settings.pixels_per_class, seed)
    logger.info("pixels by class: drawn %s of %s", pixels.drawn, pixels.there)
    gap = IMAGE_NODATA if as_published else None
    if not (pixels.drawn.get(0) and pixels.drawn.get(1)):
        logger.warning("train has one class: the model predicts no mining anywhere")
        return PixelModel(settings.bands, None, mining_probability, 1.0, gap)
    params: dict[str, Any] = {
        "n_estimators": settings.trees,
        "max_depth": settings.max_depth,
        "min_samples_leaf": settings.min_samples_leaf,
        "max_samples": None if settings.max_samples is None else min(settings.max_samples, len(pixels.y)),
    }
    model = forest.fit(pixels.x, pixels.y, params, seed, threads)
    return PixelModel(settings.bands, model, mining_probability, 1.0 if as_published else pixels.odds, gap)


def mining_probability(model: Any, x: NDArray[np.float32], threads: int) -> Floats:
    """Return the probability of mining of pixels (pixel, band)."""
    return forest.predict(model, x, [int(value) for value in model.classes_], threads)[:, list(model.classes_).index(1)]
