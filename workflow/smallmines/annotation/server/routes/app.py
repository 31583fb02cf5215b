"""The web application: routes behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from smallmines.annotation.server.guard import Guard, Refusal
from smallmines.annotation.server.routes import people, view, work
from smallmines.annotation.server.routes.answers import json_answer
from smallmines.annotation.server.routes.routing import cookie_of, routes_of
from smallmines.annotation.server.state import State

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


def application(state: State, hosts: Iterable[str]) -> Guard:
    """Return the application of a run.

    Args:
        hosts: values of the header Host that are answered, besides those of this machine.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            state.refits.stop()
            state.journal.close()

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {404: "an address of this server", 405: "another method at this address"}
        refusal = Refusal(
            status, words.get(status, "an answer"), "another" if status == 404 else str(status), "open the page of this server"
        )
        return json_answer(refusal.document, status)

    app = Starlette(
        routes=routes_of(state, (*people.PATHS, *view.PATHS, *work.PATHS)),
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False

    def login_of(cookies: str) -> str:
        with suppress(Refusal):  # told by the route
            person = state.person(cookie_of(cookies, state.cookie)) if cookies else None
            return person.login if person else ""
        return ""

    return Guard(app, hosts, state.public_url, login_of)
