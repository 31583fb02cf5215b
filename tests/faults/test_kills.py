"""Runs that are killed with all their processes, at seeded moments: the next run ends with the same products and nothing beside them."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from faults.world import THREADS, Record, leftovers, snakemake, start, state
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

NOT_RUN = {"boundaries", "candidates", "package", "pack", *(f"benchmark_{part}" for part in ("split", "fit", "predict", "score", "table"))}
"""Rules that a run of this world leaves out."""

RULES = sorted({path.stem for path in (Path(__file__).resolve().parents[2] / "workflow/scripts").glob("*.py")} - NOT_RUN)

LATEST = 0.8
"""Seconds after the start of its script at which a job is killed at the latest."""


def rules_at_work(world: Workspace, since: float) -> set[str]:
    """Return the rules whose scripts have begun since a time, by their logs."""
    logs = world.folder / "logs/one"
    begun = [path for path in logs.rglob("*.log") if path.stat().st_mtime >= since] if logs.is_dir() else []
    return {path.relative_to(logs).parts[0].removesuffix(".log") for path in begun}


def run_until(world: Workspace, waiting: set[str], delay: float) -> set[str]:
    """Run until one of some rules has begun, wait, and kill all processes; return which of the rules began, none if the run ended."""
    for lock in (world.folder / ".snakemake/locks").glob("*"):  # what `--unlock` does, without ten seconds of a start
        lock.unlink()
    since, run = time.time(), start(world, snakemake(world, "--rerun-incomplete"))
    while not (hit := waiting & rules_at_work(world, since)):
        if run.status is not None:
            assert run.status == 0, run.output()
            return set()
        time.sleep(0.02)
    time.sleep(delay)
    run.kill()
    return hit


PARTS = 3
"""Runs among which the rules are dealt out."""


@pytest.mark.parametrize(
    ("seed", "part"),
    [pytest.param(1, None, id="five"), *(pytest.param(2, part, marks=pytest.mark.matrix, id=f"part{part}") for part in range(PARTS))],
)
def test_killed_runs_end_with_the_same_products(
    unmade: Workspace, right: dict[str, str], record: Record, seed: int, part: int | None
) -> None:
    """A part: each of its rules is killed once, so that all rules are killed in the end; else five rules."""
    chance = random.Random(seed)
    rules = chance.sample(RULES, len(RULES))
    waiting = set(rules[:5] if part is None else rules[part::PARTS])
    kills = len(waiting)
    killed = []
    while waiting:
        hit = run_until(unmade, waiting, chance.uniform(0, LATEST))
        if not hit and (unmade.results / "report.html").is_file():
            break
        waiting -= hit
        killed += ["+".join(sorted(hit))] if hit else []
    unmade.snakemake("--unlock", cores=1)
    for _ in range(2):  # a run that makes an interrupted `sufficient.json` again makes nothing else (Snakemake 9.27)
        unmade.snakemake(*THREADS, "--rerun-incomplete")
    after = state(unmade)
    differing = sorted(name for name in right.keys() | after.keys() if right.get(name) != after.get(name))
    record.add(
        "SIGKILL of a run", f"seed {seed}, part {part}: {' '.join(killed)}", 0 if differing else len(killed), len(differing), len(killed)
    )
    assert differing == []
    assert leftovers(unmade) == []
    assert len(killed) >= kills // 2, "several rules may begin at once"
