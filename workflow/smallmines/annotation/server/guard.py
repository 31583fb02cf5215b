"""ASGI middleware that refuses what no page of this server sends: foreign hosts and origins, large bodies, floods."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smallmines.core.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request's body."""

DRAINED = 8 * LARGEST_BODY
"""A body that is longer than `LARGEST_BODY` is read to its end, if that comes before, so that its sender sees the answer."""

BODY_SECONDS = 30.0
"""A body that takes longer to arrive is refused."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that always are this machine: no foreign name leads to them, at whatever port (`ssh -L`)."""

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
"""Headers of every response."""

PER_SECOND, AT_ONCE = 200.0, 1500.0
"""Requests of a person who is logged in: on average, and at once. A view of a block has some hundred tiles."""

STRANGER_PER_SECOND, STRANGER_AT_ONCE = 50.0, 300.0
"""Requests from an address without a login: the page and its parts, and logins."""

CLIENTS = 10_000
"""Clients whose requests are counted; those that have been silent longest are forgotten."""


class Refusal(UserError):
    """A request that is not answered: HTTP status and the three lines of an error.

    Args:
        retry_after: seconds after which the client may try again.
        kind: what it is about, in a word that the page acts on.
    """

    def __init__(self, status: int, expected: str, found: str, do: str, retry_after: float = 0.0, kind: str = "") -> None:
        super().__init__(expected, found, do)
        self.status, self.retry_after, self.kind = status, retry_after, kind

    @property
    def document(self) -> dict[str, Any]:
        """The error as JSON: expected, found, do, and kind where there is one."""
        kind = {"kind": self.kind} if self.kind else {}
        return {"error": {"expected": self.expected, "found": self.found, "do": self.do, **kind}}


class Rates:
    """Token buckets of clients: `per_second` requests on average, `at_once` in a burst."""

    def __init__(self, per_second: float, at_once: float, clients: int = CLIENTS) -> None:
        self.per_second, self.at_once, self.clients = per_second, at_once, clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Count a request; return the seconds after which the client may try again, 0 where it may go on."""
        left, since = self._buckets.pop(client, (self.at_once, now))
        left = min(self.at_once, left + (now - since) * self.per_second)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self.clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.per_second


def hosts_of(host: str, port: int, public_url: str = "") -> frozenset[str]:
    """Return the values of the header Host that are answered, besides those of `LOOPBACK`."""
    name = f"[{host}]" if ":" in host else host
    public = urlsplit(public_url)
    return frozenset({f"{name}:{port}".lower(), *([name.lower()] if port == 80 else []), *([public.netloc.lower()] if public_url else [])})


class Guard:
    """The middleware.

    Args:
        app: application behind it.
        hosts: see `hosts_of`.
        public_url: address that people type, where a proxy stands before the server; empty: none.
        login_of: return the name under which requests with these cookies are counted; empty for a stranger.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], public_url: str, login_of: Callable[[str], str]) -> None:
        self.app, self.hosts, self.login_of = app, frozenset(hosts), login_of
        public = urlsplit(public_url)
        self.public_origin = f"{public.scheme}://{public.netloc}".lower() if public_url else ""
        self.people, self.strangers = Rates(PER_SECOND, AT_ONCE), Rates(STRANGER_PER_SECOND, STRANGER_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _Headers(scope["headers"])
        try:
            self._check(scope, headers)
            replayed = await _whole_body(headers, receive) if scope["method"] == "POST" else receive
        except Refusal as refusal:
            await _answer(refusal, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self.app(scope, replayed, with_headers)

    def _check(self, scope: Scope, headers: _Headers) -> None:
        """Raise `Refusal` for a request that no page of this server sends, or for one too many."""
        host = headers.only("host").lower()
        if not (host in self.hosts or _is_loopback(host)):
            address = f"a request to {host[:80]!r}" if host else "a request without, or with several"
            raise Refusal(421, "the address of this server in the header Host", address, "open the address that the server printed")
        login = self.login_of(headers.only("cookie"))
        client = login or str((scope.get("client") or ("unknown",))[0])
        rates = self.people if login else self.strangers
        if wait := rates.wait(client, time.monotonic()):
            raise Refusal(429, f"at most {rates.per_second:.0f} requests a second", "more", f"try again in {math.ceil(wait)} s", wait)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refusal(405, "GET or POST", str(scope["method"])[:20], "open the page of this server")
        self._check_origin(scope, headers, host)

    def _check_origin(self, scope: Scope, headers: _Headers, host: str) -> None:
        """Raise `Refusal` for a request that another site's page makes a browser send."""
        site, origin = headers.only("sec-fetch-site"), headers.only("origin").lower()
        is_page = scope["method"] != "POST" and scope["path"] == "/"  # a link elsewhere may lead to it
        if site in ("cross-site", "same-site") and not is_page:
            raise Refusal(
                403, "requests of this server's own page", f"one of another site (Sec-Fetch-Site: {site})", "open the page itself"
            )
        if scope["method"] != "POST":
            return
        if not headers.lacks("origin"):
            own = self.public_origin if self.public_origin.endswith(f"//{host}") else f"http://{host}"
            if not origin or origin not in (own, self.public_origin):
                raise Refusal(403, "requests of this server's own page", f"one of {origin[:80]!r} (Origin)", "open the page itself")
        elif site != "same-origin":
            raise Refusal(403, "the header Origin", "none", "send it: the address of this server")
        if headers.only("content-type").split(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "a body of the type application/json", headers.only("content-type")[:80] or "none", "send JSON")


class _Headers:
    """Headers of a request by name."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def only(self, name: str) -> str:
        """Return a header that occurs once; empty where it is missing or occurs several times. Several cookies are joined."""
        values = self._values.get(name, [])
        return "; ".join(values) if name == "cookie" else values[0].strip() if len(values) == 1 else ""

    def lacks(self, name: str) -> bool:
        """Whether a header does not occur."""
        return name not in self._values


def _is_loopback(host: str) -> bool:
    """Whether a Host is one of `LOOPBACK`, with or without a port."""
    name, colon, port = host.rpartition(":")
    if host in LOOPBACK:
        return True
    return bool(colon) and name in LOOPBACK and port.isascii() and port.isdigit() and len(port) <= 5


async def _whole_body(headers: _Headers, receive: Receive) -> Receive:
    """Receive the body of a request; return a `receive` that hands it on.

    Raises:
        Refusal: it is longer than `LARGEST_BODY`, with or without a header that says so, or slow.
    """
    too_long = Refusal(413, f"at most {LARGEST_BODY} bytes", "a longer body", "send less at a time")
    length = headers.only("content-length")
    if length and (not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > DRAINED):
        raise too_long
    body, received, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "a whole body", "the connection ended", "try again")
                received += len(message.get("body", b""))
                more = message.get("more_body", False)
                if received <= LARGEST_BODY:
                    body += message.get("body", b"")
                elif received > DRAINED or not more:
                    raise too_long
                else:  # the rest is dropped: an answer before its end would reach no browser
                    body.clear()
    except TimeoutError:
        raise Refusal(408, f"a body within {BODY_SECONDS:.0f} s", "a slower one", "try again") from None
    handed_on = False

    async def replayed() -> Message:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return replayed


async def _answer(refusal: Refusal, send: Send) -> None:
    """Send a refusal and close the connection, so that nothing more of its body is read."""
    body = json.dumps(refusal.document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *([(b"retry-after", str(math.ceil(refusal.retry_after)).encode())] if refusal.retry_after else []),
        *([(b"connection", b"close")] if refusal.status in (400, 408, 413) else []),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
