"""What the page of the labelling sends, for tests: edits of a session, at times that the test states."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.edits.batch import Batch, parse
from smallmines.annotation.server.edits.hand_in import HandedIn, hand_in
from smallmines.annotation.server.edits.journal import Acknowledgement, Journal
from smallmines.annotation.server.edits.session import Session

EVIDENCE = {"evidence": "Planet", "evidence_date": "2016-02-01"}


def new_uuid() -> str:
    """Return a UUID as the page makes them."""
    return str(uuid.uuid4())


def now_ms() -> int:
    """Return the time in ms since 1970."""
    return int(dt.datetime.now(dt.UTC).timestamp() * 1000)


def labelled(segments: Sequence[int], label: str, look: str = "single", **form: str) -> dict[str, Any]:
    """Return an edit as the page sends it, with evidence where the form says nothing else."""
    return {"segments": list(segments), "label": label, "look": look, "form": {**(EVIDENCE if label else {}), **form}}


def batch_of(*edits: dict[str, Any], name: str = "") -> Batch:
    """Return a batch."""
    return parse({"uuid": name or new_uuid(), "edits": list(edits)})


@dataclass
class Page:
    """A page on which a person labels."""

    journal: Journal
    session: Session
    sent: list[str] = field(default_factory=list)

    def send(self, *edits: dict[str, Any], at: int = 0) -> Acknowledgement:
        """Send a batch and wait for the acknowledgement."""
        batch = batch_of(*edits)
        self.sent.append(batch.uuid)
        return self.journal.append(self.session, batch, at or now_ms())

    def undo(self, of: str = "", at: int = 0) -> Acknowledgement:
        """Undo a batch, the last one where none is named."""
        name, of = new_uuid(), of or self.sent[-1]
        self.sent.append(name)
        return self.journal.undo(self.session, name, of, at or now_ms())

    def hand_in(self, dry: bool = False, now: dt.datetime | None = None) -> HandedIn:
        """Hand in."""
        return hand_in(self.journal, self.session, now or dt.datetime.now(dt.UTC), dry)

    @property
    def labels(self) -> dict[int, str]:
        """Own labels by segment."""
        return self.journal.state(self.session).labels


def tile_segments(block_year: BlockYear, tile: str) -> list[int]:
    """Return the segments of a tile."""
    table = block_year.table()
    return [int(number) for number in table.loc[table["tile_id"] == tile, "segment"]]


def predicted(page: Page, segment: int) -> str:
    """Return what a segment is predicted as."""
    return str(page.session.predicted[segment - 1])


def other(page: Page, segment: int) -> str:
    """Return what a segment is not predicted as."""
    return {"mining": "not_mining", "not_mining": "mining"}[predicted(page, segment)]
