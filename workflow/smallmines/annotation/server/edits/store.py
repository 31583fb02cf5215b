"""Tables of the journal of edits in SQLite, and what is read from and added to them. Of edits nothing is ever changed but the
mark of a hand-in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallmines.annotation.server.edits.batch import Edit
from smallmines.annotation.server.edits.disk import CHOOSE
from smallmines.annotation.server.edits.journal_file import failure, stream_of
from smallmines.annotation.working_copy import About
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.layout import UserFolder

VERSION = "1"

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY, year INTEGER NOT NULL, block TEXT NOT NULL, annotator TEXT NOT NULL, kind TEXT NOT NULL,
    UNIQUE (year, block, annotator, kind));
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, stream INTEGER NOT NULL REFERENCES streams);
CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, stream INTEGER NOT NULL, session TEXT NOT NULL, digest TEXT NOT NULL,
    received INTEGER NOT NULL, undoes TEXT NOT NULL, edits INTEGER NOT NULL, handed INTEGER);
CREATE INDEX IF NOT EXISTS waiting ON batches (stream) WHERE handed IS NULL;
CREATE TABLE IF NOT EXISTS edits (
    number INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL, stream INTEGER NOT NULL, session TEXT NOT NULL, tile TEXT NOT NULL,
    status TEXT NOT NULL, label TEXT NOT NULL, look TEXT NOT NULL, form TEXT NOT NULL, ids BLOB NOT NULL, keys BLOB NOT NULL,
    before BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS of_stream ON edits (stream, number);
CREATE INDEX IF NOT EXISTS of_batch ON edits (batch);
CREATE INDEX IF NOT EXISTS of_tile ON edits (session, tile) WHERE tile != '';
CREATE TABLE IF NOT EXISTS hand_ins (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, made INTEGER NOT NULL, upto INTEGER NOT NULL, file TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writers (
    stream INTEGER NOT NULL, writer TEXT NOT NULL, replaced INTEGER NOT NULL, PRIMARY KEY (stream, writer));
"""
"""streams: a person's labelling of a year, block and kind, over all sessions. batches: `received` in ms since 1970 by the clock of the
server, `handed` the hand-in that has them. edits: `ids` uint32, `keys` uint64 (content keys), `before` uint32 (number of the last edit of
each segment before this one, 0 where none waits), little-endian. hand_ins: added before the event file is written: `upto` the last edit
in it, `file` its name, empty where nothing was new. writers: pages that wrote a stream, `replaced` 0 for the last one, else 1."""


@dataclass(frozen=True)
class Stored:
    """An edit of the journal.

    Attributes:
        number: place in the journal; received: time of its batch, ms since 1970.
        handed: whether its batch is handed in.
    """

    number: int
    session: str
    received: int
    handed: bool
    edit: Edit
    before: np.ndarray[Any, np.dtype[np.uint32]]


def connect(path: Path, user: Path) -> sqlite3.Connection:
    """Open a journal for writing; it is made where it is missing.

    Raises:
        UserError: it is damaged, of another version, or of another run.
    """
    try:
        file = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        mode = file.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise UserError(f"a disk on which SQLite can write ahead: {path}", f"mode {mode}", CHOOSE)
        file.execute("PRAGMA synchronous=FULL")
        file.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        file.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", [("version", VERSION), ("user", str(user.resolve()))])
        meta = dict(file.execute("SELECT name, value FROM meta"))
        other, place = Path(meta["user"]), UserFolder(Path(meta["user"])).journal_place
        if other != user.resolve():
            if place.is_file() and Path(str(read_json(place)["journal"])) == path:
                do = f"{CHOOSE}, one for each run"
                raise UserError(f"the journal of {user}", f"{path} is the one of {other}", do)
            file.execute("UPDATE meta SET value = ? WHERE name = 'user'", (str(user.resolve()),))  # the folder was moved
    except sqlite3.Error as error:
        raise failure(error, path) from None
    if meta["version"] != VERSION:
        do = "use the version of the pipeline that wrote it"
        raise UserError(f"a journal of version {VERSION} at {path}", f"version {meta['version']}", do)
    return file


# --- rows -----------------------------------------------------------------------------------------------------------------


def register(file: sqlite3.Connection, about: About) -> int:
    """Add a session and its stream where they are missing; return the stream."""
    place = (about.year, about.block, about.annotator, about.kind)
    file.execute("INSERT OR IGNORE INTO streams (year, block, annotator, kind) VALUES (?, ?, ?, ?)", place)
    stream = stream_of(file, about)
    assert stream is not None
    file.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?)", (about.base, stream))
    return stream


def add_batch(file: sqlite3.Connection, row: Sequence[Any]) -> int:
    """Add a batch (uuid, stream, session, digest, received, undoes, edits); return its place in the journal."""
    columns = "uuid, stream, session, digest, received, undoes, edits"
    added = file.execute(f"INSERT INTO batches ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row).lastrowid
    assert added is not None
    return added


def add_edit(file: sqlite3.Connection, place: tuple[int, int, str], edit: Edit, keys: bytes, before: bytes) -> int:
    """Add an edit to a batch; return its number.

    Args:
        place: batch, stream, session.
    """
    form = json.dumps(dict(edit.form), sort_keys=True, ensure_ascii=False)
    row = (*place, edit.tile, edit.status, edit.label, edit.look, form, edit.segments.astype("<u4").tobytes(), keys, before)
    columns = "batch, stream, session, tile, status, label, look, form, ids, keys, before"
    added = file.execute(f"INSERT INTO edits ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
    assert added is not None
    return added


def rows_to_fold(file: sqlite3.Connection, stream: int, session: str, above: int, upto: int = 2**62) -> Iterable[tuple[Any, ...]]:
    """Return the rows that `fold_rows` takes: edits of a stream with above < number ≤ upto, without the keys of the session's own."""
    keys = "CASE WHEN session = ? THEN NULL ELSE keys END"
    query = f"SELECT number, session, tile, status, label, ids, {keys} FROM edits WHERE stream = ? AND number > ? AND number <= ?"
    return file.execute(f"{query} ORDER BY number", (session, stream, above, upto))


STORED = """SELECT e.number, e.session, b.received, b.handed, e.tile, e.status, e.label, e.look, e.form, e.ids, e.before
FROM edits e JOIN batches b ON b.seq = e.batch WHERE """


def _stored(row: Sequence[Any]) -> Stored:
    number, session, received, handed, tile, status, label, look, form, ids, before = row
    edit = Edit(np.frombuffer(ids, "<u4"), tile, status, label, look, json.loads(form))
    return Stored(number, session, received, handed is not None, edit, np.frombuffer(before, "<u4"))


def of_batch(file: sqlite3.Connection, seq: int) -> list[Stored]:
    """Return the edits of a batch, in order."""
    return [_stored(row) for row in file.execute(STORED + "e.batch = ? ORDER BY e.number", (seq,))]


def by_number(file: sqlite3.Connection, numbers: Iterable[int]) -> Iterator[Stored]:
    """Yield some edits, in no order."""
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        yield from map(_stored, file.execute(f"{STORED} e.number IN ({', '.join('?' * len(some))})", some))


def first_waiting(file: sqlite3.Connection, stream: int) -> int:
    """Return the number of the first edit of a stream that is not handed in; more than any where there is none."""
    batch = "(SELECT seq FROM batches WHERE stream = ? AND handed IS NULL ORDER BY seq LIMIT 1)"
    return int(file.execute(f"SELECT coalesce(min(number), {2**32 - 1}) FROM edits WHERE batch = {batch}", (stream,)).fetchone()[0])


def waiting_batches(file: sqlite3.Connection, stream: int, session: str, most: int) -> list[tuple[str, str]]:
    """Return the last batches of a session that are not handed in, in order: UUID, and UUID of the batch that it undoes (empty: none)."""
    query = "SELECT uuid, undoes FROM batches WHERE stream = ? AND handed IS NULL AND session = ? ORDER BY seq DESC LIMIT ?"
    return [(str(uuid), str(undoes)) for uuid, undoes in file.execute(query, (stream, session, most))][::-1]


def last_unfinished(file: sqlite3.Connection, stream: int) -> str:
    """Return the session of the last batch of a stream that is not handed in; empty where there is none."""
    row = file.execute("SELECT session FROM batches WHERE stream = ? AND handed IS NULL ORDER BY seq DESC LIMIT 1", (stream,)).fetchone()
    return "" if row is None else str(row[0])


def writers(file: sqlite3.Connection, stream: int) -> tuple[str, frozenset[str]]:
    """Return the page that writes a stream (empty: none has), and those that it replaced."""
    pages = dict(file.execute("SELECT writer, replaced FROM writers WHERE stream = ?", (stream,)))
    return next((page for page, replaced in pages.items() if not replaced), ""), frozenset(page for page in pages if pages[page])


def replace_writer(file: sqlite3.Connection, stream: int, writer: str) -> None:
    """Note that a page writes a stream from now on, in place of another."""
    file.execute("UPDATE writers SET replaced = 1 WHERE stream = ?", (stream,))
    file.execute("INSERT OR REPLACE INTO writers VALUES (?, ?, 0)", (stream, writer))


def files_with(file: sqlite3.Connection, stream: int, number: int) -> frozenset[str]:
    """Return the names of the event files of the hand-ins that had an edit, or came after it; also of one that was stopped half way."""
    rows = file.execute("SELECT file FROM hand_ins WHERE stream = ? AND upto >= ? AND file != ''", (stream, number))
    return frozenset(row[0] for row in rows)


def status_before(file: sqlite3.Connection, session: str, tile: str, number: int) -> str:
    """Return the status of a tile before an edit."""
    query = "SELECT status FROM edits WHERE session = ? AND tile = ? AND tile != '' AND number < ? ORDER BY number DESC LIMIT 1"
    row = file.execute(query, (session, tile, number)).fetchone()
    return "open" if row is None else str(row[0])
