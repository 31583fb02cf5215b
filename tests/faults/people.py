"""A working copy with edits, and the events of its check-in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from place import correct, read
from workspace import Workspace

EVENTS = "resources/user/one/events/2022/1"
EDITED = 20
"""Segments that are labelled."""


def checked_out(world: Workspace, annotator: str = "A01") -> Path:
    """Check a block out and label some segments; return the working copy."""
    world.smallmines(
        "labels", "checkout", "--config", "one.yaml", "--year", "2022", "--block", "1", "--annotator", annotator, "--size", "60"
    )
    copy = world.user / f"work/{annotator}/2022-1.gpkg"
    for number, fid in enumerate(read(copy).index[:EDITED]):
        correct(copy, int(fid), "mining" if number % 3 else "not_mining", day="2022-02-01")
    return copy


def events(folder: Path) -> list[dict[str, Any]]:
    """Return all events of a block, sorted; every line of every file must be whole."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().decode().split("\n")[:-1]]
    assert all(path.read_bytes().endswith(b"\n") for path in folder.glob("*.jsonl")), "a file is cut"
    return sorted(map(json.loads, lines), key=lambda event: json.dumps(event, sort_keys=True))


def acknowledged(output: str) -> list[str]:
    """Return the event files that a check-in says it wrote."""
    return re.findall(r"^events: (\S+)$", output, re.MULTILINE)
