"""Fold the edits of a journal to the last one of each segment, and tell a person's own label: by edits that wait, else by the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.server.edits.session import Session
from smallmines.labels.event_files import Event

OWN = ("", "mining", "not_mining", "unsure")
"""A person's own labels; the place is the code."""

UNTOUCHED = 255
"""Code of a segment without an edit."""

Ids = NDArray[np.uint32]


@dataclass
class Fold:
    """The last edit of each segment of a session, among all edits of the person about this block, year and kind.

    Attributes:
        last: by segment, from 1: number of its last edit; 0 where there is none.
        label: by segment: code of its last edit's label (`OWN`; 0: erased); `UNTOUCHED` where there is none.
        tiles: number and status of the last edit of each tile, of this session.
        upto: number of the last edit that was folded.
    """

    last: Ids
    label: NDArray[np.uint8]
    tiles: dict[str, tuple[int, str]] = field(default_factory=dict)
    upto: int = 0

    @classmethod
    def empty(cls, count: int) -> Fold:
        """Return a fold of no edits of `count` segments."""
        return cls(np.zeros(count + 1, np.uint32), np.full(count + 1, UNTOUCHED, np.uint8))

    def waiting(self, first: int) -> NDArray[np.uint8]:
        """Return `label`, `UNTOUCHED` where the last edit is handed in: of these the events tell, which a check-in may have added to.

        Args:
            first: number of the first edit that is not handed in.
        """
        return np.where(self.last >= first, self.label, np.uint8(UNTOUCHED))

    @property
    def done(self) -> dict[str, int]:
        """Tiles that are done, with the number of the edit that says so."""
        return {tile: number for tile, (number, status) in self.tiles.items() if status == "done"}

    def apply(self, number: int, segments: Ids, label: str) -> None:
        """Add an edit that is later than all others."""
        self.last[segments] = number
        self.label[segments] = OWN.index(label)
        self.upto = max(self.upto, number)

    def apply_tile(self, number: int, tile: str, status: str) -> None:
        """Add an edit of a tile that is later than all others."""
        self.tiles[tile] = number, status
        self.upto = max(self.upto, number)


def fold_rows(fold: Fold, rows: Iterable[tuple[Any, ...]], session: Session) -> None:
    """Add the edits of a journal to a fold.

    Args:
        rows: number, session, tile, status, label, ids, keys of edits in the order of their numbers; keys may be None in edits of the
            session itself. Segments of other sessions are found by their content keys.
    """
    numbers, labels, ids, sizes = [], [], [], []
    for number, name, tile, status, label, own_ids, keys in rows:
        fold.upto = number
        if tile:
            if name == session.id:
                fold.apply_tile(number, tile, status)
            continue
        if name != session.id:
            own_ids = (_places(np.frombuffer(keys, "<u8"), session)[0] + 1).astype("<u4").tobytes()
        numbers.append(number)
        labels.append(OWN.index(label))
        ids.append(own_ids)
        sizes.append(len(own_ids) // 4)
    if numbers:
        segments = np.frombuffer(b"".join(ids), "<u4")
        # of several assignments the last stands
        fold.last[segments] = np.repeat(np.array(numbers, np.uint32), sizes)
        fold.label[segments] = np.repeat(np.array(labels, np.uint8), sizes)


def _places(keys: NDArray[np.uint64], session: Session) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the places in `session.keys` of those of some keys that are among them, and which are."""
    order = session.by_key
    there = order[np.minimum(np.searchsorted(session.keys, keys, sorter=order), len(order) - 1)]
    is_segment = session.keys[there] == keys
    return there[is_segment], is_segment


@dataclass(frozen=True)
class OwnState:
    """What a person says of the segments of a session.

    Attributes:
        label: by segment, from 1: code of the own label (`OWN`).
        done: tiles that are confirmed as they are.
        pending: edits of the person, block, year and kind that are not handed in.
    """

    label: NDArray[np.uint8]
    done: tuple[str, ...]
    pending: int

    @cached_property
    def labels(self) -> dict[int, str]:
        """Own labels by segment."""
        labelled = np.flatnonzero(self.label)
        return {segment: OWN[code] for segment, code in zip(labelled.tolist(), self.label[labelled].tolist(), strict=True)}


def own_labels(session: Session, edited: NDArray[np.uint8], standing_events: Mapping[int, Event]) -> NDArray[np.uint8]:
    """Return the code of a person's own label of each segment, from 1: of the edits that wait (`Fold.waiting`), else of the events."""
    label = np.zeros(len(edited), np.uint8)
    if standing_events:
        keys = np.fromiter(standing_events, np.uint64, len(standing_events))
        codes = np.fromiter((OWN.index(event.label) for event in standing_events.values()), np.uint8, len(keys))
        places, is_segment = _places(keys, session)
        label[places + 1] = codes[is_segment]
    touched = edited != UNTOUCHED
    label[touched] = edited[touched]
    label[0] = 0
    return label
