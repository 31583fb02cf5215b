"""Files and their digests: content digests, atomic writing, JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written(target: str | Path, durable: bool = False) -> Iterator[Path]:
    """Write a file or folder atomically: yield a temporary path beside `target`, renamed to `target` on success, removed on failure.

    Args:
        durable: return only when the file and its name are on the disk, so that a power cut leaves them.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield beside
        if durable:
            sync(beside)
        os.replace(beside, target)
        if durable:
            sync(target.parent)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)


def sync(path: str | Path) -> None:
    """Force a file, or the names in a folder, to the disk.

    Raises:
        OSError: a file cannot be written to the disk. Folders that a file system cannot force are let pass.
    """
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
    except OSError:
        if not Path(path).is_dir():
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def flat(message: object) -> str:
    """Return a message on one line."""
    return " ".join(str(message).split())


def write_json(target: str | Path, value: Any) -> None:
    """Write a JSON file atomically (UTF-8, sorted keys, indented)."""
    with written(target) as beside:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def split_tag(text: str) -> list[str]:
    """Split a tag that lists several entries."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def only_file(folder: str | Path, stem: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the existing files `<folder>/<stem><suffix>`, sorted; callers refuse none and several."""
    return sorted(str(path) for path in Path(folder).glob(f"{stem}.*") if path.suffix.lower() in suffixes)
