"""A person at the page: Chromium, driven as by hand and keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from served import Served

WAIT = 60_000
"""Milliseconds that a person waits for the page, on a busy machine."""


TILE = "0007"
"""Rows and columns 32 to 63 of the made-up block (`place.make_place`), with segments of 4 × 4 pixels."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium without a window, drawing with the CPU."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Person:
    """A person with a tab.

    Attributes:
        problems: errors of the page's own code, and breaches of its security policy.
        errors: everything that the browser's console shows as an error, such as a request that failed.
        hosts: whom the page asked.
    """

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    fingers: CDPSession | None = None

    @staticmethod
    def sits_down(page: Page, url: str) -> Person:
        """Watch a tab and go to the page."""
        person = Person(page, url)
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: person.problems.append(str(error)))
        page.on("console", lambda message: person.problems.append(message.text) if "Content Security Policy" in message.text else None)
        page.on("console", lambda message: person.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: person.hosts.add(urlsplit(request.url).netloc))
        page.goto(url)
        return person

    def signs_in(self, annotator: str) -> None:
        self.page.fill("#annotator", annotator)
        self.page.click("#sign-in")
        self.page.wait_for_selector("[data-open], #content p")

    def opens(self, year: str, block: str = "1", kind: str = "review", part: str = "", take_over: bool = False) -> None:
        """Open a block by its address, where asked from another tab, and wait for the maps."""
        self.page.evaluate("place => { location.hash = place }", "/".join(filter(None, ("label", year, block, kind, part))))
        if take_over:
            self.page.click("#take-over")
        self.is_ready()

    def is_ready(self) -> None:
        """Wait until the view is drawn: all label tiles and images in view are there."""
        self.waits_for("Boolean(window.page?.view?.tools && window.page.view.maps.panes.length)")
        self.waits_for("window.page.view.state.isPoints || window.page.view.tiles.tiles.size > 0")

    def waits_for(self, expression: str) -> None:
        """Wait until an expression is true. The page's policy forbids what Playwright does in the page for this."""
        end = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(50)

    def gives_evidence(self, text: str = "Google Earth", day: str = "2016-02-01") -> None:
        self.page.fill("#evidence", text)
        self.page.fill("#evidence-date", day)
        self.page.evaluate("document.activeElement.blur()")

    def looks_at(self, row: float, col: float, pixels: float = 8) -> None:
        """Move the maps: a place in the middle, a pixel of the block `pixels` wide."""
        self.page.evaluate(
            """([row, col, scale]) => { const { view } = window.page.view.maps;
               view.setCenter([col, -row]); view.setResolution(1 / scale); }""",
            [row, col, pixels],
        )
        self.page.wait_for_timeout(300)

    def place(self, row: float, col: float, pane: int = 0) -> tuple[float, float]:
        """Return where a place of the block is on the screen."""
        x, y = self.page.evaluate(
            """([row, col, pane]) => { const { map } = window.page.view.maps.panes[pane];
               map.updateSize(); // a control that appeared may have moved it just now
               map.renderSync();
               const [x, y] = map.getPixelFromCoordinate([col, -row]), box = map.getViewport().getBoundingClientRect();
               return [box.left + x, box.top + y]; }""",
            [row, col, pane],
        )
        return x, y

    def drags(self, places: Sequence[tuple[float, float]], pane: int = 0) -> None:
        """Draw a line over places (row, column) with the main button."""
        mouse = self.page.mouse
        mouse.move(*self.place(*places[0], pane))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.place(*place, pane), steps=4)
        mouse.up()
        self.page.wait_for_timeout(100)

    def clicks(self, row: float, col: float) -> None:
        self.page.mouse.click(*self.place(row, col))
        self.page.wait_for_timeout(100)

    def presses(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sets_radius(self, radius: int) -> None:
        self.page.evaluate("radius => window.page.view.tools.widen(radius)", radius)

    def waits_until_saved(self) -> None:
        self.page.wait_for_selector("#saved[data-unsent='0']")

    def labels_a_line(self) -> None:
        """Open tile `TILE` of 2016, brush mining along row 34 from column 33 to 40, and wait until the server has them."""
        self.opens("2016", part=TILE)
        self.looks_at(48, 48)
        self.gives_evidence()
        self.presses("b", "m")
        self.sets_radius(0)
        self.drags([(34.5, 33.5), (34.5, 40.5)])
        self.waits_until_saved()

    def unsent(self) -> int:
        return int(self.page.get_attribute("#saved", "data-unsent") or 0)

    def own(self) -> dict[int, int]:
        """Return the labels that the page shows, by segment: 1 mining, 2 not mining, 3 unsure."""
        shown: list[list[int]] = self.page.evaluate("[...window.page.view.state.own].flatMap((label, id) => label ? [[id, label]] : [])")
        return {segment: label for segment, label in shown}

    def hands_in(self) -> str:
        """Hand in; return what the page says."""
        self.page.click("#hand-in")
        self.page.wait_for_selector("#hand-in-confirm:not([disabled])")
        self.page.click("#hand-in-confirm")
        self.page.wait_for_selector("#hand-in-confirm", state="detached")
        text = self.page.inner_text("#hand-in-body")
        self.page.click("#hand-in-close")
        return text

    def state_of(self, expression: str) -> Any:
        """Return a value of the page's view."""
        return self.page.evaluate(f"window.page.view.{expression}")

    def touches(self, kind: str, places: Sequence[tuple[float, float]]) -> None:
        """Send a touch event with fingers at places of the screen."""
        if self.fingers is None:
            self.fingers = self.page.context.new_cdp_session(self.page)
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self.fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def strokes_with_a_finger(self, places: Sequence[tuple[float, float]]) -> None:
        """Draw a line over places (row, column) with one finger."""
        on_screen = [self.place(*place) for place in places]
        self.touches("touchStart", on_screen[:1])
        for (x0, y0), (x1, y1) in pairwise(on_screen):
            for step in range(1, 6):
                self.touches("touchMove", [(x0 + (x1 - x0) * step / 5, y0 + (y1 - y0) * step / 5)])
        self.touches("touchEnd", [])
        self.page.wait_for_timeout(100)

    def pinches(self, row: float, col: float) -> None:
        """Spread two fingers around a place, the second one put down after the first."""
        x, y = self.place(row, col)
        self.touches("touchStart", [(x - 20, y)])
        self.touches("touchStart", [(x - 20, y), (x + 20, y)])
        for step in range(1, 9):
            self.touches("touchMove", [(x - 20 - step * 5, y), (x + 20 + step * 5, y)])
        self.touches("touchEnd", [])
        self.page.wait_for_timeout(600)


def person_at(browser: Browser, server: Served, part: str = TILE, **context: Any) -> Person:
    """Return a person who has opened a tile of the made-up block, in a tab of his own (`context`: of Playwright)."""
    person = Person.sits_down(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context}).new_page(), server.url)
    person.signs_in("A01")
    person.opens("2016", part=part)
    person.looks_at(48, 48)
    return person
