"""Working copies of any content: checked in, or refused in three lines; the copy and the events stay as they are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from place import edit, make_place, read
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout
from smallmines.annotation.copy_content import NEEDED
from smallmines.core.errors import UserError
from smallmines.labels.event_files import read_events

VALUE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.sampled_from(
        ["mining", "unsure", "done", "sure", "2016-02-01", "1970-01-01T00:00:00Z", 1_700_000_000_000, 1_700_000_000, "7", 2**62]
    ),
)
PLACE = st.sampled_from([(table, column) for table, columns in NEEDED.items() for column in columns])
EDITS = st.lists(st.tuples(PLACE, st.integers(1, 6), VALUE, st.booleans()), min_size=1, max_size=6)
CUTS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 300), st.binary(max_size=40)), min_size=1, max_size=3)


def right_or_three_lines(user, path) -> bool:
    """Check a copy in; return whether it was taken. Refused, nothing is written; taken, all events are read again."""
    before = {file: file.read_bytes() for file in user.rglob("*") if file.is_file()}
    try:
        found = checkin(user, path)
    except UserError as error:
        assert len(str(error).split("\n")) == 3  # noqa: PT017
        assert {file: file.read_bytes() for file in user.rglob("*") if file.is_file()} == before
        return False
    stored = read_events(user.glob("events/*/*/*.jsonl"))
    assert {event.hash for event in found.events} <= {event.hash for event in stored}
    assert checkin(user, path).events == ()
    return True


def fuzz(folder, examples):
    """Set values of any type in any column of a copy, or change bytes of its file."""
    block_year = make_place(folder / "made", queue={"size": 20}, overlap=4)
    copy = checkout(block_year, "A01").path
    kept = folder / "kept"
    shutil.copytree(block_year.user, kept)
    whole = copy.read_bytes()
    assert set(read(copy, "about")["annotator"]) == {"A01"}
    taken = []

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(EDITS, CUTS, st.sampled_from(["values", "values", "bytes"]))
    def run(edits, cuts, kind):
        shutil.rmtree(block_year.user)
        shutil.copytree(kept, block_year.user)
        if kind == "values":
            for (table, column), row, value, as_text in edits:
                expression = "CAST(? AS TEXT)" if as_text and isinstance(value, bytes) else "?"
                with suppress(sqlite3.OperationalError):  # Python's functions in the triggers take no text that is not UTF-8
                    edit(copy, f"UPDATE {table} SET {column} = {expression} WHERE rowid = ?", value, row)
        else:
            content = bytearray(whole)
            for at, number, new in cuts:
                place = at % (len(content) + 1)
                content[place : place + number] = new
            copy.write_bytes(content)
        taken.append(right_or_three_lines(block_year.user, copy))
        assert not list(block_year.user.glob(".checkin-*"))

    run()
    assert 0 < sum(taken) < len(taken)


def test_any_copy_is_taken_or_refused(tmp_path):
    fuzz(tmp_path, 6)


@pytest.mark.heavy
def test_any_copy_is_taken_or_refused_at_length(tmp_path):
    fuzz(tmp_path, 400)
