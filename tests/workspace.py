"""A copy of the repository in a new folder, where tests run the real commands."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

MINIATURE_TILES = 12
SAME_ARITHMETIC = (
    {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"} if platform.machine() == "x86_64" else {}
)
"""Environment in which all x86-64 CPUs with AVX2 give the same numbers. With AVX-512, numpy's log10 and exp differ in the last digit, so
that some reflectances of the miniature are rounded to another integer and all segments change."""
SHIPPED = ("Snakefile", "workflow", "config", "profiles", "envs")
MADE = ("results", "logs", "benchmarks", ".snakemake", "resources/automatic/pixels")
"""Folders that a run writes."""

LINKED = ("results", "resources/automatic")
"""Folders that `clone` shares as hard links: the workflow replaces these files and never writes into them."""


@dataclass(frozen=True)
class Workspace:
    """A working folder with the workflow, the config file of its run, and environment variables of its commands."""

    folder: Path
    config: str
    run: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def make(repository: Path, folder: Path, config: str, run: str) -> Workspace:
        """Copy the files of the workflow that a clone has."""
        for name in SHIPPED:
            source = repository / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)
        return Workspace(folder, config, run)

    def clone(self, folder: Path, finished: bool = True) -> Workspace:
        """Copy this workspace; without `finished`, only the inputs of a run.

        Results, archive and cached pixels are hard links. People's files, code, logs and Snakemake's records, which are written in
        place, are copied with their times, so that the copy is up to date.
        """
        left_out = set() if finished else {self.folder / name for name in MADE}
        linked = [self.folder / name for name in LINKED]

        def ignored(parent: str, names: list[str]) -> set[str]:
            return {name for name in names if Path(parent, name) in left_out}

        def copied(source: str, target: str) -> None:
            share = any(Path(source).is_relative_to(part) for part in linked)
            (os.link if share else shutil.copy2)(source, target)

        shutil.copytree(self.folder, folder, ignore=ignored, copy_function=copied)
        return replace(self, folder=folder)

    @staticmethod
    def miniature(repository: Path, folder: Path, cores: int = 2) -> Workspace:
        """Make the small miniature of a repository and run the whole workflow once, with the same arithmetic on every machine."""
        workspace = replace(Workspace.make(repository, folder, "small.yaml", "small"), environment=SAME_ARITHMETIC)
        shutil.copy2(repository / "tests/e2e/small.yaml", folder / "small.yaml")
        workspace.world("make", "--config", "small.yaml", "--tiles", str(MINIATURE_TILES))
        workspace.snakemake("--set-threads", "assistant=1", "segment=1", cores=cores)
        return workspace

    def snakemake(self, *words: str, cores: int | None = 2, succeeds: bool = True) -> str:
        """Run Snakemake; return its output. Without `cores`, a profile among the words limits the jobs."""
        limit = [] if cores is None else ["--cores", str(cores)]
        command = [sys.executable, "-m", "snakemake", *words, *limit, "--configfile", self.config]
        return self._call(command, succeeds)

    def smallmines(self, *words: str, succeeds: bool = True) -> str:
        """Run a verb; return its output."""
        return self._call([sys.executable, "-m", "smallmines.cli", *words], succeeds)

    def world(self, *words: str) -> str:
        """Run a verb of the miniature Earth; return its output."""
        return self._call([sys.executable, "-m", "miniature.cli", *words], succeeds=True)

    def _call(self, command: list[str], succeeds: bool) -> str:
        environment = os.environ | self.environment | {"PYTHONPATH": str(self.folder / "workflow"), "COLUMNS": "160"}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert (done.returncode == 0) == succeeds, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-8000:]}"
        return done.stdout

    def planned(self, *words: str) -> dict[str, int]:
        """Return the number of planned jobs by rule; empty if the run is up to date."""
        return job_counts(self.snakemake("-n", *words))

    @property
    def results(self) -> Path:
        """Folder of the run's products."""
        return self.folder / "results" / self.run

    @property
    def user(self) -> Path:
        """Folder of people's files."""
        return self.folder / "resources" / "user" / self.run


def messages(text: str) -> list[str]:
    """Return the lines `Job N: …` of a dry run, without the number, sorted."""
    return sorted(re.findall(r"^Job \d+: (.+)$", text, re.MULTILINE))


def job_counts(text: str) -> dict[str, int]:
    """Return the table `Job stats` of a dry run as {rule: jobs}, without `all` and `total`."""
    table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)+)", text, re.MULTILINE)
    rows = [line.split() for line in table.group(1).splitlines()] if table else []
    return {name: int(count) for name, count in rows if name not in ("all", "total")}
