"""Hand in: turn the edits that wait in the journal into one immutable event file, with the rules of a check-in.

The edits are folded to the last one of each segment, over all sessions of the person, year, block and kind. What equals the person's
standing decision adds nothing. The journal is marked last: a hand-in that was stopped before adds nothing twice.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallmines.annotation.checkin import not_drawn
from smallmines.annotation.decided import (
    FIRST_EDIT,
    as_stamped,
    counts_of,
    event_of,
    grouped,
    in_order,
    late_warnings,
    named,
    provenance_of,
    wrong,
)
from smallmines.annotation.server.edits import store
from smallmines.annotation.server.edits.batch import FORM
from smallmines.annotation.server.edits.fold import UNTOUCHED, Fold, fold_rows, own_labels
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.edits.session import Session, own_events, own_standing, read_origin, read_session
from smallmines.annotation.server.edits.snapshot import prune
from smallmines.annotation.server.edits.store import Stored
from smallmines.annotation.working_copy import About, events_folder
from smallmines.core.errors import UserError
from smallmines.core.files import flat, written
from smallmines.core.layout import Layout, UserFolder
from smallmines.core.readable import read_parquet
from smallmines.labels import event_files
from smallmines.labels.event_files import Event

SHOWN = 30
"""Kinds of faults that an error names."""


@dataclass(frozen=True)
class HandedIn:
    """Result of a hand-in.

    Attributes:
        events: the new events.
        file: the event file; None where there is nothing new, or in a dry run.
        kept: the edits that it was made from.
        counts: new events by decision (corrected, confirmed, unsure, adjudicated, reference: about a sample of pixels, withdrawn).
        stale: events about segments that the present segmentation lacks; their decisions are transferred by overlap.
        warnings: what is doubtful.
        pending: edits that came in meanwhile, or, in a dry run, all that wait.
    """

    about: About
    events: tuple[Event, ...]
    file: Path | None
    kept: Path | None
    counts: dict[str, int]
    stale: int
    warnings: tuple[str, ...]
    pending: int


@dataclass(frozen=True)
class Answer:
    """The final state of a segment.

    Attributes:
        segment: of the session.
        label: empty withdraws the standing decision.
        number, received: of the last edit that it follows from; ms since 1970.
        withdrawn: the decision that is taken back, where the label is empty.
    """

    session: Session
    segment: int
    label: str
    look: str
    form: Mapping[str, str]
    number: int
    received: int
    withdrawn: Event | None = None

    @property
    def key(self) -> int:
        """Content key of the segment."""
        return int(self.session.keys[self.segment - 1])

    @property
    def content(self) -> dict[str, Any]:
        """Fields as they are kept beside the event file; the key as text, since 64-bit numbers break in JavaScript."""
        about = {"session": self.session.id, "segment": self.segment, "key": str(self.key)}
        return {**about, "label": self.label, "look": self.look, **self.form, "number": self.number, "received": self.received}


def hand_in(journal: Journal, session: Session, now: dt.datetime, dry: bool = False) -> HandedIn:
    """Turn the waiting edits of a session's person, year, block and kind into events. On return they are on the disk.

    Args:
        now: time of the hand-in; no event is later.
        dry: write nothing.

    Raises:
        UserError: naming all faults, or the disk is full; the edits wait as before.
    """
    try:
        with journal.handing_in:
            return _hand_in(journal, session, now, dry)
    except OSError as error:
        do = "free some disk space, or see who may write there, and hand in again; the edits are in the journal, nothing is added twice"
        raise UserError(f"a folder that can be written: {journal.user}", flat(error), do) from None


def _hand_in(journal: Journal, session: Session, now: dt.datetime, dry: bool) -> HandedIn:
    user, about = journal.user, session.about
    stream = journal.stream(about)
    own = own_events(user, about)
    with journal.reading() as file:
        waiting = _waiting(file, stream)
        sessions = {name: _session(session, name) for name in waiting}
        upto = max((number for numbers in waiting.values() for number in numbers), default=0)
        first = store.first_waiting(file, stream)
        standing = own_standing(user, about)
        answers = [
            answer
            for name, other in sessions.items()
            for answer in _answers(other, _Read(file, stream, standing, frozenset(waiting[name]), upto, first))
        ]
        bases = {row[0] for row in file.execute("SELECT id FROM sessions WHERE stream = ?", (stream,))}
    answers = sorted((answer for answer in answers if not _stands(answer, standing)), key=lambda answer: (answer.number, answer.key))
    events, faults = _events(answers, upto)
    stored = {as_stamped(event).hash for event in own}
    if faults := [*not_drawn(user, about, events), *grouped(faults)]:
        more = f"; and {len(faults) - SHOWN} kinds more" if len(faults) > SHOWN else ""
        raise UserError("edits without faults", f"nothing was handed in: {'; '.join(faults[:SHOWN])}{more}", "label these segments again")
    new = [event for event in events if event.hash not in stored]
    floor = max((event.instant for event in own if event.base in bases), default=None)
    opened = [dt.datetime.fromisoformat(other.after) for other in sessions.values() if other.after]
    moved, late = in_order(new, own, max([*([floor] if floor else []), *opened], default=None), (FIRST_EDIT, now))
    segment_of = {event.key: answer.segment for event, answer in zip(events, answers, strict=True)}
    warnings = [*_doubts(events, segment_of), *late_warnings(moved, new, late, segment_of, "segment")]
    path, kept, left = None, None, journal.pending(session)
    if upto and not dry:
        name = event_files.file_name(moved) if moved else ""
        begun = journal.begin_hand_in(about, upto, name and f"{name}.jsonl", round(now.timestamp() * 1000))
        if moved:
            path, kept = _write(user, about, name, moved, answers)
        left = journal.end_hand_in(about, begun)
    if not dry:
        _prune(journal, session)
    return HandedIn(about, tuple(moved), path, kept, counts_of(moved, about.kind), _stale(session, moved), tuple(warnings), left)


def drop(journal: Journal, session: Session, now: dt.datetime) -> int:
    """Take the waiting edits of a session's person, year, block and kind out of what is handed in; they stay in the journal.

    Returns:
        number of edits that came in meanwhile, and still wait.

    Raises:
        UserError: the journal cannot be written.
    """
    about, stream = session.about, journal.stream(session.about)
    with journal.handing_in:
        with journal.reading() as file:
            upto = max((number for numbers in _waiting(file, stream).values() for number in numbers), default=0)
        begun = journal.begin_hand_in(about, upto, "", round(now.timestamp() * 1000))
        left = journal.end_hand_in(about, begun)
        _prune(journal, session)
    return left


@dataclass(frozen=True)
class _Read:
    """What the answers of a session follow from.

    Attributes:
        file: the journal.
        standing: decisions of the person by key.
        waiting: numbers of the session's edits that are handed in now.
        first, upto: numbers of the first and last edit of the person's stream that are handed in now.
    """

    file: sqlite3.Connection
    stream: int
    standing: Mapping[int, Event]
    waiting: frozenset[int]
    upto: int
    first: int


def _waiting(file: sqlite3.Connection, stream: int) -> dict[str, list[int]]:
    """Return the numbers of the edits that are not handed in, by session."""
    query = "SELECT e.session, e.number FROM batches b JOIN edits e ON e.batch = b.seq WHERE b.stream = ? AND b.handed IS NULL"
    numbers = defaultdict[str, list[int]](list)
    for name, number in file.execute(f"{query} ORDER BY e.number", (stream,)):
        numbers[name].append(number)
    return dict(numbers)


def _session(session: Session, name: str) -> Session:
    """Return a session of the same run."""
    return session if name == session.id else read_session(session.block_year.config, session.block_year.root, name)


# --- answers --------------------------------------------------------------------------------------------------------------


def _answers(session: Session, read: _Read) -> Iterator[Answer]:
    """Yield the final states that follow from the waiting edits of a session."""
    fold = Fold.empty(len(session.keys))
    fold_rows(fold, store.rows_to_fold(read.file, read.stream, session.id, 0, read.upto), session)
    touched = np.flatnonzero(np.isin(fold.last, np.fromiter(read.waiting, np.uint32, len(read.waiting))))
    edits = {stored.number: stored for stored in store.by_number(read.file, {*fold.last[touched].tolist(), *fold.done.values()})}
    tasks = {tile: edits[number] for tile, number in fold.done.items()}
    for segment, number in zip(touched.tolist(), fold.last[touched].tolist(), strict=True):
        stored, event = edits[number], read.standing.get(int(session.keys[segment - 1]))
        edit = stored.edit
        task = tasks.get(session.tile_of[segment - 1])
        if edit.label:
            yield Answer(session, segment, edit.label, edit.look, _with_evidence(edit.form, task), number, stored.received)
        elif event is not None and task is None:
            yield Answer(session, segment, "", edit.look, edit.form, number, stored.received, event)
    own = own_labels(session, fold.waiting(read.first), read.standing)[1:]
    erased = {segment: edits[int(fold.last[segment])] for segment in touched.tolist()}
    for tile, task in tasks.items():
        form = _with_evidence({}, task)
        for segment in (np.flatnonzero((session.tile_of == tile) & (own == 0)) + 1).tolist():
            if segment in erased or task.number in read.waiting:
                last = max(erased.get(segment, task), task, key=lambda stored: stored.number)
                received = max(last.received, task.received)
                yield Answer(session, segment, str(session.predicted[segment - 1]), "task", form, last.number, received)
    yield from _given_evidence(session, read, fold, tasks)
    yield from _opened_again(session, read, fold, set(erased))


def _with_evidence(form: Mapping[str, str], task: Stored | None) -> Mapping[str, str]:
    """Return a form with evidence and its day, each of the task where it has none, as a check-in does."""
    if task is None:
        return form
    full = dict.fromkeys(FORM, "") | dict(form)
    return full | {name: full[name] or task.edit.form.get(name, "") for name in ("evidence", "evidence_date")}


def _given_evidence(session: Session, read: _Read, fold: Fold, tasks: Mapping[str, Stored]) -> Iterator[Answer]:
    """Yield the decisions that were handed in without evidence from this session, to which a tile that is done now gives it."""
    labelled = (fold.label[1:] != UNTOUCHED) & (fold.label[1:] != 0) & (fold.last[1:] < read.first)
    for tile, task in tasks.items():
        if task.number not in read.waiting:
            continue
        segments = (np.flatnonzero(labelled & (session.tile_of == tile)) + 1).tolist()
        edits = {stored.number: stored for stored in store.by_number(read.file, fold.last[segments].tolist())}
        for segment in segments:
            event, stored = read.standing.get(int(session.keys[segment - 1])), edits[int(fold.last[segment])]
            if event is not None and event.base == session.id and event.label == stored.edit.label:
                form = _with_evidence({name: getattr(event, name) for name in FORM}, task)
                yield Answer(session, segment, event.label, event.look, form, task.number, stored.received)


def _opened_again(session: Session, read: _Read, fold: Fold, touched: set[int]) -> Iterator[Answer]:
    """Yield the decisions taken back that a tile had confirmed, which is no longer done."""
    for tile, (number, status) in fold.tiles.items():
        if status != "open" or number not in read.waiting:
            continue
        here = (session.tile_of == tile) & ((fold.label[1:] == UNTOUCHED) | (fold.label[1:] == 0))
        events = {segment: read.standing.get(int(session.keys[segment - 1])) for segment in (np.flatnonzero(here) + 1).tolist()}
        confirmed = {
            segment: event
            for segment, event in events.items()
            if event is not None and event.base == session.id and event.look == "task" and segment not in touched
        }
        received = next(store.by_number(read.file, [number])).received
        look = "bulk" if len(confirmed) > 1 else "single"
        for segment, event in confirmed.items():
            yield Answer(session, segment, "", look, dict.fromkeys(FORM, ""), number, received, event)


def _stands(answer: Answer, standing: Mapping[int, Event]) -> bool:
    """Return whether a final state is the person's standing decision."""
    event = standing.get(answer.key)
    return event is not None and event.label == answer.label and all(getattr(event, name) == answer.form[name] for name in FORM)


# --- events ---------------------------------------------------------------------------------------------------------------


def _events(answers: Sequence[Answer], revision: int) -> tuple[list[Event], list[str]]:
    """Return the event of each answer, in order, and the faults; where there are any, events are missing."""
    segments = defaultdict[str, list[int]](list)
    sessions = {answer.session.id: answer.session for answer in answers}
    for answer in answers:
        segments[answer.session.id].append(answer.segment)
    rows = {name: iter(sessions[name].answers(np.array(ids, np.int64)).to_dict("records")) for name, ids in segments.items()}
    events, faults = [], []
    for answer in answers:
        about = answer.session.about
        row: dict[Any, Any] = next(rows[about.base])
        row |= {"label": answer.label, "look": answer.look, "edited": answer.received, **dict(answer.form)}
        taken_back = answer.withdrawn
        provenance = taken_back.provenance if taken_back else provenance_of(answer.label, row["prediction"], about.kind)
        if texts := list(wrong(row, provenance)):
            faults += [f"segment {answer.segment}: {text}" for text in texts]
            continue
        events.append(event_of(row, provenance, about, "browser", revision))
    return events, faults


def _doubts(events: Sequence[Event], segment_of: Mapping[int, int]) -> Iterator[str]:
    """Say which days of evidence are doubtful."""
    doubts = defaultdict[str, list[int]](list)
    for event in events:
        if event.label != event_files.WITHDRAWN and (doubt := event.doubt):
            doubts[doubt].append(segment_of[event.key])
    return (f"{named(segments, 'segment')}: {text}" for text, segments in doubts.items())


def _write(user: Path, about: About, name: str, events: Sequence[Event], answers: Sequence[Answer]) -> tuple[Path, Path]:
    """Write the edits that events were made from, then the event file; return the paths of both."""
    kept = UserFolder(user).archived_edits(str(about.year), about.block, name)
    with written(kept, durable=True) as beside:
        beside.write_text("".join(json.dumps(answer.content, sort_keys=True, ensure_ascii=False) + "\n" for answer in answers), "utf-8")
    return event_files.write_events(events_folder(user, about), events), kept


def _stale(session: Session, events: Sequence[Event]) -> int:
    """Count the events about segments that the present segmentation lacks."""
    path = Layout(session.about.run, session.block_year.root).features(str(session.about.year), session.about.block)
    if session.snapshot is None or not events or not path.is_file() or not session.changed:
        return 0
    try:
        keys = set(read_parquet(path, columns=["key"])["key"].tolist())
    except UserError:  # damaged: the workflow makes it again
        return 0
    return sum(event.key not in keys for event in events)


def _prune(journal: Journal, session: Session) -> None:
    """Remove the snapshots that no session has opened for long, but those of sessions with edits that wait."""
    with journal.reading() as file:
        names = [row[0] for row in file.execute("SELECT DISTINCT session FROM batches WHERE handed IS NULL")]
    paths = [path for name in names for path in UserFolder(journal.user).bases.glob(f"*/*/{name}.parquet")]
    prune(session.block_year, {(read_origin(path) or {}).get("products", "") for path in paths})
