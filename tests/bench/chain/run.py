"""Measure this workflow against the usual chains, check that they compute the same, and write the tables and the plot.

    PYTHONPATH=tests:workflow .venv-bench/bin/python -m bench.chain.run --skip rasterstats      (`make bench-chain`)

Chains take turns (A B A B). Each stage of a chain is a process of its own. What is finished stands in `results.jsonl` and is not measured
again, unless the code of its chain has changed; `--again` measures everything anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.chain import naive
from bench.chain.case import STAGES, read_case, write_case
from bench.chain.measure import Measured, exit_when_terminated, measure
from bench.chain.plot import draw
from bench.chain.records import Record, append, code_of, key_of, read_records
from bench.chain.table import document, insert
from bench.chain.workflow import OTHER, REPOSITORY, TARGET, figures, run_workflow

HERE = Path(__file__).parent
RASTERSTATS = ("features", "features_arrays")
"""Stages of the naive chain that `--skip rasterstats` leaves out."""


@dataclass(frozen=True)
class Job:
    """A stage of a chain that is to be measured; the stage of the workflow is `all`."""

    size: int
    chain: str
    repetition: int
    stage: str


def plan(sizes: list[int], repetitions: int, skipped: set[str], naive_sizes: set[int]) -> Iterator[Job]:
    """Yield all jobs: chains in turns, the smallest size as often as asked, the others once, variants of a stage once."""
    for size in sizes:
        for repetition in range(1, (repetitions if size == min(sizes) else 1) + 1):
            yield Job(size, "workflow", repetition, "all")
            for stage in STAGES:
                yield Job(size, "strongest", repetition, stage)
            if repetition == 1:
                yield Job(size, "strongest", 1, "features_exactextract")
            if size not in naive_sizes:
                continue
            for stage in STAGES:
                if stage != "features":
                    yield Job(size, "naive", repetition, stage)
    if "rasterstats" not in skipped:  # last, since it takes longest
        for size in sorted(naive_sizes):
            yield Job(size, "naive", 1, "features")
            yield Job(size, "naive", 1, "features_arrays")


class Bench:
    """Worlds, products and records in a folder."""

    def __init__(self, work: Path, timeout: float, rasterstats: float) -> None:
        """Make nothing yet. Stages end after `timeout` seconds, those of rasterstats after `rasterstats`."""
        self.work, self.world, self.timeout, self.rasterstats = work, work / "world", timeout, rasterstats
        self.path = work / "results.jsonl"
        common = [HERE / "case.py"]
        sources = [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow").glob("rules/*"), *(REPOSITORY / "workflow").glob("s*/**/*.py")]
        self.code = {chain: code_of([*common, HERE / f"{chain}.py"]) for chain in ("naive", "strongest")}
        self.code["workflow"] = code_of([*common, *sources])

    def document(self, size: int) -> Path:
        """Path of the case of a size."""
        return self.work / str(size) / "case.json"

    def done(self) -> list[Record]:
        """Return the records of today's code."""
        return [record for record in read_records(self.path) if record["code"] == self.code[record["chain"]]]

    def make_world(self, size: int) -> None:
        """Make the made-up archive of a size, unless it is there."""
        run, program = f"chain{size}", str(REPOSITORY / ".venv/bin/miniature")
        config = (REPOSITORY / "config/bench.yaml").read_text(encoding="utf-8")
        config = config.replace("run: bench", f"run: {run}").replace("automatic/bench/", f"automatic/{run}/")
        self.world.mkdir(parents=True, exist_ok=True)
        (self.world / f"{run}.yaml").write_text(config, encoding="utf-8")
        if not any((self.world / "resources/user" / run).glob("samples/*/*")):
            print(f"making a world of {size} tiles", flush=True)
            aoi = str(REPOSITORY / "config/bench_aoi.geojson")
            command = [program, "make", "--config", f"{run}.yaml", "--aoi", aoi, "--tiles", str(size)]
            subprocess.run(command, cwd=self.world, env=environment(), check=True)

    def measure(self, job: Job) -> Record:
        """Measure a job, keep its record and return it."""
        log = self.work / str(job.size) / "logs" / f"{job.chain}-{job.stage}.log"
        if job.chain == "workflow":
            measured = run_workflow(self.world, f"chain{job.size}", log)
            if measured.status == 0:
                for stage, own in figures(measured, self.world / f"logs/chain{job.size}").items():
                    append(self.path, self.record(job, {**own, "status": 0}) | {"stage": "other" if stage == OTHER else stage})
                write_case(self.document(job.size), self.world, f"chain{job.size}")
            return self.keep(job, measured)
        command = [sys.executable, "-m", "bench.chain.stage", str(self.document(job.size)), job.chain, job.stage]
        has_chunks = job.chain == "naive" and job.stage in RASTERSTATS
        measured = measure(command, REPOSITORY, environment(), log, self.rasterstats if has_chunks else self.timeout)
        return self.keep(job, measured, self.of_chunks(job, measured) if has_chunks else {})

    def keep(self, job: Job, measured: Measured, more: Record | None = None) -> Record:
        """Keep what a job took."""
        took = {"wall": round(measured.wall, 2), "cpu": round(measured.cpu, 2), "mb": measured.peak_mb, "status": measured.status}
        record = self.record(job, took | (more or {}))
        append(self.path, record)
        return record

    def of_chunks(self, job: Job, measured: Measured) -> Record:
        """Return what the finished chunks took, also those of earlier calls."""
        done, total, wall, cpu = naive.chunks_of(read_case(self.document(job.size), job.chain), job.stage)
        finished = bool(total) and done == total
        return {
            "wall": round(wall, 1),
            "cpu": round(cpu, 1),
            "done": done,
            "total": total,
            "status": 0 if finished else measured.status or 1,
        }

    def record(self, job: Job, took: Record) -> Record:
        """Return the record of a job."""
        return {**vars(job), "code": self.code[job.chain], **took, "load": round(os.getloadavg()[0], 1)}

    def check(self, size: int) -> list[Record]:
        """Compare the chains of a size with the workflow."""
        if not self.document(size).exists():
            return []
        command = [sys.executable, "-m", "bench.chain.compare", str(self.document(size))]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment(), stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:  # the measurements are not lost with it
            print(done.stderr, file=sys.stderr)
            last = (done.stderr.strip().splitlines() or [""])[-1]
            return [{"chain": "all", "what": "comparison", "found": f"failed: {last}", "holds": False}]
        found: list[Record] = json.loads(self.document(size).with_name("checks.json").read_text(encoding="utf-8"))
        return found


def environment() -> dict[str, str]:
    """Return the environment of the chains' processes."""
    values = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**values, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY / "workflow")])}


def machine(records: list[Record]) -> str:
    """Say on what it was measured."""
    threads = 2
    load = max(record["load"] for record in records)
    return (
        f"Written by `make bench-chain` on {time.strftime('%d %B %Y').lstrip('0')}: {os.cpu_count()} cores, {threads} used, Python "
        f"{platform.python_version()}, `snakemake {TARGET} --cores 2`. Highest load of the machine during a measurement: {load:.1f}."
    )


def main() -> int:
    """Measure what is missing, check, write; exit status 1 where a check does not hold or a stage failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100, 400], help="tiles of the blocks; the first one is measured repeatedly"
    )
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--naive", type=int, nargs="*", default=[100], help="sizes of the naive chain")
    parser.add_argument("--skip", nargs="*", default=[], choices=["rasterstats"], help="leave out what takes longest")
    parser.add_argument("--rasterstats", type=float, default=240, help="seconds for each of its two forms in this call; the next goes on")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds after which a stage is ended")
    parser.add_argument("--work", type=Path, default=REPOSITORY / ".bench-chain")
    parser.add_argument("--table", type=Path, default=REPOSITORY / "docs/chain.md", help="document between whose markers the tables go")
    parser.add_argument("--plot", type=Path, default=REPOSITORY / "docs/images/chain.png")
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    options = parser.parse_args()
    exit_when_terminated()
    bench = Bench(options.work.resolve(), options.timeout, options.rasterstats)
    if options.again:
        bench.path.unlink(missing_ok=True)
        for stage in RASTERSTATS:
            for folder in bench.work.glob(f"*/naive/{stage}"):
                shutil.rmtree(folder)
    for size in options.sizes:
        bench.make_world(size)
    for job in plan(sorted(options.sizes), options.repetitions, set(options.skip), set(options.naive)):
        if key_of({**vars(job), "code": bench.code[job.chain]}) in {key_of(record) for record in bench.done() if record["status"] == 0}:
            continue
        record = bench.measure(job)
        print(f"{job.size} tiles, {job.chain}, {job.repetition}: {job.stage} {record['wall']} s, {record['mb']} MB", flush=True)
    checks = {size: bench.check(size) for size in options.sizes}
    records = [record for record in bench.done() if record["size"] in options.sizes]
    text = document(records, checks, machine(records))
    print(text)
    insert(options.table, text)
    draw(records, options.plot)
    failed = [record for record in records if record["status"] != 0 and record["stage"] not in RASTERSTATS]
    return int(bool(failed) or any(check["holds"] is False for found in checks.values() for check in found))


if __name__ == "__main__":
    sys.exit(main())
