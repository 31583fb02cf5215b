"""People's events of a block and year, checked, and what they come to on the present segmentation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.labels import event_files, tables
from smallmines.labels.transfer import settle
from smallmines.segment.features import read_features
from smallmines.settings.transfer import Transfer


def check_events(
    paths: Sequence[str],
    year: str,
    block: str,
    features: str | Path,
    segments: str | Path,
    settings: Transfer,
    decisions_out: str | Path,
    lineage_out: str | Path,
    review_out: str | Path,
) -> None:
    """Read the events of a block and year, write the decision that counts for each segment, and what became of each event.

    Args:
        lineage_out, review_out: CSV, see `transfer.Settled`.

    Raises:
        UserError: an unusable file, or an event of another year or block.
    """
    events = event_files.read_events(paths)
    require_home(events, int(year), block)
    with raster.opened(segments) as source:
        found = settle(events, read_features(features), lambda: source.read(1), raster.geobox_of(source), settings)
    logger.info("%d decisions in %d files", len(found.decisions), len(paths))
    for fate, number in found.lineage["fate"].value_counts().items():
        logger.log(logging.WARNING if fate in {"review", "lost"} else logging.INFO, "%s: %d events", fate, number)
    if len(found.review):
        logger.warning("%d segments are disputed or took no label: listed in %s", len(found.review), review_out)
    tables.write(decisions_out, found.decisions, "decisions")
    for path, table in ((lineage_out, found.lineage), (review_out, found.review)):
        with written(path) as beside:
            table.to_csv(beside, index=False, lineterminator="\n")


def require_home(events: Sequence[event_files.Event], year: int, block: str) -> None:
    """Refuse events of another year or block, and those of the accuracy sample: a reference that became a label would judge itself.

    Raises:
        UserError: there are some.
    """
    if reference := [event for event in events if event.provenance == event_files.REFERENCE]:
        raise UserError(
            "events about segments",
            f"{len(reference)} about pixels of the accuracy sample, the first by {reference[0].annotator} at {reference[0].time}",
            f"move their files back to accuracy/{year}/{block}",
        )
    strays = [event for event in events if (event.year, event.block) != (year, block)]
    if strays:
        raise UserError(
            f"events of {year}, block {block}",
            f"{len(strays)} of others, the first of {strays[0].year}, block {strays[0].block} by {strays[0].annotator} at {strays[0].time}",
            "move their files to the folder of their year and block",
        )
