"""The environments agree: the lock pins what the package needs, and the conda file pins the same versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement


def lock(repository: Path) -> dict[str, str]:
    """Locked versions for Python 3.11 by package name in lower case."""
    python = {"python_version": "3.11", "python_full_version": "3.11.9"}
    lines = [Requirement(line) for line in (repository / "requirements.lock").read_text().splitlines()]
    return {one.name.lower(): str(one.specifier)[2:] for one in lines if one.marker is None or one.marker.evaluate(python)}


def test_the_lock_names_no_registry(repository: Path) -> None:
    text = (repository / "requirements.lock").read_text()
    assert not re.search(r"://|--index|--find-links|@", text)
    assert all(re.match(r"[\w.-]+==[\w.+!-]+( ;.*)?$", line) for line in text.splitlines())


def test_the_lock_holds_every_requirement(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.match(r"[\w.-]+", one).group().lower() for one in wanted}  # type: ignore[union-attr]
    assert names <= set(lock(repository))


def test_the_conda_environment_has_the_locked_versions(repository: Path) -> None:
    environment = yaml.safe_load((repository / "envs/smallmines.yaml").read_text())
    pins = dict(one.split("=") for one in environment["dependencies"])
    assert pins.pop("python") == "3.11"
    known = lock(repository)
    assert pins == {name: known[name] for name in pins}
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    needed = {re.match(r"[\w.-]+", one).group().lower() for one in project["project"]["dependencies"]}  # type: ignore[union-attr]
    assert needed == set(pins)
