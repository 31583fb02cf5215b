"""Turn the content of a working copy into events: decisions, and decisions that were taken back; with all faults of the copy."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.annotation.copy_content import Edited
from smallmines.annotation.decided import (
    BULK,
    CLOCK_TOLERANCE,
    as_stamped,
    event_of,
    grouped,
    in_order,
    late_warnings,
    named,
    provenance_of,
    time_text,
    wrong,
    wrong_time,
)
from smallmines.annotation.working_copy import About, shapes
from smallmines.labels.event_files import Event, standing

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


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
        return Decisions((), 0, tuple(grouped(faults)), ())
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
        provenance = provenance_of(row["label"], row["prediction"], edited.about.kind) if decided else stands[key].provenance
        if wrong_here := [fault for fault in (*wrong(row, provenance), wrong_time(row["edited"], now)) if fault]:
            faults += [f"row {row['row']}: {fault}" for fault in wrong_here]
            continue
        event = event_of(row | {"look": looks[row["row"]]}, provenance, edited.about, "qgis", edited.revision)
        if decided and (doubt := event.doubt):
            doubts[doubt].append(row["row"])
        events.append(event)
    stored = {as_stamped(event).hash for event in own}
    new = sorted((event for event in events if event.hash not in stored), key=lambda event: (event.instant, event.key))
    moved, late = in_order(new, own, _floor(own, edited))
    lost = len(set(stands) - {int(key) for key in rows["key"]})
    warnings = [f"{named(numbers)}: {text}" for text, numbers in doubts.items()]
    warnings += late_warnings(moved, new, late, dict(zip(answers["key"].tolist(), answers["row"].tolist(), strict=True)))
    if emptied:
        text = "the label is empty, but was checked in from this copy and not emptied since; the decision stays in force"
        warnings.append(f"{named(emptied)}: {text}")
    if lost:
        warnings.append(f"{lost} segments that were checked in from this copy are no longer in it; their decisions stay in force")
    return Decisions(tuple(moved), len(events) - len(new), tuple(grouped(faults)), tuple(warnings))


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


def _is_emptied(row: Mapping[Hashable, Any], event: Event, revision: int, now: dt.datetime) -> bool:
    """Return whether a row without a label had one that was checked in and emptied after that, not before (in an earlier copy)."""
    if row["edited"] is None or row["edited"] != row["edited"]:
        return False
    if wrong_time(row["edited"], now):
        return True  # to be reported
    return 0 <= event.revision < revision or dt.datetime.fromisoformat(time_text(row["edited"])) > event.stamp


def _looks(answers: pd.DataFrame, now: dt.datetime) -> dict[int, str]:
    """Return how each row was labelled or emptied, see `event_files.LOOKS`."""
    looks = dict(zip(answers["row"], np.where(answers["by_task"], "task", "single"), strict=True))
    times = sorted((time, row) for time, row in zip(answers["edited"], answers["row"], strict=True) if not wrong_time(time, now))
    times = [(time, row) for time, row in times if looks[row] == "single"]
    for (time, row), (following, other) in itertools.pairwise(times):
        if following - time < BULK / dt.timedelta(milliseconds=1):
            looks[row] = looks[other] = "bulk"
    return looks


# --- times ----------------------------------------------------------------------------------------------------------------


def _floor(own: Sequence[Event], edited: Edited) -> dt.datetime | None:
    """Return the time of the last event that certainly came before the new ones; None: there is none.

    Certainly before are the events that this copy brought at this or an earlier state, and those of the day it was checked out. So the
    times of a person's events strictly increase, also where the clock was set back or several rows have one time.
    """
    floor = dt.datetime.fromisoformat(edited.after) if edited.after else None
    for event in own:
        if event.base == edited.about.base and 0 <= event.revision <= edited.revision and (floor is None or event.instant > floor):
            floor = event.instant
    return floor


def _is_time_of_an_event(after: str, own: Sequence[Event], now: dt.datetime) -> bool:
    """Whether the time that new edits are moved behind is empty, past, or that of an event (one made with a clock ahead, say)."""
    try:
        time = dt.datetime.fromisoformat(after) if after else None
        return time is None or time <= now + CLOCK_TOLERANCE or any(time == event.instant for event in own)
    except (ValueError, TypeError):  # no time, or one without a zone
        return False
