"""Features of segments as the forest reads them: which columns, scaled how, and what stands where there are no data.

`paper`: as in the authors' working code, segment means of the ten Sentinel-2 bands / 10000 and of the DEM / 500. `context`: these and the
context features (see `smallmines.segment.context`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


USUAL = {**{name: -10.0 for name in CONTEXT if name.startswith("VV")}, **{name: -17.0 for name in CONTEXT if name.startswith("VH")}}
"""Values of features that no segment of a block has: dB of land as it usually is. A forest of all blocks may know others; others have 0."""


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


def matrix(table: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float32]:
    """Return scaled features (segment, feature) float32; where one has no value stands the block's median, see `medians`."""
    values = table[list(names)].to_numpy(np.float64, copy=True)
    for column, fill in enumerate(medians(table, names).values()):
        values[~np.isfinite(values[:, column]), column] = fill
    values /= scales(names)
    return values.astype(np.float32)


def scales(names: Sequence[str]) -> NDArray[np.float64]:
    """Return the divisors of features, see `SCALES`."""
    return np.array([SCALES.get(name, 1.0) for name in names])


def medians(table: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Return the median of each feature over the segments that have a value, in its own unit; where none has, see `USUAL`."""
    result = {}
    for name in names:
        values = table[name].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        result[name] = float(np.median(values)) if len(values) else USUAL.get(name, 0.0)
    return result


def missing(table: pd.DataFrame, names: Sequence[str]) -> Mapping[str, int]:
    """Return the number of segments without a value, for the features that have such segments."""
    count = {name: int((~np.isfinite(table[name].to_numpy(np.float64))).sum()) for name in names}
    return {name: number for name, number in count.items() if number}
