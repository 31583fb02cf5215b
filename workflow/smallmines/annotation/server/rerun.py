"""What the workflow would make again: a dry run of Snakemake, and how long the same jobs took last time."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from smallmines.annotation.working_copy import Kind
from smallmines.core.errors import UserError
from smallmines.report.run_times import took

LONGEST_PLAN = 900.0
"""Seconds after which a dry run is given up. That of a country takes minutes."""

KEPT = 256
"""Plans that stay in memory, the latest ones."""


@dataclass(frozen=True)
class Plan:
    """Jobs that a run would repeat.

    Attributes:
        command: Snakemake with its configuration, without cores.
        rows: rule, jobs, seconds by rule; None where Snakemake does not say.
    """

    command: str
    rows: list[dict[str, str | int | float]] | None

    @property
    def seconds(self) -> float:
        """How long these jobs took last time, one after another."""
        return sum(float(row["seconds"]) for row in self.rows or ())

    @property
    def summary(self) -> str:
        """What to type, and how long it takes."""
        if self.rows == []:
            return "nothing is to be made again"
        if self.rows is None:
            return f"see what is to be made again: {self.command} --dry-run"
        return f"about {self.seconds:.0f} s of work: {self.command} --cores …"


def targets_of(kinds: Collection[Kind]) -> list[str]:
    """Return the targets that decisions of some kinds change: those of the change sample only the map of change, made on demand."""
    return ["change"] if set(kinds) <= {"change_before", "change_after"} else []


def plan(config: Path, run: str, root: Path = Path(), targets: Sequence[str] = ()) -> Plan:
    """Ask Snakemake what it would run for some targets, by default all, and look up how long it took last time."""
    command = ["snakemake", *targets, "--configfile", str(config)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command, "--dry-run", "--quiet", "rules"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_PLAN,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Plan(" ".join(command), None)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    if done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr:
        return Plan(" ".join(command), [])
    if done.returncode or not jobs:
        return Plan(" ".join(command), None)
    each: dict[str, float] = {}
    with suppress(UserError):
        each = {str(row["rule"]): row["seconds"] / row["jobs"] for row in took(run, root).to_dict("records")}
    rows: list[dict[str, str | int | float]] = [
        {"rule": rule, "jobs": int(number), "seconds": round(each.get(rule, 0.0) * int(number), 1)}
        for rule, number in jobs.items()
        if rule not in ("total", "all")
    ]
    return Plan(" ".join(command), rows)


@dataclass(frozen=True)
class _Asked:
    """Arguments of `plan`."""

    config: Path
    run: str
    root: Path
    targets: tuple[str, ...]


class Plans:
    """Plans of sessions after their last hand-ins, made in the background, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = False
        self._waiting: dict[str, _Asked] = {}
        self._making: frozenset[str] = frozenset()
        self._made: dict[str, Plan] = {}

    def start(self, session: str, config: Path, run: str, root: Path, targets: Sequence[str] = ()) -> None:
        """Make a plan of a session; one that is being made does not count, since it may have read the files before they changed."""
        with self._lock:
            self._waiting[session] = _Asked(config, run, root, tuple(targets))
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._make, name="plan", daemon=True).start()

    def _make(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                asked = next(iter(self._waiting.values()))
                # all that wait have handed in already: the same jobs are a plan of each of them
                self._making = frozenset(session for session, other in self._waiting.items() if other == asked)
                for session in self._making:
                    del self._waiting[session]
            try:
                made = plan(asked.config, asked.run, asked.root, asked.targets)
            except OSError:
                made = Plan(f"snakemake --configfile {asked.config}", None)
            with self._lock:
                for session in self._making:
                    self._made.pop(session, None)
                    self._made[session] = made
                for oldest in list(self._made)[:-KEPT]:
                    del self._made[oldest]
                self._making = frozenset()

    def state(self, session: str) -> dict[str, str | list[str]]:
        """Return the plan of a session as the page shows it: state (none, running, done, failed) and lines."""
        with self._lock:
            running, made = session in self._waiting or session in self._making, self._made.get(session)
        if running or made is None:
            return {"state": "running" if running else "none", "lines": []}
        rows = made.rows or []
        lines = [f"{row['rule']}: {row['jobs']} job{'s' * (row['jobs'] != 1)}, about {row['seconds']:.0f} s" for row in rows]
        return {"state": "failed" if made.rows is None else "done", "lines": [*lines, made.summary]}
