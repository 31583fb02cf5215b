"""The environments agree: the lock pins what the package needs, and the conda file pins the same versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement


def lock(repository: Path, name: str = "requirements.lock") -> dict[str, str]:
    """Locked versions for Python 3.11 by package name in lower case."""
    python = {"python_version": "3.11", "python_full_version": "3.11.9"}
    lines = [Requirement(line) for line in (repository / name).read_text().splitlines()]
    return {one.name.lower(): str(one.specifier)[2:] for one in lines if one.marker is None or one.marker.evaluate(python)}


@pytest.mark.parametrize("name", ["requirements.lock", "envs/deep.lock"])
def test_the_lock_names_no_registry(repository: Path, name: str) -> None:
    text = (repository / name).read_text()
    assert not re.search(r"://|--index|--find-links|@", text)
    assert all(re.match(r"[\w.-]+==[\w.+!-]+( ;.*)?$", line) for line in text.splitlines())


def test_the_lock_holds_every_requirement(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.match(r"[\w.-]+", one).group().lower() for one in wanted}  # type: ignore[union-attr]
    assert names <= set(lock(repository))


def test_networks_and_loaders_have_a_lock_of_their_own_with_the_same_versions(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    extra = extras["loaders"] + extras["deep"] + project["dependency-groups"]["deep-test"]
    main, deep = lock(repository), lock(repository, "envs/deep.lock")
    for one in map(Requirement, extra + project["project"]["dependencies"]):
        assert one.specifier.contains(deep[one.name.lower()])
    assert not {name for name in main if name.startswith(("torch", "terratorch", "nvidia", "triton"))}
    assert {name: main[name] for name in main.keys() & deep.keys()} == {name: deep[name] for name in main.keys() & deep.keys()}


def test_the_image_has_the_locked_packages_their_python_and_otb(repository: Path) -> None:
    text = (repository / "envs/smallmines.def").read_text()
    sections = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.MULTILINE | re.DOTALL))
    source, inside = sections["files"].split()
    assert source == "requirements.lock"
    assert f"pip install --quiet --no-cache-dir -r {inside}\n" in sections["post"]
    assert {"otb-bin", "python3", "python3-venv"} <= set(sections["post"].split())
    assert "From: debian:12-slim\n" in text  # whose python3 is 3.11
    conda = yaml.safe_load((repository / "envs/smallmines.yaml").read_text())
    assert "python=3.11" in conda["dependencies"]
    assert 'container: "smallmines.sif"' in (repository / "Snakefile").read_text()


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_the_profiles_of_clusters_repeat_the_default_one(repository: Path, name: str) -> None:
    default, cluster = (yaml.safe_load((repository / f"profiles/{profile}/profile.yaml").read_text()) for profile in ("default", name))
    limits = {one.split("=")[0]: one for one in default.pop("resources")}
    assert cluster["resources"] == [limits["connections"]], "memory is the cluster's to limit"
    assert {key: cluster[key] for key in default} == default


def test_every_key_of_the_profiles_is_an_option(repository: Path) -> None:
    from snakemake.cli import get_argument_parser

    known = set(get_argument_parser()._option_string_actions)
    for name in ("default", "slurm", "generic"):
        keys = yaml.safe_load((repository / f"profiles/{name}/profile.yaml").read_text())
        assert {f"--{key}" for key in keys} <= known


def test_the_conda_environment_has_the_locked_versions(repository: Path) -> None:
    environment = yaml.safe_load((repository / "envs/smallmines.yaml").read_text())
    pins = {name.replace("_", "-"): version for name, version in (pin.split("=") for pin in environment["dependencies"])}
    assert pins.pop("python") == "3.11"
    known = lock(repository)
    assert pins == {name: known[name] for name in pins}
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    needed = {re.match(r"[\w.-]+", one).group().lower() for one in project["project"]["dependencies"]}  # type: ignore[union-attr]
    assert needed == set(pins)
