"""Test a person's path at the page, from signing in to the hand-in, on screens of several sizes, colours and densities.

`make browsers` tests all of them, CI one.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from e2e.browsing import TILE, Person
from e2e.decided_events import events_of, same
from e2e.page_checks import faults_of
from served import Served
from smallmines.annotation.block_year import BlockYear

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]


@dataclass(frozen=True)
class Screen:
    """A screen, and the colours that its system prefers."""

    width: int
    height: int
    touch: bool
    scheme: str
    ratio: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}-{self.scheme}-{self.ratio}"

    @property
    def context(self) -> dict[str, Any]:
        return {
            "viewport": {"width": self.width, "height": self.height},
            "has_touch": self.touch,
            "color_scheme": self.scheme,
            "device_scale_factor": self.ratio,
        }


SIZES = ((1280, 800, False), (1920, 1080, False), (1024, 768, True), (768, 1024, True))
SCREENS = [Screen(*size, scheme, ratio) for size, scheme, ratio in itertools.product(SIZES, ("light", "dark"), (1, 2))]
OF_CI = Screen(768, 1024, True, "dark", 2)
"""The other tests have a wide, light screen and a mouse."""

CASES = [pytest.param(screen, marks=() if screen == OF_CI else pytest.mark.matrix, id=screen.name) for screen in SCREENS]

seen: dict[str, list[dict[str, Any]]] = {}
"""Events of the first screen that was tested."""


@dataclass
class Tour:
    """A person who uses the controls alone, with a mouse or a finger, and looks at every view.

    Attributes:
        faults: what is wrong with each view, see `page_checks`.
    """

    person: Person
    screen: Screen
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def page(self) -> Page:
        return self.person.page

    def press(self, *controls: str) -> None:
        for control in controls:
            (self.page.tap if self.screen.touch else self.page.click)(control)

    def draw(self, *places: tuple[float, float]) -> None:
        (self.person.strokes_with_a_finger if self.screen.touch else self.person.drags)(places)

    def fill_form(self, evidence: str, day: str, confidence: str) -> None:
        self.page.fill("#evidence", evidence)
        self.page.fill("#evidence-date", day)
        self.page.select_option("#confidence", confidence)

    def look(self, view: str) -> None:
        self.page.wait_for_timeout(200)
        if faults := faults_of(self.page):
            self.faults[view] = faults
        if folder := os.environ.get("SCREENS"):
            self.page.screenshot(path=Path(folder) / f"{self.screen.name}-{view.replace(' ', '-')}.png")

    def signs_in(self) -> None:
        self.look("signing in")
        self.page.fill("#annotator", "A01")
        self.press("#sign-in")
        self.page.wait_for_selector("[data-open]")
        self.look("start")

    def labels(self, segments: NDArray[np.uint32]) -> dict[int, str]:
        """Label with brush and lasso, undo, and confirm the rest of the tile; return the segments that were labelled."""
        self.fill_form("Google Earth", "2016-02-01", "sure")
        self.press("button[data-tool=brush]", "button[data-label=mining]")
        self.page.fill("#radius", "0")
        self.draw((34.5, 33.5), (34.5, 50.5))
        mining = dict.fromkeys(np.unique(segments[34, 33:51]).tolist(), 1)
        assert self.person.own() == mining
        self.press("button[data-tool=lasso]", "button[data-label=not_mining]")
        self.draw((43.8, 35.8), (52.2, 35.8), (52.2, 52.2), (43.8, 52.2), (43.8, 36))
        labelled = mining | dict.fromkeys(np.unique(segments[44:52, 36:52]).tolist(), 2)
        assert self.person.own() == labelled
        self.press("button[data-tool=brush]", "button[data-label=unsure]")
        self.draw((58.5, 33.5), (58.5, 60.5))
        assert len(self.person.own()) == len(labelled) + 8
        self.press("#undo", "#redo", "#undo")
        assert self.person.own() == labelled
        self.fill_form("", "", "")
        self.press("#tile-right")
        self.person.waits_until_saved()
        self.look("labelled")
        return {segment: "mining" if code == 1 else "not_mining" for segment, code in labelled.items()}

    def looks_around(self) -> None:
        self.page.select_option("#fill", "probability")
        self.page.select_option("#maps-count", "4")
        self.look("four maps")
        self.press("#keys")
        self.look("keys")
        assert self.page.is_visible("#keys-list kbd")
        self.press("#keys-list > button")

    def hands_in(self) -> str:
        """Hand in; return what the page says."""
        self.press("#hand-in")
        self.page.wait_for_selector("#hand-in-confirm:not([disabled])")
        self.look("before the hand-in")
        self.press("#hand-in-confirm")
        self.page.wait_for_selector("#hand-in-confirm", state="detached")
        self.look("handed in")
        text = self.page.inner_text("#hand-in-body")
        self.press("#hand-in-close", "nav a[href='#status']")
        self.page.wait_for_selector(".status table")
        self.look("status")
        return text


@pytest.mark.parametrize("screen", CASES)
def test_a_tile_is_labelled_on_any_screen(browser: Browser, place: BlockYear, server: Served, screen: Screen) -> None:
    context = browser.new_context(**screen.context)
    tour = Tour(Person.sits_down(context.new_page(), server.url), screen)
    shown = tour.page.evaluate("[innerWidth, devicePixelRatio, document.documentElement.dataset.theme]")
    assert shown == [screen.width, screen.ratio, screen.scheme]
    tour.signs_in()
    tour.person.opens("2016", part=TILE)
    tour.person.looks_at(48, 48, 6)
    tour.page.wait_for_selector("#details dl")
    tour.look("labelling")
    labels = tour.labels(place.segments())
    tour.looks_around()
    assert "64 decisions were handed in" in tour.hands_in()
    context.close()

    assert tour.faults == {}
    assert tour.person.problems == tour.person.errors == []
    assert tour.person.hosts == {server.url.removeprefix("http://")}, "nothing is asked of other hosts"
    events = same(events_of(place))
    keys = place.features().set_index("segment")["key"]
    assert len(events) == 64
    drawn = {event["key"]: event["label"] for event in events if event["look"] == "bulk"}
    assert drawn == {int(keys[segment]): label for segment, label in labels.items()}
    assert {event["provenance"] for event in events if event["look"] == "task"} == {"confirmed"}
    assert events == seen.setdefault("events", events), "every screen leads to the same events"
