"""Failures of disks, permissions and files, which any library may raise in its own words, as errors that a user can correct."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.files import WRITE_FAILED
from smallmines.core.layout import PIXELS, RELEASED
from smallmines.core.readable import require_readable

BROKEN = re.compile(r"input/output error|disk i/o error|stale file handle", re.IGNORECASE)
"""Messages where a disk or the server of a network folder fails."""

READ_ONLY = re.compile(r"read-only file system|readonly database", re.IGNORECASE)

NO_TEMPORARY_FOLDER = "No usable temporary directory"
"""Begin of the message of `tempfile` where neither TMPDIR nor a default folder can be written."""

PATH = re.compile(r"[^\s:'\"(),]*/[^\s:'\"(),]+")
"""A path in a message."""

WRITTEN = ("results", "resources", str(PIXELS), str(RELEASED), "logs", "benchmarks", ".snakemake", ".")
"""Folders that a run writes, each of which may be on a disk of its own."""


def explained(error: BaseException, inputs: Iterable[str | Path] = (), outputs: Iterable[str | Path] = ()) -> UserError | None:
    """Return the error to report for an exception, None where it is a bug.

    A failing disk is the first explanation, whatever a library made of it; then the `UserError` itself; then a broken input.

    Args:
        inputs: files and folders of files that a job reads. They are read only if nothing else explains the exception.
        outputs: files that it writes.
    """
    chain = list(_chain(error))
    for cause in chain:
        if not isinstance(cause, UserError) and (user_error := _of_system(cause, chain, outputs)) is not None:
            return user_error
    if isinstance(error, UserError):
        return error
    if not isinstance(error, Exception):
        return None
    try:
        require_readable(inputs)
    except UserError as broken:
        return broken
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_system(error: BaseException, chain: list[BaseException], outputs: Iterable[str | Path]) -> UserError | None:
    """Return the error to report if the system refused to read or write, else None; by its number, or its words where there is none."""
    number = error.errno if isinstance(error, OSError) else None
    text = " ".join(str(error).split())
    expected, do = "", ""
    if number in (errno.EIO, errno.ESTALE) or BROKEN.search(text):
        expected, do = "a disk that can be read and written at {place}", "check the disk or the server behind it"
    elif number == errno.EDQUOT or "quota exceeded" in text.lower():
        expected, do = "room to write in {place}", "delete files of yours there or ask for a larger quota"
    elif number == errno.ENOSPC or WRITE_FAILED.search(text):
        expected, do = "room to write in {place}", "free some space on this disk"
    elif number == errno.EROFS or READ_ONLY.search(text):
        expected, do = "a writable disk at {place}", "mount it writable"
    elif NO_TEMPORARY_FOLDER in text:
        return UserError("a folder for temporary files with free space", text, "set TMPDIR to one and run again")
    elif number in (errno.EACCES, errno.EPERM) and isinstance(error, OSError) and error.filename:
        expected, do = f"permission to read and write {error.filename}", "change owner or permissions"
    elif number in (errno.EEXIST, errno.ENOTDIR) and isinstance(error, OSError) and error.filename:
        expected, do = f"a folder in the place of {error.filename}", "move away the file that is there"
    elif number == errno.EISDIR and isinstance(error, OSError) and error.filename:
        expected, do = f"a file in the place of {error.filename2 or error.filename}", "move away the folder that is there"
    if not expected:
        return None
    place = _place(chain, outputs)
    disk = shutil.disk_usage(place)
    free = f" ({disk.free / 1e6:.0f} of {disk.total / 1e6:.0f} MB free now)" if expected.startswith("room") else ""
    return UserError(expected.replace("{place}", str(place)), text + free, f"{do} and run again; finished products are intact")


def _place(chain: list[BaseException], outputs: Iterable[str | Path]) -> Path:
    """Return the folder whose disk failed: of the file that an exception names, else the one with least space of all that a run writes.

    Of a `UserError` the path is one of several, since it may be that of the source that a job was reading when it could not write.
    """
    read: list[Path] = []
    for error in chain:
        names = [getattr(error, "filename2", None), getattr(error, "filename", None), *PATH.findall(str(error))]
        for name in names:
            if isinstance(name, str | os.PathLike) and (folder := _existing(Path(name))) not in (Path("/"), Path(".")):
                if not isinstance(error, UserError):
                    return folder
                read.append(folder)
    temporary = os.environ.get("TMPDIR", "")
    with suppress(OSError):
        temporary = tempfile.gettempdir()
    folders = [_existing(Path(path)) for path in (*read, *outputs, *WRITTEN, *filter(None, [os.environ.get("TMPDIR"), temporary]))]
    return min(folders, key=lambda folder: shutil.disk_usage(folder).free).absolute()


def _existing(path: Path) -> Path:
    """Return a path if it is a folder, else its nearest folder that exists."""
    while not os.path.isdir(path) and path != path.parent:  # Path.is_dir raises where it may not look
        path = path.parent
    return path
