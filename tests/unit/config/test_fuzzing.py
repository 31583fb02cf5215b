"""Random changes of a valid configuration give a configuration or three lines, never another exception."""

from __future__ import annotations

import copy
import datetime as dt
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallmines.config.parse import parse_config, read_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError

SLOWEST = 10.0
"""Seconds after which an answer comes too late."""

ODD_TEXTS = [
    "", " ", "{", "{x}", "<results>", "nan", "NaN", "inf", "-0", "1e400", "EPSG:abc", "EPSG:4326", "+proj=utm +zone=30", "../../x",
    "/dev/null",
    "a\x00b", "a\u2028b", "a\nb", "\ud800", "é" * 300, "x" * 5000, "NO", "2015-02-29", "0000-01-01", "99999-01-01", "=1+1", "$(id)", "%s%n",
    "https://u:p@h", "https://h?sig=1", "&a", "*a", "!!python/none", "---", "#", "null", "true",
]  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 10**20, 10**400, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, -0.0, [], {}, [[]], [None],
    {"": None},
    {1: 2}, {None: 1}, {"a": {"b": {"c": []}}}, dt.date(1, 1, 1), dt.datetime(2016, 1, 1, 12), b"bytes", {1, 2}, (1, 2),
]  # fmt: skip
ODD = st.sampled_from(ODD_VALUES).map(copy.deepcopy)
VALUES = st.one_of(
    st.sampled_from(ODD_TEXTS),
    ODD,
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), ODD), max_size=4),
    st.dictionaries(st.one_of(st.text(max_size=8), st.integers(), st.none()), ODD, max_size=3),
)


@cache
def valid(repository: Path, name: str) -> dict[str, Any]:
    """A valid configuration with all keys, also those that a file usually leaves to their defaults."""
    given_values = yaml.safe_load((repository / f"config/{name}.yaml").read_text(encoding="utf-8"))
    return dict(parse_config(given_values).model_dump())


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all keys and entries of lists."""
    children = list(values.items()) if isinstance(values, dict) else list(enumerate(values)) if isinstance(values, list | tuple) else []
    return [found for key, child in children for found in [(*path, key), *places(child, (*path, key))]]


def change(values: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """Replace, delete, rename or add at one to three random paths."""
    changed = copy.deepcopy(values)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, key = data.draw(st.sampled_from(places(changed) or [("run",)]))
        section: Any = changed
        for part in way:
            section = section[part]
        if isinstance(section, tuple):
            continue
        action = data.draw(st.sampled_from(["replace", "replace", "delete", "rename", "add"]))
        if action == "replace":
            section[key] = data.draw(VALUES)
        elif action == "add" and isinstance(section, dict):
            section[data.draw(st.one_of(st.text(max_size=8), st.integers(), st.sampled_from([*ODD_TEXTS, None, 1.5])))] = data.draw(VALUES)
        elif action == "rename" and isinstance(section, dict):
            section[data.draw(st.text(max_size=8))] = section.pop(key, None)
        elif key in section or isinstance(section, list):
            del section[key]
    return changed


def judge(answer: Callable[[], Config]) -> None:
    """Expect a configuration, or an error of three printable lines without the document in it."""
    began = time.monotonic()
    try:
        result: Config | UserError = answer()
    except UserError as error:
        result = error
    assert time.monotonic() - began < SLOWEST
    if isinstance(result, UserError):
        lines = str(result).splitlines()
        assert [line[:10] for line in lines] == ["expected  ", "found     ", "do        "]
        assert all(line.isprintable() for line in lines)
        assert len(str(result)) < 5000


def check_values(values: dict[str, Any], data: st.DataObject) -> None:
    changed = change(values, data)
    judge(lambda: parse_config(changed))


def check_text(text: str, path: Path, data: st.DataObject) -> None:
    """Cut, repeat, and replace pieces of the file's text."""
    start = data.draw(st.integers(0, len(text)))
    end = min(len(text), start + data.draw(st.integers(0, 40)))
    piece = data.draw(
        st.one_of(st.sampled_from([*ODD_TEXTS, text[start:end] * 2, "\t", ": ", "\n- ", "{", "]", "|", ">", "? "]), st.text(max_size=10))
    )
    path.write_bytes((text[:start] + piece + text[end:]).encode("utf-8", "surrogatepass"))
    judge(lambda: read_config(path))


def profile(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)


@profile(120)
@given(data=st.data())
def test_changed_values(repository: Path, data: st.DataObject) -> None:
    check_values(valid(repository, "demo"), data)


@profile(60)
@given(data=st.data())
def test_changed_text(repository: Path, tmp_path: Path, data: st.DataObject) -> None:
    check_text((repository / "config/demo.yaml").read_text(encoding="utf-8"), tmp_path / "c.yaml", data)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["config", "keyless"])
def test_changed_values_at_length(repository: Path, name: str) -> None:
    values = valid(repository, name)

    @profile(3000)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        check_values(values, data)

    check()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["config", "keyless"])
def test_changed_text_at_length(repository: Path, tmp_path: Path, name: str) -> None:
    text = (repository / f"config/{name}.yaml").read_text(encoding="utf-8")

    @profile(1000)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        check_text(text, tmp_path / "c.yaml", data)

    check()
