"""Strange systems: two runs in one folder, a clock that jumps, a file system without locks."""

from __future__ import annotations

import shutil
import time

import pytest

from faults.world import THREADS, Record, snakemake, start, state
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]


def test_two_runs_in_one_folder(unmade: Workspace, right: dict[str, str], record: Record) -> None:
    """The second one stops at Snakemake's lock; the first one ends well."""
    first = start(unmade, snakemake(unmade))
    while not list((unmade.folder / ".snakemake").glob("locks/*")):
        assert first.status is None
        time.sleep(0.05)
    second = start(unmade, snakemake(unmade))
    refused, output = second.output(), first.output()
    same = state(unmade) == right
    record.add("two runs in one folder", "the second one while the first one works", int(same), int(not same))
    assert second.status == 1
    assert "LockException" in refused
    assert first.status == 0, output[-3000:]
    assert same


@pytest.mark.parametrize("jump", ["-400d"])
def test_a_clock_that_jumps_while_a_run_is_killed(unmade: Workspace, right: dict[str, str], record: Record, jump: str) -> None:
    """The first half of the run has another date than the second one."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("no faketime (apt-get install faketime)")
    process = start(unmade, [faketime, "-f", jump, *snakemake(unmade)], NO_FAKE_STAT="1")
    skewed = "could indicate a clock skew"  # what Snakemake says where files get times before those of their inputs
    while not (unmade.results / "segments/2022/1/segments.tif").is_file() and skewed not in process.printed.read_text():
        assert process.status is None, process.output()
        time.sleep(0.05)
    process.kill()
    unmade.snakemake("--unlock", cores=1)
    unmade.snakemake(*THREADS, "--rerun-incomplete")
    same = state(unmade) == right
    record.add("clock jumps", f"first half at {jump}", int(same), int(not same))
    assert same


def test_a_file_system_without_locks(world: Workspace, strace: str, right: dict[str, str], record: Record) -> None:
    """Every `flock` fails as on some network file systems."""
    words = [strace, "-f", "-o", "/dev/null", "--trace=flock", "--inject=flock:error=ENOLCK"]
    process = start(world, [*words, *snakemake(world, "--forcerun", "fetch")])
    output = process.output()
    same = process.status == 0 and state(world) == right
    record.add("no flock", "pixels fetched again", int(same), int(not same))
    assert "Traceback (most recent call last)" not in output
    assert process.status == 0, output[-3000:]
    assert same
