"""Seal the published folder with `SHA256SUMS` over all its files, and pack them into one archive, reproducible to the byte."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.files import remedy, sha256, written
from smallmines.core.log import logger
from smallmines.core.readable import require_readable
from smallmines.dataset.assemble import read_list

SUMS = "SHA256SUMS"
_PIECE = 1 << 20


def checksums(folder: Path, lists: Sequence[str | Path], files: Sequence[str | Path]) -> dict[str, str]:
    """Return the checksum of each file by its path from the dataset's folder.

    Args:
        lists: `<year>/<kind>.sha256`; the checksums in them are taken as they are, not computed again.
        files: all other files of the dataset.

    Raises:
        UserError: a list lacks patches of its folder.
    """
    sums: dict[str, str] = {}
    for path in map(Path, lists):
        listed = read_list(path)
        patches = {f"{path.stem}/{file.name}" for prefix in ("IMG", "MASK") for file in path.with_suffix("").glob(f"{prefix}_*.tif")}
        if unlisted := sorted(patches - set(listed)):  # `assemble` leaves none: lines of the list are lost
            raise UserError(f"all patches of its folder in {path}", f"{len(unlisted)} missing, e.g. {unlisted[0]}", remedy(path))
        sums |= {f"{path.parent.name}/{name}": checksum for name, checksum in listed.items()}
    for path in map(Path, [*lists, *files]):
        sums[path.relative_to(folder).as_posix()] = sha256(path)
    return dict(sorted(sums.items()))


def write_sums(folder: str | Path, lists: Sequence[str | Path], files: Sequence[str | Path]) -> int:
    """Write `SHA256SUMS`, which `sha256sum -c` reads in the dataset's folder, and return the number of files; see `checksums`.

    Raises:
        UserError: a file cannot be read to its end.
    """
    folder = Path(folder)
    catalogue = sorted((folder / "stac").glob("*/*.json"))
    require_readable([*lists, *files, *catalogue])
    sums = checksums(folder, lists, [*files, *catalogue])
    with written(folder / SUMS) as beside:
        beside.write_text("".join(f"{checksum}  {name}\n" for name, checksum in sums.items()), encoding="utf-8")
    logger.info("%d files sealed", len(sums))
    return len(sums)


def published(folder: Path) -> Iterator[str]:
    """Yield the paths of all files in a dataset's folder, relative to it, without hidden files and SHA256SUMS."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts) and name.as_posix() != SUMS:
            yield name.as_posix()


def compare_with_sums(folder: Path, sums: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the files that are listed and not there, and those that are there and not listed."""
    present = set(published(folder))
    return sorted(set(sums) - present), sorted(present - set(sums))


def read_sums(sums: str | Path) -> dict[str, str]:
    """Read `SHA256SUMS`: checksum by path from the dataset's folder.

    Raises:
        UserError: it lacks files of the folder, or lists others: lines are lost, or the folder was changed.
    """
    listed = read_list(sums)
    absent, unlisted = compare_with_sums(Path(sums).parent, listed)
    if absent or unlisted:
        found = [f"{len(names)} {what}, e.g. {names[0]}" for what, names in (("missing", absent), ("not in the list", unlisted)) if names]
        raise UserError(f"files as {sums} lists them", "; ".join(found), "run again with --forcerun assemble seal")
    return listed


def write_archive(sums: str | Path, name: str, target: str | Path) -> int:
    """Write all files that `SHA256SUMS` lists, and the list, into a zip: stored (patches are compressed already), sorted, without times.

    Args:
        name: name of the folder in the archive.

    Raises:
        UserError: a file is missing or not as listed; nothing is written then.
    """
    sums = Path(sums)
    folder, listed = sums.parent, read_sums(sums)
    with written(target) as beside:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for path in [*sorted(listed), SUMS]:
                _store(archive, folder / path, f"{name}/{path}")
        with zipfile.ZipFile(beside) as archive:
            bad = [path for path, checksum in sorted(listed.items()) if _digest(archive, f"{name}/{path}") != checksum]
        if bad:
            raise UserError(f"files as {sums} lists them", f"{len(bad)} others, e.g. {bad[0]}", "run again with --forcerun assemble seal")
    logger.info("%d files in %s", len(listed) + 1, target)
    return len(listed) + 1


def _store(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, path.stat().st_size
    with path.open("rb") as source, archive.open(info, "w", force_zip64=info.file_size >= zipfile.ZIP64_LIMIT) as entry:
        while piece := source.read(_PIECE):
            entry.write(piece)


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as entry:
        while piece := entry.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
