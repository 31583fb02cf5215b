#!/usr/bin/env python3
"""Installs Python packages into the environment of the interpreter that runs this: with uv, in parallel and from its cache, else with pip.

Usage: .venv/bin/python envs/install.py ARGUMENTS OF `pip install`

uv does not read pip's configuration. Indexes, local folders, constraints and certificates that are set there are passed on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PASSED_ON = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
"""Settings of pip and the variables of uv that mean the same."""

COMMAS = ("UV_FIND_LINKS",)
"""Variables in which uv separates values with commas; pip separates with spaces everywhere."""

PIP = [sys.executable, "-m", "pip"]
ROOT = Path(__file__).parents[1]


def pip_settings() -> dict[str, str]:
    """What pip is configured with for `pip install`, from its files and from the environment, which comes last."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{section}\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
            found[name] = value
    return found


def uv_environments() -> list[dict[str, str]]:
    """Environments for uv, to be tried in turn: what is set for uv itself, and else what pip is configured with.

    pip takes the best file of all its indexes. uv takes the first index that has a version, the extra ones before the main one, even if
    another one has a better wheel of that version: the extra ones only count where the main one does not have everything.
    """
    environment = dict(os.environ)
    for name, value in pip_settings().items():
        variable = PASSED_ON.get(name)
        if variable and variable not in os.environ:
            environment[variable] = ("," if variable in COMMAS else " ").join(value.replace("\\n", " ").split())
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if "UV_INDEX" in os.environ or "UV_INDEX" not in environment:
        return [environment]
    return [{name: value for name, value in environment.items() if name != "UV_INDEX"}, environment]


def uv() -> str | None:
    """The program uv: the one on PATH, or the locked one, which this puts into the environment; None where it cannot be had."""
    own = Path(sys.executable).with_name("uv")
    if not own.is_file():
        if there := shutil.which("uv"):
            return there
        locked = next(line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("uv=="))
        if subprocess.run([*PIP, "install", "-qq", "--disable-pip-version-check", locked], check=False).returncode:
            return None
    return str(own)


def main(arguments: list[str]) -> int:
    """Install; returns the exit status."""
    program = uv()
    if program:
        command = [program, "pip", "install", "--quiet", "--compile-bytecode", "--python", sys.executable, *arguments]
        if any(subprocess.run(command, env=environment, check=False).returncode == 0 for environment in uv_environments()):
            return 0
    print("uv cannot install this here; pip does, which takes longer", file=sys.stderr)
    return subprocess.run([*PIP, "install", "-qq", "--disable-pip-version-check", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
