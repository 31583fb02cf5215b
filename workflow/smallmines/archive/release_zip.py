"""Read patches out of the zip of a released dataset. It is not trusted: names, sizes and contents are checked first."""

from __future__ import annotations

import errno
import hashlib
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast

from smallmines.core.errors import UserError
from smallmines.core.files import flat, written
from smallmines.core.product import parse_patch_name

LARGEST = {"MASK": 1_000_000, "IMG": 16_000_000}
"""Most bytes of a mask and of an image, unpacked. The released ones have 16 KB and 852 KB without compression."""

LOCAL_HEADER = 1024
"""Most bytes of the header in front of a member and of the descriptor behind it; a longer one costs another request."""

YEAR = re.compile(r"\d{4}")
"""Name of a folder of a year."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and a BigTIFF, in both orders of bytes."""

AGAIN = "give the archive as it was published"

BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, UnicodeDecodeError)
"""What a broken zip raises, by the place where it is broken; besides an `OSError` that no disk raised, see `opened_zip`."""


@dataclass(frozen=True)
class Member:
    """A patch in the zip.

    Attributes:
        name: file name.
        year: from the name.
        info: entry of the zip's central directory.
        end: offset of a byte behind it in the zip, at most that of the next member.
    """

    name: str
    year: str
    info: zipfile.ZipInfo
    end: int


@contextmanager
def opened_zip(source: Path | RawIOBase, address: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip.

    Raises:
        UserError: the file is no zip, cut short, or broken; also where this is found while it is read.
    """
    try:
        with zipfile.ZipFile(cast("Path | IO[bytes]", source)) as archive:
            yield archive
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of bz2, and of a seek to a wrong offset
            raise
        raise UserError(
            f"a whole zip at {address}", f"a truncated or broken one ({flat(error)})", "delete what was downloaded of it and run again"
        ) from error


def directory_sha256(archive: zipfile.ZipFile) -> str:
    """Return the SHA-256 of the central directory and all behind it: names, sizes and CRC-32 of all members."""
    file = archive.fp
    assert file is not None
    file.seek(archive.start_dir)
    return hashlib.sha256(file.read()).hexdigest()


def patches_in(archive: zipfile.ZipFile, address: str, prefix: str, years: Collection[str]) -> list[Member]:
    """List the patches of a zip by their offset.

    Args:
        archive: the zip.
        address: of the zip, for messages.
        prefix: `IMG` or `MASK`.
        years: those that are listed.

    Raises:
        UserError: any member leaves the folder, or is a link; a patch is encrypted, too large, in the folder of another year than its name
            says, or occurs twice; or a year has none.
    """
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    members: dict[str, Member] = {}
    for info, end in zip(infos, ends, strict=False):
        _require_safe(info, address)
        path = PurePosixPath(info.filename)
        parts = parse_patch_name(path.name)
        if parts is None or info.is_dir() or parts.prefix != prefix or parts.year not in years or "__MACOSX" in path.parts:
            continue
        require_year(path, parts.year, address)
        if info.flag_bits & 0x1:
            raise UserError(f"a zip without a password at {address}", f"{info.filename} is encrypted", AGAIN)
        if max(info.file_size, info.compress_size) > LARGEST[prefix]:
            expected = f"patches of at most {LARGEST[prefix] / 1e6:g} MB in {address}"
            raise UserError(expected, f"{info.filename} of {info.file_size / 1e6:.1f} MB", AGAIN)
        if path.name in members:
            expected = f"each patch once in {address}"
            raise UserError(expected, f"{members[path.name].info.filename} and {info.filename}", AGAIN)
        members[path.name] = Member(path.name, parts.year, info, min(end, info.header_offset + info.compress_size + LOCAL_HEADER))
    require_years({member.year for member in members.values()}, prefix, years, address)
    return list(members.values())


def require_year(path: PurePosixPath | Path, year: str, address: str) -> None:
    """Refuse a patch in the folder of another year than its name says."""
    folders = [part for part in path.parts[:-1] if YEAR.fullmatch(part)]
    if folders and folders[-1] != year:
        raise UserError(f"files of {folders[-1]} in the folder {folders[-1]} of {address}", str(path), AGAIN)


def require_years(present: Collection[str], prefix: str, years: Collection[str], address: str) -> None:
    """Refuse a release without patches of a year."""
    if missing := sorted(set(years) - set(present)):
        raise UserError(
            f"files {prefix}_…_{missing[0]}.tif in {address}",
            f"none of {', '.join(missing)}",
            "name the release that has the years of the run (released.path, released.repository), or leave these years out",
        )


def _require_safe(info: zipfile.ZipInfo, address: str) -> None:
    """Refuse a member that would be written outside its folder, or that is a link."""
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    link = stat.S_ISLNK(info.external_attr >> 16)
    if link or ".." in parts or name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        what = "is a link" if link else "leaves the folder"
        raise UserError(f"members that stay in the folder of {address}", f"{name[:200]!r} {what}", "do not unpack it: " + AGAIN)


def extract(archive: zipfile.ZipFile, member: Member, target: Path) -> None:
    """Write a member as `target`, never more bytes than the directory says. Its CRC-32 is checked.

    Raises:
        UserError: the member is longer or shorter than the directory says, or no TIFF.
    """
    with archive.open(member.info) as source:
        content = source.read(member.info.file_size + 1)
    if len(content) != member.info.file_size:
        expected = f"{member.info.file_size} bytes of {member.info.filename}"
        raise UserError(expected, f"{len(content)} or more", AGAIN)
    require_tiff(member.info.filename, content)
    with written(target, sweep=False) as beside:
        beside.write_bytes(content)


def require_tiff(name: str | Path, content: bytes) -> None:
    """Refuse a file of another format under the name of a GeoTIFF: a VRT would lead GDAL to other files and addresses."""
    if content[:4] not in TIFF:
        raise UserError(f"a GeoTIFF in {name}", f"another format ({content[:16]!r}, {len(content)} bytes)", AGAIN)


def is_extracted(member: Member, target: Path) -> bool:
    """Return whether `target` has size and CRC-32 of a member."""
    try:
        return target.stat().st_size == member.info.file_size and zlib.crc32(target.read_bytes()) == member.info.CRC
    except FileNotFoundError:
        return False
