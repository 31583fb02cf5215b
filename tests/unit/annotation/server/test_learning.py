"""Learning from labels: what trains the forest, what it suggests, what is left as it was."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from place import decide_again
from shown_place import make_shown_place
from smallmines.annotation.server.edits.session import open_session
from smallmines.annotation.server.view import refit, refits
from smallmines.annotation.server.view.learn import Learner, labels_of
from smallmines.core.errors import UserError
from smallmines.labels import tables
from smallmines.labels.event_files import Event, write_events


@pytest.fixture(scope="module")
def block_year(tmp_path_factory):
    return make_shown_place(tmp_path_factory.mktemp("learning"))


@pytest.fixture(scope="module")
def session(block_year):
    return open_session(block_year, "A01")


def event_of(row, annotator, label, second, provenance="corrected"):
    time = f"2026-01-01T00:00:{second:02d}Z"
    return Event(2022, "1", int(row["key"]), float(row["x"]), float(row["y"]), label, provenance, annotator, time, predicted="mining")


def finished(learner, seconds=300):
    """State of a learner once its process has ended."""
    until = time.monotonic() + seconds
    while learner.state()["state"] in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.2)
    return learner.state()


# --- what trains ----------------------------------------------------------------------------------------------------------


def test_samples_then_decisions_then_own_labels_train(tmp_path):
    block_year = make_shown_place(tmp_path)
    samples = tables.read(block_year.layout.samples("2022", "1"), "samples").set_index("segment")["label"]
    sampled = samples.index[samples == 1]
    table, folder = block_year.table(), block_year.layout.user.events("2022", "1")
    free = [segment for segment in range(30, 90) if segment not in samples.index]
    a, b, c, d, e = (table.iloc[segment - 1] for segment in free[:5])
    write_events(folder, [event_of(table.iloc[sampled[0] - 1], "A02", "not_mining", 1), event_of(a, "A02", "mining", 2)])
    write_events(folder, [event_of(b, "A02", "mining", 3), event_of(c, "A01", "mining", 4), event_of(d, "A02", "unsure", 5)][:1])
    write_events(folder, [event_of(c, "A01", "mining", 4)])
    write_events(folder, [event_of(e, "A02", "mining", 6)])
    write_events(folder, [event_of(e, "A01", "not_mining", 7)])
    decide_again(block_year)
    session = open_session(block_year, "A01")
    label = labels_of(session, {int(b["segment"]): "not_mining", int(d["segment"]): "unsure", free[7]: "mining"})
    assert label[sampled[0] - 1] == 0
    assert label[sampled[1] - 1] == 1
    assert label[int(a["segment"]) - 1] == 1
    assert label[int(b["segment"]) - 1] == 0  # the person's own label, not that of A02
    assert label[int(c["segment"]) - 1] == -1  # an own event that the journal has erased
    assert label[int(d["segment"]) - 1] == -1
    assert label[int(e["segment"]) - 1] == -1  # disputed
    assert label[free[7] - 1] == 1
    assert (label >= 0).sum() == len(samples) + 3


def test_what_others_said_of_the_blind_overlap_trains_nothing(tmp_path):
    block_year = make_shown_place(tmp_path)
    session = open_session(block_year, "A01")
    samples = tables.read(block_year.layout.samples("2022", "1"), "samples")["segment"]
    blind = session.queue.loc[session.queue["blind"] & ~session.queue["segment"].isin(samples), "segment"].iloc[0]
    before = labels_of(session, {})
    write_events(block_year.layout.user.events("2022", "1"), [event_of(block_year.table().iloc[blind - 1], "A02", "mining", 1)])
    assert (labels_of(session, {}) == before).all()
    assert labels_of(session, {int(blind): "mining"})[blind - 1] == 1


def test_one_class_alone_trains_nothing(session, monkeypatch):
    monkeypatch.setattr(tables, "read", lambda *values: pd.DataFrame({"segment": [1], "label": [1]}))
    with pytest.raises(UserError, match="none of not_mining"):
        labels_of(session, {5: "mining"})


# --- what comes out -------------------------------------------------------------------------------------------------------


def test_with_the_runs_samples_alone_the_forest_is_that_of_the_run(session, block_year):
    learner = Learner()
    assert learner.state() == {"state": "none", "before": 0, "seconds": 0.0, "labels": 0, "threshold": None, "error": ""}
    with pytest.raises(UserError, match="a forest that learned"):
        learner.suggestion(session)
    with pytest.raises(UserError, match="a forest that learned"):
        learner.order(session)
    before = block_year.layout.probabilities("2022", "1").read_bytes()
    learner.start(session, {})
    with pytest.raises(UserError, match="no learning in progress"):
        learner.start(session, {})
    state = finished(learner)
    assert (state["state"], state["labels"], state["error"]) == ("done", 60, "")
    suggestion = np.frombuffer(learner.suggestion(session), np.uint8)
    table = session.snapshot.table
    assert suggestion[0] == 0
    assert suggestion[1:].tolist() == np.rint(255 * table["probability"].astype(float)).astype(int).tolist()
    share = float((table["area"] * (table["probability"] >= state["threshold"])).sum() / table["area"].sum())
    assert share == pytest.approx(float((table["area"] * table["predicted"]).sum() / table["area"].sum()), abs=0.02)
    assert block_year.layout.probabilities("2022", "1").read_bytes() == before
    assert [path.name for path in (block_year.layout.browser / session.snapshot.digest / "learned").iterdir()] == [f"{session.id}.npz"]


def test_labels_change_the_suggestion_of_their_like_but_not_of_the_blind_overlap(session, in_process):
    table = session.snapshot.table
    queue = session.queue
    wrong = queue.loc[~queue["blind"], "segment"].head(30).to_numpy()
    labels = {int(segment): "not_mining" if table["predicted"].iloc[segment - 1] else "mining" for segment in wrong}
    learner = Learner()
    learner.start(session, labels)
    assert finished(learner)["state"] == "done"
    suggestion, recorded = np.frombuffer(learner.suggestion(session), np.uint8)[1:], table["probability"].to_numpy(float)
    corrected = np.array([label == "mining" for label in labels.values()])
    threshold = learner.state()["threshold"]
    assert ((suggestion[wrong - 1] / 255 >= threshold) == corrected).mean() > 0.8
    blind = queue.loc[queue["blind"], "segment"].to_numpy()
    assert (suggestion[blind - 1] == np.rint(255 * recorded[blind - 1])).all()
    order = learner.order(session)
    assert sorted(order) == sorted(set(queue["segment"].tolist()) - set(labels))
    away = np.abs(suggestion[np.array(order) - 1] / 255 - threshold)
    assert (np.diff(away) >= -1 / 255).all()


def test_a_failure_is_told_and_the_last_suggestion_stays(session, in_process, monkeypatch):
    learner = Learner()
    learner.start(session, {})
    assert finished(learner)["state"] == "done"
    before = learner.suggestion(session)

    def fail(folder):
        (folder / "log.txt").write_text("Traceback\nMemoryError: no room\n")
        return SimpleNamespace(wait=lambda: 1)

    monkeypatch.setattr(refits, "begin", fail)
    learner.start(session, {})
    state = finished(learner)
    assert (state["state"], state["error"]) == ("failed", "Traceback MemoryError: no room")
    assert learner.suggestion(session) == before


def test_a_refit_says_in_one_line_what_a_user_can_correct(tmp_path, monkeypatch):
    monkeypatch.setattr(refit.sys, "argv", ["refit", str(tmp_path)])
    monkeypatch.setattr(refit.os, "nice", lambda step: step)
    with pytest.raises(SystemExit, match=r"expected the file .*job\.json, found no such file; run the workflow again"):
        refit.main()


def test_the_threshold_is_that_of_the_configuration_or_of_the_prevalence(block_year):
    tables_folder = str(block_year.layout.features("2022", "1").parent)
    probability = np.linspace(0, 1, len(block_year.features())).round(4)

    def threshold(given, metrics):
        return refit._threshold(refit.Job(tables_folder, "", (), {"threshold": given}, 0.7), metrics, probability)

    assert threshold(0.3, {}) == 0.3
    assert threshold("match_prevalence", {}) == 0.7
    assert threshold("match_prevalence", {"prevalence": {"share": 0.25}}) == pytest.approx(0.75, abs=0.01)


def test_no_suggestions_in_adjudication_and_samples(block_year):
    learner = Learner()
    for kind in ("accuracy",):
        with pytest.raises(UserError, match="a review of segments"):
            learner.start(open_session(block_year, "A01", kind), {})
