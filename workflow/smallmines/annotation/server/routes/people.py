"""Routes about the page and the person: files of the client, login, the list of work, the status."""

from __future__ import annotations

import gzip
import hashlib
import logging
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from smallmines.annotation.server.access import LOGIN_SECONDS
from smallmines.annotation.server.guard import Refusal
from smallmines.annotation.server.routes.answers import CHECKED, json_answer
from smallmines.annotation.server.routes.inputs import body_of, text_of
from smallmines.annotation.server.routes.routing import Asked, Path, cookie_of
from smallmines.annotation.server.state import in_thread
from smallmines.labels.event_files import CONFIDENCES, LABELS

if TYPE_CHECKING:
    from starlette.responses import Response

log = logging.getLogger(__name__)

CLIENT = FilePath(__file__).parents[1] / "client"
"""Folder of the page."""

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}
"""Types of the files that are served; others are not."""


@dataclass(frozen=True)
class Static:
    """A file of the page, read when it is first asked for."""

    body: bytes
    packed: bytes
    etag: str
    media_type: str


@cache
def table_of_files(folder: FilePath = CLIENT) -> dict[str, FilePath]:
    """Return the files of the page by the name that they are asked for; a name that is not among them leads nowhere."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in TYPES and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in files}


def read_static(path: FilePath) -> Static:
    """Read a file of the page, again where it changed."""
    return _read_static(path, path.stat().st_mtime_ns)


@cache
def _read_static(path: FilePath, changed: int) -> Static:
    body = path.read_bytes()
    etag = hashlib.sha256(body).hexdigest()[:32]
    return Static(body, gzip.compress(body, 6), etag, TYPES[path.suffix])


async def _file(asked: Asked, name: str) -> Response:
    from starlette.responses import Response

    path = table_of_files().get(name)
    if path is None:
        raise Refusal(404, "a file of the page", "none of this name", "reload the page")
    static = await in_thread(asked.state.pictures, read_static, path)
    packed = "gzip" in asked.request.headers.get("accept-encoding", "")
    headers = {"cache-control": CHECKED, "etag": f'"{static.etag}{"-gz" if packed else ""}"', "vary": "accept-encoding"}
    if asked.request.headers.get("if-none-match", "") == headers["etag"]:
        return Response(b"", 304, headers)
    if packed:
        headers["content-encoding"] = "gzip"
    return Response(static.packed if packed else static.body, 200, headers, static.media_type)


async def page(asked: Asked) -> Response:
    """Return the page."""
    return await _file(asked, "index.html")


async def static(asked: Asked) -> Response:
    """Return a file of the page."""
    return await _file(asked, asked.request.path_params["name"])


async def login(asked: Asked) -> Response:
    """Exchange a token, or on this machine the code of a person, for a cookie."""
    values = await body_of(asked.request, "token", "annotator")
    token, annotator = text_of(values, "token", longest=200), text_of(values, "annotator", longest=200)
    state, now = asked.state, asked.state.clock()
    if token:
        made = await in_thread(state.edits, state.access.login, token, now)
        do = "ask for a new link: smallmines labels serve token … --config …"
        refusal = Refusal(401, "a token that is valid", "one that is wrong, expired or revoked", do)
    else:
        made = await in_thread(state.edits, state.access.login_here, annotator, now)
        needs_token = not state.access.open_to_this_machine()
        found = "none" if needs_token else f"{annotator!r:.60}"
        do = "open the link that you were given" if needs_token else "use a code as A01"
        refusal = Refusal(401, "a token" if needs_token else "the code of a person", found, do)
    if made is None:
        address = str(asked.request.client.host if asked.request.client else "unknown")
        log.warning("a login from %s was refused: %s", address, refusal.found)
        if wait := state.failures.wait(address, time.monotonic()):
            raise Refusal(429, "at most 10 failed logins a minute", "more", f"try again in {wait:.0f} s", wait)
        raise refusal
    cookie, person = made
    log.info("%s logs in (%s)", person.annotator, person.role)
    response = json_answer({"annotator": person.annotator, "role": person.role})
    response.set_cookie(state.cookie, cookie, max_age=LOGIN_SECONDS, path="/", secure=state.secure, httponly=True, samesite="strict")
    return response


async def logout(asked: Asked) -> Response:
    """End the login."""
    await body_of(asked.request)
    state = asked.state
    await in_thread(state.edits, state.access.logout, cookie_of(asked.request.headers.get("cookie", ""), state.cookie))
    response = json_answer({})
    response.delete_cookie(state.cookie, path="/", secure=state.secure, httponly=True, samesite="strict")
    return response


async def me(asked: Asked) -> Response:
    """Say who asks, and what the run has; without a login only whether one has to be made with a token."""
    state, person = asked.state, asked.person
    here = state.access.open_to_this_machine()
    known = bool(person.annotator)
    document = {
        "run": state.config.run if known or here else None,
        "annotator": person.annotator or None,
        "role": person.role if known else None,
        "needs_token": not here,
        "annotators": list(state.config.labels.annotators) if here or person.leads else [],
        "years": list(state.config.year_names) if known else [],
        "blocks": list(state.config.blocks) if known else [],
        "labels": list(LABELS),
        "confidences": list(CONFIDENCES),
        "version": _version() if known or here else None,
    }
    return json_answer(document)


@cache
def _version() -> str:
    """Return the version of the library; empty where it is not installed."""
    try:
        return version("smallmines")
    except PackageNotFoundError:
        return ""


async def work(asked: Asked) -> Response:
    """List what the person can label."""
    from smallmines.annotation.server.work import work_of

    return json_answer({"rows": await in_thread(asked.state.tables, work_of, asked.state, asked.person)})


async def status(asked: Asked) -> Response:
    """Return the figures of the status page: those of all people to a lead, else the person's own."""
    from smallmines.annotation.server.status_page import figures_for

    return json_answer(await in_thread(asked.state.tables, figures_for, asked.state, asked.person))


PATHS = (
    Path("/", page, of_strangers=True),
    Path("/static/{name:path}", static, of_strangers=True),
    Path("/api/login", login, "POST", of_strangers=True, user_error=503),
    Path("/api/logout", logout, "POST", of_strangers=True, user_error=503),
    Path("/api/me", me, of_strangers=True, user_error=503),
    Path("/api/work", work, user_error=503),
    Path("/api/status", status, user_error=503),
)
