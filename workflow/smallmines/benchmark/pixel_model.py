"""Models that see single pixels: from bands to the probability of mining, on a pack or on any image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.metrics import to_uint8
from smallmines.benchmark.pack import Pack, Rows, chunks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PixelModel:
    """A fitted model of single pixels.

    Attributes:
        bands: that it takes, in order.
        estimator: has `predict_proba` of scikit-learn, or None: mining nowhere, since train had one class.
        predict: (estimator, x, threads) → probability of mining (pixel,), a function of the module of the model.
        odds: factor of the odds of mining, see `sample.Pixels.odds` (Elkan 2001, The foundations of cost-sensitive learning).
        gap: value in place of gaps; None: a pixel with a gap is no mining.
    """

    bands: tuple[str, ...]
    estimator: Any
    predict: Callable[[Any, NDArray[np.float32], int], Floats]
    odds: float
    gap: float | None

    def probability(self, image: NDArray[np.float32], threads: int) -> NDArray[np.uint8]:
        """Return the probability of mining in steps of 1/255.

        Args:
            image: (band, …) float32 of `bands`, NaN gaps.

        Returns:
            uint8 of the shape of a band.
        """
        x = image.reshape(len(self.bands), -1).T
        if self.estimator is None:
            return np.zeros(image.shape[1:], np.uint8)
        if self.gap is not None:
            return to_uint8(self._corrected(np.nan_to_num(x, nan=self.gap), threads)).reshape(image.shape[1:])
        result = np.zeros(len(x), np.uint8)
        whole = np.isfinite(x).all(axis=1)
        if whole.any():
            result[whole] = to_uint8(self._corrected(x[whole], threads))
        return result.reshape(image.shape[1:])

    def _corrected(self, x: NDArray[np.float32], threads: int) -> Floats:
        p = self.predict(self.estimator, np.ascontiguousarray(x), threads)
        return np.asarray(p * self.odds / (p * self.odds + 1 - p))

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return the probability of rows of a pack: uint8 (tile, row, column)."""
        result = np.zeros((len(rows), pack.side, pack.side), np.uint8)
        for part in chunks(np.arange(len(rows))):
            result[part] = self.probability(np.moveaxis(pack.read(rows[part], self.bands), 1, 0), threads)
        return result
