"""Check what reading a release needs: the local files, or room for the download."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.layout import RELEASED

MASKS_MB, ARCHIVE_MB, IMAGES_MB = 20, 1700, 3800
"""Room that the masks of the release take, its archive, and its patches without compression."""


def check_release(config: Config, rules: Collection[str]) -> list[UserError]:
    """Return what is missing for the rules `released` and `released_images`; nothing is downloaded."""
    if not {"released", "released_images"} & set(rules):
        return []
    path = config.released.path
    if path is not None and not Path(path).exists():
        return [UserError("a folder or zip in released.path", f"no such file: {path}", "correct released.path, or empty it to download")]
    local_folder = path is not None and Path(path).is_dir()
    wanted = MASKS_MB if "released" in rules else 0
    if "released_images" in rules:
        wanted += IMAGES_MB + (ARCHIVE_MB if path is None else 0)
    place = RELEASED
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e6
    if local_folder or free >= wanted or any(RELEASED.glob("*/*/IMAGE")):
        return []
    return [UserError(f"{wanted} MB of room in {RELEASED} for the release", f"{free:.0f} MB free", "free some space on this disk")]
