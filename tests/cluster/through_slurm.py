"""Compare a run with `profiles/slurm` on a Slurm of two nodes with a local run. `make demo-slurm` runs this file."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from workspace import Workspace  # noqa: E402

SLURM = Path(__file__).parent / "slurm.sh"
THROUGH_SLURM = (
    "--workflow-profile=profiles/slurm",
    "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=3",
    "--latency-wait=5",
)
"""The shipped profile, and the settings for a cluster that answers at once."""


def slurm(*words: str) -> subprocess.CompletedProcess[str]:
    """Call the script of the test cluster: `up`, `down`, `status`, `kill NODE`, `start NODE`."""
    return subprocess.run([SLURM, *words], text=True, capture_output=True, check=False)


def submitted(output: str) -> dict[str, list[int]]:
    """Slurm's job ids by group, or by rule where it is in no group, from Snakemake's output."""
    found = defaultdict(list)
    for number, rule, group in re.findall(
        r"has been submitted with SLURM jobid (\d+) \(log: .*?/(?:rule_(\w+)|group_([a-z]+)_[^/]*)/", output
    ):
        found[rule or group].append(int(number))
    return {name: sorted(numbers) for name, numbers in sorted(found.items())}


def finished(output: str) -> dict[str, int]:
    """Number of finished jobs by rule, without the aggregate `all`."""
    return dict(sorted(Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (?!all\b)(\w+)\)$", output, re.MULTILINE)).items()))


def checksums(dataset: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative path."""
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    return {path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def compare(local: dict[str, str], cluster: dict[str, str]) -> str:
    """One line that compares two datasets."""
    names = sorted(local.keys() | cluster.keys())
    differing = [name for name in names if local.get(name) != cluster.get(name)]
    return f"{len(names)} files, {len(differing)} of them differ" + (f", the first is {differing[0]}" if differing else "")


@dataclass(frozen=True)
class Job:
    """A job of Slurm: its id, state, node and the comment in which the executor names its group and rules."""

    number: int
    state: str
    node: str
    comment: str


def queue() -> list[Job]:
    """The jobs that Slurm's controller knows, pending and running."""
    text = subprocess.run(["squeue", "--noheader", "--format=%i|%T|%N|%k"], text=True, capture_output=True, check=True).stdout
    return [Job(int(number), *rest) for number, *rest in (line.split("|") for line in text.splitlines())]


def history(number: int) -> list[tuple[str, str]]:
    """State and node of every time that a job was started or waited, oldest first, from Slurm's accounting."""
    command = ["sacct", "-X", "--duplicates", "--noheader", "--parsable2", "--format=State,NodeList", "--jobs", str(number)]
    lines = subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()
    return [(state, node) for state, node in (line.split("|") for line in lines)]


def waited_for(what: str, condition: Callable[[], Job | None], seconds: int) -> Job:
    """Return the job that a condition finds, which is asked every half second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if job := condition():
            return job
        time.sleep(0.5)
    raise TimeoutError(f"{what}: not within {seconds} s")


def kill_a_node(group: str, seconds: int = 600) -> Job:
    """Kill the node on which a job of a group has begun, wait until the job runs on another node, and start the node again.

    Slurm notices within half a minute, and holds a requeued job back for two minutes; it is let go at once, as an operator may while the
    node is off. Returns the job as it ran first.
    """

    def begun() -> Job | None:
        return next((entry for entry in queue() if entry.state == "RUNNING" and entry.comment.startswith(f"rule_{group}_")), None)

    def in_state(state: str) -> Job | None:
        return next((entry for entry in queue() if entry.number == job.number and entry.state == state), None)

    job = waited_for(f"a running job of {group}", begun, seconds)
    time.sleep(5)
    slurm("kill", job.node)
    waited_for("the job is requeued", lambda: in_state("PENDING"), 120)
    subprocess.run(["scontrol", "update", f"JobId={job.number}", "StartTime=now"], check=True)
    waited_for("the job runs elsewhere", lambda: in_state("RUNNING"), seconds)
    slurm("start", job.node)
    return job


def run_and_kill(workspace: Workspace, group: str) -> tuple[str, Job]:
    """Run the workflow through Slurm and kill a node in the middle. Returns Snakemake's output and the job that was lost."""
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_a_node, group)
        output = workspace.snakemake(*THROUGH_SLURM, cores=None)
        return output, killing.result()


def main() -> None:
    """Run the demo with the profile in the folder `.demo-slurm` and kill a node; print job ids and the comparison with a local run."""
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
    output, lost = run_and_kill(workspace, "labels")
    print("group or rule     Slurm's job ids")
    for name, numbers in submitted(output).items():
        print(f"{name:17} {' '.join(map(str, numbers))}")
    jobs = finished(output)
    print(f"{sum(jobs.values())} jobs, {sum(map(len, submitted(output).values()))} submissions")
    print(f"{lost.node} was killed under job {lost.number}, whose states were: {' '.join(state for state, _ in history(lost.number))}")
    if (local / "index.parquet").is_file():
        one, other = checksums(local), checksums(workspace.results / "dataset")
        print(f"results/demo/dataset and the one made through Slurm: {compare(one, other)}")
        sys.exit(one != other)
    print("no results/demo/dataset to compare with: run make demo first")


if __name__ == "__main__":
    main()
