"""The file of the journal of edits: where it is, and how many edits wait in it to be handed in; also without a server."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from smallmines.annotation.server.edits.disk import CHOOSE
from smallmines.annotation.working_copy import About
from smallmines.core.errors import UserError
from smallmines.core.files import flat, read_json
from smallmines.core.layout import UserFolder


def journal_path(user: Path) -> Path:
    """Return the path of the journal of a run: in the folder that was chosen for it, else in `browser/`."""
    own = UserFolder(user)
    return Path(str(read_json(own.journal_place)["journal"])) if own.journal_place.is_file() else own.journal


def waiting(user: Path, about: About, journal: Path | None = None) -> int:
    """Count the edits of a person, year, block and kind in the browser that are not handed in; also while a server is running.

    Raises:
        UserError: the journal is damaged.
    """
    path = journal or journal_path(user)
    if not path.is_file():
        return 0
    try:
        with contextlib.closing(read_only(path)) as file:
            stream = stream_of(file, about)
            return 0 if stream is None else count_waiting(file, stream)
    except sqlite3.Error as error:
        raise failure(error, path) from None


def read_only(path: Path) -> sqlite3.Connection:
    """Open a journal for reading, also while a server writes it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None, check_same_thread=False)


def stream_of(file: sqlite3.Connection, about: About) -> int | None:
    """Return the number of a person's stream of edits; None where there is none."""
    place = (about.year, about.block, about.annotator, about.kind)
    row = file.execute("SELECT id FROM streams WHERE year = ? AND block = ? AND annotator = ? AND kind = ?", place).fetchone()
    return None if row is None else int(row[0])


def count_waiting(file: sqlite3.Connection, stream: int) -> int:
    """Count the edits of a stream that are not handed in."""
    return int(file.execute("SELECT coalesce(sum(edits), 0) FROM batches WHERE stream = ? AND handed IS NULL", (stream,)).fetchone()[0])


class JournalFull(UserError):
    """The disk of the journal is full or broken: nothing of the edits was kept."""


def failure(error: sqlite3.Error, path: Path) -> UserError:
    """Return the error to report where SQLite failed."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        do = "free some space there; the page keeps the edit and sends it again"
        return JournalFull(f"a disk with room that can be written: {path.parent}", f"{flat(error)}: the edit was not kept", do)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return JournalFull(f"a journal that can be written: {path}", flat(error), f"see who may write there, or {CHOOSE}")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return UserError(f"a journal of edits without damage: {path}", flat(error), "restore it from a backup, or move it away")
    return JournalFull(f"a journal that can be written: {path}", flat(error), "try again; the page keeps the edit")
