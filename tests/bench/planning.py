"""Measure what Snakemake takes to plan a large run from scratch: jobs, seconds and peak memory of `snakemake -n`, by number of blocks.

    python tests/bench/planning.py [--blocks 4 69 276] [--years 5] [--profile plan.prof]

Each plan is made in a folder of its own with an area, an empty catalogue and no results; nothing is run. "Snakefile" is the time to read
the Snakefile alone, which every job of a cluster does. Times are processor seconds, since planning is one process with one thread. With
`--profile`, what the last plan took by function is printed, and kept for `python -m pstats`.
"""

from __future__ import annotations

import argparse
import os
import pstats
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "workflow"))

from smallmines.cli.console import show  # noqa: E402
from workspace import Workspace, job_counts  # noqa: E402


def prepared(folder: Path, blocks: int, years: int) -> Workspace:
    """Return a folder in which a run of some blocks and years can be planned."""
    workspace = Workspace.make(REPOSITORY, folder, "country.yaml", "country")
    values = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text().replace("demo", "country"))
    values["grid"]["blocks"] = blocks
    values["years"] = {year: {"start": f"{year}-01-01", "end": f"{year}-01-31"} for year in range(2016, 2016 + years)}
    (folder / "country.yaml").write_text(yaml.safe_dump(values))
    archive = folder / "resources/automatic/country/archive"
    archive.mkdir(parents=True)
    (archive / "catalog.json").write_text("{}")
    workspace.user.mkdir(parents=True)
    (workspace.user / "aoi.geojson").write_bytes((REPOSITORY / "config/bench_aoi.geojson").read_bytes())
    return workspace


def measured(workspace: Workspace, *words: str, profile: Path | None = None) -> tuple[str, float, float]:
    """Run Snakemake; return its output, its processor seconds and its peak memory in MB."""
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiler, "-m", "snakemake", *words, "--configfile", workspace.config]
    environment = os.environ | {"PYTHONPATH": str(workspace.folder / "workflow")}
    with tempfile.TemporaryFile("w+") as text:
        process = subprocess.Popen(command, cwd=workspace.folder, env=environment, stdout=text, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        text.seek(0)
        output = text.read()
    assert status == 0, output[-4000:]
    return output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 69, 276])
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    rows = []
    for blocks in options.blocks:
        with tempfile.TemporaryDirectory() as folder:
            workspace = prepared(Path(folder), blocks, options.years)
            output, seconds, memory = measured(workspace, "--dry-run", "--quiet", "rules")
            _, reading, _ = measured(workspace, "--list-target-rules")
            jobs = sum(job_counts(output).values())
            rows.append({"blocks": blocks, "years": options.years, "jobs": jobs, "Snakefile s": reading, "plan s": seconds, "MB": memory})
            if options.profile and blocks == options.blocks[-1]:
                measured(workspace, "--dry-run", "--quiet", "rules", profile=options.profile)
                pstats.Stats(str(options.profile)).sort_stats("cumulative").print_stats(70)
    show("Planning", rows, decimals=1)


main()
