"""The server of the labelling in the browser on a free port of this machine, and people who ask it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import uvicorn

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.access import Access
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.guard import hosts_of
from smallmines.annotation.server.rerun import Plan, Plans
from smallmines.annotation.server.routes.app import application
from smallmines.annotation.server.routes.listen import Address, bound, settings_of
from smallmines.annotation.server.state import State

EVIDENCE = {"confidence": "sure", "reason": "", "evidence": "Google Earth", "evidence_date": "2016-02-01", "note": ""}


@dataclass
class Client:
    """A person's browser: cookies, the header Origin, and the name of a tab."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)
    writer: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get(self, path: str, **words: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, **words)

    def post(self, path: str, document: Any = None, **headers: str) -> requests.Response:
        return self.session.post(
            self.url + path, json={} if document is None else document, headers={"Origin": self.url, **headers}, timeout=60
        )

    def login(self, **words: str) -> requests.Response:
        return self.post("/api/login", words)

    def open(self, year: str = "2016", block: str = "1", kind: str = "review", **words: Any) -> requests.Response:
        return self.post("/api/open", {"year": year, "block": block, "kind": kind, "writer": self.writer, **words})

    def edit(self, session: str, edits: list[dict[str, Any]], name: str = "") -> requests.Response:
        return self.post(f"/api/sessions/{session}/edits", {"uuid": name or str(uuid.uuid4()), "writer": self.writer, "edits": edits})


@dataclass
class Served:
    """A running server.

    Attributes:
        now: seconds since 1970; None is the clock of this machine.
    """

    url: str
    state: State
    now: float | None = None

    def client(self, annotator: str = "", role: str = "annotator") -> Client:
        """Return the browser of a person who is logged in, with a token where there is one; of a stranger without a name."""
        client = Client(self.url)
        if annotator:
            here = self.state.access.open_to_this_machine()
            words = {"annotator": annotator} if here else {"token": self.state.access.give(annotator, role, 30, time.time())}
            assert client.login(**words).status_code == 200
        return client


class NoPlans(Plans):
    """Plans in a folder without a workflow: what Snakemake takes seconds to find there. `test_plan_after_hand_in.py` tests the others."""

    def start(self, session: str, config: Path, run: str, root: Path, targets: Sequence[str] = ()) -> None:
        """Say at once that there is no plan."""
        self._made[session] = Plan(f"snakemake --configfile {config}", None)


@contextmanager
def served(block_year: BlockYear, config_path: Path = Path("config/demo.yaml"), local: bool = True) -> Iterator[Served]:
    """Serve a run in a thread.

    Args:
        local: people log in by their code alone.
    """
    journal, access = Journal.open(block_year.user, None), Access(block_year.user, local)
    plans = Plans() if (block_year.root / "Snakefile").is_file() else NoPlans()
    state = State(block_year.config, config_path, block_year.root, journal, access, plans=plans)
    with bound(Address(port=0)) as listener:
        port = listener.getsockname()[1]
        running = Served(f"http://127.0.0.1:{port}", state)
        state.clock = lambda: time.time() if running.now is None else running.now
        app = application(state, hosts_of("127.0.0.1", port))
        server = uvicorn.Server(settings_of(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield running
        finally:
            server.should_exit = True
            thread.join(30)
            journal.close()
