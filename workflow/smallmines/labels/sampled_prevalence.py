"""The prevalence by the prevalence sample of a block, as far as people have labelled it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables
from smallmines.labels.event_files import read_events
from smallmines.labels.pixel_samples import (
    Progress,
    interpreted,
    progress,
    read_design,
    require_about,
    require_drawn,
    require_places,
    rows_and_columns,
    sample_command,
)
from smallmines.labels.prevalence import WIDEST, Prevalence
from smallmines.labels.prevalence_sample import estimate_from_sample, ignored_points
from smallmines.labels.threshold import ClearSegments

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = 0.95
"""Probability of the interval, see `estimate_from_sample`."""

CHANGED = 0.1
"""Largest change of the clear land since the draw, relative."""

KNOWN = "set assistant.prevalence to a known share, or read the interval"
"""What to do where the sample leaves the share open."""


@dataclass(frozen=True)
class SampleFiles:
    """The prevalence sample of a year and block.

    Attributes:
        files: the design (CSV) and the check-ins about it (JSON lines); empty where nothing is checked in.
        segments: label raster, which tells the segment of each pixel.
        grid: `grid.json`.
        points: `assistant.prevalence_points`, for a warning where the sample was drawn with another number.
    """

    year: str
    block: str
    files: Sequence[str]
    segments: str | Path
    grid: str | Path
    points: int


def prevalence_by_sample(
    sample: SampleFiles,
    points: pd.DataFrame,
    table: pd.DataFrame,
    probability: NDArray[np.float64],
    clear: ClearSegments,
    otherwise: Callable[[], Prevalence],
    seed: int,
) -> Prevalence:
    """Return the prevalence by the sample; where it is not labelled to its end, `otherwise`, with what is missing and the remedy.

    The first run has no sample: its forest makes the probabilities from which one is drawn. The share is at least that of the land that
    was sampled as mining.

    Args:
        points: see `read_points`.
        table: features of the block.
        probability: (segment,) of mining, by the present forest.
        clear: the clear segments; the share is that of their area.
    """
    done = progress(points)
    area = np.where(tables.is_clear(table), table["area"].to_numpy(np.int64), 0)
    if why := _unusable(points, done, int(area.sum())):
        return _not_yet(otherwise(), sample, why, done)
    reference = points["reference"].to_numpy()
    estimated = estimate_from_sample(points, reference, probability, area, seed)
    sampled = float(clear.area[clear.label == 1].sum() / clear.area.sum())
    least = max(estimated.low, min(sampled, estimated.high))
    share, low, high = (round(value, 4) for value in (max(estimated.value, sampled), least, estimated.high))
    mining = int((reference == 1).sum())
    details: dict[str, Any] = {"interval": INTERVAL, "points": done.drawn, "settled": done.settled, "mining": mining}
    details["sampled_share"] = round(sampled, 4)
    if why := _uncertain((low, high), sampled, mining, done):
        details["why"] = why
        logger.warning("the prevalence sample of %s, block %s: %s", sample.year, sample.block, why)
    logger.info("prevalence %.4f (%.4f to %.4f, sample: %d of %d pixels are mining)", share, low, high, mining, done.settled)
    return Prevalence(share, low, high, "sample", not why, KNOWN if why else "", details)


def _unusable(points: pd.DataFrame, done: Progress, area: int) -> str:
    """Say why a sample gives no share yet; empty where it does.

    Args:
        area: pixels of the clear land.
    """
    if not done.drawn:
        return "none is checked in"
    if done.looked_at < done.drawn:
        return f"{done.looked_at} of {done.drawn} pixels are looked at; those that are left may differ from them"
    if not done.settled or done.lacks:
        return f"{done.settled} of {done.drawn} pixels have a class, the others are unsure or labelled differently by two people"
    drawn_from = int(points.groupby("stratum")["pixels"].first().sum())
    if abs(drawn_from - area) > CHANGED * area:
        return f"it was drawn from {drawn_from} pixels of clear land, and there are {area}: move it and its check-ins away, and draw again"
    return ""


def _uncertain(ends: tuple[float, float], sampled: float, mining: int, done: Progress) -> str:
    """Say why the sample leaves the share open; empty where it does not.

    Args:
        ends: of the interval; sampled: share of the area that the samples of the forest say to be mining.
        mining: number of pixels that are mining.
    """
    low, high = ends
    if sampled > high + 5e-5:
        return f"the samples call {sampled:.4f} of the area mining, the sample of pixels at most {high:.4f}: look at the samples again"
    if not mining:
        return f"none of the {done.settled} pixels is mining: mining covers at most {high:.4f} of the area"
    if high > WIDEST * low:
        return f"only {mining} of the {done.settled} pixels are mining: {low:.4f} to {high:.4f} of the area"
    return ""


def read_points(sample: SampleFiles) -> pd.DataFrame:
    """Read the drawn pixels with people's interpretation and the row of their segment; empty where nothing is checked in.

    Pixels that lie in no segment of the present segmentation have no class.

    Returns:
        Columns of the design, reference and who (see `interpreted`), segment (index from 0).

    Raises:
        UserError: the design is missing or not as it was drawn, or there are decisions about something else.
    """
    import pandas as pd

    if not sample.files:
        return pd.DataFrame({"stratum": np.array([], np.int64), "reference": np.array([], np.int64)})
    designs = [path for path in sample.files if path.endswith(".csv")]
    if not designs:
        home = f"prevalence/{sample.year}/{sample.block}"
        do = f"restore {home}.csv from a backup or another computer, or move the folder {home} away"
        raise UserError(f"the design of the prevalence sample of {sample.year}, block {sample.block}", "only check-ins of it", do)
    events = read_events([path for path in sample.files if not path.endswith(".csv")])
    require_about(events, "prevalence", int(sample.year), sample.block)
    design = read_design(designs[0], "prevalence")
    if told := ignored_points(design, sample.points, sample.year, sample.block):
        logger.warning("%s", told)
    require_places(designs[0], design, read_lattice(sample.grid).geobox)
    require_drawn(designs[0], design, events)
    points = interpreted(design, events)
    with raster.opened(sample.segments) as source:
        row, col, inside = rows_and_columns(points, raster.geobox_of(source))
        ids = np.zeros(len(points), np.int64)
        ids[inside] = source.read(1)[row[inside], col[inside]]
    return points.assign(
        segment=np.maximum(ids - 1, 0), reference=np.where(ids > 0, points["reference"], np.minimum(points["reference"], -1))
    )


def _not_yet(estimated: Prevalence, sample: SampleFiles, state: str, done: Progress) -> Prevalence:
    """Return an estimate that says why the sample is not used."""
    why = f"assistant.prevalence is sample, but the sample cannot be used yet ({state})"
    remedy = f"label the prevalence sample and check it in: {sample_command('prevalence', sample.year, sample.block)}"
    remedy = KNOWN if done.drawn and done.looked_at == done.drawn else remedy
    share, low, high = estimated.share, estimated.low, estimated.high
    logger.warning("%s: the share is estimated from the samples, %.4f (%.4f to %.4f); better %s", why, share, low, high, remedy)
    of_estimate = {
        "settled": done.settled,
        "estimate_identifiable": estimated.identifiable,
        **({"estimate_why": estimated.details["why"]} if "why" in estimated.details else {}),
    }
    return replace(estimated, identifiable=False, remedy=remedy, details=estimated.details | of_estimate | {"why": why})
