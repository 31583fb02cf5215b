"""Test a server that is killed while a person labels: a process of its own, started again at the same address."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from e2e.browsing import Person
from served_process import make_run, started
from smallmines.labels.event_files import read_events

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

PORT = 18094


def test_edits_made_while_the_server_was_down_arrive_once(browser: Browser, tmp_path: Path) -> None:
    user = make_run(tmp_path)
    with started(tmp_path, user, PORT) as server:
        person = Person.sits_down(browser.new_page(viewport={"width": 1280, "height": 800}), server.url)
        person.signs_in("A01")
        person.labels_a_line()
        server.process.kill()
        server.process.wait(30)
    person.drags([(38.5, 33.5), (38.5, 44.5)])
    person.drags([(42.5, 33.5), (42.5, 36.5)])
    person.presses("z", "n")
    person.drags([(46.5, 33.5), (46.5, 48.5)])
    person.page.wait_for_selector("[data-banner=offline]")
    assert person.unsent() == 4
    labels = person.own()
    assert sorted(labels.values()) == [1] * 7 + [2] * 5
    with started(tmp_path, user, PORT):
        person.waits_until_saved()
        person.page.wait_for_selector("[data-banner=offline]", state="detached")
        assert person.own() == labels
        person.page.evaluate("window.page.view.state.reload()")
        assert person.own() == labels, "as the server has them"
        assert "12 decisions were handed in" in person.hands_in()
    events = read_events((user / "events/2016/1").glob("*.jsonl"))
    assert len(events) == len({event.key for event in events}) == 12
    assert person.problems == []
