"""Calibrate the forest's probabilities: from votes at the samples' class shares to the probability that a segment of the area is mining.

The odds of the votes are raised to a power, which out-of-bag votes of the samples tell (Platt 1999, on the logarithm of the odds), and
multiplied by a factor such that the mean over the area is the prevalence. The order of segments, and so masks, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallmines.labels.forest import FLOOR
from smallmines.labels.threshold import ClearSegments

Floats = NDArray[np.float64]

STEEPEST = 10.0
"""Largest power of the odds: where classes are apart, any would do."""


@dataclass(frozen=True)
class Calibration:
    """Logistic function of the logarithm of the odds of votes: power and logarithm of the factor."""

    slope: float
    intercept: float

    def probability(self, votes: Floats) -> Floats:
        """Return the calibrated probability of each share of votes, rounded to four decimals."""
        return np.asarray(_logistic(self.slope * log_odds(votes) + self.intercept).round(4))


def calibrate(out_of_bag: Floats, y: NDArray[np.int8], clear: ClearSegments, share: float) -> Calibration:
    """Return the calibration of a forest in a block.

    Args:
        out_of_bag: (sample,) share of votes for mining by trees that did not see the sample; NaN where all did.
        y: (sample,) 1 mining, 0 not.
        clear: segments of the block.
        share: prevalence, above 0 and below 1 (nearer ones are taken as 1e-6 from them).
    """
    from scipy.optimize import brentq
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    has_votes = np.isfinite(out_of_bag)
    slope = 1.0
    if len(np.unique(y[has_votes])) == 2:
        odds = log_odds(out_of_bag[has_votes])
        with threadpool_limits(1):  # sums of several threads differ in the last bits
            model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000).fit(odds[:, None], y[has_votes])
        slope = round(float(np.clip(model.coef_[0, 0], 0.1, STEEPEST)), 4)
    levels, place = np.unique(clear.probabilities[:, 1], return_inverse=True)
    weight = np.bincount(place, weights=clear.area) / clear.area.sum()
    odds, wanted = slope * log_odds(levels), float(np.clip(share, 1e-6, 1 - 1e-6))

    def beyond(intercept: float) -> float:
        return float(weight @ _logistic(odds + intercept)) - wanted

    return Calibration(slope, round(float(brentq(beyond, -200.0, 200.0)), 4))


def log_odds(votes: Floats) -> Floats:
    """Return the logarithm of the odds of shares of votes."""
    return np.asarray(np.log((votes + FLOOR) / (1 - votes + FLOOR)))


def _logistic(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))
