"""The jobs of a run with what each needs, as Snakemake plans them.

Snakemake is asked in a process of its own (`python -m smallmines.report.planned_jobs CONFIG`): its Snakefile changes the process that
reads it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError

MOST_CORES = 1024
"""Cores for which Snakemake plans, so that no rule's threads are cut."""


@dataclass(frozen=True)
class PlannedJob:
    """A job of the plan.

    Attributes:
        name: path of its benchmark file from the run's folder of benchmarks, without suffix; of a job without one, rule and number.
        rule: name of its rule.
        needs: names of the jobs that must have ended before.
        threads: number of threads that its rule declares.
        priority: priority of its rule.
        resources: declared resources that are numbers, by name.
        measured: whether it has a benchmark file. Targets have none, and run nothing.
    """

    name: str
    rule: str
    needs: tuple[str, ...]
    threads: int
    priority: int
    resources: dict[str, int]
    measured: bool = True


def planned_jobs(config: Path, root: str | Path = ".") -> list[PlannedJob]:
    """Return all jobs of a run that Snakemake would run from scratch for its default target; nothing is run or changed.

    Args:
        config: configuration file of the run.
        root: folder of the Snakefile.

    Raises:
        UserError: Snakemake cannot plan.
    """
    command = [sys.executable, "-m", "smallmines.report.planned_jobs", str(Path(config).absolute())]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-4:]
        raise UserError("a plan of Snakemake", " / ".join(last), f"look at: snakemake --dry-run --forceall --configfile {config}")
    return [PlannedJob(**{**job, "needs": tuple(job["needs"])}) for job in json.loads(done.stdout.splitlines()[-1])]


class _Jobs(logging.Handler):
    """Log handler that keeps Snakemake's events about jobs, by number of the job."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[int, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record if it describes a job."""
        if getattr(record, "event", None) == "job_info":
            self.records[vars(record)["jobid"]] = record


def _plan(config: Path) -> list[PlannedJob]:
    """Return the jobs, with Snakemake's programming interface."""
    from snakemake.api import SnakemakeApi
    from snakemake.logging import logger
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    events = _Jobs()
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
        logger.addHandler(events)
        workflow = api.workflow(ResourceSettings(cores=MOST_CORES), ConfigSettings(configfiles=[config]), snakefile=Path("Snakefile"))
        workflow.dag(DAGSettings(forceall=True)).execute_workflow(executor="dryrun")
    records = list(events.records.values())
    names = {record.jobid: _name(record) for record in records}
    makers = {path: names[record.jobid] for record in records for path in record.output}
    return [
        PlannedJob(
            names[record.jobid],
            record.rule_name,
            tuple(sorted({makers[path] for path in record.input if path in makers})),
            record.threads,
            record.priority,
            {name: value for name, value in record.resources.items() if isinstance(value, int) and not name.startswith("_")},
            record.benchmark is not None,
        )
        for record in records
    ]


def _name(record: Any) -> str:
    """Return the name of a job."""
    if record.benchmark is None:
        return f"{record.rule_name}-{record.jobid}"
    return "/".join(Path(record.benchmark).with_suffix("").parts[2:])  # benchmarks/<run>/…


if __name__ == "__main__":
    print(json.dumps([asdict(job) for job in _plan(Path(sys.argv[1]))]))
