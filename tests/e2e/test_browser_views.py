"""Test what a person sees and reaches at the page: colours, linked maps, keys, fingers, growing, the file for Google Earth."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from pyproj import Transformer

from block_of_segments import CRS
from e2e.browsing import TILE, Person, person_at
from e2e.page_checks import faults_of
from served import Served, served
from shown_place import make_shown_place
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.edits.snapshot import take
from smallmines.annotation.server.view.feature_rows import feature_rows

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

DARK, LIGHT = "rgb(20, 24, 28)", "rgb(244, 245, 246)"
"""Ground of the page."""


def ground(person: Person) -> str:
    return str(person.page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_colours_follow_the_system_until_the_switch_is_used(browser: Browser, server: Served) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.route("**/main.js", lambda route: route.abort())
    page.goto(server.url)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark", "before the page's modules run"
    page.unroute("**/main.js")
    person = Person.sits_down(page, server.url)
    page.wait_for_selector("#theme")
    assert ground(person) == DARK
    page.emulate_media(color_scheme="light")
    person.waits_for("document.documentElement.dataset.theme === 'light'")
    assert ground(person) == LIGHT
    page.click("#theme")
    assert ground(person) == DARK
    page.reload()
    page.wait_for_selector("#theme")
    assert ground(person) == DARK, "the choice is kept"
    other = Person.sits_down(context.new_page(), server.url)
    other.page.wait_for_selector("#theme")
    other.page.click("#theme")
    assert ground(other) == LIGHT
    person.waits_for("document.documentElement.dataset.theme === 'light'")
    context.close()


@pytest.mark.matrix
def test_a_finger_draws_a_lasso(browser: Browser, place: BlockYear, server: Served) -> None:
    person = person_at(browser, server, has_touch=True)
    person.gives_evidence()
    person.page.tap("button[data-tool=lasso]")
    person.page.tap("button[data-label=not_mining]")
    person.strokes_with_a_finger([(43.8, 35.8), (52.2, 35.8), (52.2, 52.2), (43.8, 52.2), (43.8, 36)])
    person.waits_until_saved()
    held = np.unique(place.segments()[44:52, 36:52]).tolist()
    assert person.own() == dict.fromkeys(held, 2)
    person.pinches(48, 48)
    assert person.own() == dict.fromkeys(held, 2), "two fingers zoom, and draw nothing"
    person.page.context.close()


def test_two_maps_move_together_and_show_one_cursor(browser: Browser, server: Served) -> None:
    """The cursor is looked for in the pixels that the second map draws for it."""
    person = person_at(browser, server)
    first, second = person.state_of("maps.panes.map((pane) => pane.layer)")
    assert first != second
    person.page.mouse.move(5, 5)
    person.page.wait_for_timeout(200)
    pixels = """window.page.view.maps.panes.map(({ cursor }) =>
      cursor.getContext("2d").getImageData(0, 0, cursor.width, cursor.height).data)"""
    person.page.evaluate(f"() => {{ window.without = {pixels}; }}")
    person.page.mouse.move(*person.place(46.5, 44.5, pane=0))
    person.page.wait_for_timeout(200)
    centres = person.page.evaluate(
        f"""() => {pixels}.map((data, pane) => {{
          const {{ cursor }} = window.page.view.maps.panes[pane], box = cursor.getBoundingClientRect();
          const changed = [...Array(data.length / 4).keys()].filter((at) => data[4 * at + 3] !== window.without[pane][4 * at + 3]);
          const cols = changed.map((at) => at % cursor.width), rows = changed.map((at) => Math.floor(at / cursor.width));
          const middle = (values) => (Math.min(...values) + Math.max(...values) + 1) / 2;
          return [box.left + middle(cols), box.top + middle(rows)];
        }})"""
    )
    for pane, centre in enumerate(centres):
        assert centre == pytest.approx(person.place(46.5, 44.5, pane), abs=2)
    person.presses("v")
    before = [person.place(48, 48, pane) for pane in (0, 1)]
    person.drags([(48, 48), (52, 54)], pane=1)
    person.page.wait_for_timeout(500)
    first_map, second_map = (np.subtract(person.place(48, 48, pane), before[pane]) for pane in (0, 1))
    assert first_map == pytest.approx(second_map, abs=0.5)
    assert np.all(first_map > (40, 24)), "as far as the second map was dragged, or further: it glides on"
    person.page.mouse.move(5, 5)
    pane = person.page.locator(".pane").nth(1)
    image = pane.screenshot()
    person.page.select_option("#layer-2", first)
    assert person.state_of("maps.panes.map((pane) => pane.layer)") == [first, first]
    person.page.wait_for_timeout(1000)
    assert pane.screenshot() != image


def test_no_tool_moves_the_maps(browser: Browser, server: Served) -> None:
    person = person_at(browser, server)
    tops = []
    for tool in ("look", "click", "brush", "lasso", "grow"):
        person.page.click(f"button[data-tool={tool}]")
        tops.append(person.page.evaluate("document.querySelector('#maps').getBoundingClientRect().top"))
        shown = [person.page.is_visible(slider) for slider in ("#radius", "#similarity")]
        assert shown == [tool == "brush", tool == "grow"]
    assert len(set(tops)) == 1


@pytest.mark.matrix
def test_checks_of_a_view_find_what_is_wrong(browser: Browser, server: Served) -> None:
    """The checks of `page_checks`, with a fault of each kind."""
    person = person_at(browser, server)
    assert faults_of(person.page) == []
    for change, fault in (
        ("document.querySelector('#undo').disabled = false, document.querySelector('#undo').style.color = '#888'", "Undo"),
        ("document.querySelector('#evidence').style.backgroundColor = '#444'", "evidence"),
        ("document.querySelector('.bar').style.opacity = 0.4", "Hand in"),
        ("document.querySelector('#back').style.marginLeft = '-60px'", "outside"),
        ("document.querySelector('#keys').style.marginLeft = '-60px'", "covered by"),
        ("document.querySelector('#hand-in').style.marginRight = '-60px'", "HTML. scrolls sideways"),
        ("document.querySelector('#next').style.minWidth = '400px'", "left scrolls sideways"),
    ):
        person.page.reload()
        person.is_ready()
        person.page.wait_for_selector("#details dl")
        person.page.evaluate(change)
        faults = faults_of(person.page)
        assert any(fault in line for line in faults), (change, faults)


KEYS = {
    "C": "tools.tool",
    "B": "tools.tool",
    "L": "tools.tool",
    "G": "tools.tool",
    "V": "tools.tool",
    "]": "tools.radius",
    "[": "tools.radius",
    "→": "state.selected",
    "←": "state.selected",
    "M": "state.past.length",
    "N": "state.past.length",
    "2": "state.past.length",
    "U": "state.past.length",
    "3": "state.past.length",
    "1": "state.past.length",
    "E": "state.past.length",
    "Z": "state.past.length",
    "Y": "state.past.length",
    "T": "state.doneTiles.size",
    "F": "painter.fill",
    "O": "painter.outlines",
    ".": "painter.opacity",
    ",": "painter.opacity",
    "J": "maps.panes[0].layer",
    "K": "maps.panes[1].layer",
    "+": "maps.view.getResolution()",
    "-": "maps.view.getResolution()",
    "D": "maps.view.getCenter()[0]",
    "A": "maps.view.getCenter()[0]",
    "W": "maps.view.getCenter()[1]",
    "S": "maps.view.getCenter()[1]",
    "P": "state.selected",
    "R": "learning.running",
    "X": "form.evidence === document.activeElement",
}
"""Keys, in an order in which each changes what the page's view has here. `?`, `H` and Space are tested by themselves."""


@pytest.mark.matrix
def test_every_key_of_the_list_does_what_it_says(browser: Browser, server: Served) -> None:
    person = person_at(browser, server)
    person.gives_evidence()
    person.presses("v", "?")
    listed = {key for text in person.page.locator("#keys-list kbd").all_inner_texts() for key in text.split("/")}
    assert listed == {*KEYS, "?", "H", "Space"}
    person.presses("m", "t", "h")
    assert person.own() == {}, "keys do nothing behind the list"
    person.presses("Escape")
    assert person.page.query_selector("dialog") is None
    person.page.mouse.move(*person.place(46.5, 54.5))
    for key, value in KEYS.items():
        before = person.state_of(value)
        person.presses({"→": "ArrowRight", "←": "ArrowLeft"}.get(key, key.lower()))
        person.waits_for(f"window.page.view.{value} !== {before!r}".replace("True", "true").replace("False", "false"))
        if value.startswith("maps.view"):
            person.page.wait_for_timeout(300)  # the maps glide
    person.presses("h")
    assert person.page.evaluate("document.activeElement.value") == "Google Earthh", "in a text, a key is a letter"
    person.presses("Escape", "h")
    person.page.wait_for_selector("#hand-in-confirm")
    person.presses("Escape")
    before = person.place(48, 48)
    person.presses("b")
    person.page.keyboard.down(" ")
    person.drags([(48, 48), (50, 50)])
    person.page.keyboard.up(" ")
    person.page.wait_for_timeout(500)
    assert person.place(48, 48) != before, "the map moved"


@pytest.mark.matrix
def test_growing_labels_the_similar_segments_around_one(browser: Browser, tmp_path: Path) -> None:
    """What it finds is connected, holds the segment, grows as the similarity falls, and is undone as one edit."""
    place = make_shown_place(tmp_path / "shown", "2016")
    segments = place.segments()
    with served(place) as server:
        person = person_at(browser, server)
        person.gives_evidence()
        person.presses("g", "n")
        start = int(segments[48, 48])
        areas: list[set[int]] = []
        for similarity in ("1", "0.5", "0"):
            person.page.fill("#similarity", similarity)
            person.presses("n")
            person.clicks(48.5, 48.5)
            person.waits_for("window.page.view.state.past.length === 1")
            person.waits_until_saved()
            labels = person.own()
            assert set(labels.values()) == {2}
            areas.append(set(labels))
            person.presses("z")
            person.waits_until_saved()
            assert person.own() == {}
    standardised = feature_rows(take(place)).standardised(np.arange(segments.max()))
    distances = np.sqrt(np.nanmean((standardised - standardised[start - 1]) ** 2, axis=1))
    assert areas[0] == {start}
    assert areas[0] <= areas[1] < areas[2]
    for similarity, area in zip((1, 0.5, 0), areas, strict=True):
        similar = set((np.flatnonzero(distances <= 1 - similarity + 1e-6) + 1).tolist())
        assert area == connected(segments, similar & queue_of(segments), start)


def queue_of(segments: np.ndarray) -> set[int]:
    """Return the segments of the tile that the page has open."""
    return set(np.unique(segments[32:64, 32:64]).tolist())


def connected(segments: np.ndarray, allowed: set[int], start: int) -> set[int]:
    """Return the segments that a chain of neighbours among `allowed` connects with `start`."""
    rows, cols = segments.shape
    reached, waiting = {start}, [start]
    while waiting:
        row, col = np.argwhere(segments == waiting.pop())[0]
        for r, c in ((row - 1, col), (row + 4, col), (row, col - 1), (row, col + 4)):
            if 0 <= r < rows and 0 <= c < cols and int(segments[r, c]) in allowed - reached:
                reached.add(int(segments[r, c]))
                waiting.append(int(segments[r, c]))
    return reached


def test_a_tile_is_taken_to_google_earth(browser: Browser, place: BlockYear, server: Served, tmp_path: Path) -> None:
    person = person_at(browser, server)
    with person.page.expect_download() as download:
        person.page.click("a[href$='.kmz']")
    assert download.value.suggested_filename == f"2016-1-{TILE}.kmz"
    path = tmp_path / "tile.kmz"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert "doc.kml" in archive.namelist()
        text = "".join(archive.read(name).decode() for name in archive.namelist())
    outlines = re.findall(r"<coordinates>([^<]+)</coordinates>", text)
    assert len(outlines) == 1 + 64, "the tile and its segments"
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    left, bottom = to_degrees.transform(600_000 + 320, 700_000 - 640)
    right, top = to_degrees.transform(600_000 + 640, 700_000 - 320)
    places = np.array([[float(value) for value in place.split(",")[:2]] for outline in outlines for place in outline.split()])
    assert places.min(axis=0) == pytest.approx((left, bottom), abs=2e-5)
    assert places.max(axis=0) == pytest.approx((right, top), abs=2e-5)
    square = np.array([[float(value) for value in place.split(",")[:2]] for place in outlines[1].split()])
    assert np.ptp(square, axis=0) == pytest.approx(((right - left) / 8, (top - bottom) / 8), rel=0.05), "a segment of 4 × 4 pixels"
