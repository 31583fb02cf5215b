"""Measure labelling in the browser on a block of 1.25 million segments: views, frames, brush, acknowledgement, memory, and clicks.

Usage: PYTHONPATH=workflow:tests python tests/bench/browser.py FOLDER

FOLDER holds the made-up block (`tests/big_block.py`), which is made there if it is missing (about 10 minutes, 1 GB). Labels in it are
removed. Chromium draws with the CPU.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import requests
from numpy.typing import NDArray
from scipy import ndimage

import smallmines
from bench import annotators
from big_block import BEFORE, YEAR, make_big_block
from e2e.browsing import Person, chromium
from served import EVIDENCE, Client

PEOPLE = 5
BATCHES = 60
"""Batches that each of the people sends, one after the other."""

MINES = 25
"""Mines that are painted."""

FRAMES = """async (move) => { const { maps } = window.page.view; const times = []; const end = performance.now() + 3000; let last = 0;
  return await new Promise((resolve) => { const frame = (now) => { if (last) times.push(now - last); last = now;
    if (now > end) return resolve(times); move === 'pan' ? pan(now) : zoom(now); requestAnimationFrame(frame); };
    const [x, y] = maps.view.getCenter(), resolution = maps.view.getResolution();
    const pan = (now) => maps.view.setCenter([x + 200 * resolution * Math.sin(now / 400), y + 200 * resolution * Math.cos(now / 400)]);
    const zoom = (now) => maps.view.setResolution(resolution * 2 ** Math.sin(now / 500));
    requestAnimationFrame(frame); }); }"""

DRAWING = """() => { const { maps } = window.page.view; const [x, y] = maps.view.getCenter(), r = maps.view.getResolution();
  const times = []; for (let n = 0; n < 60; n++) { const start = performance.now();
    maps.view.setCenter([x + 60 * r * Math.sin(n / 6), y + 60 * r * Math.cos(n / 6)]);
    for (const { map } of maps.panes) map.renderSync(); times.push(performance.now() - start); }
  return times; }"""
"""Milliseconds of work that drawing two moved maps takes, which another load of the machine touches least."""

WATCH = """() => { const { tools, maps } = window.page.view; window.feedback = []; const paint = tools.paint.bind(tools);
  tools.paint = (col, row) => { const start = performance.now(); const before = tools.stroke?.painted.length; paint(col, row);
    if (tools.stroke?.painted.length === before) return;
    maps.panes[0].map.once('postrender', () => window.feedback.push(performance.now() - start)); }; }"""

DRAWN = """(() => { const v = window.page?.view; if (!v?.tools || v.maps.panes.length < 2) return false;
  const idle = v.maps.panes.every(({ map }) => map.frameState_ && !map.tileQueue_.getTilesLoading() && !map.tileQueue_.getCount());
  return idle && v.tiles.tiles.size > 0 && v.tiles.loading.size === 0 && v.painter.patches.size > 0; })()"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run `smallmines labels serve` in a process of its own; yield its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "smallmines.cli", "labels", "serve", "--config", "config.yaml", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(Path(smallmines.__file__).parents[1])}
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                requests.get(url, timeout=5)
                break
            except requests.ConnectionError:
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


def first_view(browser: Any, url: str) -> tuple[float, Person]:
    """Open the block in a fresh browser; return seconds from the address to a view in which everything is drawn."""
    person = Person.sits_down(browser.new_context(viewport={"width": 1280, "height": 800}).new_page(), url)
    person.signs_in("A01")
    person.page.wait_for_selector("[data-open]")
    start = time.monotonic()
    person.page.evaluate("place => { location.hash = place }", f"label/{YEAR}/1/review")
    while not person.page.evaluate(DRAWN):
        if person.page.query_selector("#take-over"):
            person.page.click("#take-over")
        person.page.wait_for_timeout(20)
    return time.monotonic() - start, person


def frames(person: Person, move: str) -> str:
    """Return frames a second while the maps move, and the 95th percentile of the time between two."""
    times = person.page.evaluate(FRAMES, move)
    return f"{1000 / statistics.mean(times):.0f} a second, 95 % within {np.percentile(times, 95):.0f} ms"


def acknowledged(url: str) -> str:
    """Let five people send batches of 30 segments at once; return median and 99th percentile of the time to the acknowledgement."""
    times: list[float] = []
    all_open = threading.Barrier(PEOPLE)

    def work(annotator: str) -> None:
        client = Client(url)
        assert client.login(annotator=annotator).status_code == 200
        session = client.open(YEAR).json()["session"]
        queue = client.get(f"/api/sessions/{session}/queue").json()["segment"]
        form = EVIDENCE | {"evidence_date": f"{YEAR}-01-12"}
        all_open.wait()
        for number in range(BATCHES):
            chosen = [queue[(number * 30 + at) % len(queue)] for at in range(30)]
            edits = [{"segments": sorted(set(chosen)), "label": ("mining", "not_mining")[number % 2], "look": "bulk", "form": form}]
            start = time.monotonic()
            answer = client.edit(session, edits, str(uuid.uuid4()))
            times.append(time.monotonic() - start)
            assert answer.status_code == 200, answer.text
            time.sleep(0.1)

    people = [threading.Thread(target=work, args=(f"A{number:02d}",)) for number in range(1, PEOPLE + 1)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(times) == PEOPLE * BATCHES
    return f"median {1000 * np.median(times):.0f} ms, 99 % within {1000 * np.percentile(times, 99):.0f} ms"


def mines_of(folder: Path) -> NDArray[np.bool_]:
    """Return the true mines of the year, (row, column): those of the year before, moved back."""
    with rasterio.open(folder / f"results/big/masks/{BEFORE}/1.tif") as source:
        return np.roll(source.read(1) == 1, -12, axis=1)


@dataclass
class PageTools:
    """The tools of the page, driven as the mouse drives them."""

    person: Person
    pixels: dict[int, tuple[int, int]]

    def paint(self, path: NDArray[np.float64], radius: int) -> list[int]:
        self.person.sets_radius(radius)
        painted: list[int] = self.person.page.evaluate(
            """async (path) => { const { tools, state } = window.page.view; tools.choose('mining'); const before = state.own.slice();
               tools.begin(path[0][1], path[0][0]); for (const [row, col] of path.slice(1)) tools.paint(col, row); await tools.end();
               return [...state.own].flatMap((label, id) => (label === 1 && before[id] !== 1 ? [id] : [])); }""",
            path.tolist(),
        )
        return painted

    def click(self, segment: int, mining: bool) -> None:
        row, col = self.pixels[segment]
        self.person.page.evaluate(
            """async ([row, col, label]) => { const { tools } = window.page.view; tools.use('click'); tools.choose(label);
               await tools.click(col + 0.5, row + 0.5); tools.use('brush'); }""",
            [row, col, "mining" if mining else ""],
        )


def brush_against_clicks(person: Person, folder: Path) -> list[tuple[str, str, str]]:
    """Let one person label mines in the page with the brush, and another one with single clicks; compare correct segments a minute."""
    truth = mines_of(folder)
    with rasterio.open(folder / f"results/big/segments/{YEAR}/1/segments.tif") as source:
        segments = source.read(1)
    mined = np.bincount(segments.ravel(), weights=truth.ravel()) * 2 >= np.maximum(np.bincount(segments.ravel()), 1)
    boxes = [box for box in ndimage.find_objects(ndimage.label(truth)[0]) if min(side.stop - side.start for side in box) >= 12]
    boxes = [box for box in boxes if max(side.stop - side.start for side in box) < 110][:MINES]
    eyes = np.random.default_rng(1)
    mines = [annotators.look(truth, segments, box, eyes) for box in boxes]
    brush, clicks, hand = annotators.Work(), annotators.Work(), np.random.default_rng(2)
    for mine in mines:
        annotators.by_clicks(mine, clicks, hand)
    before = set(person.own())
    for mine in mines:
        row, col = (corner + side / 2 for corner, side in zip(mine.corner, mine.segments.shape, strict=True))
        person.looks_at(row, col, annotators.SCALE)
        annotators.by_brush(mine, brush, PageTools(person, _pixels(mine)), hand)
    person.waits_until_saved()
    in_page = {segment for segment, label in person.own().items() if label == 1} - before
    assert in_page == brush.labelled - before, f"{len(in_page ^ brush.labelled)} segments differ from what the page has"
    wanted = {segment for mine in mines for segment in mine.wanted}
    rows = [_rate(f"{name}: correct segments a minute", work, mined, wanted) for name, work in (("brush", brush), ("clicks", clicks))]
    for seconds, goal in ((annotators.CLICK_S, "5 times"), (0.7, "")):
        times = _correct_a_minute(brush, mined, seconds) / _correct_a_minute(clicks, mined, seconds)
        rows.append((f"brush against clicks of {seconds} s", f"{times:.1f} times", goal))
    return rows


def _pixels(mine: annotators.Mine) -> dict[int, tuple[int, int]]:
    """Return a pixel of the block for each segment of a window."""
    ids, first = np.unique(mine.segments, return_index=True)
    rows, cols = np.unravel_index(first, mine.segments.shape)
    places = zip(ids.tolist(), (rows + mine.corner[0]).tolist(), (cols + mine.corner[1]).tolist(), strict=True)
    return {segment: (row, col) for segment, row, col in places}


def _correct_a_minute(work: annotators.Work, mined: NDArray[np.bool_], click_s: float) -> float:
    return 60 * sum(bool(mined[segment]) for segment in work.labelled) / work.seconds(click_s)


def _rate(what: str, work: annotators.Work, mined: NDArray[np.bool_], wanted: set[int]) -> tuple[str, str, str]:
    wrong = sum(not mined[segment] for segment in work.labelled)
    text = (
        f"{_correct_a_minute(work, mined, annotators.CLICK_S):.0f} ({len(work.labelled) - wrong} correct, {wrong} wrong: "
        f"{100 * wrong / len(work.labelled):.2f} %, {len(wanted - work.labelled)} left out; {work.differing} differed at first, "
        f"{work.corrections} clicks to correct; {work.seconds():.0f} s)"
    )
    return what, text, ""


def main(folder: Path) -> None:
    if not (folder / "config.yaml").is_file():
        make_big_block(folder, features="context")
    shutil.rmtree(folder / "resources/user/big", ignore_errors=True)
    shutil.rmtree(folder / "results/big/browser", ignore_errors=True)
    rows: list[tuple[str, str, str]] = []
    with chromium() as browser:
        with serving(folder) as (url, server):
            seconds, person = first_view(browser, url)
            rows.append(("opened for the first time (snapshot, queue)", f"{seconds:.1f} s", ""))
            person.page.context.close()
            rows.append(("server's memory, opened for the first time", memory_of(server), "600 MB"))
        shutil.rmtree(folder / "results/big/browser", ignore_errors=True)
        with serving(folder) as (url, server):
            seconds, person = first_view(browser, url)
            rows.append(("first view, nothing cached, server just started", f"{seconds:.1f} s", "6 s"))
            person.page.context.close()
            seconds, person = first_view(browser, url)
            rows.append(("first view, tiles cached", f"{seconds:.1f} s", "2 s"))
            person.gives_evidence(day=f"{YEAR}-01-12")
            for pixels in (8, 2, 0.4):
                person.looks_at(1900, 1900, pixels)
                person.page.wait_for_timeout(3000)
                rows.append((f"pan, {pixels} px a pixel, two maps", frames(person, "pan"), "30 a second"))
                rows.append(("  of which work of the page a frame", f"median {np.median(person.page.evaluate(DRAWING)):.1f} ms", ""))
            person.looks_at(1900, 1900, 4)
            person.page.wait_for_timeout(2000)
            rows.append(("zoom, two maps", frames(person, "zoom"), "30 a second"))
            person.page.evaluate(WATCH)
            person.sets_radius(5)
            person.presses("b", "m")
            for at in range(4):
                person.looks_at(1900 + 60 * at, 1900, 8)
                person.page.wait_for_timeout(500)
                person.drags([(1900 + 60 * at, 1880), (1905 + 60 * at, 1920)])
            feedback = person.page.evaluate("window.feedback")
            rows.append(
                (
                    "brush to the drawn frame",
                    f"median {np.median(feedback):.0f} ms, 95 % within {np.percentile(feedback, 95):.0f} ms",
                    "50 ms",
                )
            )
            person.waits_until_saved()
            rows += brush_against_clicks(person, folder)
            person.page.context.close()
            time.sleep(31)  # the closed page counts as the writer until then
            rows.append(("acknowledgement, five people at once", acknowledged(url), "30 ms, 150 ms"))
            rows.append(("server's memory, from a cold start to five people", memory_of(server), "600 MB"))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for row in [("what", "measured", "to reach"), *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)), flush=True)


def memory_of(server: psutil.Process) -> str:
    """Return the memory of a process, and the most that it ever had."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return f"{server.memory_info().rss / 1e6:.0f} MB, at most {most / 1e6:.0f} MB"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
