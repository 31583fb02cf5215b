"""What the workflow plans, without running it: the production run, targets, code tracking of every rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from smallmines.provenance import FROZEN, code, sources
from workspace import Workspace, job_counts

pytestmark = pytest.mark.rules

SCRIPTS = sorted((Path(__file__).parents[2] / "workflow/scripts").glob("*.py"))


@pytest.mark.parametrize("config", ["config/config.yaml", "config/demo.yaml"])
def test_a_fresh_clone_plans_everything_without_network_or_labels(repository: Path, tmp_path: Path, config: str) -> None:
    workspace = Workspace.make(repository, tmp_path, config, "any")
    planned = workspace.planned()
    per_year_and_block = ("composite_s2", "composite_s1", "segment", "describe", "labels", "assistant", "decide", "mask")
    assert {planned[rule] for rule in (*per_year_and_block, "image_patches", "mask_patches")} == {8}
    assert planned["composite_dem"] == 4
    assert planned["search"] == 5
    assert planned["fetch"] == 20
    assert planned["assemble"] == 4
    assert planned["grid"] == planned["index"] == planned["verify"] == 1
    assert ("boundaries" in planned) == (config == "config/config.yaml")


def test_every_script_has_a_rule_and_stays_thin(repository: Path) -> None:
    text = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    for script in SCRIPTS:
        assert f'"../scripts/{script.name}"' in text
        assert f'*code("{script.stem}")' in text
        assert len(script.read_text().splitlines()) <= 22


def test_every_rule_declares_what_a_cluster_needs(repository: Path) -> None:
    for path in (repository / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in rule:
                name = rule.split(":")[0]
                for directive in ("log:", "benchmark:", "conda:", "threads:", "mem_mb", "runtime", "message:"):
                    assert directive in rule, f"rule {name} has no {directive}"


def test_sources_of_each_rule_are_the_listed_ones(repository: Path) -> None:
    """A change here is a change of what reruns what: look at it before updating sources.yaml."""
    known = yaml.safe_load((repository / "tests/rules/sources.yaml").read_text())
    library = repository / "workflow/smallmines"
    found = {
        script.stem: [path.relative_to(library).as_posix() for path in sources(script.stem) if path.is_relative_to(library)]
        for script in SCRIPTS
    }
    assert {rule: files for rule, files in found.items() if rule not in FROZEN} == known


def test_rules_right_of_the_masks_know_nothing_of_satellites_and_left_of_the_labels_nothing_of_labels() -> None:
    def modules(rule: str) -> str:
        return " ".join(code(rule))

    for rule in ("composite_s2", "composite_s1", "composite_dem", "segment", "describe"):
        assert "labels" not in modules(rule)
        assert "assistant" not in modules(rule)
    for rule in ("assemble", "mask_patches", "verify", "mask"):
        assert "archive" not in modules(rule)
        assert "sentinel" not in modules(rule)


def test_unknown_keys_stop_the_plan(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "wrong.yaml", "wrong")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["segmentation"] = {"spatialr": 5}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(values))
    output = workspace.snakemake("-n", succeeds=False)
    assert "segmentation.spatialr: unknown key, the nearest known one is `spatial_radius`" in output


def test_job_counts_reads_the_table() -> None:
    text = "Job stats:\njob      count\n-----  -------\ngrid         1\nall          1\ntotal        2\n\n"
    assert job_counts(text) == {"grid": 1}
