"""Pretrained weights from the Hub on loopback: pins, the cache, offline mode, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from hub_service import TOKEN, Hub, serving

from smallmines.archive import hub as client
from smallmines.benchmark.deep import weights
from smallmines.benchmark.deep.weights import fetch, read_pins
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.settings.benchmark import Weights

pytestmark = pytest.mark.loopback

FIRST, SECOND = "1" * 40, "2" * 40
WEIGHTS = Weights("someone/network", "network.pt", None)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A model with two commits, of which the second is the newest; an empty cache."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client.library()
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    commits = {}
    for number, commit in enumerate((FIRST, SECOND)):
        commits[commit] = tmp_path / f"{number}.pt"
        commits[commit].write_bytes(bytes([number]) * 100_000)
    with serving(Hub(commits, WEIGHTS.repository, WEIGHTS.file, "")) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    return tmp_path / "weights.json"


def refused(weights: Weights, pins: Path) -> str:
    with pytest.raises(UserError) as error:
        fetch(weights, pins)
    assert len(str(error.value).splitlines()) == 3
    return str(error.value)


def test_the_first_run_pins_the_newest_commit_and_later_ones_keep_it(hub: Hub, pins: Path, tmp_path: Path) -> None:
    path = fetch(WEIGHTS, pins)
    assert path.read_bytes() == hub.commits[SECOND].read_bytes()
    assert json.loads(pins.read_text()) == {"someone/network/network.pt": {"revision": SECOND, "sha256": sha256(path)}}
    newest = tmp_path / "newest.pt"
    newest.write_bytes(b"other")
    hub.commits["3" * 40] = newest
    asked = hub.contents()
    assert fetch(WEIGHTS, pins) == path
    assert hub.contents() == asked, "from the cache"


def test_a_configured_revision_is_taken_and_one_beside_the_pin_refused(hub: Hub, pins: Path) -> None:
    assert fetch(replace(WEIGHTS, revision=FIRST), pins).read_bytes() == hub.commits[FIRST].read_bytes()
    assert read_pins(pins)["someone/network/network.pt"].revision == FIRST
    assert fetch(WEIGHTS, pins).read_bytes() == hub.commits[FIRST].read_bytes()
    text = refused(replace(WEIGHTS, revision=SECOND), pins)
    assert FIRST in text
    assert SECOND in text


def test_offline_the_cache_is_enough(hub: Hub, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(WEIGHTS, pins)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert fetch(WEIGHTS, pins) == path
    assert len(hub.asked) == asked
    other = Weights("someone/other", "network.pt", FIRST)
    assert "allow_unpretrained" in refused(other, pins)


def test_a_changed_file_is_refused(hub: Hub, pins: Path) -> None:
    path = fetch(WEIGHTS, pins)
    path.resolve().write_bytes(b"changed")
    text = refused(WEIGHTS, pins)
    Path(re.search(r"delete (.*): it is downloaded again", text)[1]).unlink()  # type: ignore[index]  # there is one
    assert fetch(WEIGHTS, pins).read_bytes() == hub.commits[SECOND].read_bytes()


def test_jobs_at_once_take_one_commit_and_lose_no_pin(hub: Hub, pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer commit appears while a job downloads; meanwhile another job pins it, and a third pins another file."""
    own_downloaded, other = weights._downloaded, weights.Pin("5" * 40, "0" * 64)
    newest = tmp_path / "newest.pt"
    newest.write_bytes(b"newest")

    def downloaded(wanted: Weights, revision: str) -> Path:
        path = own_downloaded(wanted, revision)
        monkeypatch.setattr(weights, "_downloaded", own_downloaded)
        hub.commits["3" * 40] = newest
        assert fetch(WEIGHTS, pins).read_bytes() == b"newest"
        weights.pinned(pins, "someone/other/network.pt", other)
        return path

    monkeypatch.setattr(weights, "_downloaded", downloaded)
    assert fetch(WEIGHTS, pins).read_bytes() == b"newest"
    assert {name: pin.revision for name, pin in read_pins(pins).items()} == {
        "someone/network/network.pt": "3" * 40,
        "someone/other/network.pt": "5" * 40,
    }


def test_processes_that_pin_at_once_keep_all_pins(pins: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(weights.pinned, [pins] * 40, [f"someone/{number}/a.pt" for number in range(40)], [weights.Pin("5" * 40, "0")] * 40))
    assert len(read_pins(pins)) == 40


def test_an_origin_is_repository_file_commit_and_checksum(hub: Hub, pins: Path) -> None:
    path = fetch(WEIGHTS, pins)
    checksum = sha256(hub.commits[SECOND])
    expected = {"repository": "someone/network", "file": "network.pt", "revision": SECOND, "sha256": checksum}
    assert weights.origin_of(WEIGHTS, path) == expected


def test_a_hub_that_is_busy_for_a_while_is_asked_again(hub: Hub, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "fault", lambda self, number: "503" if number <= 2 else None)
    assert fetch(WEIGHTS, pins).read_bytes() == hub.commits[SECOND].read_bytes()
    assert [status for _, _, status in hub.asked][:3] == [503, 503, 302]


def test_a_connection_that_breaks_off_is_no_traceback(hub: Hub, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **named: object) -> str:
        raise httpx2.ReadError("connection reset by peer")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    assert "connection reset by peer" in refused(WEIGHTS, pins)
    assert not pins.exists()


def test_refusals_name_what_was_asked_for(hub: Hub, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing.pt of someone/network" in refused(replace(WEIGHTS, file="nothing.pt"), pins)
    assert "4" * 40 in refused(replace(WEIGHTS, revision="4" * 40), pins)
    hub.access = "gated"
    text = refused(WEIGHTS, pins)
    assert "restricted" in text
    assert not pins.exists()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(WEIGHTS, pins)
    assert hub.leaked == 0
    pins.write_text('{"a": 1}')
    assert "revision and sha256" in refused(WEIGHTS, pins)
