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
from smallmines.labels import tables
from smallmines.labels.event_files import read_events
from smallmines.labels.pixel_samples import interpreted, progress, read_design, require_about, rows_and_columns, sample_command
from smallmines.labels.prevalence import Prevalence
from smallmines.labels.prevalence_sample import estimate_from_sample
from smallmines.labels.threshold import ClearSegments

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = 0.95
"""Probability of the interval, see `estimate_from_sample`."""


@dataclass(frozen=True)
class SampleFiles:
    """The prevalence sample of a year and block.

    Attributes:
        files: the design (CSV) and the check-ins about it (JSON lines); empty where nothing is checked in.
        segments: label raster, which tells the segment of each pixel.
    """

    year: str
    block: str
    files: Sequence[str]
    segments: str | Path


def prevalence_by_sample(
    sample: SampleFiles,
    table: pd.DataFrame,
    probability: NDArray[np.float64],
    clear: ClearSegments,
    otherwise: Callable[[], Prevalence],
    seed: int,
) -> Prevalence:
    """Return the prevalence by the sample; where too few pixels are labelled, `otherwise`, with what is missing and the remedy.

    The first run has no sample: its forest makes the probabilities from which one is drawn. The share is at least that of the land that
    was sampled as mining.

    Args:
        table: features of the block.
        probability: (segment,) of mining, by the present forest.
        clear: the clear segments; the share is that of their area.

    Raises:
        UserError: the files are no design and decisions about it.
    """
    points = read_points(sample)
    done = progress(points)
    if not done.settled or done.lacks:
        return _not_yet(otherwise(), sample, f"{done.settled} of {done.drawn} pixels have a class" if done.drawn else "none is checked in")
    settled = points["reference"].to_numpy() >= 0
    area = np.where(tables.is_clear(table), table["area"].to_numpy(np.int64), 0)
    estimated = estimate_from_sample(points, points["reference"].to_numpy(), probability, area, seed)
    sampled = float(clear.area[clear.label == 1].sum() / clear.area.sum())
    share, low, high = (round(max(value, sampled), 4) for value in (estimated.value, estimated.low, estimated.high))
    mining = int((points["reference"] == 1).sum())
    details: dict[str, Any] = {"interval": INTERVAL, "points": done.drawn, "settled": int(settled.sum()), "mining": mining}
    details["sampled_share"] = round(sampled, 4)
    if not mining:
        details["note"] = f"none of the {done.settled} pixels of the sample is mining: mining covers at most {high:.4f} of the area"
        logger.warning("%s; %.4f, the share that was sampled as mining, is used", details["note"], share)
    logger.info("prevalence %.4f (%.4f to %.4f, sample: %d of %d pixels are mining)", share, low, high, mining, done.settled)
    return Prevalence(share, low, high, "sample", True, "", details)


def read_points(sample: SampleFiles) -> pd.DataFrame:
    """Read the drawn pixels with people's interpretation and the row of their segment; empty where nothing is checked in.

    Pixels that lie in no segment of the present segmentation have no class.

    Returns:
        Columns of the design, reference and who (see `interpreted`), segment (index from 0).

    Raises:
        UserError: the design is missing, or there are decisions about something else.
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
    points = interpreted(read_design(designs[0], "prevalence"), events)
    with raster.opened(sample.segments) as source:
        row, col, inside = rows_and_columns(points, raster.geobox_of(source))
        ids = np.zeros(len(points), np.int64)
        ids[inside] = source.read(1)[row[inside], col[inside]]
    return points.assign(
        segment=np.maximum(ids - 1, 0), reference=np.where(ids > 0, points["reference"], np.minimum(points["reference"], -1))
    )


def _not_yet(estimated: Prevalence, sample: SampleFiles, labelled: str) -> Prevalence:
    """Return an estimate that says why the sample is not used."""
    why = f"assistant.prevalence is sample, but too few pixels of the sample are labelled ({labelled})"
    remedy = f"label the prevalence sample and check it in: {sample_command('prevalence', sample.year, sample.block)}"
    share, low, high = estimated.share, estimated.low, estimated.high
    logger.warning("%s: the share is estimated from the samples, %.4f (%.4f to %.4f); better %s", why, share, low, high, remedy)
    of_estimate = {
        "estimate_identifiable": estimated.identifiable,
        **({"estimate_why": estimated.details["why"]} if "why" in estimated.details else {}),
    }
    return replace(estimated, identifiable=False, remedy=remedy, details=estimated.details | of_estimate | {"why": why})
