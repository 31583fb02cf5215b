"""The server of the labelling as a process of its own, started with the verb."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from place import make_place
from served import Client
from smallmines.annotation.server.access import Access

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
PEOPLE = ("A01", "A02", "A03", "A04", "A05")


@dataclass
class Process:
    """A server that was started with the verb."""

    url: str
    process: subprocess.Popen[str]
    access: Access

    def client(self, annotator: str) -> Client:
        client = Client(self.url)
        assert client.login(token=self.access.give(annotator, "annotator", 1, time.time())).status_code == 200
        return client

    @property
    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


def make_run(folder: Path) -> Path:
    """Make a run for five people in a folder; return the path of people's files."""
    place = make_place(folder, annotators=PEOPLE)
    (folder / "made.yaml").write_text(yaml.safe_dump(place.config.model_dump(mode="json", exclude_defaults=True)))
    return place.user


@contextmanager
def started(folder: Path, user: Path, port: int, *options: str) -> Iterator[Process]:
    """Start `smallmines labels serve` on a made-up run, with more options where given."""
    command = [sys.executable, "-m", "smallmines.cli", "labels", "serve", "--config", "made.yaml", "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=said)
    try:
        assert process.stdout
        address = re.search(r"https?://\S+", process.stdout.readline())
        assert address, (folder / "said.txt").read_text()
        yield Process(address[0], process, Access(user))
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        assert "Traceback" not in (folder / "said.txt").read_text()
    finally:
        process.kill()
