"""The frame around every rule's script: where its progress goes and how an error a user can mend is told."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("smallmines")

WRITE_FAILED = re.compile(r"no space left|write error|write failed", re.IGNORECASE)
"""How GDAL, rasterio and Arrow say that a write failed for want of room."""


class UserError(Exception):
    """Something the user can mend: what was expected, what was found, what to do."""

    def __init__(self, expected: str, found: str, do: str) -> None:
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected  {expected}\nfound     {found}\ndo        {do}")


@contextmanager
def job(log: str | Path) -> Iterator[logging.Logger]:
    """Send progress lines to `log`; turn a `UserError` into its three lines and exit status 1, without a traceback.

    A full disk is told as such, whatever a library made of it. Any other exception is a defect of ours and keeps its traceback, in
    the log and on screen.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        yield logger
    except Exception as error:
        told = _disk_full(error) or (error if isinstance(error, UserError) else None)
        if told is None:
            logger.exception("failed")
            raise
        logger.error("stopped\n%s", told)
        sys.exit(str(told))
    finally:
        logger.removeHandler(handler)
        handler.close()


def _disk_full(error: BaseException | None) -> UserError | None:
    """What to tell when there was no room, by what the error and its causes say: GDAL has no error number for it."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or WRITE_FAILED.search(str(error)):
            found = f"{error} ({shutil.disk_usage(Path.cwd()).free / 1e6:.0f} MB free now)".replace("\n", " ")
            return UserError(f"room to write below {Path.cwd()}", found, "free some disk space and run again; finished products are intact")
        error = error.__cause__ or error.__context__
    return None
