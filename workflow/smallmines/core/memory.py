"""Memory of a process that runs for days: what reading a large table needed for a moment goes back to the system."""

from __future__ import annotations

import ctypes
import functools
import gc
from typing import Any

ARENA_MAX = -8
"""Number of the setting `M_ARENA_MAX` of the C library of GNU."""

ARENAS = 2
"""Heaps of the C library; by default each thread may have its own, which keeps what it once needed."""


@functools.cache
def _c_library() -> Any:
    """Return the C library where it is that of GNU, else None."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
    except OSError:
        return None


def limit() -> None:
    """Let all threads share few heaps, and Arrow use them, too."""
    import pyarrow as pa

    if (library := _c_library()) is not None:
        library.mallopt(ARENA_MAX, ARENAS)
    pa.set_memory_pool(pa.system_memory_pool())


def release() -> None:
    """Give back to the system what is free; a fifth of a second with a gigabyte."""
    gc.collect()
    if (library := _c_library()) is not None:
        library.malloc_trim(0)
