"""Batches: edits that the page sends at once, acknowledged together; parsed from JSON, checked as a check-in checks a working copy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.copy_content import LONGEST
from smallmines.annotation.decided import grouped, provenance_of, wrong
from smallmines.annotation.server.edits.session import Session
from smallmines.core.errors import UserError

FORM = ("confidence", "reason", "evidence", "evidence_date", "note")
"""Fields of the form that a person fills in once for many edits."""

LOOKS = ("single", "bulk")
"""How segments are labelled: by itself, or many with one movement."""

STATUSES = ("open", "done")
"""Statuses of a tile: done confirms all its segments without a label as predicted."""

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

MOST_SEGMENTS = 2_000_000
"""Segments of a batch. The largest block of the paper has 1.25 million."""

MOST_EDITS = 1000
"""Edits of a batch."""

Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class Edit:
    """A label for some segments, or a status for a tile.

    Attributes:
        segments: ids; empty where the edit is about a tile.
        tile, status: of an edit about a tile; else empty.
        label: mining | not_mining | unsure; empty erases.
        look: single | bulk; task where the edit is about a tile or restores what a task confirmed.
        form: texts by name, see `FORM`.
    """

    segments: Ids
    tile: str
    status: str
    label: str
    look: str
    form: Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """Edits in order, with the UUID that the page gave them."""

    uuid: str
    edits: tuple[Edit, ...]


def parse(values: Any) -> Batch:
    """Make a batch of the JSON that the page sends.

    Raises:
        UserError: it has not the form of one.
    """
    try:
        edits = values["edits"]
        if not isinstance(edits, list) or not 1 <= len(edits) <= MOST_EDITS:
            raise ValueError(f"edits is no list of 1 to {MOST_EDITS} edits")
        batch = Batch(uuid_of(values["uuid"]), tuple(map(_edit, edits)))
        if sum(len(edit.segments) for edit in batch.edits) > MOST_SEGMENTS:
            raise ValueError(f"more than {MOST_SEGMENTS} segments")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError("a batch of edits", problem[:300], "reload the page") from None
    return batch


def uuid_of(value: Any) -> str:
    """Return a UUID in lower case.

    Raises:
        ValueError: the value is none.
    """
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise ValueError("uuid is no UUID")
    return value.lower()


def _edit(values: Any) -> Edit:
    if not isinstance(values, dict):
        raise TypeError("an edit is no object")
    form = _form(values.get("form") or {})
    if "tile" in values:
        tile, status = _text(values["tile"], "tile", 40), values["status"]
        if not tile or status not in STATUSES or "segments" in values:
            raise ValueError(f"an edit about a tile names the tile and a status of {', '.join(STATUSES)}, and no segments")
        return Edit(np.empty(0, np.uint32), tile, status, "", "task", form)
    segments, look = values["segments"], values.get("look", "single")
    if not isinstance(segments, list) or not segments or not all(type(number) is int and 0 < number < 2**32 for number in segments):
        raise ValueError("segments is no list of ids")
    if look not in LOOKS:
        raise ValueError(f"look is not one of {', '.join(LOOKS)}")
    return Edit(np.unique(np.array(segments, np.uint32)), "", "", _text(values["label"], "label", 40), look, form)


def _form(values: Any) -> dict[str, str]:
    if not isinstance(values, dict) or set(values) - set(FORM):
        raise ValueError(f"form has other fields than {', '.join(FORM)}")
    return {name: _text(values.get(name, ""), name, LONGEST) for name in FORM}


def _text(value: Any, name: str, longest: int) -> str:
    """Return a text without spaces around it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    if value.encode(errors="replace").decode() != value:
        raise ValueError(f"{name} has half a character (a surrogate without its other half)")
    if len(value.strip()) > longest:
        raise ValueError(f"{name} has {len(value.strip())} characters, more than {longest}")
    return value.strip()


def check(session: Session, batch: Batch) -> None:
    """Check edits with the rules of a check-in.

    Raises:
        UserError: with all faults: an alien segment or tile, a value that is not allowed, a correction without evidence or its day.
    """
    faults = [fault for edit in batch.edits for fault in _faults(session, edit)]
    if faults:
        do = "give the evidence and its day in the form, or choose another label; nothing of this edit was kept"
        raise UserError("edits without faults", "; ".join(grouped(list(dict.fromkeys(faults)))), do)


def _faults(session: Session, edit: Edit) -> Iterator[str]:
    """Say what is wrong with an edit, segment by segment."""
    if edit.tile:
        if session.about.kind != "review":
            yield f"tile {edit.tile}: only in a review a tile can be confirmed as it is"
        elif not bool((session.tile_of == edit.tile).any()):
            yield f"tile {edit.tile}: no tile of the block"
        return
    ids = edit.segments.astype(np.int64)
    allowed = ids <= len(session.keys)
    allowed[allowed] = session.may_label[ids[allowed] - 1]
    yield from (f"segment {number}: is not to be labelled in this session" for number in ids[~allowed].tolist())
    ids = ids[allowed]
    predicted = session.predicted[ids - 1]
    for prediction in dict.fromkeys(predicted.tolist()):
        answer = {"label": edit.label, **edit.form}
        texts = list(wrong(answer, provenance_of(edit.label, prediction, session.about.kind)))
        yield from (f"segment {number}: {text}" for text in texts for number in ids[predicted == prediction].tolist())
