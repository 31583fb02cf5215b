"""Check-ins that the system ends or refuses at any call: what is acknowledged stays, the next check-in brings the rest, once."""

from __future__ import annotations

import random
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from faults.people import EVENTS, acknowledged, checked_out, events
from faults.world import Record, environment, start, verb
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

CALLS = ("rename", "link", "unlink", "unlinkat", "mkdir", "fsync", "fdatasync", "write", "pwrite64", "openat")
FEW = ("rename", "link", "unlink", "mkdir", "fsync", "fdatasync")
"""Calls that a check-in makes few times. Libraries make the others by the hundred while they are imported."""


@pytest.fixture(scope="session")
def edited(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A world with a working copy that is labelled and not checked in, and the copy's path in it."""
    world = finished.clone(tmp_path_factory.mktemp("edited") / "world")
    return world, str(checked_out(world).relative_to(world.folder))


def command(*copies: str) -> list[str]:
    """Return the command that checks copies in."""
    return verb("labels", "checkin", "--config", "one.yaml", "--no-plan", *copies)


def traced(world: Workspace, strace: str, copy: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Check in under strace."""
    words = [strace, "-f", "-o", "trace.txt", f"--trace={','.join(CALLS)}", *options, *command(copy)]
    return subprocess.run(
        words, cwd=world.folder, env=environment(world, PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True, check=False
    )


def moments(world: Workspace, strace: str, copy: str) -> dict[str, int]:
    """Return how often the first process of a check-in makes each call."""
    done = traced(world, strace, copy)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (world.folder / "trace.txt").read_text(errors="replace").splitlines()
    first = lines[0].split()[0]
    return Counter(match[1] for line in lines if (match := re.match(rf"{first} +(\w+)\(", line)))


@pytest.mark.parametrize(
    ("fault", "sampled", "few"),
    [
        ("signal=KILL", 0, 4),
        pytest.param("signal=KILL", 3, 12, marks=pytest.mark.matrix, id="KILL-all"),
        pytest.param("error=EDQUOT", 2, 6, marks=pytest.mark.matrix, id="EDQUOT"),
        pytest.param("error=EIO", 1, 4, marks=pytest.mark.matrix, id="EIO"),
        pytest.param("error=ENOSPC", 1, 4, marks=pytest.mark.matrix, id="ENOSPC"),
    ],
)
def test_check_ins_that_fail_at_a_call_lose_nothing(
    edited: tuple[Workspace, str], strace: str, record: Record, tmp_path: Path, fault: str, sampled: int, few: int
) -> None:
    source, copy = edited
    reference = source.clone(tmp_path / "reference")
    counts = moments(reference, strace, copy)
    right = events(reference.folder / EVENTS)
    assert len(right) == 20
    chance = random.Random(3)
    cases = [(call, number) for call in FEW for number in range(1, counts.get(call, 0) + 1)]
    cases = chance.sample(cases, min(few, len(cases)))
    for call in sorted(set(CALLS) - set(FEW)):
        late = range(counts.get(call, 0) // 2, counts.get(call, 0) + 1)  # the first half imports libraries
        cases += [(call, number) for number in chance.sample(late, min(sampled, len(late))) if number]
    for case, (call, number) in enumerate(cases):
        world = source.clone(tmp_path / str(case))
        done = traced(world, strace, copy, f"--inject={call}:{fault}:when={number}")
        if fault == "signal=KILL":
            assert done.returncode == -signal.SIGKILL, "the fault was there"
        promised = acknowledged(done.stdout)
        kept = all((world.folder / path).is_file() for path in promised)
        whole = events(world.folder / EVENTS) in ([], right)
        again = subprocess.run(command(copy), cwd=world.folder, env=environment(world), capture_output=True, text=True, check=False)
        survived = kept and whole and again.returncode == 0 and events(world.folder / EVENTS) == right
        record.add(f"check-in: {fault}", f"{call} number {number}: status {done.returncode}", int(survived), int(not survived))
        assert survived, (call, number, done.stdout, done.stderr[-1500:], again.stdout, again.stderr[-1500:])
        subprocess.run(["rm", "-rf", str(world.folder)], check=True)


@pytest.mark.matrix
def test_two_check_ins_at_once(edited: tuple[Workspace, str], record: Record, tmp_path: Path) -> None:
    """Of two people, and of the same copy twice."""
    world = edited[0].clone(tmp_path / "world")
    mine, other = edited[1], str(checked_out(world, "A02").relative_to(world.folder))
    for round_ in range(3):
        both = world.clone(tmp_path / f"round {round_}")
        outputs = [process.output() for process in [start(both, command(path)) for path in (mine, other, mine)]]
        promised = [path for output in outputs for path in acknowledged(output)]
        people = Counter(event["annotator"] for event in events(both.folder / EVENTS))
        fine = people == {"A01": 20, "A02": 20} and all((both.folder / path).is_file() for path in promised) and len(promised) >= 2
        record.add("check-ins at once", f"round {round_}, three at a time", int(fine), int(not fine))
        assert fine, (people, outputs)
