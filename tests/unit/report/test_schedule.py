"""Critical path and simulation of runs that can be reckoned by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from smallmines.core.errors import UserError
from smallmines.report import gantt, schedule
from smallmines.report.planned_jobs import PlannedJob
from smallmines.report.schedule import Job


def job(name: str, seconds: float, *needs: str, threads: int = 1, cpu: float = 0.0, mem_mb: int = 1000, priority: int = 0) -> Job:
    """A job that ran with at most two threads."""
    planned = PlannedJob(name, name.split("/")[0], needs, threads, priority, {"mem_mb": mem_mb})
    return Job(planned, seconds, cpu or seconds, min(threads, 2), threads)


# grid, then two chains of fetch (10 s, 30 s) and segment (20 s each), then index.
CHAINS = [
    job("grid", 5),
    job("fetch/1", 10, "grid"),
    job("fetch/2", 30, "grid"),
    job("segment/1", 20, "fetch/1", threads=4, cpu=40),
    job("segment/2", 20, "fetch/2", threads=4, cpu=20),
    job("index", 7, "segment/1", "segment/2"),
]


def times(jobs: list[Job]) -> dict[str, tuple[float, float]]:
    """Start and end of jobs by name."""
    return {job.name: (job.start, job.end) for job in jobs}


def test_the_critical_path_is_the_longest_chain() -> None:
    path = schedule.critical_path(CHAINS)
    assert [job.name for job in path] == ["grid", "fetch/2", "segment/2", "index"]
    assert sum(job.seconds for job in path) == 62
    assert schedule.critical_path([]) == []


def test_a_job_of_several_threads_waits_for_as_many_cores() -> None:
    assert times(schedule.simulate(CHAINS, 2, {})) == {
        "grid": (0, 5),
        "fetch/1": (5, 15),
        "fetch/2": (5, 35),
        "segment/1": (35, 55),
        "segment/2": (55, 75),
        "index": (75, 82),
    }


def test_more_cores_shorten_what_ran_in_parallel() -> None:
    done = schedule.simulate(CHAINS, 8, {})
    assert times(done)["segment/1"] == (15, 25)  # two processors were busy all the time: half of it on four
    assert times(done)["segment/2"] == (35, 55)  # one processor only
    assert schedule.wall(done) == 62


def test_one_thread_takes_what_two_took_together() -> None:
    assert job("a", 20, threads=2, cpu=40).on(1).seconds == 40
    assert job("a", 20, threads=2, cpu=30).on(1).seconds == 30
    assert job("a", 20, threads=2, cpu=30).on(4).seconds == 15  # ten seconds alone, twenty in parallel
    assert job("a", 20, threads=2, cpu=90).on(4).seconds == 10  # no more than two processors can have been busy
    assert job("a", 20, threads=1, cpu=90).on(4).seconds == 20


def test_memory_limits_jobs_and_priority_goes_first() -> None:
    jobs = [job("a", 10, mem_mb=3000), job("b", 10, mem_mb=3000), job("c", 10, mem_mb=1000), job("d", 10, mem_mb=3000, priority=1)]
    assert times(schedule.simulate(jobs, 4, {"mem_mb": 4000})) == {"d": (0, 10), "c": (0, 10), "a": (10, 20), "b": (20, 30)}


def test_a_job_that_asks_for_more_than_there_is_runs_alone() -> None:
    assert times(schedule.simulate([job("a", 10), job("b", 10, mem_mb=9000)], 4, {"mem_mb": 4000})) == {"a": (0, 10), "b": (10, 20)}


def test_a_machine_has_the_limits_of_the_profile_and_memory_for_its_cores(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("resources: [mem_mb=16000, connections=4]\n")
    assert schedule.machine(2, profile) == {"mem_mb": 16000, "connections": 4}
    assert schedule.machine(16, profile) == {"mem_mb": 64000, "connections": 4}
    assert schedule.machine(2, tmp_path / "none") == {"mem_mb": 8000}


def took(threads: float = math.nan, **ended: float) -> pd.DataFrame:
    """What jobs of five seconds took."""
    return pd.DataFrame(
        [{"benchmark": f"{name}.tsv", "seconds": 5.0, "cpu": 4.0, "threads": threads, "ended": end} for name, end in ended.items()]
    )


PLANNED = [job("grid", 0).planned, job("index", 0, "grid", threads=4).planned, PlannedJob("all-0", "all", ("index",), 1, 0, {}, False)]


def test_a_finished_run_begins_with_its_first_job() -> None:
    jobs = schedule.finished(PLANNED, took(index=1112.0, grid=1005.0, other=2000.0), 2)
    assert [(job.name, job.start, job.end) for job in jobs] == [("grid", 0, 5), ("index", 107, 112)]
    assert schedule.wall(jobs) == 112
    assert schedule.idle(jobs) == 102
    with pytest.raises(UserError, match="no benchmark file of 1 of 2 jobs, first index"):
        schedule.finished(PLANNED, took(grid=1005.0), 2)


@pytest.mark.parametrize(("known", "cores", "ran", "most"), [(math.nan, 2, 2, 4), (2, 2, 2, 4), (1, 2, 1, 1), (4, 16, 4, 4), (2, 16, 2, 2)])
def test_threads_that_a_run_was_told_are_kept(known: float, cores: int, ran: int, most: int) -> None:
    index = schedule.finished(PLANNED, took(known, index=1112.0, grid=1005.0), cores)[1]
    assert (index.threads, index.most_threads) == (ran, most)


def test_lanes_hold_one_job_at_a_time(tmp_path: Path) -> None:
    done = schedule.simulate(CHAINS, 2, {})
    placed = {(job.name, lane) for job, lane in schedule.lanes(done, 2)}
    assert {name for name, lane in placed if lane == 1} == {"fetch/2", "segment/1", "segment/2"}
    assert len(placed) == 8
    gantt.draw({"two cores": (done, 2), "sixteen": (schedule.simulate(CHAINS, 16, {}), 16)}, ["grid", "index"], tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 10_000
