"""Histogram gradient boosting on single pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.pack import Pack, Rows
from smallmines.benchmark.pixel_model import Floats, PixelModel
from smallmines.benchmark.sample import reservoir
from smallmines.core.log import logger
from smallmines.settings.benchmark import Boosting


def fit(pack: Pack, train: Rows, val: Rows, settings: Boosting, seed: int, threads: int) -> PixelModel:
    """Fit gradient boosting on a reservoir of pixels of train, with a fixed number of rounds: val only chooses the threshold.

    Args:
        seed: of the draw.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    pixels = reservoir(pack, train, settings.bands, settings.pixels_per_class, seed)
    logger.info("pixels by class: drawn %s of %s", pixels.drawn, pixels.there)
    if not all(pixels.drawn.values()):
        logger.warning("train has one class: the model predicts no mining anywhere")
        return PixelModel(settings.bands, None, mining_probability, 1.0, None)
    model = HistGradientBoostingClassifier(
        max_iter=settings.rounds,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.leaves,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(threads):
        model.fit(pixels.x, pixels.y)
    return PixelModel(settings.bands, model, mining_probability, pixels.odds, None)


def mining_probability(model: Any, x: NDArray[np.float32], threads: int) -> Floats:
    """Return the probability of mining of pixels (pixel, band), to four decimals, so that it is the same on every machine."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return np.asarray(model.predict_proba(x)[:, 1].round(4))
