"""Journal of the edits made in the browser: appended in batches by one thread, acknowledged after they are on the disk, undone by adding
their inverse. A batch that is sent again is acknowledged again and added once."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from smallmines.annotation.server.edits import disk, store
from smallmines.annotation.server.edits.batch import FORM, Batch, Edit, check
from smallmines.annotation.server.edits.fold import Fold, OwnState, fold_rows, own_labels
from smallmines.annotation.server.edits.inverse import inverse_of
from smallmines.annotation.server.edits.journal_file import JournalFull, count_waiting, journal_path, read_only, stream_of, waiting
from smallmines.annotation.server.edits.session import Session, own_standing
from smallmines.annotation.server.edits.writing import WritingThread
from smallmines.annotation.working_copy import About
from smallmines.core.errors import UserError
from smallmines.core.files import digest, write_json
from smallmines.core.layout import UserFolder

__all__ = ["Acknowledgement", "Conflict", "Journal", "JournalFull", "OtherContent", "waiting"]

SEEN_S = 30.0
"""Seconds after which a page that has not been heard of writes no longer."""

HISTORY = 2000
"""Batches of a session that can be undone after the page is opened again."""

FOLDS = 16
"""Sessions whose last edits stay in memory, 5 bytes a segment."""


class Conflict(UserError):
    """Another tab or machine of the person writes."""


class OtherContent(UserError):
    """A batch with this UUID and other content was acknowledged before."""


@dataclass(frozen=True)
class Acknowledgement:
    """A batch is on the disk.

    Attributes:
        seq: its place in the journal.
        edits: number of its edits.
        pending: edits of the person, block, year and kind that are not handed in.
    """

    uuid: str
    seq: int
    edits: int
    pending: int


class Journal:
    """The journal of a run; safe to use from several threads."""

    def __init__(self, path: Path, user: Path, locks: list[IO[str]]) -> None:
        self.path, self.user = path, user
        self.handing_in = threading.Lock()
        self._locks = locks
        self._guard = threading.RLock()
        self._folds: OrderedDict[str, Fold] = OrderedDict()
        self._streams: dict[str, int] = {}
        self._pending: dict[int, int] = {}
        self._writers: dict[int, tuple[str, float]] = {}
        self._thread = WritingThread(path, lambda: store.connect(path, user), self._guard, self._forget)

    @classmethod
    def open(cls, user: Path, folder: Path | None = None) -> Journal:
        """Open the journal of a run for its one server.

        Args:
            user: `resources/user/<run>`.
            folder: where the journal lies, in place of `browser/` in `user`; remembered for the next time.

        Raises:
            UserError: the folder is on a network disk or cannot be written, another server is running, the journal is damaged, or there
                is another one with edits that are not handed in.
        """
        files = UserFolder(user)
        path = folder.absolute() / f"{user.name}.sqlite" if folder else journal_path(user)
        disk.require_local(path.parent)
        locks = [disk.lock(path.with_name(f"{path.stem}.lock") if path != files.journal else files.server_lock)]
        try:
            if path != files.journal:
                files.browser.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError) if disk.is_network(files.browser) else contextlib.nullcontext():
                    locks.append(disk.lock(files.server_lock))
            _require_only(user, path)
            journal = cls(path, user, locks)
            if path != journal_path(user):
                write_json(files.journal_place, {"journal": str(path)})
        except BaseException:
            for file in locks:
                file.close()
            raise
        return journal

    def close(self) -> None:
        """Write what waits, and let the lock go."""
        self._thread.close()
        for file in self._locks:
            file.close()

    # --- one tab writes -------------------------------------------------------------------------------------------------------

    def writer(self, session: Session, writer: str, take_over: bool, opens: bool = False) -> None:
        """Note that a page writes.

        Args:
            opens: it opens the block now, and so shows what another page did.

        Raises:
            Conflict: another page of this person, block, year and kind was heard of less than `SEEN_S` ago, and is not to be taken over;
                or another has written since this one opened the block.
        """
        stream, now = self.stream(session.about), time.monotonic()
        with self._guard:
            if self._writers.get(stream, ("", 0.0))[0] == writer:
                self._writers[stream] = writer, now
                return

        def replace(file: sqlite3.Connection) -> None:
            other, replaced = store.writers(file, stream)
            seen = self._writers.get(stream, (other, -SEEN_S))[1]  # after a start of the server none was heard of
            former = writer in replaced and not opens
            if other not in ("", writer) and (former or now - seen < SEEN_S) and not take_over:
                do = "go on there, or take over here: that page can then no longer save"
                raise Conflict("one page that labels this block", "another tab or computer of yours does", do)
            if other != writer:
                store.replace_writer(file, stream, writer)
            self._writers[stream] = writer, now

        self._thread.submit(replace).result()

    # --- batches --------------------------------------------------------------------------------------------------------------

    def append(self, session: Session, batch: Batch, now_ms: int) -> Acknowledgement:
        """Add a batch; on return it is on the disk.

        Args:
            now_ms: time by the clock of the server, ms since 1970.

        Raises:
            UserError: with all faults of its edits.
            OtherContent: see there.
            JournalFull: see there.
        """
        return self.submit(session, batch, now_ms).result()

    def submit(self, session: Session, batch: Batch, now_ms: int) -> Future[Acknowledgement]:
        """Add a batch; the result is there when it is on the disk. See `append`."""
        content = digest([session.id, [_content(edit) for edit in batch.edits]])
        check(session, batch)
        stream = self.stream(session.about)
        self._fold(session)
        return self._thread.submit(lambda file: self._add(file, session, (batch.uuid, stream, content, "", now_ms), batch.edits))

    def undo(self, session: Session, uuid: str, of: str, now_ms: int) -> Acknowledgement:
        """Add the inverse of a batch of the session: what was there before it, by the journal, else by the events. See `append`.

        Args:
            uuid: of the new batch; its own undo does again what the first one did.
            of: UUID of the batch that is undone.

        Raises:
            UserError: the session has no such batch, or what was there before would be refused today.
        """
        content, stream = digest([session.id, "undo", of]), self.stream(session.about)
        self._fold(session)

        def do(file: sqlite3.Connection) -> Acknowledgement:
            if acknowledged := self._acknowledged(file, uuid, content, stream):
                return acknowledged
            row = file.execute("SELECT seq FROM batches WHERE uuid = ? AND session = ?", (of, session.id)).fetchone()
            if row is None:
                raise UserError("an edit of this session to undo", f"none with the number {of[:40]}", "reload the page")
            edits = inverse_of(file, session, int(row[0]), lambda files: own_standing(self.user, session.about, files))
            check(session, Batch(uuid, edits))
            return self._add(file, session, (uuid, stream, content, of, now_ms), edits)

        acknowledgement: Acknowledgement = self._thread.submit(do).result()
        return acknowledgement

    def _add(
        self, file: sqlite3.Connection, session: Session, row: tuple[str, int, str, str, int], edits: Sequence[Edit]
    ) -> Acknowledgement:
        uuid, stream, content, undoes, received = row
        if acknowledged := self._acknowledged(file, uuid, content, stream):
            return acknowledged
        fold, first = self._fold_of(file, session, stream), store.first_waiting(file, stream)
        seq = store.add_batch(file, (uuid, stream, session.id, content, received, undoes, len(edits)))
        for edit in edits:
            place = seq, stream, session.id
            if edit.tile:
                fold.apply_tile(store.add_edit(file, place, edit, b"", b""), edit.tile, edit.status)
                continue
            keys = session.keys[edit.segments.astype(np.int64) - 1].astype("<u8").tobytes()
            last = fold.last[edit.segments]
            before = np.where(last >= first, last, 0)  # what was handed in is in the events
            number = store.add_edit(file, place, edit, keys, before.astype("<u4").tobytes())
            fold.apply(number, edit.segments, edit.label)
        self._pending[stream] = self._waiting(file, stream, len(edits))
        return Acknowledgement(uuid, seq, len(edits), self._pending[stream])

    def _acknowledged(self, file: sqlite3.Connection, uuid: str, content: str, stream: int) -> Acknowledgement | None:
        """Return the acknowledgement of a batch that is in the journal; None where it is not."""
        row = file.execute("SELECT seq, digest, edits FROM batches WHERE uuid = ?", (uuid,)).fetchone()
        if row is None:
            return None
        if row[1] != content:
            raise OtherContent("a new UUID for each edit", f"{uuid} was acknowledged with other content", "reload the page")
        return Acknowledgement(uuid, row[0], row[2], self._waiting(file, stream, 0))

    def _waiting(self, file: sqlite3.Connection, stream: int, more: int) -> int:
        """Return the number of edits that wait, after `more` were added."""
        return self._pending[stream] + more if stream in self._pending else count_waiting(file, stream)

    def _forget(self) -> None:
        """Drop what is remembered of the journal, to read it again."""
        self._folds.clear()
        self._pending.clear()
        self._writers.clear()

    # --- state ----------------------------------------------------------------------------------------------------------------

    def stream(self, about: About) -> int:
        """Return the number of a person's stream of edits, over all sessions of a year, block and kind; add the session to it."""
        with self._guard:
            if (stream := self._streams.get(about.base)) is not None:
                return stream
        stream = int(self._thread.submit(lambda file: store.register(file, about)).result())
        with self._guard:
            self._streams[about.base] = stream
        return stream

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open the journal for reading beside the thread that writes."""
        with contextlib.closing(read_only(self.path)) as file:
            file.execute("BEGIN")
            yield file

    def _fold(self, session: Session) -> None:
        """Read the last edits of a session into memory, beside the thread that writes."""
        stream = self.stream(session.about)
        with self._guard:
            if session.id in self._folds:
                return
        with self.reading() as file:
            fold = Fold.empty(len(session.keys))
            fold_rows(fold, store.rows_to_fold(file, stream, session.id, 0), session)
        with self._guard:
            self._folds.setdefault(session.id, fold)

    def _fold_of(self, file: sqlite3.Connection, session: Session, stream: int) -> Fold:
        """Return the last edits of a session, with what was added since they were read; called where the guard is held."""
        fold = self._folds.pop(session.id, None) or Fold.empty(len(session.keys))
        fold_rows(fold, store.rows_to_fold(file, stream, session.id, fold.upto), session)
        self._folds[session.id] = fold
        while len(self._folds) > FOLDS:
            self._folds.popitem(last=False)
        return fold

    @contextlib.contextmanager
    def present(self, session: Session) -> Iterator[tuple[sqlite3.Connection, Fold]]:
        """Open the journal for reading, with the last edits of a session; nothing is added meanwhile."""
        self._fold(session)
        stream = self.stream(session.about)
        with self._guard, self.reading() as file:
            yield file, self._fold_of(file, session, stream)

    def state(self, session: Session) -> OwnState:
        """Return a person's own labels and the tiles that are done."""
        standing = own_standing(self.user, session.about)
        with self.present(session) as (file, fold):
            stream = self._streams[session.id]
            label, done = fold.waiting(store.first_waiting(file, stream)), tuple(sorted(fold.done))
            pending = self._waiting(file, stream, 0)
        return OwnState(own_labels(session, label, standing), done, pending)

    def decision(self, session: Session, segment: int) -> dict[str, Any] | None:
        """Return the own label of a segment with its form (None: there is none): label, form, time (ms since 1970), handed_in."""
        with self.present(session) as (file, fold):
            last = int(fold.last[segment])
            stored = next(store.by_number(file, [last]), None) if last else None
        if stored is not None and not stored.handed:
            edit, time = stored.edit, stored.received
            return {"label": edit.label, "form": dict(edit.form), "time": time, "handed_in": False} if edit.label else None
        standing = own_standing(self.user, session.about)
        event = standing.get(int(session.keys[segment - 1]))
        if event is None:
            return None
        form = {name: getattr(event, name) for name in FORM}
        return {"label": event.label, "form": form, "time": round(event.stamp.timestamp() * 1000), "handed_in": True}

    def history(self, session: Session) -> list[tuple[str, str]]:
        """Return the last `HISTORY` batches of a session that are not handed in: UUID, and UUID of the batch that it undoes, or empty."""
        stream = self.stream(session.about)
        with self.reading() as file:
            return store.waiting_batches(file, stream, session.id, HISTORY)

    def unfinished(self, about: About) -> str:
        """Return the session of the last edit of a person, year, block and kind that is not handed in; empty where there is none."""
        with self.reading() as file:
            stream = stream_of(file, about)
            return "" if stream is None else store.last_unfinished(file, stream)

    def edits_of(self, session: Session, uuid: str) -> list[Edit]:
        """Return the edits of a batch of a session, in order."""
        with self.reading() as file:
            row = file.execute("SELECT seq FROM batches WHERE uuid = ? AND session = ?", (uuid, session.id)).fetchone()
            return [] if row is None else [stored.edit for stored in store.of_batch(file, int(row[0]))]

    def pending(self, session: Session) -> int:
        """Count the edits of a session's person, year, block and kind that are not handed in, over all sessions."""
        return self.pending_of(session.about)

    def pending_of(self, about: About) -> int:
        """Count the edits of a person, year, block and kind that are not handed in, over all sessions."""
        return waiting(self.user, about, self.path)

    def begin_hand_in(self, about: About, upto: int, name: str, now_ms: int) -> int:
        """Note the event file (empty: none) that is going to have the edits up to a number; return the number of the hand-in."""
        row = (self.stream(about), now_ms, upto, name)
        query = "INSERT INTO hand_ins (stream, made, upto, file) VALUES (?, ?, ?, ?)"
        return int(self._thread.submit(lambda file: file.execute(query, row).lastrowid).result())

    def end_hand_in(self, about: About, number: int) -> int:
        """Note that the edits of a hand-in are in its event file; return how many edits of the person still wait."""
        stream = self.stream(about)

        def do(file: sqlite3.Connection) -> int:
            upto = "(SELECT coalesce(max(batch), 0) FROM edits WHERE number <= (SELECT upto FROM hand_ins WHERE id = ?))"
            query = f"UPDATE batches SET handed = ? WHERE stream = ? AND handed IS NULL AND seq <= {upto}"
            file.execute(query, (number, stream, number))
            self._pending[stream] = count_waiting(file, stream)
            return self._pending[stream]

        return int(self._thread.submit(do).result())


def _content(edit: Edit) -> list[Any]:
    segments = hashlib.sha256(edit.segments.astype("<u4").tobytes()).hexdigest()
    return [segments, edit.tile, edit.status, edit.label, edit.look, dict(edit.form)]


def _require_only(user: Path, path: Path) -> None:
    """Refuse a new journal where the last one has edits that are not handed in."""
    before = journal_path(user)
    if before == path or not before.is_file():
        return
    with contextlib.closing(read_only(before)) as file:
        left = int(file.execute("SELECT coalesce(sum(edits), 0) FROM batches WHERE handed IS NULL").fetchone()[0])
    if left:
        do = f"start the server without --journal or with --journal {before.parent}, and hand in, or move that journal away"
        raise UserError("one journal of the run", f"{left} edits that are not handed in, in {before}", do)
