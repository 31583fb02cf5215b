"""Figures of the status page and the list of work, from what two people hand in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from place import decide_again, make_place
from served import EVIDENCE, Client, Served, served
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server import status_page
from smallmines.annotation.server.status_page import seconds_per_100
from smallmines.labels.agreement import read_overlap

DIFFERENT = 3
"""Segments of the blind overlap about which the two people differ."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> BlockYear:
    return make_place(tmp_path_factory.mktemp("status"))


@pytest.fixture(scope="module")
def server(place: BlockYear) -> Iterator[Served]:
    """Serve a run in which A01 and A02 labelled all of the blind overlap, and differ on some of it; A01 also labelled two more."""
    with served(place) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(status_page, "FRESH", 1e-9)
        for name in ("A01", "A02"):
            client = running.client(name)
            session = client.open().json()["session"]
            overlap = read_overlap(place.user_files()["overlap"][0])
            table = place.table()
            ids = np.sort(table.loc[table["key"].isin(overlap["key"]), "segment"].to_numpy()).tolist()
            assert len(ids) == 20
            mining = set(ids[DIFFERENT:10]) if name == "A02" else set(ids[:10])
            begin = float(int(time.time()) - 1000)
            for number, segment in enumerate(ids):
                running.now = begin + 2 * number
                label(client, session, [segment], "mining" if segment in mining else "not_mining", "single")
            running.now = None
            if name == "A01":
                others = [segment for segment in range(1, 30) if segment not in ids][:2]
                label(client, session, others, "unsure", "bulk")
            assert client.post(f"/api/sessions/{session}/handin", {"writer": client.writer}).status_code == 200
        yield running


def label(client: Client, session: str, segments: list[int], text: str, look: str) -> None:
    answer = client.edit(session, [{"segments": segments, "label": text, "look": look, "form": EVIDENCE}])
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def figures(server: Served) -> dict[str, Any]:
    document: dict[str, Any] = server.client("A01").get("/api/status").json()
    return document


def test_people_are_counted_by_how_they_looked(figures: dict[str, Any]) -> None:
    assert [(row["annotator"], row["kind"], row["decisions"], row["single"], row["bulk"], row["task"]) for row in figures["people"]] == [
        ("A01", "review", 22, 20, 2, 0),
        ("A02", "review", 20, 20, 0, 0),
    ]
    assert [row["unsure"] for row in figures["people"]] == [2, 0]
    assert figures["people"][1]["seconds_per_100"] == pytest.approx(200.0)


def test_agreement_is_that_of_the_blind_overlap(figures: dict[str, Any]) -> None:
    (pair,) = figures["agreement"]
    assert (pair["people"], pair["segments"], pair["year"], pair["block"]) == ("A01, A02", 20, "2016", "1")
    assert pair["raw"] == pytest.approx(17 / 20)
    assert pair["kappa"] == pytest.approx((17 / 20 - 0.5) / 0.5, abs=0.02)


def test_disputes_are_open_until_they_are_adjudicated(figures: dict[str, Any], server: Served, place: BlockYear) -> None:
    assert figures["disputes"] == [{"year": "2016", "block": "1", "disputed": DIFFERENT}]
    judith = server.client("J01")
    work = next(row for row in judith.get("/api/work").json()["rows"] if row["kind"] == "adjudication" and row["year"] == "2016")
    assert (work["left"], work["available"]) == (0, False)
    assert work["why_not"].startswith("run the workflow first")
    decide_again(place)
    session = judith.open(kind="adjudication").json()["session"]
    queue = judith.get(f"/api/sessions/{session}/queue").json()
    assert len(queue["segment"]) == DIFFERENT
    assert all("A01: mining" in text and "A02: not_mining" in text for text in queue["opinions"])
    label(judith, session, queue["segment"][:2], "mining", "bulk")
    assert judith.post(f"/api/sessions/{session}/handin", {"writer": judith.writer}).json()["events"] == 2
    after = judith.get("/api/status").json()
    assert after["disputes"] == [{"year": "2016", "block": "1", "disputed": DIFFERENT - 2}]
    assert {(row["annotator"], row["kind"], row["decisions"]) for row in after["people"] if row["annotator"] == "J01"} == {
        ("J01", "adjudication", 2)
    }
    again = next(row for row in judith.get("/api/work").json()["rows"] if row["kind"] == "adjudication" and row["year"] == "2016")
    assert (again["left"], again["done"], again["available"]) == (1, 2, True)


def test_the_queue_burns_down_by_day(figures: dict[str, Any], server: Served) -> None:
    rows = figures["burn_down"]
    assert sum(row["decisions"] for row in rows) == 42
    assert all(row["queue"] == rows[0]["queue"] for row in rows)
    assert rows[-1]["left"] <= rows[0]["queue"] - 20
    assert [row["left"] for row in rows] == sorted((row["left"] for row in rows), reverse=True)


def test_work_counts_what_is_left_of_the_own_queue(server: Served) -> None:
    client = server.client("A02")
    session = client.open(take_over=True).json()
    rows = client.get("/api/work").json()["rows"]
    review = next(row for row in rows if (row["year"], row["block"], row["kind"]) == ("2016", "1", "review"))
    assert (review["left"], review["done"], review["pending"]) == (session["queue"], 20, 0)
    label(client, session["session"], [client.get(f"/api/sessions/{session['session']}/queue").json()["segment"][0]], "unsure", "single")
    rows = client.get("/api/work").json()["rows"]
    assert next(row["pending"] for row in rows if (row["year"], row["block"], row["kind"]) == ("2016", "1", "review")) == 1
    missing = next(row for row in rows if (row["year"], row["kind"]) == ("2022", "review"))
    assert (missing["available"], missing["why_not"]) == (False, "run the workflow up to the masks first")
    assert {row["kind"] for row in rows if row["year"] == "2016"} == {"review", "adjudication", "accuracy"}
    assert {row["kind"] for row in rows if row["year"] == "2022"} >= {"change_before", "change_after"}


def test_pauses_are_no_work() -> None:
    assert seconds_per_100(np.arange(9)) is None
    times = np.r_[np.arange(0, 10_000, 1000), 3_600_000 + np.arange(0, 10_000, 1000)]
    assert seconds_per_100(times) == pytest.approx(100.0)
    assert seconds_per_100(np.zeros(20, np.int64)) == 0.0
