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
    """Sixteen hex digits of the SHA-256 of a JSON-able value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written(target: str | Path) -> Iterator[Path]:
    """A path beside `target` with its suffix; renamed to `target` when the block ends well, removed when it does not."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)


def write_json(target: str | Path, value: Any) -> None:
    """Write a JSON file (UTF-8, sorted keys, indented) at once or not at all."""
    with written(target) as beside:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def split_tag(text: str) -> list[str]:
    """The entries of a tag that lists several."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def only_file(folder: str | Path, stem: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files `<folder>/<stem><suffix>` that exist, sorted (an empty list, or several, is for the reader to refuse)."""
    return sorted(str(path) for path in Path(folder).glob(f"{stem}.*") if path.suffix.lower() in suffixes)
