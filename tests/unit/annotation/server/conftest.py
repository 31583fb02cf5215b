"""Fixtures of the server's tests: a made-up block, the pages on which people label it, refits without a process of their own."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from browser_edits import Page
from place import copied, decide_again, make_place
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.edits.session import open_session
from smallmines.annotation.server.view import refit, refits
from smallmines.core import raster


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A place whose mask exists, so that an accuracy sample can be drawn."""
    block_year = make_place(tmp_path_factory.mktemp("made"))
    mask = np.r_[0, decide_again(block_year)["label"].to_numpy()].astype(np.uint8)[block_year.segments()]
    raster.write(block_year.layout.mask("2016", "1"), mask, block_year.lattice.block("1"), 255, ["mask"])
    return block_year


@pytest.fixture
def place(made, tmp_path):
    return copied(made, tmp_path / "root")


@pytest.fixture
def pages(place):
    """Return the page of a person; all share one server."""
    with contextlib.closing(Journal.open(place.user)) as journal:
        yield lambda annotator, *args, **more: Page(journal, open_session(place, annotator, *args, **more))


@pytest.fixture
def in_process(monkeypatch):
    """Refits run in the test's process: the start of another one takes seconds."""

    def begin(folder):
        refit.refit(folder)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(refits, "begin", begin)
