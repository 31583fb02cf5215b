"""Download the masks, or the whole archive, of a released dataset from the Hugging Face Hub, at the revision that the run is pinned to."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from smallmines.archive.hub import LARGEST_RANGE, TAIL, HubFile, NoRangesError, Progress, RemoteFile, ask, download
from smallmines.archive.release_pins import Pins, another, read_pins, read_sums, require_stated, require_sums, write_pins
from smallmines.archive.release_zip import Member, directory_sha256, extract, is_extracted, opened_zip, patches_in
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256, write_json
from smallmines.core.layout import RELEASED, UserFolder
from smallmines.core.log import logger
from smallmines.core.patch_files import patch_files
from smallmines.settings.released import Released

LARGEST_GAP = 65_536
"""Bytes between two masks that are read with them rather than asked for apart."""

MOST_RANGES = 1000
"""Requests for ranges from which the whole archive is downloaded instead: masks that lie between images."""

CHECKED = "checked.json"
"""Name of the copy of the pins that the masks beside it were read with."""


@dataclass(frozen=True)
class Source:
    """Where the masks were read, and where they lie; the attributes are those of `Release`."""

    source: Literal["hub", "zip", "folder"]
    reading: Literal["ranges", "whole", "folder"]
    address: str
    paths: list[Path]
    revision: str | None = None
    sha256: str | None = None
    size: int | None = None


def folder_of(checksum: str) -> Path:
    """Return the folder of what is taken out of the archive with a SHA-256."""
    return RELEASED / checksum[:16]


def masks_from_hub(settings: Released, years: Sequence[str], user: UserFolder) -> Source:
    """Take the masks of some years out of the archive on the Hub.

    Only the masks are read, by ranges, where they lie together in the archive; else the whole archive is downloaded. Masks that are
    here with their pinned checksums are not read again; if all are, and they were held against these pins before, the Hub is not asked.

    Raises:
        UserError: the Hub refuses or fails, or the release is another one than the run is pinned to.
    """
    pins = read_pins(user, settings)
    sums = read_sums(user)
    if pins is None or (paths := _present(pins, sums, years)) is None:
        pins = _asked(settings, user, pins)
        whole = _whole_path(pins.hub_file)
        reading, paths = ("whole", _from_whole(pins, years, user)) if whole.is_file() else _by_ranges(pins, years, user)
        require_sums(user, {_key(path): sha256(path) for path in paths})
        write_json(folder_of(pins.sha256) / CHECKED, asdict(read_pins(user, settings) or pins))
    else:
        reading = "whole" if _whole_path(pins.hub_file).is_file() else "ranges"
    address = f"{pins.repository}/{pins.file}"
    return Source("hub", "whole" if reading == "whole" else "ranges", address, paths, pins.revision, pins.sha256, pins.size)


def archive_from_hub(settings: Released, user: UserFolder) -> tuple[Path, Pins]:
    """Download the whole archive, if it is not here; return its path and what the run is pinned to.

    Raises:
        UserError: see `masks_from_hub`; or the archive has another checksum.
    """
    pins = read_pins(user, settings)
    if pins is None or not _whole_path(pins.hub_file).is_file():
        pins = _asked(settings, user, pins)
    return _whole(pins.hub_file), pins


def _asked(settings: Released, user: UserFolder, pins: Pins | None) -> Pins:
    """Ask the Hub, compare its answer with the pins and the configuration, and pin it the first time."""
    revision = pins.revision if pins else settings.revision or "main"
    stated = ask(settings.repository, settings.file, revision)
    require_stated(user, settings, pins, stated)
    if pins is None:
        pins = Pins(stated.repository, stated.file, stated.revision, stated.sha256, stated.size)
        write_pins(user, pins)
        logger.info("pinned to %s at revision %s, SHA-256 %s (%s)", stated.address, stated.revision, stated.sha256, user.released)
    return pins


def _key(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _present(pins: Pins, sums: dict[str, str], years: Sequence[str]) -> list[Path] | None:
    """Return the paths of the pinned masks of some years; None if others are here, or if the pins changed since they were read."""
    folder = folder_of(pins.sha256)
    names = [name for name in sums if name.split("/")[0] in years]
    paths = [folder / name for name in names]
    complete = {name.split("/")[0] for name in names} == set(years)
    here = {path for year in years for path in patch_files(folder / year, ["MASK"])}
    same = complete and here == set(paths) and all(sha256(path) == sums[name] for name, path in zip(names, paths, strict=True))
    checked = folder / CHECKED
    return paths if same and checked.is_file() and read_json(checked) == asdict(pins) else None


def _by_ranges(pins: Pins, years: Sequence[str], user: UserFolder) -> tuple[str, list[Path]]:
    """Read the masks by ranges; the whole archive where this takes too many requests or the server knows no ranges."""
    file = pins.hub_file
    try:
        with RemoteFile(file) as remote:
            remote.prefetch(max(file.size - TAIL, 0), file.size)
            with opened_zip(remote, file.address) as archive:
                _pin_directory(archive, pins, user)
                members = patches_in(archive, file.address, "MASK", years)
                missing = [member for member in members if not is_extracted(member, _target(file, member))]
                ranges = merged(missing)
                if len(ranges) <= MOST_RANGES:
                    _extract_by_ranges(remote, archive, ranges)
                    return "ranges", [_target(file, member) for member in members]
                logger.info("the masks lie in %d places: the whole archive is downloaded", len(ranges))
    except NoRangesError:
        logger.info("%s knows no ranges: the whole archive is downloaded", file.address)
    return "whole", _from_whole(pins, years, user)


def _extract_by_ranges(remote: RemoteFile, archive: zipfile.ZipFile, ranges: Sequence[Sequence[Member]]) -> None:
    """Read ranges one after the other, and write the masks in each."""
    progress = Progress(f"reading masks of {remote.file.address}", sum(part[-1].end - part[0].info.header_offset for part in ranges))
    for part in ranges:
        start, stop = part[0].info.header_offset, part[-1].end
        remote.prefetch(start, stop)
        for member in part:
            extract(archive, member, _target(remote.file, member))
        remote.forget()
        progress.advance(stop - start)
    logger.info("%d masks read by %d requests, %.2f MB", sum(map(len, ranges)), remote.requests, remote.received / 1e6)


def merged(members: Sequence[Member]) -> list[list[Member]]:
    """Return members, sorted by offset, in groups that one request reads."""
    groups: list[list[Member]] = []
    for member in members:
        near = groups and member.info.header_offset - groups[-1][-1].end <= LARGEST_GAP
        if near and member.end - groups[-1][0].info.header_offset <= LARGEST_RANGE:
            groups[-1].append(member)
        else:
            groups.append([member])
    return groups


def _from_whole(pins: Pins, years: Sequence[str], user: UserFolder) -> list[Path]:
    """Download the whole archive, check it, and extract the masks."""
    file = pins.hub_file
    path = _whole(file)
    with opened_zip(path, str(path)) as archive:
        _pin_directory(archive, pins, user)
        members = patches_in(archive, file.address, "MASK", years)
        for member in members:
            if not is_extracted(member, _target(file, member)):
                extract(archive, member, _target(file, member))
    return [_target(file, member) for member in members]


def _whole(file: HubFile) -> Path:
    """Return the whole archive, downloaded where it is not here, with its checksum checked."""
    path = _whole_path(file)
    if not path.is_file():
        download(file, path)
    checksum = sha256(path)
    if checksum != file.sha256:
        raise UserError(
            f"{file.address} with SHA-256 {file.sha256}", f"{checksum}, {path.stat().st_size} bytes", f"delete {path} and run again"
        )
    return path


def _whole_path(file: HubFile) -> Path:
    return folder_of(file.sha256) / file.file


def _target(file: HubFile, member: Member) -> Path:
    return folder_of(file.sha256) / member.year / "MASK" / member.name


def _pin_directory(archive: zipfile.ZipFile, pins: Pins, user: UserFolder) -> None:
    """Pin the central directory the first time, and refuse another one later."""
    checksum = directory_sha256(archive)
    if pins.directory is None:
        write_pins(user, replace(pins, directory=checksum))
    elif pins.directory != checksum:
        raise another(user, f"central directory {pins.directory}", f"{checksum} in {pins.repository}/{pins.file}")
