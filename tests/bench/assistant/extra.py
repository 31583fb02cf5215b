"""Features of segments that were tried for the assistant, those of the library among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from bench.assistant.places import Place
from smallmines.core import raster
from smallmines.core.product import S2_BANDS
from smallmines.labels.feature_table import PAPER
from smallmines.segment.context import CONTEXT, INDICES, RADAR, WINDOWS, Points, context_features, cumulative, window_corners, window_sums
from smallmines.segment.features import features

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

NEIGHBOURHOOD = 51
"""Side in pixels of the window whose mean height is the level of the surroundings."""

_RADAR_OF_SEGMENT = (*RADAR, *(f"{name}_9" for name in RADAR))
_RADAR = tuple(name for name in CONTEXT if name.startswith(RADAR))
_INDICES = tuple(name for name in CONTEXT if name.startswith(INDICES))
_MEANS = tuple(f"{band}_{side}" for side in WINDOWS for band in S2_BANDS)
_DEVIATIONS = tuple(f"sd_{band}" for band in S2_BANDS)
_SIZE, _TERRAIN = ("log_area", "compactness"), ("slope", "above_surroundings")

SETS: dict[str, tuple[str, ...]] = {
    "paper": PAPER,
    "+ radar of segment, 9 px": (*PAPER, *_RADAR_OF_SEGMENT),
    "+ radar of segment, 9, 21 px": (*PAPER, *_RADAR),
    "+ indices of segment": (*PAPER, *INDICES),
    "+ indices of segment, 9, 21 px": (*PAPER, *_INDICES),
    "+ means of bands, 9, 21 px": (*PAPER, *_MEANS),
    "+ standard deviations": (*PAPER, *_DEVIATIONS),
    "+ size and compactness": (*PAPER, *_SIZE),
    "+ slope, height above surroundings": (*PAPER, *_TERRAIN),
    "context (radar and indices)": (*PAPER, *CONTEXT),
    "context + means of bands": (*PAPER, *CONTEXT, *_MEANS),
    "context + standard deviations": (*PAPER, *CONTEXT, *_DEVIATIONS),
    "context + size and compactness": (*PAPER, *CONTEXT, *_SIZE),
    "context + slope, height": (*PAPER, *CONTEXT, *_TERRAIN),
    "context − DEM": (*S2_BANDS, *CONTEXT),
    "all of these": (*PAPER, *CONTEXT, *_MEANS, *_DEVIATIONS, *_SIZE, *_TERRAIN),
}
"""Features by the name of the set."""


def everything(place: Place) -> pd.DataFrame:
    """Return the table of features of a place with all context features, all features of `SETS`, and row and col of the interior point."""
    import pandas as pd

    labels = place.labels()
    lattice = place.lattice
    with raster.opened(place.s2) as s2, raster.opened(place.s1) as s1, raster.opened(place.clear) as clear, raster.opened(place.dem) as dem:
        table = features(labels, s2, clear, dem, lattice, place.block)
        points = Points.of(table, lattice.block(place.block))
        context = context_features(labels, table, points, s2, s1)
        cube, height = s2.read(), dem.read(1).astype(np.float64)
    more: dict[str, Any] = {}
    seen = cube[0] > 0
    for name, band in zip(S2_BANDS, cube.astype(np.float64), strict=True):
        for side in WINDOWS:
            more[f"{name}_{side}"] = window_means(np.where(seen, band, 0), seen, points, side)
        more[f"sd_{name}"] = np.sqrt(np.maximum(_segment_means(labels, band**2) - _segment_means(labels, band) ** 2, 0))
    more |= _terrain(height, points)
    area = table["area"].to_numpy(np.float64)
    more |= {"log_area": np.log(area), "compactness": 4 * np.pi * area / perimeters(labels) ** 2, "row": points.row, "col": points.col}
    return pd.concat([table, context, pd.DataFrame(more)], axis=1)


def window_means(values: Floats, seen: NDArray[np.bool_], points: Points, side: int) -> Floats:
    """Return the mean over the window of each point, NaN where nothing in it is seen, (segment,)."""
    corners = window_corners(points.row, points.col, side // 2, Window(0, 0, values.shape[1], values.shape[0]))
    with np.errstate(invalid="ignore"):
        return np.asarray(window_sums(cumulative(values), corners) / window_sums(cumulative(seen.astype(np.float64)), corners))


def perimeters(labels: NDArray[np.uint32]) -> Floats:
    """Return the number of pixel sides on the outline of each segment, (segment,)."""
    padded = np.pad(labels, 1)
    inner, total = padded[1:-1, 1:-1], np.zeros(int(labels.max()) + 1)
    for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        total += np.bincount(inner.ravel(), (other != inner).ravel(), minlength=len(total))
    return total[1:]


def _segment_means(labels: NDArray[np.uint32], values: Floats) -> Floats:
    sums, area = np.bincount(labels.ravel(), values.ravel()), np.bincount(labels.ravel())
    return np.asarray(sums[1:] / area[1:])


def _terrain(height: Floats, points: Points) -> dict[str, Floats]:
    """Return slope (m per m, central differences) at the interior point, and its height above the mean of the surroundings in m."""
    seen = np.isfinite(height)
    filled = np.where(seen, height, np.median(height[seen]) if seen.any() else 0)
    down, right = np.gradient(filled, 10.0)
    slope = np.hypot(down, right)[points.row, points.col]
    return {
        "slope": slope,
        "above_surroundings": filled[points.row, points.col] - window_means(np.where(seen, filled, 0), seen, points, NEIGHBOURHOOD),
    }
