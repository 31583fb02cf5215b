"""The inverse of a batch: edits that bring back what was there before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

import numpy as np

from smallmines.annotation.server.edits import store
from smallmines.annotation.server.edits.batch import FORM, Edit
from smallmines.annotation.server.edits.journal_file import stream_of
from smallmines.annotation.server.edits.session import Session
from smallmines.labels.event_files import Event

Answer = tuple[str, str, tuple[str, ...]]
"""Label, look and texts of the form."""

Standing = Callable[[frozenset[str]], Mapping[int, Event]]

NOTHING: Answer = ("", "single", ("",) * len(FORM))


def inverse_of(file: sqlite3.Connection, session: Session, seq: int, standing_without: Standing) -> tuple[Edit, ...]:
    """Return the edits that undo a batch, in order.

    Args:
        seq: the batch.
        standing_without: returns the person's standing decisions without the events of some files: those that the batch was handed in
            with, and later ones.
    """
    edits = store.of_batch(file, seq)
    standing = standing_without(store.files_with(file, stream_of(file, session.about) or 0, edits[0].number))
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
