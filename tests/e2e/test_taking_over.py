"""A finished run of an earlier version is taken over by another one without anything being made again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from smallmines.core.files import digest
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

DIGESTS = """
import json, sys
sys.path.insert(0, "workflow")
from smallmines.core.rerun import code
print(json.dumps({rule: code(rule) for rule in sys.argv[1:]}))
"""


def files(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Inode and time of every product and every file of people."""
    folders = (workspace.results, workspace.user)
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(workspace.folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_rules_that_make_the_same_products_are_accepted_and_all_others_run(clone: Workspace) -> None:
    rules = [
        path.stem for path in (clone.folder / "workflow/scripts").glob("*.py") if path.stem not in ("search", "fetch", "splits", "mask")
    ]
    before = subprocess.run([sys.executable, "-c", DIGESTS, *rules], cwd=clone.folder, capture_output=True, text=True, check=True).stdout
    for name in ("composite/sampling.py", "labels/mask.py"):
        with (clone.folder / "workflow/smallmines" / name).open("a") as module:
            module.write("\nEDITED = True\n")
    assert {"composite_s1", "mask"} <= set(clone.planned())
    for path in (clone.folder / "workflow/upgrades").glob("*.json"):
        path.unlink()
    after = subprocess.run([sys.executable, "-c", DIGESTS, *rules], cwd=clone.folder, capture_output=True, text=True, check=True).stdout
    today = {rule: digest(lines) for rule, lines in json.loads(after).items()}
    earlier = {"commit": "0" * 40, "renamed": {}, "moved": {}, "code": json.loads(before), "today": today}
    (clone.folder / "workflow/upgrades/0000000.json").write_text(json.dumps(earlier))
    products = files(clone)
    output = clone.smallmines("upgrade", "--config", "small.yaml")
    assert "composite_s1" in output
    assert files(clone) == products
    planned = clone.planned()
    assert planned["mask"] == 4
    assert not {"grid", "search", "fetch", "composite_s2", "segment", "describe", "assistant", "labels", "image_patches"} & set(planned)
    assert clone.smallmines("upgrade", "--config", "small.yaml").count("composite_s1") == 0
    assert clone.planned() == planned
