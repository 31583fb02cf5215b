"""Which rules an edit of the code reruns: typical edits, one after the other, planned on finished runs.

    python tests/bench/reruns.py FOLDER [FOLDER …] --config small.yaml

Each folder is a clone with a finished run, e.g. one of an older commit and one of today. An edit is made, `snakemake -n` is asked, the edit
is taken back. The table says which rules have other params ("rules") and how many jobs the plan has with all that comes after them.
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
    """A typical edit: in the first of some files that holds `old`, it becomes `new`."""

    name: str
    files: tuple[str, ...]
    old: str
    new: str


EDITS = (
    Edit("docstring", ("raster.py",), '"""The grid of an open dataset."""', '"""The grid of a dataset that is open."""'),
    Edit(
        "message of an error",
        ("sentinel2.py",),
        "lower sentinel2.max_datatakes",
        "lower the number sentinel2.max_datatakes",
    ),
    Edit("limit of the doctor", ("config.py",), "        800,\n", "        790,\n"),
    Edit("check of the doctor", ("doctor/radiometry.py",), "> limits.stripe_ratio", ">= limits.stripe_ratio"),
    Edit("row of a provider", ("archive/providers.py",), 'collection="sentinel-2-l2a"', 'collection="sentinel-2-l2a-c2"'),
    Edit("plot", ("report/plots.py",), "Sentinel-2, DN", "Sentinel-2 in DN"),
    Edit("rule of the masks", ("mask.py",), "(clear == 0)", "(clear < 1)"),
    Edit("forest", ("assistant.py",), "CHUNK = 50_000", "CHUNK = 60_000"),
    Edit("writer of the patches", ("patches.py",), '"interleave": "band"', '"interleave": "pixel"'),
    Edit("Lattice", ("lattice.py", "grid.py"), "return row * self.tile_size, col", "return self.tile_size * row, col"),
    Edit("reading code", ("archive/read.py",), "ATTEMPTS = 5", "ATTEMPTS = 6"),
    Edit(
        "new key of the configuration",
        ("config.py",),
        "    elevation_bins: int",
        '    more: int = Field(1, description="x")\n    elevation_bins: int',
    ),
    Edit("number of `fetch`", ("rerun.py", "provenance.py"), '"fetch": 1', '"fetch": 2'),
)


def planned(folder: Path, config: str) -> tuple[list[str], int]:
    """Rules with a job whose params have changed, and the number of all jobs of the plan."""
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "2", "--configfile", config]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    summary = re.search(r"params have changed[^\n]*:\n +([^\n]+)", done.stdout)
    rules = sorted(summary[1].split(", ")) if summary else []
    total = re.search(r"^total +(\d+)", done.stdout, re.MULTILINE)
    return rules, int(total[1]) - 1 if total else 0


def tried(folder: Path, config: str, edit: Edit) -> tuple[list[str], int]:
    """What an edit would rerun in a clone; the clone is left as it was."""
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
    given = parser.parse_args()
    for folder in given.folders:
        if (before := planned(folder, given.config)) != ([], 0):
            raise SystemExit(f"expected  a finished run in {folder}\nfound     {before}\ndo        snakemake --configfile {given.config}")
    print("| edit |" + "".join(f" {folder.name}: rules | jobs |" for folder in given.folders))
    print("| --- |" + " --- | --- |" * len(given.folders))
    for edit in EDITS:
        cells = []
        for folder in given.folders:
            rules, jobs = tried(folder, given.config, edit)
            named = ", ".join(rules) if len(rules) <= 8 else f"{len(rules)} rules"
            cells.append(f" {named or 'none'} | {jobs} |")
        print(f"| {edit.name} |" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
