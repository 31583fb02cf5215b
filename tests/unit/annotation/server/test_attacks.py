"""Attacks on the server: refused or harmless, and labels stay as they were."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from place import make_place
from served import Client, Served, served
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.guard import LARGEST_BODY, Rates
from smallmines.annotation.server.routes import connection

PATHS = [
    "../../../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..\\..\\etc\\passwd",
    "%00",
    "tokens.json%00.png",
    "..",
    ".",
    "%",
    "%ff%fe",
    "a" * 5000,
    "'; DROP TABLE batches; --",
    "1 OR 1=1",
    "-1",
    "1e9",
    "٣",
    "999999999999999999999999",
]
ADDRESSES = [
    "/static/{}",
    "/api/sessions/{}/queue",
    "/api/sessions/SESSION/layers/{}/0/0/0",
    "/api/sessions/SESSION/layers/true-2016/{}/0/0",
    "/api/sessions/SESSION/layers/true-2016/0/{}/0",
    "/api/sessions/SESSION/layers/true-2016/0/0/{}",
    "/api/sessions/SESSION/segments/{}/0/0",
    "/api/sessions/SESSION/segments/0/{}/0",
    "/api/sessions/SESSION/segments/0/0/{}",
    "/api/sessions/SESSION/columns/{}",
    "/api/sessions/SESSION/queue?order={}",
    "/api/sessions/SESSION/segment/{}",
    "/api/sessions/SESSION/tiles/{}.kmz",
    "/{}",
    "/api/{}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> BlockYear:
    return make_place(tmp_path_factory.mktemp("attacked"))


@pytest.fixture(scope="module")
def server(place: BlockYear) -> Iterator[Served]:
    with served(place, local=False) as running:
        yield running


@pytest.fixture(scope="module")
def anna(server: Served) -> Client:
    return server.client("A01")


@pytest.fixture(scope="module")
def session(anna: Client) -> str:
    return str(anna.open().json()["session"])


@pytest.fixture(autouse=True)
def nobody_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rates, "wait", lambda *words: 0.0)


def raw(server: Served, path: str, cookies: str) -> tuple[int, bytes]:
    """Ask for a path as it is, which `requests` would tidy up."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    connection.putrequest("GET", quote(path, safe="/%?=&;'\\"), skip_host=True)
    connection.putheader("Host", address.netloc)
    connection.putheader("Cookie", cookies)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def edits_in(place: BlockYear) -> int:
    with sqlite3.connect(place.layout.user.journal) as file:
        return int(file.execute("SELECT count(*) FROM edits").fetchone()[0])


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_part_of_an_address_becomes_a_path(server: Served, anna: Client, session: str, address: str) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in anna.session.cookies.items())
    for path in PATHS:
        status, body = raw(server, address.replace("SESSION", session).format(path), cookies)
        assert 400 <= status < 500 or (path in (".", "..", "%") and status == 200 and b"<html" in body), (path, status)
        assert b"root:" not in body
        assert b"Traceback" not in body
        if status != 400:  # of the web server itself, for what is no HTTP
            assert set(json.loads(body)["error"]) >= {"expected", "found", "do"}


@pytest.mark.parametrize(
    "change",
    [
        *(
            {name: path}
            for name in ("year", "block", "kind", "writer")
            for path in ("../2016", "/etc/passwd", "", 1, None, [], {"a": 1}, "2016\x00")
        ),
        {"tiles": ["../0001"]},
        {"tiles": ["9999"]},
        {"tiles": "0001"},
        {"tiles": [1]},
        {"tiles": ["0001"] * 5000},
        {"everything": "yes"},
        {"annotator": "A02"},
        {"time": 0},
        {"take_over": 1},
    ],
    ids=str,
)
def test_nothing_strange_is_opened(anna: Client, place: BlockYear, session: str, change: dict[str, object]) -> None:
    before = sorted(place.root.rglob("*.parquet"))
    document = {"year": "2016", "block": "1", "kind": "review", "writer": anna.writer, **change}
    answer = anna.post("/api/open", document)
    assert 400 <= answer.status_code < 500, answer.text
    assert str(place.root) not in answer.text
    assert sorted(place.root.rglob("*.parquet")) == before


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": "../x"},
        {"uuid": ""},
        {"uuid": 1},
        {"writer": "'; DROP TABLE batches; --"},
        {"edits": []},
        {"edits": [{}]},
        {"edits": [{"segments": [0], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [1216], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [-1], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [2**70], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [1.5], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [True], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": ["1"], "label": "unsure", "form": {}}]},
        {"edits": [{"segments": [1], "label": "withdrawn", "form": {}}]},
        {"edits": [{"segments": [1], "label": "unsure", "look": "task", "form": {}}]},
        {"edits": [{"segments": [1], "label": "unsure", "form": {"annotator": "A02"}}]},
        {"edits": [{"segments": [1], "label": "unsure", "form": {"note": "x" * 20_000}}]},
        {"edits": [{"segments": [1], "label": "unsure", "form": {"note": "\ud800"}}]},
        {"edits": [{"segments": [1], "label": "unsure", "form": {"confidence": "very"}}]},
        {"edits": [{"tile": "../0001", "status": "done"}]},
        {"edits": [{"tile": "0001", "status": "DONE"}]},
        {"undo": "../x"},
        {"undo": "2e768a27-4dc6-436d-b8bc-8c7c34fc1789"},
        {"annotator": "A02"},
        {"time": 0},
    ],
    ids=str,
)
def test_nothing_strange_is_labelled(anna: Client, place: BlockYear, session: str, change: dict[str, object]) -> None:
    anna.post(f"/api/sessions/{session}/heartbeat", {"writer": anna.writer})
    before = edits_in(place)
    edits = [{"segments": [1], "label": "unsure", "look": "single", "form": {}}]
    answer = anna.post(f"/api/sessions/{session}/edits", {"uuid": str(uuid.uuid4()), "writer": anna.writer, "edits": edits, **change})
    assert answer.status_code == 422, answer.text
    assert set(answer.json()["error"]) >= {"expected", "found", "do"}
    assert edits_in(place) == before


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"NaN", b'{"uuid": 1' + b"0" * 5000 + b"}"])
def test_a_body_that_is_no_object_is_refused(anna: Client, session: str, body: bytes) -> None:
    for path in ("/api/login", "/api/open", f"/api/sessions/{session}/edits", f"/api/sessions/{session}/grow"):
        headers = {"Origin": anna.url, "Content-Type": "application/json"}
        answer = anna.session.post(anna.url + path, data=body, headers=headers, timeout=60)
        assert answer.status_code == 422, answer.text


def test_another_sites_page_changes_nothing(anna: Client, place: BlockYear, session: str) -> None:
    before = edits_in(place)
    document = {"uuid": str(uuid.uuid4()), "writer": anna.writer, "edits": [{"segments": [1], "label": "unsure", "form": {}}]}
    for headers in (
        {"Origin": "http://evil.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": anna.url + ".evil.org"},
    ):
        assert anna.post(f"/api/sessions/{session}/edits", document, **headers).status_code == 403
    form = anna.session.post(
        f"{anna.url}/api/sessions/{session}/edits",
        data=json.dumps(document),
        headers={"Origin": anna.url, "Content-Type": "text/plain"},
        timeout=60,
    )
    assert form.status_code == 415
    assert edits_in(place) == before


def test_a_foreign_name_of_this_machine_shows_nothing(anna: Client, session: str) -> None:
    for host in ("evil.org", f"evil.org:{urlsplit(anna.url).port}"):
        answer = anna.get(f"/api/sessions/{session}/queue", headers={"Host": host})
        assert answer.status_code == 421


def test_tokens_that_are_wrong_expired_or_revoked_log_nobody_in(server: Served) -> None:
    access, now = server.state.access, time.time()
    expired, revoked = access.give("A02", "lead", 1, now - 86_401), access.give("A03", "lead", 1, now)
    access.revoke("A03", now)
    client = server.client()
    for token in (expired, revoked, "", "x", expired[:-1], "x" * 43, "A01"):
        answer = client.login(token=token)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert len(token) < 10 or token not in answer.text
    assert client.login(annotator="A01").status_code == 401
    assert client.post("/api/login", {"token": ["x"]}).status_code == 422
    client.session.cookies.set(server.state.cookie, "x" * 43)
    assert client.get("/api/work").status_code == 401


def test_guessing_tokens_is_slow_and_keeps_nobody_else_out(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(server.state, "failures", Rates(per_second=1 / 6, at_once=10))
    client = server.client()
    answers = [client.login(token=f"guess {number}") for number in range(15)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 5
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert client.login(token=server.state.access.give("A02", "annotator", 1, time.time())).status_code == 200


def test_another_persons_session_is_closed_to_all_but_her(server: Served, place: BlockYear, session: str) -> None:
    before = edits_in(place)
    for client in (server.client("A02"), server.client("L01", "lead")):
        edits = {"uuid": str(uuid.uuid4()), "writer": client.writer, "edits": [{"segments": [1], "label": "unsure", "form": {}}]}
        gets = ["layers/true-2016/0/0/0", "segments/0/0/0", "columns/own", "queue", "segment/1", "rerun", "learn", "tiles/0001.kmz"]
        posts = {"edits": edits, "handin": {"writer": client.writer}, "grow": {"segment": 1, "similarity": 1}, "learn": {}}
        posts["heartbeat"] = {"writer": client.writer}
        answers = [client.get(f"/api/sessions/{session}/{path}") for path in gets]
        answers += [client.post(f"/api/sessions/{session}/{path}", document) for path, document in posts.items()]
        assert {answer.status_code for answer in answers} == {403}
        assert client.get("/api/sessions/0123456789abcdef/queue").status_code == 404
    assert edits_in(place) == before


def test_a_script_in_a_note_comes_back_as_text(anna: Client, session: str) -> None:
    note = "<script>alert(1)</script><img src=x onerror=alert(1)>\" ' & [% eval %]"
    form = {"note": note, "evidence": "<b>", "reason": "</script>", "evidence_date": "2016-01-01", "confidence": ""}
    anna.post(f"/api/sessions/{session}/heartbeat", {"writer": anna.writer})
    assert anna.edit(session, [{"segments": [3], "label": "unsure", "look": "single", "form": form}]).status_code == 200
    answer = anna.get(f"/api/sessions/{session}/segment/3")
    assert answer.json()["own"]["form"]["note"] == note
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    asked = anna.get("/api/sessions/%3Cscript%3E/queue")
    assert asked.status_code == 404
    assert asked.headers["content-type"] == "application/json"


def test_a_body_that_is_too_long_is_refused_with_and_without_its_length(server: Served, anna: Client, session: str) -> None:
    path, long = f"{anna.url}/api/sessions/{session}/edits", b'{"uuid": "' + b"x" * LARGEST_BODY
    headers = {"Origin": anna.url, "Content-Type": "application/json"}
    for body in (long, iter([long[: 1 << 20]] * 6)):
        answer = anna.session.post(path, data=body, headers=headers, timeout=60)
        assert answer.status_code == 413
        assert answer.json()["error"]["do"] == "send less at a time"
    assert anna.get("/api/me").status_code == 200


def test_connections_without_a_request_are_closed(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    address = urlsplit(server.url)
    for begin in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long:"):
        with socket.create_connection((address.hostname, address.port), timeout=10) as silent:
            silent.sendall(begin)
            assert silent.recv(100) == b""
    with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
        slow.sendall(b"GET /api/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"


def test_what_is_no_http_is_refused(server: Served) -> None:
    address = urlsplit(server.url)
    for begin in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=10) as strange:
            strange.sendall(begin)
            assert strange.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421")


def test_an_error_of_the_server_tells_nothing_of_it(server: Served, anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object) -> None:
        raise RuntimeError(f"secret {place_of_secrets}")

    place_of_secrets = Path("/home/somebody/.netrc")
    monkeypatch.setattr("smallmines.annotation.server.work.work_of", broken)
    answer = anna.get("/api/work")
    assert answer.status_code == 500
    assert "number" in answer.json()["error"]["found"]
    assert "secret" not in answer.text
    assert "netrc" not in answer.text


def test_damaged_tokens_let_nobody_in(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with served(place, local=False) as running:
        client = running.client("A01")
        place.layout.user.tokens.write_text("[{")
        answer = client.get("/api/work")
        assert answer.status_code == 503
        assert "tokens.json" in answer.json()["error"]["expected"]
        assert str(tmp_path) not in answer.text
        assert client.login(token="x" * 43).status_code == 503


def test_methods_that_no_page_uses_are_refused(server: Served, anna: Client, session: str) -> None:
    for method, path in itertools.product(
        ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"), ("/", "/api/open", f"/api/sessions/{session}/edits")
    ):
        assert anna.session.request(method, anna.url + path, headers={"Origin": anna.url}, timeout=60).status_code == 405
    assert anna.get("/api/open").status_code == 405
    assert anna.post("/api/me").status_code == 405
