"""The journal of the labelling in the browser: servers killed around the commit, full and read-only disks, a second server."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from browser_edits import batch_of, labelled, now_ms
from faults.world import Record
from place import make_place
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.edits import store
from smallmines.annotation.server.edits.hand_in import hand_in
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.edits.session import Session, open_session
from smallmines.core.errors import UserError
from smallmines.labels.event_files import read_events, standing

pytestmark = [pytest.mark.heavy]

DISK = Path(__file__).with_name("journal_disk.py")
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
PEOPLE = ("A01", "A02")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def place(tmp_path: Path) -> BlockYear:
    return make_place(tmp_path / "root")


def name_of(person: int, number: int) -> str:
    """Return the UUID of a person's n-th batch."""
    return str(uuid.UUID(int=(person << 64) + number))


def edits_of(number: int) -> list[dict[str, object]]:
    """Return the edits of a person's n-th batch."""
    first = number % 1000 + 1
    return [labelled(range(first, first + 50), "unsure", "bulk", note=str(number)), labelled([first], ["mining", "not_mining"][number % 2])]


def serve(sessions: list[Session], start: list[int], seed: int, pipe: Connection) -> None:
    """Append the batches of several people, each in a thread, and tell each acknowledgement; in a third of the runs, kill the process
    between the commit and the acknowledgement, in a third before the commit."""
    chance = random.Random(seed)
    left, what = chance.randrange(1, 40), seed % 3

    def kill_at_last() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == 1:
        tell = Future.set_result
        Future.set_result = lambda self, result: (kill_at_last(), tell(self, result))[1]  # type: ignore[method-assign,func-returns-value]
    if what == 2:
        add = store.add_edit
        store.add_edit = lambda *args: (kill_at_last(), add(*args))[1]  # type: ignore[func-returns-value]
    journal = Journal.open(sessions[0].block_year.user)
    lock = threading.Lock()

    def label(person: int) -> None:
        for number in itertools.count(start[person]):
            journal.append(sessions[person], batch_of(*edits_of(number), name=name_of(person, number)), now_ms())
            with lock:
                pipe.send((person, number))

    for person in range(len(sessions)):
        threading.Thread(target=label, args=(person,), daemon=True).start()
    time.sleep(60)


def test_no_acknowledged_edit_is_lost_and_none_is_added_twice(place: BlockYear, record: Record) -> None:
    """The server is killed 100 times; the pages go on with the first batch that was not acknowledged."""
    sessions = [open_session(place, person) for person in PEOPLE]
    for session in sessions:
        session.keys, session.predicted, session.may_label, session.tile_of  # noqa: B018 (read before the fork)
    following, chance = [0] * len(sessions), random.Random(0)
    for seed in range(100):
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=serve, args=(sessions, following, seed, theirs))
        process.start()
        theirs.close()
        deadline = time.monotonic() + (chance.uniform(0.02, 0.25) if seed % 3 == 0 else 30)
        with contextlib.suppress(EOFError):
            while ours.poll(max(deadline - time.monotonic(), 0)):
                person, number = ours.recv()
                following[person] = number + 1
        process.kill()
        with contextlib.suppress(EOFError):
            while ours.poll(1):  # what was acknowledged before the end
                person, number = ours.recv()
                following[person] = number + 1
        process.join()
        assert process.exitcode == -signal.SIGKILL
    with contextlib.closing(Journal.open(place.user)) as journal:
        for person, session in enumerate(sessions):  # the last batch of each, again
            journal.append(session, batch_of(*edits_of(following[person]), name=name_of(person, following[person])), now_ms())
        wrong = [fault for person, session in enumerate(sessions) for fault in faults(journal, session, person, following[person] + 1)]
    record.add("journal: server killed", "100 times around the commit, two people", 100 * (not wrong), len(wrong), 100)
    assert wrong == []
    assert min(following) > 100


def faults(journal: Journal, session: Session, person: int, count: int) -> list[str]:
    """Say in what the journal differs from the first `count` batches of a person, each once and in order."""
    with journal.reading() as file:
        stored = file.execute("SELECT uuid FROM batches WHERE session = ? ORDER BY seq", (session.id,)).fetchall()
        forms = file.execute("SELECT form FROM edits WHERE session = ? ORDER BY number", (session.id,)).fetchall()
    wrong = [] if [row[0] for row in stored] == [name_of(person, number) for number in range(count)] else [f"{person}: other batches"]
    notes = [json.loads(row[0])["note"] for row in forms]
    if notes != [note for number in range(count) for note in (str(number), "")]:
        wrong.append(f"{person}: other edits")
    expected: dict[int, str] = {}
    for number in range(count):
        for edit in edits_of(number):
            expected |= dict.fromkeys(edit["segments"], edit["label"])  # type: ignore[call-overload]
    if journal.state(session).labels != expected or journal.pending(session) != 2 * count:
        wrong.append(f"{person}: other labels")
    return wrong


def end(session: Session) -> None:
    """Hand in, as a server of its own."""
    with contextlib.closing(Journal.open(session.block_year.user)) as journal:
        hand_in(journal, session, dt.datetime.now(dt.UTC))


def test_hand_ins_that_are_killed_add_nothing_twice(place: BlockYear, record: Record) -> None:
    """Each of 30 hand-ins, with edits of its own, is killed at some moment; the last one is not."""
    session, chance, ended = open_session(place, "A01"), random.Random(0), 0
    session.keys, session.predicted, session.may_label, session.tile_of, session.snapshot.segments  # type: ignore[union-attr]  # noqa: B018
    expected: dict[int, str] = {}
    for turn in range(30):
        with contextlib.closing(Journal.open(place.user)) as journal:
            for number in (2 * turn, 2 * turn + 1):
                journal.append(session, batch_of(*edits_of(7 * number), name=name_of(0, number)), now_ms())
                for edit in edits_of(7 * number):
                    expected |= dict.fromkeys(edit["segments"], edit["label"])  # type: ignore[call-overload]
        process = FORK.Process(target=end, args=(session,))
        process.start()
        process.join(chance.uniform(0, 1))
        process.kill()
        process.join()
        ended += process.exitcode == 0
    end(session)
    events = read_events(sorted(place.layout.user.events("2016", "1").glob("*.jsonl")))
    labels = {int(np.flatnonzero(session.keys == event.key)[0]) + 1: event.label for event in standing(events)}
    same = labels == expected
    record.add("journal: hand-in killed", f"{30 - ended} times", int(same), int(not same))
    assert same
    repeated = [
        this
        for this, following in itertools.pairwise(sorted(events, key=lambda event: (event.key, event.instant)))
        if (this.key, this.label, this.note) == (following.key, following.label, following.note)
    ]
    assert repeated == []
    assert len({event.instant for event in events}) == len(events)
    with contextlib.closing(Journal.open(place.user)) as journal:
        assert journal.pending(session) == 0
        assert journal.state(session).labels == expected


def test_a_full_and_a_read_only_disk(place: BlockYear, tmp_path: Path, repository: Path, record: Record) -> None:
    """Nothing is acknowledged that is not in the journal, and nothing is there by half; with room the same batch goes in."""
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode:
        pytest.skip("no namespace in which a small disk can be mounted")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, str(DISK)],
        input=json.dumps({"place": pickle.dumps(place).hex(), "folder": str(tmp_path / "disk")}),
        env={**os.environ, "PYTHONPATH": f"{repository / 'workflow'}:{repository / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    good = all(report[step] is True for step in ("kept when full", "repeated with room", "after a restart"))
    record.add("journal: disk full", "2 MB, then 64 MB", int(good), int(not good))
    assert good, report
    assert "a disk with room that can be written" in report["full"]
    assert report["labels"] == 999
    assert report["acknowledged"] > 5
    assert "a folder for the journal of edits that can be written" in report["read-only"]
    assert "--journal FOLDER" in report["read-only"]


def test_a_second_server_is_refused_while_the_first_one_lives(place: BlockYear, record: Record) -> None:
    session = open_session(place, "A01")
    session.keys, session.predicted, session.may_label, session.tile_of  # noqa: B018 (read before the fork)
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=serve, args=([session], [0], 0, theirs))
    process.start()
    theirs.close()
    ours.recv()
    with pytest.raises(UserError) as raised:
        Journal.open(place.user)
    process.kill()
    process.join()
    Journal.open(place.user).close()
    record.add("journal: a second server", "refused; free after the first is killed", 1, 0)
    assert f"one is running: process {process.pid} on " in raised.value.found
