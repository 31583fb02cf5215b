"""One block and one year of the miniature Earth, runs of it that end badly, and the record of what came of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from workspace import SAME_ARITHMETIC, Workspace

THREADS = ("--set-threads", "assistant=1", "segment=1")
TIMED = ("manifests/", "coverage/")
"""Products that name the time of a search."""

LEFTOVER = re.compile(r"\..+\.\d+@[A-Za-z0-9-]+(\.\w+)?")
"""Names of temporary files and folders, see `smallmines.core.files.written`."""


def make(repository: Path, folder: Path) -> Workspace:
    """Make the world and run the whole workflow on it once; Snakemake's wrappers of the scripts stay."""
    workspace = replace(Workspace.make(repository, folder, "one.yaml", "one"), environment=SAME_ARITHMETIC)
    shutil.copy2(repository / "tests/faults/one.yaml", folder / "one.yaml")
    workspace.world("make", "--config", "one.yaml", "--tiles", "4")
    workspace.snakemake(*THREADS, "--skip-script-cleanup")
    return workspace


def state(workspace: Workspace) -> dict[str, str]:
    """Return the SHA-256 of every product by path, without those that name a time."""
    files = ((path, path.relative_to(workspace.results).as_posix()) for path in sorted(workspace.results.rglob("*")))
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path, name in files
        if path.is_file() and path.name != ".snakemake_timestamp" and not name.startswith(TIMED)
    }


def leftovers(workspace: Workspace) -> list[str]:
    """Return the temporary files that are left among products, cached pixels and people's files."""
    return [
        str(path) for part in ("results", "resources") for path in (workspace.folder / part).rglob(".*") if LEFTOVER.fullmatch(path.name)
    ]


def environment(workspace: Workspace, **more: str) -> dict[str, str]:
    """Return the environment of the workspace's commands."""
    return {**os.environ, **workspace.environment, "PYTHONPATH": str(workspace.folder / "workflow"), "COLUMNS": "160", **more}


def snakemake(workspace: Workspace, *words: str) -> list[str]:
    """Return the command that runs the workflow."""
    return [sys.executable, "-m", "snakemake", *words, "--cores", "2", *THREADS, "--configfile", workspace.config]


def verb(*words: str) -> list[str]:
    """Return the command of a verb."""
    return [sys.executable, "-m", "smallmines.cli", *words]


def start(workspace: Workspace, command: list[str], **more: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that `kill` ends it with all its children."""
    return subprocess.Popen(
        command,
        cwd=workspace.folder,
        env=environment(workspace, **more),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """End a process group at once, as the kernel does where memory is out."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@dataclass(frozen=True)
class Record:
    """Appends what came of each fault to a file, which `table.py` sums up.

    Attributes:
        path: JSON lines.
    """

    path: Path

    def add(self, fault: str, case: str, survived: int, lost: int, tried: int = 1) -> None:
        """Note one or several trials of a fault, `case` says which (seed, rule, size)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {"fault": fault, "case": case, "tried": tried, "survived": survived, "lost": lost}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row)
