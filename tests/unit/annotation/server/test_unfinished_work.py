"""Edits that wait in a block of which nothing is left to label: the session can be opened, they are handed in or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from place import decide_again, make_place
from served import EVIDENCE, Client, Served, served
from smallmines.annotation.block_year import BlockYear
from smallmines.core import raster
from smallmines.labels.event_files import read_events

DISPUTED = [5, 6, 7]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> BlockYear:
    block_year = make_place(tmp_path_factory.mktemp("unfinished"))
    mask = np.zeros(block_year.segments().shape, np.uint8)
    raster.write(block_year.layout.mask("2016", "1"), mask, block_year.lattice.block("1"), 255, ["mask"])
    return block_year


@pytest.fixture(scope="module")
def server(place: BlockYear) -> Iterator[Served]:
    with served(place) as running:
        yield running


def edits(segments: list[int], label: str) -> list[dict[str, Any]]:
    return [{"segments": segments, "label": label, "look": "bulk", "form": EVIDENCE}]


def hand_in(client: Client, session: str) -> dict[str, Any]:
    answer = client.post(f"/api/sessions/{session}/handin", {"writer": client.writer})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def work_of(client: Client, kind: str) -> dict[str, Any]:
    rows = client.get("/api/work").json()["rows"]
    return next(row for row in rows if (row["year"], row["block"], row["kind"]) == ("2016", "1", kind))


@pytest.fixture(scope="module")
def adjudicators(server: Served, place: BlockYear) -> list[tuple[Client, str]]:
    """J01 and J03 with edits in an adjudication that J02 ended: he handed in all, and the workflow was run again; and their sessions."""
    for name, label in (("A01", "mining"), ("A02", "not_mining")):
        client = server.client(name)
        session = client.open(everything=True).json()["session"]
        assert client.edit(session, edits(DISPUTED, label)).status_code == 200
        assert hand_in(client, session)["events"] == 3
    decide_again(place)
    unfinished = []
    for name in ("J01", "J03"):
        client = server.client(name)
        session = client.open(kind="adjudication").json()["session"]
        client.edit(session, edits(DISPUTED[:2], "mining"))
        assert client.edit(session, edits(DISPUTED[2:], "unsure")).json()["pending"] == 2
        unfinished.append((client, session))
    judas = server.client("J02")
    session = judas.open(kind="adjudication").json()["session"]
    judas.edit(session, edits(DISPUTED, "not_mining"))
    assert hand_in(judas, session)["counts"]["adjudicated"] == 3
    decide_again(place)
    return unfinished


def test_the_session_is_opened_where_people_agree_by_now(server: Served, place: BlockYear, adjudicators: list[tuple[Client, str]]) -> None:
    client, session = adjudicators[0]
    row = work_of(client, "adjudication")
    assert (row["left"], row["pending"], row["available"]) == (0, 2, True)
    assert work_of(server.client("J02"), "adjudication")["available"] is False
    opened = client.open(kind="adjudication").json()
    assert (opened["session"], opened["changed"], opened["own"]) == (session, True, {"pending": 2})
    assert len(client.get(f"/api/sessions/{session}/history").json()["batches"]) == 2
    done = hand_in(client, session)
    assert (done["events"], done["counts"], done["pending"]) == (3, done["counts"] | {"adjudicated": 2, "unsure": 1}, 0)
    events = read_events([place.layout.user.events("2016", "1") / done["file"]])
    assert sorted((event.annotator, event.label) for event in events) == [("J01", "mining"), ("J01", "mining"), ("J01", "unsure")]
    refused = client.open(kind="adjudication")
    assert refused.status_code == 409
    assert "disagree" in refused.json()["error"]["expected"]
    assert work_of(client, "adjudication")["available"] is False


def test_edits_that_are_dropped_are_not_handed_in(place: BlockYear, adjudicators: list[tuple[Client, str]]) -> None:
    client, session = adjudicators[1]
    client.open(kind="adjudication")
    other_tab = Client(client.url, client.session)
    assert other_tab.post(f"/api/sessions/{session}/drop", {"writer": other_tab.writer}).status_code == 423
    assert client.post(f"/api/sessions/{session}/drop", {"writer": client.writer}).json() == {"pending": 0}
    row = work_of(client, "adjudication")
    assert (row["pending"], row["available"], row["why_not"]) == (0, False, "people disagree about no segment")
    assert client.open(kind="adjudication").status_code == 409
    assert hand_in(client, session)["events"] == 0
    assert not list(place.layout.user.events("2016", "1").glob("*-J03-*"))


def test_a_sample_that_is_done_can_be_opened_to_take_a_decision_back(server: Served) -> None:
    client = server.client("A01")
    opened = client.open(kind="accuracy").json()
    pixels = list(range(1, opened["queue"] + 1))
    assert client.edit(opened["session"], edits(pixels, "mining")).status_code == 200
    assert hand_in(client, opened["session"])["events"] == len(pixels)
    assert client.open(kind="accuracy").status_code == 409
    assert client.edit(opened["session"], edits([1], "not_mining")).json()["pending"] == 1
    assert work_of(client, "accuracy")["available"] is True
    again = client.open(kind="accuracy").json()
    assert (again["session"], again["changed"]) == (opened["session"], False)
    assert hand_in(client, again["session"])["events"] == 1
