"""Values that are made once and kept, and memory that goes back."""

from __future__ import annotations

import threading
import time

import pytest

from smallmines.annotation.server.state import Kept
from smallmines.core import memory


def test_several_threads_make_a_value_once() -> None:
    kept, made, given = Kept(2), [], []

    def make() -> object:
        time.sleep(0.05)
        made.append(1)
        return object()

    threads = [threading.Thread(target=lambda: given.append(kept.of("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(given) == 8
    assert all(value is given[0] for value in given)


def test_the_latest_are_kept() -> None:
    kept = Kept(2)
    for name in ("a", "b", "a", "c"):
        kept.of(name, lambda name=name: name)
    assert kept.get("b") is None, "the one that was not asked for longest"
    assert sorted(kept.all()) == ["a", "c"]


def test_what_fails_is_tried_again_and_leaves_nothing() -> None:
    kept = Kept(2)
    for number in range(100):
        with pytest.raises(ZeroDivisionError):
            kept.of(f"unknown {number}", lambda: 1 // 0)
    assert kept._locks == {}
    assert kept.of("unknown 1", lambda: 2) == 2


def test_memory_is_limited_and_released_on_any_system(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.release()
    monkeypatch.setattr(memory, "_c_library", lambda: None)
    memory.limit()
    memory.release()
