"""Event files of any content: right, or refused in three lines; never another exception, nothing written."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sections import Transfer
from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.labels.agreement import agreements
from smallmines.labels.decisions import require_home
from smallmines.labels.event_files import LABELS, LOOKS, RANKS, TOOLS, WITHDRAWN, Event, read_events, standing, write_events
from smallmines.labels.transfer import decisions_in_force

GEOBOX = GeoBox((6, 8), Affine(10, 0, 586600, 0, -10, 729640), "EPSG:32630")
SEGMENTS = np.arange(1, 49, dtype=np.uint32).reshape(6, 8)
KEYS = np.arange(48, dtype=np.uint64)
FEATURES = pd.DataFrame({"segment": np.arange(1, 49, dtype=np.uint32), "key": KEYS, "area": np.ones(48, np.uint32)})
OVERLAP = pd.DataFrame({"key": KEYS, "tile_id": "0001", "area": 1, "inclusion": 1.0})
FOLDER = ("events", "2016", "1")

TEXT = st.text(max_size=20)
EVENTS = st.lists(
    st.builds(
        Event,
        year=st.just(2016),
        block=st.just("1"),
        key=st.integers(0, 60),
        x=st.floats(-1e7, 1e7),
        y=st.floats(-1e7, 1e7),
        label=st.sampled_from([*LABELS, WITHDRAWN]),
        provenance=st.sampled_from(list(RANKS)),
        annotator=st.sampled_from(["A01", "A02"]),
        time=st.integers(0, 10**7).map(lambda second: f"2026-01-01T{second // 360000 % 24:02d}:00:{second % 60:02d}.{second % 1000:03d}Z"),
        note=TEXT,
        evidence=TEXT,
        probability=st.just(-1.0) | st.floats(0, 1),
        blind=st.booleans(),
        footprint=st.sampled_from(["", "72963 58661 2", "72963 58661 8|72962 58661 8", "0 0 1"]),
        tool=st.sampled_from(TOOLS),
        look=st.sampled_from(LOOKS),
        revision=st.integers(-1, 9),
    ),
    min_size=1,
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=10) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CUTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
FIELDS = [field.name for field in dataclasses.fields(Event)]


def use(events):
    """Do with events what the rules `decisions` and `label_quality` do."""
    require_home(events, 2016, "1")
    settled = decisions_in_force(events, FEATURES, lambda: SEGMENTS, GEOBOX, Transfer())
    assert len(settled.lineage) == len(events)
    agreements(events, OVERLAP, 0)
    stands = {(event.layer, event.key) for event in standing(events)}
    assert set(settled.decisions["segment"].astype(int) - 1) >= {key for _, key in stands if key < 48}


def right_or_three_lines(path, expected=None):
    """Read a file and use its events, or find a refusal in three lines."""
    try:
        events = read_events([path])
        use(events)
    except UserError as error:
        lines = str(error).split("\n")
    else:
        lines = ["", "", ""]
        assert expected is None or events == expected
    assert len(lines) == 3


def fuzz(folder, examples):
    """Write valid check-ins, read them, mutate bytes (which the hash must tell) and fields (with the right hash)."""
    home = folder.joinpath(*FOLDER)

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(EVENTS, CUTS, st.sampled_from([*FIELDS, "more"]), JSON, st.booleans())
    def run(events, cuts, field, value, named):
        own = [dataclasses.replace(event, annotator="A01") for event in events]
        path = write_events(home, own)
        distinct = {event.hash for event in own}
        assert {event.hash for event in read_events([path])} == distinct
        use(read_events([path]))
        whole = path.read_bytes()
        content = bytearray(whole)
        for at, number, new in cuts:
            place = at % (len(content) + 1)
            content[place : place + number] = new
        path.write_bytes(content)
        if bytes(content) != whole and bytes(content).replace(b"\r\n", b"\n") != whole:
            with pytest.raises(UserError):
                read_events([path])
        path.unlink()
        lines = [json.loads(line) for line in whole.decode().split("\n") if line]
        lines[0][field] = value
        text = bytes(content).decode(errors="replace") if named else "".join(json.dumps(line) + "\n" for line in lines)
        forged = home / f"x-{digest(text.replace(chr(13) + chr(10), chr(10)))[:8]}.jsonl"
        forged.write_bytes(text.encode())
        right_or_three_lines(forged)
        forged.unlink()
        assert [file for file in folder.rglob("*") if not file.is_dir()] == []

    run()


def test_any_event_file_is_read_or_refused(tmp_path):
    fuzz(tmp_path, 15)


@pytest.mark.heavy
def test_any_event_file_is_read_or_refused_at_length(tmp_path):
    fuzz(tmp_path, 1000)
