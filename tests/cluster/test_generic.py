"""Test `profiles/generic`: the real executor and the profile's script on a stand-in for PBS; other systems' commands by their words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cluster.through_slurm import checksums, compare, finished
from workspace import Workspace

STUB = Path(__file__).parent / "stub_pbs.py"


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the stand-in's jobs; its commands are on PATH."""
    (tmp_path / "bin").mkdir()
    for name in ("qsub", "qstat", "qdel"):
        command = tmp_path / "bin" / name
        command.write_text(f"#!{sys.executable}\n" + STUB.read_text())
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STUB_PBS", str(tmp_path / "jobs"))
    return tmp_path / "jobs"


def running(jobs: Path) -> list[str]:
    """The stand-in's jobs that have not ended."""
    return [job.name for job in jobs.glob("*.stub") if (job / "pid").exists() and not (job / "exit").exists()]


@pytest.mark.heavy
@pytest.mark.matrix
@pytest.mark.e2e
def test_another_batch_system_makes_the_same_bytes_after_an_interruption_and_a_wrong_sample(
    pbs: Path, miniature: Workspace, tmp_path: Path
) -> None:
    there = miniature.clone(tmp_path / "there", finished=False)
    target, words = (
        "patches_2016_1",
        ("--workflow-profile=profiles/generic", "--jobs=2", "--latency-wait=5", "--seconds-between-status-checks=1"),
    )
    planned = there.planned(target)
    interrupt(there, target, *words)
    assert (pbs / "1.stub/exit").read_text() == "271\n", "the job was taken back with qdel"
    assert running(pbs) == []

    sample = there.user / "samples/2016/1.gpkg"
    right = sample.read_bytes()
    sample.write_bytes(b"no GeoPackage")
    before = len(list(pbs.iterdir()))
    output = there.snakemake(target, *words, cores=None, succeeds=False)
    assert "samples" not in finished(output)
    assert asked(pbs)[before:] == [words_of(*limits) for limits in ((1000, 30), (4000, 220), (4000, 130))]
    segments = there.results / "segments/2016/1/segments.tif"
    made = segments.stat().st_mtime_ns

    sample.write_bytes(right)
    before = len(list(pbs.iterdir()))
    output = there.snakemake(target, *words, cores=None)
    assert asked(pbs)[before:] == [words_of(4000, 130)]
    assert finished(output) == {
        rule: planned[rule] for rule in ("assistant", "decisions", "labels", "mask", "mask_patches", target, "samples")
    }
    assert segments.stat().st_mtime_ns == made, "a wrong sample costs no segments"
    local, cluster = (checksums(run.results / "patches/2016/1") for run in (miniature, there))
    assert len(local) > 2 * 4
    assert local == cluster, compare(local, cluster)


def interrupt(workspace: Workspace, *words: str) -> None:
    """Run Snakemake, and interrupt it as with Ctrl-C as soon as the stand-in has a job."""
    command = [sys.executable, "-m", "snakemake", *words, "--configfile", workspace.config]
    environment = os.environ | workspace.environment | {"PYTHONPATH": str(workspace.folder / "workflow")}
    run = subprocess.Popen(
        command,
        cwd=workspace.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert run.stdout
    assert any("with external jobid '1.stub'" in line for line in run.stdout)  # reads no further
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate()
    assert run.returncode != 0, output


def asked(jobs: Path) -> list[str]:
    """The words of each submission, in their order."""
    return [(job / "submitted").read_text() for job in sorted(jobs.iterdir(), key=lambda job: int(job.stem))]


def words_of(megabytes: int, minutes: int) -> str:
    """The words with which a group is submitted: the most memory of its jobs, and the sum of their run times."""
    return f"-V -N smallmines -j oe -o logs/cluster/ -l select=1:ncpus=1:mem={megabytes}mb -l walltime={60 * minutes}"


CALLS = {
    "pbs": "qsub -V -N smallmines -j oe -o logs/cluster/ -l select=1:ncpus=2:mem=3000mb -l walltime=5400 job.sh",
    "sge": "qsub -terse -V -cwd -N smallmines -j y -o logs/cluster/ -pe smp 2 -l h_vmem=1500M -l h_rt=5400 job.sh",
    "lsf": "bsub -J smallmines -oo logs/cluster/%J.log -n 2 -R span[hosts=1] -M 3000MB -W 90",
}


def qacct(*records: tuple[int, int]) -> str:
    """What `qacct -j` prints of several records of one number: requeued, or used again after the counter went round."""
    line = "=" * 62
    return "".join(f"{line}\njobnumber    7\nfailed       {failed}\nexit_status  {status}\n" for failed, status in records)


ANSWERS = [
    ("pbs", {"qstat": "    job_state = Q\n"}, "running"),
    ("pbs", {"qstat": "    job_state = F\n    Exit_status = 0\n"}, "success"),
    ("pbs", {"qstat": "    job_state = F\n    Exit_status = 10\n"}, "failed"),
    ("pbs", {"qstat": "    job_state = F\n    Exit_status = -29\n"}, "failed"),
    ("sge", {"qstat": "job_number: 7\n"}, "running"),
    ("sge", {}, "running"),  # it has left qstat and is not in qacct yet
    ("sge", {"qacct": "failed       0    \nexit_status  0    \n"}, "success"),
    ("sge", {"qacct": "failed       0    \nexit_status  1    \n"}, "failed"),
    ("sge", {"qacct": "failed       100 : assumedly after job\nexit_status  0    \n"}, "failed"),
    ("sge", {"qacct": qacct((100, 137), (0, 0))}, "success"),
    ("sge", {"qacct": qacct((0, 0), (0, 1))}, "failed"),
    ("sge", {"qacct": qacct((0, 0), (100, 0))}, "failed"),
    ("lsf", {"bjobs": "PEND\n"}, "running"),
    ("lsf", {"bjobs": "DONE\n"}, "success"),
    ("lsf", {"bjobs": "EXIT\n"}, "failed"),
]


def call(repository: Path, folder: Path, *words: str, answers: dict[str, str]) -> str:
    """Call the profile's script with commands that print what they are told; those without an answer fail."""
    for name in ("qsub", "bsub", "qstat", "qacct", "bjobs"):
        body = f"cat <<'END'\n{answers[name]}END\n" if name in answers else "exit 1\n"
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> calls\n{body}')
        (folder / name).chmod(0o755)
    (folder / "job.sh").touch()
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    command = [repository / "profiles/generic/jobs.sh", *words]
    return subprocess.run(command, cwd=folder, env=environment, check=True, text=True, capture_output=True).stdout.strip()


@pytest.mark.parametrize("system", CALLS)
def test_what_a_batch_system_is_asked(repository: Path, tmp_path: Path, system: str) -> None:
    answers = {"qsub": "17.server\n", "bsub": "Job <17.server> is submitted to queue <normal>.\n".replace(".server", "")}
    number = call(repository, tmp_path, system, "submit", "2", "3000", "90", "job.sh", answers=answers)
    assert number == {"pbs": "17.server", "sge": "17.server", "lsf": "17"}[system]
    assert (tmp_path / "calls").read_text() == CALLS[system] + "\n"


@pytest.mark.parametrize(("system", "answers", "state"), ANSWERS)
def test_how_a_job_stands(repository: Path, tmp_path: Path, system: str, answers: dict[str, str], state: str) -> None:
    assert call(repository, tmp_path, system, "status", "7", answers=answers) == state


@pytest.mark.parametrize("fails", [3, 9])
def test_a_busy_server_is_asked_again(repository: Path, tmp_path: Path, fails: int) -> None:
    refuse = '{ echo "cannot connect to server" >&2; exit 1; }'
    commands = {
        "sleep": 'echo "sleep $1" >> slept',
        "qstat": f'echo x >> asked; [ $(wc -l < asked) -gt {fails} ] || {refuse}; echo "job_state = R"',
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [repository / "profiles/generic/jobs.sh", "pbs", "status", "7"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == ((0, "running\n") if fails == 3 else (1, ""))
    assert done.stderr.count("cannot connect") == min(fails, 5)
    assert (tmp_path / "slept").read_text().split()[1::2] == ["5", "10", "20", "40"][:fails]


def test_both_cluster_profiles_submit_the_same_groups(repository: Path) -> None:
    slurm, generic = (yaml.safe_load((repository / f"profiles/{name}/profile.yaml").read_text()) for name in ("slurm", "generic"))
    same = {"groups", "group-components", "cores", "local-cores", "jobs", "resources", "latency-wait", "max-jobs-per-timespan"}
    assert {key: generic[key] for key in same} == {key: slurm[key] for key in same}


def test_each_job_of_a_block_is_in_a_group_but_the_downloads(repository: Path) -> None:
    profile = yaml.safe_load((repository / "profiles/slurm/profile.yaml").read_text())
    rules = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    of_a_block = re.findall(r'"<benchmarks>/(\w+)/[^"]*\{block\}', rules)
    assert {entry.split("=")[0] for entry in profile["groups"]} == set(of_a_block) - {"fetch"}
    assert "groups" not in yaml.safe_load((repository / "profiles/default/profile.yaml").read_text())
