"""Rules whose code is frozen by a number: a change of their code is noticed, and needs a new number or a reason."""

from __future__ import annotations

import frozen
import pytest
import yaml

from smallmines.core.rerun import FROZEN

pytestmark = pytest.mark.rules


def test_frozen_code_is_the_listed_one() -> None:
    assert frozen.problems(yaml.safe_load(frozen.LIST.read_text(encoding="utf-8"))) == []


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The list, after the code of `fetch` has changed."""
    known = yaml.safe_load(frozen.LIST.read_text(encoding="utf-8"))
    now = frozen.reached_code
    monkeypatch.setattr(frozen, "reached_code", lambda rule: [*now(rule), "more 0"] if rule == "fetch" else now(rule))
    return known


def test_changed_code_needs_a_new_number_or_a_reason(changed: dict) -> None:
    (problem,) = frozen.problems(changed)
    assert problem.startswith("fetch: its code has changed, its number has not")
    with pytest.raises(SystemExit, match="reason"):
        frozen.accepted(changed, "fetch", "  ")
    known = frozen.accepted(changed, "fetch", "a variable got another name")
    assert known["fetch"]["waivers"][-1] == {"instead_of": changed["fetch"]["code"], "reason": "a variable got another name"}
    assert frozen.problems(known) == []


def test_a_raised_number_needs_no_reason(changed: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FROZEN, "fetch", 2)
    (problem,) = frozen.problems(changed)
    assert problem.startswith("fetch: number 2, listed 1")
    known = frozen.accepted(changed, "fetch", "")
    assert (known["fetch"]["number"], known["fetch"]["waivers"]) == (2, [])
    assert frozen.problems(known) == []
