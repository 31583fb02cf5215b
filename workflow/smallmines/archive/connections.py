"""No more connections to a provider than it allows, whatever the number of jobs.

Snakemake's resource `connections` says how many downloads run at a time, but `--resources` on the command line replaces it. So each
reading also takes one of the provider's slots, a file that is locked while it lasts. The lock goes with its process, also a killed one.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smallmines.archive.providers import Provider

FOLDER = Path("resources/automatic/connections")
PAUSE = 0.05
"""Seconds between two looks for a free slot."""


@contextmanager
def connection(provider: Provider) -> Iterator[None]:
    """Hold one of the provider's connections; waits for a free one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(provider.connections):
            with open(FOLDER / f"{provider.name}-{number + 1}", "w", encoding="utf-8") as slot:
                try:
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(PAUSE)
