"""Turn the answer of a person about a segment into an event: the same rules for working copies and for the browser."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smallmines.annotation.working_copy import About, Kind
from smallmines.labels.event_files import CONFIDENCES, LABELS, PROVENANCE_OF, WITHDRAWN, Event, day_of

CLOCK_TOLERANCE = dt.timedelta(minutes=10)
"""How far an edit may lie in the future of the machine that checks it in. A quartz clock that is never set drifts by up to 20 ppm,
10.5 minutes a year."""

FIRST_EDIT = dt.datetime(2015, 6, 23, tzinfo=dt.UTC)
"""Launch of Sentinel-2A: nobody has labelled its images before. Times in seconds, taken for milliseconds, lie in January 1970."""

BULK = dt.timedelta(seconds=1)
"""Two segments labelled within this time were labelled in bulk. A form takes several clicks a segment; of a bulk edit of 1215 rows, one
SQL statement stamps all with one time, and QGIS 3.22 stamps them at most 41 ms apart (on two busy cores)."""

STEP = dt.timedelta(microseconds=1)


def provenance_of(label: str, prediction: str, kind: Kind) -> str:
    """Return the provenance of a decision."""
    if kind == "adjudication":
        return "adjudicated"
    if kind != "review":
        return PROVENANCE_OF[kind]
    return "confirmed" if label == prediction else "corrected"


def wrong(answer: Mapping[Any, Any], provenance: str) -> Iterator[str]:
    """Say what is wrong with an answer, whose label may be empty.

    Args:
        answer: texts label, confidence, evidence, evidence_date.
    """
    label = answer["label"]
    if label and label not in LABELS:
        yield f"label is {label[:40]!r}, not {', '.join(LABELS)}"
    if label and answer["confidence"] not in CONFIDENCES:
        yield f"confidence is {answer['confidence'][:40]!r}, not {', '.join(CONFIDENCES[1:])}"
    if label in LABELS and label != "unsure" and provenance != "confirmed":
        if not answer["evidence"]:
            yield "a correction without evidence (its own, or its task's)"
        if day_of(answer["evidence_date"]) is None:
            yield f"evidence_date is {answer['evidence_date'][:40]!r}, not a day as 2022-01-31"


def wrong_time(edited: Any, now: dt.datetime) -> str:
    """Return what is wrong with the time of an edit; empty where nothing is."""
    unit = "edited is in milliseconds since 1970 (UTC)"
    if edited is None or edited != edited:
        return f"without the time of the edit ({unit})"
    if not isinstance(edited, int):
        return f"edited is {str(edited)[:40]!r}, not a whole number ({unit})"
    try:
        time = dt.datetime.fromtimestamp(edited / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return f"edited is {edited}, no time of this age ({unit})"
    if time < FIRST_EDIT:
        seconds = FIRST_EDIT.timestamp() <= edited <= (now + CLOCK_TOLERANCE).timestamp()
        return f"edited is {edited}, which is {time:%Y-%m-%d} ({unit}{', this is in seconds' if seconds else ''})"
    if time > now + CLOCK_TOLERANCE:
        clock = f"the future of this computer's clock ({now:%Y-%m-%d %H:%M})"
        return f"edited at {time:%Y-%m-%d %H:%M} UTC, in {clock}; set the clock that is wrong, and edit again"
    return ""


def event_of(answer: Mapping[Any, Any], provenance: str, about: About, tool: str, revision: int) -> Event:
    """Return the event of an answer; without a label it withdraws the decision of this provenance.

    Args:
        answer: key, x, y, label, confidence, reason, evidence, evidence_date, note, edited (ms since 1970), prediction, probability,
            blind, footprint, look.
    """
    evidence = ("evidence", "evidence_date", "confidence") if answer["label"] else ()
    texts: dict[str, Any] = {name: str(answer[name]) for name in ("reason", "note", *evidence)}
    return Event(
        year=about.year,
        block=about.block,
        key=int(answer["key"]),
        x=float(answer["x"]),
        y=float(answer["y"]),
        label=str(answer["label"]) or WITHDRAWN,
        provenance=provenance,
        annotator=about.annotator,
        time=time_text(int(answer["edited"])),
        predicted=str(answer["prediction"]),
        probability=float(answer["probability"]),
        blind=bool(answer["blind"]),
        base=about.base,
        footprint=str(answer["footprint"]),
        tool=tool,
        look=str(answer["look"]),
        revision=revision,
        **texts,
    )


def counts_of(events: Sequence[Event], kind: Kind) -> dict[str, int]:
    """Count events by decision: corrected, confirmed, unsure, adjudicated, reference (about a sample of pixels), withdrawn."""
    counts = dict.fromkeys(("corrected", "confirmed", "unsure", "adjudicated", "reference", WITHDRAWN), 0)
    for event in events:
        decided = "reference" if kind in PROVENANCE_OF else event.provenance
        counts[event.label if event.label in ("unsure", WITHDRAWN) else decided] += 1
    return counts


# --- times ----------------------------------------------------------------------------------------------------------------


def in_order(
    new: Sequence[Event], own: Sequence[Event], floor: dt.datetime | None, limits: tuple[dt.datetime, dt.datetime] | None = None
) -> tuple[list[Event], list[Event]]:
    """Give new events times behind `floor` that strictly increase; return them, and those edited before their segment's last.

    Args:
        new: events in the order in which they were made, as far as it is known.
        own: events of the person that are there already.
        floor: time of the last event that certainly came before; None: there is none.
        limits: first and last time that an edit can have; times outside are of a clock that was wrong.
    """
    taken = {event.instant for event in own}
    last: dict[int, dt.datetime] = {}
    for event in own:
        last[event.key] = max(event.stamp, last.get(event.key, event.stamp))
    moved, late = [], []
    for event in new:
        if event.key in last and event.instant <= last[event.key]:
            late.append(event)
        time = min(max(event.instant, limits[0]), limits[1]) if limits else event.instant
        if floor is not None:
            time = max(time, floor + STEP)
        while time in taken:
            time += STEP
        floor = time
        taken.add(time)
        text = time.isoformat(timespec="milliseconds" if time.microsecond % 1000 == 0 else "microseconds").replace("+00:00", "Z")
        moved.append(event if time == event.instant else dataclasses.replace(event, time=text, edited=event.time))
    return moved, late


def late_warnings(
    moved: Sequence[Event], new: Sequence[Event], late: Sequence[Event], row_of: Mapping[int, int], kind: str = "row"
) -> Iterator[str]:
    """Say which edits have times before the person's last decision, and whether they count."""
    times = {event.key: event.instant for event in moved}
    older = {event.key for event in late}
    back = [event for event in new if event.key not in older and times[event.key] - event.instant > BULK]
    if late:
        text = "edited earlier, by their times, than your last decision about the segment that is checked in"
        counts = [event for event in late if times[event.key] - event.instant > dt.timedelta(0)]
        rest = "the copy shows that they were made after it, so they count; is the clock right?"
        other = "they do not count unless edited again"
        yield f"{named([row_of[event.key] for event in late], kind)}: {text}; {rest if len(counts) == len(late) else other}"
    if back:
        text = "edited before your last check-in, by their times; was the clock set back?"
        yield f"{named([row_of[event.key] for event in back], kind)}: {text}"


def as_stamped(event: Event) -> Event:
    """Return an event with the time that the edit had."""
    return dataclasses.replace(event, time=event.edited, edited="") if event.edited else event


def time_text(milliseconds: int) -> str:
    """Format milliseconds since 1970 as ISO 8601 in UTC."""
    when = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- messages -------------------------------------------------------------------------------------------------------------


def grouped(faults: Sequence[str]) -> list[str]:
    """Join faults `row 5: text` with the same text into one each."""
    groups = defaultdict[tuple[str, str], list[str]](list)
    for fault in faults:
        place, _, text = fault.partition(": ")
        kind, _, number = place.partition(" ")
        groups[(kind, text) if kind in ("row", "task", "segment") else ("", fault)].append(number)
    return [f"{named(numbers, kind)}: {text}" if kind else text for (kind, text), numbers in groups.items()]


def named(numbers: Sequence[Any], kind: str = "row") -> str:
    """Name rows, tasks or segments: the first ten, and how many more."""
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return f"{kind}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:10]))}{more}"
