"""Test the other views on the miniature: adjudication, single pixels, status, tablet. FIGURES=FOLDER keeps pictures of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from e2e.browsing import Person
from place import decide_again
from served import EVIDENCE, Client, Served, served
from smallmines.annotation.block_year import BlockYear
from smallmines.cli.console import read_config
from smallmines.labels.agreement import read_overlap
from smallmines.labels.event_files import read_events
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

YEAR, BLOCK = "2022", "1"
DAYS, DIFFERENT = 4, 9
"""Days of the review, and every how many segments of the overlap the two people may differ."""

LARGEST = 300_000
"""Bytes of a picture in the documents."""


@pytest.fixture
def block_year(clone: Workspace) -> BlockYear:
    return BlockYear(read_config(clone.folder / "small.yaml"), YEAR, BLOCK, clone.folder)


@pytest.fixture
def server(clone: Workspace, block_year: BlockYear) -> Iterator[Served]:
    with served(block_year, clone.folder / "small.yaml") as running:
        yield running


def take(page: Page, name: str) -> None:
    """Take a picture of the page, where they are asked for."""
    folder = os.environ.get("FIGURES")
    if not folder:
        return
    path = Path(folder) / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    assert path.stat().st_size < LARGEST


def sits(browser: Browser, server: Served, annotator: str, width: int = 1280, height: int = 800, touch: bool = False) -> Person:
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
    person = Person.sits_down(context.new_page(), server.url)
    person.signs_in(annotator)
    person.page.wait_for_selector("[data-open]")
    return person


def a_mine(person: Person) -> tuple[int, int]:
    """Return the place of a segment of the queue that is predicted as mining and has land around it, and choose it."""
    at: int = person.page.evaluate(
        """(({ state, queue, tiles }) => { const { segment, row } = state.queue;
           const at = segment.findIndex((id, n) => state.columns.prediction[id] === 1 && row[n] > 50 && row[n] < tiles.rows - 50);
           queue.at = at - 1; queue.step(1); return at; })(window.page.view)"""
    )
    return person.state_of(f"state.queue.row[{at}]"), person.state_of(f"state.queue.col[{at}]")


def hand_in_of(client: Client, labels: dict[str, list[int]], tiles: list[str], note: str) -> None:
    """Let a person label segments of tiles without the page."""
    session = client.open(YEAR, BLOCK, tiles=tiles, take_over=True).json()["session"]
    form = EVIDENCE | {"evidence_date": "2022-01-12", "reason": note}
    edits = [{"segments": ids, "label": label, "look": "single", "form": form} for label, ids in labels.items() if ids]
    assert client.edit(session, edits).status_code == 200
    answer = client.post(f"/api/sessions/{session}/handin", {"writer": client.writer, "dry": False})
    assert answer.json()["events"] == sum(map(len, labels.values())), answer.text


def review_overlap(server: Served, block_year: BlockYear) -> tuple[int, list[int]]:
    """Let two people review the blind overlap and a part of their queues on several days; return the size of the overlap, and the
    segments of it about which they differ."""
    table = block_year.table()
    begin = (int(time.time()) // 86_400 - DAYS) * 86_400 + 43_200  # noon: no day ends meanwhile
    predicted = table.set_index("segment")["predicted"].to_dict()
    for name in ("A01", "A02"):
        client = server.client(name)
        session = client.open(YEAR, BLOCK).json()["session"]
        queue = client.get(f"/api/sessions/{session}/queue").json()["segment"]
        overlap = read_overlap(block_year.user_files()["overlap"][0])["key"]
        asked = sorted(table.loc[table["key"].isin(overlap), "segment"].tolist())
        others = [segment for segment in queue if segment not in asked][:60]
        differing = [segment for segment in asked[::DIFFERENT] if predicted[segment]]
        for at, segment in enumerate([*asked, *others]):
            day = int(DAYS * (at / (len(asked) + len(others))) ** 0.7)  # each day a little more
            server.now = begin + day * 86_400 + 4.0 * at
            mining = predicted[segment] and (name == "A01" or segment not in differing)
            form = EVIDENCE | {"evidence_date": "2022-01-12"}
            edit = [{"segments": [segment], "label": "mining" if mining else "not_mining", "look": "single", "form": form}]
            assert client.edit(session, edit).status_code == 200
        assert client.post(f"/api/sessions/{session}/handin", {"writer": client.writer}).status_code == 200
    server.now = None
    return len(asked), differing


def dispute(server: Served, block_year: BlockYear) -> list[int]:
    """Let two people label the mines of a tile, and disagree about every third segment; return these."""
    table = block_year.table()
    mined = table[(table["predicted"] == 1) & ~table["key"].isin([event.key for event in block_year.events()])]
    mined = mined[mined["y"] < mined["y"].quantile(0.7)]
    tile = str(mined["tile_id"].mode()[0])
    ids = [int(segment) for segment in mined.loc[mined["tile_id"] == tile, "segment"].head(60)]
    disputed = ids[::3]
    hand_in_of(server.client("A01"), {"mining": ids}, [tile], "spoil heaps")
    agreed = [segment for segment in ids if segment not in disputed]
    hand_in_of(server.client("A02"), {"mining": agreed, "not_mining": disputed}, [tile], "river bank")
    decide_again(block_year)
    return disputed


def test_brush_in_both_years(browser: Browser, server: Served, block_year: BlockYear) -> None:
    person = sits(browser, server, "A01")
    take(person.page, "browser_start")
    person.opens(YEAR, BLOCK)
    person.gives_evidence(day="2022-01-12")
    person.presses("b", "m")
    person.sets_radius(3)
    row, col = a_mine(person)
    person.looks_at(row, col, 9)
    person.drags([(row - 4, col - 5), (row, col), (row + 4, col + 2)])
    person.presses("n")
    person.drags([(row + 16, col - 12), (row + 17, col + 10)])
    person.waits_until_saved()
    person.page.wait_for_timeout(500)
    assert set(person.own().values()) == {1, 2}
    take(person.page, "browser_brush")
    person.page.select_option("#fill", "probability")
    person.waits_for("window.page.view.painter.fill === 'probability'")
    assert person.page.inner_text("#legend").split() == ["0", "0.25", "0.5", "0.75", "1"]
    queue = person.state_of("state.queue.segment")
    person.presses("r")
    person.waits_for("/^(learned|Learning failed)/.test(document.querySelector('#learn-state').textContent)")
    assert "learned from" in person.page.inner_text("#learn-state")
    learned = person.state_of("state.queue.segment")
    assert sorted(learned) == sorted(queue)
    assert learned != queue
    person.page.select_option("#fill", "suggestion")
    person.waits_for("window.page.view.painter.fill === 'suggestion'")
    assert person.problems == []


def test_adjudication_shows_both_opinions_and_status_what_all_did(browser: Browser, server: Served, block_year: BlockYear) -> None:
    overlap, differing = review_overlap(server, block_year)
    disputed = [*differing, *dispute(server, block_year)]
    person = sits(browser, server, "J01")
    person.opens(YEAR, BLOCK, "adjudication")
    person.gives_evidence("Planet", "2022-01-20")
    person.page.wait_for_selector(".opinion")
    opinions = [card.inner_text() for card in person.page.query_selector_all(".opinion")]
    assert [opinion.split(" (")[0] for opinion in opinions] == ["A01 mining", "A02 not mining"]
    assert sorted(person.state_of("state.queue.segment")) == sorted(disputed)
    for _ in range(4):
        person.page.click("#next")
    person.page.wait_for_timeout(800)
    take(person.page, "browser_adjudication")
    first = person.state_of("state.selected")
    person.presses("m")
    person.waits_until_saved()
    assert person.own() == {first: 1}
    assert person.page.query_selector("#tile-right") is None, "nothing is decided for a whole tile"
    assert "1 decisions were handed in" in person.hands_in()
    events = read_events(block_year.layout.user.events(YEAR, BLOCK).glob("*-J01-*.jsonl"))
    assert [(event.provenance, event.label) for event in events] == [("adjudicated", "mining")]
    person.page.click("a[href='#status']")
    person.page.wait_for_selector(".status table")
    assert "A02" in person.page.inner_text(".status")
    figures = server.client("L01", "lead").get("/api/status").json()
    (pair,) = figures["agreement"]
    assert (pair["people"], pair["segments"], pair["raw"]) == ("A01, A02", overlap, pytest.approx(1 - len(differing) / overlap))
    days = [(row["day"], row["decisions"], row["left"], row["queue"]) for row in figures["burn_down"]]
    shown = [cell.inner_text() for cell in person.page.query_selector_all(".bars > *")]
    assert len(days) == DAYS + 1
    assert shown[0] == f"Year {YEAR}, block {BLOCK}"
    numbers = [(day, f"{decisions} decisions, {left} of {queue} left") for day, decisions, left, queue in days]
    assert list(zip(shown[1::3], shown[3::3], strict=True)) == numbers
    bars = [bar.get_attribute("aria-label") for bar in person.page.query_selector_all(".bars meter")]
    assert bars == [f"{day}: {text}" for day, text in numbers]
    person.page.set_viewport_size({"width": 1280, "height": 1040})
    take(person.page, "browser_status")
    assert person.problems == []


def test_single_pixels_show_no_map(browser: Browser, server: Served) -> None:
    person = sits(browser, server, "A02")
    person.opens("2016", BLOCK, "accuracy")
    assert not [layer for layer in person.state_of("opened.layers") if layer["style"] == "mask"]
    person.page.wait_for_selector("#details dl")
    assert "Predicted" not in person.page.inner_text("#details")
    assert person.page.query_selector("#fill") is None
    person.presses("m")
    person.page.wait_for_selector("#evidence-problem:not([hidden])")
    assert person.own() == {}
    person.gives_evidence()
    person.presses("m", "n")
    person.waits_until_saved()
    queue = person.state_of("state.queue.segment")
    assert person.own() == {queue[0]: 1, queue[1]: 2}
    assert person.problems == []


def test_finger_paints_on_a_tablet(browser: Browser, server: Served, block_year: BlockYear) -> None:
    person = sits(browser, server, "A01", 820, 1180, touch=True)
    person.opens(YEAR, BLOCK)
    person.gives_evidence(day="2022-01-12")
    row, col = a_mine(person)
    person.looks_at(row, col, 9)
    person.presses("b", "m")
    person.sets_radius(3)
    person.strokes_with_a_finger([(row - 6, col - 8), (row, col), (row + 6, col + 2)])
    person.waits_until_saved()
    assert len(person.own()) > 1
    before = person.state_of("maps.view.getResolution()")
    labels = person.own()
    person.pinches(row, col)
    assert person.state_of("maps.view.getResolution()") < before * 0.8, "two fingers zoom"
    assert person.own() == labels, "and paint nothing"
    person.looks_at(row, col, 9)
    person.page.evaluate("document.querySelector('.left').scrollTop = 0")
    take(person.page, "browser_tablet")
    wide = person.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 820
    assert np.all(
        [
            control <= 820
            for control in person.page.evaluate("[...document.querySelectorAll('button')].map((b) => b.getBoundingClientRect().right)")
        ]
    )
    assert person.problems == []
