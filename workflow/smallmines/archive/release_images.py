"""Images and masks of a released dataset as a folder, for a comparison: the whole archive is downloaded, or a local one is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smallmines.archive.release_download import archive_from_hub, folder_of
from smallmines.archive.release_zip import extract, is_extracted, opened_zip, patches_in
from smallmines.archive.released import local_zip
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.layout import UserFolder
from smallmines.core.log import logger
from smallmines.core.release import read_release
from smallmines.settings.released import Released


def read_images(
    settings: Released, years: Sequence[str], user_folder: str | Path, out: str | Path, release: str | Path | None = None
) -> None:
    """Lay the patches of a released dataset into a folder and write where it is: {"folder", "address", "revision", "sha256"}.

    A local folder is taken as it is. Of an archive, the images and masks of the years are extracted beside those of the rule `released`.

    Args:
        settings, years, user_folder: as of `read_released`.
        out: JSON file.
        release: `release.json`, where labels come from the release.

    Raises:
        UserError: the release cannot be read, is another one than the run is pinned to or its labels come from, or lacks images of a year.
    """
    if settings.path is not None and Path(settings.path).is_dir():
        write_json(out, {"folder": settings.path, "address": settings.path, "revision": None, "sha256": None})
        return
    if settings.path is not None:
        path, checksum = local_zip(settings)
        address, revision = settings.path, None
    else:
        path, pins = archive_from_hub(settings, UserFolder(Path(user_folder)))
        address, revision, checksum = pins.hub_file.address, pins.revision, pins.sha256
    if release is not None and (expected := read_release(release).sha256) != checksum:
        raise UserError(
            f"the archive that the labels come from, SHA-256 {expected} ({release})",
            f"{address} with SHA-256 {checksum}",
            f"give that archive again; to take the labels from this one delete {release}, and run again",
        )
    folder = folder_of(checksum)
    with opened_zip(path, address) as archive:
        members = {kind: patches_in(archive, address, prefix, years) for kind, prefix in (("IMAGE", "IMG"), ("MASK", "MASK"))}
        for kind, own in members.items():
            for member in own:
                target = folder / member.year / kind / member.name
                if not is_extracted(member, target):
                    extract(archive, member, target)
            logger.info("%s: %d files in %s", kind, len(own), folder)
    write_json(out, {"folder": str(folder), "address": address, "revision": revision, "sha256": checksum})
