"""Refits: one at a time over the server, the last result outlives the server and counts only for what it was made from."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from served import served
from shown_place import make_shown_place
from smallmines.annotation.server.edits.session import open_session
from smallmines.annotation.server.view import refit, refits
from smallmines.annotation.server.view.learn import Learner, kept_result
from smallmines.annotation.server.view.refits import Refit, Refits
from smallmines.core.errors import UserError

OWN = {5: "mining", 9: "not_mining"}


@pytest.fixture(scope="module")
def block_year(tmp_path_factory):
    return make_shown_place(tmp_path_factory.mktemp("refits"))


@pytest.fixture(scope="module")
def session(block_year):
    return open_session(block_year, "A01")


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def learned(session, own):
    learner = Learner()
    learner.start(session, own)
    until(lambda: learner.state()["state"] != "running")
    assert learner.state()["state"] == "done"
    return learner


# --- one at a time --------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch):
    """Processes that end when they are told, by the names of their folders; `running` are those that are not ended."""
    ends, running, most = {name: threading.Event() for name in "abc"}, set(), []

    def begin(folder):
        running.add(folder.name)
        most.append(len(running))

        def wait():
            ends[folder.name].wait(60)
            running.discard(folder.name)
            return 0

        return SimpleNamespace(wait=wait, terminate=ends[folder.name].set)

    monkeypatch.setattr(refits, "begin", begin)
    return SimpleNamespace(ends=ends, running=running, most=most)


def test_refits_run_one_after_the_other_in_the_order_in_which_they_were_asked_for(tmp_path, held):
    turns = Refits()
    a, b, c = (Refit(tmp_path / name) for name in "abc")
    for asked in (a, b, c):
        turns.add(asked)
    until(lambda: held.running == {"a"})
    assert [turns.before(asked) for asked in (a, b, c)] == [0, 1, 2]
    held.ends["a"].set()
    until(lambda: held.running == {"b"})
    assert a.ended.is_set()
    assert [turns.before(asked) for asked in (a, b, c)] == [0, 0, 1]
    held.ends["b"].set()
    held.ends["c"].set()
    assert c.ended.wait(60)
    assert held.most == [1, 1, 1]
    held.ends["a"].clear()
    again = Refit(tmp_path / "a")
    turns.add(again)  # after a rest, another thread
    until(lambda: held.running == {"a"})
    held.ends["a"].set()
    assert again.ended.wait(60)


def test_stopping_ends_the_refit_that_runs_and_begins_no_other(tmp_path, held):
    turns = Refits()
    a, b = Refit(tmp_path / "a"), Refit(tmp_path / "b")
    turns.add(a)
    turns.add(b)
    until(lambda: held.running == {"a"})
    turns.stop()
    assert b.ended.wait(60)
    assert (a.error, b.error) == ("", "the server stops")
    assert held.most == [1]


def test_a_process_that_cannot_be_started_fails_alone(tmp_path, monkeypatch):
    def begin(folder):
        if folder.name == "a":
            raise OSError("Cannot allocate memory")
        return SimpleNamespace(wait=lambda: 3)

    monkeypatch.setattr(refits, "begin", begin)
    turns = Refits()
    a, b = Refit(tmp_path / "a"), Refit(tmp_path / "b")
    turns.add(a)
    turns.add(b)
    assert b.ended.wait(60)
    assert (a.error, b.error) == ("Cannot allocate memory", "the process ended with 3")


def test_the_page_learns_how_many_come_first(session, block_year, monkeypatch):
    go = threading.Event()

    def begin(folder):
        def wait():
            go.wait(60)
            refit.refit(folder)
            return 0

        return SimpleNamespace(wait=wait)

    monkeypatch.setattr(refits, "begin", begin)
    turns = Refits()
    other = open_session(block_year, "A02")
    first, second = Learner(turns), Learner(turns)
    first.start(session, {})
    second.start(other, {})
    with pytest.raises(UserError, match="no learning in progress"):
        second.start(other, {})
    assert (first.state()["state"], first.state()["before"]) == ("running", 0)
    assert (second.state()["state"], second.state()["before"]) == ("waiting", 1)
    go.set()
    until(lambda: second.state()["state"] == "done")
    assert first.state()["state"] == "done"


# --- after a restart of the server ------------------------------------------------------------------------------------------


def test_the_last_result_outlives_the_server(session, in_process):
    before = learned(session, OWN)
    kept = kept_result(session, OWN)
    assert kept is not None
    again = Learner(kept=kept)
    assert again.state() == before.state()
    assert again.state()["labels"] == 62
    assert again.suggestion(session) == before.suggestion(session)
    assert again.order(session) == before.order(session)
    assert kept.own.tolist() == [5, 9]
    later = kept_result(session, OWN | {30: "mining"})  # labels given since do not matter
    assert later is not None
    assert np.array_equal(later.probability, kept.probability)


@pytest.mark.parametrize("own", [{5: "mining"}, OWN | {9: "mining"}, OWN | {9: "unsure"}], ids=["erased", "changed", "unsure"])
def test_a_result_of_other_labels_does_not_count(session, in_process, own):
    learned(session, OWN)
    assert kept_result(session, own) is None
    assert kept_result(session, OWN) is None  # it is gone


def test_a_result_of_other_settings_or_products_does_not_count(session, block_year, in_process, monkeypatch):
    learned(session, OWN)
    kept = block_year.layout.browser / session.products / "learned" / f"{session.id}.npz"
    content = kept.read_bytes()
    assistant = block_year.config.assistant.model_copy(update={"seed": 7})
    config = block_year.config.model_copy(update={"assistant": assistant})
    assert kept_result(replace(session, block_year=replace(block_year, config=config)), OWN) is None
    assert not kept.exists()
    kept.write_bytes(content)
    assert kept_result(session, OWN) is not None
    monkeypatch.setitem(session.snapshot.__dict__, "threshold", 0.123)
    assert kept_result(session, OWN) is None


def test_a_damaged_result_does_not_count(session, block_year, in_process):
    learned(session, OWN)
    kept = block_year.layout.browser / session.products / "learned" / f"{session.id}.npz"
    kept.write_bytes(kept.read_bytes()[:-2000])
    assert kept_result(session, OWN) is None
    kept.write_bytes(b"")
    assert kept_result(session, OWN) is None
    assert kept_result(session, OWN) is None  # none there


def test_a_refit_without_a_result_is_told(session, monkeypatch):
    monkeypatch.setattr(refits, "begin", lambda folder: SimpleNamespace(wait=lambda: 0))
    learner = Learner()
    learner.start(session, OWN)
    until(lambda: learner.state()["state"] != "running")
    assert learner.state()["state"] == "failed"
    assert learner.state()["error"].startswith("no result: ")


def test_only_a_review_has_a_result(block_year):
    assert kept_result(open_session(block_year, "A01", "accuracy"), {}) is None


def test_the_server_says_what_was_learned_before_it_was_started(block_year, in_process):
    with served(block_year) as running:
        client = running.client("A02")
        session = client.open("2022", everything=True).json()["session"]
        assert client.get(f"/api/sessions/{session}/learn").json()["state"] == "none"
        assert client.post(f"/api/sessions/{session}/learn").status_code == 202
        until(lambda: client.get(f"/api/sessions/{session}/learn").json()["state"] == "done")
        first = client.get(f"/api/sessions/{session}/columns/suggestion").content
    with served(block_year) as running:
        client = running.client("A02")
        assert client.open("2022", everything=True).json()["session"] == session
        state = client.get(f"/api/sessions/{session}/learn").json()
        assert (state["state"], state["labels"]) == ("done", 60)
        assert client.get(f"/api/sessions/{session}/columns/suggestion").content == first
