"""Run the jobs of a finished world on damaged inputs, one file at a time: `python breaking.py WORLD FINISHED SEED COUNT OUT`.

Each job runs in a fork of this process, from the wrapper that Snakemake kept of its script. COUNT cases are drawn with SEED; 0: every file
that a job reads, cut in half and with one other damage. Writes JSON lines {"rule", "path", "damage", "verdict", "output"}.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
import random
import re
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT = 120.0
"""Seconds after which a job counts as hanging."""

DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut in half": lambda content, chance: content[: len(content) // 2],
    "emptied": lambda content, chance: b"",
    "last bytes cut": lambda content, chance: content[: -min(16, len(content))],
    "cut anywhere": lambda content, chance: content[: chance.randrange(len(content) or 1)],
    "overwritten": lambda content, chance: chance.randbytes(len(content)),
}


@dataclass(frozen=True)
class Job:
    """A job as Snakemake ran it."""

    rule: str
    script: Path
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def jobs(scripts: Path) -> list[Job]:
    """Read the jobs from the wrappers of their scripts."""
    found = []
    for script in scripts.glob("*.py"):
        text = script.read_text(encoding="utf-8")
        match = re.search(r"pickle\.loads\((b'.*?')\);", text, re.DOTALL) or re.search(r'pickle\.loads\((b".*?")\);', text, re.DOTALL)
        assert match, script
        job = pickle.loads(ast.literal_eval(match[1]))
        inputs = [Path(path) for path in job.input]
        found.append(Job(job.rule, script, (*inputs, *behind(job.rule, inputs)), tuple(Path(path) for path in job.output)))
    return sorted(found, key=lambda job: (job.rule, job.outputs))


def behind(rule: str, inputs: list[Path]) -> list[Path]:
    """Return files that a job reads and Snakemake does not know: cached pixels, published patches."""
    listed = [path for path in inputs if "/fetched/" in str(path)] if rule.startswith("composite") else []
    pixels = {file for path in listed for item in json.loads(path.read_text())["items"] for file in item["files"].values()}
    patches = [next(path.with_suffix("").glob("*.tif")) for path in inputs if path.suffix == ".sha256"]
    return [*map(Path, sorted(pixels)[:3]), *patches]


def files_of(path: Path) -> Iterator[Path]:
    """Yield a file, or the first patch of a folder."""
    yield from sorted(path.glob("*.tif"))[:1] if path.is_dir() else [path]


def digest(paths: tuple[Path, ...]) -> str:
    """Return the SHA-256 over some files and the files of some folders."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]:
            if file.name != ".snakemake_timestamp":
                total.update(f"{file}\n".encode() + file.read_bytes())
    return total.hexdigest()


def run(job: Job, printed: Path) -> int | str:
    """Run a job in a fork; return its status."""
    child = os.fork()
    if child == 0:
        status = 1
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        try:
            runpy.run_path(str(job.script), run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                os.write(2, ended.code.encode())
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


def verdict(job: Job, status: int | str, output: str, path: Path, same: bool) -> str:
    """Return what came of a case: `same products`, `refused`, `reported` by the doctor, or what is wrong."""
    if status == 0 and job.rule == "doctor" and not same:
        named = [finding for finding in json.loads(job.outputs[0].read_text())["findings"] if path.name in json.dumps(finding)]
        return "reported" if any(finding["severity"] in ("error", "warning") for finding in named) else "not reported"
    if status == 0:
        return "same products" if same else "other products, silently"
    if status != 1:
        return f"status {status}"
    if "Traceback (most recent call last)" in output:
        return "traceback"
    lines = re.search(r"^expected .*^found .*^do ", output, re.MULTILINE | re.DOTALL)
    return "refused" if lines and path.name in output else "refused without the name of the file"


def main() -> None:
    """Do what the arguments say."""
    world, finished, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[5])
    chance, count = random.Random(int(sys.argv[3])), int(sys.argv[4])
    os.environ["SMALLMINES_JOB"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    os.chdir(world)
    sys.path[:0] = [str(finished / "workflow")]
    import geopandas  # noqa: F401  # forks start with what all jobs import
    import pandera.pandas  # noqa: F401
    import scipy.ndimage  # noqa: F401

    import smallmines.dataset.index  # noqa: F401

    cases = [
        (job, file, damage)
        for job in jobs(finished / ".snakemake/scripts")
        for path in job.inputs
        for file in files_of(path)
        for damage in ("cut in half", chance.choice(sorted(set(DAMAGES) - {"cut in half"})))
        if file.suffix not in (".gpkg", ".png", ".html")
    ]
    if count:
        cases = chance.sample(cases, count)
    with out.open("w", encoding="utf-8") as report:
        for job, file, damage in cases:
            before, kept = digest(job.outputs), file.with_name(f"{file.name}.kept")
            content = file.read_bytes()
            file.rename(kept)  # the same file is a hard link in other worlds
            file.write_bytes(DAMAGES[damage](content, chance))
            try:
                status = run(job, Path("printed.txt"))
            finally:
                kept.replace(file)
            output = Path("printed.txt").read_text(encoding="utf-8", errors="replace")
            same = digest(job.outputs) == before
            row = {
                "rule": job.rule,
                "path": str(file),
                "damage": damage,
                "verdict": verdict(job, status, output, file, same),
                "output": output,
            }
            report.write(json.dumps(row) + "\n")
            report.flush()
            if not same:
                for path in job.outputs:
                    restore(path, finished / path)


def restore(path: Path, right: Path) -> None:
    """Put an output back as it was."""
    for file in sorted(right.rglob("*")) if right.is_dir() else [right]:
        target = path / file.relative_to(right) if right.is_dir() else path
        if file.is_file():
            target.unlink(missing_ok=True)
            target.write_bytes(file.read_bytes())


if __name__ == "__main__":
    main()
