"""Figures of the status page: who has done what, agreement, open disputes, decisions a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smallmines.annotation.server.access import Person
    from smallmines.annotation.server.state import State


def figures_for(state: State, person: Person) -> dict[str, Any]:
    """Return the figures that a person may see."""
    return {"blocks": [], "people": [], "agreement": [], "disputes": [], "burn_down": []}
