"""Footprints, and decisions that move to another segmentation, are superseded, or are disputed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sections import Transfer
from smallmines.labels import footprint
from smallmines.labels.event_files import LABELS, RANKS, Event
from smallmines.labels.transfer import decisions_in_force

GEOBOX = GeoBox((6, 8), Affine(10, 0, 586600, 0, -10, 729640), "EPSG:32630")
EVENT = Event(2016, "1", 1, 0.0, 0.0, "mining", "corrected", "A01", "2026-01-01T00:00:00Z")


def of(segments):
    """Features of a label raster; the key is that of its pixels, so equal segments have equal keys."""
    ids = range(1, int(segments.max()) + 1)
    keys = [sum(1 << int(pixel) for pixel in np.flatnonzero(segments == one)) % 2**63 for one in ids]
    areas = np.bincount(segments.ravel(), minlength=len(ids) + 1)[1:]
    return pd.DataFrame({"segment": np.array(ids, np.uint32), "key": np.array(keys, np.uint64), "area": areas.astype(np.uint32)})


def event(segments, segment, **changes):
    text = footprint.encode(footprint.runs_of(segments, np.array([segment])), 1, GEOBOX)[0]
    return dataclasses.replace(EVENT, key=int(of(segments)["key"][segment - 1]), footprint=text, **changes)


def columns(*widths):
    """A label raster of upright stripes."""
    return np.repeat(np.repeat(np.arange(1, len(widths) + 1, dtype=np.uint32), widths)[np.newaxis], 6, axis=0)


def settled(events, segments, **settings):
    return decisions_in_force(events, of(segments), lambda: segments, GEOBOX, Transfer(**settings))


def told(found):
    return {row.segment: (row.label, row.provenance, row.who) for row in found.decisions.itertuples()}


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(-3, 3), st.integers(-3, 3))
def test_a_footprint_gives_back_its_pixels_on_a_shifted_grid(seed, down, right):
    segments = np.random.default_rng(seed).integers(0, 5, (6, 8)).astype(np.uint32)
    ids = np.array([3, 1])
    texts = footprint.encode(footprint.runs_of(segments, ids), 2, GEOBOX)
    other = GeoBox((6, 8), GEOBOX.transform * Affine.translation(right, down), GEOBOX.crs)
    pixel, owner = footprint.decode(texts, other).pixels((6, 8))
    expected = np.zeros((12, 14), np.uint32)
    expected[3:9, 3:11] = segments
    expected = expected[3 + down : 9 + down, 3 + right : 11 + right]
    found = np.full(48, -1)
    found[pixel] = owner
    assert (found.reshape(6, 8) == np.where(expected == 3, 0, np.where(expected == 1, 1, -1))).all()


def test_no_footprint_is_no_runs_and_nonsense_is_refused():
    assert len(footprint.decode(["", ""], GEOBOX).length) == 0
    with pytest.raises(ValueError, match="runs"):
        footprint.decode(["1 2"], GEOBOX)


def test_the_same_segmentation_keeps_every_decision_without_reading_it():
    segments = columns(2, 3, 3)
    events = [event(segments, 1), event(segments, 3, label="not_mining", provenance="confirmed", annotator="A02")]
    found = decisions_in_force(events, of(segments), lambda: pytest.fail("not needed"), GEOBOX, Transfer())
    assert told(found) == {1: (1, "corrected", "A01"), 3: (0, "confirmed", "A02")}
    assert found.lineage["fate"].tolist() == ["kept", "kept"]
    assert found.review.empty


def test_a_later_edit_of_the_same_person_supersedes_and_adjudication_stands():
    segments = columns(4, 4)
    later = event(segments, 1, label="not_mining", time="2026-02-01T00:00:00Z")
    assert told(settled([later, event(segments, 1)], segments)) == {1: (0, "corrected", "A01")}
    assert sorted(settled([later, event(segments, 1)], segments).lineage["fate"]) == ["kept", "superseded"]
    judge = event(segments, 1, provenance="adjudicated", annotator="J01", time="2026-01-15T00:00:00Z")
    assert told(settled([later, judge], segments)) == {1: (1, "adjudicated", "J01")}


def test_two_people_alike_agree_and_differently_are_a_dispute():
    segments = columns(4, 4)
    one, other = event(segments, 1), event(segments, 1, annotator="A02", time="2026-01-02T00:00:00Z")
    assert told(settled([one, other], segments)) == {1: (1, "corrected", "A01|A02")}
    found = settled([one, dataclasses.replace(other, label="not_mining")], segments)
    assert told(found) == {1: (-1, "disputed", "A01|A02")}
    assert found.review.to_numpy().tolist() == [[1, "A01: mining; A02: not_mining"]]
    imported = event(segments, 1, provenance="imported", annotator="imported", time="2027-01-01T00:00:00Z", label="not_mining")
    assert told(settled([one, imported], segments)) == {1: (1, "corrected", "A01")}


def test_labels_move_where_enough_is_covered_and_pure_enough():
    old, new = columns(4, 4), columns(3, 2, 3)
    events = [event(old, 1), event(old, 2, label="not_mining")]
    found = settled(events, new)
    # the middle stripe is half mining, half not: nobody's label
    assert told(found) == {1: (1, "transferred", "A01"), 3: (0, "transferred", "A01")}
    assert found.review.to_numpy().tolist() == [[2, "100% of it decided before, 50% of that alike"]]
    assert found.lineage[["fate", "segments", "share"]].to_numpy().tolist() == [["moved", 1, 0.75], ["moved", 1, 0.75]]
    assert told(settled(events[:1], columns(7, 1), covered=0.5)) == {1: (1, "transferred", "A01")}
    found = settled(events[:1], columns(7, 1), covered=0.6)
    assert found.decisions.empty
    assert found.lineage["fate"].tolist() == ["review"]


def test_a_segment_that_is_still_there_keeps_its_decision_beside_changed_ones():
    old, new = columns(2, 2, 4), columns(2, 6)
    events = [event(old, 1), event(old, 2, label="not_mining"), event(old, 3, label="not_mining")]
    assert told(settled(events, new)) == {1: (1, "corrected", "A01"), 2: (0, "transferred", "A01")}


def test_the_later_of_two_overlapping_decisions_is_on_top():
    first, second, now = columns(4, 4), columns(3, 5), columns(2, 2, 4)
    events = [event(first, 1), event(second, 1, label="not_mining", time="2026-03-01T00:00:00Z")]
    found = settled(events, now)
    assert told(found) == {1: (0, "transferred", "A01")}
    assert found.review["segment"].tolist() == [2]


def test_two_people_on_different_segmentations_are_held_against_each_other():
    now = columns(4, 4)
    found = settled([event(columns(5, 3), 1), event(now, 1, annotator="A02", label="not_mining")], now)
    assert told(found) == {1: (-1, "disputed", "A01|A02")}


def test_outside_of_the_area_is_lost():
    far = dataclasses.replace(event(columns(4, 4), 1), footprint="1 1 5", key=7)
    assert settled([far], columns(4, 4)).lineage["fate"].tolist() == ["lost"]


SEGMENTATIONS = [columns(4, 4), columns(3, 2, 3), columns(1, 6, 1)]
some_events = st.lists(
    st.builds(
        lambda segments, segment, label, provenance, annotator, day: event(
            segments,
            1 + segment % int(segments.max()),
            label=label,
            provenance=provenance,
            annotator=annotator,
            time=f"2026-01-0{day}T00:00:00Z",
        ),
        st.sampled_from(SEGMENTATIONS),
        st.integers(0, 2),
        st.sampled_from(sorted(LABELS)),
        st.sampled_from(sorted(RANKS)),
        st.sampled_from(["A01", "A02"]),
        st.integers(1, 3),
    ),
    max_size=8,
)


@settings(max_examples=20, deadline=None)
@given(some_events, st.sampled_from(SEGMENTATIONS), st.randoms())
def test_any_order_of_the_same_events_gives_the_same_labels(events, now, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    one, other = settled(events, now), settled(shuffled, now)
    for name in ("decisions", "lineage", "review"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.decisions["segment"].is_unique
    assert len(one.lineage) == len(set(events))
    assert not set(one.review["segment"]) & set(one.decisions.loc[one.decisions["label"] >= 0, "segment"])


# --- withdrawn ------------------------------------------------------------------------------------------------------------


def test_a_withdrawn_decision_leaves_the_segment_to_the_others():
    segments = columns(4, 4)
    mine = event(segments, 1, time="2026-01-01T00:00:00Z")
    back = event(segments, 1, label="withdrawn", time="2026-01-02T00:00:00Z")
    other = event(segments, 1, label="not_mining", annotator="A02")
    found = settled([mine, back], segments)
    assert told(found) == {}
    assert found.lineage[["fate", "segments", "share"]].to_numpy().tolist() == [["superseded", 0, 0.0], ["withdrawn", 0, 0.0]]
    assert found.review.empty
    assert told(settled([mine, other], segments)) == {1: (-1, "disputed", "A01|A02")}
    assert told(settled([mine, back, other], segments)) == {1: (0, "corrected", "A02")}
    again = event(segments, 1, label="unsure", time="2026-01-03T00:00:00Z")
    assert told(settled([mine, back, again], segments)) == {1: (-1, "corrected", "A01")}


def test_a_withdrawn_adjudication_leaves_that_of_another_person():
    segments = columns(4, 4)
    first = event(segments, 1, provenance="adjudicated", annotator="J01", time="2026-01-01T00:00:00Z")
    second = event(segments, 1, provenance="adjudicated", annotator="J02", label="not_mining", time="2026-01-02T00:00:00Z")
    back = event(segments, 1, provenance="adjudicated", annotator="J01", label="withdrawn", time="2026-01-03T00:00:00Z")
    assert told(settled([first, second, back], segments)) == {1: (0, "adjudicated", "J02")}
    assert sorted(settled([first, second, back], segments).lineage["fate"]) == ["kept", "superseded", "withdrawn"]
    assert told(settled([first, back], segments)) == {}


def test_a_withdrawn_decision_wipes_its_pixels_on_another_segmentation():
    """The person's older decision about other segments under the withdrawn one does not come back."""
    old, new = columns(4, 4), columns(2, 2, 4)
    first = event(old, 1, label="not_mining", time="2026-01-01T00:00:00Z")
    later = event(new, 1, time="2026-01-02T00:00:00Z")
    back = event(new, 1, label="withdrawn", time="2026-01-03T00:00:00Z")
    assert told(settled([first, later], new)) == {1: (1, "corrected", "A01"), 2: (0, "transferred", "A01")}
    assert told(settled([first, later, back], new)) == {2: (0, "transferred", "A01")}
    newest = columns(1, 1, 2, 4)
    found = settled([first, later, back], newest)
    assert told(found) == {3: (0, "transferred", "A01")}
    assert found.lineage["fate"].tolist() == ["moved", "superseded", "withdrawn"]


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 2**16))
def test_withdrawals_do_not_depend_on_the_order_of_files(order, seed):
    segments, rng = columns(2, 3, 3), np.random.default_rng(seed)
    labels = [*LABELS, "withdrawn", "withdrawn"]
    events = [
        event(
            segments if number % 2 else columns(4, 4),
            int(rng.integers(1, 3)),
            label=labels[rng.integers(len(labels))],
            annotator=f"A0{rng.integers(1, 3)}",
            provenance=["corrected", "adjudicated"][rng.integers(2)],
            time=f"2026-01-{number + 1:02d}T00:00:00Z",
        )
        for number in range(8)
    ]
    one, other = settled(events, segments), settled([events[number] for number in order], segments)
    pd.testing.assert_frame_equal(one.decisions, other.decisions)
    pd.testing.assert_frame_equal(one.lineage, other.lineage)
    assert not (one.decisions["label"] < -1).any()
