"""The list of what a person can label: years, blocks and kinds of work, with what is left and done."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.change_sample import KINDS, earlier_year
from smallmines.annotation.checkout_pixels import asked_first
from smallmines.annotation.server.event_tables import disputed, events_of, standing
from smallmines.annotation.server.opening import kinds_of
from smallmines.annotation.working_copy import About, Kind
from smallmines.core.layout import Layout
from smallmines.core.readable import read_parquet
from smallmines.labels.event_files import PROVENANCE_OF
from smallmines.labels.pixel_samples import read_design

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.annotation.server.access import Person
    from smallmines.annotation.server.state import State

NEEDED = {
    "review": (Layout.segments, Layout.features, Layout.probabilities, Layout.labels),
    "adjudication": (Layout.segments, Layout.features, Layout.probabilities, Layout.labels),
    "prevalence": (Layout.probabilities,),
}
"""Products that a kind of work needs; others need the mask."""


def work_of(state: State, person: Person) -> list[dict[str, Any]]:
    """List the work of a person."""
    rows = []
    for year in state.config.year_names:
        for block in state.config.blocks:
            place = state.block_year(year, block)
            first = asked_first(place).splitlines()[:1]
            for kind in kinds_of(state.config, year):
                if kind != "adjudication" or person.adjudicates:
                    rows.append(_row(state, place, person, kind) | {"asked_first": "".join(first) if kind == "review" else ""})
    return rows


def _row(state: State, place: BlockYear, person: Person, kind: Kind) -> dict[str, Any]:
    """Return what is left and done of a kind of work; left is None where nothing was drawn or opened yet."""
    about = About(place.config.run, int(place.year), place.block, person.annotator, kind)
    events = events_of(place, kind)[0]
    own = standing(events[events["annotator"] == person.annotator])
    if kind == "review" or kind == "adjudication":
        own = own[(own["provenance"] == "adjudicated") == (kind == "adjudication")]
    left, why_not = _left(place, about, own["key"].to_numpy(np.uint64), events), ""
    pending, finished = state.journal.pending_of(about), False
    if not place.has(*NEEDED.get(kind, (Layout.mask,))):
        why_not = "run the workflow up to the masks first"
    elif kind in KINDS and left is None and not place.layout.change(earlier_year(place), place.year).is_file():
        why_not = "run snakemake change first"
    elif kind == "adjudication" and not left:
        finished = True
        why_not = "run the workflow first: people disagree since its last run" if disputed(events) else "people disagree about no segment"
    elif kind == "review" and person.annotator not in place.config.labels.annotators:
        why_not = f"{person.annotator} is none of labels.annotators"
    elif left == 0 and kind in PROVENANCE_OF:
        finished = True
        why_not = "all pixels are labelled"
    return {
        "year": place.year,
        "block": place.block,
        "kind": kind,
        "left": left,
        "done": len(own),
        "pending": pending,
        "available": not why_not or (finished and pending > 0),  # to hand in what waits, or to drop it
        "why_not": why_not,
    }


def _left(place: BlockYear, about: About, done: NDArray[np.uint64], events: pd.DataFrame) -> int | None:
    """Count what is left to label; None where it is not known before the work is opened."""
    if about.kind == "adjudication":
        settled = standing(events).loc[lambda table: table["provenance"] == "adjudicated", "key"]
        return int((~np.isin(_disputed_in_run(place), settled)).sum())
    if about.kind == "review":
        queue = _last_queue(place, about)
        return None if queue is None else int((~np.isin(queue, done)).sum())
    path = place.layout.user.pixel_sample(about.kind, place.year, place.block)
    if not path.is_file():
        return None
    design = read_design(path, about.kind)
    own = design["tile_id"].isin([tile.tile_id for tile in place.lattice.tiles_of(place.block)])
    return int((own & ~design["key"].isin(done)).sum())


def _disputed_in_run(place: BlockYear) -> NDArray[np.uint64]:
    """Return the keys of the segments that the last run of the workflow left open because people disagree."""
    path = place.layout.labels(place.year, place.block)
    if not place.segmented or not path.is_file():
        return np.empty(0, np.uint64)
    state = path.stat()
    return _disputed(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _disputed(path: Path, size: int, changed: int) -> NDArray[np.uint64]:
    table = read_parquet(path, columns=["key", "provenance"])
    return table.loc[table["provenance"] == "disputed", "key"].to_numpy(np.uint64)


def _last_queue(place: BlockYear, about: About) -> NDArray[np.uint64] | None:
    """Return the keys of the queue that a person was given last; None where there was none."""
    folder = place.layout.user.bases / place.year / place.block
    for path in sorted(folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime, reverse=True):
        annotator, kind, keys = _base(path)
        if (annotator, kind) == (about.annotator, about.kind) and len(keys):
            return keys
    return None


@functools.lru_cache(maxsize=1024)
def _base(path: Path) -> tuple[str, str, NDArray[np.uint64]]:
    """Return annotator, kind and keys of a base, without those that were asked for by tile; bases never change."""
    import json

    import pyarrow.parquet as pq

    about = json.loads((pq.read_schema(path).metadata or {}).get(b"about", b"{}"))
    table = read_parquet(path, columns=["key", "why"])
    return str(about.get("annotator")), str(about.get("kind")), table.loc[table["why"] != "tile", "key"].to_numpy().astype(np.uint64)
