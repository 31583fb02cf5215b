"""Check-in: turn the edits of a working copy into one immutable event file and keep the copy as it was.

Nothing is written where any row is faulty. The same copy checked in again adds nothing; a copy that people went on editing adds
what is new. Edits are ordered by the time of editing, not of the check-in.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.annotation.working_copy import About, Edited, events_folder, read_base, read_copy, shapes, snapshot
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.layout import UserFolder
from smallmines.labels import event_files

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

SHOWN = 10
"""Faults that an error names; the number says how many there are."""


@dataclass(frozen=True)
class CheckedIn:
    """Result of a check-in.

    Attributes:
        events: the new events.
        file, kept: the event file and the kept copy; None where there is nothing new, or in a dry run.
        counts: new events by decision (corrected, confirmed, unsure, adjudicated, reference).
        checked_in_before: decisions of the copy that were checked in before.
        withdrawn: segments whose label was emptied after it had been checked in; the decision stays in force.
        stale: segments of the copy that the present segmentation lacks; their decisions are transferred by overlap.
        open_elsewhere: a program has the file open; what it has not saved is not read.
    """

    about: About
    events: tuple[event_files.Event, ...]
    file: Path | None
    kept: Path | None
    counts: dict[str, int]
    checked_in_before: int
    withdrawn: int
    stale: int
    open_elsewhere: bool


Keys = Callable[[int, str], frozenset[int] | None]
"""Return the content keys of the present segmentation of a year and block; None where there is none."""


def checkin(user: Path, path: Path, present: Keys | None = None, dry: bool = False, run: str = "") -> CheckedIn:
    """Turn the edits of a working copy into events.

    Args:
        user: `resources/user/<run>`.
        path: the working copy.
        present: content keys of the present segmentation, to count stale segments.
        dry: write nothing.
        run: name of the run; a copy of another run is refused.

    Raises:
        UserError: naming the rows, where a value is not allowed, an outline was edited, a row was added or a correction lacks its
            evidence or date; or the copy is not of this run, year and block.
    """
    with tempfile.TemporaryDirectory(prefix=".checkin-", dir=_prepared(user)) as folder:
        copy = Path(folder) / "copy.gpkg"
        snapshot(path, copy)
        edited = read_copy(copy, str(path))
        about = edited.about
        _require_home(about, path, run)
        events, faults = decisions(edited, read_base(user, about))
        if faults:
            more = f"\n          … and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise UserError(
                f"edits without faults in {path}",
                f"{len(faults)} faults, nothing was checked in:\n          " + "\n          ".join(faults[:SHOWN]) + more,
                "correct these rows in QGIS, save, and check in again",
            )
        home = events_folder(user, about)
        before = event_files.read_events(sorted(home.glob("*.jsonl")))
        hashes = {event.hash for event in before}
        new = [event for event in events if event.hash not in hashes]
        file = kept = None
        if new and not dry:
            name = event_files.file_name(new)
            kept = UserFolder(user).archived_copy(str(about.year), about.block, name)
            if not kept.is_file():
                with written(kept) as beside:
                    os.replace(copy, beside)
            file = event_files.write_events(home, new)
    counts = dict.fromkeys(("corrected", "confirmed", "unsure", "adjudicated", event_files.REFERENCE), 0)
    for event in new:
        counts["unsure" if event.label == "unsure" else event.provenance] += 1
    withdrawn = {event.key for event in before if event.base == about.base} - {event.key for event in events}
    keys = present(about.year, about.block) if present else None
    stale = 0 if keys is None or about.kind == "accuracy" else sum(event.key not in keys for event in new)
    wal = path.with_name(path.name + "-wal")
    open_elsewhere = wal.is_file() and wal.stat().st_size > 0
    return CheckedIn(about, tuple(new), file, kept, counts, len(events) - len(new), len(withdrawn), stale, open_elsewhere)


def _prepared(folder: Path) -> Path:
    """Make the folder, and remove what check-ins that were killed an hour ago or earlier left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in (*folder.glob(".checkin-*"), *folder.glob(".pending-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left)
    return folder


def pending(user: Path, path: Path) -> int:
    """Count the edits of a working copy that are not checked in; an unreadable or faulty copy counts as one."""
    try:
        with tempfile.TemporaryDirectory(prefix=".pending-", dir=user) as folder:
            copy = Path(folder) / "copy.gpkg"
            snapshot(path, copy)
            edited = read_copy(copy, str(path))
            events, faults = decisions(edited, read_base(user, edited.about))
            hashes = {event.hash for event in event_files.read_events(sorted(events_folder(user, edited.about).glob("*.jsonl")))}
    except UserError:
        return 1
    return len(faults) + sum(event.hash not in hashes for event in events)


def _require_home(about: About, path: Path, run: str) -> None:
    """Refuse a copy of another run, or one whose file name has another year and block than its content."""
    if run and about.run != run:
        raise UserError(f"a working copy of run {run}", f"one of {about.run}", "name the configuration of that run")
    named = re.match(r"(\d{4})-(\d+)", path.stem)
    if named and (int(named[1]), named[2]) != (about.year, about.block):
        raise UserError(
            f"a working copy of {named[1]}, block {named[2]} at {path}",
            f"one of {about.year}, block {about.block}",
            "rename the file as it was",
        )


# --- decisions ------------------------------------------------------------------------------------------------------------


def decisions(edited: Edited, base: pd.DataFrame) -> tuple[list[event_files.Event], list[str]]:
    """Return the events that a working copy amounts to, and its faults, row by row.

    A segment with a label is a decision; in a task that is done, segments without a label are confirmed as predicted.
    """
    rows, faults = _matched(edited.segments, base)
    tasks = edited.tasks.drop_duplicates("tile_id").set_index("tile_id")
    for tile, status in tasks["status"].items():
        if status not in ("", "open", "doing", "done"):
            faults.append(f"task {tile}: status is {status!r}, not open, doing or done")
    answers = _answers(rows, tasks, edited.about)
    events = []
    for row in answers[answers["label"] != ""].to_dict("records"):
        provenance = _provenance(row, edited.about)
        if fault := _fault(row, provenance):
            faults.append(f"row {row['row']}: {fault}")
        else:
            events.append(_event(row, provenance, edited.about))
    return events, faults


def _matched(segments: gpd.GeoDataFrame, base: pd.DataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Join the rows of a copy to its base by content key; return those that were checked out, and the faults of all.

    A column that both have is taken from the base: what people are shown cannot be edited.
    """
    own = segments[[name for name in segments if name == "key" or name not in base]]
    rows = own.merge(base.assign(key=base["key"].astype(np.uint64)), on="key", how="left", sort=False)
    alien = rows["footprint"].isna()
    moved = ~alien & (np.array(shapes(rows.geometry.to_numpy()), object) != rows["shape"].to_numpy(object))
    texts = (
        (alien, "was not checked out (a new or divided outline, or an edited key)"),
        (rows["key"].duplicated() & ~alien, "its segment occurs twice"),
        (moved, "its outline was edited; only labels can be changed"),
    )
    return rows[~alien], [f"row {row}: {text}" for faulty, text in texts for row in rows.loc[faulty, "row"]]


def _answers(rows: gpd.GeoDataFrame, tasks: pd.DataFrame, about: About) -> pd.DataFrame:
    """Fill label, time, evidence and its date of each segment from its task where the segment has none of its own."""
    task = tasks.reindex(rows["tile_id"]).reset_index()
    own = rows["label"].to_numpy(object)
    done = (task["status"] == "done").to_numpy() & (about.kind == "review")
    answers: pd.DataFrame = rows.assign(
        label=np.where(own != "", own, np.where(done, rows["prediction"].to_numpy(object), "")),
        edited=np.where(own != "", rows["edited"].to_numpy(object), task["edited"].to_numpy(object)),
        **{name: np.where(rows[name] != "", rows[name], task[name].fillna("").to_numpy(object)) for name in ("evidence", "evidence_date")},
    )
    return answers


def _provenance(row: Mapping[Hashable, Any], about: About) -> str:
    """Return the provenance of a decision."""
    if about.kind == "adjudication":
        return "adjudicated"
    if about.kind == "accuracy":
        return event_files.REFERENCE
    return "confirmed" if row["label"] == row["prediction"] else "corrected"


def _fault(row: Mapping[Hashable, Any], provenance: str) -> str:
    """Return what is wrong with a row that has a label; empty where nothing is."""
    import pandas as pd

    if row["label"] not in event_files.LABELS:
        return f"label is {row['label']!r}, not {', '.join(event_files.LABELS)}"
    if row["confidence"] not in event_files.CONFIDENCES:
        return f"confidence is {row['confidence']!r}, not {', '.join(event_files.CONFIDENCES[1:])}"
    if row["label"] != "unsure" and provenance != "confirmed":
        if not row["evidence"]:
            return "a correction without evidence (its own, or its task's)"
        if not _is_day(row["evidence_date"]):
            return f"evidence_date is {row['evidence_date']!r}, not a day as 2022-01-31"
    return "without the time of the edit" if pd.isna(row["edited"]) else ""


def _event(row: Mapping[Hashable, Any], provenance: str, about: About) -> event_files.Event:
    return event_files.Event(
        year=about.year,
        block=about.block,
        key=int(row["key"]),
        x=float(row["x"]),
        y=float(row["y"]),
        label=str(row["label"]),
        provenance=provenance,
        annotator=about.annotator,
        time=_time(int(row["edited"])),
        reason=str(row["reason"]),
        evidence=str(row["evidence"]),
        note=str(row["note"]),
        evidence_date=str(row["evidence_date"]),
        confidence=str(row["confidence"]),
        predicted=str(row["prediction"]),
        probability=float(row["probability"]),
        blind=bool(row["blind"]),
        base=about.base,
        footprint=str(row["footprint"]),
    )


def _is_day(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)) and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def _time(milliseconds: int) -> str:
    """Format milliseconds since 1970 as ISO 8601 in UTC."""
    when = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
