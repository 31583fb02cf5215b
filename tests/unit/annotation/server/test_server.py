"""The server as a page asks it: what each address answers, to whom, and what comes of edits."""

from __future__ import annotations

import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from place import make_place
from served import EVIDENCE, Client, Served, served
from smallmines.annotation.block_year import BlockYear
from smallmines.labels.event_files import read_events


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> BlockYear:
    return make_place(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(place: BlockYear) -> Iterator[Served]:
    with served(place) as running:
        yield running


@pytest.fixture(scope="module")
def anna(server: Served) -> Client:
    return server.client("A01")


@pytest.fixture(scope="module")
def opened(anna: Client) -> dict[str, Any]:
    answer = anna.open()
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def numbers(answer: Any, kind: str = "u1") -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, kind)


def test_a_stranger_learns_only_how_to_log_in(server: Served) -> None:
    stranger = server.client()
    document = stranger.get("/api/me").json()
    assert document["annotator"] is None
    assert document["needs_token"] is False
    assert document["annotators"] == ["A01", "A02"]
    assert document["years"] == []
    for path in ("/api/work", "/api/status", "/api/sessions/0123456789abcdef/queue"):
        answer = stranger.get(path)
        assert answer.status_code == 401
        assert set(answer.json()["error"]) == {"expected", "found", "do"}


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(server: Served) -> None:
    answer = server.client().login(annotator="A01")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{server.state.cookie}=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie, "plain HTTP on this machine"
    assert answer.headers["cache-control"] == "no-store"


def test_behind_tls_the_cookie_is_secure(server: Served) -> None:
    behind = replace(server.state, public_url="https://labels.lab.org")
    assert behind.secure
    assert behind.cookie == f"__Host-{server.state.cookie}"


def test_who_asks(anna: Client) -> None:
    document = anna.get("/api/me").json()
    assert (document["annotator"], document["role"], document["run"]) == ("A01", "lead", "made")
    assert document["years"] == ["2016", "2022"]
    assert document["labels"] == ["mining", "not_mining", "unsure"]


def test_logging_out_ends_the_login(server: Served) -> None:
    client = server.client("A02")
    kept = dict(client.session.cookies)
    assert client.post("/api/logout").status_code == 200
    assert client.get("/api/work").status_code == 401
    client.session.cookies.update(kept)
    assert client.get("/api/work").status_code == 401, "the cookie itself is worth nothing any more"


def test_the_page_and_its_files(server: Served) -> None:
    client = server.client()
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("../server.py", "nothing.js", "", "/etc/passwd", "..%2f..%2faccess.py", "vendor/../../access.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_an_opened_block_says_what_the_page_needs(opened: dict[str, Any], place: BlockYear) -> None:
    assert opened["shape"] == [128, 160]
    assert opened["resolution"] == 10
    assert opened["crs"] == "EPSG:32630"
    assert opened["levels"] == 1
    assert opened["segments"] == 1215
    assert opened["threshold"] == 0.5
    assert opened["tiles"][6] == {"tile_id": "0007", "row": 32, "col": 32, "size": 32}
    assert all(set(layer) == {"id", "title", "year", "style", "version"} for layer in opened["layers"])
    assert [layer["id"] for layer in opened["layers"]] == ["true-2016", "false-2016"]
    assert opened["days"] == {"2016": [], "2022": []}
    assert all("{lat}" in link and link.startswith("https://") for link in opened["links"].values())


def test_a_label_tile_holds_the_segments_of_its_pixels(anna: Client, opened: dict[str, Any], place: BlockYear) -> None:
    address = f"/api/sessions/{opened['session']}/segments/0/0/0"
    answer = anna.session.get(anna.url + address, headers={"Accept-Encoding": "deflate"}, stream=True)
    assert answer.headers["content-encoding"] == "deflate"
    body = zlib.decompress(answer.raw.read())
    (count,) = struct.unpack("<I", body[:4])
    ids = np.frombuffer(body, "<u4", count, 4)
    index = np.frombuffer(body, "<u2", 256 * 256, 4 + 4 * count).reshape(256, 256)
    segments = place.segments()
    np.testing.assert_array_equal(ids[index][:128, :160], segments)
    assert (ids[index][128:] == 0).all()
    assert "immutable" in anna.get(f"{address}?v={opened['digest']}").headers["cache-control"]
    etag = answer.headers["etag"]
    again = anna.get(address, headers={"If-None-Match": etag})
    assert (again.status_code, again.headers["etag"]) == (304, etag)


def test_columns_hold_a_number_for_each_segment(anna: Client, opened: dict[str, Any], place: BlockYear) -> None:
    address, table = f"/api/sessions/{opened['session']}/columns", place.table()
    np.testing.assert_array_equal(numbers(anna.get(f"{address}/prediction"))[1:], table["predicted"])
    np.testing.assert_array_equal(numbers(anna.get(f"{address}/probability"))[1:], np.rint(255 * table["probability"].astype(float)))
    tiles = [tile["tile_id"] for tile in opened["tiles"]]
    assert [tiles[number] for number in numbers(anna.get(f"{address}/tile"), "<u2")[1:]] == table["tile_id"].tolist()
    assert anna.get(f"{address}/own").headers["cache-control"] == "no-store"


def test_only_what_names_its_version_is_kept_for_good(anna: Client, opened: dict[str, Any]) -> None:
    address, layer = f"/api/sessions/{opened['session']}", opened["layers"][0]
    for path, version in ((f"layers/{layer['id']}/0/0/0", layer["version"]), ("columns/label", opened["digest"])):
        kept = [anna.get(f"{address}/{path}{end}").headers["cache-control"] for end in ("", "?v=other", f"?v={version}")]
        assert ["immutable" in text for text in kept] == [False, False, True]


def test_queue_details_and_files_for_google_earth(anna: Client, opened: dict[str, Any], place: BlockYear) -> None:
    address = f"/api/sessions/{opened['session']}"
    queue = anna.get(f"{address}/queue").json()
    assert len(queue["segment"]) == opened["queue"]
    assert "opinions" not in queue
    segments = place.segments()
    assert segments[queue["row"], queue["col"]].tolist() == queue["segment"]
    number = queue["segment"][0]
    details = anna.get(f"{address}/segment/{number}").json()
    assert details["key"] == str(place.table()["key"][number - 1]), "a number of 64 bits crosses as text"
    assert details["own"] is None
    kmz = anna.get(f"{address}/tiles/0007.kmz")
    assert (kmz.status_code, kmz.content[:2]) == (200, b"PK")
    assert anna.post(f"{address}/grow", {"segment": number, "similarity": 1.0}).json() == {"segments": [number]}


def test_edits_are_acknowledged_once_undone_and_handed_in(server: Served, place: BlockYear) -> None:
    client = server.client("A02")
    session = client.open().json()["session"]
    address = f"/api/sessions/{session}"
    table = place.table()
    segments = client.get(f"{address}/queue").json()["segment"][:6]
    predicted = ["mining" if table["predicted"][number - 1] else "not_mining" for number in segments]
    other = {"mining": "not_mining", "not_mining": "mining"}
    wrong = client.edit(session, [{"segments": segments[:1], "label": other[predicted[0]], "look": "single", "form": {}}])
    assert wrong.status_code == 422
    assert "a correction without evidence" in wrong.json()["error"]["found"]
    name = str(uuid.uuid4())
    edit = [{"segments": segments[:1], "label": other[predicted[0]], "look": "single", "form": EVIDENCE}]
    first = client.edit(session, edit, name)
    assert first.json() == {"uuid": name, "seq": 1, "edits": 1, "pending": 1, "changed": False}
    assert client.edit(session, edit, name).json() == first.json(), "sent again, it is acknowledged again and counts once"
    assert client.edit(session, [{**edit[0], "label": "unsure"}], name).status_code == 409
    assert client.get(f"{address}/segment/{segments[0]}").json()["own"]["label"] == other[predicted[0]]
    client.edit(session, [{"segments": segments[1:], "label": "unsure", "look": "bulk", "form": {}}])
    own = numbers(client.get(f"{address}/columns/own"))
    assert own[segments].tolist() == [1 if other[predicted[0]] == "mining" else 2, 3, 3, 3, 3, 3]
    undo = {"uuid": str(uuid.uuid4()), "writer": client.writer, "undo": name}
    for _ in range(2):
        answer = client.post(f"{address}/edits", undo).json()
        assert (answer["pending"], answer["restored"]) == (3, [{"segments": segments[:1], "label": ""}])
    batches = client.get(f"{address}/history").json()["batches"]
    assert [(batch["uuid"], batch["undo"]) for batch in (batches[0], batches[2])] == [(name, ""), (undo["uuid"], name)]
    assert numbers(client.get(f"{address}/columns/own"))[segments[0]] == 0
    dry = client.post(f"{address}/handin", {"writer": client.writer, "dry": True}).json()
    assert (dry["events"], dry["file"]) == (5, None)
    done = client.post(f"{address}/handin", {"writer": client.writer}).json()
    assert (done["events"], done["pending"], done["counts"]["unsure"]) == (5, 0, 5)
    assert client.get(f"{address}/history").json() == {"batches": []}
    events = read_events([place.layout.user.events("2016", "1") / done["file"]])
    assert {(event.annotator, event.tool, event.look) for event in events} == {("A02", "browser", "bulk")}
    people = client.get("/api/status").json()["people"]
    assert [(row["annotator"], row["decisions"], row["bulk"], row["pending"]) for row in people] == [("A02", 5, 5, 0)]
    rows = client.get("/api/work").json()["rows"]
    assert next(row["done"] for row in rows if (row["year"], row["block"], row["kind"]) == ("2016", "1", "review")) == 5


def test_one_tab_writes(server: Served) -> None:
    first, second = server.client("A01"), server.client("A01")
    session = first.open(take_over=True).json()["session"]
    refused = second.open()
    assert refused.status_code == 409
    assert refused.json()["error"]["kind"] == "writer"
    edit = [{"segments": [5], "label": "unsure", "look": "single", "form": {}}]
    assert second.edit(session, edit).status_code == 423
    assert second.open(take_over=True).status_code == 200
    assert second.edit(session, edit).status_code == 200
    assert first.edit(session, edit).status_code == 423
    assert first.post(f"/api/sessions/{session}/heartbeat", {"writer": first.writer}).status_code == 423


def test_times_are_those_of_the_server(server: Served) -> None:
    client = server.client("A01")
    session = client.open(take_over=True).json()["session"]
    server.now = float(int(time.time()) - 3600)
    try:
        client.edit(session, [{"segments": [9], "label": "unsure", "look": "single", "form": {}}])
        assert client.get(f"/api/sessions/{session}/segment/9").json()["own"]["time"] == 1000 * server.now
    finally:
        server.now = None


def test_products_that_were_made_again_are_not_mixed_with_an_open_block(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with served(place) as running:
        client = running.client("A01")
        session = client.open().json()["session"]
        metrics = place.layout.forest_metrics("2016", "1")
        metrics.write_text(metrics.read_text().replace("0.5", "0.25"))
        for path in ("queue", "columns/prediction", "segments/0/0/0", "layers/true-2016/0/0/0"):
            answer = client.get(f"/api/sessions/{session}/{path}")
            assert answer.status_code == 409
            assert answer.json()["error"]["kind"] == "changed"
        edit = client.edit(session, [{"segments": [7], "label": "unsure", "look": "single", "form": {}}])
        assert (edit.status_code, edit.json()["changed"]) == (200, True), "an edit is never lost"
        assert client.open().json()["session"] != session


def test_what_a_person_may_is_given_by_the_role(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    with served(place, local=False) as running:
        anna, judith, lea = running.client("A01"), running.client("J01", "adjudicator"), running.client("L01", "lead")
        kinds = [{row["kind"] for row in client.get("/api/work").json()["rows"]} for client in (anna, judith, lea)]
        assert ["adjudication" in own for own in kinds] == [False, True, True]
        assert anna.open(kind="adjudication").status_code == 403
        assert judith.open(kind="adjudication").status_code == 409, "nothing to adjudicate yet"
        assert judith.open().status_code == 409, "not one of labels.annotators"
        session = anna.open().json()["session"]
        for other in (judith, lea):
            assert other.get(f"/api/sessions/{session}/queue").status_code == 403
        anna.edit(session, [{"segments": [5], "label": "unsure", "look": "single", "form": {}}])
        assert [len(client.get("/api/status").json()["people"]) for client in (anna, judith, lea)] == [1, 0, 1]
        assert anna.get("/api/me").json()["annotators"] == []
        running.state.access.revoke("A01", time.time())
        assert anna.get("/api/work").status_code == 401
