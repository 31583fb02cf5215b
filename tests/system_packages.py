"""System packages that heavy tests need."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

LOCK = Path("/tmp/smallmines-apt.lock")
"""As in cluster/slurm.sh."""


def install(*packages: str) -> None:
    """Install packages with apt, as root on Debian or Ubuntu, one worker at a time; else skip the test with the command."""
    if os.geteuid() or not Path("/usr/bin/apt-get").exists():
        pytest.skip(f"only root on Debian or Ubuntu can install what is missing here: apt-get install {' '.join(packages)}")
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for words in (["update", "-q=2"], ["install", "-q=2", "--yes", "--no-install-recommends", *packages]):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", *words], check=True, env=environment, stdout=subprocess.DEVNULL)
