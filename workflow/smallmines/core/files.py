"""Files and their digests: content digests, atomic writing, JSON."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError

WRITE_FAILED = re.compile(
    r"no space left|quota exceeded|write ?error|write failed|input/output error|database or disk is full|disk i/o error", re.IGNORECASE
)
"""Messages of GDAL, OTB, Arrow and SQLite when a write fails: the disk or a quota is full, or the disk is broken."""

LEFTOVER_AGE = 86_400.0
"""Seconds without a write after which a temporary file of another host is left over. No job of the workflow may run this long."""

CLOCK_STEP = 5.0
"""Seconds by which the time of a file on a server may lie before the clock of this machine."""


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written(target: str | Path, durable: bool = False, sweep: bool = True) -> Iterator[Path]:
    """Write a file or folder atomically: yield a temporary path beside `target`, renamed to `target` on success, removed on failure.

    Args:
        durable: return only when the file and its name are on the disk, so that a power cut leaves them.
        sweep: first remove what killed jobs left of the same target, see `leftovers`; False where the folder is large and swept otherwise.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if sweep:
        _sweep(target)
    beside = target.with_name(f".{target.stem}.{os.getpid()}@{_host()}{target.suffix}")
    try:
        yield beside
        if durable:
            sync(beside)
        os.replace(beside, target)
        if durable:
            sync(target.parent)
    finally:
        remove(beside)


@contextmanager
def temporary_folder(target: str | Path) -> Iterator[Path]:
    """Make a folder for temporary files beside `target`, removed at the end; first remove those that killed jobs left, see `leftovers`."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    folder = target.with_name(f".{target.stem}.{os.getpid()}@{_host()}{target.suffix}")
    folder.mkdir()
    try:
        yield folder
    finally:
        remove(folder)


def _sweep(target: Path) -> None:
    """Remove `leftovers`; what a child of a killed job still writes stays for the next time."""
    for leftover in leftovers(target):
        with suppress(OSError):
            remove(leftover)


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def leftovers(target: Path) -> list[Path]:
    """Return temporary files and folders of `target` whose process has ended, as after `kill -9` or a power cut.

    The name says process and host. One of another host counts as ended after `LEFTOVER_AGE`. A process that began after the last write
    only has the number of the one that ended.
    """
    start, ended = f".{target.stem}.", []
    with os.scandir(target.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start) and entry.name.endswith(target.suffix)]
    for name in names:
        match = re.fullmatch(r"(\d+)(?:@(.*))?", name.removeprefix(start).removesuffix(target.suffix))
        path = target.with_name(name)
        if match and _is_left(path, int(match[1]), match[2] or _host()):
            ended.append(path)
    return ended


def _is_left(path: Path, pid: int, host: str) -> bool:
    import psutil

    try:
        changed = path.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return False
    if host != _host():
        return time.time() - changed > LEFTOVER_AGE
    try:
        return pid != os.getpid() and bool(psutil.Process(pid).create_time() > changed + CLOCK_STEP)
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "unknown"


def link_or_copy(source: Path, target: Path) -> str:
    """Hard-link a file to a target that does not exist, or copy it where links cannot be; return linked or copied."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
        return "copied"
    return "linked"


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
