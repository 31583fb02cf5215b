"""Limit the connections to a provider, over all jobs of a machine.

Snakemake's resource `connections` limits the downloads that run at a time, but `--resources` on the command line overrides it. So each
read also holds one of the provider's slots, a locked file. The lock is released when its process ends, also when it is killed.
"""

from __future__ import annotations

import fcntl
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smallmines.archive.providers import Provider
from smallmines.core.log import logger

FOLDER = Path("resources/automatic/connections")
"""Folder of the lock files."""

PAUSE = 0.05
"""Seconds between two attempts to lock a slot."""


@functools.cache
def _warn_once(provider: str, error: str) -> None:
    logger.warning("the file system of %s has no locks (%s): connections to %s are not limited between jobs", FOLDER, error, provider)


@contextmanager
def connection(provider: Provider) -> Iterator[None]:
    """Wait for one of the provider's connections and hold it. A file system without locks is told once, and nothing is limited."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(provider.connections):
            with open(FOLDER / f"{provider.name}-{number + 1}", "w", encoding="utf-8") as slot:
                try:
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                except OSError as error:
                    _warn_once(provider.name, str(error))
                yield
                return
        time.sleep(PAUSE)
