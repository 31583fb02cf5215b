"""The inverse of a batch: edits that bring back what was there before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from smallmines.annotation.server import store
from smallmines.annotation.server.batch import FORM, Edit
from smallmines.annotation.server.fold import own_standing
from smallmines.annotation.server.session import Session
from smallmines.labels.event_files import Event

Answer = tuple[str, str, tuple[str, ...]]
"""Label, look and texts of the form."""

NOTHING: Answer = ("", "single", ("",) * len(FORM))


def inverse_of(file: sqlite3.Connection, session: Session, seq: int, events: Sequence[Event], stream: int) -> tuple[Edit, ...]:
    """Return the edits that undo a batch, in order.

    Args:
        seq: the batch.
        events: of the person; those that were handed in from this batch or a later one do not count.
    """
    edits = store.of_batch(file, seq)
    sessions = {row[0] for row in file.execute("SELECT id FROM sessions WHERE stream = ?", (stream,))}
    earlier = [event for event in events if event.base not in sessions or event.revision < edits[0].number]
    standing = own_standing(earlier, session.about)
    numbers = {number for stored in edits for number in np.unique(stored.before).tolist()} - {0}
    answers = {stored.number: _answer(stored.edit) for stored in store.by_number(file, numbers)}
    inverse: list[Edit] = []
    for stored in reversed(edits):
        if stored.edit.tile:
            status = store.status_before(file, session.id, stored.edit.tile, stored.number)
            inverse.append(Edit(stored.edit.segments, stored.edit.tile, status, "", "task", dict.fromkeys(FORM, "")))
            continue
        groups: dict[Answer, list[int]] = {}
        for segment, number in zip(stored.edit.segments.tolist(), stored.before.tolist(), strict=True):
            event = None if number else standing.get(int(session.keys[segment - 1]))
            answer = answers[number] if number else NOTHING if event is None else _answer_of(event)
            groups.setdefault(answer, []).append(segment)
        for (label, look, texts), segments in groups.items():
            inverse.append(Edit(np.array(segments, np.uint32), "", "", label, look, dict(zip(FORM, texts, strict=True))))
    return tuple(inverse)


def _answer(edit: Edit) -> Answer:
    return edit.label, edit.look, tuple(edit.form.get(name, "") for name in FORM)


def _answer_of(event: Event) -> Answer:
    return event.label, event.look, tuple(getattr(event, name) for name in FORM)
