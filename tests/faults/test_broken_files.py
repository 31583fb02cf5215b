"""Jobs whose inputs are cut, emptied or overwritten: the same products, or three lines that name the file; never other products."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from faults.world import THREADS, Record, environment, state
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

FINE = ("same products", "refused", "reported")


@pytest.mark.parametrize(("seed", "count"), [(1, 12), pytest.param(2, 0, marks=pytest.mark.matrix, id="2-all")])
def test_no_damaged_file_makes_other_products(
    world: Workspace, finished: Workspace, record: Record, tmp_path: Path, seed: int, count: int
) -> None:
    report = tmp_path / "cases.jsonl"
    program = [sys.executable, str(Path(__file__).with_name("breaking.py"))]
    arguments = [str(world.folder), str(finished.folder), str(seed), str(count), str(report)]
    subprocess.run([*program, *arguments], env=environment(world), check=True)
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    wrong = [row for row in rows if row["verdict"] not in FINE]
    for damage in sorted({row["damage"] for row in rows}):
        of_it = [row for row in rows if row["damage"] == damage]
        lost = sum(row["verdict"] in ("other products, silently", "not reported") for row in of_it)
        survived = sum(row["verdict"] in FINE for row in of_it)
        record.add(f"input of a job {damage}", f"seed {seed}", survived, lost, len(of_it))
    assert len(rows) == (count or len(rows)) >= 12
    assert [(row["rule"], row["path"], row["damage"], row["verdict"], row["output"][-600:]) for row in wrong] == []


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["grid/grid.json", "segments/2022/1/features.parquet", "composites/2022/1/s2.tif", "masks/2022/1.tif"])
def test_a_run_after_the_advice_is_sound_again(world: Workspace, right: dict[str, str], record: Record, name: str) -> None:
    path = world.results / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    readers = {"grid": "segment", "segments": "labels", "composites": "segment", "masks": "mask_patches"}
    command = (*THREADS, "--forcerun", readers[name.split("/")[0]], "--rerun-triggers", "input")
    output = world.snakemake(*command, succeeds=False)
    assert f"do        delete results/one/{name} and run again" in output
    assert "Traceback (most recent call last)" not in output
    path.unlink()
    world.snakemake(*command)
    after = state(world)
    differing = sorted(other for other in right.keys() | after.keys() if right.get(other) != after.get(other))
    record.add("broken product, advice followed", name, int(not differing), int(bool(differing)))
    assert differing == []
