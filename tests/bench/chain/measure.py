"""Run a command and measure wall time, CPU time and the peak memory of its process tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLED_EVERY = 0.1
"""Seconds between two samples of the process tree."""


@dataclass
class Part:
    """What was seen of a part of a process tree, sampled.

    Attributes:
        first: time at which its first process began; last: time of the last sample that saw it.
        cpu: by process id, the last seen CPU seconds of the process and of its children that have ended.
        peak: most resident memory in bytes of all its processes together.
    """

    first: float
    last: float = 0.0
    cpu: dict[int, float] = field(default_factory=dict)
    peak: int = 0


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        wall, cpu: seconds; `cpu` of the whole process tree, as the kernel reports it.
        peak_mb: sampled resident memory of the whole process tree.
        status: exit status; None where the time-out ended it.
        parts: by name, see `measure`.
    """

    wall: float
    cpu: float
    peak_mb: int
    status: int | None
    parts: dict[str, Part]


def measure(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None = None,
    part_of: Callable[[psutil.Process], str | None] = lambda _: None,
) -> Measured:
    """Run a command in a session of its own; its output goes to `log`. Whatever interrupts this call ends the command, too.

    Args:
        timeout: seconds of wall time after which the process tree is ended.
        part_of: name of the part that begins with a process, or None; asked at each sample until it has one.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Part] = {}
    names: dict[int, str] = {}
    peak, status = 0, None
    with log.open("w", encoding="utf-8") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=cwd, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        root = psutil.Process(process.pid)
        try:
            while True:
                ended, code, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    process.returncode = status = os.waitstatus_to_exitcode(code)
                    break
                now = time.monotonic() - began
                peak = max(peak, _sample(root, names, parts, part_of))
                if timeout is not None and now > timeout:
                    _end(root)
                    _, _, usage = os.wait4(process.pid, 0)
                    process.returncode = -9
                    break
                time.sleep(SAMPLED_EVERY)
        except BaseException:  # Ctrl-C, and SIGTERM by `exit_when_terminated`
            _end(root)
            raise
        wall = time.monotonic() - began
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak // 2**20, status, parts)


def _sample(root: psutil.Process, names: dict[int, str], parts: dict[str, Part], part_of: Callable[[psutil.Process], str | None]) -> int:
    """Add a sample of the tree to its parts; return its resident memory in bytes."""
    total, memory = 0, dict.fromkeys(parts, 0)
    with suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):  # it has ended meanwhile
                with process.oneshot():
                    rss, times, parent = process.memory_info().rss, process.cpu_times(), process.ppid()
                    name = names.get(process.pid) or names.get(parent) or part_of(process)
                total += rss
                if name is None:
                    continue
                names[process.pid] = name
                part = parts.setdefault(name, Part(process.create_time()))
                part.last = time.time()
                part.cpu[process.pid] = sum(times[:4])
                memory[name] = memory.get(name, 0) + rss
    for name, rss in memory.items():
        parts[name].peak = max(parts[name].peak, rss)
    return total


def cpu_of(part: Part) -> float:
    """Return the CPU seconds of a part's first process, which with those of its ended children are those of the part, up to a sample."""
    return max(part.cpu.values(), default=0.0)


def exit_when_terminated() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that `measure` ends what it runs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end(root: psutil.Process) -> None:
    """Kill a process, its children and all others of its session's first group."""
    with suppress(psutil.Error):
        for process in (*root.children(recursive=True), root):
            with suppress(psutil.Error):
                process.kill()
    with suppress(ProcessLookupError):
        os.killpg(root.pid, signal.SIGKILL)
