"""Reckon a country from a finished run: hours by number of cores, jobs of the whole run, storage. The tables of docs/country.md.

    python tests/bench/country.py CONFIG [--root FOLDER] [--cores 2] [--tiles 146484] [--years 5]

CONFIG is the configuration of a finished run in FOLDER, `--cores` the cores that it had. Jobs of a block are taken to grow with tiles and
years in number and not in size, so that N cores divide their sum. Jobs of the whole run grow in size: the start of the process stays, the
rest grows with tiles and years, and what they take one after the other (their critical path) is added. Downloads are as fast as in the run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "workflow"))

from growth import measured  # noqa: E402

from smallmines.cli.console import read_config, show  # noqa: E402
from smallmines.report import run_times, schedule  # noqa: E402
from smallmines.report.planned_jobs import planned_jobs  # noqa: E402

OF_A_BLOCK = re.compile(r"/(\d{4}|static)-\d+(-|$)|^compare_years/")
"""Names of jobs of one block."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tiles", type=int, default=146_484)
    parser.add_argument("--years", type=int, default=5)
    options = parser.parse_args()
    run = read_config(options.config).run
    took = run_times.jobs(run, options.root)
    jobs = schedule.finished(planned_jobs(options.config, options.root), took, options.cores)
    line = measured(options.root, options.config, options.cores)
    times = options.tiles * options.years / (line["tiles"] * line["years"])

    of_blocks = [job for job in jobs if OF_A_BLOCK.search(job.name)]
    work = sum(job.seconds * job.threads for job in of_blocks)
    starts = (took["seconds"] - took["body"]).groupby(took["benchmark"].str.removesuffix(".tsv")).last()
    whole = [replace(job, seconds=starts[job.name] + (job.seconds - starts[job.name]) * times) for job in jobs if job not in of_blocks]
    alone = sum(job.seconds for job in schedule.critical_path(joined(whole, jobs)))
    rows = [{"cores": cores, "blocks, h": work * times / cores / 3600, "whole run, h": alone / 3600} for cores in (4, 16, 64, 256)]
    show(f"{options.tiles} tiles, {options.years} years: {times:.1f} times the run {run}", [dict(row, sum=sum_of(row)) for row in rows], 1)
    largest = sorted(whole, key=lambda job: -job.seconds)[:10]
    before = {job.name: job.seconds for job in jobs}
    show(
        "Jobs of the whole run",
        [{"job": job.name, "seconds in the run": before[job.name], "hours": job.seconds / 3600} for job in largest],
        2,
    )
    names = ("pixels", "results", "dataset")
    show(
        "Storage",
        [{"files": name, "kB a tile and year": line[name] / times_of(line) / 1e3, "GB": line[name] * times / 1e9} for name in names],
        0,
    )


def joined(whole: list[schedule.Job], jobs: list[schedule.Job]) -> list[schedule.Job]:
    """Return jobs of the whole run with the jobs between them, which take no time."""
    scaled = {job.name: job for job in whole}
    return [scaled.get(job.name, replace(job, seconds=0.0)) for job in jobs]


def sum_of(row: dict[str, float]) -> float:
    """Return the hours of a row."""
    return row["blocks, h"] + row["whole run, h"]


def times_of(line: dict[str, int]) -> int:
    """Return tiles times years of a run."""
    return line["tiles"] * line["years"]


main()
