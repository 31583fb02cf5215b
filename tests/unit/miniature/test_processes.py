"""Work in processes: order, errors, Ctrl-C, a killed parent, and windows of layers that several processes write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from miniature.layers import Window, scratch
from miniature.processes import in_processes


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_from_as_many_processes_as_asked(jobs: int) -> None:
    factor = 3
    results = list(in_processes(lambda value: (factor * value, os.getpid()), range(40), jobs))
    assert [value for value, _ in results] == [3 * value for value in range(40)]
    processes = {process for _, process in results}
    assert processes == {os.getpid()} if jobs == 1 else os.getpid() not in processes
    assert len(processes) <= jobs
    assert list(in_processes(abs, [], jobs)) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_raised_and_ends_the_others(jobs: int) -> None:
    def work(value: int) -> float:
        if value > 1:
            time.sleep(60)
        return 1 / value

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        list(in_processes(work, [1, 0, 2, 3], jobs))
    assert time.monotonic() - began < 20
    assert not multiprocessing.active_children()


SLEEPERS = """
import signal, time
from miniature.processes import in_processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores Ctrl-C
for number in in_processes(lambda number: time.sleep(60 * number) or number, [0, 1, 2, 3], 2):
    print(number, flush=True)  # all processes are started: Python ignores a Ctrl-C that meets the fork itself
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_parent(end: signal.Signals, repository: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(repository / "workflow")}
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPERS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == "0\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
        parent.send_signal(end)
        assert parent.wait(20) != 0
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        assert parent.stderr.read().count("Traceback") == (end == signal.SIGINT)


@pytest.mark.parametrize("jobs", [1, 2])
def test_windows_of_a_layer_are_filled_by_processes(jobs: int, tmp_path: Path) -> None:
    def numbers(window: Window) -> np.ndarray:
        rows, cols = (np.arange(part.start, part.stop, dtype=np.float32) for part in window.at)
        return 10_000 * rows[:, None] + cols

    with scratch(tmp_path, (1500, 2100), jobs) as layers:
        layer = layers.filled("numbers", np.float32, numbers)
        assert (layer[:, :] == numbers(Window(slice(0, 1500), slice(0, 2100), (1500, 2100)))).all()
        empty = layers.empty("cube", np.uint16, 3)
        assert empty[2, 1499, 2099] == 0
    assert not list(tmp_path.iterdir())
