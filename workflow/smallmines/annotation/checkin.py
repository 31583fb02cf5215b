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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smallmines.annotation.copy_content import read_copy, snapshot
from smallmines.annotation.decided import counts_of
from smallmines.annotation.edits import decisions
from smallmines.annotation.working_copy import About, events_folder
from smallmines.core.errors import UserError
from smallmines.core.files import flat, written
from smallmines.core.layout import UserFolder
from smallmines.labels import event_files
from smallmines.labels.pixel_samples import read_design

SHOWN = 30
"""Kinds of faults that an error names; the rows of each are listed."""


@dataclass(frozen=True)
class CheckedIn:
    """Result of a check-in.

    Attributes:
        events: the new events.
        file, kept: the event file and the kept copy; None where there is nothing new, or in a dry run.
        counts: new events by decision (corrected, confirmed, unsure, adjudicated, reference: about a sample of pixels, withdrawn).
        checked_in_before: decisions of the copy that were checked in before.
        stale: segments of the copy that the present segmentation lacks; their decisions are transferred by overlap.
        open_elsewhere: a program has the file open; what it has not saved is not read.
        warnings: what is doubtful in the copy.
    """

    about: About
    events: tuple[event_files.Event, ...]
    file: Path | None
    kept: Path | None
    counts: dict[str, int]
    checked_in_before: int
    stale: int
    open_elsewhere: bool
    warnings: tuple[str, ...]


Keys = Callable[[int, str], frozenset[int] | None]
"""Return the content keys of the present segmentation of a year and block; None where there is none."""


def checkin(user: Path, path: Path, present: Keys | None = None, dry: bool = False, run: str = "") -> CheckedIn:
    """Turn the edits of a working copy into events. On return they are on the disk; killed before, nothing or all of them is there.

    Args:
        user: `resources/user/<run>`.
        path: the working copy.
        present: content keys of the present segmentation, to count stale segments.
        dry: write nothing.
        run: name of the run; a copy of another run is refused.

    Raises:
        UserError: naming all faults: a value that is not allowed, an outline that was edited, a row that was added, a correction
            without evidence or date, an edit from the future; an origin that differs from the record of the check-out; or the disk
            is full.
    """
    try:
        return _checkin(user, path, present, dry, run)
    except OSError as error:
        room = "free some disk space, or see who may write there, and check in again; the working copy is as it was, nothing is added twice"
        raise UserError(f"a folder that can be written: {user}", flat(error), room) from None


def _checkin(user: Path, path: Path, present: Keys | None, dry: bool, run: str) -> CheckedIn:
    with tempfile.TemporaryDirectory(prefix=".checkin-", dir=_prepared(user)) as folder:
        copy = Path(folder) / "copy.gpkg"
        snapshot(path, copy)
        edited = read_copy(user, copy, str(path))
        about, home = edited.about, events_folder(user, edited.about)
        before = event_files.read_events(sorted(home.glob("*.jsonl")))
        read = decisions(edited, before, dt.datetime.now(dt.UTC))
        if faults := [*_strange(about, path, run), *not_drawn(user, about, read.new), *read.faults]:
            more = f"; and {len(faults) - SHOWN} kinds more" if len(faults) > SHOWN else ""
            raise UserError(
                f"edits without faults in {path}",
                f"nothing was checked in: {'; '.join(faults[:SHOWN])}{more}",
                "correct these rows in QGIS, save, and check in again; where the table about differs, check out again",
            )
        file = kept = None
        if read.new and not dry:
            name = event_files.file_name(read.new)
            kept = UserFolder(user).archived_copy(str(about.year), about.block, name)
            if not kept.is_file():
                with written(kept, durable=True) as beside:
                    os.replace(copy, beside)
            file = event_files.write_events(home, read.new)
    counts = counts_of(read.new, about.kind)
    keys = present(about.year, about.block) if present else None
    stale = 0 if keys is None or about.kind in event_files.PROVENANCE_OF else sum(event.key not in keys for event in read.new)
    wal = path.with_name(path.name + "-wal")
    open_elsewhere = wal.is_file() and wal.stat().st_size > 0
    return CheckedIn(about, read.new, file, kept, counts, read.checked_in_before, stale, open_elsewhere, read.warnings)


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
            edited = read_copy(user, copy, str(path))
            before = event_files.read_events(sorted(events_folder(user, edited.about).glob("*.jsonl")))
            read = decisions(edited, before, dt.datetime.now(dt.UTC))
    except (UserError, OSError):
        return 1
    return len(read.faults) + len(read.new)


def not_drawn(user: Path, about: About, events: Sequence[event_files.Event]) -> Iterator[str]:
    """Say where decisions are about pixels that are not in the present design of their sample."""
    if about.kind not in event_files.PROVENANCE_OF:
        return
    path = UserFolder(user).pixel_sample(about.kind, str(about.year), about.block)
    drawn = set(read_design(path, about.kind)["key"].tolist())
    if strays := sum(event.key not in drawn for event in events):
        yield f"{strays} pixels are not in {path}: the copy is of another draw; restore the design it was made with, or check out again"


def _strange(about: About, path: Path, run: str) -> Iterator[str]:
    """Say where a copy is of another run, or named after another year and block than its base."""
    if run and about.run != run:
        yield f"the copy is of run {about.run}, not of run {run}; name the configuration of that run"
    named = re.match(r"(\d{4})-(\d+)(\D|$)", path.stem)
    if named and (int(named[1]), named[2]) != (about.year, about.block):
        yield f"the file is named {path.name}, but is of {about.year}, block {about.block}; rename it as it was"
