"""Make a made-up world in a new folder and print what it takes: wall time, processor time, memory of all processes together.

With `--against` every file is compared with those of a world that another version made.

Usage: python tests/bench/world.py CONFIG --tiles N [--aoi FILE] [--jobs N] [--against FOLDER] --into FOLDER
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import psutil
import typer

from smallmines.core.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
EVERY = 0.5
"""Seconds between two samples of the memory."""


def memory(process: psutil.Process) -> int:
    """Return the bytes of a process and its children; what several share counts once (PSS)."""
    total = 0
    with suppress(psutil.Error):
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += member.memory_full_info().pss
    return total


def differing(folder: Path, other: Path) -> tuple[int, list[str]]:
    """Return the number of files below resources/ of `folder`, and those that `other` lacks or has with other bytes."""
    files = [path.relative_to(folder) for path in sorted((folder / "resources").rglob("*")) if path.is_file()]
    return len(files), [str(path) for path in files if not (other / path).is_file() or sha256(folder / path) != sha256(other / path)]


def main(
    config: Path,
    into: Annotated[Path, typer.Option(help="New folder for the world.")],
    tiles: int = 40,
    aoi: Path | None = None,
    jobs: int | None = None,
    against: Annotated[Path | None, typer.Option(help="Folder with resources/ of the same world.")] = None,
) -> None:
    """The command."""
    into.mkdir(parents=True)
    words = ["make", "--config", str(config.resolve()), "--tiles", str(tiles)]
    words += ["--aoi", str(aoi.resolve())] if aoi else []
    words += ["--jobs", str(jobs)] if jobs else []
    began, peak = time.monotonic(), 0
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "workflow")}
    with subprocess.Popen([sys.executable, "-m", "miniature.cli", *words], cwd=into, env=environment) as maker:
        process = psutil.Process(maker.pid)
        while maker.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(EVERY)
    wall, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{wall:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processors, at most {peak / 2**20:.0f} MB in all processes together")
    if maker.returncode:
        raise typer.Exit(maker.returncode)
    if against is not None:
        number, different = differing(into, against)
        print(f"{number} files, {len(different)} with other bytes (world.json names the code that made it):", *different)


if __name__ == "__main__":
    typer.run(main)
