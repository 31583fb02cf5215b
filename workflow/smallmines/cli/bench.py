"""The verb `smallmines bench`: run time and memory of the jobs of a run, and what more cores would give."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import Json, Output, output

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.report.schedule import Job

LARGER = (4, 16, 64)
"""Numbers of cores for which a run is planned."""


def bench(
    config: ConfigPath,
    stages: Annotated[Path | None, typer.Option(help="Also print the stages of this file (see `make demo`).", exists=True)] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the critical path, and what 4, 16 and 64 cores would give.")] = False,
    cores: Annotated[int | None, typer.Option(help="For the plan: cores that the run had; without it, those of this machine.")] = None,
    picture: Annotated[Path | None, typer.Option(help="For the plan: also draw the jobs over time into this PNG file.")] = None,
    json: Json = False,
) -> None:
    """Print wall and processor time of each rule of a run, and the memory of its largest job."""
    from smallmines.report import run_times

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        took = run_times.jobs(settings.run)
        _rules(run_times.by_rule(took), settings.run, out)
        if stages:
            out.table("Stages, wall time", list(run_times.stages(stages)), "stages", decimals=0)
        if plan or picture:
            _plan(config, took, cores or os.cpu_count() or 1, picture, out)


def _rules(table: pd.DataFrame, run: str, out: Output) -> None:
    """Print the table of rules, with their sum."""
    table.loc[len(table)] = [
        "all",
        table["jobs"].sum(),
        table["seconds"].sum(),
        table["longest"].max(),
        table["cpu"].sum(),
        table["memory"].max(),
        table["start"].sum(skipna=False),
    ]
    table.columns = ["rule", "jobs", "seconds", "longest s", "cpu s", "memory MB", "start-up s"]
    rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    out.table(f"Run {run}", rows, "rules", decimals=1)


def _plan(config: Path, took: pd.DataFrame, cores: int, picture: Path | None, out: Output) -> None:
    """Print the critical path and the simulated runs, and draw them."""
    from smallmines.report import gantt, schedule
    from smallmines.report.planned_jobs import planned_jobs

    jobs = schedule.finished(planned_jobs(config), took, cores)
    path = schedule.critical_path(jobs)
    out.table("Critical path", [{"job": job.name, "seconds": job.seconds, "cpu s": job.cpu} for job in path], "critical_path", decimals=1)
    runs: dict[str, tuple[list[Job], int]] = {f"as it ran, {cores} cores": (jobs, cores)}
    rows = [_row("as it ran", cores, None, jobs)]
    for number in sorted({cores, *(larger for larger in LARGER if larger > cores)}):
        limits = schedule.machine(number)
        simulated = schedule.simulate(jobs, number, limits)
        rows.append(_row("simulated", number, limits["mem_mb"], simulated))
        if number == LARGER[1]:
            runs[f"simulated, {number} cores"] = (simulated, number)
    out.table("From the first job to the last", rows, "cores", decimals=1)
    out.message(
        f"critical path {sum(job.seconds for job in path):.0f} s, all jobs {sum(job.seconds for job in jobs):.0f} s, "
        f"processors {sum(job.cpu for job in jobs):.0f} s; no job ran for {schedule.idle(jobs):.0f} s of the run\n"
        "simulated: each job as fast as it was, beside others too; jobs of several threads by Amdahl's law from their seconds and "
        f"processor seconds; limits of profiles/default, with {schedule.MEMORY_OF_A_CORE} MB a core"
    )
    if picture:
        gantt.draw(runs, [job.name for job in path], picture)
        out.message(f"written: {picture}")


def _row(kind: str, cores: int, memory: int | None, jobs: list[Job]) -> dict[str, str | int | float | None]:
    """Return a row of the table of machines."""
    from smallmines.report.schedule import wall

    seconds = wall(jobs)
    busy = 100 * sum(job.cpu for job in jobs) / (cores * seconds)
    return {"run": kind, "cores": cores, "mem_mb": memory, "seconds": seconds, "processors busy %": busy}
