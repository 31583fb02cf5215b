"""A working copy and its project in real QGIS: renderer, form, value maps, constraint, stamp, and a map."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from place import edit, make_place
from smallmines.annotation import qgis
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout
from smallmines.annotation.working_copy import EDITABLE, RULE, TASK_EDITABLE
from system_packages import install

pytestmark = pytest.mark.heavy

OPINIONS = "A01: mining (<img src='http://x.example/y.png'> & <b>sure</b> [% 1 + 1 %])"
"""Notes of others, with markup and an expression of QGIS in them."""

PYTHON = "/usr/bin/python3"
"""QGIS's Python modules are the distribution's."""


@pytest.fixture(scope="module")
def qgis_python() -> str:
    """An interpreter that has QGIS; installs it where this may."""
    here = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False)
    if here.returncode:
        install("python3-qgis")
    return PYTHON


@pytest.fixture(scope="module")
def looked(qgis_python, tmp_path_factory):
    """What QGIS says about a copy that was moved to another folder with its images, and the check-in of its edit."""
    root = tmp_path_factory.mktemp("made") / "here"
    place = make_place(root, map_layers={"aerial": "https://tiles.example/{z}/{x}/{y}.png?a=1&b=2"})
    given = checkout(place, "A01")
    edit(given.path, "UPDATE segments SET opinions = ?", OPINIONS)
    moved = root.rename(root.with_name("elsewhere"))
    copy = moved / given.path.relative_to(root)
    pictures = root.with_name("pictures")
    pictures.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [qgis_python, Path(__file__).with_name("look.py"), copy, copy.with_suffix(".qgs"), pictures],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment | {"HOME": home},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return told, pictures, checkin(moved / place.user.relative_to(root), copy)


def test_style_form_and_index(looked):
    told, _, _ = looked
    for name in ("segments", "project_segments"):
        layer = told[name]
        assert layer["valid"]
        assert layer["features"] > 50
        assert layer["renderer"] == "categorizedSymbol"
        assert layer["colours"] == qgis.COLOURS
        assert not any(layer["filled"])
        assert layer["maps"] == {"label": ["mining", "not_mining", "unsure"], "confidence": ["sure", "likely", "guess"]}
        assert layer["widgets"]["evidence_date"] == "DateTime"
        assert set(layer["fields"]) - set(layer["read_only"]) == {*EDITABLE, "fid"}
        assert layer["on_update"] == {"edited": qgis.NOW}
        assert layer["constraints"] == {"label": RULE}
        assert "probability" in layer["tip"]
        assert layer["index"]
    tasks = told["tasks"]
    assert tasks["colours"] == qgis.STATES
    assert tasks["maps"] == {"status": ["open", "doing", "done"]}
    assert set(tasks["fields"]) - set(tasks["read_only"]) == {*TASK_EDITABLE, "fid"}


def test_notes_in_map_tips_are_text(looked):
    told, _, _ = looked
    tip = told["edit"]["tip"]
    assert "A01: mining (&lt;img src='http://x.example/y.png'&gt; &amp; &lt;b&gt;sure&lt;/b&gt; [% 1 + 1 %])" in tip
    assert "<b>unseen</b>" in tip
    assert "<img" not in tip


def test_the_project_opens_where_it_was_moved_to(looked):
    told, _, _ = looked
    assert told["read"]
    assert told["crs"] == "EPSG:32630"
    local = {name: valid for name, valid in told["layers"].items() if name != "aerial"}  # its address leads nowhere
    assert "aerial" in told["layers"]
    assert local == dict.fromkeys(["segments", "tasks", "2016 true colour", "2016 false colour"], True)
    assert told["themes"] == ["2016 false colour", "2016 true colour", "aerial"]


def test_an_edit_is_stamped_checked_and_taken_in(looked):
    told, _, found = looked
    edit = told["edit"]
    assert edit["saved"], edit["errors"]
    assert edit["constraint"] == [False, True]  # without its evidence a correction is warned of
    (event,) = found.events
    assert (str(event.key), event.label, event.provenance) == (edit["key"], edit["label"], "corrected")
    assert (event.evidence, event.evidence_date) == ("Google Earth", "2022-01-15")
    assert abs(event.instant.timestamp() * 1000 - edit["stamp"]) < 5000  # QGIS stamps each change of the form anew


def test_the_map_shows_outlines_over_the_image(looked):
    _, pictures, _ = looked
    with rasterio.open(pictures / "2016_true_colour.png") as source:
        red, green, blue = source.read()[:3].astype(int)
    unseen = (red > 240) & (green > 240) & (blue < 90)
    assert 0.002 < unseen.mean() < 0.4
    assert len(np.unique(red)) > 50  # the image below
