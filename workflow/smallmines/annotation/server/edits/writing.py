"""One thread that writes a SQLite file: what waits is written with one commit, and each job is told when it is on the disk."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.annotation.server.edits.journal_file import JournalFull, failure
from smallmines.core.errors import UserError

AT_ONCE = 64
"""Jobs that one commit writes at most."""


@dataclass
class _Job:
    do: Callable[[sqlite3.Connection], Any]
    future: Future[Any]


class WritingThread:
    """Does jobs one after the other, each wholly or not at all; several that wait share one transaction."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], guard: threading.RLock, forget: Callable[[], None]) -> None:
        """Open the file and start the thread.

        Args:
            connect: opens the file for writing, in autocommit mode.
            guard: held from the first job of a transaction to its end.
            forget: called, with `guard` held, where what jobs did is not kept.
        """
        self._path, self._connect, self._guard, self._forget = path, connect, guard, forget
        self._file = connect()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ending = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def submit(self, do: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        """Do a job in the thread; its result is there when what it wrote is on the disk.

        Raises:
            JournalFull: the thread has ended.
        """
        job = _Job(do, Future())
        with self._ending:
            if self._closed:
                raise JournalFull("a server that is running", "it is ending", "start it again; the page keeps the edit and sends it again")
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Do what waits, and end."""
        with self._ending:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        goes_on = True
        while goes_on:
            jobs, job = [], self._jobs.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) == AT_ONCE:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            goes_on = job is not None
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[_Job]) -> None:
        """Do some jobs in one transaction; tell their results when they are on the disk."""
        results: list[Any] = []
        with self._guard:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                results = [self._try(job) for job in jobs]
                self._file.execute("COMMIT")
            except Exception as error:
                self._forget()
                results = [failure(error, self._path) if isinstance(error, sqlite3.Error) else error] * len(jobs)
                self._reopen()
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _try(self, job: _Job) -> Any:
        """Do a job; return its result, or the error that it ended with, after what it did was taken back."""
        self._file.execute("SAVEPOINT job")
        try:
            result = job.do(self._file)
        except sqlite3.Error:
            raise
        except Exception as error:
            if not isinstance(error, UserError):  # a job refuses before it changes anything
                self._forget()
            self._file.execute("ROLLBACK TO job")
            result = error
        self._file.execute("RELEASE job")
        return result

    def _reopen(self) -> None:
        """Open the file anew after a failure: what was not committed is gone, whatever state the connection is in."""
        with contextlib.suppress(sqlite3.Error):
            self._file.close()
        with contextlib.suppress(Exception):  # the next job fails as this one did
            self._file = self._connect()
