"""Check-in: what a person changed in a working copy becomes one immutable event file; the copy as it was is kept beside it.

Nothing is written unless everything is right. The same copy again adds nothing; a copy that people go on editing can be checked in
again and adds what is new. Edits are ordered by the time of editing, not of check-in.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smallmines.annotation.working_copy import About, Edited, events_folder, read_base, read_copy, shapes, snapshot
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.layout import UserFolder
from smallmines.labels import event_files

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
"""Problems that are told; the number says how many there are."""


@dataclass(frozen=True)
class CheckedIn:
    """What a check-in found.

    Attributes:
        events: new ones.
        file, kept: the event file and the kept copy; None where there is nothing new, or in a dry run.
        counts: new events by what they say (corrected, confirmed, unsure, adjudicated).
        known: decisions of the copy that were checked in before.
        withdrawn: segments whose label was emptied after it had been checked in: the decision stays in force.
        stale: segments of the copy that the present segmentation has no more; their decisions move by overlap.
        open_elsewhere: a program has the file open; what it has not saved is not seen.
    """

    about: About
    events: tuple[event_files.Event, ...]
    file: Path | None
    kept: Path | None
    counts: dict[str, int]
    known: int
    withdrawn: int
    stale: int
    open_elsewhere: bool


Keys = Callable[[int, str], frozenset[int] | None]
"""The content keys of the present segmentation of a year and block; None: not known."""


def checkin(user: Path, path: Path, present: Keys | None = None, dry: bool = False, run: str = "") -> CheckedIn:
    """Turn the edits of a working copy into events.

    Args:
        user: `resources/user/<run>`.
        path: the working copy.
        present: to tell which segments are no more.
        dry: say what would be written, write nothing.
        run: name of the run, refused where the copy is of another.

    Raises:
        UserError: naming the rows, where a value is none of the class values, an outline was edited, a row was added, a correction lacks
            its evidence or date, or the copy is not of this run, year and block.
    """
    with tempfile.TemporaryDirectory(prefix=".checkin-", dir=_made(user)) as folder:
        taken = Path(folder) / "copy.gpkg"
        snapshot(path, taken)
        edited = read_copy(taken, str(path))
        about = edited.about
        _require_home(about, path, run)
        base = read_base(user, about)
        events, faults = decisions(edited, base)
        if faults:
            more = f"\n          … and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise UserError(
                f"sound edits in {path}",
                f"{len(faults)} problems, nothing was checked in:\n          " + "\n          ".join(faults[:SHOWN]) + more,
                "mend these rows in QGIS, save, and check in again",
            )
        home = events_folder(user, about)
        before = event_files.read_events(sorted(home.glob("*.jsonl")))
        known = {event.hash for event in before}
        new = [event for event in events if event.hash not in known]
        said = {event.key for event in before if event.base == about.base}
        now = {event.key for event in events}
        file = kept = None
        if new and not dry:
            name = event_files.file_name(new)
            kept = UserFolder(user).archived_copy(str(about.year), about.block, name)
            if not kept.is_file():
                with written(kept) as beside:
                    os.replace(taken, beside)
            file = event_files.write_events(home, new)
    counts = {name: 0 for name in ("corrected", "confirmed", "unsure", "adjudicated", event_files.REFERENCE)}
    for event in new:
        counts["unsure" if event.label == "unsure" else event.provenance] += 1
    there = present(about.year, about.block) if present else None
    stale = 0 if there is None or about.kind == "accuracy" else sum(event.key not in there for event in new)
    wal = path.with_name(path.name + "-wal")
    return CheckedIn(
        about, tuple(new), file, kept, counts, len(events) - len(new), len(said - now), stale, wal.is_file() and wal.stat().st_size > 0
    )


def _made(folder: Path) -> Path:
    """Make the folder, and clear away what check-ins that were killed an hour ago or more have left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in (*folder.glob(".checkin-*"), *folder.glob(".pending-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left)
    return folder


def pending(user: Path, path: Path) -> int:
    """Edits of a working copy that are not checked in; an unreadable or faulty copy counts as one."""
    try:
        with tempfile.TemporaryDirectory(prefix=".pending-", dir=user) as folder:
            taken = Path(folder) / "copy.gpkg"
            snapshot(path, taken)
            edited = read_copy(taken, str(path))
            said, faults = decisions(edited, read_base(user, edited.about))
            known = {event.hash for event in event_files.read_events(sorted(events_folder(user, edited.about).glob("*.jsonl")))}
    except UserError:
        return 1
    return len(faults) + sum(event.hash not in known for event in said)


def _require_home(about: About, path: Path, run: str) -> None:
    """Refuse a copy of another run, or one whose name says another year and block than its content."""
    if run and about.run != run:
        raise UserError(f"a working copy of run {run}", f"one of {about.run}", "name the configuration of that run")
    named = re.match(r"(\d{4})-(\d+)", path.stem)
    if named and (int(named[1]), named[2]) != (about.year, about.block):
        raise UserError(
            f"a working copy of {named[1]}, block {named[2]} at {path}",
            f"one of {about.year}, block {about.block}",
            "give the file its own name again",
        )


def decisions(edited: Edited, base: pd.DataFrame) -> tuple[list[event_files.Event], list[str]]:
    """The events a working copy stands for, and what is wrong with it, row by row.

    A segment with a label is a decision; in a task that is done, segments without one are confirmed as predicted.
    """
    import pandas as pd

    about, faults = edited.about, []
    rows = edited.segments.merge(base.assign(key=base["key"].astype(np.uint64)), on="key", how="left", suffixes=("", "_base"), sort=False)
    alien = rows["footprint"].isna()
    for row in rows.loc[alien, "row"]:
        faults.append(f"row {row}: was not handed out (a new or divided outline, or an edited key)")
    for row in rows.loc[rows["key"].duplicated() & ~alien, "row"]:
        faults.append(f"row {row}: its segment stands twice")
    moved = ~alien & (np.array(shapes(rows.geometry.to_numpy()), object) != rows["shape"].to_numpy(object))
    for row in rows.loc[moved, "row"]:
        faults.append(f"row {row}: its outline was edited; only labels can be changed")
    rows = rows[~alien]
    tasks = edited.tasks.drop_duplicates("tile_id").set_index("tile_id")
    for tile, status in tasks["status"].items():
        if status not in ("", "open", "doing", "done"):
            faults.append(f"task {tile}: status is {status!r}, not open, doing or done")
    task = tasks.reindex(rows["tile_id_base"] if "tile_id_base" in rows else rows["tile_id"]).reset_index()
    given = rows["label"].to_numpy(object)
    prediction = (rows["prediction_base"] if "prediction_base" in rows else rows["prediction"]).to_numpy(object)
    done = (task["status"] == "done").to_numpy() & (about.kind == "review")
    label = np.where(given != "", given, np.where(done, prediction, ""))
    stamp = np.where(given != "", rows["edited"].to_numpy(object), task["edited"].to_numpy(object))
    proof = np.where(rows["evidence"] != "", rows["evidence"], task["evidence"].fillna("").to_numpy(object))
    day = np.where(rows["evidence_date"] != "", rows["evidence_date"], task["evidence_date"].fillna("").to_numpy(object))
    events = []
    for place in np.flatnonzero(label != ""):
        one = rows.iloc[place]
        said, row = str(label[place]), one["row"]
        if said not in event_files.LABELS:
            faults.append(f"row {row}: label is {said!r}, not {', '.join(event_files.LABELS)}")
            continue
        if one["confidence"] not in event_files.CONFIDENCES:
            faults.append(f"row {row}: confidence is {one['confidence']!r}, not {', '.join(event_files.CONFIDENCES[1:])}")
            continue
        how = {"adjudication": "adjudicated", "accuracy": event_files.REFERENCE}.get(
            about.kind, "confirmed" if said == prediction[place] else "corrected"
        )
        if said != "unsure" and how != "confirmed":
            if not proof[place]:
                faults.append(f"row {row}: a correction without evidence (its own, or its task's)")
                continue
            if not _is_day(day[place]):
                faults.append(f"row {row}: evidence_date is {day[place]!r}, not a day as 2022-01-31")
                continue
        if pd.isna(stamp[place]):
            faults.append(f"row {row}: without the time of the edit")
            continue
        events.append(
            event_files.Event(
                year=about.year,
                block=about.block,
                key=int(one["key"]),
                x=float(one["x"]),
                y=float(one["y"]),
                label=said,
                provenance=how,
                annotator=about.annotator,
                time=_time(int(stamp[place])),
                reason=str(one["reason"]),
                evidence=str(proof[place]),
                note=str(one["note"]),
                evidence_date=str(day[place]),
                confidence=str(one["confidence"]),
                predicted=str(prediction[place]),
                probability=float(one["probability_base"] if "probability_base" in one else one["probability"]),
                blind=bool(one["blind"]),
                base=about.base,
                footprint=str(one["footprint"]),
            )
        )
    return events, faults


def _is_day(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)) and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def _time(milliseconds: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    when = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
