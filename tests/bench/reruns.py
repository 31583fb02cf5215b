"""Measure which rules typical edits of the code rerun, planned with `snakemake -n` on finished runs.

    python tests/bench/reruns.py FOLDER [FOLDER …] --config small.yaml

Each folder is a clone with a finished run, e.g. of an older commit and of today. Each edit is made, planned, and taken back. The table
lists the rules whose params change ("rules") and the number of jobs of the plan, with all jobs that follow.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path("workflow/smallmines")


@dataclass(frozen=True)
class Edit:
    """A typical edit: replaces `old` by `new` in the first of some files that contains it."""

    name: str
    files: tuple[str, ...]
    old: str
    new: str


EDITS = (
    Edit("docstring", ("core/raster.py", "raster.py"), "grid of an open dataset.", "grid of a dataset that is open."),
    Edit(
        "message of an error",
        ("composite/sentinel2.py", "sentinel2.py"),
        "lower sentinel2.max_datatakes",
        "lower the number sentinel2.max_datatakes",
    ),
    Edit("limit of the doctor", ("config/doctor.py", "config.py"), "        800,\n", "        790,\n"),
    Edit("check of the doctor", ("doctor/radiometry.py",), "> limits.stripe_ratio", ">= limits.stripe_ratio"),
    Edit("row of a provider", ("archive/providers.py",), 'collection="sentinel-2-l2a"', 'collection="sentinel-2-l2a-c2"'),
    Edit("plot", ("report/plots.py",), "Sentinel-2, DN", "Sentinel-2 in DN"),
    Edit("rule of the masks", ("labels/mask.py", "mask.py"), "(clear == 0)", "(clear < 1)"),
    Edit("forest", ("labels/forest.py", "assistant.py"), "CHUNK = 50_000", "CHUNK = 60_000"),
    Edit("writer of the patches", ("dataset/patches.py", "patches.py"), "(s2 == 0).any(axis=0)", "(s2 < 1).any(axis=0)"),
    Edit("Lattice", ("grid/lattice.py", "lattice.py", "grid.py"), "return row * self.tile_size, col", "return self.tile_size * row, col"),
    Edit("reading code", ("archive/read.py",), "ATTEMPTS = 5", "ATTEMPTS = 6"),
    Edit(
        "new key of the configuration",
        ("config/sections.py", "config.py"),
        "    clusters: int",
        '    more: int = Field(1, description="x")\n    clusters: int',
    ),
    Edit("number of `fetch`", ("core/rerun.py", "rerun.py", "provenance.py"), '"fetch": 1', '"fetch": 2'),
)


def planned(folder: Path, config: str) -> tuple[list[str], int]:
    """Return the rules whose params have changed, and the number of jobs of the plan."""
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--configfile", config]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    summary = re.search(r"params have changed[^\n]*:\n +([^\n]+)", done.stdout)
    rules = sorted(summary[1].split(", ")) if summary else []
    total = re.search(r"^total +(\d+)", done.stdout, re.MULTILINE)
    return rules, int(total[1]) - 1 if total else 0


def tried(folder: Path, config: str, edit: Edit) -> tuple[list[str], int]:
    """Return what an edit reruns in a clone; the clone is left as it was."""
    for name in edit.files:
        path = folder / LIBRARY / name
        if path.is_file() and edit.old in (text := path.read_text(encoding="utf-8")):
            path.write_text(text.replace(edit.old, edit.new, 1), encoding="utf-8")
            try:
                return planned(folder, config)
            finally:
                path.write_text(text, encoding="utf-8")
    raise SystemExit(f"expected  {edit.old!r} in {' or '.join(edit.files)} of {folder}\nfound     none\ndo        mend the list of edits")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="clones with a finished run")
    parser.add_argument("--config", required=True, help="configuration of the run, relative to each clone")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        if (before := planned(folder, arguments.config)) != ([], 0):
            raise SystemExit(
                f"expected  a finished run in {folder}\nfound     {before}\ndo        snakemake --configfile {arguments.config}"
            )
    print("| edit |" + "".join(f" {folder.name}: rules | jobs |" for folder in arguments.folders))
    print("| --- |" + " --- | --- |" * len(arguments.folders))
    for edit in EDITS:
        cells = []
        for folder in arguments.folders:
            rules, jobs = tried(folder, arguments.config, edit)
            named = ", ".join(rules) if len(rules) <= 8 else f"{len(rules)} rules"
            cells.append(f" {named or 'none'} | {jobs} |")
        print(f"| {edit.name} |" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
