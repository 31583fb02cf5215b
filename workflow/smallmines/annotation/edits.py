"""Turn the content of a working copy into events: decisions, and decisions that were taken back; with all faults of the copy."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.annotation.copy_content import Edited
from smallmines.annotation.working_copy import About, shapes
from smallmines.labels.event_files import CONFIDENCES, LABELS, PROVENANCE_OF, WITHDRAWN, Event, day_of, standing

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

CLOCK_TOLERANCE = dt.timedelta(minutes=10)
"""How far an edit may lie in the future of the machine that checks it in. A quartz clock that is never set drifts by up to 20 ppm,
10.5 minutes a year."""

FIRST_EDIT = dt.datetime(2015, 6, 23, tzinfo=dt.UTC)
"""Launch of Sentinel-2A: nobody has labelled its images before. Times in seconds, taken for milliseconds, lie in January 1970."""

BULK = dt.timedelta(seconds=1)
"""Two segments labelled within this time were labelled in bulk. A form takes several clicks a segment; of a bulk edit of 1215 rows, one
SQL statement stamps all with one time, and QGIS 3.22 stamps them at most 41 ms apart (on two busy cores)."""

STEP = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Decisions:
    """What a working copy amounts to.

    Attributes:
        new: events that are not checked in yet, in the order of their times.
        checked_in_before: number of its decisions that are.
        faults: what is wrong, row by row; nothing may be checked in where there is any.
        warnings: what is doubtful.
    """

    new: tuple[Event, ...]
    checked_in_before: int
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def decisions(edited: Edited, before: Sequence[Event], now: dt.datetime) -> Decisions:
    """Compare a working copy with the events that were checked in before.

    A segment with a label is a decision; in a task that is done, segments without a label are confirmed as predicted. A label that was
    checked in from this copy and then emptied is withdrawn.

    Args:
        before: all events of its year and block.
        now: time of the check-in; edits may not lie in its future.
    """
    rows, faults = _matched(edited.segments, edited.base)
    faults += edited.faults
    faults += _task_faults(edited)
    tasks = edited.tasks.drop_duplicates("tile_id").set_index("tile_id")
    own = [event for event in before if event.annotator == edited.about.annotator]
    if not _is_time_of_an_event(edited.after, own, now):
        faults.append(f"after in the table history is {edited.after[:40]!r}, no time of an event; check out again and copy the edits over")
        return Decisions((), 0, tuple(_grouped(faults)), ())
    stands = {event.key: event for event in standing(own) if event.base == edited.about.base}
    answers = _answers(rows, tasks, edited.about)
    answers = answers[(answers["label"] != "") | answers["key"].isin(np.array(list(stands), np.uint64))]
    events, doubts, emptied = [], defaultdict[str, list[Any]](list), []
    looks = _looks(answers, now)
    for row in answers.to_dict("records"):
        key, decided = int(row["key"]), bool(row["label"])
        if not decided and not _is_emptied(row, stands[key], edited.revision, now):
            emptied.append(row["row"])
            continue
        provenance = _provenance(row, edited.about) if decided else stands[key].provenance
        if wrong := list(_wrong(row, provenance, now)):
            faults += [f"row {row['row']}: {fault}" for fault in wrong]
            continue
        event = _event(row, provenance, edited, looks[row["row"]])
        if decided and (doubt := event.doubt):
            doubts[doubt].append(row["row"])
        events.append(event)
    stored = {_as_stamped(event).hash for event in own}
    new = sorted((event for event in events if event.hash not in stored), key=lambda event: (event.instant, event.key))
    moved, late = _in_order(new, own, edited)
    lost = len(set(stands) - {int(key) for key in rows["key"]})
    warnings = [f"{_rows(numbers)}: {text}" for text, numbers in doubts.items()]
    warnings += _late_warnings(moved, new, late, dict(zip(answers["key"].tolist(), answers["row"].tolist(), strict=True)))
    if emptied:
        text = "the label is empty, but was checked in from this copy and not emptied since; the decision stays in force"
        warnings.append(f"{_rows(emptied)}: {text}")
    if lost:
        warnings.append(f"{lost} segments that were checked in from this copy are no longer in it; their decisions stay in force")
    return Decisions(tuple(moved), len(events) - len(new), tuple(_grouped(faults)), tuple(warnings))


# --- rows -----------------------------------------------------------------------------------------------------------------


def _task_faults(edited: Edited) -> Iterator[str]:
    """Say which tasks have another status, and which would count for no tile or twice: their tile was edited."""
    for tile, status in edited.tasks[["tile_id", "status"]].itertuples(index=False):
        if status not in ("", "open", "doing", "done"):
            yield f"task {tile}: status is {status!r}, not open, doing or done"
    for tile in sorted(set(edited.tasks["tile_id"]) - set(edited.base["tile_id"])):
        yield f"task {tile}: this tile was not checked out (an edited tile_id)"
    for tile in sorted(set(edited.tasks.loc[edited.tasks["tile_id"].duplicated(), "tile_id"])):
        yield f"task {tile}: the tile occurs twice"


def _matched(segments: gpd.GeoDataFrame, base: pd.DataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Join the rows of a copy to its base by content key; return those that were checked out, and the faults of all.

    A column that both have is taken from the base: what people are shown cannot be edited.
    """
    own = segments[[name for name in segments if name == "key" or name not in base]]
    rows = own.merge(base.assign(key=base["key"].astype(np.uint64)), on="key", how="left", sort=False)
    alien = rows["footprint"].isna()
    twice = rows["key"].duplicated() & ~alien
    moved = ~alien & (np.array(shapes(rows.geometry.to_numpy()), object) != rows["shape"].to_numpy(object))
    texts = (
        (alien, "was not checked out (a new or divided outline, or an edited key)"),
        (twice, "its segment occurs twice"),
        (moved, "its outline was edited; only labels can be changed"),
    )
    return rows[~alien & ~twice], [f"row {row}: {text}" for faulty, text in texts for row in rows.loc[faulty, "row"]]


def _answers(rows: gpd.GeoDataFrame, tasks: pd.DataFrame, about: About) -> pd.DataFrame:
    """Fill label, time, evidence and its date of each segment from its task where the segment has none of its own.

    Where a segment has no label of its own, the later of both times counts: that of the task, or that at which its label was emptied.
    """
    task = tasks.reindex(rows["tile_id"]).reset_index()
    own = rows["label"].to_numpy(object)
    done = (task["status"] == "done").to_numpy() & (about.kind == "review")
    later = [_later(*times) for times in zip(rows["edited"], task["edited"], strict=True)]
    answers: pd.DataFrame = rows.assign(
        label=np.where(own != "", own, np.where(done, rows["prediction"].to_numpy(object), "")),
        by_task=(own == "") & done,
        edited=np.where(own != "", rows["edited"].to_numpy(object), np.fromiter(later, object, len(later))),
        **{name: np.where(rows[name] != "", rows[name], task[name].fillna("").to_numpy(object)) for name in ("evidence", "evidence_date")},
    )
    return answers


def _later(own: Any, of_task: Any) -> Any:
    """Return the later of two times; one that is no time where there is one, so that it is reported."""
    times = [time for time in (own, of_task) if time is not None and time == time]
    wrong = [time for time in times if not isinstance(time, int)]
    return wrong[0] if wrong else max(times, default=None)


def _provenance(row: Mapping[Hashable, Any], about: About) -> str:
    """Return the provenance of a decision."""
    if about.kind == "adjudication":
        return "adjudicated"
    if about.kind != "review":
        return PROVENANCE_OF[about.kind]
    return "confirmed" if row["label"] == row["prediction"] else "corrected"


def _wrong(row: Mapping[Hashable, Any], provenance: str, now: dt.datetime) -> Iterator[str]:
    """Say what is wrong with a row that has a label or whose label was emptied."""
    label = row["label"]
    if label and label not in LABELS:
        yield f"label is {label[:40]!r}, not {', '.join(LABELS)}"
    if label and row["confidence"] not in CONFIDENCES:
        yield f"confidence is {row['confidence'][:40]!r}, not {', '.join(CONFIDENCES[1:])}"
    if label in LABELS and label != "unsure" and provenance != "confirmed":
        if not row["evidence"]:
            yield "a correction without evidence (its own, or its task's)"
        if day_of(row["evidence_date"]) is None:
            yield f"evidence_date is {row['evidence_date'][:40]!r}, not a day as 2022-01-31"
    if fault := _wrong_time(row["edited"], now):
        yield fault


def _wrong_time(edited: Any, now: dt.datetime) -> str:
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


def _is_emptied(row: Mapping[Hashable, Any], event: Event, revision: int, now: dt.datetime) -> bool:
    """Return whether a row without a label had one that was checked in and emptied after that, not before (in an earlier copy)."""
    if row["edited"] is None or row["edited"] != row["edited"]:
        return False
    if _wrong_time(row["edited"], now):
        return True  # to be reported
    return 0 <= event.revision < revision or dt.datetime.fromisoformat(_time(row["edited"])) > event.stamp


def _looks(answers: pd.DataFrame, now: dt.datetime) -> dict[int, str]:
    """Return how each row was labelled or emptied, see `event_files.LOOKS`."""
    looks = dict(zip(answers["row"], np.where(answers["by_task"], "task", "single"), strict=True))
    times = sorted((time, row) for time, row in zip(answers["edited"], answers["row"], strict=True) if not _wrong_time(time, now))
    times = [(time, row) for time, row in times if looks[row] == "single"]
    for (time, row), (following, other) in itertools.pairwise(times):
        if following - time < BULK / dt.timedelta(milliseconds=1):
            looks[row] = looks[other] = "bulk"
    return looks


def _event(row: Mapping[Hashable, Any], provenance: str, edited: Edited, look: str) -> Event:
    about = edited.about
    evidence = ("evidence", "evidence_date", "confidence") if row["label"] else ()
    texts: dict[str, Any] = {name: str(row[name]) for name in ("reason", "note", *evidence)}
    return Event(
        year=about.year,
        block=about.block,
        key=int(row["key"]),
        x=float(row["x"]),
        y=float(row["y"]),
        label=str(row["label"]) or WITHDRAWN,
        provenance=provenance,
        annotator=about.annotator,
        time=_time(int(row["edited"])),
        predicted=str(row["prediction"]),
        probability=float(row["probability"]),
        blind=bool(row["blind"]),
        base=about.base,
        footprint=str(row["footprint"]),
        tool="qgis",
        look=look,
        revision=edited.revision,
        **texts,
    )


# --- times ----------------------------------------------------------------------------------------------------------------


def _in_order(new: Sequence[Event], own: Sequence[Event], edited: Edited) -> tuple[list[Event], list[Event]]:
    """Move the times of new events behind the events that certainly came before; return them, and those edited before their segment's last.

    Certainly before are the events that this copy brought at this or an earlier state, and those of the day it was checked out. So the
    times of a person's events strictly increase, also where the clock was set back or several rows have one time.
    """
    floor = dt.datetime.fromisoformat(edited.after) if edited.after else None
    for event in own:
        if event.base == edited.about.base and 0 <= event.revision <= edited.revision and (floor is None or event.instant > floor):
            floor = event.instant
    taken = {event.instant for event in own}
    last: dict[int, dt.datetime] = {}
    for event in own:
        last[event.key] = max(event.stamp, last.get(event.key, event.stamp))
    moved, late = [], []
    for event in new:
        if event.key in last and event.instant <= last[event.key]:
            late.append(event)
        time = event.instant if floor is None else max(event.instant, floor + STEP)
        while time in taken:
            time += STEP
        floor = time
        taken.add(time)
        text = time.isoformat(timespec="milliseconds" if time.microsecond % 1000 == 0 else "microseconds").replace("+00:00", "Z")
        moved.append(event if time == event.instant else dataclasses.replace(event, time=text, edited=event.time))
    return moved, late


def _is_time_of_an_event(after: str, own: Sequence[Event], now: dt.datetime) -> bool:
    """Whether the time that new edits are moved behind is empty, past, or that of an event (one made with a clock ahead, say)."""
    try:
        time = dt.datetime.fromisoformat(after) if after else None
        return time is None or time <= now + CLOCK_TOLERANCE or any(time == event.instant for event in own)
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def _late_warnings(moved: Sequence[Event], new: Sequence[Event], late: Sequence[Event], row_of: Mapping[int, int]) -> Iterator[str]:
    """Say which edits have times before the person's last decision, and whether they count."""
    times = {event.key: event.instant for event in moved}
    older = {event.key for event in late}
    back = [event for event in new if event.key not in older and times[event.key] - event.instant > BULK]
    if late:
        text = "edited earlier, by their times, than your last decision about the segment that is checked in"
        counts = [event for event in late if times[event.key] - event.instant > dt.timedelta(0)]
        rest = "the copy shows that they were made after it, so they count; is the clock right?"
        other = "they do not count unless edited again"
        yield f"{_rows([row_of[event.key] for event in late])}: {text}; {rest if len(counts) == len(late) else other}"
    if back:
        yield f"{_rows([row_of[event.key] for event in back])}: edited before your last check-in, by their times; was the clock set back?"


def _as_stamped(event: Event) -> Event:
    """Return an event with the time that the working copy has."""
    return dataclasses.replace(event, time=event.edited, edited="") if event.edited else event


def _time(milliseconds: int) -> str:
    """Format milliseconds since 1970 as ISO 8601 in UTC."""
    when = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- messages -------------------------------------------------------------------------------------------------------------


def _grouped(faults: Sequence[str]) -> list[str]:
    """Join faults `row 5: text` with the same text into one each."""
    groups = defaultdict[tuple[str, str], list[str]](list)
    for fault in faults:
        place, _, text = fault.partition(": ")
        kind, _, number = place.partition(" ")
        groups[(kind, text) if kind in ("row", "task") else ("", fault)].append(number)
    return [f"{_rows(numbers, kind)}: {text}" if kind else text for (kind, text), numbers in groups.items()]


def _rows(numbers: Sequence[Any], kind: str = "row") -> str:
    """Name rows: the first ten, and how many more."""
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return f"{kind}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:10]))}{more}"
