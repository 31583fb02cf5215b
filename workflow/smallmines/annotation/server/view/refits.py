"""Processes that refit a forest, one at a time over the whole server; others wait in the order in which they were asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import smallmines

LAST_LINES = 3
"""Lines of a failed process's output that people see."""


@dataclass(eq=False)
class Refit:
    """A refit that was asked for.

    Attributes:
        folder: of its job, see `refit.Job`.
        began: seconds of the monotonic clock when it was asked for.
        ended: set when its process has ended, or is never begun.
        error: in words, why it gave no result; empty where it did.
    """

    folder: Path
    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    error: str = ""


class Refits:
    """Runs refits one after the other in a thread, which lives while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: deque[Refit] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def add(self, refit: Refit) -> None:
        """Run a refit when those before it have ended."""
        with self._lock:
            self._asked.append(refit)
            if len(self._asked) == 1:
                threading.Thread(target=self._run, name="refits", daemon=True).start()

    def before(self, refit: Refit) -> int:
        """Return how many refits come before one; 0: it runs, or has ended."""
        with self._lock:
            return self._asked.index(refit) if refit in self._asked else 0

    def stop(self) -> None:
        """End the refit that runs, and begin no other."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()

    def _run(self) -> None:
        refit: Refit | None = self._asked[0]
        while refit is not None:
            try:
                refit.error = self._ended(refit.folder)
            except OSError as error:  # no memory or no room for a process
                refit.error = str(error)
            with self._lock:
                self._asked.popleft()
                following = self._asked[0] if self._asked else None
            refit.ended.set()
            refit = following

    def _ended(self, folder: Path) -> str:
        """Run the process of a refit to its end; return why it failed, empty where it did not."""
        with self._lock:
            if self._stopped:
                return "the server stops"
            process = self._process = begin(folder)
        code = process.wait()
        with self._lock:
            self._process = None
        return "" if code == 0 else failure(folder, code)


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process of a refit; what it says goes to `log.txt`."""
    package = str(Path(smallmines.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))}
    command = [sys.executable, "-m", "smallmines.annotation.server.view.refit", str(folder)]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)


def failure(folder: Path, code: int) -> str:
    """Return in words why a refit gave no result."""
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " ".join(lines[-LAST_LINES:]) or f"the process ended with {code}"
