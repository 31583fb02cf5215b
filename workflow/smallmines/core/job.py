"""Context manager for rule scripts: logging, user errors, redaction of secrets, run time, peak memory and processor time."""

from __future__ import annotations

import logging
import re
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smallmines.core.environment import prepare
from smallmines.core.failures import explained
from smallmines.core.log import logger
from smallmines.core.redaction import redacted

TOOK = re.compile(r"took ([\d.]+) s, at most (\d+) MB of memory(?:, ([\d.]+) s of processor time on (\d+) threads)?")
"""Last line of the log of a successful job: seconds of its body, peak memory, seconds of all processors from the start of the process,
and the threads that Snakemake gave it. Logs of earlier versions lack the last two numbers."""

SAMPLED_EVERY = 0.2
"""Seconds between two samples of the memory of a job."""


class _Redacting(logging.Formatter):
    """Log formatter that removes secrets, also from tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _LogFile(logging.FileHandler):
    """Log file of a job. A line that a full disk refuses is lost: the job's own error tells it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line."""

    def close(self) -> None:
        """Close the file, with what can be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def job(log: str | Path) -> Iterator[logging.Logger]:
    """Run the body of a rule script: write the log, report errors, measure run time and memory.

    A `UserError` ends the job with its three lines and exit status 1, without a traceback. So does a failing disk and a broken input,
    whatever exception a library raises for it (`explained`). Any other exception is a bug and keeps its traceback, in the log and on
    screen. Signatures, tokens and keys are removed from both. The log of a successful job ends with what it took, see `TOOK`.
    """
    prepare()
    path = Path(log)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, mode="w", encoding="utf-8")
    except OSError as error:
        sys.exit(str(explained(error) or error))
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        with _memory() as peak:
            began = time.monotonic()
            yield logger
        logger.info(
            "took %.1f s, at most %d MB of memory, %.1f s of processor time on %d threads",
            time.monotonic() - began,
            peak[0] / 2**20,
            _processor_seconds(),
            getattr(_job(), "threads", 1),
        )
    except Exception as error:
        user_error = explained(error, _files("input"), _files("output"))
        if user_error is None:
            logger.exception("failed")
            sys.exit(redacted("".join(traceback.format_exception(error))))
        logger.error("stopped\n%s", user_error)
        sys.exit(redacted(str(user_error)))
    finally:
        logger.removeHandler(handler)
        handler.close()


def _job() -> Any:
    """Return Snakemake's description of the job that this process runs; None outside Snakemake."""
    return getattr(sys.modules["__main__"], "snakemake", None)


def _files(kind: str) -> list[str]:
    """Return the inputs or outputs of the job that this process runs; none outside Snakemake."""
    return list(getattr(_job(), kind, []))


def _processor_seconds() -> float:
    """Return the processor seconds of this process, since its start, and of the programs that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def _memory() -> Iterator[list[int]]:
    """Measure the peak resident memory of this process and its children together.

    Snakemake's benchmark samples every 30 s and misses peaks. The peak of this process alone is exact where the kernel reports it.

    Yields:
        A list of one number, in bytes, final when the block has ended.
    """
    import psutil

    parent = psutil.Process()
    peak = [0]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLED_EVERY):
            total = 0
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):  # the process has ended meanwhile
                    total += process.memory_info().rss
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        status = Path("/proc/self/status")
        own = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
        peak[0] = max(peak[0], int(own[1]) * 1024 if own else 0)
