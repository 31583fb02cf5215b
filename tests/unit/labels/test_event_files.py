"""Events: files that are only added, reading with file and line, and one winner whatever the order."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re

import pytest

from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.labels.event_files import WITHDRAWN, Event, read_events, standing, write_events

EVENT = Event(2016, "2", 2**63 + 11, 600000.0, 700000.0, "mining", "corrected", "ama", "2026-01-31T12:00:00Z")


def event(**changes):
    return dataclasses.replace(EVENT, **changes)


def named(folder, text):
    """Write a file with the name that a check-in with this content has."""
    path = folder / f"20260101T000000Z-ama-{digest(text)[:8]}.jsonl"
    path.write_bytes(text.encode())
    return path


def test_a_file_is_named_after_time_annotator_and_content_and_reads_back(tmp_path):
    later = event(key=5, time="2026-02-01T08:00:00+00:00", note="möglich")
    path = write_events(tmp_path / "events", [later, EVENT])
    assert path.name.startswith("20260201T080000Z-ama-")
    assert path.suffix == ".jsonl"
    assert read_events([path]) == [EVENT, later]
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [2**63 + 11, 5]


def test_the_same_check_in_again_changes_nothing(tmp_path):
    path = write_events(tmp_path, [EVENT, event(key=5)])
    before = path.stat()
    assert write_events(tmp_path, [event(key=5), EVENT, EVENT]) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_is_never_overwritten(tmp_path):
    path = write_events(tmp_path, [EVENT])
    path.write_text("edited\n")
    with pytest.raises(UserError, match="other content"):
        write_events(tmp_path, [EVENT])
    assert path.read_text() == "edited\n"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("events", [[], [EVENT, event(annotator="kofi")], [EVENT, event(year=2022)], [EVENT, event(block="3")]])
def test_a_check_in_has_one_annotator_year_and_block(tmp_path, events):
    with pytest.raises(UserError, match="one annotator, year and block"):
        write_events(tmp_path, events)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ("[]", "no JSON object"),
        ("{}", "no annotator, block, key"),
        (json.dumps(dataclasses.asdict(EVENT) | {"colour": "red"}), "unknown colour"),
        (json.dumps(dataclasses.asdict(EVENT) | {"label": "mine"}), "label is 'mine'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"provenance": "manual"}), "provenance is 'manual'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"key": -1}), "key is -1"),
        (json.dumps(dataclasses.asdict(EVENT) | {"key": 1.5}), "key is 1.5"),
        (json.dumps(dataclasses.asdict(EVENT) | {"year": True}), "year is True"),
        (json.dumps(dataclasses.asdict(EVENT) | {"time": "2026-01-31T12:00:00"}), "time is"),
        (json.dumps(dataclasses.asdict(EVENT) | {"time": "2026-01-31T12:00:00+01:00"}), "time is"),
        (json.dumps(dataclasses.asdict(EVENT) | {"time": "yesterday"}), "yesterday"),
        (json.dumps(dataclasses.asdict(EVENT) | {"annotator": "../x"}), "annotator is"),
        (json.dumps(dataclasses.asdict(EVENT) | {"confidence": "very"}), "confidence is 'very'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"blind": 1}), "blind is 1"),
        (json.dumps(dataclasses.asdict(EVENT) | {"x": float("nan")}), "the point is"),
        (json.dumps(dataclasses.asdict(EVENT)).replace("600000.0", "1" * 400), "too large"),
        (json.dumps(dataclasses.asdict(EVENT)).replace("600000.0", "1" * 5000), "limit"),
        (json.dumps(dataclasses.asdict(EVENT) | {"probability": 7}), "probability is 7.0"),
        (json.dumps(dataclasses.asdict(EVENT) | {"footprint": "1 2"}), "footprint is '1 2'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"footprint": "1 2 999999999999"}), "footprint is"),
        (json.dumps(dataclasses.asdict(EVENT) | {"note": "\ud800"}), "note has half a character"),
        (json.dumps(dataclasses.asdict(EVENT) | {"annotator": "a" * 41}), "annotator is"),
        (json.dumps(dataclasses.asdict(EVENT) | {"version": 3}), "a later version of the pipeline"),
        (json.dumps(dataclasses.asdict(EVENT) | {"version": "2"}), "version is '2'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"version": 1}), "unknown edited, look, revision, tool"),
        (json.dumps(dataclasses.asdict(EVENT) | {"tool": "excel"}), "tool is 'excel'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"look": "none"}), "look is 'none'"),
        (json.dumps(dataclasses.asdict(EVENT) | {"edited": "2026-01-31"}), "edited is '2026-01-31'"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path, line, words):
    path = named(tmp_path, json.dumps(dataclasses.asdict(EVENT)) + "\n" + line + "\n")
    with pytest.raises(UserError) as raised:
        read_events([path])
    assert f"{path.name}, line 2" in str(raised.value)
    assert words in str(raised.value)
    assert len(str(raised.value).split("\n")) == 3


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"b\.jsonl"):
        read_events([tmp_path / "b.jsonl"])
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"c\.jsonl"):
        read_events([tmp_path / "c.jsonl"])


# --- what happens to files ------------------------------------------------------------------------------------------------


LETTERS = ["\u2028", "\u2029", "\x85", *map(chr, range(32)), "\r\n", "\ufeff", "\U0001f600"]
"""What `str.splitlines` and others take for the end of a line or a file, and others."""


@pytest.mark.parametrize("letter", LETTERS)
def test_any_letter_of_a_note_comes_back(tmp_path, letter):
    noted = event(time="2026-02-01T00:00:00Z", note=f"pit{letter}spoil", reason=letter, evidence=f"{letter}map")
    assert read_events([write_events(tmp_path, [noted, EVENT])]) == [EVENT, noted]


def keep_copy(user, path):
    kept = user / "archive/2016/2" / f"{path.stem}.gpkg"
    kept.parent.mkdir(parents=True)
    kept.touch()
    return kept


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: b"", "an empty file"),
        (lambda whole: b"\n \n", "an empty file"),
        (lambda whole: whole[: whole.index(b"\n") + 1], "other content than the hash"),
        (lambda whole: whole[:-20], "other content than the hash"),
        (lambda whole: whole + whole[: whole.index(b"\n") + 1], "other content than the hash"),
        (lambda whole: whole.replace(b"mining", b"unsure", 1), "other content than the hash"),
        (lambda whole: bytes(len(whole)), "other content than the hash"),
        (lambda whole: b"\xff\xfe" + whole, "can't decode"),
    ],
)
def test_a_damaged_file_is_refused_with_the_way_to_restore_it(tmp_path, damage, words):
    path = write_events(tmp_path / "events/2016/2", [EVENT, event(key=5)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as raised:
        read_events([path])
    assert f"{path}: {words}" in raised.value.found or words in raised.value.found
    assert raised.value.do == "restore it from a backup or another computer"
    kept = keep_copy(tmp_path, path)
    with pytest.raises(UserError, match=f"smallmines labels checkin --config … {kept}"):
        read_events([path])


def test_line_ends_of_another_system_are_no_damage(tmp_path):
    path = write_events(tmp_path, [EVENT, event(key=5)])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_events([path])) == 2


def test_pipes_folders_loops_and_foreign_names_are_named(tmp_path):
    whole = write_events(tmp_path, [EVENT])
    pipe, folder, loop, alien = (tmp_path / f"x-{number}2345678.jsonl" for number in range(4))
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    for path in (pipe, folder, loop):
        with pytest.raises(UserError, match=path.name):
            read_events([whole, path])
    alien = tmp_path / "copy of events.jsonl"
    alien.write_bytes(whole.read_bytes())
    with pytest.raises(UserError, match=f"copy of events-{whole.stem[-8:]}.jsonl"):
        read_events([alien])


def test_a_file_system_without_hard_links_and_a_full_disk(tmp_path, monkeypatch):
    def unsupported(*paths):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    path = write_events(tmp_path, [EVENT])
    assert read_events([path]) == [EVENT]
    assert write_events(tmp_path, [EVENT]) == path

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_events(tmp_path, [event(key=9)])
    assert list(tmp_path.iterdir()) == [path]


def test_a_check_in_is_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    """The file is forced to the disk before it has its name, and all folders up to the run's after that."""
    order = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append(os.readlink(f"/proc/self/fd/{descriptor}")), fsync(descriptor))[1])
    monkeypatch.setattr(os, "link", lambda source, target: (order.append("link"), link(source, target))[1])
    path = write_events(tmp_path / "events/2016/2", [EVENT])
    assert order[0].endswith(f".{path.name}.{os.getpid()}")
    assert order[1:] == ["link", *(str(tmp_path / name) for name in ("events/2016/2", "events/2016", "events")), str(tmp_path)]


# --- versions -------------------------------------------------------------------------------------------------------------

FIRST = (
    '{"annotator": "ama", "base": "", "blind": false, "block": "2", "confidence": "", "evidence": "", "evidence_date": "", '
    '"footprint": "", "key": 9223372036854775819, "label": "mining", "note": "möglich", "predicted": "", "probability": -1.0, '
    '"provenance": "corrected", "reason": "", "time": "2026-01-31T12:00:00Z", "x": 600000.0, "y": 700000.0, "year": 2016}\n'
)


def test_files_of_version_1_are_read_as_before(tmp_path):
    """Name, hash and id are those that version 1 gave to this event."""
    path = tmp_path / "20260131T120000Z-ama-2e912b65.jsonl"
    path.write_text(FIRST, encoding="utf-8")
    (old,) = read_events([path])
    assert old == event(note="möglich", version=1)
    assert old.hash == "cf1bc048ad586a31"
    assert write_events(tmp_path / "again", [old]).read_bytes() == path.read_bytes()
    assert write_events(tmp_path / "again", [old]).name == path.name
    new = write_events(tmp_path, [event(note="möglich", tool="qgis", look="single", revision=3)])
    assert [one.version for one in read_events([path, new])] == [2]  # the same decision counts once
    with pytest.raises(ValueError, match="withdrawn"):
        event(label=WITHDRAWN, version=1)


@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\x85"])
def test_files_of_version_1_that_froze_a_block_are_read_again(tmp_path, letter):
    path = named(tmp_path, FIRST.replace("möglich", f"a{letter}b"))
    assert [old.note for old in read_events([path])] == [f"a{letter}b"]


def test_an_address_that_version_1_took_for_a_code_becomes_a_code(tmp_path):
    path = named(tmp_path, FIRST.replace('"ama"', '"kofi@example.org"'))
    (old,) = read_events([path])
    assert re.fullmatch("person-[0-9a-f]{8}", old.annotator)
    with pytest.raises(ValueError, match="annotator is"):
        event(annotator="kofi@example.org")


def test_the_latest_decision_of_each_stands_unless_it_is_withdrawn():
    def at(day, **changes):
        return event(time=f"2026-01-{day:02d}T00:00:00Z", **changes)

    first, second, back = at(1), at(2, label="unsure"), at(3, label=WITHDRAWN)
    other, judge, judged = at(1, annotator="kofi"), at(4, provenance="adjudicated", annotator="J01"), at(5, provenance="adjudicated")
    assert standing([second, first]) == [second]
    assert standing([back, second, other, first]) == [other]
    assert standing([back, at(4), other]) == [other, at(4)]
    assert standing([judge, judged, other]) == [other, judged]
    back = at(6, provenance="adjudicated", label=WITHDRAWN)
    assert standing([judged, back, other]) == [other]
    assert standing([judge, judged, back, other]) == [other, judge]  # a person takes back what is their own


@pytest.mark.parametrize("day", ["9999-12-31", "2016-02-01", "0001-01-01"])
def test_the_doubt_of_an_event_of_the_last_day_of_the_calendar(tmp_path, day):
    """Earlier versions took edits of the year 9999 in; their files must stay readable to the report on labels."""
    last = event(time="9999-12-31T23:59:59Z", evidence_date=day)
    (read,) = read_events([write_events(tmp_path, [last])])
    assert ("before there were satellite images" in read.doubt) == (day == "0001-01-01")
    assert bool(read.doubt) == (day == "0001-01-01")
