"""Test the doctor on the miniature and on a copy of it per defect, and the pages in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from defects import DEFECTS, Defect, prepare
from sections import Doctor
from smallmines.core.finding import Finding
from smallmines.dataset.measured import read_measured
from smallmines.doctor.examine import KEPT, examine, summary
from system_packages import install
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]


def checks_of(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.family, finding.check) for finding in findings if finding.severity != "note"}


@pytest.fixture(scope="module")
def before(miniature: Workspace) -> set[tuple[str, str]]:
    """Checks with a finding on the miniature as it is."""
    return checks_of(examine(miniature.results / "dataset", Doctor(), 2).findings)


def test_the_miniature_is_sound(miniature: Workspace, before: set[tuple[str, str]]) -> None:
    assert before == set()
    known = json.loads((miniature.results / "doctor.json").read_text())
    assert known["counts"]["error"] == 0
    assert {(finding["family"], finding["check"]) for finding in known["findings"] if finding["severity"] != "note"} == before


FAMILIES = [defect.family for defect in DEFECTS]
"""CI tests the first defect of each family and every fifth; `make faults` tests all."""


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(defect, id=defect.name, marks=() if number % 5 == 0 or defect.family not in FAMILIES[:number] else pytest.mark.matrix)
        for number, defect in enumerate(DEFECTS)
    ],
)
def test_each_defect_is_found_and_nothing_else(miniature: Workspace, before: set[tuple[str, str]], defect: Defect, tmp_path: Path) -> None:
    folder = prepare(miniature.results / "dataset", tmp_path / "dataset", defect.documents)
    defect.spoil(folder)
    after = checks_of(examine(folder, Doctor(), 2).findings)
    assert any(family == defect.family and check.startswith(defect.check) for family, check in after), sorted(after)
    expected = [(defect.family, defect.check), *defect.also, *before]
    unexpected = [
        (family, check)
        for family, check in sorted(after)
        if not any(family == other and check.startswith(name) for other, name in expected)
    ]
    assert not unexpected


@pytest.mark.parametrize("defect", [pytest.param(defect, id=defect.name, marks=pytest.mark.matrix) for defect in DEFECTS])
def test_measurements_change_no_answer(miniature: Workspace, defect: Defect, tmp_path: Path) -> None:
    folder = prepare(miniature.results / "dataset", tmp_path / "dataset", defect.documents)
    defect.spoil(folder)
    kept = read_measured(sorted((miniature.results / "measured").rglob("*.parquet")), KEPT)
    assert len(kept.patches) == 48
    assert summary(examine(folder, Doctor(), 2, kept=kept)) == summary(examine(folder, Doctor(), 2))


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of Chromium, which is installed if possible."""
    if not (path := _chromium()):
        install("chromium")
        path = _chromium()
    assert path is not None
    return path


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


FRAME = """<html><body style="margin:0"><pre id="size"></pre><iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>addEventListener("message", event => document.getElementById("size").textContent = event.data)</script></body></html>"""
"""A frame can be as narrow as a phone, a window cannot."""

PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images].map(i => [i.alt, i.naturalWidth, i.getBoundingClientRect().width]);
  const ids = [...document.querySelectorAll("nav a")].map(a => document.querySelector(a.getAttribute("href")) !== null);
  parent.postMessage(JSON.stringify({inner: innerWidth, wide: document.documentElement.scrollWidth, images, ids}), "*");
})</script></body>"""


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize(("page", "figures"), [("report.html", 9), ("doctor.html", 1)])
def test_the_pages_open_in_a_browser(miniature: Workspace, chromium: str, tmp_path: Path, page: str, figures: int, width: int) -> None:
    text = (miniature.results / page).read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|(?:doctor|benchmark/table)\.html|https://creativecommons)", text), "self-contained"
    (tmp_path / "page.html").write_text(text.replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--window-size=1300,1000"]
    done = subprocess.run(
        [chromium, *words, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path}/frame.html"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    message = re.search(r'<pre id="size">(.+?)</pre>', done.stdout, re.DOTALL)
    assert message is not None
    known = json.loads(html.unescape(message[1]))
    assert known["inner"] == width
    assert known["wide"] <= width, "nothing sticks out"
    assert len(known["images"]) >= figures
    assert all(natural > 100 and 100 < shown <= width for _, natural, shown in known["images"])
    assert all(known["ids"])


def test_the_verb_says_it_with_its_exit_code(miniature: Workspace, tmp_path: Path) -> None:
    good = miniature.smallmines("doctor", str(miniature.results / "dataset"), "--out", str(tmp_path / "out"))
    assert "0 errors" in good
    assert (tmp_path / "out/doctor.html").is_file()
    folder = prepare(miniature.results / "dataset", tmp_path / "dataset", False)
    next(folder.glob("2016/MASK/*.tif")).unlink()
    bad = miniature.smallmines("doctor", str(folder), succeeds=False)
    assert "error structure, mask missing" in bad
    assert "found 1 images have none" in bad
    none = miniature.smallmines("doctor", str(miniature.results / "grid"), succeeds=False)
    assert "expected" in none
    assert "IMG_<country>_<tile>_<year>.tif" in none
