"""Fixtures of the tests at the page: the browser, a made-up block, the server that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from e2e.browsing import chromium
from place import make_place
from served import Served, served
from smallmines.annotation.block_year import BlockYear


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of a file. Its loop of events ends with them: other files run loops of their own."""
    with chromium() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> BlockYear:
    """A block of segments of 4 × 4 pixels, without labels of people."""
    return make_place(tmp_path / "place")


@pytest.fixture
def server(place: BlockYear) -> Iterator[Served]:
    """The server of `place`."""
    with served(place) as running:
        yield running
