"""Test the page as a person uses it: tools, hand-in, and that no edit is lost whatever happens to the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from e2e.browsing import TILE, Person, person_at
from e2e.decided_events import events_of, mask_of, same
from place import decide_again, edit, make_place, read
from served import Served
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]


def label_in(copy: Path, block_year: BlockYear, labels: dict[int, str], seconds: float = 0) -> None:
    """Label segments in a working copy, this far apart."""
    fids = {key: int(fid) for fid, key in read(copy)["key"].items()}
    keys = block_year.features().set_index("segment")["key"]
    for number, (segment, label) in enumerate(labels.items()):
        fid = fids[str(keys[segment])]
        statement = (
            "UPDATE segments SET label = ?, evidence = 'Google Earth', evidence_date = '2016-02-01', confidence = 'sure' WHERE fid = ?"
        )
        edit(copy, statement, label, fid)
        if seconds:
            edit(copy, "UPDATE segments SET edited = edited - ? WHERE fid = ?", int(1000 * seconds * (len(labels) - number)), fid)


def test_the_page_and_a_qgis_copy_make_the_same_events_and_masks(
    browser: Browser, place: BlockYear, server: Served, tmp_path: Path
) -> None:
    """Brush, lasso, undo, and the rest of the tile as it is; the same decisions in a working copy."""
    segments = place.segments()
    person = person_at(browser, server)
    person.gives_evidence()
    person.page.select_option("#confidence", "sure")
    person.presses("b", "m")
    person.sets_radius(0)
    person.drags([(34.5, 33.5), (34.5, 50.5)])
    mining = set(np.unique(segments[34, 33:51]).tolist())
    assert person.own() == dict.fromkeys(mining, 1)
    person.presses("l", "n")
    person.drags([(43.8, 35.8), (52.2, 35.8), (52.2, 52.2), (43.8, 52.2), (43.8, 36)])
    barren = set(np.unique(segments[44:52, 36:52]).tolist())
    assert person.own() == dict.fromkeys(mining, 1) | dict.fromkeys(barren, 2)
    person.presses("b", "u")
    person.drags([(58.5, 33.5), (58.5, 60.5)])
    assert len(person.own()) == len(mining) + len(barren) + 8
    person.presses("z")
    assert person.own() == dict.fromkeys(mining, 1) | dict.fromkeys(barren, 2)
    person.presses("y", "Control+z")
    person.page.select_option("#confidence", "")
    person.gives_evidence()
    person.page.fill("#evidence", "")
    person.page.fill("#evidence-date", "")
    person.page.evaluate("document.activeElement.blur()")
    person.presses("t")
    person.waits_until_saved()
    said = person.hands_in()
    assert "64 decisions were handed in" in said
    assert person.problems == []

    other = make_place(tmp_path / "qgis")
    copy = checkout(other, "A01", tiles=(TILE,)).path
    label_in(copy, other, dict.fromkeys(mining, "mining") | dict.fromkeys(barren, "not_mining"))
    edit(copy, "UPDATE tasks SET status = 'done' WHERE tile_id = ?", TILE)
    checkin(other.user, copy)
    here, there = events_of(place), events_of(other)
    assert len(here) == len(there) == 64
    assert same(here) == same(there)
    assert {event.look for event in here} == {"bulk", "task"}
    assert mask_of(place) == mask_of(other)


def test_single_clicks_and_a_qgis_copy_make_the_same_events(browser: Browser, place: BlockYear, server: Served, tmp_path: Path) -> None:
    """Segments clicked one by one, one of them twice; the same decisions in rows of a working copy."""
    segments = place.segments()
    person = person_at(browser, server)
    person.gives_evidence()
    person.page.select_option("#confidence", "sure")
    person.presses("c")
    places = {(34, 34): "mining", (46, 38): "not_mining", (54, 50): "unsure", (58, 58): "mining", (38, 58): "not_mining"}
    for (row, col), label in {(38, 58): "mining", **places}.items():
        person.presses({"mining": "m", "not_mining": "n", "unsure": "u"}[label])
        person.clicks(row + 0.5, col + 0.5)
    person.waits_until_saved()
    assert "5 decisions were handed in" in person.hands_in()

    other = make_place(tmp_path / "qgis")
    copy = checkout(other, "A01", tiles=(TILE,)).path
    label_in(copy, other, {int(segments[at]): label for at, label in places.items()}, seconds=10)
    checkin(other.user, copy)
    here, there = events_of(place), events_of(other)
    assert same(here) == same(there)
    assert [event.look for event in here] == ["single"] * 5
    assert mask_of(place) == mask_of(other)


def test_edits_survive_a_killed_browser_and_none_is_doubled(browser: Browser, place: BlockYear, server: Served, tmp_path: Path) -> None:
    """The server cannot be reached, the browser is closed; the next one, with the same profile, sends the edits."""
    playwright = browser.browser_type
    profile = tmp_path / "profile"

    def start() -> tuple[Any, Person]:
        context = playwright.launch_persistent_context(str(profile), executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        return context, Person.sits_down(context.pages[0], server.url)

    context, person = start()
    person.signs_in("A01")
    person.labels_a_line()
    context.route("**/edits", lambda route: route.abort())
    person.drags([(38.5, 33.5), (38.5, 44.5)])
    person.drags([(42.5, 33.5), (42.5, 36.5)])
    person.presses("z")
    person.page.wait_for_selector("[data-banner=offline]")
    assert person.unsent() == 3
    kept = person.own()
    assert person.page.evaluate("window.page.view.state.sent.reduce((sum, n) => sum + (n > 0), 0)") > 0, "they are drawn hatched"
    context.close()

    context, person = start()
    person.page.wait_for_selector("[data-open]")
    assert person.unsent() == 3, "another tab may still be at work"
    person.opens("2016", part=TILE, take_over=True)
    person.waits_until_saved()
    assert person.own() == kept
    assert "7 decisions were handed in" in person.hands_in()
    context.close()
    events = events_of(place)
    assert sorted(event.key for event in events) == sorted({event.key for event in events}), "none is doubled"
    assert len(events) == len(kept) == 7


def test_of_two_tabs_one_writes_and_the_other_can_take_over(browser: Browser, server: Served) -> None:
    person = person_at(browser, server)
    person.gives_evidence()
    person.presses("b", "m")
    person.sets_radius(0)
    person.drags([(34.5, 33.5), (34.5, 40.5)])
    person.waits_until_saved()
    with person.page.context.expect_page() as opened:
        person.page.evaluate("window.open(location.href)")
    twin = Person(opened.value, server.url)
    twin.page.set_default_timeout(60_000)
    twin.page.wait_for_selector("#take-over")
    assert "Only one can" in twin.page.inner_text("dialog")
    twin.page.click("#take-over")
    twin.is_ready()
    assert twin.own() == person.own()
    person.page.bring_to_front()
    person.drags([(38.5, 33.5), (38.5, 36.5)])
    person.page.wait_for_selector("[data-banner=taken]")
    assert person.unsent() == 1, "what was labelled in the other tab is kept"
    labels = person.own()
    person.page.click("#take-over")
    person.waits_until_saved()
    assert person.own() == labels
    assert person.problems == []


def test_edits_count_after_the_products_were_made_again(browser: Browser, place: BlockYear, server: Served) -> None:
    """The workflow runs while a person labels: the page says so, takes edits, hands in, and opens the new products."""
    person = person_at(browser, server)
    person.gives_evidence()
    person.presses("b", "m")
    person.sets_radius(0)
    person.drags([(34.5, 33.5), (34.5, 40.5)])
    person.waits_until_saved()
    assert "3 decisions were handed in" in person.hands_in()
    decide_again(place)
    person.drags([(38.5, 33.5), (38.5, 40.5)])
    person.page.wait_for_selector("[data-banner=changed]")
    person.waits_until_saved()
    assert "3 decisions were handed in" in person.hands_in()
    session = person.state_of("state.id")
    person.page.click("#open-again")
    person.waits_for(f"window.page?.view?.toolbar && window.page.view.state.id !== '{session}'")
    assert sorted(person.own().values()) == [1] * 6
    assert person.page.query_selector("[data-banner=changed]") is None
    assert len(events_of(place)) == 6


def test_a_correction_without_evidence_is_refused_at_the_form(browser: Browser, server: Served) -> None:
    person = person_at(browser, server)
    person.presses("b", "m")
    person.sets_radius(0)
    person.drags([(34.5, 33.5), (34.5, 62.5)])
    assert "evidence" in person.page.inner_text("#evidence-problem")
    assert person.page.evaluate("document.activeElement.id") == "evidence"
    assert person.own() == {}
    assert person.unsent() == 0


def test_a_script_in_a_note_is_shown_as_text(browser: Browser, server: Served) -> None:
    script = '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>'
    person = person_at(browser, server)
    person.gives_evidence(script)
    person.page.fill("#note", script)
    person.page.evaluate("document.activeElement.blur()")
    person.presses("c", "m")
    person.clicks(45, 45)
    person.waits_until_saved()
    person.presses("v")
    person.clicks(53, 53)
    person.clicks(45, 45)
    person.waits_for("document.querySelector('#details').textContent.includes('onerror')")
    assert script in person.page.inner_text("#details")
    assert person.page.query_selector("#details img, #details script") is None
    assert person.page.evaluate("window.attacked") is None
    assert person.problems == []


def test_keys_are_listed_and_controls_are_named(browser: Browser, server: Served) -> None:
    person = person_at(browser, server)
    person.presses("?")
    assert "the tile is right" in person.page.inner_text("#keys-list")
    person.presses("Escape")
    unnamed = person.page.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea')].filter((control) =>
           !control.textContent.trim() && !control.ariaLabel && !control.labels?.length).map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    before = person.state_of("painter.fill")
    person.presses("f")
    person.waits_for("window.page.view.painter.fill === 'prediction'")
    assert before == "none"
    person.page.click("#theme")
    assert person.page.evaluate("document.documentElement.dataset.theme") in ("light", "dark")


def test_queue_labels_with_one_key_a_segment(browser: Browser, place: BlockYear, server: Served) -> None:
    person = Person.sits_down(browser.new_context(viewport={"width": 1280, "height": 800}).new_page(), server.url)
    person.signs_in("A01")
    person.opens("2016")
    person.gives_evidence()
    person.presses("v")
    queue = person.state_of("state.queue.segment")
    person.presses("m", "n", "u")
    person.waits_until_saved()
    assert person.own() == {queue[0]: 1, queue[1]: 2, queue[2]: 3}
    assert person.state_of("state.selected") == queue[3]
    assert "3 of" in person.page.inner_text("#queue-count")
