"""Read and write events: decisions of people about segments, one immutable file per check-in, one JSON object per line.

An event refers to a segment by geometry (content key and interior point), never by row number, so that it stays valid when the
segments are renumbered; its footprint lets it move to a new segmentation (`transfer`). Files are only ever added. Their order does
not matter. The name of a file ends with a hash of its content, which is checked on reading. docs/labelling.md describes the format.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import digest, flat, sync
from smallmines.core.layout import PixelSample, UserFolder

VERSION = 2
"""Version of the events that are written. Version 1 has no fields version, tool, look, edited and revision, and no label withdrawn."""

LABELS = {"mining": 1, "not_mining": 0, "unsure": -1}
"""Labels of a decision, and the number of each in tables (-1: open)."""

WITHDRAWN = "withdrawn"
"""Label of an event that takes the person's earlier decision back: the person has not decided about the segment."""

RANKS = {"imported": 0, "confirmed": 1, "corrected": 1, "adjudicated": 2}
"""Provenances of events; a higher rank wins, whatever the time."""

PROVENANCE_OF: dict[PixelSample, str] = {
    "accuracy": "reference",
    "prevalence": "prevalence",
    "change_before": "change_before",
    "change_after": "change_after",
}
"""Provenances of decisions about pixels of a sample. They never become labels and lie in the folder of their kind, not in `events/`."""

CONFIDENCES = ("", "sure", "likely", "guess")
"""Confidence of a person in a decision."""

TOOLS = ("", "qgis", "browser", "import")
"""Programs with which decisions are made; empty where unknown. qgis: a working copy, whatever program edited it."""

LOOKS = ("", "single", "bulk", "task")
"""How a decision was made. single: the segment by itself. bulk: together with others within a second. task: by the status of its task,
as everything left in it. Empty where unknown."""

FIRST_EVIDENCE = dt.date(1972, 7, 23)
"""Launch of Landsat 1: evidence of an earlier day is most likely an empty date, which programs show as 1970-01-01."""

ANNOTATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""Codes of annotators. They are part of file names and published, so they are no paths and no e-mail addresses."""

FOOTPRINT = re.compile(r"(-?\d{1,9} -?\d{1,9} [1-9]\d{0,5}(\|-?\d{1,9} -?\d{1,9} [1-9]\d{0,5})*)?")
"""Form of a footprint, see `footprint`."""

NAME = re.compile(r".*-([0-9a-f]{8})\.jsonl")
"""Names of event files; the group is the hash of the content."""


@dataclass(frozen=True)
class Event:
    """One person's decision about one segment.

    Attributes:
        year, block: of the segment.
        key: content key of the segment (uint64).
        x, y: interior point of the segment in the grid's CRS, in m.
        label: mining | not_mining | unsure; withdrawn takes the person's decision back.
        provenance: corrected | confirmed | adjudicated | imported; reference in the accuracy sample, prevalence in the prevalence
            sample. Of `withdrawn`: that of the decision that is taken back.
        annotator: code of the person; letters, digits and `_.-`.
        time: of the decision, ISO 8601 with UTC offset zero. The times of one person's events in a block differ.
        reason, evidence, note: free text.
        evidence_date: day of the evidence (an image's date), ISO 8601.
        confidence: sure | likely | guess.
        predicted: class that the assistant predicted: mining | not_mining.
        probability: of mining by the assistant; -1 where unknown.
        blind: part of the blind overlap: the person did not know the decisions of others.
        base: id of the working copy's base.
        footprint: the segment's pixels, see `footprint`.
        version: of the format; 1 where the file does not say.
        tool: qgis | browser | import.
        look: single | bulk | task, see `LOOKS`.
        edited: time in the working copy where `time` was moved behind the person's earlier events; else empty.
        revision: number of edits that the working copy had seen; -1 where unknown.
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
    version: int = VERSION
    tool: str = ""
    look: str = ""
    edited: str = ""
    revision: int = -1

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            ValueError: naming the field, its value and the allowed values.
        """
        for name, types in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise ValueError(f"{name} is {value!r}, not {types[0].__name__}")
        for problem in (*self._wrong_numbers(), *self._wrong_texts()):
            raise ValueError(problem)

    def _wrong_numbers(self) -> Iterator[str]:
        """Describe the numbers that are not as they should be."""
        if self.version not in (1, VERSION):
            yield f"version is {self.version}; this version of the pipeline reads 1 and {VERSION}"
        if not 0 <= self.key < 2**64:
            yield f"key is {self.key}, not a number of 64 bits"
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            yield f"the point is ({self.x}, {self.y})"
        if not (self.probability == -1 or 0 <= self.probability <= 1):
            yield f"probability is {self.probability}, not a share or -1"

    def _wrong_texts(self) -> Iterator[str]:
        """Describe the texts that are not as they should be."""
        if self.label not in LABELS and not (self.label == WITHDRAWN and self.version > 1):
            yield f"label is {self.label!r}, not one of {', '.join(LABELS)}"
        for name, values in (("confidence", CONFIDENCES), ("tool", TOOLS), ("look", LOOKS)):
            if getattr(self, name) not in values:
                yield f"{name} is {getattr(self, name)!r}, not one of {', '.join(values[1:])}, or empty"
        if self.provenance not in (allowed := (*RANKS, *PROVENANCE_OF.values())):
            yield f"provenance is {self.provenance!r}, not one of {', '.join(allowed)}"
        if not ANNOTATOR.fullmatch(self.annotator):
            yield f"annotator is {self.annotator!r}; at most 40 letters, digits and _ . - only"
        for name in ("time", "edited") if self.edited else ("time",):
            if dt.datetime.fromisoformat(getattr(self, name)).utcoffset() != dt.timedelta(0):
                yield f"{name} is {getattr(self, name)!r}, not ISO 8601 in UTC (2026-01-31T12:00:00Z)"
        if not FOOTPRINT.fullmatch(self.footprint):
            yield f"footprint is {self.footprint[:40]!r}, not runs `y x n` of pixels"
        for name, types in _TYPES.items():
            if types == (str,) and getattr(self, name).encode(errors="replace").decode() != getattr(self, name):
                yield f"{name} has half a character (a surrogate without its other half)"

    @property
    def instant(self) -> dt.datetime:
        """Time of the event."""
        return dt.datetime.fromisoformat(self.time)

    @property
    def stamp(self) -> dt.datetime:
        """Time of the edit in the working copy."""
        return dt.datetime.fromisoformat(self.edited or self.time)

    @property
    def doubt(self) -> str:
        """What is doubtful about the day of the evidence; empty where nothing is."""
        day = day_of(self.evidence_date)
        if day is None:
            return f"evidence_date is {self.evidence_date!r}, not a day as 2022-01-31" if self.evidence_date else ""
        if (day - self.stamp.date()).days > 1:  # no day is added: the last one of the calendar has no next
            return f"the evidence is of {day}, later than the decision"
        return f"the evidence is of {day}, before there were satellite images: is the date empty?" if day < FIRST_EVIDENCE else ""

    @property
    def layer(self) -> str:
        """Who decides: a person, or all who adjudicate or import as one. The latest event of each about a segment counts."""
        return self.provenance if RANKS.get(self.provenance, 1) != 1 else self.annotator

    @property
    def content(self) -> dict[str, Any]:
        """Fields by name, as they are written."""
        return {name: getattr(self, name) for name in (_TYPES if self.version > 1 else _FIRST)}

    @cached_property
    def hash(self) -> str:
        """Digest of the decision (the fields of version 1) as sixteen hex digits: its id, and the last tie-break."""
        return digest({name: getattr(self, name) for name in _FIRST})

    @property
    def order(self) -> tuple[dt.datetime, str]:
        """Sort key of the events of one person about one segment: time, then content. The last event wins."""
        return self.instant, self.hash


_NUMBERS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("year", "key", "version", "revision"), (int,)),
    **dict.fromkeys(("x", "y", "probability"), (float, int)),
    "blind": (bool,),
}
_TYPES: dict[str, tuple[type, ...]] = {field.name: _NUMBERS.get(field.name, (str,)) for field in fields(Event)}
_FIRST = tuple(_TYPES)[: tuple(_TYPES).index("version")]
_REQUIRED = frozenset(field.name for field in fields(Event) if field.default is MISSING)


def day_of(text: str) -> dt.date | None:
    """Parse a day as 2022-01-31; None where it is none."""
    try:
        return dt.date.fromisoformat(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        return None


def standing(events: Iterable[Event]) -> list[Event]:
    """Return the latest decision of each person (of all who adjudicate as one) about each segment, without those that they withdrew."""
    own = {(event.layer, event.annotator, event.key): event for event in sorted(events, key=lambda event: event.order)}
    left = sorted((event for event in own.values() if event.label != WITHDRAWN), key=lambda event: event.order)
    return sorted({(event.layer, event.key): event for event in left}.values(), key=lambda event: event.order)


def write_events(folder: Path, events: Sequence[Event]) -> Path:
    """Add one check-in as `<utc>-<annotator>-<hash8>.jsonl`; `utc` is the time of its latest event. On return it is on the disk.

    Args:
        folder: `resources/user/<run>/events/<year>/<block>`, created where it is missing.
        events: of one annotator, year and block; any order gives the same file.

    Returns:
        The file. The same check-in again changes nothing and returns the existing file.

    Raises:
        UserError: no events, or of several annotators, years or blocks; or a file of this name has other content (it was edited, or
            eight hex digits collide); nothing is overwritten.
    """
    path = Path(folder) / f"{file_name(events)}.jsonl"
    text = _text(events).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text)
        sync(beside)
        try:
            os.link(beside, path)  # unlike a rename, a link never replaces a file, and the file appears whole
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError from None
            beside.rename(path)
    except FileExistsError:
        if not path.is_file() or path.read_bytes() != text:
            raise _damaged(path, "a file of this name with other content") from None
    finally:
        beside.unlink(missing_ok=True)
    for changed in (path.parent, *path.parent.parents[:3]):
        sync(changed)
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
    """Read the events of some files, sorted by time and content; the same decision in two files counts once.

    Raises:
        UserError: naming the file, where it cannot be read, is empty, or has other content than its name says; and the line, where it is
            not an event.
    """
    events: dict[str, Event] = {}
    for path in paths:
        for event in _read_file(Path(path)):
            if event.hash not in events or event.version > events[event.hash].version:
                events[event.hash] = event
    return sorted(events.values(), key=lambda event: event.order)


def _read_file(path: Path) -> list[Event]:
    if not path.is_file():  # a pipe would be waited for
        raise _damaged(path, "something that is no file" if path.exists() else "no such file")
    try:
        # only line feeds end lines: JSON leaves U+2028, U+0085 and their like in texts; CRLF is what a transfer may have made of them
        text = path.read_bytes().decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, flat(error)) from None
    if not text.strip():
        raise _damaged(path, "an empty file")
    named = NAME.fullmatch(path.name)
    if not named:
        raise UserError(
            "event files as a check-in names them, <time>-<annotator>-<hash>.jsonl",
            f"{path}",
            f"move it away if it is none; else name it {path.stem}-{digest(text)[:8]}.jsonl",
        )
    if digest(text)[:8] != named[1]:
        raise _damaged(path, f"other content than the hash in its name says ({digest(text)[:8]}): the file was cut or edited")
    return [_event(line, f"{path}, line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _damaged(path: Path, problem: str) -> UserError:
    """Return the error about an event file that is not as it was written, with the way to restore it."""
    do = "restore it from a backup or another computer"
    if len(path.parents) > 3:
        user, place = UserFolder(path.parents[3]), (path.parts[-3], path.parts[-2], path.stem)
        copy, edits = user.archived_copy(*place), user.archived_edits(*place)
        if copy.is_file():
            do += f"; or move it away and check in the working copy that was kept of it: smallmines labels checkin --config … {copy}"
        elif edits.is_file():
            do += f"; or move it away and label again in the browser what {edits} lists"
    return UserError("an event file as it was written", f"{path}: {problem}", do)


def _event(line: str, where: str) -> Event:
    try:
        values: Any = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        version = values.setdefault("version", 1)
        allowed = _TYPES if version != 1 else {*_FIRST, "version"}
        missing, unknown = sorted(_REQUIRED - set(values)), sorted(set(values) - set(allowed))
        if isinstance(version, int) and version > VERSION:
            raise ValueError(f"version {version}, written by a later version of the pipeline")
        if missing or unknown:
            raise ValueError("; ".join(f"{word} {', '.join(names)}" for word, names in (("no", missing), ("unknown", unknown)) if names))
        numbers = {name: float(values[name]) for name in ("x", "y", "probability") if type(values.get(name)) is int}
        return Event(**values | numbers | {"annotator": _code_of(values["annotator"])})
    except (ValueError, OverflowError, RecursionError) as error:
        problem = f"{where}: {flat(error)}"
        raise UserError("one event as a JSON object on each line", problem, "restore the file from a backup or another computer") from None


def _code_of(annotator: Any) -> Any:
    """Replace an e-mail address, which version 1 took as a code, by a code: addresses are never published."""
    return f"person-{digest(annotator)[:8]}" if isinstance(annotator, str) and "@" in annotator else annotator
