"""Hand-in: the same events as of a working copy, withdrawn decisions, times, and a hand-in that was stopped half way."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from browser_edits import EVIDENCE, Page, labelled, now_ms, tile_segments
from place import decide_again, edit, make_place, read
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.edits.session import open_session
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.labels.event_files import read_events, standing, write_events

DAY = 86_400_000
"""Milliseconds."""

BY_NATURE = ("time", "edited", "base", "tool", "revision")
"""Fields in which events of a working copy and of the browser differ."""

TILES = ("0002", "0008")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A place whose mask exists, so that an accuracy sample can be drawn."""
    block_year = make_place(tmp_path_factory.mktemp("made"))
    mask = np.r_[0, decide_again(block_year)["label"].to_numpy()].astype(np.uint8)[block_year.segments()]
    raster.write(block_year.layout.mask("2016", "1"), mask, block_year.lattice.block("1"), 255, ["mask"])
    return block_year


def moved_to(block_year, root):
    shutil.copytree(block_year.root, root)
    return type(block_year)(block_year.config, block_year.year, block_year.block, root)


@pytest.fixture
def place(made, tmp_path):
    return moved_to(made, tmp_path / "root")


@pytest.fixture
def in_qgis(made, tmp_path):
    """Another copy of the place, in which people label with working copies."""
    return moved_to(made, tmp_path / "qgis")


@pytest.fixture
def pages(place):
    """Return the page of a person; all share one server."""
    with contextlib.closing(Journal.open(place.user)) as journal:
        yield lambda annotator, *args, **more: Page(journal, open_session(place, annotator, *args, **more))


def fields_of(events):
    """Return the fields that are the same in a working copy and in the browser, by key."""
    return {event.key: {name: value for name, value in event.content.items() if name not in BY_NATURE} for event in events}


def predicted(page, segment):
    return str(page.session.predicted[segment - 1])


def other(page, segment):
    return {"mining": "not_mining", "not_mining": "mining"}[predicted(page, segment)]


class Both:
    """The same decisions in the browser and through a working copy."""

    def __init__(self, page, block_year, path):
        self.page, self.block_year, self.path = page, block_year, path
        self.time = now_ms() - DAY
        keys = read(path)["key"]
        self.fid = {int(np.flatnonzero(page.session.keys == int(key))[0]) + 1: int(fid) for fid, key in keys.items()}

    def label(self, segments, label, look="single", **form):
        """Label segments, a minute after the last edit."""
        self.time += 60_000
        self.page.send(labelled(segments, label, look, **form), at=self.time)
        values = {"label": label or None, **(EVIDENCE if label else dict.fromkeys(EVIDENCE)), **form, "edited": self.time}
        statement = f"UPDATE segments SET {', '.join(f'{name} = ?' for name in values)} WHERE fid = ?"
        for segment in segments:
            edit(self.path, statement, *values.values(), self.fid[segment])

    def task(self, tile, status, **form):
        self.time += 60_000
        self.page.send({"tile": tile, "status": status, "form": form}, at=self.time)
        values = {"status": status, **form, "edited": self.time}
        edit(self.path, f"UPDATE tasks SET {', '.join(f'{name} = ?' for name in values)} WHERE tile_id = ?", *values.values(), tile)

    def end(self):
        """Hand in, check in, and return the events of both."""
        handed, checked = self.page.hand_in(), checkin(self.block_year.user, self.path)
        assert fields_of(handed.events) == fields_of(checked.events)
        assert len(handed.events) == len(fields_of(handed.events))
        assert handed.counts == checked.counts
        order = [[event.key for event in sorted(events, key=lambda event: event.instant)] for events in (handed.events, checked.events)]
        assert len(order[0]) == len(set(order[0]))
        assert {event.key: event.stamp for event in handed.events} == {event.key: event.stamp for event in checked.events}
        return handed.events


# --- the same as a working copy -------------------------------------------------------------------------------------------


def test_events_equal_those_of_the_same_decisions_through_a_working_copy(place, in_qgis, pages):
    both = Both(pages("A01", tiles=TILES), in_qgis, checkout(in_qgis, "A01", tiles=TILES).path)
    first, second = tile_segments(place, "0002"), tile_segments(place, "0008")
    corrected, confirmed = first[0], first[1]
    both.label([corrected], other(both.page, corrected), confidence="sure", reason="pits", note='"quoted" <b>& ünïcode\u2028')
    both.label([confirmed], predicted(both.page, confirmed), confidence="likely")
    both.label([first[2]], "unsure", evidence="", evidence_date="")
    both.label(first[3:10], "mining", "bulk", reason="brush")
    both.label(second[:3], "not_mining", "bulk")
    both.label([second[1]], "")
    both.task("0008", "done", evidence="Sentinel-2", evidence_date="2016-01-20")
    events = both.end()
    assert {event.look for event in events} == {"single", "bulk", "task"}
    assert {(event.tool, event.base) for event in events} == {("browser", both.page.session.id)}
    assert len(events) == 10 + len(second)
    assert decide_again(place).equals(decide_again(in_qgis))
    both.label([corrected, first[5]], "", "bulk", reason="", note="")
    both.label([confirmed], "unsure", confidence="guess")
    both.task("0008", "open")
    events = both.end()
    assert sum(event.label == "withdrawn" for event in events) == 2 + len(second) - 2
    labels = decide_again(place)
    assert labels.equals(decide_again(in_qgis))
    assert standing(place.events())[0].footprint.count("|") == 3


def test_a_tile_that_is_done_gives_its_evidence_to_labels_without_their_own(place, in_qgis, pages):
    both = Both(pages("A01", tiles=TILES), in_qgis, checkout(in_qgis, "A01", tiles=TILES).path)
    first, second = tile_segments(place, "0002"), tile_segments(place, "0008")
    none = {"evidence": "", "evidence_date": ""}
    both.label([first[0]], predicted(both.page, first[0]), **none)
    both.label([first[1]], "unsure", evidence="Planet", evidence_date="")
    both.label([second[0]], "unsure", confidence="guess", **none)
    both.label([second[1]], predicted(both.page, second[1]))
    both.task("0002", "done", evidence="Sentinel-2", evidence_date="2016-01-20")
    events = {event.key: (event.evidence, event.evidence_date) for event in both.end()}
    keys = [int(both.page.session.keys[segment - 1]) for segment in (first[0], first[1], first[2], second[0], second[1])]
    assert len(events) == len(first) + 2
    task = ("Sentinel-2", "2016-01-20")
    assert [events[key] for key in keys] == [task, ("Planet", "2016-01-20"), task, ("", ""), ("Planet", "2016-02-01")]
    # what was handed in before gets it, too
    both.task("0008", "done", evidence="Sentinel-2", evidence_date="2016-01-21")
    events = {event.key: (event.label, event.confidence, event.evidence, event.evidence_date) for event in both.end()}
    assert len(events) == len(second) - 1
    assert events[keys[3]] == ("unsure", "guess", "Sentinel-2", "2016-01-21")
    assert keys[4] not in events


def test_the_queue_with_its_blind_overlap_is_that_of_a_checkout(place, in_qgis, pages):
    page = pages("A02")
    path = checkout(in_qgis, "A02").path
    both = Both(page, in_qgis, path)
    queue = page.session.queue
    copy = read(path).sort_values("rank")
    assert [str(key) for key in queue["key"]] == list(copy["key"])
    assert list(queue["why"]) == list(copy["why"])
    assert queue["blind"].sum() == 20
    for segment in queue.loc[queue["blind"], "segment"].tolist()[:4] + queue.loc[~queue["blind"], "segment"].tolist()[:4]:
        both.label([segment], "unsure")
    events = both.end()
    assert sum(event.blind for event in events) == 4
    names = [sorted(path.name for path in by.user.glob("overlap/2016/*.csv")) for by in (place, in_qgis)]
    assert names[0] == names[1] != []


def test_an_adjudication_equals_that_of_a_working_copy(place, in_qgis, pages):
    first, second = pages("A01"), pages("A02")
    shared = first.session.queue.loc[first.session.queue["blind"], "segment"].tolist()[:3]
    first.send(labelled(shared, "mining", reason="pits"))
    second.send(labelled(shared, "not_mining"))
    for page in (first, second):
        page.hand_in()
    shutil.copytree(place.user / "events", in_qgis.user / "events")
    decide_again(place), decide_again(in_qgis)
    both = Both(pages("J01", "adjudication"), in_qgis, checkout_disputed(in_qgis, "J01").path)
    assert sorted(both.page.session.queue["segment"]) == sorted(shared)
    assert list(both.page.session.queue["opinions"]) == list(read(both.path)["opinions"])
    with pytest.raises(UserError, match="is not to be labelled in this session"):
        both.page.send(labelled([max(shared) + 1], "unsure"))
    with pytest.raises(UserError, match="a correction without evidence"):
        both.page.send(labelled([shared[0]], predicted(both.page, shared[0]), evidence=""))
    both.label(shared[:1], "mining")
    both.label(shared[1:2], "unsure", evidence="", evidence_date="")
    assert {event.provenance for event in both.end()} == {"adjudicated"}
    labels = decide_again(place).set_index("segment")
    assert labels.equals(decide_again(in_qgis).set_index("segment"))
    assert labels.loc[shared[0], "provenance"] == "adjudicated"


def test_a_sample_of_pixels_equals_that_of_a_working_copy(place, in_qgis, pages):
    page = pages("A01", "accuracy")
    path = checkout_pixel_sample(in_qgis, "A01", "accuracy").path
    assert page.session.snapshot is None
    both = Both(page, in_qgis, path)
    assert both.fid == {number: number for number in range(1, len(page.session.queue) + 1)}
    with pytest.raises(UserError, match="a correction without evidence"):
        page.send(labelled([1], "mining", evidence=""))
    with pytest.raises(UserError, match="only in a review"):
        page.send({"tile": "0002", "status": "done", "form": {}})
    both.label([1], "mining")
    both.label([2, 3], "unsure", "bulk")
    both.label([4], "not_mining", confidence="guess")
    events = both.end()
    assert {(event.provenance, event.predicted, event.probability, event.blind) for event in events} == {("reference", "", -1.0, True)}
    assert events[0].footprint.endswith(" 1")
    assert page.session.changed is False
    again = pages("A01", "accuracy")
    assert (again.session.id, again.labels) == (page.session.id, {1: "mining", 2: "unsure", 3: "unsure", 4: "not_mining"})
    both.label([2], "")
    assert both.end()[0].label == "withdrawn"


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
    own = page.journal.decision(page.session, segment)
    assert (own["label"], own["form"]["evidence"], own["form"]["note"], own["handed_in"]) == ("mining", "Maxar", "seen", False)
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
    own = page.journal.decision(page.session, first)
    assert (own["label"], own["form"]["note"], own["handed_in"]) == ("unsure", "mist", True)
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
