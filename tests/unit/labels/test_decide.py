"""The label of each segment: events over samples over predictions, and nothing unseen becomes mining by prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sections import Transfer
from smallmines.core.errors import UserError
from smallmines.labels import decide, event_files, tables
from smallmines.labels.transfer import decisions_in_force

FEATURES = pd.DataFrame(
    {
        "segment": np.arange(1, 7, dtype=np.uint32),
        "key": np.arange(101, 107, dtype=np.uint64),
        "clear_share": np.array([1, 1, 1, 1, 0.4, 0.4], np.float32),
    }
)
PROBABILITIES = pd.DataFrame(
    {
        "segment": np.arange(1, 7, dtype=np.uint32),
        "probability": np.array([0.9, 0.1, 0.7, 0.6999, 0.9, 0.9], np.float32),
        "entropy": np.zeros(6, np.float32),
    }
)


def samples_table(rows):
    table = pd.DataFrame(rows, columns=["segment", "label", "subclass", "tile_id", "who"])
    return table.astype({"segment": "uint32", "label": "int8", "subclass": object, "tile_id": object, "who": object})


def event(key, label="mining", provenance="corrected", annotator="ama", time="2026-01-01T00:00:00Z"):
    return event_files.Event(2016, "1", key, 0.0, 0.0, label, provenance, annotator, time)


def labels(samples=(), events=()):
    geobox = GeoBox((2, 3), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    found = decisions_in_force(events, FEATURES, lambda: pytest.fail("all segments are there"), geobox, Transfer())
    table = decide.label_segments(FEATURES, samples_table(samples), found.decisions, PROBABILITIES, 0.7)
    return tables.schema("labels").validate(table)


def test_predictions_alone():
    table = labels()
    assert table["label"].tolist() == [1, 0, 1, 0, 0, 0]
    assert table["provenance"].tolist() == ["predicted"] * 4 + ["cloud"] * 2


def test_people_win_over_predictions_and_clouds():
    table = labels([(2, 1, "", "0001", "kofi"), (6, 1, "", "0001", "kofi")], [event(101, "not_mining"), event(103, "unsure")])
    assert table["label"].tolist() == [0, 1, -1, 0, 0, 1]
    assert table["provenance"].tolist() == ["corrected", "manual", "corrected", "predicted", "cloud", "manual"]
    assert table["who"].tolist() == ["ama", "kofi", "ama", "", "", "kofi"]
    assert table.loc[0, "when"] == "2026-01-01T00:00:00Z"


def test_imported_labels_stand_between_samples_and_predictions():
    table = labels(
        [(2, 1, "", "0001", "imported"), (3, 0, "", "0001", "kofi")], [event(103, provenance="imported"), event(104, provenance="imported")]
    )
    assert table["label"].tolist() == [1, 1, 0, 1, 0, 0]
    assert table["provenance"].tolist() == ["predicted", "imported", "manual", "imported", "cloud", "cloud"]


def test_two_who_differ_leave_the_label_open():
    table = labels([], [event(101), event(101, "not_mining", annotator="kofi")])
    assert table.loc[0, ["label", "provenance", "who"]].tolist() == [-1, "disputed", "ama|kofi"]


def test_an_event_wins_over_a_sample_and_adjudication_over_all():
    manual = [(1, 1, "", "0001", "kofi")]
    assert labels(manual, [event(101, "not_mining", "confirmed")]).loc[0, "label"] == 0
    both = [event(101, "not_mining", "adjudicated", time="2025-01-01T00:00:00Z"), event(101, "mining")]
    assert labels(manual, both).loc[0, ["label", "provenance"]].tolist() == [0, "adjudicated"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.builds(
            event,
            st.integers(101, 108),
            st.sampled_from(sorted(event_files.LABELS)),
            st.sampled_from(sorted(event_files.RANKS)),
            st.sampled_from(["ama", "kofi"]),
            st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
        ),
        max_size=10,
    ),
    st.randoms(),
)
def test_any_order_of_the_same_events_gives_the_same_labels(events, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    pd.testing.assert_frame_equal(labels(events=shuffled), labels(events=events))


def test_tables_of_another_segmentation_are_refused():
    with pytest.raises(UserError, match="one segmentation"):
        labels([(9, 1, "", "0001", "")])
