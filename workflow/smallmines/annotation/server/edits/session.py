"""Sessions: what one person labels in the browser of one year, block and kind. Opened again, a session goes on while the products are
the same; its id is the `base` of its events."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkin import pending
from smallmines.annotation.checkout import Choice, disputed_rows, review_rows, shown, tile_rows, undecided_overlap
from smallmines.annotation.checkout_files import NothingToLabel, require_annotator
from smallmines.annotation.checkout_pixels import pixel_rows
from smallmines.annotation.copy_content import read_base, was_edited
from smallmines.annotation.server.edits.snapshot import Snapshot, content_digest, open_snapshot, present_digest, take
from smallmines.annotation.working_copy import About, Kind, base_path, copy_path, events_folder
from smallmines.config.sections import Config
from smallmines.core import memory
from smallmines.core.errors import UserError
from smallmines.core.files import digest, flat, written
from smallmines.core.layout import Layout
from smallmines.labels import footprint
from smallmines.labels.event_files import ANNOTATOR, PROVENANCE_OF, RANKS, Event, read_events, standing
from smallmines.labels.pixel_samples import rows_and_columns

if TYPE_CHECKING:
    import pandas as pd

QUEUE = ("segment", "key", "tile_id", "x", "y", "why", "opinions", "blind", "inclusion")
"""Columns of a queue."""

ID = re.compile(r"[0-9a-f]{16}")

AT_ONCE = 16
"""Sessions that stay in memory."""

_OPEN: dict[Path, Session] = {}
_LOCK = threading.Lock()
_OPENING = threading.Lock()


class UnknownSession(UserError):
    """There is no such session."""


@dataclass(frozen=True)
class Session:
    """One person's labelling of one year, block and kind.

    Attributes:
        about: its origin; `base` is the id.
        scope: queue | tiles | all: what the queue holds.
        tiles: of the scope `tiles`.
        products: digest of the snapshot; of a sample of pixels, of its design.
        after: time of the person's last event in the block when the session was opened; empty where there was none.
        queue: what is to be labelled, in order: `QUEUE`. Of a sample of pixels the segments are their numbers 1….
    """

    block_year: BlockYear
    about: About
    scope: str
    tiles: tuple[str, ...]
    products: str
    after: str
    queue: pd.DataFrame

    @property
    def id(self) -> str:
        """16 hex digits; the `base` of the session's events."""
        return self.about.base

    @property
    def snapshot(self) -> Snapshot | None:
        """The products that the session shows; None for a sample of pixels. The session does not hold them: see `snapshot.AT_ONCE`."""
        return None if self.about.kind in PROVENANCE_OF else open_snapshot(self.block_year, self.products)

    @property
    def changed(self) -> bool:
        """Whether the products were made again, with other content, since the session was opened."""
        try:
            return _present(self.block_year, self.about.kind) != self.products
        except (UserError, OSError):  # a run is making them, or they were removed
            return True

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Content keys of the segments (or pixels) 1…n."""
        table = self.queue.sort_values("segment") if self.snapshot is None else self.snapshot.table
        return table["key"].to_numpy(np.uint64)

    @property
    def by_key(self) -> NDArray[np.int64]:
        """Places in `keys` in the order of the keys, to search them."""
        return np.argsort(self.keys, kind="stable") if self.snapshot is None else self.snapshot.by_key

    @property
    def tile_of(self) -> NDArray[np.object_]:
        """Tile of each of the segments 1…n."""
        table = self.queue.sort_values("segment") if self.snapshot is None else self.snapshot.table
        return table["tile_id"].to_numpy(object)

    @property
    def predicted(self) -> NDArray[np.object_]:
        """Prediction of each of the segments 1…n as text; empty in a sample of pixels, whose decisions are blind to it."""
        return np.full(len(self.queue), "", object) if self.snapshot is None else self.snapshot.predicted

    @cached_property
    def may_label(self) -> NDArray[np.bool_]:
        """Whether each of the segments 1…n may be labelled: all in a review, else those of the queue."""
        allowed = np.full(len(self.keys), self.about.kind == "review")
        allowed[self.queue["segment"].to_numpy(np.int64) - 1] = True
        return allowed

    @cached_property
    def blind(self) -> NDArray[np.int64]:
        """Rows, in the table of segments, of the blind overlap: of the queue, and, whatever the scope, what the person has not decided."""
        queue: NDArray[np.int64] = self.queue["segment"].to_numpy(np.int64)[self.queue["blind"].to_numpy(bool)] - 1
        if self.snapshot is None or self.about.kind != "review":
            return queue
        asked = undecided_overlap(self.block_year, self.keys, [event.key for event in standing(self.events())])
        rows: NDArray[np.int64] = np.union1d(queue, np.flatnonzero(asked))
        return rows

    def events(self) -> list[Event]:
        """Read the person's events of the block: about segments, or about the pixels of the sample."""
        return own_events(self.block_year.user, self.about)

    def answers(self, segments: NDArray[np.int64]) -> pd.DataFrame:
        """Return what events say of some segments: key, x, y, prediction, probability, blind, footprint, in the given order."""
        queue = self.queue.set_index("segment")
        blind = np.isin(segments, queue.index[queue["blind"].to_numpy(bool)])
        if self.snapshot is None:
            rows = queue.loc[segments, ["key", "x", "y"]].reset_index(drop=True)
            geobox = self.block_year.lattice.block(self.about.block)
            row, col, _ = rows_and_columns(rows, geobox)
            runs = footprint.Runs(np.arange(len(rows)), row, col, np.ones(len(rows), np.int64))
            rows = rows.assign(prediction="", probability=-1.0)
        else:
            table, geobox = self.snapshot.table.iloc[segments - 1].reset_index(drop=True), self.snapshot.geobox
            runs = footprint.runs_of(self.snapshot.segments, segments)
            probability = table["probability"].astype(float).round(4)
            rows = table[["key", "x", "y"]].assign(prediction=self.predicted[segments - 1], probability=probability)
        return rows.assign(blind=blind, footprint=footprint.encode(runs, len(rows), geobox))


def open_session(
    block_year: BlockYear,
    annotator: str,
    kind: Kind = "review",
    tiles: tuple[str, ...] = (),
    everything: bool = False,
    unfinished: str = "",
) -> Session:
    """Open a session, or go on with the one of the same products, person, kind and scope.

    Args:
        tiles: in a review, the queue is all segments of these tiles.
        everything: in a review, the queue is every segment of the block.
        unfinished: session with edits that are not handed in, to go on with where nothing is left to label; empty: none.

    Raises:
        UserError: an unknown annotator or tile, no labels yet, nothing to label, or a working copy of the person, block and kind with
            edits that are not checked in.
    """
    if not ANNOTATOR.fullmatch(annotator):
        raise UserError("the code of a person (at most 40 letters, digits and _ . -)", f"{annotator!r}", "use a code, e.g. J01")
    about = About(block_year.config.run, int(block_year.year), block_year.block, annotator, kind)
    target = copy_path(block_year.user, about)
    if target.is_file() and was_edited(target) and (left := pending(block_year.user, target)):
        do = f"check it in first (smallmines labels checkin … {target}), or move it away"
        raise UserError(f"no working copy with edits at {target}", f"{left} edits not checked in", do)
    choice = Choice(tiles=() if everything else tuple(sorted(set(tiles))), everything=everything, apart=True)
    try:
        with _OPENING:
            name = _recorded(block_year, about, choice).base
    except NothingToLabel:
        if not unfinished:
            raise
        name = unfinished
    return read_session(block_year.config, block_year.root, name)


def _recorded(block_year: BlockYear, about: About, choice: Choice) -> About:
    """Return `about` with the id of its session; where there is none, choose its queue and write its record."""
    annotator, kind = about.annotator, about.kind
    scope = "all" if choice.everything else "tiles" if choice.tiles else "queue"
    if kind == "review":
        require_annotator(block_year, annotator)
    if kind == "review" or kind == "adjudication":
        snapshot = take(block_year)
        products, rows = snapshot.digest, None
    else:
        rows = pixel_rows(block_year, annotator, kind, dry=False)[0]
        products = _present(block_year, kind)
    labels = block_year.config.labels
    chosen_by = [labels.annotators, labels.queue.model_dump(), labels.overlap, labels.overlap_near, labels.seed]
    settings = chosen_by if kind == "review" and scope == "queue" else []
    about = replace(about, base=digest([asdict(about), scope, choice.tiles, products, settings]))
    if base_path(block_year.user, about).is_file():
        return about
    if rows is None:
        table = snapshot.table
        with memory.alone():
            rows = disputed_rows(block_year, table) if kind == "adjudication" else review_rows(block_year, table, annotator, choice)
            rows = shown(table, rows)
        memory.release()
    after = max((event.time for event in own_events(block_year.user, about)), default="")
    _write(block_year.user, about, rows, {"scope": scope, "tiles": choice.tiles, "products": products, "after": after})
    return about


def read_session(config: Config, root: Path, name: str) -> Session:
    """Read a session by its id.

    Raises:
        UnknownSession: there is none in the run.
        UserError: its record is damaged, or the products that it shows are gone.
    """
    user = Layout(config.run, root).user
    paths = sorted(user.bases.glob(f"*/*/{name}.parquet")) if ID.fullmatch(name) else []
    if not paths:
        raise UnknownSession("a session of this run", f"{name[:40]!r}", "open the block again")
    read = _OPEN.get(paths[0]) or _read(config, root, paths[0])
    with _LOCK:
        session = _OPEN.pop(paths[0], read)
        _OPEN[paths[0]] = session
        for oldest in list(_OPEN)[:-AT_ONCE]:
            del _OPEN[oldest]
    return session


def _read(config: Config, root: Path, path: Path) -> Session:
    about, queue = read_base(path)
    origin = read_origin(path)
    if origin is None:
        raise UnknownSession("a session in the browser", f"{path.stem}, a working copy", "check it in with smallmines labels checkin")
    block_year = BlockYear(config, str(about.year), about.block, root)
    if origin["scope"] != "queue":
        table = open_snapshot(block_year, origin["products"]).table
        rows = tile_rows(table, origin["tiles"]).assign(opinions="")
        queue = shown(table, rows)[list(QUEUE)]
    return Session(block_year, about, origin["scope"], tuple(origin["tiles"]), origin["products"], origin["after"], queue)


def read_origin(path: Path) -> dict[str, Any] | None:
    """Return scope, tiles, products and after of a session from its record; None where it is that of a working copy.

    Raises:
        UserError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        text = (pq.read_schema(path).metadata or {}).get(b"session")
        return None if text is None else dict(json.loads(text))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"the record of a session at {path}", flat(error), "restore it from a backup or another computer") from None


def _write(user: Path, about: About, rows: pd.DataFrame, origin: dict[str, Any]) -> None:
    """Write the record of a session; the queue of whole tiles follows from the snapshot."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    queue = pd.DataFrame(rows[list(QUEUE)]).head(len(rows) if origin["scope"] == "queue" else 0)
    text = dict.fromkeys(("tile_id", "why", "opinions"), "string")
    table = pa.Table.from_pandas(queue.astype(text), preserve_index=False)
    metadata = {"about": json.dumps(asdict(about)), "session": json.dumps(origin)}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with written(base_path(user, about), durable=True) as beside:
        pq.write_table(table, beside)


def own_events(user: Path, about: About) -> list[Event]:
    """Read the events of a person about a block and year, or about its sample of pixels, ordered by time.

    Raises:
        UserError: an event file is damaged.
    """
    return list(_merged(_files(user, about), about.annotator))


def own_standing(user: Path, about: About, without: Collection[str] = ()) -> Mapping[int, Event]:
    """Read a person's standing decisions by key; in a review and in an adjudication, only decisions of that kind count.

    Args:
        without: names of event files that do not count.

    Raises:
        UserError: an event file is damaged.
    """
    files = tuple(file for file in _files(user, about) if file[0].name not in without)
    return _standing(files, about.annotator, about.kind)


File = tuple[Path, int, int]
"""Path, size and time of the last change of a file."""


def _files(user: Path, about: About) -> tuple[File, ...]:
    paths = sorted(events_folder(user, about).glob("*.jsonl"))
    return tuple((path, state.st_size, state.st_mtime_ns) for path, state in ((path, path.stat()) for path in paths))


@functools.lru_cache(maxsize=8)
def _standing(files: tuple[File, ...], annotator: str, kind: Kind) -> Mapping[int, Event]:
    rank = {"review": 1, "adjudication": 2}.get(kind)
    counting = [event for event in _merged(files, annotator) if rank is None or RANKS.get(event.provenance) == rank]
    return {event.key: event for event in standing(counting)}


@functools.lru_cache(maxsize=8)
def _merged(files: tuple[File, ...], annotator: str) -> tuple[Event, ...]:
    """Read the events of a person; the same decision in two files counts once, see `read_events`."""
    events: dict[str, Event] = {}
    for path, size, changed in files:
        for event in _of_file(path, size, changed, annotator):
            if event.hash not in events or event.version > events[event.hash].version:
                events[event.hash] = event
    return tuple(sorted(events.values(), key=lambda event: event.order))


@functools.lru_cache(maxsize=512)
def _of_file(path: Path, size: int, changed: int, annotator: str) -> tuple[Event, ...]:
    return tuple(event for event in read_events([path]) if event.annotator == annotator)


def _present(block_year: BlockYear, kind: Kind) -> str:
    """Return the digest of the present products, or of the design of a sample of pixels."""
    if kind == "review" or kind == "adjudication":
        return present_digest(block_year)
    return content_digest(block_year.layout.user.pixel_sample(kind, block_year.year, block_year.block))[:16]
