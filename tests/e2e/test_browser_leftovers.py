"""Test the page where work is half done: edits that cancel each other, and a tab that was away while another one labelled."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from e2e.browsing import Person, person_at
from place import decide_again
from served import EVIDENCE, Served
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.edits import journal
from smallmines.annotation.working_copy import About

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]


def brush_of(browser: Browser, server: Served) -> Person:
    """Return a person with a thin brush in the hand, who has filled in the form."""
    person = person_at(browser, server)
    person.gives_evidence()
    person.presses("b", "m")
    person.sets_radius(0)
    return person


def pending(place: BlockYear, server: Served) -> int:
    return server.state.journal.pending_of(About(place.config.run, int(place.year), place.block, "A01", "review"))


def test_edits_that_cancel_each_other_can_be_handed_in(browser: Browser, place: BlockYear, server: Served) -> None:
    person = brush_of(browser, server)
    person.drags([(34.5, 33.5), (34.5, 40.5)])
    person.presses("z")
    person.waits_until_saved()
    assert pending(place, server) == 2
    assert "There is nothing to hand in" in person.hands_in()
    assert pending(place, server) == 0


def test_images_are_kept_by_their_version(browser: Browser, server: Served) -> None:
    person = brush_of(browser, server)
    with person.page.expect_response(lambda response: "/layers/" in response.url) as asked:
        person.page.reload()
    assert "immutable" in asked.value.headers["cache-control"]


def test_a_tab_that_was_away_shows_what_another_one_did_before_it_writes(
    browser: Browser, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A computer that slept, say: its page lacks the labels that its person gave elsewhere meanwhile."""
    monkeypatch.setattr(journal, "SEEN_S", 0.0)
    person = brush_of(browser, server)
    elsewhere = brush_of(browser, server)
    elsewhere.drags([(34.5, 33.5), (34.5, 40.5)])
    elsewhere.waits_until_saved()
    elsewhere.page.close()
    assert person.own() == {}
    person.drags([(38.5, 33.5), (38.5, 36.5)])
    person.page.click("#take-over")
    person.waits_until_saved()
    person.waits_for("window.page.view.state.past.length === 2")
    assert len(person.own()) == 3 + 2


def test_undo_goes_on_after_a_reload(browser: Browser, server: Served) -> None:
    person = brush_of(browser, server)
    person.drags([(34.5, 33.5), (34.5, 40.5)])
    first = person.own()
    person.presses("u")
    person.drags([(34.5, 37.5), (34.5, 44.5)])
    both = person.own()
    person.presses("t")
    person.waits_until_saved()
    assert len(first) == 3
    assert len(both) == 4
    person.page.reload()
    person.is_ready()
    person.presses("z")
    person.waits_for("!window.page.view.state.doneTiles.size")
    assert person.own() == both
    for key, labels in (("z", first), ("z", {}), ("y", first), ("y", both)):
        person.presses(key)
        person.waits_until_saved()
        assert person.own() == labels
    assert person.page.evaluate("[...window.page.view.state.doneTiles]") == []
    person.presses("y")
    person.waits_until_saved()
    assert person.page.evaluate("[...window.page.view.state.doneTiles]") == ["0007"]
    assert person.page.is_disabled("#redo")
    assert person.problems == []


def test_a_key_that_is_held_labels_one_segment(browser: Browser, server: Served) -> None:
    person = brush_of(browser, server)
    person.opens("2016")
    person.gives_evidence()
    person.presses("v")
    for _ in range(5):
        person.page.keyboard.down("m")  # as the keyboard repeats it
    person.page.keyboard.up("m")
    person.waits_until_saved()
    assert len(person.own()) == 1


def test_undo_waits_for_the_end_of_a_stroke(browser: Browser, server: Served) -> None:
    """Else undo of the stroke would show the labels from before the other undo, which the server does not have."""
    person = brush_of(browser, server)
    person.drags([(34.5, 33.5), (34.5, 40.5)])
    person.presses("u")
    person.page.mouse.move(*person.place(34.5, 33.5))
    person.page.mouse.down()
    person.page.mouse.move(*person.place(34.5, 34.5))
    person.presses("z")
    person.page.mouse.up()
    person.presses("z")
    person.waits_until_saved()
    shown = person.own()
    assert sorted(shown.values()) == [1, 1, 1]
    person.page.evaluate("window.page.view.state.reload()")
    assert person.own() == shown


def test_edits_of_an_adjudication_that_has_ended_are_handed_in_or_dropped(browser: Browser, place: BlockYear, server: Served) -> None:
    def sends(name: str, label: str, kind: str, hands_in: bool = True) -> None:
        client = server.client(name)
        session = client.open(kind=kind, everything=kind == "review").json()["session"]
        assert client.edit(session, [{"segments": [5, 6], "label": label, "look": "bulk", "form": EVIDENCE}]).status_code == 200
        if hands_in:
            assert client.post(f"/api/sessions/{session}/handin", {"writer": client.writer}).json()["events"] == 2

    sends("A01", "mining", "review")
    sends("A02", "not_mining", "review")
    decide_again(place)
    sends("J01", "unsure", "adjudication", hands_in=False)
    sends("J03", "mining", "adjudication", hands_in=False)
    sends("J02", "mining", "adjudication")
    decide_again(place)
    journal_of = server.state.journal.pending_of
    for name, ends in (("J01", "drop"), ("J03", "hand in")):
        about = About(place.config.run, int(place.year), place.block, name, "adjudication")
        person = Person.sits_down(browser.new_context(viewport={"width": 1280, "height": 800}).new_page(), server.url)
        person.signs_in(name)
        person.page.click("[data-open='2016/1/adjudication']")
        person.page.click("dialog #take-over")  # from the page that labelled
        person.page.wait_for_selector("#unfinished")
        assert "1 edits of yours are not handed in" in person.page.inner_text("#unfinished")
        if ends == "drop":
            person.page.click("#drop")
            person.page.click("#drop-confirm")
        else:
            assert "2 decisions were handed in" in person.hands_in()
        person.page.wait_for_selector("h1:has-text('What is there to label')")
        assert journal_of(about) == 0
        assert person.page.query_selector("[data-open='2016/1/adjudication']") is None
        assert len(list(place.layout.user.events("2016", "1").glob(f"*-{name}-*"))) == (ends == "hand in")
        assert person.problems == []
