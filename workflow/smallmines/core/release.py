"""The record of a released dataset whose masks a run uses: where they come from, their checksums and where they lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy, write_json

LICENSE = "CC-BY-SA-4.0"
"""Licence of the release, an SPDX identifier; what is made with its masks is published under the same."""


@dataclass(frozen=True)
class ReleasedMask:
    """A mask of the release.

    Attributes:
        name: file name, `MASK_<country>_<id>_<year>.tif`; the country may be left out.
        year: from the name.
        path: where it lies, relative to the repository.
        sha256: checksum of the file.
        left, top: upper left corner in m, in the CRS of the run's grid.
    """

    name: str
    year: int
    path: str
    sha256: str
    left: float
    top: float


@dataclass(frozen=True)
class Release:
    """The product `release.json` of the rule `released`.

    Attributes:
        source: `hub` (downloaded from the Hugging Face Hub), `zip` or `folder` (given locally).
        reading: `ranges` (only the masks, by HTTP ranges), `whole` (the whole archive), `folder` (in place).
        address: repository and file on the Hub, or the local path.
        revision: commit of the repository (40 digits); None for local ones.
        sha256: checksum of the whole archive, as the Hub states it or as computed; None for a folder.
        size: of the archive in bytes; None for a folder.
        masks: of the run's years, by year and name.
        only_ours: by year, tiles of the fishnet without a released mask.
        only_released: by year, names of masks that lie on no tile of the fishnet.
    """

    source: Literal["hub", "zip", "folder"]
    reading: Literal["ranges", "whole", "folder"]
    address: str
    revision: str | None
    sha256: str | None
    size: int | None
    masks: tuple[ReleasedMask, ...]
    only_ours: dict[str, list[str]]
    only_released: dict[str, list[str]]


def write_release(path: str | Path, release: Release) -> None:
    """Write `release.json`."""
    write_json(path, asdict(release))


def read_release(path: str | Path) -> Release:
    """Read `release.json`.

    Raises:
        UserError: the file is missing, or no record of a release.
    """
    values = read_json(path)
    try:
        return Release(**{**values, "masks": tuple(ReleasedMask(**mask) for mask in values["masks"])})
    except (TypeError, KeyError) as error:
        raise UserError(f"the record of a release in {path}", f"other content ({error})", remedy(path)) from None
