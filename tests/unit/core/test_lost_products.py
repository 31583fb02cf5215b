"""Products that are lost: what Snakemake makes again, and what it leaves as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SNAKEFILE = """
from smallmines.core.lost_products import rerun_lost_products

rerun_lost_products()

rule all:
    input: "index"

rule mask:
    input: "labels"
    output: "mask"
    shell: "cp {input} {output}; ! grep -q broken {input}"

rule splits:
    input: ancient("mask")
    output: "splits"
    shell: "cp {input} {output}"

rule index:
    input: "mask", "splits"
    output: "index"
    shell: "cat {input} > {output}"
"""


def run(folder: Path, succeeds: bool = True) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "workflow")}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == succeeds, ended.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the whole workflow."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    (folder / "labels").write_text("first\n", encoding="utf-8")
    run(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, with the times of its files."""
    return Path(shutil.copytree(finished, tmp_path, dirs_exist_ok=True))


def test_splits_stay_where_a_mask_was_lost_to_a_failed_job(folder: Path) -> None:
    (folder / "labels").write_text("broken\n", encoding="utf-8")
    run(folder, succeeds=False)
    assert not (folder / "mask").exists()
    (folder / "labels").write_text("second\n", encoding="utf-8")
    run(folder)
    assert (folder / "splits").read_text(encoding="utf-8") == "first\n"
    assert (folder / "index").read_text(encoding="utf-8") == "second\nfirst\n"


def test_lost_splits_are_made_after_a_lost_mask(folder: Path) -> None:
    (folder / "labels").write_text("second\n", encoding="utf-8")
    (folder / "mask").unlink()
    (folder / "splits").unlink()
    run(folder)
    assert (folder / "index").read_text(encoding="utf-8") == "second\nsecond\n"


def test_parameters_of_a_job_behind_an_ancient_input_count_when_that_is_made_anew(folder: Path) -> None:
    """A new grid changes the parameters of the search too, and is an `ancient` input of it."""
    text = SNAKEFILE.replace('output: "splits"', 'output: "splits"\n    params: "of a new grid"')
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    (folder / "labels").write_text("second\n", encoding="utf-8")
    run(folder)
    assert (folder / "splits").read_text(encoding="utf-8") == "second\n"
    assert (folder / "index").read_text(encoding="utf-8") == "second\nsecond\n"
