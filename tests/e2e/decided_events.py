"""What people decided about a made-up place, for tests that compare two ways to decide: events, and the mask of them."""

from __future__ import annotations

from typing import Any

from place import decide_again
from smallmines.annotation.block_year import BlockYear
from smallmines.labels.event_files import Event, read_events
from smallmines.labels.mask import Inputs, make_mask

OF_A_PROGRAM_AND_DAY = {"time", "edited", "base", "tool", "revision"}
"""Fields that differ between two programs, and between two days."""


def events_of(block_year: BlockYear) -> list[Event]:
    """Return everything that was handed in or checked in."""
    return read_events(sorted(block_year.layout.user.events(block_year.year, block_year.block).glob("*.jsonl")))


def same(events: list[Event]) -> list[dict[str, Any]]:
    """Return events by key, without the fields `OF_A_PROGRAM_AND_DAY`."""
    rows = ({name: value for name, value in event.content.items() if name not in OF_A_PROGRAM_AND_DAY} for event in events)
    return sorted(rows, key=lambda row: row["key"])


def mask_of(block_year: BlockYear) -> bytes:
    """Return the mask that the workflow makes of the decisions."""
    decide_again(block_year)
    layout, at = block_year.layout, (block_year.year, block_year.block)
    clear = layout.segments(*at).with_name("clear.tif")
    target = block_year.root / "mask.tif"
    grid = block_year.results / "grid/grid.json"
    make_mask(Inputs(layout.segments(*at), clear, layout.labels(*at), grid), block_year.block, "ignore", {}, target)
    return target.read_bytes()
