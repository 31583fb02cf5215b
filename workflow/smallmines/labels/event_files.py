"""Read and write events: decisions of people about segments, one immutable file per check-in, one JSON object per line.

An event refers to a segment by geometry (content key and interior point), never by row number, so that it stays valid when the
segments are renumbered; its footprint lets it move to a new segmentation (`transfer`). Files are only ever added. Their names and
their order do not matter.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import digest

LABELS = {"mining": 1, "not_mining": 0, "unsure": -1}
"""Labels of an event, and the number of each in tables (-1: open)."""

RANKS = {"imported": 0, "confirmed": 1, "corrected": 1, "adjudicated": 2}
"""Provenances of events; a higher rank wins, whatever the time."""

REFERENCE = "reference"
"""Provenance of decisions about pixels of the accuracy sample. They never become labels and lie in `accuracy/`, not in `events/`."""

CONFIDENCES = ("", "sure", "likely", "guess")
"""Confidence of a person in a decision."""

ANNOTATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
"""Codes of annotators, which are part of file names."""


@dataclass(frozen=True)
class Event:
    """One person's decision about one segment.

    Attributes:
        year, block: of the segment.
        key: content key of the segment (uint64).
        x, y: interior point of the segment in the grid's CRS, in m.
        label: mining | not_mining | unsure.
        provenance: corrected | confirmed | adjudicated | imported; reference in the accuracy sample.
        annotator: code of the person; letters, digits and `_.@-`.
        time: of the decision, ISO 8601 with UTC offset zero.
        reason, evidence, note: free text.
        evidence_date: day of the evidence (an image's date), ISO 8601.
        confidence: sure | likely | guess.
        predicted: class that the assistant predicted: mining | not_mining.
        probability: of mining by the assistant; -1 where unknown.
        blind: part of the blind overlap: the person did not know the decisions of others.
        base: id of the working copy's base.
        footprint: the segment's pixels, see `footprint`.
    """

    year: int
    block: str
    key: int
    x: float
    y: float
    label: str
    provenance: str
    annotator: str
    time: str
    reason: str = ""
    evidence: str = ""
    note: str = ""
    evidence_date: str = ""
    confidence: str = ""
    predicted: str = ""
    probability: float = -1.0
    blind: bool = False
    base: str = ""
    footprint: str = ""

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            ValueError: naming the field, its value and the allowed values.
        """
        for name, types in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise ValueError(f"{name} is {value!r}, not {types[0].__name__}")
        if not 0 <= self.key < 2**64:
            raise ValueError(f"key is {self.key}, not a number of 64 bits")
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError(f"the point is ({self.x}, {self.y})")
        if self.label not in LABELS:
            raise ValueError(f"label is {self.label!r}, not one of {', '.join(LABELS)}")
        if self.confidence not in CONFIDENCES:
            raise ValueError(f"confidence is {self.confidence!r}, not one of {', '.join(CONFIDENCES[1:])}, or empty")
        if self.provenance not in (*RANKS, REFERENCE):
            raise ValueError(f"provenance is {self.provenance!r}, not one of {', '.join((*RANKS, REFERENCE))}")
        if not ANNOTATOR.fullmatch(self.annotator):
            raise ValueError(f"annotator is {self.annotator!r}; letters, digits and _ . @ - only")
        if self.instant.utcoffset() != dt.timedelta(0):
            raise ValueError(f"time is {self.time!r}, not ISO 8601 in UTC (2026-01-31T12:00:00Z)")

    @property
    def instant(self) -> dt.datetime:
        """Time of the event."""
        return dt.datetime.fromisoformat(self.time)

    @property
    def content(self) -> dict[str, Any]:
        """Fields by name."""
        return {name: getattr(self, name) for name in _TYPES}

    @cached_property
    def hash(self) -> str:
        """Digest of the event's content as sixteen hex digits: its id, and the last tie-break."""
        return digest(self.content)

    @property
    def order(self) -> tuple[dt.datetime, str]:
        """Sort key of the events of one person about one segment: time, then content. The last event wins."""
        return self.instant, self.hash


_NUMBERS: dict[str, tuple[type, ...]] = {"year": (int,), "key": (int,), "blind": (bool,)} | dict.fromkeys(
    ("x", "y", "probability"), (float, int)
)
_TYPES: dict[str, tuple[type, ...]] = {field.name: _NUMBERS.get(field.name, (str,)) for field in fields(Event)}
_FIELDS = frozenset(_TYPES)
_REQUIRED = frozenset(field.name for field in fields(Event) if field.default is MISSING)


def write_events(folder: Path, events: Sequence[Event]) -> Path:
    """Add one check-in as `<utc>-<annotator>-<hash8>.jsonl`; `utc` is the time of its latest event.

    Args:
        folder: `resources/user/<run>/events/<year>/<block>`, created where it is missing.
        events: of one annotator, year and block; any order gives the same file.

    Returns:
        The file. The same check-in again changes nothing and returns the existing file.

    Raises:
        UserError: no events, or of several annotators, years or blocks.
        FileExistsError: another check-in has the same name (a collision of eight hex digits); nothing is overwritten.
    """
    path = Path(folder) / f"{file_name(events)}.jsonl"
    text = _text(events)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.link(beside, path)  # unlike a rename, a link never replaces a file, and the file appears whole
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise
    finally:
        beside.unlink(missing_ok=True)
    return path


def file_name(events: Sequence[Event]) -> str:
    """Return the name of a check-in without its suffix: time of its latest event, annotator, digest of the content.

    Raises:
        UserError: no events, or of several annotators, years or blocks.
    """
    sources = sorted({(event.annotator, event.year, event.block) for event in events})
    if len(sources) != 1:
        raise UserError("events of one annotator, year and block", f"{len(events)} events of {sources}", "write each of them separately")
    latest = max(events, key=lambda event: event.order)
    return f"{latest.instant:%Y%m%dT%H%M%SZ}-{latest.annotator}-{digest(_text(events))[:8]}"


def _text(events: Sequence[Event]) -> str:
    """Format one event per line, by time and content."""
    ordered = sorted(set(events), key=lambda event: event.order)
    return "".join(json.dumps(event.content, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n" for event in ordered)


def read_events(paths: Iterable[str | Path]) -> list[Event]:
    """Read the events of some files, sorted by time and content; the same event in two files counts once.

    Raises:
        UserError: naming file and line, where a line is not an event or a file cannot be read.
    """
    events: set[Event] = set()
    for path in paths:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError("a readable event file", f"{path}: {error}", "restore or remove the file, and run again") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                events.add(_event(line, f"{path}, line {number}"))
    return sorted(events, key=lambda event: event.order)


def _event(line: str, where: str) -> Event:
    try:
        values: Any = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        missing, unknown = sorted(_REQUIRED - set(values)), sorted(set(values) - _FIELDS)
        if missing or unknown:
            raise ValueError("; ".join(f"{word} {', '.join(names)}" for word, names in (("no", missing), ("unknown", unknown)) if names))
        numbers = {name: float(values[name]) for name in ("x", "y", "probability") if isinstance(values.get(name), int)}
        return Event(**values | numbers)
    except ValueError as error:
        raise UserError("one event as a JSON object on each line", f"{where}: {error}", "correct the line or remove the file") from None
