"""Check-in of copies that people, clocks and programs have spoilt: times, withdrawn decisions, origins, contents, disks."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from place import correct, decide_again, edit, make_place, read
from smallmines.annotation.checkin import checkin, pending
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.cli.labels import _keys
from smallmines.core.errors import UserError
from smallmines.labels.agreement import agreements, read_overlap
from smallmines.labels.event_files import Event, read_events, standing, write_events

DAY = 86_400_000
"""Milliseconds."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A place with a fresh working copy of A01 and one of A02."""
    block_year = make_place(tmp_path_factory.mktemp("made"))
    return block_year, checkout(block_year, "A01").path, checkout(block_year, "A02").path


@pytest.fixture
def place(made, tmp_path):
    """A copy of `made`: block and year, and the paths of the two working copies."""
    block_year, *copies = made
    root = tmp_path / "root"
    shutil.copytree(block_year.root, root)
    moved = [root / path.relative_to(block_year.root) for path in copies]
    return type(block_year)(block_year.config, block_year.year, block_year.block, root), *moved


def now() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp() * 1000)


def label(copy, fid, value, edited, **more):
    """Label a segment at a time in milliseconds."""
    values = {"label": value, "evidence": "Planet", "evidence_date": "2016-02-01", **more, "edited": edited}
    edit(copy, f"UPDATE segments SET {', '.join(f'{name} = ?' for name in values)} WHERE fid = ?", *values.values(), fid)


def refused(block_year, copy, **more) -> str:
    """Check in a copy that is refused: three lines, nothing written; return what was found."""
    before = {path: path.stat().st_mtime_ns for path in block_year.user.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as raised:
        checkin(block_year.user, copy, **more)
    assert len(str(raised.value).split("\n")) == 3
    assert {path: path.stat().st_mtime_ns for path in block_year.user.rglob("*") if path.is_file()} == before
    return raised.value.found


def decision(block_year, key):
    row = decide_again(block_year).set_index("key").loc[np.uint64(key)]
    return int(row["label"]), row["provenance"], row["who"]


def key_of(copy, fid) -> int:
    return int(read(copy).loc[fid, "key"])


# --- times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        (now() + 365 * DAY, "in the future of this computer's clock"),
        (now() + 20 * 60_000, "in the future of this computer's clock"),
        (253_402_300_799_000, "edited at 9999-12-31 23:59 UTC, in the future"),
        (253_402_300_800_000 + 10**10, "no time of this age"),
        (2**62, "no time of this age"),
        (-(10**15), "no time of this age"),
        (now() // 1000, "this is in seconds"),
        (0, "which is 1970-01-01"),
        ("yesterday", "edited is 'yesterday', not a whole number (edited is in milliseconds since 1970 (UTC))"),
        (1.5, "edited is '1.5', not a whole number"),
        (b"\xff", "edited is"),
        (None, "without the time of the edit (edited is in milliseconds"),
    ],
    ids=map(str, range(12)),
)
def test_a_time_that_no_edit_has_is_named_with_row_and_unit(place, edited, words):
    block_year, copy, _ = place
    label(copy, 7, "unsure", now() - DAY)
    label(copy, 7, "unsure", edited, reason="again")
    found = refused(block_year, copy)
    assert found.startswith("nothing was checked in: row 7: ")
    assert words in found


@pytest.mark.parametrize(
    "after", ["garbage", "2020-01-01T00:00:00", "2099-01-01T00:00:00Z", b"\xff"], ids=["text", "naive", "future", "bytes"]
)
def test_edits_are_never_moved_behind_what_is_no_time_of_an_event(place, after):
    """2099 would make the edit the last one for ever."""
    block_year, copy, _ = place
    label(copy, 7, "unsure", now() - DAY)
    edit(copy, "UPDATE history SET after = CAST(? AS TEXT)", after)
    assert "after in the table history is" in refused(block_year, copy)


def test_a_copy_that_was_checked_out_after_an_event_of_a_clock_ahead_goes_on(place):
    block_year, copy, _ = place
    ahead = "2099-01-01T00:00:00Z"
    earlier = Event(2016, "1", key_of(copy, 8), 1.0, 1.0, "mining", "confirmed", "A01", ahead, version=1)
    write_events(block_year.user / "events/2016/1", [earlier])
    label(copy, 7, "unsure", now() - DAY)
    edit(copy, "UPDATE history SET after = ?", ahead)
    (event,) = checkin(block_year.user, copy).events
    assert event.instant > earlier.instant
    assert event.edited


def test_a_clock_that_is_a_few_minutes_ahead_is_no_fault(place):
    block_year, copy, _ = place
    label(copy, 7, "unsure", now() + 5 * 60_000)
    assert checkin(block_year.user, copy).counts["unsure"] == 1


def test_after_a_clock_was_set_back_the_later_edit_counts_and_is_told(place):
    block_year, copy, _ = place
    label(copy, 1, "mining", now() - DAY)
    label(copy, 2, "mining", now() - DAY)
    checkin(block_year.user, copy)
    label(copy, 1, "unsure", now() - 3 * DAY)
    label(copy, 3, "unsure", now() - 2 * DAY)
    found = checkin(block_year.user, copy)
    assert [text.split(":")[0] for text in found.warnings] == ["row 1", "row 3"]
    assert "so they count; is the clock right?" in found.warnings[0]
    assert "was the clock set back?" in found.warnings[1]
    assert decision(block_year, key_of(copy, 1)) == (-1, "corrected", "A01")
    files = sorted(block_year.user.glob("events/2016/1/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    times = [event.instant for path in files for event in read_events([path])]
    assert all(first < second for first, second in itertools.pairwise(times))
    before = len(list(block_year.user.rglob("*")))
    again = checkin(block_year.user, copy)
    assert (again.events, again.checked_in_before, len(list(block_year.user.rglob("*")))) == ((), 3, before)


def test_an_earlier_state_of_a_copy_changes_nothing_and_is_told(place, tmp_path):
    """A copy of a backup, checked in late: its decisions are older, and what it lacks was not withdrawn."""
    block_year, copy, _ = place
    label(copy, 1, "mining", now() - 3 * DAY)
    shutil.copy2(copy, tmp_path / "early.gpkg")
    label(copy, 1, "unsure", now() - 2 * DAY)
    label(copy, 2, "mining", now() - 2 * DAY)
    checkin(block_year.user, copy)
    found = checkin(block_year.user, tmp_path / "early.gpkg")
    assert (found.counts["withdrawn"], len(found.events)) == (0, 1)
    assert "they do not count unless edited again" in found.warnings[0]
    assert found.warnings[1].startswith("row 2: the label is empty, but was checked in")
    assert decision(block_year, key_of(copy, 1)) == (-1, "corrected", "A01")
    assert decision(block_year, key_of(copy, 2))[1] in ("corrected", "confirmed")
    assert decision(block_year, key_of(copy, 2))[0] == 1


def test_a_new_copy_is_later_than_what_was_checked_in_before(place):
    block_year, copy, _ = place
    label(copy, 1, "mining", now() - DAY)
    key = key_of(copy, 1)
    checkin(block_year.user, copy)
    decide_again(block_year)
    tile = read(copy).loc[1, "tile_id"]
    fresh = checkout(block_year, "A01", tiles=[tile]).path
    fid = int(read(fresh).index[read(fresh)["key"] == str(key)][0])
    label(fresh, fid, "unsure", now() - 2 * DAY)
    assert len(checkin(block_year.user, fresh).warnings) == 1
    assert decision(block_year, key) == (-1, "corrected", "A01")


def as_version_1(block_year, copy, checked_in=None):
    """Make a copy, and events that were checked in from it, as version 1 had them."""
    for table in ("segments", "tasks"):
        edit(copy, f"DROP TRIGGER count_{table}")
    edit(copy, "DROP TABLE history")
    if checked_in:
        old = [dataclasses.replace(event, version=1, tool="", look="", revision=-1) for event in checked_in.events]
        checked_in.file.unlink()
        assert b"version" not in write_events(checked_in.file.parent, old).read_bytes()


def test_copies_and_events_of_version_1_go_on(place):
    block_year, copy, _ = place
    label(copy, 1, "mining", now() - 3 * DAY)
    label(copy, 2, "mining", now() - 3 * DAY + 10_000)
    label(copy, 3, "mining", now() - 3 * DAY + 20_000)
    as_version_1(block_year, copy, checkin(block_year.user, copy))
    again = checkin(block_year.user, copy)
    assert (again.events, again.checked_in_before, again.warnings) == ((), 3, ())
    label(copy, 1, "unsure", now() - DAY)
    label(copy, 2, None, now() - DAY)
    label(copy, 3, "unsure", now() - 5 * DAY)
    found = checkin(block_year.user, copy)
    assert (found.counts["unsure"], found.counts["withdrawn"]) == (2, 1)
    assert found.warnings[0].startswith("row 3: edited earlier")
    assert found.warnings[0].endswith("they do not count unless edited again")
    assert [decision(block_year, key_of(copy, fid))[0] for fid in (1, 3)] == [-1, 1]
    assert decision(block_year, key_of(copy, 2))[1] == "predicted"


def test_rows_of_one_time_get_times_of_their_own(place):
    block_year, copy, _ = place
    edit(copy, "UPDATE segments SET label = 'unsure'")
    found = checkin(block_year.user, copy)
    assert len({event.instant for event in found.events}) == len(found.events) > 50
    assert max(event.instant for event in found.events) - min(event.instant for event in found.events) < dt.timedelta(milliseconds=50)
    assert checkin(block_year.user, copy).events == ()


def test_doubtful_days_of_evidence_are_told(place):
    block_year, copy, _ = place
    for fid, day in ((1, "1970-01-01"), (2, "2062-02-01"), (3, "2016-02-01"), (4, "1970-01-01")):
        label(copy, fid, "mining", now() - DAY, evidence_date=day)
    found = checkin(block_year.user, copy)
    assert len(found.events) == 4
    assert sorted(text.split(",")[0] for text in found.warnings) == ["row 2: the evidence is of 2062-02-01", "rows 1"]
    assert "rows 1, 4: the evidence is of 1970-01-01, before there were satellite images" in " ".join(found.warnings)


# --- how it was decided ---------------------------------------------------------------------------------------------------


def test_single_looks_bulk_edits_and_tasks_are_told_apart(place):
    block_year, copy, _ = place
    tile = read(copy)["tile_id"].value_counts().index[0]
    others = [int(fid) for fid in read(copy).index[read(copy)["tile_id"] != tile][:5]]
    edit(copy, "UPDATE tasks SET status = 'done' WHERE tile_id = ?", tile)
    for fid, seconds in zip(others, (0, 0.2, 5, 11, 11.9), strict=True):
        label(copy, fid, "unsure", now() - DAY + int(1000 * seconds))
    found = checkin(block_year.user, copy)
    looks = {event.key: event.look for event in found.events}
    assert [looks.pop(key_of(copy, fid)) for fid in others] == ["bulk", "bulk", "single", "bulk", "bulk"]
    assert set(looks.values()) == {"task"}
    assert {(event.version, event.tool) for event in found.events} == {(2, "qgis")}


# --- withdrawn ------------------------------------------------------------------------------------------------------------


def test_an_emptied_label_is_withdrawn_everywhere(place):
    """In the labels, in the agreement, in the blind overlap and in what is checked out next."""
    block_year, first, second = place
    shared = sorted(set(read(first)["key"]) & set(read(second)["key"]))[:3]
    for copy, value in ((first, "mining"), (second, "not_mining")):
        for key in shared:
            fid = int(read(copy).index[read(copy)["key"] == key][0])
            correct(copy, fid, value)
        checkin(block_year.user, copy)
    assert decision(block_year, shared[0]) == (-1, "disputed", "A01|A02")
    edit(first, "UPDATE segments SET label = NULL WHERE key = ?", shared[0])
    found = checkin(block_year.user, first)
    (event,) = found.events
    assert (event.label, event.provenance, event.evidence, str(event.key), event.blind) == (
        "withdrawn",
        "corrected",
        "",
        shared[0],
        True,
    ) or (event.provenance == "confirmed")
    assert found.counts["withdrawn"] == 1
    assert decision(block_year, shared[0])[0] == 0
    assert decision(block_year, shared[0])[2] == "A02"
    lineage = pd.read_csv(block_year.results / "people/2016/1/lineage.csv")
    assert lineage.loc[lineage["event"] == event.hash, ["fate", "segments", "share"]].to_numpy().tolist() == [["withdrawn", 0, 0.0]]
    overlap = pd.concat([read_overlap(path) for path in block_year.user_files()["overlap"]])
    (pair,) = agreements(block_year.events(), overlap, 0)
    assert (pair.segments, pair.raw) == (2, 0.0)
    assert checkin(block_year.user, first).events == ()
    assert checkout_disputed(block_year, "J01").segments == 2
    again = checkout(block_year, "A01").path
    assert set(read(again)["key"]) & set(shared) == {shared[0]}
    edit(first, "UPDATE segments SET label = 'mining' WHERE key = ?", shared[0])


def test_a_withdrawn_adjudication_leaves_the_dispute(place):
    block_year, first, second = place
    key = sorted(set(read(first)["key"]) & set(read(second)["key"]))[0]
    for copy, value in ((first, "mining"), (second, "not_mining")):
        correct(copy, int(read(copy).index[read(copy)["key"] == key][0]), value)
        checkin(block_year.user, copy)
    decide_again(block_year)
    copy = checkout_disputed(block_year, "J01").path
    correct(copy, 1, "mining")
    checkin(block_year.user, copy)
    assert decision(block_year, key) == (1, "adjudicated", "J01")
    edit(copy, "UPDATE segments SET label = NULL")
    assert checkin(block_year.user, copy).counts["withdrawn"] == 1
    assert decision(block_year, key) == (-1, "disputed", "A01|A02")


def test_a_task_that_is_opened_again_withdraws_its_confirmations(place):
    block_year, copy, _ = place
    tile = read(copy)["tile_id"].value_counts().index[0]
    own = read(copy)[read(copy)["tile_id"] == tile]
    edit(copy, "UPDATE tasks SET status = 'done' WHERE tile_id = ?", tile)
    assert checkin(block_year.user, copy).counts["confirmed"] == len(own)
    correct(copy, int(own.index[0]), "unsure")
    edit(copy, "UPDATE tasks SET status = 'open' WHERE tile_id = ?", tile)
    found = checkin(block_year.user, copy)
    assert (found.counts["withdrawn"], found.counts["unsure"]) == (len(own) - 1, 1)
    assert {event.key for event in standing(block_year.events())} == {int(own["key"].iloc[0])}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE tasks SET tile_id = '9999'", "task 9999: this tile was not checked out (an edited tile_id)"),
        ("UPDATE tasks SET tile_id = (SELECT tile_id FROM tasks WHERE fid = 1)", "the tile occurs twice"),
    ],
    ids=["alien", "twice"],
)
def test_a_task_whose_tile_was_edited_is_refused(place, statement, words):
    """Its segments would be passed over without a word, or confirmed by the task of another tile."""
    block_year, copy, _ = place
    edit(copy, "UPDATE tasks SET status = 'done'")
    edit(copy, statement)
    assert words in refused(block_year, copy)


def test_a_segment_that_was_deleted_from_the_copy_keeps_its_decision_and_is_told(place):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    checkin(block_year.user, copy)
    key = key_of(copy, 1)
    edit(copy, "DELETE FROM segments WHERE fid = 1")
    found = checkin(block_year.user, copy)
    assert found.warnings == ("1 segments that were checked in from this copy are no longer in it; their decisions stay in force",)
    assert decision(block_year, key) == (-1, "corrected", "A01")


# --- origin ---------------------------------------------------------------------------------------------------------------

ORIGIN = {
    "run": "other",
    "year": "2022",
    "block": "2/../2",
    "annotator": "kofi@example.org",
    "kind": "adjudication",
}


@pytest.mark.parametrize("names", [*([name] for name in ORIGIN), list(ORIGIN)], ids=lambda names: "+".join(names))
def test_every_field_of_the_origin_is_held_against_the_base(place, names):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    for name in names:
        edit(copy, f"UPDATE about SET {name} = ?", ORIGIN[name])
    found = refused(block_year, copy)
    for name in names:
        assert f"{name} in the table about is {ORIGIN[name]!r}, not " in found
    assert pending(block_year.user, copy) >= 1


def test_another_persons_code_or_a_path_is_refused(place):
    block_year, copy, _ = place
    for code in ("A02", "../../x", "", "A01\n", "Ａ０１"):
        edit(copy, "UPDATE about SET annotator = ?", code)
        assert f"annotator in the table about is {code!r}, not 'A01'" in refused(block_year, copy)


@pytest.mark.parametrize("code", ["../../x", "kofi@example.org", "", ".", "A 01", "A" * 41, "/tmp/x", "Ａ０１"])
def test_no_copy_is_made_for_what_is_no_code(place, code):
    block_year, first, second = place
    key = sorted(set(read(first)["key"]) & set(read(second)["key"]))[0]
    for copy, value in ((first, "mining"), (second, "not_mining")):
        correct(copy, int(read(copy).index[read(copy)["key"] == key][0]), value)
        checkin(block_year.user, copy)
    decide_again(block_year)
    with pytest.raises(UserError, match="the code of a person"):
        checkout_disputed(block_year, code)


def test_an_address_in_the_base_is_refused(place):
    """Version 1 took e-mail addresses for codes."""
    import pyarrow.parquet as pq

    block_year, copy, _ = place
    path = next(path for path in block_year.user.glob("bases/*/*/*.parquet") if path.stem == read(copy, "about")["base"].iloc[0])
    table = pq.read_table(path)
    about = table.schema.metadata[b"about"].replace(b'"A01"', b'"kofi@example.org"')
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"about": about}), path)
    edit(copy, "UPDATE about SET annotator = 'kofi@example.org'")
    assert "annotator 'kofi@example.org' is no code" in refused(block_year, copy)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM about", "INSERT INTO about SELECT 2, run, year, block, annotator, kind, base FROM about"]
)
def test_no_origin_or_two_are_refused(place, statement):
    block_year, copy, _ = place
    edit(copy, statement)
    assert "table about has" in refused(block_year, copy)


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_damaged_base_is_named(place, damage):
    block_year, copy, _ = place
    path = next(path for path in block_year.user.glob("bases/*/*/*.parquet") if path.stem == read(copy, "about")["base"].iloc[0])
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(UserError, match=path.stem) as raised:
        checkin(block_year.user, copy)
    assert raised.value.do.startswith("restore it from a backup")


# --- contents -------------------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once(place):
    block_year, copy, _ = place
    edit(copy, "UPDATE about SET kind = 'adjudication'")
    edit(copy, "UPDATE segments SET label = 'mine' WHERE fid IN (1, 2)")
    edit(copy, "UPDATE segments SET label = 'unsure', confidence = 'very', edited = 7 WHERE fid = 3")
    edit(copy, "UPDATE segments SET key = 'x' WHERE fid = 4")
    edit(copy, "UPDATE segments SET label = 'unsure', note = CAST(x'ff41' AS TEXT) WHERE fid = 5")
    edit(copy, "UPDATE segments SET label = 'unsure', note = x'00ff' WHERE fid = 6")
    edit(copy, "UPDATE segments SET label = 'unsure', note = ? WHERE fid = 7", "x" * 5_000_000)
    label(copy, 8, "unsure", 5)
    edit(copy, "UPDATE segments SET geom = x'00' WHERE fid = 9")
    edit(copy, "UPDATE tasks SET status = 'finished' WHERE fid = 1")
    found = refused(block_year, copy)
    for words in (
        "kind in the table about is 'adjudication', not 'review'",
        "rows 1, 2: label is 'mine'",
        "row 3: confidence is 'very'",
        "row 3: edited is 7",
        "row 4: was not checked out",
        "row 5: note is not in UTF-8",
        "row 6: note is no text but 2 bytes",
        "row 7: note has 5000000 characters, more than 10000",
        "row 8: edited is 5",
        "row 9: its outline was edited",
        "status is 'finished'",
    ):
        assert words in found


def test_missing_tables_and_columns_come_at_once(place):
    block_year, copy, _ = place
    edit(copy, "DROP TABLE tasks")
    edit(copy, "ALTER TABLE segments RENAME COLUMN evidence TO proof")
    edit(copy, "UPDATE about SET annotator = 'A02'")
    found = refused(block_year, copy)
    assert "without table tasks, column evidence of segments; annotator in the table about is 'A02'" in found


def test_further_layers_and_rows_that_are_no_segments(place):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    edit(copy, "CREATE TABLE notes (fid INTEGER PRIMARY KEY, text TEXT)")
    edit(copy, "CREATE VIEW seen AS SELECT * FROM segments")
    assert checkin(block_year.user, copy).counts["unsure"] == 1
    edit(copy, "INSERT INTO segments (label, edited) VALUES ('mining', 5)")
    edit(copy, "INSERT INTO segments (key, label) VALUES (?, 'mining')", b"\xff\xfe")
    assert "rows " in refused(block_year, copy)


def test_letters_that_end_lines_elsewhere_do_not_freeze_the_block(place):
    block_year, copy, _ = place
    for fid, letter in enumerate(("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n"), 1):
        label(copy, fid, "unsure", now() - DAY + 10_000 * fid, note=f"a{letter}b")
    checkin(block_year.user, copy)
    assert {event.note for event in block_year.events()} == {f"a{letter}b" for letter in "\u2028\u2029\x85\x0b\x0c\x1c\r\n"}
    assert checkin(block_year.user, copy).checked_in_before == 8
    assert (decide_again(block_year)["label"] == -1).sum() == 8


def test_what_is_kept_restores_a_damaged_event_file(place):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    checkin(block_year.user, copy)
    correct(copy, 2, "unsure")
    found = checkin(block_year.user, copy)
    whole = found.file.read_bytes()
    found.file.write_bytes(whole[:40])
    assert str(found.file) in refused(block_year, copy)
    found.file.rename(found.file.with_suffix(".damaged"))
    assert checkin(block_year.user, found.kept).file == found.file
    assert found.file.read_bytes() == whole


# --- files and disks ------------------------------------------------------------------------------------------------------


def test_pipes_folders_and_loops_in_the_place_of_files(place, tmp_path):
    block_year, copy, _ = place
    os.mkfifo(tmp_path / "2016-1.gpkg")
    (tmp_path / "loop.gpkg").symlink_to(tmp_path / "loop.gpkg")
    assert refused(block_year, tmp_path / "2016-1.gpkg") == "something that is no file"
    assert refused(block_year, tmp_path) == "something that is no file"
    assert refused(block_year, tmp_path / "loop.gpkg") == "no such file"
    os.mkfifo(copy.with_name(copy.name + "-journal"))
    assert refused(block_year, copy) == "2016-1.gpkg-journal is no file"
    copy.with_name(copy.name + "-journal").unlink()
    folder = block_year.user / "events/2016/1"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "x.jsonl")
    assert "x.jsonl: something that is no file" in refused(block_year, copy)


def test_a_copy_that_was_left_half_saved_is_to_be_opened_in_qgis(place):
    """The advice used to be to check out again, which loses the edits."""
    block_year, copy, _ = place
    script = f"""
        import os, sqlite3
        file = sqlite3.connect({str(copy)!r}, isolation_level=None)
        for name, size in (("ST_IsEmpty", 1), ("ST_MinX", 1), ("ST_MaxX", 1), ("ST_MinY", 1), ("ST_MaxY", 1)):
            file.create_function(name, size, lambda shape: 0 if shape else 1)
        file.execute("PRAGMA cache_size = 1")
        file.execute("PRAGMA cache_spill = 1")
        file.execute("BEGIN")
        file.execute("UPDATE segments SET label = 'unsure', note = ?", ["x" * 5000])
        os._exit(9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert copy.with_name(copy.name + "-journal").stat().st_size > 0
    with pytest.raises(UserError) as raised:
        checkin(block_year.user, copy)
    assert "a program was stopped while it saved" in raised.value.found
    assert "open it once in QGIS" in raised.value.do
    assert "check out again" not in raised.value.do
    with contextlib.closing(sqlite3.connect(copy)) as opened:
        opened.execute("SELECT count(*) FROM segments").fetchall()
    assert checkin(block_year.user, copy).events == ()


@pytest.mark.parametrize(
    ("call", "number"), [("fsync", errno.ENOSPC), ("replace", errno.EDQUOT), ("link", errno.EROFS), ("mkdir", errno.EACCES)]
)
def test_a_full_disk_at_any_step_is_told_and_the_next_check_in_completes_it(place, monkeypatch, number, call):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    real = getattr(os, call)

    def fails(*args, **more):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        if call == "link":
            patch.setattr(os, "rename", fails)
        with pytest.raises(UserError) as raised:
            checkin(block_year.user, copy)
    assert os.strerror(number) in raised.value.found
    assert getattr(os, call) is real
    assert not list(block_year.user.glob("events/2016/1/*.jsonl"))
    assert checkin(block_year.user, copy).counts["unsure"] == 1
    assert len(block_year.events()) == 1


def test_a_full_disk_during_the_snapshot(place, monkeypatch):
    block_year, copy, _ = place

    class Full(sqlite3.OperationalError):
        sqlite_errorname = "SQLITE_FULL"

    def connect(*args, **more):
        raise Full("database or disk is full")

    monkeypatch.setattr("smallmines.annotation.copy_content.sqlite3.connect", connect)
    with pytest.raises(UserError, match="database or disk is full") as raised:
        checkin(block_year.user, copy)
    assert raised.value.do.startswith("free some disk space")


def test_a_damaged_copy_is_named(place):
    block_year, copy, _ = place
    content = bytearray(copy.read_bytes())
    for size in (len(content) // 2, 5000, 10, 0):
        copy.write_bytes(content[:size])
        refused(block_year, copy)
    content[8192:60000] = b"\xaa" * (60000 - 8192)
    copy.write_bytes(content)
    refused(block_year, copy)


def test_a_table_of_features_that_cannot_be_read_does_not_stop_a_check_in(place, monkeypatch):
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    (block_year.results / "segments/2016/1/features.parquet").write_bytes(b"PAR1")
    monkeypatch.chdir(block_year.root)
    assert checkin(block_year.user, copy, _keys("made")).counts["unsure"] == 1


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.heavy)])
def test_killed_at_any_call_the_old_or_the_new_state_is_there(place, stride):
    """Ends the process at its system calls that write, in turn."""
    block_year, copy, _ = place
    correct(copy, 1, "unsure")
    script = """
        import os, sys
        from pathlib import Path
        from smallmines.annotation.checkin import checkin
        left = int(sys.argv[3])
        def counted(real):
            def call(*args, **more):
                global left
                left -= 1
                if left == 0:
                    os._exit(9)
                return real(*args, **more)
            return call
        for name in ("fsync", "replace", "link", "unlink", "mkdir", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        checkin(Path(sys.argv[1]), Path(sys.argv[2]))
    """
    ends, step = [], 1 - stride
    while not ends or ends[-1] == 9:
        step += stride
        trial = block_year.user.with_name("trial")
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(block_year.user, trial)
        path = trial / copy.relative_to(block_year.user)
        process = os.fork()
        if process == 0:
            sys.argv = ["", str(trial), str(path), str(step)]
            exec(compile(textwrap.dedent(script), "child", "exec"), {"__name__": "child"})
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        files = sorted((trial / "events/2016/1").glob("*.jsonl"))
        assert len(read_events(files)) in (0, 1)
        checkin(trial, path)
        assert len(read_events(sorted((trial / "events/2016/1").glob("*.jsonl")))) == 1
    assert ends[-1] == 0
    assert ends.count(9) * stride >= 10
