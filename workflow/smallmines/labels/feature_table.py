"""Features of segments as the forest reads them: which columns, scaled how, and what stands where there are no data.

`paper`: as in the authors' working code, segment means of the ten Sentinel-2 bands / 10000 and of the DEM / 500. `context`: these and the
context features (see `smallmines.segment.context`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS
from smallmines.segment.context import CONTEXT, RADAR, WINDOWS, read_context
from smallmines.segment.features import read_features

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox

PAPER = (*S2_BANDS, "DEM")

SCALES = {**dict.fromkeys(S2_BANDS, 10000.0), "DEM": 500.0} | {name: 20.0 for name in CONTEXT if name.startswith(RADAR)}
"""Divisors of features: digital numbers to reflectance, metres and dB to about 1; others have 1."""


MOST_LACKING = 0.5
"""Share of the segments of a block without a value from which no forest of the block uses the feature: what stands in its place would
say where a segment lies, and not what it is."""


def feature_names(kind: Literal["paper", "context"]) -> tuple[str, ...]:
    """Return the names of the features of `assistant.features`, in the order of the forest."""
    return PAPER if kind == "paper" else (*PAPER, *CONTEXT)


def window_size(geobox: GeoBox) -> float:
    """Return the side of the largest window of the context features on a grid, in the unit of its CRS."""
    return float(max(WINDOWS) * abs(geobox.affine.a))


def read_table(features: str | Path, context: str | Path | None) -> pd.DataFrame:
    """Read the features of a block's segments, with the context features where a table of them is given.

    Raises:
        UserError: a table is broken, or the two are of different segmentations.
    """
    table = read_features(features)
    if context is None:
        return table
    around = read_context(context)
    if not around["segment"].equals(table["segment"]):
        raise UserError(f"the segments of {features}", f"{len(around)} other segments in {context}", f"delete {context} and run again")
    return table.assign(**{name: around[name] for name in CONTEXT})


def matrix(table: pd.DataFrame, names: Sequence[str], fill: Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """Return scaled features (segment, feature) float32.

    Args:
        fill: what stands where a feature has no value, in its own unit; the medians of the table where None.
    """
    values = table[list(names)].to_numpy(np.float64, copy=True)
    fill = medians(table, names) if fill is None else fill
    for column, name in enumerate(names):
        values[~np.isfinite(values[:, column]), column] = fill[name]
    values /= scales(names)
    return values.astype(np.float32)


def scales(names: Sequence[str]) -> NDArray[np.float64]:
    """Return the divisors of features, see `SCALES`."""
    return np.array([SCALES.get(name, 1.0) for name in names])


def medians(table: pd.DataFrame, names: Sequence[str], other: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the median of each feature over the segments that have a value, in its own unit.

    Args:
        other: values of features that no segment has; 0 where it names none.
    """
    other = other or {}
    result = {}
    for name in names:
        values = table[name].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        result[name] = float(np.median(values)) if len(values) else other.get(name, 0.0)
    return result


def usable(tables: Iterable[pd.DataFrame], names: Sequence[str]) -> tuple[str, ...]:
    """Return the features that at least half of the segments of each block have (`MOST_LACKING`), all where this leaves none."""
    lacking = {name for table in tables for name, number in missing(table, names).items() if number > MOST_LACKING * len(table)}
    return tuple(name for name in names if name not in lacking) or tuple(names)


def missing(table: pd.DataFrame, names: Sequence[str]) -> Mapping[str, int]:
    """Return the number of segments without a value, for the features that have such segments."""
    count = {name: int((~np.isfinite(table[name].to_numpy(np.float64))).sum()) for name in names}
    return {name: number for name, number in count.items() if number}
