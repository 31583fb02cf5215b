"""Test that products do not depend on folder, order of jobs and number of cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.edits import sha256
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]


def test_another_clone_on_one_core_in_another_order_gives_the_same_bytes(miniature: Workspace, tmp_path: Path) -> None:
    """All products but those with paths of the archive are the same if made from the last block to the first, with one thread."""
    other = miniature.clone(tmp_path / "another clone", finished=False)
    for target in ("segments_2022_2", "masks_2022_1", "patches_2016_2", "annotate_2016_1"):
        other.snakemake(target, cores=1)
    other.snakemake(cores=1)
    one, two = products(miniature), products(other)
    assert len([name for name in one if name.startswith("dataset/")]) > 48
    only_one = set(one) ^ set(two)
    assert {name.split("/")[0] for name in only_one} <= {"candidates"}, "made where `annotate` was asked for"
    assert [name for name in sorted(set(one) - only_one) if one[name] != two[name]] == []


def products(workspace: Workspace) -> dict[str, str]:
    """SHA-256 of every product of a run by its path, without lists of the archive's items, which contain paths of the machine."""
    files = (path for path in sorted(workspace.results.rglob("*")) if path.is_file() and path.name != ".snakemake_timestamp")
    named = {path.relative_to(workspace.results).as_posix(): path for path in files}
    return {name: sha256(path) for name, path in named.items() if name.split("/")[0] not in ("manifests", "fetched", "tune")}
