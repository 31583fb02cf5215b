"""The probability from which a segment is predicted mining: such that the predicted share of the area meets the prevalence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallmines.core.log import logger
from smallmines.settings.assistant import Assistant


@dataclass(frozen=True)
class ClearSegments:
    """Segments of a block that count in shares of the area: those seen clearly (`tables.CLEAR`), or all where none is.

    Attributes:
        x: (segment, feature) float32, scaled.
        area: (segment,) float64, pixels.
        probabilities: (segment, class 0 and 1) float64, by the forest of all samples.
        label: (segment,) int8: 1 or 0 where the segment is a sample of this block, -1 elsewhere.
    """

    x: NDArray[np.float32]
    area: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    label: NDArray[np.int8]

    def of(self, rows: NDArray[np.intp]) -> ClearSegments:
        """Return some of the segments, by row number."""
        return ClearSegments(self.x[rows], self.area[rows], self.probabilities[rows], self.label[rows])

    def predicted_share(self, threshold: float) -> float:
        """Return the share of the area at or above a probability of mining."""
        return float(self.area[self.probabilities[:, 1] >= threshold].sum() / self.area.sum())


@dataclass(frozen=True)
class Threshold:
    """The probability from which a segment is predicted mining.

    Attributes:
        value: 0 to 1, or 1.0001 where nothing is.
        rule: `match_prevalence`, or `number` where the configuration gives the value.
        predicted_share: share of the clear area that is predicted mining, at this threshold and at 0.5.
    """

    value: float
    rule: str
    predicted_share: dict[float, float]


def find_threshold(clear: ClearSegments, share: float, settings: Assistant) -> Threshold:
    """Return the threshold of the configuration, or the one at which the predicted share of the area matches `share`."""
    if settings.threshold == "match_prevalence":
        value = matching_threshold(clear.probabilities[:, 1], clear.area, share)
    else:
        value = settings.threshold
    predicted = {level: clear.predicted_share(level) for level in sorted({value, 0.5})}
    if value > 1:
        logger.warning("no segment is predicted mining: the share %.4f is below that of the segments with the most votes", share)
    logger.info("threshold %.4f: %.4f of the area is predicted mining (%.4f at 0.5)", value, predicted[value], predicted[0.5])
    return Threshold(value, settings.threshold if isinstance(settings.threshold, str) else "number", predicted)


def matching_threshold(probability: NDArray[np.float64], area: NDArray[np.float64], share: float) -> float:
    """Return the probability at which the predicted share of the area is nearest to `share`; of equally near ones the highest.

    At least 0.0001: a segment with probability 0 is never mining.
    """
    levels, place = np.unique(probability, return_inverse=True)
    above = np.cumsum(np.bincount(place, weights=area)[::-1])[::-1] / area.sum()
    levels, above = np.append(levels, 1.0001), np.append(above, 0.0)
    usable = levels > 0
    levels, above = levels[usable], above[usable]
    distance = np.abs(above - share).round(12)
    return float(levels[np.flatnonzero(distance == distance.min())[-1]].round(4))
