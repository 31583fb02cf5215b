"""The guard: which requests reach the application, and what every answer says to the browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest

from smallmines.annotation.server.guard import LARGEST_BODY, POLICY, Guard, Rates, hosts_of

PUBLIC = "https://labels.lab.org"
HOSTS = hosts_of("10.0.0.5", 8010, PUBLIC)
SAME = {"host": "127.0.0.1:8010", "origin": "http://127.0.0.1:8010", "content-type": "application/json"}


async def app(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    if scope["method"] == "POST":
        message = await receive()
        assert not message["more_body"]
        body = message["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


def guard(login: str = "") -> Guard:
    return Guard(app, HOSTS, PUBLIC, lambda cookies: login)


def ask(
    headers: dict[str, str] | list[tuple[str, str]],
    method: str = "GET",
    path: str = "/api/me",
    parts: Iterable[bytes] = (b"",),
    guarded: Guard | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to one request whose body arrives in parts."""
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    left, sent = list(parts), []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": ("10.1.1.1", 5000),
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run((guarded or guard())(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8010", "localhost:8010", "localhost:9000", "LOCALHOST", "[::1]:8010", "10.0.0.5:8010", "labels.lab.org"]
)
def test_hosts_of_the_server_are_answered(host: str) -> None:
    assert ask({"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.org",
        "evil.org:8010",
        "127.0.0.1.evil.org",
        "localhost.evil.org:8010",
        "localhost:80x",
        "10.0.0.5",
        "10.0.0.5:8011",
        "",
        "labels.lab.org@evil.org",
        "localhost:8010, evil.org",
    ],
)
def test_other_hosts_are_not(host: str) -> None:
    status, headers, body = ask({"host": host})
    assert status == 421
    assert set(json.loads(body)["error"]) == {"expected", "found", "do"}
    assert headers["content-security-policy"] == POLICY
    assert ask([("host", "localhost:8010"), ("host", "evil.org")])[0] == 421
    assert ask([])[0] == 421


def test_every_answer_has_the_headers() -> None:
    for status, headers, _ in (ask({"host": "localhost"}), ask({"host": "evil.org"}), ask(SAME, "POST")):
        assert status in (200, 421)
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8010"}, 403),
        ({"origin": "https://127.0.0.1:8010"}, 403),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"origin": "http://evil.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": PUBLIC}, 200),
        ({"host": "labels.lab.org", "origin": PUBLIC}, 200),
        ({"host": "labels.lab.org", "origin": "http://labels.lab.org"}, 403),
        ({"host": "labels.lab.org", "origin": "https://labels.lab.org.evil.org"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "text/plain; application/json"}, 415),
    ],
)
def test_posts_come_from_the_own_page(change: dict[str, str], status: int) -> None:
    assert ask({**SAME, **change}, "POST")[0] == status


def test_a_post_with_two_origins_is_refused() -> None:
    guarded = Guard(app, HOSTS, "", lambda cookies: "")
    for origins in (("http://127.0.0.1:8010", "http://evil.org"), ("", "")):
        headers = [("host", "127.0.0.1:8010"), ("content-type", "application/json"), *(("origin", origin) for origin in origins)]
        assert ask(headers, "POST", guarded=guarded)[0] == 403


def test_a_post_without_origin_needs_the_browsers_word() -> None:
    bare = {name: value for name, value in SAME.items() if name != "origin"}
    assert ask(bare, "POST")[0] == 403
    assert ask({**bare, "sec-fetch-site": "none"}, "POST")[0] == 403
    assert ask({**bare, "sec-fetch-site": "same-origin"}, "POST")[0] == 200
    assert ask([*SAME.items(), ("origin", "http://evil.org")], "POST")[0] == 403


def test_a_link_elsewhere_leads_to_the_page_but_to_nothing_else() -> None:
    elsewhere = {"host": "localhost:8010", "sec-fetch-site": "cross-site"}
    assert ask(elsewhere, path="/")[0] == 200
    assert ask(elsewhere, path="/api/me")[0] == 403
    assert ask(elsewhere, path="/static/main.js")[0] == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"])
def test_other_methods_are_refused(method: str) -> None:
    assert ask(SAME, method)[0] == 405


def test_bodies_are_limited_with_and_without_a_length() -> None:
    half = b"x" * (LARGEST_BODY // 2)
    assert ask(SAME, "POST", parts=[half, half])[::2] == (200, str(LARGEST_BODY).encode())
    status, headers, _ = ask(SAME, "POST", parts=[half, half, b"x"])
    assert status == 413
    assert headers["connection"] == "close"
    status, headers, _ = ask(SAME, "POST", parts=[*[half] * 17, b"never read"])
    assert status == 413
    for length in (str(8 * LARGEST_BODY + 1), "9" * 30, "-1", "1e3", "٣"):
        assert ask({**SAME, "content-length": length.encode().decode("latin-1")}, "POST", parts=[b"{}"])[0] == 413


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallmines.annotation.server.guard.BODY_SECONDS", 0.05)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(name.encode(), value.encode()) for name, value in SAME.items()]}
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard()(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_flood_is_slowed_down_for_its_client_alone() -> None:
    rates = Rates(per_second=10, at_once=20, clients=3)
    assert [rates.wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert rates.wait("a", 0.0) == pytest.approx(0.1)
    assert rates.wait("b", 0.0) == 0
    assert rates.wait("a", 0.1) == 0
    assert rates.wait("a", 0.1) > 0
    assert [rates.wait("a", 100.0) for _ in range(21)].count(0.0) == 20
    for client in "cdef":
        rates.wait(client, 100.0)
    assert len(rates._buckets) == 3, "a crowd of clients takes no memory"


def test_strangers_and_people_have_their_own_rates() -> None:
    flooded = guard()
    flooded.strangers.per_second = 0.01  # so that the test's own speed does not matter
    statuses = [ask({"host": "localhost"}, guarded=flooded)[0] for _ in range(400)]
    assert statuses[:300] == [200] * 300
    assert statuses[-1] == 429
    assert int(ask({"host": "localhost"}, guarded=flooded)[1]["retry-after"]) >= 1
    flooded.login_of = lambda cookies: "someone"
    assert ask({"host": "localhost"}, guarded=flooded)[0] == 200


def test_web_sockets_are_closed() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read of it")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard()({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
