"""Compare a run with `profiles/slurm` on a one-node Slurm with a local run. `make demo-slurm` runs this file."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from workspace import Workspace  # noqa: E402

ONE_NODE_SLURM = Path(__file__).parent / "one_node_slurm.sh"
ONE_NODE = (
    "--workflow-profile=profiles/slurm",
    "--slurm-no-account",  # there is no accounting, so no account and no sacct
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=3",
    "--latency-wait=5",
    "--max-threads=1",
)
"""The shipped profile, and the settings for a cluster of one small node without accounting."""


def slurm(verb: str) -> subprocess.CompletedProcess[str]:
    """Start (`up`) or stop (`down`) the one-node Slurm, or return its `status`."""
    return subprocess.run([ONE_NODE_SLURM, verb], text=True, capture_output=True, check=False)


def submitted(output: str) -> dict[str, list[int]]:
    """Slurm's job ids by rule, from Snakemake's output."""
    found = defaultdict(list)
    for number, rule in re.findall(r"has been submitted with SLURM jobid (\d+) \(log: .*?/rule_(\w+)/", output):
        found[rule].append(int(number))
    return {rule: sorted(numbers) for rule, numbers in sorted(found.items())}


def ran_here(output: str) -> dict[str, int]:
    """Number of jobs by rule that were not submitted, without the aggregate `all`."""
    jobs = Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", output, re.MULTILINE))
    jobs -= Counter({rule: len(numbers) for rule, numbers in submitted(output).items()} | {"all": 1})
    return dict(sorted(jobs.items()))


def checksums(dataset: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path."""
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    return {path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def compare(local: dict[str, str], cluster: dict[str, str]) -> str:
    """One line that compares two datasets."""
    names = sorted(local.keys() | cluster.keys())
    differing = [name for name in names if local.get(name) != cluster.get(name)]
    return f"{len(names)} files, {len(differing)} of them differ" + (f", the first is {differing[0]}" if differing else "")


def main() -> None:
    """Run the demo with the profile in the folder `.demo-slurm`; print job ids and the comparison with a local run."""
    print(slurm("status").stdout)
    folder, local = REPOSITORY / ".demo-slurm", REPOSITORY / "results/demo/dataset"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    workspace = Workspace.make(REPOSITORY, folder, "config/demo.yaml", "demo")
    workspace.world("make", "--config", "config/demo.yaml", *sys.argv[1:])
    if (local / "index.parquet").is_file():  # the same labels and corrections as there
        shutil.rmtree(workspace.user)
        shutil.copytree(REPOSITORY / "resources/user/demo", workspace.user)
    print(f"running through Slurm, about ten minutes; progress: tail -f {folder}/.snakemake/log/*, and squeue", flush=True)
    output = workspace.snakemake(*ONE_NODE, cores=None)
    print("rule              Slurm's job ids")
    for rule, numbers in submitted(output).items():
        print(f"{rule:17} {' '.join(map(str, numbers))}")
    print("here, not submitted:", ", ".join(f"{rule} {jobs}" for rule, jobs in ran_here(output).items()))
    if (local / "index.parquet").is_file():
        one, other = checksums(local), checksums(workspace.results / "dataset")
        print(f"results/demo/dataset and the one made through Slurm: {compare(one, other)}")
        sys.exit(one != other)
    print("no results/demo/dataset to compare with: run make demo first")


if __name__ == "__main__":
    main()
