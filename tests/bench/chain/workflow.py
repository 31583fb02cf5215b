"""The workflow's side: `snakemake --cores 2 patches` as users run it, and what its jobs took."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import psutil

from bench.chain.case import STAGES
from bench.chain.measure import Measured, cpu_of, measure

REPOSITORY = Path(__file__).resolve().parents[3]
TARGET = "patches"
STAGE_OF = {
    "composite_s2": "composite_s2",
    "composite_s1": "composite_s1",
    "composite_dem": "composite_dem",
    "segment": "segment",
    "describe": "features",
    "samples": "forest",
    "decisions": "forest",
    "assistant": "forest",
    "labels": "forest",
    "mask": "mask",
    "image_patches": "patches",
    "mask_patches": "patches",
}
"""Stage of each rule; `search` and `fetch` belong to the composite of their sensor, all other rules to `OTHER`."""

OTHER = "grid, coverage"
TOOK = re.compile(r"took ([\d.]+) s, at most (\d+) MB of memory")


def stage_of(rule: str, detail: str) -> str:
    """Return the stage of a job.

    Args:
        rule: name of its rule.
        detail: what tells it from other jobs of the rule: wildcards, or the name of its log.
    """
    if rule in ("search", "fetch"):
        sensor = re.search(r"(?:sensor=|-)(s2|s1|dem)\b", detail)
        return f"composite_{sensor[1]}" if sensor else OTHER
    return STAGE_OF.get(rule, OTHER)


def clean(world: Path, run: str) -> None:
    """Remove the products, the logs and the cached pixels of a run."""
    for folder in (f"results/{run}", f"logs/{run}", f"benchmarks/{run}", "resources/automatic/pixels", ".snakemake"):
        shutil.rmtree(world / folder, ignore_errors=True)


def run_workflow(world: Path, run: str, log: Path) -> Measured:
    """Run the workflow from nothing to the patches; parts are those of `job_of`. Temporary products are kept for `compare`."""
    clean(world, run)
    command = [str(REPOSITORY / ".venv/bin/snakemake"), TARGET, "--cores", "2", "--snakefile", str(REPOSITORY / "Snakefile")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(REPOSITORY / "workflow")
    return measure([*command, "--notemp", "--configfile", f"{run}.yaml"], world, environment, log, part_of=job_of)


def job_of(process: psutil.Process) -> str | None:
    """Return the job `rule:name of its log` that a process of Snakemake runs, by the log that it has open; None for other processes."""
    if not any(".snakemake/scripts" in word for word in process.cmdline()):
        return None
    folder = Path(process.cwd()) / "logs"
    logs = [log for file in process.open_files() if folder in (log := Path(file.path)).parents]
    return next((f"{rule_of(log)}:{log.stem}" for log in logs), None)


def rule_of(log: Path) -> str:
    """Return the rule whose job writes `logs/<run>/<rule>/<name>.log` or `logs/<run>/<rule>.log`."""
    return log.stem if log.parent.parent.name == "logs" else log.parent.name


def job_seconds(logs: Path) -> dict[str, list[tuple[str, float, int]]]:
    """Return, per stage, rule, seconds and peak MB of each job, from the last line of its log."""
    jobs: dict[str, list[tuple[str, float, int]]] = {stage: [] for stage in (*STAGES, OTHER)}
    for path in sorted(logs.rglob("*.log")):
        took = TOOK.search(path.read_text(encoding="utf-8"))
        if took:
            rule = rule_of(path)
            jobs[stage_of(rule, path.stem)].append((rule, float(took[1]), int(took[2])))
    return jobs


def figures(measured: Measured, logs: Path) -> dict[str, dict[str, Any]]:
    """Return, per stage, what its jobs took.

    `wall`: seconds of their processes, start included; `job`: seconds by their logs; `cpu`: CPU seconds; `mb`: most memory of one;
    `rules`: the rules. `wall` and `cpu` are None where jobs have no processes of their own.
    """
    result = {}
    for stage, jobs in job_seconds(logs).items():
        parts = [part for name, part in measured.parts.items() if stage_of(*name.split(":", 1)) == stage]
        result[stage] = {
            "wall": round(sum(part.last - part.first for part in parts), 2) if parts else None,
            "job": round(sum(seconds for _, seconds, _ in jobs), 1),
            "cpu": round(sum(cpu_of(part) for part in parts), 2) if parts else None,
            "mb": max([part.peak // 2**20 for part in parts] or [mb for _, _, mb in jobs] or [0]),
            "rules": sorted({rule for rule, _, _ in jobs}),
        }
    return result
