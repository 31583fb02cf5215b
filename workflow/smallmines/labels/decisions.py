"""Check the events of a block and year and find the decision in force for each segment of the present segmentation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.labels import event_files, tables
from smallmines.labels.transfer import decisions_in_force
from smallmines.segment.features import read_features
from smallmines.settings.transfer import Transfer


@dataclass(frozen=True)
class Outputs:
    """Paths of the table `decisions` (Parquet), and of lineage and review list (CSV; see `transfer.Settled`)."""

    decisions: str | Path
    lineage: str | Path
    review: str | Path


def check_events(
    paths: Sequence[str], year: str, block: str, features: str | Path, segments: str | Path, settings: Transfer, outputs: Outputs
) -> None:
    """Read the events of a block and year; write the decision in force for each segment, and what became of each event.

    Raises:
        UserError: an unusable file, or an event of another year or block.
    """
    events = event_files.read_events(paths)
    require_home(events, int(year), block)
    with raster.opened(segments) as source:
        settled = decisions_in_force(events, read_features(features), lambda: source.read(1), raster.geobox_of(source), settings)
    logger.info("%d decisions in %d files", len(settled.decisions), len(paths))
    for fate, number in settled.lineage["fate"].value_counts().items():
        logger.log(logging.WARNING if fate in {"review", "lost"} else logging.INFO, "%s: %d events", fate, number)
    if len(settled.review):
        logger.warning("%d segments are disputed or took no label: listed in %s", len(settled.review), outputs.review)
    tables.write(outputs.decisions, settled.decisions, "decisions")
    for path, table in ((outputs.lineage, settled.lineage), (outputs.review, settled.review)):
        with written(path) as beside:
            table.to_csv(beside, index=False, lineterminator="\n")


def require_home(events: Sequence[event_files.Event], year: int, block: str) -> None:
    """Refuse events of another year or block, and events about samples of pixels: used as labels, these would judge themselves.

    Raises:
        UserError: there are such events.
    """
    for kind, provenance in event_files.PROVENANCE_OF.items():
        if reference := [event for event in events if event.provenance == provenance]:
            raise UserError(
                "events about segments",
                f"{len(reference)} about pixels of the {kind} sample, the first by {reference[0].annotator} at {reference[0].time}",
                f"move their files back to {kind}/{year}/{block}",
            )
    strays = [event for event in events if (event.year, event.block) != (year, block)]
    if strays:
        raise UserError(
            f"events of {year}, block {block}",
            f"{len(strays)} of others, the first of {strays[0].year}, block {strays[0].block} by {strays[0].annotator} at {strays[0].time}",
            "move their files to the folder of their year and block",
        )
