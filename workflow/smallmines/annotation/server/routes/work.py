"""Routes of the work itself: open a block, edit, undo, learn, hand in."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from smallmines.annotation.server.edits import batch as batches
from smallmines.annotation.server.edits.hand_in import drop, hand_in
from smallmines.annotation.server.edits.journal import Conflict, JournalFull, OtherContent
from smallmines.annotation.server.edits.session import Session, open_session
from smallmines.annotation.server.guard import Refusal
from smallmines.annotation.server.opening import document_of, kinds_of
from smallmines.annotation.server.rerun import targets_of
from smallmines.annotation.server.routes.answers import json_answer
from smallmines.annotation.server.routes.inputs import UUID, WRITER, body_of, choice_of, flag_of, text_of, tiles_of
from smallmines.annotation.server.routes.routing import Asked, Path
from smallmines.annotation.server.routes.view import OF_SESSION, snapshot_of
from smallmines.annotation.server.state import in_thread, require_kind
from smallmines.annotation.working_copy import About
from smallmines.core import memory

if TYPE_CHECKING:
    from starlette.responses import Response

log = logging.getLogger(__name__)


def _milliseconds(asked: Asked) -> int:
    return int(asked.state.clock() * 1000)


async def opened(asked: Asked) -> Response:
    """Open a block and year for a kind of work."""
    values = await body_of(asked.request, "year", "block", "kind", "tiles", "everything", "writer", "take_over")
    state = asked.state
    year = choice_of(values, "year", state.config.year_names)
    block = choice_of(values, "block", state.config.blocks)
    kind = choice_of(values, "kind", kinds_of(state.config, year))
    require_kind(asked.person, kind)
    tiles, everything = tiles_of(values, "tiles"), flag_of(values, "everything")
    writer, take_over = text_of(values, "writer", WRITER), flag_of(values, "take_over")

    def made() -> dict[str, Any]:
        about = About(state.config.run, int(year), block, asked.person.annotator, kind)
        place, unfinished = state.block_year(year, block), state.journal.unfinished(about)
        session = open_session(place, asked.person.annotator, kind, tiles, everything, unfinished)
        try:
            state.journal.writer(session, writer, take_over, opens=True)
        except Conflict as error:
            raise Refusal(409, error.expected, error.found, error.do, kind="writer") from None
        state.sessions.of(session.id, lambda: session)
        state.warm(session)
        log.info("%s opens %s, block %s (%s)", asked.person.annotator, year, block, kind)
        return document_of(state, session)

    try:
        return json_answer(await in_thread(state.openings, made))
    finally:
        await in_thread(state.openings, memory.release)


async def heartbeat(asked: Asked) -> Response:
    """Say that a tab is still the one that writes."""
    session = await asked.session()
    writer = text_of(await body_of(asked.request, "writer"), "writer", WRITER)
    try:
        await in_thread(asked.state.edits, asked.state.journal.writer, session, writer, False)
    except Conflict as error:
        raise Refusal(423, error.expected, error.found, error.do, kind="writer") from None
    return json_answer({"changed": await in_thread(asked.state.pictures, lambda: session.changed)})


async def edited(asked: Asked) -> Response:
    """Add edits to the journal, or undo some; answered when they are on the disk."""
    session = await asked.session()
    values = await body_of(asked.request, "uuid", "writer", "edits", "undo")
    uuid, writer = text_of(values, "uuid", UUID).lower(), text_of(values, "writer", WRITER)
    undone = text_of(values, "undo", UUID).lower() if "undo" in values else ""
    state, now = asked.state, _milliseconds(asked)

    def made() -> dict[str, Any]:
        state.journal.writer(session, writer, False)
        if undone:
            acknowledged = state.journal.undo(session, uuid, undone, now)
            restored = [_restored(edit) for edit in state.journal.edits_of(session, uuid)]
            return {**asdict(acknowledged), "changed": session.changed, "restored": restored}
        acknowledged = state.journal.append(session, batches.parse(values), now)
        return {**asdict(acknowledged), "changed": session.changed}

    try:
        document = await in_thread(state.edits, made)
    except Conflict as error:
        raise Refusal(423, error.expected, error.found, error.do, kind="writer") from None
    except OtherContent as error:
        raise Refusal(409, error.expected, error.found, error.do, kind="content") from None
    except JournalFull as error:
        raise Refusal(507, error.expected, error.found, error.do, kind="full") from None
    return json_answer(document)


def _restored(edit: batches.Edit) -> dict[str, Any]:
    """Return what an edit of an undo brings back, as the page knows it."""
    return {"tile": edit.tile, "status": edit.status} if edit.tile else {"segments": edit.segments, "label": edit.label}


async def history(asked: Asked) -> Response:
    """List the batches of the session that are not handed in, in their order: what the page can undo and do again."""
    session = await asked.session()
    made = await in_thread(asked.state.edits, asked.state.journal.history, session)
    return json_answer({"batches": [{"uuid": uuid, "undo": undone} for uuid, undone in made]})


async def handed_in(asked: Asked) -> Response:
    """Write the person's edits as one event file, and ask what the workflow makes again."""
    session = await asked.session()
    values = await body_of(asked.request, "writer", "dry")
    writer, dry = text_of(values, "writer", WRITER), flag_of(values, "dry")
    state = asked.state

    def made() -> dict[str, Any]:
        state.journal.writer(session, writer, False)
        result = hand_in(state.journal, session, dt.datetime.fromtimestamp(state.clock(), dt.UTC), dry)
        return {
            "events": len(result.events),
            "counts": result.counts,
            "file": result.file.name if result.file else None,
            "warnings": list(result.warnings),
            "stale": result.stale,
            "pending": state.journal.pending(session),
        }

    try:
        document = await in_thread(state.tables, made)
    except Conflict as error:
        raise Refusal(423, error.expected, error.found, error.do, kind="writer") from None
    if document["events"] and not dry:
        log.info("%s hands in %d decisions: %s", asked.person.annotator, document["events"], document["file"])
        state.plans.start(session.id, state.config_path, state.config.run, state.root, targets_of({session.about.kind}))
    return json_answer(document)


async def dropped(asked: Asked) -> Response:
    """Leave the edits of the person, block, year and kind that are not handed in out of the next hand-in."""
    session = await asked.session()
    writer = text_of(await body_of(asked.request, "writer"), "writer", WRITER)
    state = asked.state

    def made() -> int:
        state.journal.writer(session, writer, False)
        return drop(state.journal, session, dt.datetime.fromtimestamp(state.clock(), dt.UTC))

    try:
        left = await in_thread(state.tables, made)
    except Conflict as error:
        raise Refusal(423, error.expected, error.found, error.do, kind="writer") from None
    log.info("%s drops the edits of %s that are not handed in", asked.person.annotator, session.id)
    return json_answer({"pending": left})


async def rerun(asked: Asked) -> Response:
    """Say what the workflow makes again after the last hand-in of the session."""
    session = await asked.session()
    return json_answer(asked.state.plans.state(session.id))


def _require_learning(session: Session) -> None:
    """Refuse suggestions where they would lead the person: in adjudication and samples.

    Raises:
        Refusal: of the kind of work.
    """
    if session.about.kind != "review":
        raise Refusal(409, "review", session.about.kind, "label what you see: there are no suggestions in this work")
    snapshot_of(session)


async def learn(asked: Asked) -> Response:
    """Start to train a forest on the samples and the person's labels."""
    session = await asked.session()
    await body_of(asked.request)
    _require_learning(session)
    state = asked.state

    def made() -> dict[str, Any]:
        learner = state.learner(session)
        learner.start(session, state.journal.state(session).labels)
        return learner.state()

    return json_answer(await in_thread(state.tables, made), 202)


async def learned(asked: Asked) -> Response:
    """Say how far the training is, or what an earlier one gave."""
    session = await asked.session()
    _require_learning(session)
    return json_answer(await in_thread(asked.state.tables, lambda: asked.state.learner(session).state()))


PATHS = (
    Path("/api/open", opened, "POST", user_error=409),
    Path(f"{OF_SESSION}/heartbeat", heartbeat, "POST", user_error=409),
    Path(f"{OF_SESSION}/edits", edited, "POST", user_error=422),
    Path(f"{OF_SESSION}/history", history),
    Path(f"{OF_SESSION}/handin", handed_in, "POST", user_error=422),
    Path(f"{OF_SESSION}/drop", dropped, "POST", user_error=422),
    Path(f"{OF_SESSION}/rerun", rerun),
    Path(f"{OF_SESSION}/learn", learn, "POST", user_error=409),
    Path(f"{OF_SESSION}/learn", learned),
)
