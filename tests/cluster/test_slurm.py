"""Test the miniature with `profiles/slurm` on a real Slurm of two nodes, one of which is killed: the same bytes as without Slurm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.through_slurm import SLURM, checksums, compare, finished, history, run_and_kill, slurm, submitted
from workspace import Workspace

SUBMISSIONS = {
    "pixels": 4,
    "labels": 4,
    "elevation": 1,
    "comparison": 1,
    "measures": 1,
    "contradictions": 2,
    "band_statistics": 2,
    "splits": 1,
    "label_quality": 1,
    "doctor": 1,
}
"""Of the miniature, which has two years of two blocks; the first five are groups, of which three take several blocks together."""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    """A Slurm of two nodes; skipped with the script's reason without root or apt, and if another slurm.conf exists."""
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
def test_two_nodes_of_which_one_is_killed_make_the_same_bytes(two_nodes: None, miniature: Workspace, tmp_path: Path) -> None:
    there = miniature.clone(tmp_path / "at another/place", finished=False)
    planned = there.planned()
    output, lost = run_and_kill(there, "labels")
    jobs = submitted(output)
    print(jobs, lost)
    assert {name: len(numbers) for name, numbers in jobs.items()} == SUBMISSIONS
    assert finished(output) == dict(sorted(planned.items())), "in groups or not, each job runs once as far as Snakemake knows"
    states = {number: history(number) for numbers in jobs.values() for number in numbers}
    assert all(state[-1][0] == "COMPLETED" for state in states.values()), states
    assert {node for state in states.values() for _, node in state} == {"node1", "node2"}
    assert lost.number in jobs["labels"]
    assert [state for state, _ in states.pop(lost.number)] == ["NODE_FAIL", "COMPLETED"]
    assert all(len(state) == 1 for state in states.values() if state[0][1] != lost.node)
    local, cluster = checksums(miniature.results / "dataset"), checksums(there.results / "dataset")
    assert len(local) > 4 * 12
    assert local == cluster, compare(local, cluster)
    assert there.planned("--workflow-profile=profiles/slurm") == {}
    with (there.folder / there.config).open("a") as config:
        config.write("submit_downloads: true\n")
    assert there.planned("--workflow-profile=profiles/slurm") == {}, "where a job runs changes no product"
    assert list((there.folder / "logs/small").rglob("segment/*.log"))


@pytest.mark.parametrize("name", ["slurm.conf", "slurmdbd.conf"])
def test_a_configuration_that_is_not_ours_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    conf = tmp_path / name
    conf.write_text("ClusterName=production\n")
    for words in (["up"], ["down"], ["status"], ["kill", "node1"]):
        environment = os.environ | {"SLURM_CONF": str(tmp_path / "slurm.conf")}
        done = subprocess.run([SLURM, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 4
        assert f"{conf}, which is not ours" in done.stderr
    assert conf.read_text() == "ClusterName=production\n"


def test_submissions_are_read_from_the_output() -> None:
    output = (
        "Job 8 has been submitted with SLURM jobid 12 (log: /a b/logs/slurm/rule_mask/2016_1/12.log).\n"
        "Job 9 has been submitted with SLURM jobid 11 (log: /a/logs/slurm/rule_mask/2016_2/11.log).\n"
        "Job 2ad-5 has been submitted with SLURM jobid 13 (log: /a/logs/slurm/group_labels_mask_mask_patches_.../2016_2/13.log).\n"
        "Finished jobid: 8 (Rule: mask)\nFinished jobid: 9 (Rule: mask)\nFinished jobid: 1 (Rule: grid)\nFinished jobid: 0 (Rule: all)\n"
    )
    assert submitted(output) == {"labels": [13], "mask": [11, 12]}
    assert finished(output) == {"grid": 1, "mask": 2}
