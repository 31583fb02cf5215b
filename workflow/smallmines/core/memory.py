"""Memory of a process that runs for days: what reading a large table needed for a moment goes back to the system."""

from __future__ import annotations

import ctypes
import functools
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ARENA_MAX = -8
"""Number of the setting `M_ARENA_MAX` of the C library of GNU."""

ARENAS = 2
"""Heaps of the C library; by default each thread may have its own, which keeps what it once needed."""

MMAP_THRESHOLD = -3
"""Number of the setting `M_MMAP_THRESHOLD` of the C library of GNU."""

LARGE = 2**18
"""Bytes from which an array goes back to the system as soon as it is freed. By default the C library raises this limit to 32 MB with use,
and keeps what was smaller."""

_ALONE = threading.RLock()


@functools.cache
def _c_library() -> Any:
    """Return the C library where it is that of GNU, else None."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
    except OSError:
        return None


def limit() -> None:
    """Let all threads share few heaps, and Arrow use them, too; give large arrays back when they are freed."""
    import pyarrow as pa

    if (library := _c_library()) is not None:
        library.mallopt(ARENA_MAX, ARENAS)
        library.mallopt(MMAP_THRESHOLD, LARGE)
    pa.set_memory_pool(pa.system_memory_pool())


@contextmanager
def alone() -> Iterator[None]:
    """Run work that needs much memory for a moment: one thread of the process at a time, so that their needs never add up.

    No other lock may be taken inside.
    """
    with _ALONE:
        yield


def release() -> None:
    """Give back to the system what is free; a fifth of a second with a gigabyte."""
    gc.collect()
    if (library := _c_library()) is not None:
        library.malloc_trim(0)
