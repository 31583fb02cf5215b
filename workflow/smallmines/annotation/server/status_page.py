"""Figures of the status page: who has done what and how fast, agreement, open disputes, decisions a day against the queue."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.event_tables import disputed, events_of, standing
from smallmines.annotation.server.opening import kinds_of
from smallmines.annotation.status import COUNTED_FROM, labels_of_block
from smallmines.annotation.working_copy import About, Kind
from smallmines.core import memory
from smallmines.core.readable import read_parquet
from smallmines.labels.agreement import agreements, read_overlap

if TYPE_CHECKING:
    from smallmines.annotation.server.access import Person
    from smallmines.annotation.server.state import State

FRESH = 10.0
"""Seconds for which figures are shown again."""

PAUSE_MS = 120_000
"""A longer time between two edits is a pause, which does not count as work."""

LOOKS = ("single", "bulk", "task")

Rows = list[dict[str, Any]]


def figures_for(state: State, person: Person) -> dict[str, Rows]:
    """Return the figures that a person may see: a lead those of all people, others the blocks and their own."""
    figures: dict[str, Rows] = state.figures.of(str(int(time.monotonic() / FRESH)), lambda: figures_of(state))
    if person.leads:
        return figures
    own = [row for row in figures["people"] if row["annotator"] == person.annotator]
    return {**figures, "people": own, "agreement": []}


def figures_of(state: State) -> dict[str, Rows]:
    """Return the figures of all years, blocks and people."""
    places = [BlockYear(state.config, year, block, state.root) for year in state.config.year_names for block in state.config.blocks]
    of_segments = [place for place in places if place.segmented]
    return {
        "blocks": [_labels(state, place) for place in of_segments],
        "people": [row for place in places for kind in kinds_of(state.config, place.year) for row in _people(state, place, kind)],
        "agreement": [row for place in of_segments for row in _agreement(place)],
        "disputes": [row for place in of_segments if (row := _disputes(place))["disputed"]],
        "burn_down": [row for place in of_segments for row in _burn_down(place)],
    }


# --- people ---------------------------------------------------------------------------------------------------------------


def _people(state: State, place: BlockYear, kind: Kind) -> Iterator[dict[str, Any]]:
    """Count what each person did of a kind of work in a year and block: decisions in force, by how they were made, and edits to come."""
    table = events_of(place, kind)[0]
    if kind == "review" or kind == "adjudication":
        table = table[(table["provenance"] == "adjudicated") == (kind == "adjudication")]
    for annotator in sorted({*table["annotator"], *place.config.labels.annotators}):
        own = table[table["annotator"] == annotator]
        about = About(place.config.run, int(place.year), place.block, annotator, kind)
        pending = state.journal.pending_of(about)
        if not len(own) and not pending:
            continue
        decided = standing(own)
        looks = decided["look"].value_counts()
        yield {
            "annotator": annotator,
            "year": place.year,
            "block": place.block,
            "kind": kind,
            "decisions": len(decided),
            **{look: int(looks.get(look, 0)) for look in LOOKS},
            "corrected": int((decided["provenance"] == "corrected").sum()),
            "unsure": int((decided["label"] == "unsure").sum()),
            "pending": pending,
            "seconds_per_100": seconds_per_100(own.loc[own["look"] != "task", "ms"].to_numpy(np.int64)),
            "last": own["day"].max() if len(own) else None,
        }


def seconds_per_100(times: NDArray[np.int64]) -> float | None:
    """Return the time for 100 segments, None with fewer than ten.

    Args:
        times: of the edits of a person, ms since 1970; a longer time between two of them than `PAUSE_MS` does not count.
    """
    if len(times) < 10:
        return None
    gaps = np.diff(np.sort(times))
    worked = gaps <= PAUSE_MS
    return round(float(gaps[worked].sum() / 1000 / max(worked.sum(), 1) * 100), 1)


# --- blocks ---------------------------------------------------------------------------------------------------------------


def _labels(state: State, place: BlockYear) -> dict[str, Any]:
    """Count labels by provenance, again where the products changed."""
    paths = [path_of(place.layout, place.year, place.block) for path_of in COUNTED_FROM]
    made = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]

    def counts() -> dict[str, Any]:
        try:
            return labels_of_block(place)
        finally:
            memory.release()

    return dict(state.labels.of(f"{place.year} {place.block} {made}", counts))


def _agreement(place: BlockYear) -> Iterator[dict[str, Any]]:
    """Measure the agreement of each two people on the blind overlap of a year and block."""
    import pandas as pd

    blind, paths = events_of(place, "review")[1], place.user_files()["overlap"]
    if not blind or not paths:
        return
    overlap = pd.concat([read_overlap(path) for path in paths], ignore_index=True)
    for pair in agreements(blind, overlap, place.config.labels.seed):
        yield {"year": place.year, "block": place.block, **asdict(pair), "people": ", ".join(pair.people)}


def _disputes(place: BlockYear) -> dict[str, Any]:
    """Count the segments of a year and block about which people disagree."""
    return {"year": place.year, "block": place.block, "disputed": disputed(events_of(place, "review")[0])}


def _burn_down(place: BlockYear) -> Iterator[dict[str, Any]]:
    """Count, day by day, decisions and what was left of all segments that queues have asked for."""
    decided = standing(events_of(place, "review")[0])
    asked = queued(place)
    if not len(asked):
        return
    first = decided[decided["key"].isin(asked)].drop_duplicates("key")
    done = first["day"].value_counts()
    left = len(asked)
    for day, decisions in decided["day"].value_counts().sort_index().items():
        left -= int(done.get(day, 0))
        yield {"year": place.year, "block": place.block, "day": day, "decisions": int(decisions), "left": left, "queue": len(asked)}


def queued(place: BlockYear) -> NDArray[np.uint64]:
    """Return the keys of all segments that a queue of a year and block has asked for, in QGIS or in the browser; not those of tiles."""
    folder = place.layout.user.bases / place.year / place.block
    keys = [_queued(path) for path in sorted(folder.glob("*.parquet"))]
    return np.unique(np.concatenate(keys)) if keys else np.empty(0, np.uint64)


@functools.lru_cache(maxsize=1024)
def _queued(path: Path) -> NDArray[np.uint64]:
    """Return the keys of a base that its queue asked for; bases never change."""
    table = read_parquet(path, columns=["key", "why"])
    asked = ~table["why"].isin(["tile", "dispute", "accuracy", "prevalence", "change_before", "change_after"])
    return table.loc[asked, "key"].to_numpy().astype(np.uint64)
