"""The hooks for git and the targets of the Makefile use the same tools, from .venv."""

from __future__ import annotations

from pathlib import Path

import yaml

from durations import HEAVY, QUICK, seconds


def test_hooks_run_the_tools_of_make_lint(repository: Path) -> None:
    (local,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "no hook is downloaded"
    lint = (repository / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for hook in local["hooks"]:
        command = " ".join(hook["entry"].split()[:2]) if "ruff" in hook["id"] else hook["entry"]
        assert command.replace(".venv/bin", "$(BIN)") in lint
        assert (repository / hook["entry"].split()[0]).is_file()


def test_make_generated_writes_what_tests_compare(repository: Path) -> None:
    """tests/unit/config/test_config.py and tests/rules/test_plan.py compare the files with the code."""
    recipe = (repository / "Makefile").read_text().partition("\ngenerated:")[2].partition("\n\n")[0]
    for path in ("workflow/schemas/config.schema.json", "config/README.md", "tests/rules/list_sources.py"):
        assert path in recipe
        assert (repository / path).is_file()


def test_long_files_start_first(repository: Path) -> None:
    names = {*HEAVY, *QUICK}
    assert [name for name in sorted(names) if not (repository / "tests" / name).is_file()] == []
    assert seconds("cluster/test_slurm.py", 3, 1) > seconds("cluster/test_generic.py", 22, 1) > seconds("cluster/test_generic.py", 22, 0)
    assert seconds("unit/core/test_files.py", 6, 0) < seconds("unit/core/test_files.py", 7, 0) < seconds("golden/test_golden.py", 24, 0)
