"""Each folder that a run or a check-in writes, on a disk that is too small, then larger, until there is room."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.people import EVENTS, acknowledged, checked_out, events
from faults.world import Record, environment, snakemake, start, state, verb
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

DISKS = Path(__file__).with_name("disks.py")
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
SIZES = {
    "results": (100, 400, 400, 600, 800, 1200, 1600, 2000),
    "resources/automatic/pixels": (100, 200, 400, 800, 1000, 1500, 2000, 3000),
    ".snakemake": (0, 8, 16, 32, 64, 128, 256, 512),
}
"""Free KiB at the start of each of eight runs; what a run finishes stays, so that the next has less to do."""

TMPDIR_SIZES = (0, 4, 16, 64, 256, 1024, 4096, 16384)

ROOM = 500_000


@pytest.fixture(scope="session", autouse=True)
def _may_mount() -> None:
    """Skip where a small disk cannot be mounted."""
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode:
        pytest.skip("no namespace in which a small disk can be mounted")


def runs_on(world: Workspace, place: str, sizes: tuple[int, ...], command: list[str], **more: str) -> list[dict[str, Any]]:
    """Run a command while a folder is a small disk; see `disks.py`."""
    folder, kept = world.folder / place, world.folder / f"{place}.kept"
    job = {"folder": str(folder), "kept": str(kept), "sizes": sizes, "command": command, "cwd": str(world.folder)}
    done = subprocess.run(
        [*NAMESPACE, sys.executable, str(DISKS)],
        input=json.dumps(job),
        env=environment(world, **more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.rmtree(folder)
    kept.rename(folder)
    runs: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return runs


def judge(runs: list[dict[str, Any]], world: Workspace, place: str) -> list[str]:
    """Return what is wrong with the messages of runs: a run ends well, or says which disk is full, without a traceback."""
    wrong = []
    for run in runs:
        output, size = run["output"], run["size"]
        named = [world.folder / path for path in re.findall(r"expected +room to write in (\S+)", output)]
        if run["status"] not in (0, 1):
            wrong.append(f"{size} KiB: status {run['status']}: {output[-300:]}")
        if "Traceback (most recent call last)" in output:
            wrong.append(f"{size} KiB: {output[output.index('Traceback') :][:1500]}")
        if run["status"] == 1 and not any(path.is_relative_to(world.folder / place) for path in named):
            wrong.append(f"{size} KiB: does not name {place}: {output[-2500:]}")
    return wrong


@pytest.mark.parametrize(
    ("place", "sizes"),
    [
        ("results", (300, 1500)),
        *(
            pytest.param(place, sizes, marks=pytest.mark.matrix, id=f"{place}-all")
            for place, sizes in SIZES.items()
            if place != "temporary"
        ),
    ],
)
def test_runs_on_a_full_disk_say_so_and_go_on_when_there_is_room(
    unmade: Workspace, right: dict[str, str], record: Record, place: str, sizes: tuple[int, ...]
) -> None:
    runs = runs_on(unmade, place, (*sizes, ROOM), snakemake(unmade, "--rerun-incomplete"))
    wrong = judge(runs, unmade, place) if place != ".snakemake" else []  # Snakemake's own words there
    after = state(unmade)
    differing = sorted(name for name in right.keys() | after.keys() if right.get(name) != after.get(name))
    full = sum(run["status"] != 0 for run in runs[:-1])
    for run in runs[:-1]:
        record.add(f"full disk: {place}", f"{run['size']} KiB free: status {run['status']}", int(not differing), int(bool(differing)))
    assert runs[-1]["status"] == 0, runs[-1]["output"][-3000:]
    assert differing == []
    assert wrong == [], "\n\n".join(wrong)
    assert full >= 1, "at least one disk was too small"


@pytest.mark.matrix
def test_a_full_tmpdir(world: Workspace, right: dict[str, str], record: Record) -> None:
    """Everything from the segments on is made again at each size."""
    command = snakemake(world, "--rerun-incomplete", "--forcerun", "segment", "samples")
    runs = runs_on(world, "temporary", TMPDIR_SIZES, command, TMPDIR=str(world.folder / "temporary"))
    after = state(world)
    differing = sorted(name for name in right.keys() | after.keys() if right.get(name) != after.get(name))
    for run in runs:
        record.add("full disk: TMPDIR", f"{run['size']} KiB free: status {run['status']}", int(not differing), int(bool(differing)))
    assert differing == []
    ours = [run for run in runs if "snakemake/cli.py" not in run["output"]]  # its solver needs a temporary file, too
    assert judge(ours, world, "temporary") == []


@pytest.mark.matrix
def test_a_missing_tmpdir(world: Workspace, right: dict[str, str], record: Record) -> None:
    output = start(world, snakemake(world, "--forcerun", "segment"), TMPDIR="/none/here").output()
    same = state(world) == right
    record.add("TMPDIR is missing", "segments made again", int(same), int(not same))
    assert "Traceback" not in output
    assert same, "Python's default folder serves"


@pytest.mark.matrix
def test_check_ins_on_a_full_disk(world: Workspace, record: Record) -> None:
    """What is acknowledged is there; what is not says why, and comes in when there is room."""
    copy = checked_out(world)
    reference = world.clone(world.folder.with_name("reference"))
    command = verb("labels", "checkin", "--config", "one.yaml", "--no-plan", str(copy.relative_to(world.folder)))
    subprocess.run(command, cwd=reference.folder, env=environment(reference), check=True, capture_output=True)
    runs = runs_on(world, "resources/user/one", (0, 4, 8, 16, 32, 64, 128, 256, ROOM), command)
    same = events(world.folder / EVENTS) == events(reference.folder / EVENTS) != []
    for run in runs[:-1]:
        whole = same and all((world.folder / path).is_file() for path in acknowledged(run["output"]))
        record.add("full disk: check-in", f"{run['size']} KiB free: status {run['status']}", int(whole), int(not whole))
        assert whole
    assert judge(runs, world, "resources/user/one") == []
    assert runs[-1]["status"] == 0
    assert runs[0]["status"] == 1


def test_a_run_that_needs_more_than_a_disk_has_is_refused_before_its_first_job(repository: Path, tmp_path: Path) -> None:
    import geopandas as gpd
    import shapely

    world = Workspace.make(repository, tmp_path, "large.yaml", "large")
    archives = {"sentinel2": "earth_search", "sentinel1": "planetary_computer", "elevation": "aws"}
    values = yaml.safe_load((repository / "config/demo.yaml").read_text(encoding="utf-8"))
    (tmp_path / "large.yaml").write_text(
        yaml.safe_dump(values | {"run": "large"} | {key: {"provider": name} for key, name in archives.items()})
    )
    world.user.mkdir(parents=True)
    gpd.GeoDataFrame(geometry=[shapely.box(600_000, 690_000, 640_000, 730_000)], crs=32630).to_file(world.user / "aoi.gpkg")
    (whole,) = runs_on(world, "results", (100_000,), snakemake(world))
    assert whole["status"] == 1
    said = re.search(r"expected  about ([\d.]+) GB of free disk space for results/large\nfound     0\.1 GB free of", whole["output"])
    assert said is not None, whole["output"]
    assert 1 < float(said[1]) < 5, "1024 tiles"
    assert "do        free some space" in whole["output"]
    assert "nothing was run" in whole["output"]
    assert "Traceback" not in whole["output"]
    assert not world.results.exists()
    (grid,) = runs_on(world, "results", (100_000,), snakemake(world, "results/large/grid/grid.json"))
    assert grid["status"] == 0, grid["output"]
    assert "disk space" not in grid["output"], "a small job"
    assert (world.results / "grid/grid.json").is_file()
