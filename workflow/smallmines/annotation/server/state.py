"""What the running server holds: the run, the journal, sessions that are in use, and threads for work that takes time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.access import Access, Person
from smallmines.annotation.server.edits.session import Session, read_session
from smallmines.annotation.server.guard import Rates, Refusal
from smallmines.annotation.server.rerun import Plans
from smallmines.annotation.server.view.refits import Refits
from smallmines.annotation.working_copy import Kind
from smallmines.core import memory
from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    from smallmines.annotation.server.edits.journal import Journal
    from smallmines.annotation.server.view.layers import Layer
    from smallmines.annotation.server.view.learn import Learner
    from smallmines.config.sections import Config

Result = TypeVar("Result")

PICTURES, EDITS = 2, 16
"""Threads for pictures and tables, and for edits: those of one never wait for the other's."""

SESSIONS = 16
"""Sessions that are kept in memory; others are read again."""

BLOCKS = 10_000
"""Years and blocks whose counts are kept."""


class Kept:
    """Values that are made once and kept, the latest `number` of them; two threads never make the same."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the value with a name; make it where it is not kept."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
                return self._values[name]
            lock = self._locks.setdefault(name, threading.Lock())
        try:
            with lock:
                with self._lock:
                    if name in self._values:
                        return self._values[name]
                value = make()
                with self._lock:
                    self._values[name] = value
                    while len(self._values) > self.number:
                        self._values.popitem(last=False)
        finally:
            with self._lock:
                self._locks.pop(name, None)
        return value

    def get(self, name: str) -> Any:
        """Return the value with a name, None where it is not kept."""
        with self._lock:
            return self._values.get(name)

    def all(self) -> list[Any]:
        """Return all values that are kept."""
        with self._lock:
            return list(self._values.values())


@dataclass
class State:
    """The state of a server.

    Attributes:
        config_path: the configuration file, as the workflow is called with it.
        root: the repository.
        public_url: address that people type; empty: that of the server itself.
        clock: returns seconds since 1970.
        failures: failed logins of an address. A valid token is always accepted, so that nobody can lock others out.
    """

    config: Config
    config_path: Path
    root: Path
    journal: Journal
    access: Access
    public_url: str = ""
    clock: Callable[[], float] = time.time
    sessions: Kept = field(default_factory=lambda: Kept(SESSIONS))
    layer_tables: Kept = field(default_factory=lambda: Kept(SESSIONS))
    learners: Kept = field(default_factory=lambda: Kept(SESSIONS))
    refits: Refits = field(default_factory=Refits)
    labels: Kept = field(default_factory=lambda: Kept(BLOCKS))
    figures: Kept = field(default_factory=lambda: Kept(1))
    plans: Plans = field(default_factory=Plans)
    failures: Rates = field(default_factory=lambda: Rates(per_second=1 / 6, at_once=10))
    _warmed: set[str] = field(default_factory=set)
    _warm_lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def pictures(self) -> anyio.CapacityLimiter:
        """Threads for pictures and tables."""
        return anyio.CapacityLimiter(PICTURES)

    @cached_property
    def edits(self) -> anyio.CapacityLimiter:
        """Threads for edits."""
        return anyio.CapacityLimiter(EDITS)

    @cached_property
    def tables(self) -> anyio.CapacityLimiter:
        """Threads for what may take seconds: handing in, lists, figures."""
        return anyio.CapacityLimiter(PICTURES)

    @cached_property
    def openings(self) -> anyio.CapacityLimiter:
        """Threads for opening blocks, which takes longest and most memory."""
        return anyio.CapacityLimiter(PICTURES)

    @property
    def secure(self) -> bool:
        """Whether people reach the server by https."""
        return self.public_url.startswith("https://")

    @cached_property
    def cookie(self) -> str:
        """Name of the cookie: servers of several runs on one machine have one each, since a cookie is sent to every port."""
        return f"{'__Host-' if self.secure else ''}smallmines-{digest([self.config.run, str(self.root.absolute())])[:8]}"

    @cached_property
    def cache(self) -> Path:
        """Folder of the rendered tiles."""
        return Layout(self.config.run, self.root).browser

    def person(self, cookie: str) -> Person | None:
        """Return whose cookie this is; None for a stranger.

        Raises:
            Refusal: the stored tokens are damaged, so that nobody can be known (503).
        """
        try:
            return self.access.person(cookie, self.clock())
        except UserError as error:
            raise Refusal(503, error.expected, error.found, error.do) from None

    def block_year(self, year: str, block: str) -> BlockYear:
        """Return a block and year of the run.

        Raises:
            Refusal: the run has no such.
        """
        if year not in self.config.year_names or block not in self.config.blocks:
            raise Refusal(404, "a year and block of the run", f"{year:.10}, block {block:.10}", "choose one of the list")
        return BlockYear(self.config, year, block, self.root)

    async def session(self, name: str, person: Person) -> Session:
        """Return a session of a person.

        Raises:
            UnknownSession: there is no such session.
            Refusal: it is another's (403).
        """
        kept: Session | None = self.sessions.get(name)
        session: Session = await self._read_session(name) if kept is None else kept
        if session.about.annotator != person.annotator:
            raise Refusal(403, f"a session of {person.annotator}", "one of another person", "open the block in your own name")
        require_kind(person, session.about.kind)
        return session

    async def _read_session(self, name: str) -> Session:
        read: Session = await in_thread(self.edits, self.sessions.of, name, lambda: read_session(self.config, self.root, name))
        return read

    def layers(self, session: Session) -> dict[str, Layer]:
        """Return the layers of a session by their ids."""
        from smallmines.annotation.server.view.layers import layers_of

        about = session.about
        made = self.layer_tables.of(session.id, lambda: {layer.id: layer for layer in layers_of(session.block_year, about.kind)})
        return dict(made)

    def warm(self, session: Session) -> None:
        """Prepare layers and features of a session in a thread of its own, once."""
        with self._warm_lock:
            if session.id in self._warmed:
                return
            self._warmed.add(session.id)
        layers = tuple(self.layers(session).values())
        threading.Thread(target=_warm, args=(session, layers, self.cache), name="warm", daemon=True).start()

    def learner(self, session: Session) -> Learner:
        """Return what learns from the labels of a session; the first time with what the cache holds of it."""
        from smallmines.annotation.server.view.learn import Learner, kept_result

        def made() -> Learner:
            return Learner(self.refits, kept_result(session, self.journal.state(session).labels))

        learner: Learner = self.learners.of(session.id, made)
        return learner


def _warm(session: Session, layers: tuple[Layer, ...], cache: Path) -> None:
    from smallmines.annotation.server.view.feature_rows import feature_rows
    from smallmines.annotation.server.view.layers import warm

    with suppress(UserError, OSError):  # what cannot be read is told when it is asked for
        warm(layers, cache)
        if session.snapshot is not None:
            feature_rows(session.snapshot)
    memory.release()


def require_kind(person: Person, kind: Kind) -> None:
    """Refuse adjudication to annotators.

    Raises:
        Refusal: the person may not adjudicate.
    """
    if kind == "adjudication" and not person.adjudicates:
        raise Refusal(403, "the role adjudicator or lead", f"{person.annotator} is {person.role}", "ask the person who runs the server")


async def in_thread(limit: anyio.CapacityLimiter, work: Callable[..., Result], *values: Any) -> Result:
    """Run work that takes time in a thread of a limited number, so that other requests are answered meanwhile."""
    return await anyio.to_thread.run_sync(work, *values, limiter=limit)
