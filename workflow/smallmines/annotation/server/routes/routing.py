"""Frame of the routes: who asks, errors as JSON, and the table that the application is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, TypeVar

from smallmines.annotation.server.access import Person
from smallmines.annotation.server.edits.session import Session, UnknownSession
from smallmines.annotation.server.guard import Refusal
from smallmines.annotation.server.routes.answers import error_answer
from smallmines.annotation.server.routes.inputs import SESSION
from smallmines.annotation.server.state import State, in_thread

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


Result = TypeVar("Result")


@dataclass(frozen=True)
class Asked:
    """A request of a person who is logged in.

    Attributes:
        person: who asks; the code of nobody on routes without a login.
    """

    state: State
    request: Request
    person: Person

    async def session(self) -> Session:
        """Return the session that the address names.

        Raises:
            Refusal: there is no such session (404), or it is another person's (403).
        """
        name = self.request.path_params["session"]
        try:
            return await self.state.session(name if SESSION.fullmatch(name) else "", self.person)
        except UnknownSession:
            raise Refusal(404, "a session", "none of this name", "open the block again") from None

    async def shown(self, work: Callable[[Session], Result]) -> Result:
        """Return what work makes of the products of the session, in a thread.

        Raises:
            Refusal: as `session`, or the products were made again since it was opened (409).
        """
        session = await self.session()

        def of_present_products() -> Result:
            if session.changed:
                found = "the workflow made them again since this block was opened"
                do = "hand in, then open the block again"
                raise Refusal(409, "the products that this block was opened with", found, do, kind="changed")
            return work(session)

        return await in_thread(self.state.pictures, of_present_products)

    def number(self, name: str, low: int, high: int) -> int:
        """Return a whole number of the address.

        Raises:
            Refusal: it is none, or outside of its range (404).
        """
        text = self.request.path_params[name]
        if not text.isascii() or not text.isdigit() or len(text) > 10 or not low <= int(text) <= high:
            raise Refusal(404, f"{name} from {low} to {high}", f"{text:.20}", "reload the page")
        return int(text)


Handler = Callable[[Asked], "Awaitable[Response]"]

NOBODY = Person("", "annotator")


@dataclass(frozen=True)
class Path:
    """A path of the server.

    Attributes:
        path: as Starlette writes it.
        handler: answers it.
        method: GET or POST.
        of_strangers: answered without a login.
        user_error: status of a `UserError`.
    """

    path: str
    handler: Handler
    method: str = "GET"
    of_strangers: bool = False
    user_error: int = 404


def cookie_of(header: str, name: str) -> str:
    """Return a cookie of a header; empty where there is none."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def routes_of(state: State, paths: Iterable[Path]) -> list[Route]:
    """Return the routes of an application, one for each path with its methods."""
    from starlette.routing import Route

    return [Route(path.path, _endpoint(state, path), methods=[path.method]) for path in paths]


def _endpoint(state: State, path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        try:
            person = state.person(cookie_of(request.headers.get("cookie", ""), state.cookie))
            if person is None and not path.of_strangers:
                raise Refusal(401, "a login", "none that is valid", "open the link that you were given, or ask for a new one")
            return await path.handler(Asked(state, request, person or NOBODY))
        except Exception as error:  # of any kind: the page is told, the server goes on
            return error_answer(error, path.user_error, state.root)

    return answered
