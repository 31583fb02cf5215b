"""`snakemake benchmark_deep` on the small miniature: a network from random numbers, killed and continued, marked everywhere."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

ROW = "terramind_tiny_unpretrained/fixed/in_force/0"


@pytest.fixture(scope="module")
def workspace(miniature: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run with a benchmark of one control and of the smallest network, which trains for three epochs."""
    clone = miniature.clone(tmp_path_factory.mktemp("deep") / "clone")
    path = clone.folder / clone.config
    section = {"rows": ["everything_mining/fixed"], "deep_rows": ["terramind_tiny/fixed"], "splits": ["in_force"]}
    section = {**section, "allow_unpretrained": True}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"benchmark": section}))
    row = clone.folder / "config/benchmark/terramind_tiny.yaml"
    content = yaml.safe_load(row.read_text())
    content["variants"][0]["model"] |= {"epochs": 3, "patience": None, "batch": 4, "accumulate": 1}
    row.write_text(yaml.safe_dump(content))
    return clone


@pytest.fixture(scope="module")
def snakemake(repository: Path, workspace: Workspace) -> list[str]:
    """Snakemake in the environment of the networks."""
    python = repository / ".venv-deep/bin/python"
    if not python.is_file():
        pytest.skip("no .venv-deep: make setup-deep")
    return [str(python), "-m", "snakemake", "benchmark_deep", "--cores", "2", "--configfile", workspace.config]


def test_without_pytorch_the_run_says_what_to_do(workspace: Workspace) -> None:
    said = workspace.snakemake("benchmark_deep", succeeds=False)
    assert "PyTorch in the environment that runs Snakemake" in said
    assert ".venv-deep/bin/snakemake" in said
    assert "Traceback" not in said


def test_the_benchmark_without_networks_plans_none(workspace: Workspace) -> None:
    assert "benchmark_train" not in workspace.planned("benchmark")
    assert workspace.planned("benchmark_deep")["benchmark_train"] == 1


def test_a_killed_training_goes_on_and_the_page_marks_it(workspace: Workspace, snakemake: list[str]) -> None:
    folder = workspace.results / "benchmark" / ROW
    log = workspace.folder / f"logs/{workspace.run}/benchmark_train/{ROW.replace('/', '-')}.log"
    running = subprocess.Popen(snakemake, cwd=workspace.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (folder / "checkpoint.pt").is_file():
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.1)
    subprocess.run(["pkill", "-KILL", "-f", str(workspace.folder)], check=False)
    running.kill()
    running.wait()
    subprocess.run([*snakemake, "--unlock"], cwd=workspace.folder, check=True, capture_output=True)
    done = subprocess.run(snakemake, cwd=workspace.folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after epoch" in log.read_text()
    assert not (folder / "checkpoint.pt").exists()
    epochs = pd.read_csv(log.with_suffix("") / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2, 3]
    table = pd.read_parquet(workspace.results / "benchmark/table_deep.parquet")
    assert set(table["row"]) == {"everything_mining", "terramind_tiny_unpretrained"}
    assert table["iou"].between(0, 1).all()
    page = (workspace.results / "benchmark/table_deep.html").read_text()
    assert "TerraMind 1.0 tiny, all bands (unpretrained)" in page
    again = subprocess.run([*snakemake, "--dry-run"], cwd=workspace.folder, check=True, capture_output=True, text=True)
    assert "Nothing to be done" in again.stdout + again.stderr
