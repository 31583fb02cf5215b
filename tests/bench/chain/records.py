"""What was measured: one JSON document a line, so that a run that was ended goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
KEY = ("size", "chain", "repetition", "stage", "code")
"""Keys of a record that say what was measured; `code` is a digest of the chain's code."""


def read_records(path: Path) -> list[Record]:
    """Return the records of a file, the last one of each key; a line that was cut by a kill is left out."""
    records: dict[tuple[Any, ...], Record] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        records[key_of(record)] = record
    return list(records.values())


def key_of(record: Record) -> tuple[Any, ...]:
    """Return what a record measured."""
    return tuple(record[name] for name in KEY)


def append(path: Path, record: Record) -> None:
    """Add a record, on a line of its own also where the last one was cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(record) + "\n")


def code_of(paths: Iterable[Path]) -> str:
    """Return a digest of the content of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
