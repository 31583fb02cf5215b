"""The frame around every rule's script: where its progress goes and how an error a user can mend is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("smallmines")


class UserError(Exception):
    """Something the user can mend: what was expected, what was found, what to do."""

    def __init__(self, expected: str, found: str, do: str) -> None:
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected  {expected}\nfound     {found}\ndo        {do}")


@contextmanager
def job(log: str | Path) -> Iterator[logging.Logger]:
    """Send progress lines to `log`; turn a `UserError` into its three lines and exit status 1, without a traceback.

    Any other exception is a defect of ours and keeps its traceback, in the log and on screen.
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
    except UserError as error:
        logger.error("stopped\n%s", error)
        sys.exit(str(error))
    except Exception:
        logger.exception("failed")
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
