"""Run time and memory of the jobs of a run, from Snakemake's benchmark files and the logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.job import TOOK
from smallmines.core.layout import Layout
from smallmines.core.log import logger

if TYPE_CHECKING:
    import pandas as pd


def stages(path: str | Path) -> list[dict[str, str | int]]:
    """Read the duration of stages from a tab-separated file of names and start times (seconds since 1970; the last line is the end).

    Returns:
        stage, seconds; the last row has their sum.
    """
    lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines()]
    names, starts = [name for name, _ in lines], [int(start) for _, start in lines]
    rows: list[dict[str, str | int]] = [
        {"stage": name, "seconds": end - start} for name, start, end in zip(names, starts, starts[1:], strict=False)
    ]
    return [*rows, {"stage": "all", "seconds": starts[-1] - starts[0]}]


def took(run: str, root: str | Path = ".") -> pd.DataFrame:
    """Return run time and memory by rule, see `by_rule`.

    Raises:
        UserError: the run has no benchmark files.
    """
    return by_rule(jobs(run, root))


def by_rule(table: pd.DataFrame) -> pd.DataFrame:
    """Return run time and memory by rule, in the order in which the rules first ended, of what `jobs` returns.

    Returns:
        rule, jobs, seconds (wall time of all jobs), longest (seconds of the longest job), cpu (processor seconds of all jobs, with the
        programs that they start), memory (MB, largest of all jobs, with the programs they started), start (seconds of all jobs that
        Snakemake counts and the body of the job does not: starting the process and its imports; NaN where a job has no log).
    """
    groups = table.assign(start=table["seconds"] - table["body"]).groupby("rule", sort=False)
    return groups.agg(
        jobs=("seconds", "size"),
        seconds=("seconds", "sum"),
        longest=("seconds", "max"),
        cpu=("cpu", "sum"),
        memory=("memory", "max"),
        start=("start", lambda values: values.sum(skipna=False)),
    ).reset_index()


def jobs(run: str, root: str | Path = ".") -> pd.DataFrame:
    """Return what each job of a run took, in the order in which they ended; of a job that ran again, the last run.

    Returns:
        benchmark (path from the folder of benchmarks), rule, seconds (wall time), body (seconds without starting the process), cpu
        (processor seconds; of a log without them, those that Snakemake sampled), threads, memory (MB), ended (seconds since 1970).
        Body and memory are NaN where the job has no log, threads where the log is of an earlier version, too. Benchmark files that are
        empty or cut are left out with a warning.

    Raises:
        UserError: the run has no benchmark files.
    """
    import pandas as pd

    layout = Layout(run, Path(root))
    folder, logs = layout.benchmarks, layout.logs
    rows = []
    for path in sorted(folder.rglob("*.tsv"), key=lambda path: (path.stat().st_mtime, path)):
        name = path.relative_to(folder)
        log = (logs / name).with_suffix(".log")
        summary = TOOK.search(log.read_text(encoding="utf-8")) if log.is_file() else None
        try:
            table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
            seconds, sampled = float(table["s"].iloc[-1]), float(table["cpu_time"].iloc[-1])
        except (ValueError, LookupError) as error:  # empty, or cut short
            logger.warning("%s is left out: no benchmark file of Snakemake (%s)", path, flat(error))
            continue
        rows.append(
            {
                "benchmark": name.as_posix(),
                "rule": name.parts[0].removesuffix(".tsv"),
                "seconds": seconds,
                "body": float(summary[1]) if summary else float("nan"),
                "cpu": float(summary[3]) if summary and summary[3] else sampled,
                "threads": float(summary[4]) if summary and summary[4] else float("nan"),
                "memory": float(summary[2]) if summary else float("nan"),
                "ended": path.stat().st_mtime,
            }
        )
    if not rows:
        raise UserError(f"benchmark files in {folder}", "none", f"run the workflow first: snakemake --cores 2 --configfile … (run: {run})")
    return pd.DataFrame(rows)
