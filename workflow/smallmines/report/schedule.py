"""Critical path of a finished run, and a simulation of it on another number of cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from smallmines.core.errors import UserError
from smallmines.report.planned_jobs import PlannedJob

if TYPE_CHECKING:
    import pandas as pd

MEMORY_OF_A_CORE = 4000
"""MB of memory a core that a larger machine is assumed to have."""


@dataclass(frozen=True)
class Job:
    """A job that has run.

    Attributes:
        planned: what Snakemake knows of it.
        seconds: wall time.
        cpu: processor seconds, with the programs that it started.
        threads: number of threads that it ran with.
        most_threads: number of threads that it takes where cores are free.
        start: seconds from the start of the first job to its start.
    """

    planned: PlannedJob
    seconds: float
    cpu: float
    threads: int
    most_threads: int
    start: float = 0.0

    @property
    def name(self) -> str:
        """Name of the job."""
        return self.planned.name

    @property
    def end(self) -> float:
        """Seconds from the start of the first job to its end."""
        return self.start + self.seconds

    def on(self, threads: int) -> Job:
        """Return the job as it would run with another number of threads, by Amdahl's law.

        With t threads a job takes s + p / t seconds and s + p processor seconds: the measured two give s and p. A job of one thread, and
        one that used no more than one processor, takes as long as it did.
        """
        parallel = 0.0
        if self.threads > 1:
            parallel = (min(max(self.cpu, self.seconds), self.threads * self.seconds) - self.seconds) * self.threads / (self.threads - 1)
        return replace(self, threads=threads, seconds=self.seconds + parallel / threads - parallel / self.threads)


def finished(planned: Sequence[PlannedJob], took: pd.DataFrame, cores: int) -> list[Job]:
    """Return the jobs of a finished run.

    Args:
        planned: the plan; targets are left out.
        took: what `run_times.jobs` returns. A job that ran with fewer threads than its rule declares and the cores allow was told so
            (`--set-threads`) and never takes more. Where its log does not know, it ran with as many as it could.
        cores: number of cores that the run had.

    Raises:
        UserError: a planned job has not run.
    """
    rows = {str(row["benchmark"]).removesuffix(".tsv"): row for row in took.to_dict("records")}
    plan = [job for job in planned if job.measured]
    missing = [job for job in plan if job.name not in rows]
    if missing:
        found = f"no benchmark file of {len(missing)} of {len(plan)} jobs, first {missing[0].name}"
        rules = " ".join(dict.fromkeys(job.rule for job in missing))
        raise UserError("a finished run", found, f"let snakemake finish it; where it has nothing to do, add --forcerun {rules}")
    first = min(rows[job.name]["ended"] - rows[job.name]["seconds"] for job in plan)
    jobs = []
    for job in plan:
        row = rows[job.name]
        possible = min(job.threads, cores)
        threads = possible if row["threads"] != row["threads"] else int(row["threads"])
        start = row["ended"] - row["seconds"] - first
        jobs.append(Job(job, row["seconds"], row["cpu"], threads, job.threads if threads >= possible else threads, start))
    return jobs


def critical_path(jobs: Sequence[Job]) -> list[Job]:
    """Return the chain of jobs, each needed by the next, that takes longest: on any number of cores the run takes as long."""
    by_name = {job.name: job for job in jobs}
    longest: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name in _in_order(by_name):
        needs = [need for need in by_name[name].planned.needs if need in by_name]
        last = max(needs, key=longest.__getitem__, default=None)
        before[name] = last
        longest[name] = by_name[name].seconds + (longest[last] if last else 0.0)
    path: list[Job] = []
    last = max(longest, key=longest.__getitem__, default=None)
    while last:
        path.append(by_name[last])
        last = before[last]
    return path[::-1]


def _in_order(jobs: Mapping[str, Job]) -> list[str]:
    """Return the names of jobs, each after those that it needs."""
    from graphlib import TopologicalSorter

    return list(
        TopologicalSorter({name: [need for need in job.planned.needs if need in jobs] for name, job in jobs.items()}).static_order()
    )


def simulate(jobs: Sequence[Job], cores: int, limits: Mapping[str, int]) -> list[Job]:
    """Return the jobs with the times that they would have on a machine, as Snakemake's scheduler would start them.

    Whenever a job ends, of those that can run the ones with the highest priority start, and of these the ones with most threads, as long as
    cores and resources are left. Nothing else is modelled: a job is as fast beside others as it was in the run.

    Args:
        jobs: the finished run.
        cores: number of cores.
        limits: resources of the machine, by name; others are not limited.
    """
    free = {**limits, "cores": cores}
    by_name = {job.name: job for job in jobs}
    waits = {job.name: {need for need in job.planned.needs if need in by_name} for job in jobs}
    place = {job.name: number for number, job in enumerate(jobs)}
    running: list[tuple[float, str]] = []
    done: list[Job] = []
    now = 0.0
    while waits or running:
        ready = [by_name[name].on(min(by_name[name].most_threads, cores)) for name, needs in waits.items() if not needs]
        for job in sorted(ready, key=lambda job: (-job.planned.priority, -job.threads, place[job.name])):
            asks = _asks(job, limits)
            if all(asks[name] <= free[name] for name in asks) or not running:  # a job that asks for more than there is runs alone
                free = {name: free[name] - asks.get(name, 0) for name in free}
                del waits[job.name]
                job = replace(job, start=now)
                heappush(running, (job.end, job.name))
                by_name[job.name] = job
        now, name = heappop(running)
        free = {key: value + _asks(by_name[name], limits).get(key, 0) for key, value in free.items()}
        done.append(by_name[name])
        for needs in waits.values():
            needs.discard(name)
    return done


def _asks(job: Job, limits: Mapping[str, int]) -> dict[str, int]:
    """Return what a job takes of cores and limited resources."""
    return {"cores": job.threads, **{name: job.planned.resources.get(name, 0) for name in limits}}


def machine(cores: int, profile: Path = Path("profiles/default/profile.yaml")) -> dict[str, int]:
    """Return the limits of a machine: those of the profile, with memory that grows with the cores (`MEMORY_OF_A_CORE`)."""
    words = yaml.safe_load(profile.read_text(encoding="utf-8")).get("resources", []) if profile.is_file() else []
    limits = {name: int(value) for name, _, value in (str(word).partition("=") for word in words)}
    return limits | {"mem_mb": max(limits.get("mem_mb", 0), cores * MEMORY_OF_A_CORE)}


def wall(jobs: Sequence[Job]) -> float:
    """Return the seconds from the start of the first job to the end of the last."""
    return max(job.end for job in jobs) - min(job.start for job in jobs)


def idle(jobs: Sequence[Job]) -> float:
    """Return the seconds between the first and the last job in which no job ran."""
    empty, busy_until = 0.0, min(job.start for job in jobs)
    for job in sorted(jobs, key=lambda job: job.start):
        empty += max(0.0, job.start - busy_until)
        busy_until = max(busy_until, job.end)
    return empty


def lanes(jobs: Sequence[Job], cores: int) -> list[tuple[Job, int]]:
    """Return each job with a lane from 0 for each of its threads; a lane has one job at a time, and there may be more lanes than cores."""
    ends = [0.0] * cores
    placed: list[tuple[Job, int]] = []
    for job in sorted(jobs, key=lambda job: job.start):
        free = [lane for lane, end in enumerate(ends) if end <= job.start + 0.05]
        while len(free) < job.threads:
            free.append(len(ends))
            ends.append(0.0)
        for lane in free[: job.threads]:
            ends[lane] = job.end
            placed.append((job, lane))
    return placed
