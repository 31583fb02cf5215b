"""What the workflow would make again: the output of a dry run, in lines, made in the background."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from smallmines.annotation.server import rerun
from smallmines.annotation.server.rerun import Plan, Plans, plan

PRINTED = """Building DAG of jobs...
Job stats:
job          count
---------  -------
all              1
labels           2
mask             2
total            5
"""


def answer(monkeypatch: pytest.MonkeyPatch, text: str, status: int = 0) -> list[Any]:
    """Let Snakemake print a text; return the commands that were run."""
    commands: list[Any] = []

    def run(command: list[str], **words: Any) -> subprocess.CompletedProcess[str]:
        commands.append((command, words["cwd"]))
        return subprocess.CompletedProcess(command, status, text, "")

    monkeypatch.setattr(rerun.subprocess, "run", run)
    return commands


def benchmark(root: Path, rule: str, *seconds: float) -> None:
    for number, value in enumerate(seconds):
        path = root / "benchmarks/made" / rule / f"2016/{number}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{value}\t{value}\n")


def test_jobs_with_the_time_that_they_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, PRINTED)
    benchmark(tmp_path, "labels", 3.0, 5.0)
    made = plan(Path("config/made.yaml"), "made", tmp_path)
    assert made.rows == [{"rule": "labels", "jobs": 2, "seconds": 8.0}, {"rule": "mask", "jobs": 2, "seconds": 0.0}]
    assert made.summary == "about 8 s of work: snakemake --configfile config/made.yaml --cores …"
    (command, folder), *_ = commands
    assert command[1:] == ["-m", "snakemake", "--configfile", "config/made.yaml", "--dry-run", "--quiet", "rules"]
    assert folder == tmp_path


@pytest.mark.parametrize(("text", "status"), [("", 0), (PRINTED, 1), ("Traceback", 1)])
def test_where_snakemake_says_nothing_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: int) -> None:
    answer(monkeypatch, text, status)
    made = plan(Path("made.yaml"), "made", tmp_path)
    assert made == Plan("snakemake --configfile made.yaml", None)
    assert made.summary == "see what is to be made again: snakemake --configfile made.yaml --dry-run"


def test_nothing_to_do_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "Nothing to be done (all requested files are present and up to date).\n")
    assert plan(Path("made.yaml"), "made", tmp_path).rows == []


def ended(plans: Plans, session: str = "s") -> dict[str, Any]:
    for _ in range(500):
        if (state := plans.state(session))["state"] != "running":
            return state
        time.sleep(0.01)
    raise AssertionError("it never ends")


def jobs(rule: str) -> Plan:
    return Plan("snakemake", [{"rule": rule, "jobs": 1, "seconds": 4.0}])


def test_plans_are_made_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    plans, go_on = Plans(), threading.Event()
    rows = [{"rule": "labels", "jobs": 1, "seconds": 4.0}, {"rule": "mask", "jobs": 2, "seconds": 1.0}]
    made = iter([Plan("snakemake", []), Plan("snakemake", rows)])

    def slow(*words: Any) -> Plan:
        go_on.wait(10)
        return next(made)

    monkeypatch.setattr(rerun, "plan", slow)
    assert plans.state("s") == {"state": "none", "lines": []}
    plans.start("s", Path("c"), "made", Path())
    assert plans.state("s") == {"state": "running", "lines": []}
    plans.start("s", Path("c"), "made", Path())  # handed in meanwhile: the first plan may not know of it
    plans.start("s", Path("c"), "made", Path())
    go_on.set()
    lines = ["labels: 1 job, about 4 s", "mask: 2 jobs, about 1 s", "about 5 s of work: snakemake --cores …"]
    assert ended(plans) == {"state": "done", "lines": lines}


def test_each_session_has_the_plan_of_its_own_hand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the plan of A is made, B and D hand in reviews, and C a sample of change: one plan serves B and D, another one C."""
    plans, begun, go_on, asked = Plans(), threading.Event(), threading.Event(), []

    def slow(config: Path, run: str, root: Path, targets: tuple[str, ...]) -> Plan:
        asked.append(targets)
        begun.set()
        go_on.wait(10)
        return jobs(f"plan_{len(asked)}")

    monkeypatch.setattr(rerun, "plan", slow)
    plans.start("A", Path("c"), "made", Path())
    assert begun.wait(10)
    for session, targets in (("B", []), ("C", ["change"]), ("D", [])):
        plans.start(session, Path("c"), "made", Path(), targets)
        assert plans.state(session) == {"state": "running", "lines": []}
    go_on.set()
    assert [ended(plans, session)["lines"][0] for session in "ABCD"] == [
        "plan_1: 1 job, about 4 s",
        "plan_2: 1 job, about 4 s",
        "plan_3: 1 job, about 4 s",
        "plan_2: 1 job, about 4 s",
    ]
    assert asked == [(), (), ("change",)]
    assert plans.state("E") == {"state": "none", "lines": []}
    plans.start("B", Path("c"), "made", Path())
    assert ended(plans, "B")["lines"][0] == "plan_4: 1 job, about 4 s"
    assert ended(plans, "A")["lines"][0] == "plan_1: 1 job, about 4 s"


def test_only_the_latest_plans_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = Plans()
    monkeypatch.setattr(rerun, "plan", lambda *words: jobs("labels"))
    monkeypatch.setattr(rerun, "KEPT", 2)
    for session in "ABAC":
        plans.start(session, Path("c"), "made", Path())
        assert ended(plans, session)["state"] == "done"
    assert [plans.state(session)["state"] for session in "ABC"] == ["done", "none", "done"]


def test_nothing_to_do_and_failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = Plans()
    monkeypatch.setattr(rerun, "plan", lambda *words: Plan("snakemake", []))
    plans.start("s", Path("c"), "made", Path())
    assert ended(plans) == {"state": "done", "lines": ["nothing is to be made again"]}

    def broken(*words: Any) -> Plan:
        raise OSError("no such program")

    monkeypatch.setattr(rerun, "plan", broken)
    plans.start("s", Path("c.yaml"), "made", Path())
    assert ended(plans) == {"state": "failed", "lines": ["see what is to be made again: snakemake --configfile c.yaml --dry-run"]}
