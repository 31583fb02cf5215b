"""Test the miniature with `profiles/slurm` on a real Slurm of one node: the same bytes as without Slurm."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.through_slurm import ONE_NODE, ONE_NODE_SLURM, checksums, compare, ran_here, slurm, submitted
from workspace import Workspace

HERE = {
    "grid",
    "search",
    "coverage",
    "covered",
    "fetch",
    "decisions",
    "assemble",
    "index",
    "leakage",
    "software",
    "documents",
    "catalogue",
    "seal",
    "verify",
    "plots",
    "page",
}
"""Rules of the miniature that are not submitted."""


@pytest.fixture(scope="module")
def one_node() -> Iterator[None]:
    """A Slurm of one node; skipped with the script's reason without root or apt, and if another slurm.conf exists."""
    was_up = slurm("status").returncode == 0
    brought = slurm("up")
    if brought.returncode in (3, 4):
        pytest.skip(brought.stderr.replace("\n", "; "))
    assert brought.returncode == 0, brought.stderr
    yield
    if not was_up:
        slurm("down")


@pytest.mark.heavy
@pytest.mark.e2e
def test_slurm_and_one_machine_make_the_same_bytes(one_node: None, miniature: Workspace, tmp_path: Path) -> None:
    there = miniature.clone(tmp_path / "at another/place", finished=False)
    planned = there.planned()
    output = there.snakemake(*ONE_NODE, cores=None)
    print(submitted(output))
    jobs = {rule: len(numbers) for rule, numbers in submitted(output).items()}
    assert ran_here(output) == {rule: count for rule, count in planned.items() if rule in HERE}
    assert jobs == {rule: count for rule, count in planned.items() if rule not in HERE}
    done = {int(number) for number in re.findall(r"_job_complete: JobId=(\d+) done", controller_log())}
    assert {number for numbers in submitted(output).values() for number in numbers} <= done
    local, cluster = checksums(miniature.results / "dataset"), checksums(there.results / "dataset")
    assert len(local) > 4 * 12
    assert local == cluster, compare(local, cluster)
    assert there.planned("--workflow-profile=profiles/slurm") == {}
    with (there.folder / there.config).open("a") as config:
        config.write("submit_downloads: true\n")
    assert there.planned("--workflow-profile=profiles/slurm") == {}, "where a job runs changes no product"
    assert list((there.folder / "logs/small").rglob("segment/*.log"))


def controller_log() -> str:
    """Log of Slurm's controller."""
    return Path("/var/lib/smallmines-slurm/log/slurmctld.log").read_text()


def test_a_slurm_conf_that_is_not_ours_is_refused_and_stays(tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=production\n")
    for verb in ("up", "down", "status"):
        done = subprocess.run(
            [ONE_NODE_SLURM, verb], env=os.environ | {"SLURM_CONF": str(conf)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 4
        assert f"{conf}, which is not ours" in done.stderr
    assert conf.read_text() == "ClusterName=production\n"


def test_submissions_are_read_from_the_output() -> None:
    output = (
        "Job 8 has been submitted with SLURM jobid 12 (log: /a b/logs/slurm/rule_mask/2016_1/12.log).\n"
        "Job 9 has been submitted with SLURM jobid 11 (log: /a/logs/slurm/rule_mask/2016_2/11.log).\n"
        "Finished jobid: 8 (Rule: mask)\nFinished jobid: 9 (Rule: mask)\nFinished jobid: 1 (Rule: grid)\nFinished jobid: 0 (Rule: all)\n"
    )
    assert submitted(output) == {"mask": [11, 12]}
    assert ran_here(output) == {"grid": 1}
