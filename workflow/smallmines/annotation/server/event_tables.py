"""Tables of people's events for figures: each event file is read once, and kept without what the figures do not need."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.working_copy import About, Kind, events_folder
from smallmines.labels.event_files import LABELS, WITHDRAWN, Event, read_events

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("order", "annotator", "layer", "key", "label", "provenance", "look", "day", "ms")


class EventFile(NamedTuple):
    """Content of an event file.

    Attributes:
        table: a row per event: order (time and hash, which sort as the events do), annotator, layer, key, label, provenance, look, day
            (UTC), ms (of the edit, since 1970).
        blind: events of the blind overlap.
    """

    table: pd.DataFrame
    blind: tuple[Event, ...]


def events_of(block_year: BlockYear, kind: Kind) -> tuple[pd.DataFrame, tuple[Event, ...]]:
    """Return the events about the segments of a block and year, or about the pixels of a sample, in order; and those of the blind overlap.

    Reviews and adjudications have the same events.

    Raises:
        UserError: a file is damaged.
    """
    import pandas as pd

    about = About(block_year.config.run, int(block_year.year), block_year.block, "", kind)
    files = [_content(path, *_state(path)) for path in sorted(events_folder(block_year.user, about).glob("*.jsonl"))]
    table = pd.concat([file.table for file in files], ignore_index=True) if files else pd.DataFrame({name: [] for name in COLUMNS})
    return table.drop_duplicates("order").sort_values("order", ignore_index=True), tuple(event for file in files for event in file.blind)


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Return the latest decision of each person about each segment, without those that were withdrawn."""
    latest = table.drop_duplicates(["layer", "annotator", "key"], keep="last")
    return latest[latest["label"] != WITHDRAWN]


def disputed(table: pd.DataFrame) -> int:
    """Count the segments about which people's decisions differ, and that nobody has adjudicated."""
    left = standing(table)
    settled = left.loc[left["provenance"] == "adjudicated", "key"]
    of_people = left[left["provenance"].isin(["corrected", "confirmed"]) & ~left["key"].isin(settled)]
    different = of_people.drop_duplicates(["key", "label"])
    return int(different.loc[different["key"].duplicated(), "key"].nunique())


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _content(path: Path, size: int, changed: int) -> EventFile:
    import pandas as pd

    events = read_events([path])
    table = pd.DataFrame(
        {
            "order": [f"{event.instant.isoformat()} {event.hash}" for event in events],
            "annotator": [event.annotator for event in events],
            "layer": [event.layer for event in events],
            "key": np.array([event.key for event in events], np.uint64),
            "label": [event.label for event in events],
            "provenance": [event.provenance for event in events],
            "look": [event.look for event in events],
            "day": [event.time[:10] for event in events],
            "ms": np.array([round(event.stamp.timestamp() * 1000) for event in events], np.int64),
        }
    )
    assert set(table["label"]) <= {*LABELS, WITHDRAWN}
    return EventFile(table, tuple(event for event in events if event.blind))
