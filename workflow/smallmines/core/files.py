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

from smallmines.core.errors import UserError

WRITE_FAILED = re.compile(
    r"no space left|quota exceeded|write ?error|write failed|input/output error|database or disk is full|disk i/o error", re.IGNORECASE
)
"""Messages of GDAL, OTB, Arrow and SQLite when a write fails: the disk or a quota is full, or the disk is broken."""


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written(target: str | Path) -> Iterator[Path]:
    """Write a file or folder atomically: yield a temporary path beside `target`, renamed to `target` on success, removed on failure."""
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
    """Write a JSON file atomically (UTF-8, sorted keys, indented)."""
    with written(target) as beside:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, cut short, or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"the file {path}", "no such file", remedy(path)) from error
    except (ValueError, RecursionError) as error:  # also text that is no UTF-8
        raise UserError(f"a readable JSON file {path}", f"{error} ({Path(path).stat().st_size} bytes)", remedy(path)) from error


def remedy(path: str | Path) -> str:
    """Return what to do about a missing or broken file: products are made again, people's files are not."""
    if "/resources/user/" in f"/{Path(path).as_posix()}":
        return f"restore {path} from a backup"
    if not Path(path).exists():
        return "run the workflow again, which makes it"
    if Path(path).suffix == ".tif" and Path(path).name.lstrip(".").startswith(("IMG_", "MASK_")):
        return f"delete the folder {Path(path).parent} and run again, which makes it anew"
    return f"delete {path} and run again, which makes it anew"


def split_tag(text: str) -> list[str]:
    """Split a tag that lists several entries."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def only_file(folder: str | Path, stem: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the existing files `<folder>/<stem><suffix>`, sorted; callers refuse none and several."""
    return sorted(str(path) for path in Path(folder).glob(f"{stem}.*") if path.suffix.lower() in suffixes)
