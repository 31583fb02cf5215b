"""Where a journal may lie: a local disk that can be written, used by one server at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from pathlib import Path
from typing import IO

from smallmines.core.errors import UserError
from smallmines.core.files import flat

NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "pvfs", "orangefs", "panfs", "ncp", "davfs",
           "acfs", "ocfs2", "gfs2", "coda", "drvfs", "vboxsf", "virtiofs", "prl_fs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs",
           "fuse.gcsfuse", "fuse.blobfuse", "fuse.juicefs", "fuse.glusterfs", "fuse.ceph", "fuse.davfs", "fuse.smb", "fuse.vmhgfs",
           "fuse.gvfsd", "fuse.mfs", "fuse.moosefs", "fuse.onedriver", "fuse.google-drive", "fuse.gpfs", "fuse.beegfs")  # fmt: skip
"""Begins of the names of file systems on other machines, whose locks and shared memory SQLite cannot rely on."""

CHOOSE = "choose a folder on a local disk: smallmines labels serve --journal FOLDER"


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder lies on; empty where the system does not tell."""
    import psutil

    resolved, best, kind = folder.resolve(), -1, ""
    for partition in psutil.disk_partitions(all=True):
        mounted = Path(partition.mountpoint)
        if resolved.is_relative_to(mounted) and len(mounted.parts) >= best:  # of two mounts on one folder the later one is seen
            best, kind = len(mounted.parts), partition.fstype.lower()
    return kind


def is_network(folder: Path) -> bool:
    """Return whether a folder lies on the disk of another machine."""
    return file_system(folder).startswith(NETWORK)


def require_local(folder: Path) -> None:
    """Refuse a folder on a network disk, or one that cannot be written; it is made where it is missing.

    Raises:
        UserError: it is such a folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"room to write in {folder}", flat(error), "free some space on this disk") from None
        raise UserError(f"a folder for the journal of edits that can be written: {folder}", flat(error), CHOOSE) from None
    if is_network(folder):
        kind = file_system(folder)
        raise UserError(f"a local disk for the journal of edits: {folder}", f"a network disk ({kind}), which may lose edits", CHOOSE)


def lock(path: Path) -> IO[str]:
    """Take the lock of the server of a run; it is held until the file is closed, or the process ends.

    Raises:
        UserError: another server has it, or the disk knows no locks.
    """
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(200).strip() or "unknown"
        file.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            do = "use the page of that server, or stop it first"
            raise UserError("no other server of the labelling of this run", f"one is running: {flat(holder)}", do) from None
        raise UserError(f"a disk with file locks for {path}", flat(error), CHOOSE) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file
