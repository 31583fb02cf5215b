"""Hand-in: the same events as of a working copy."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from browser_edits import EVIDENCE, labelled, now_ms, other, predicted, tile_segments
from place import copied, decide_again, edit, read
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.core.errors import UserError
from smallmines.labels.event_files import standing

DAY = 86_400_000
"""Milliseconds."""

BY_NATURE = ("time", "edited", "base", "tool", "revision")
"""Fields in which events of a working copy and of the browser differ."""

TILES = ("0002", "0008")


@pytest.fixture
def in_qgis(made, tmp_path):
    """Another copy of the place, in which people label with working copies."""
    return copied(made, tmp_path / "qgis")


def fields_of(events):
    """Return the fields that are the same in a working copy and in the browser, by key."""
    return {event.key: {name: value for name, value in event.content.items() if name not in BY_NATURE} for event in events}


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
