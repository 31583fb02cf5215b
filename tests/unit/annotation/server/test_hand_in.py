"""Hand-in: what it adds, withdrawn decisions, times, and one that was stopped half way."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from browser_edits import EVIDENCE, Page, labelled, now_ms, other, tile_segments
from place import decide_again, edit, read
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout
from smallmines.annotation.server.edits.journal import Journal
from smallmines.core.errors import UserError
from smallmines.labels.event_files import read_events, standing, write_events

DAY = 86_400_000
"""Milliseconds."""

TILES = ("0002", "0008")


# --- what a hand-in adds --------------------------------------------------------------------------------------------------


def test_what_equals_the_standing_decision_adds_nothing(pages, place):
    page = pages("A01")
    page.send(labelled([1], "mining", note="a"), labelled([2, 3], "mining"))
    assert len(page.hand_in().events) == 3
    files = sorted(place.user.rglob("*.jsonl"))
    page.send(labelled([1, 2], "unsure"))
    page.undo()
    page.send(labelled([3], "mining"))
    page.send(labelled([4], "mining"), labelled([4], ""))
    assert page.journal.pending(page.session) == 6
    handed = page.hand_in()
    assert (handed.events, handed.file, handed.pending) == ((), None, 0)
    assert sorted(place.user.rglob("*.jsonl")) == files
    page.send(labelled([1], "mining", note="b"))
    assert [(event.key, event.note) for event in page.hand_in().events] == [(int(page.session.keys[0]), "b")]


def test_undo_and_redo_after_a_hand_in(pages, place):
    page = pages("A01")
    page.send(labelled([1], "mining", reason="pits"))
    page.send(labelled([1, 2], "unsure", "bulk"))
    page.hand_in()
    undone = page.undo()
    assert page.labels == {1: "mining"}
    assert {event.label: event.reason for event in page.hand_in().events} == {"mining": "pits", "withdrawn": ""}
    assert page.labels == {1: "mining"}
    page.undo(undone.uuid)
    events = page.hand_in().events
    assert [(event.label, event.look) for event in events] == [("unsure", "bulk"), ("unsure", "bulk")]
    times = [event.instant for event in place.events()]
    assert all(first < second for first, second in itertools.pairwise(sorted(times)))
    assert decide_again(place).set_index("segment").loc[[1, 2], "label"].tolist() == [-1, -1]


def test_undo_brings_back_a_decision_of_a_working_copy_with_its_form(place, pages):
    path = checkout(place, "A01", tiles=TILES).path
    segment = tile_segments(place, "0002")[0]
    fid = int(np.flatnonzero(read(path)["key"] == str(place.table()["key"][segment - 1]))[0]) + 1
    edit(path, "UPDATE segments SET label='mining', evidence='Maxar', evidence_date='2016-03-01', note='seen' WHERE fid = ?", fid)
    checkin(place.user, path)
    page = pages("A01", tiles=TILES)
    assert page.labels == {segment: "mining"}
    assert page.journal.decision(page.session, segment)["handed_in"] is True
    page.send(labelled([segment], "unsure"))
    page.undo()
    decision = page.journal.decision(page.session, segment)
    form = decision["form"]
    assert (decision["label"], form["evidence"], form["note"], decision["handed_in"]) == ("mining", "Maxar", "seen", False)
    assert page.hand_in().events == ()


def test_a_check_in_after_a_hand_in_is_what_the_page_shows_and_undo_brings_back(place, pages):
    """Labelled on the page, then again in QGIS: the page shows the later decision, an erased label withdraws it, undo restores it."""
    page = pages("A01", tiles=TILES)
    first, second = tile_segments(place, "0002")[:2]
    page.send(labelled([first, second], other(page, first)))
    page.hand_in()
    path = checkout(place, "A01", tiles=TILES).path
    fid = int(np.flatnonzero(read(path)["key"] == str(place.table()["key"][first - 1]))[0]) + 1
    edit(path, "UPDATE segments SET label='unsure', note='mist' WHERE fid = ?", fid)
    checkin(place.user, path)
    assert page.labels == {first: "unsure", second: other(page, first)}
    decision = page.journal.decision(page.session, first)
    assert (decision["label"], decision["form"]["note"], decision["handed_in"]) == ("unsure", "mist", True)
    page.send(labelled([first], "mining"))
    page.undo()
    assert page.journal.decision(page.session, first)["form"]["note"] == "mist"
    assert page.hand_in().events == ()


def test_undo_of_a_tile_after_a_hand_in_withdraws_what_it_confirmed(place, pages):
    page = pages("A01", tiles=TILES)
    segments = tile_segments(place, "0002")
    page.send(labelled(segments[:1], "unsure"))
    page.send({"tile": "0002", "status": "done", "form": {}})
    assert page.hand_in().counts["confirmed"] == len(segments) - 1
    assert len(page.labels) == len(segments)
    page.undo()
    assert page.hand_in().counts["withdrawn"] == len(segments) - 1
    assert page.labels == {segments[0]: "unsure"}


def test_a_tile_leaves_earlier_decisions_of_the_person(place, pages):
    """A working copy starts empty and would confirm them as predicted; on the page they are shown as the person's own."""
    page = pages("A01", tiles=TILES)
    segments = tile_segments(place, "0002")
    wrong = other(page, segments[0])
    page.send(labelled(segments[:1], wrong))
    page.hand_in()
    decide_again(place)
    page = pages("A01", tiles=TILES)
    page.send({"tile": "0002", "status": "done", "form": EVIDENCE})
    handed = page.hand_in()
    assert handed.counts["confirmed"] == len(segments) - 1
    assert page.labels[segments[0]] == wrong


def test_a_dry_run_writes_nothing(pages, place):
    page = pages("A01")
    page.send(labelled([1], "mining"))
    before = {path for path in place.user.rglob("*")}
    handed = page.hand_in(dry=True)
    assert (len(handed.events), handed.file, handed.kept, handed.pending) == (1, None, None, 1)
    assert {path for path in place.user.rglob("*")} == before
    assert page.hand_in().events == handed.events


def test_a_hand_in_keeps_what_it_was_made_from(pages):
    page = pages("A01")
    page.send(labelled([2], "mining", "bulk", note="ä"), at=1_600_000_000_000)
    page.send(labelled([1], "unsure"))
    handed = page.hand_in()
    assert handed.kept.name == f"{handed.file.stem}.edits.jsonl"
    first, second = [json.loads(line) for line in handed.kept.read_text("utf-8").splitlines()]
    assert first == {
        **{"session": page.session.id, "segment": 2, "key": str(page.session.keys[1]), "label": "mining", "look": "bulk", "number": 1},
        **{"received": 1_600_000_000_000, "confidence": "", "reason": "", "note": "ä"},
        **EVIDENCE,
    }
    assert second["segment"] == 1
    handed.file.write_text("cut")
    with pytest.raises(UserError) as raised:
        read_events([handed.file])
    assert str(handed.kept) in raised.value.do


# --- stopped half way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place_of_end", ["write", "mark"])
def test_a_hand_in_that_was_stopped_adds_nothing_twice(pages, place, monkeypatch, place_of_end):
    page = pages("A01", tiles=TILES)
    segments = tile_segments(place, "0002")
    page.send(labelled(segments[:3], "unsure", "bulk"), at=now_ms() - DAY)
    page.send({"tile": "0002", "status": "done", "form": EVIDENCE})

    class Killed(BaseException):
        pass

    def kill(*_args):
        raise Killed

    with monkeypatch.context() as patched:
        if place_of_end == "mark":
            patched.setattr(Journal, "end_hand_in", kill)
        else:
            patched.setattr("smallmines.annotation.server.edits.hand_in.event_files.write_events", kill)
        with pytest.raises(Killed):
            page.hand_in()
    assert page.journal.pending(page.session) == 2
    page.send(labelled(segments[3:4], "unsure"))
    handed = page.hand_in()
    assert len(handed.events) == (1 if place_of_end == "mark" else len(segments))
    assert handed.pending == 0
    assert len(place.events()) == len(segments) + (1 if place_of_end == "mark" else 0)
    assert len(standing(place.events())) == len(segments)
    assert page.hand_in().events == ()


def test_undo_after_a_hand_in_that_was_stopped_before_its_mark(pages, monkeypatch):
    page = pages("A01")
    page.send(labelled([1], "mining"))
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "end_hand_in", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            page.hand_in()
    page.undo()
    assert page.labels == {}
    assert [event.label for event in page.hand_in().events] == ["withdrawn"]


def test_a_new_journal_knows_what_the_lost_one_handed_in(pages, place):
    """The numbers of the edits begin again, and the session has the same id."""
    page = pages("A01")
    page.send(labelled([1], "unsure"), labelled([2], "unsure"), labelled([3], "unsure"))
    page.hand_in()
    page.journal.close()
    for path in place.layout.user.browser.glob("journal.sqlite*"):
        path.unlink()
    with contextlib.closing(Journal.open(place.user)) as journal:
        page = Page(journal, page.session)
        assert page.labels == dict.fromkeys([1, 2, 3], "unsure")
        page.send(labelled([1], "mining"))
        page.undo()
        page.send({"tile": "0001", "status": "done", "form": {}})
        page.undo()
        assert page.labels == dict.fromkeys([1, 2, 3], "unsure")
        assert page.hand_in().events == ()
        page.send(labelled([1], "mining"))
        (event,) = page.hand_in().events
        assert event.instant > max(before.instant for before in place.events() if before.label == "unsure")


def test_edits_that_come_in_during_a_hand_in_wait_for_the_next(pages, monkeypatch):
    page = pages("A01")
    page.send(labelled([1], "mining"))
    write = write_events

    def meanwhile(*args):
        page.send(labelled([1, 2], "unsure"))
        return write(*args)

    with monkeypatch.context() as patched:
        patched.setattr("smallmines.annotation.server.edits.hand_in.event_files.write_events", meanwhile)
        handed = page.hand_in()
    assert ([event.label for event in handed.events], handed.pending) == (["mining"], 1)
    assert [event.label for event in page.hand_in().events] == ["unsure", "unsure"]


# --- times ----------------------------------------------------------------------------------------------------------------


def test_times_increase_over_hand_ins_also_where_the_clock_was_set_back(pages, place):
    page = pages("A01")
    page.send(labelled([1, 2], "mining"), at=now_ms() - DAY)
    page.send(labelled([3], "mining"), at=now_ms() - 3 * DAY)
    first = page.hand_in()
    page.send(labelled([1], "unsure"), at=now_ms() - 9 * DAY)
    page.send(labelled([2], "unsure"), at=5000)
    second = page.hand_in()
    events = [*first.events, *second.events]
    assert all(one.instant < two.instant for one, two in itertools.pairwise(events))
    assert [event.edited != "" for event in events] == [False, True, True, True, True]
    assert second.events[1].edited == "1970-01-01T00:00:05.000Z"
    assert second.warnings[0] == "segment 2: the evidence is of 2016-02-01, later than the decision"
    assert second.warnings[1].startswith("segments 1, 2: edited earlier, by their times, than your last decision")
    assert second.warnings[1].endswith("so they count; is the clock right?")
    labels = decide_again(place).set_index("segment")
    assert labels.loc[[1, 2, 3], "label"].tolist() == [-1, -1, 1]


def test_a_clock_that_was_ahead_gives_no_events_in_the_future(pages):
    page = pages("A01")
    page.send(labelled([1, 2], "mining"), at=now_ms() + 400 * DAY)
    page.send(labelled([3], "mining"))
    now = dt.datetime.now(dt.UTC)
    events = page.hand_in(now=now).events
    assert max(event.instant for event in events) - now < dt.timedelta(milliseconds=1)
    assert [event.edited[:4] for event in events] == [str((now + dt.timedelta(days=400)).year)] * 2 + [events[2].edited[:4]]


# --- other products -------------------------------------------------------------------------------------------------------


def test_edits_of_an_old_session_are_handed_in_with_the_new_ones(place, pages):
    """The labels were made again between: the old session goes on from its hard links, and both are one."""
    page = pages("A01")
    page.send(labelled([1, 2], "mining"))
    page.hand_in()
    page.send(labelled([2, 3], "unsure"))
    labels = decide_again(place)
    assert labels.set_index("segment").loc[1, "label"] == 1
    assert page.session.changed
    page.send(labelled([4], "unsure"))
    new = pages("A01")
    assert new.session.id != page.session.id
    assert new.session.products != page.session.products
    assert (new.labels, page.journal.pending(new.session)) == ({1: "mining", 2: "unsure", 3: "unsure", 4: "unsure"}, 2)
    new.send(labelled([4], "mining"))
    handed = new.hand_in()
    made = {event.key: (event.label, event.base) for event in handed.events}
    assert [made[int(page.session.keys[segment - 1])] for segment in (2, 3, 4)] == [
        ("unsure", page.session.id),
        ("unsure", page.session.id),
        ("mining", new.session.id),
    ]
    assert len(made) == 3
    assert (handed.pending, handed.stale) == (0, 0)
    assert page.labels == new.labels


def test_segments_that_are_gone_are_counted_as_stale(place, pages):
    page = pages("A01")
    page.send(labelled([1, 2], "mining"))
    path = place.layout.features("2016", "1")
    features = pd.read_parquet(path)
    features.loc[0, "key"] += 1
    path.unlink()
    features.to_parquet(path, index=False)
    handed = page.hand_in()
    assert (len(handed.events), handed.stale) == (2, 1)


def test_a_design_that_was_drawn_again_refuses_the_hand_in(place, pages):
    page = pages("A01", "accuracy")
    page.send(labelled([1], "unsure"))
    path = place.layout.user.pixel_sample("accuracy", "2016", "1")
    design = pd.read_csv(path, dtype={"key": np.uint64, "tile_id": str})
    gone = int(design.loc[0, "key"])
    design.loc[0, "key"] = 5
    design.to_csv(path, index=False)
    assert page.session.changed
    with pytest.raises(UserError) as raised:
        page.hand_in()
    assert "pixels are not in" in raised.value.found
    assert page.journal.pending(page.session) == 1
    design.loc[0, "key"] = gone
    design.to_csv(path, index=False)
    assert len(page.hand_in().events) == 1
