"""The list of what a person can label: years, blocks and kinds of work, with what is left and done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smallmines.annotation.server.opening import kinds_of

if TYPE_CHECKING:
    from smallmines.annotation.server.access import Person
    from smallmines.annotation.server.state import State


def work_of(state: State, person: Person) -> list[dict[str, Any]]:
    """List the work of a person."""
    rows = []
    for year in state.config.year_names:
        for block in state.config.blocks:
            for kind in kinds_of(state.config, year):
                if kind != "adjudication" or person.adjudicates:
                    rows.append({"year": year, "block": block, "kind": kind, "left": None, "done": 0, "pending": 0})
    return [{**row, "asked_first": "", "available": True, "why_not": ""} for row in rows]
