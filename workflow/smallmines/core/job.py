"""Context manager for rule scripts: logging, user errors, redaction of secrets, run time and peak memory."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smallmines.core.environment import prepare
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.redaction import redacted

WRITE_FAILED = re.compile(r"no space left|write error|write failed", re.IGNORECASE)
"""How GDAL, rasterio and Arrow say that a write failed for want of room."""

TOOK = re.compile(r"took ([\d.]+) s, at most (\d+) MB of memory")
"""The last line of the log of a job that ended well."""

SAMPLED_EVERY = 0.2
"""Seconds between two looks at the memory of a job's processes."""


class _Redacting(logging.Formatter):
    """A line of a log, without secrets, the traceback of an exception included."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


@contextmanager
def job(log: str | Path) -> Iterator[logging.Logger]:
    """Send progress lines to `log`; turn a `UserError` into its three lines and exit status 1, without a traceback.

    A full disk is told as such, whatever a library made of it. Any other exception is a defect of ours and keeps its traceback, in
    the log and on screen. Neither shows signatures, tokens or keys. A job that ends well says last how long it took and how much
    memory, see `TOOK`.
    """
    prepare()
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        with _memory() as peak:
            began = time.monotonic()
            yield logger
        logger.info("took %.1f s, at most %d MB of memory", time.monotonic() - began, peak[0] / 2**20)
    except Exception as error:
        told = _disk_full(error) or (error if isinstance(error, UserError) else None)
        if told is None:
            logger.exception("failed")
            sys.exit(redacted("".join(traceback.format_exception(error))))
        logger.error("stopped\n%s", told)
        sys.exit(redacted(str(told)))
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def _memory() -> Iterator[list[int]]:
    """One number, in the end the largest resident memory in bytes of this process and the programs it started, together.

    Snakemake's benchmark looks every 30 s and misses peaks. This process's own peak is exact, where the kernel tells it.
    """
    import psutil

    me = psutil.Process()
    peak = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLED_EVERY):
            total = 0
            for process in (me, *me.children(recursive=True)):
                with suppress(psutil.Error):  # it has ended meanwhile
                    total += process.memory_info().rss
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        status = Path("/proc/self/status")
        own = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
        peak[0] = max(peak[0], int(own[1]) * 1024 if own else 0)


def _disk_full(error: BaseException | None) -> UserError | None:
    """What to tell when there was no room, by what the error and its causes say: GDAL has no error number for it."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or WRITE_FAILED.search(str(error)):
            found = f"{error} ({shutil.disk_usage(Path.cwd()).free / 1e6:.0f} MB free now)".replace("\n", " ")
            return UserError(f"room to write below {Path.cwd()}", found, "free some disk space and run again; finished products are intact")
        error = error.__cause__ or error.__context__
    return None
