"""Events: files that are only added, reading with file and line, and one winner whatever the order."""

from __future__ import annotations

import dataclasses
import json

import pytest

from smallmines.core.errors import UserError
from smallmines.labels.event_files import Event, read_events, write_events

EVENT = Event(2016, "2", 2**63 + 11, 600000.0, 700000.0, "mining", "corrected", "ama", "2026-01-31T12:00:00Z")


def event(**changes):
    return dataclasses.replace(EVENT, **changes)


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
    with pytest.raises(FileExistsError):
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
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path, line, words):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(EVENT)) + "\n" + line + "\n")
    with pytest.raises(UserError) as raised:
        read_events([path])
    assert "a.jsonl, line 2" in str(raised.value)
    assert words in str(raised.value)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"b\.jsonl"):
        read_events([tmp_path / "b.jsonl"])
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"c\.jsonl"):
        read_events([tmp_path / "c.jsonl"])
