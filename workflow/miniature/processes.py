"""Work in several processes, which end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_work: list[Callable[[Any], Any]] = []
"""The function of a process, which it has from its start."""


def in_processes(work: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[R]:
    """Call `work` on each item in at most `jobs` processes; yield the results in order.

    The processes are forked, so that `work` may be any function and its data are not copied; items and results are pickled. An error,
    and Ctrl-C, end all of them at once; a process whose parent is killed ends too.
    """
    if min(jobs, len(items)) <= 1:
        yield from map(work, items)
        return
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(jobs, len(items)), mp_context=context, initializer=_begin, initargs=(work,)) as pool:
        try:
            yield from pool.map(_call, items)
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


def available() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _begin(work: Callable[[Any], Any]) -> None:
    """Prepare a process: Ctrl-C is left to its parent, and it ends when its parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work[:] = [work]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _call(item: Any) -> Any:
    return _work[0](item)
