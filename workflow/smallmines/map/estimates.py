"""Estimate the area of mining in a part of a run from the accuracy sample.

The sample is stratified, each block for itself, and the strata are those of the day of the draw, which cannot be drawn again. So the sizes
of the strata inside a part are unknown, and the estimator is that of a domain in a stratified sample: the points outside the part stay in
the sample with the value 0 (Cochran, Sampling Techniques, 3rd ed. 1977, section 5A.14; Särndal et al., Model Assisted Survey Sampling,
1992, section 10.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.labels.accuracy import Estimate
from smallmines.labels.event_files import read_events
from smallmines.labels.label_quality import place_of
from smallmines.labels.pixel_samples import (
    interpreted,
    read_design,
    require_about,
    require_design,
    require_drawn,
    require_places,
    rows_and_columns,
)
from smallmines.map.intervals import interval

if TYPE_CHECKING:
    import pandas as pd

LEAST_POINTS = 20
"""Least number of interpreted points in a part for an estimate."""

LEAST_MINING = 5
"""Least number of them that are mining."""

NO_SAMPLE, TOO_FEW = "no accuracy sample", "too few points"
"""Why there is no estimate."""


@dataclass(frozen=True)
class DomainEstimate:
    """Estimate of the pixels of mining in a part of a run.

    Attributes:
        points, mining_points: interpreted points in the part, and those that are mining.
        pixels: estimate with its 95 % interval; None where there is none.
        why: why there is none; empty where there is one.
    """

    points: int
    mining_points: int
    pixels: Estimate | None
    why: str = ""


def read_points(design: str, references: Sequence[str], year: str, block: str, geobox: GeoBox) -> pd.DataFrame:
    """Read the accuracy sample of a year and block with people's interpretation.

    Args:
        design: file of the drawn pixels.
        references: event files with decisions about them.
        geobox: of the run's whole lattice.

    Returns:
        A row a drawn pixel: block, stratum (`<block>/<code>`), pixels (of the stratum), reference (see `interpreted`), row, col (on the
        lattice).

    Raises:
        UserError: the design or the decisions are not those of the year and block.
    """
    drawn, events = read_design(design), read_events(references)
    require_places(design, drawn, geobox)
    require_about(events, "accuracy", int(year), block)
    require_drawn(design, drawn, events)
    points = interpreted(drawn, events)
    row, col, _ = rows_and_columns(points, geobox)
    stratum = [f"{block}/{code}" for code in points["stratum"]]
    return points.assign(block=block, stratum=stratum, row=row, col=col)[["block", "stratum", "pixels", "reference", "row", "col"]]


def no_points() -> pd.DataFrame:
    """Return the sample of a year without one, see `read_points`."""
    import pandas as pd

    numbers = dict.fromkeys(("pixels", "reference", "row", "col"), np.zeros(0, np.int64))
    return pd.DataFrame({"block": np.zeros(0, object), "stratum": np.zeros(0, object), **numbers})


def samples_of_years(designs: Sequence[str], references: Sequence[str], years: Sequence[str], geobox: GeoBox) -> dict[str, pd.DataFrame]:
    """Return the accuracy sample of each year, see `read_points`; an empty table where none was drawn.

    Args:
        designs, references: people's files of all years and blocks.

    Raises:
        UserError: see `read_points`; or check-ins of a year and block without a design.
    """
    import pandas as pd

    for place in sorted({place_of(path) for path in references} - {place_of(path) for path in designs}):
        require_design([], [path for path in references if place_of(path) == place], "accuracy")
    parts: dict[str, list[pd.DataFrame]] = {year: [] for year in years}
    for path in designs:
        year, block = place_of(path)
        parts[year].append(read_points(path, [other for other in references if place_of(other) == (year, block)], year, block, geobox))
    return {year: pd.concat(tables, ignore_index=True) if tables else no_points() for year, tables in parts.items()}


def domain_estimate(points: pd.DataFrame, inside: NDArray[np.bool_], blocks: Sequence[str]) -> DomainEstimate:
    """Estimate the pixels of mining in a part of a run, or say why it cannot be done.

    Args:
        points: of all blocks with a sample, see `read_points`.
        inside: which of them lie in the part.
        blocks: those that the part has pixels in; only their strata count, since all points of others have the value 0.
    """
    settled = points["reference"].to_numpy() >= 0
    of_part = settled & inside
    count, mining_count = int(of_part.sum()), int((of_part & (points["reference"] == 1)).sum())
    why = _why_not(points, settled, blocks)
    if not why and (count < LEAST_POINTS or mining_count < LEAST_MINING):
        why = TOO_FEW
    if why:
        return DomainEstimate(count, mining_count, None, why)
    own = points["block"].isin(blocks).to_numpy() & settled
    sample = points[own]
    names, stratum = np.unique(sample["stratum"].to_numpy(str), return_inverse=True)
    size = sample.groupby("stratum")["pixels"].first()[list(names)].to_numpy(np.float64)
    mining = (sample["reference"].to_numpy() == 1) & inside[own]
    return DomainEstimate(count, mining_count, domain_total(mining, stratum, size))


def _why_not(points: pd.DataFrame, settled: NDArray[np.bool_], blocks: Sequence[str]) -> str:
    if points.empty:
        return NO_SAMPLE
    if missing := [block for block in blocks if block not in set(points["block"])]:
        return f"{NO_SAMPLE} in block {', '.join(missing)}"
    of_blocks = points["block"].isin(blocks)
    settled_in = points[of_blocks & settled].groupby("stratum").size()
    drawn_in = points[of_blocks].groupby("stratum").size()
    lacking = int((settled_in.reindex(drawn_in.index, fill_value=0) < 2).sum())
    return f"fewer than 2 interpreted points in {lacking} of {len(drawn_in)} strata" if lacking else ""


def domain_total(mining: NDArray[np.bool_], stratum: NDArray[np.intp], size: NDArray[np.float64]) -> Estimate:
    """Estimate the number of pixels of mining in a part, with its 95 % interval.

    With N pixels in a stratum, and y = 1 for a point of mining in the part, else 0: the sum over the strata of N · mean(y).

    Args:
        mining: y of each point.
        stratum: number of each point's stratum, 0…
        size: pixels of each stratum.
    """
    n, positive = (np.bincount(stratum, weights, minlength=len(size)).astype(np.float64) for weights in (None, mining))
    value = float(size @ (positive / n))
    low, high = interval(positive, n, size)
    return Estimate(value, min(low, value), max(high, value))
