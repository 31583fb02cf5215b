"""The release that a run is pinned to: revision, checksums and size, among people's files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from smallmines.archive.hub import HubFile
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy, written
from smallmines.core.layout import UserFolder
from smallmines.settings.released import Released

LINE = re.compile(r"([0-9a-f]{64})  (\d{4}/MASK/[^/\s]+)")
"""A line of the checksums."""

FORMS = {"revision": '"[0-9a-f]{40}"', "sha256": '"[0-9a-f]{64}"', "size": "[1-9][0-9]*", "directory": '"[0-9a-f]{64}"|null'}
"""Form of the pinned values in JSON."""


@dataclass(frozen=True)
class Pins:
    """The content of `released.json`.

    Attributes:
        repository, file, revision, sha256, size: as in `HubFile`.
        directory: SHA-256 of the zip's central directory; None as long as it was not read.
    """

    repository: str
    file: str
    revision: str
    sha256: str
    size: int
    directory: str | None = None

    @property
    def hub_file(self) -> HubFile:
        """The file on the Hub."""
        return HubFile(self.repository, self.file, self.revision, self.sha256, self.size)


def read_pins(user: UserFolder, settings: Released) -> Pins | None:
    """Read what the run is pinned to; None before the first download.

    Raises:
        UserError: the file is broken, or the configuration names another release.
    """
    if not user.released.is_file():
        return None
    values = read_json(user.released)
    try:
        pins = Pins(**values)
    except TypeError as error:
        raise UserError(f"a pinned release in {user.released}", f"other content ({error})", remedy(user.released)) from None
    for name, form in FORMS.items():
        text = json.dumps(getattr(pins, name))
        if not re.fullmatch(form, text):
            raise UserError(f"a pinned release in {user.released}", f"{name} {text[:80]}", remedy(user.released))
    for name in ("repository", "file", "revision", "sha256"):
        configured = getattr(settings, name)
        if configured not in (None, getattr(pins, name)):
            raise another(user, f"released.{name} {getattr(pins, name)}", f"{configured} in the configuration")
    return pins


def another(user: UserFolder, expected: str, found: str) -> UserError:
    """Return the error about a release that is another one than the run is pinned to."""
    return UserError(
        f"the release that the run is pinned to in {user.released}: {expected}",
        found,
        f"go back to this one; to take the other one delete {user.released} and {user.released_sums}: the labels can change",
    )


def require_stated(user: UserFolder, settings: Released, pins: Pins | None, stated: HubFile) -> None:
    """Refuse what the Hub states of the file where the pins or the configuration say otherwise."""
    for name in ("revision", "sha256", "size"):
        if pins is not None and getattr(stated, name) != getattr(pins, name):
            raise another(user, f"{name} {getattr(pins, name)}", f"{getattr(stated, name)} on the Hub")
        configured = getattr(settings, name, None)
        if configured not in (None, getattr(stated, name)):
            found = f"{getattr(stated, name)} on the Hub"
            raise UserError(f"released.{name} {configured} of {stated.address}", found, f"check released.{name} and released.file")


def write_pins(user: UserFolder, pins: Pins) -> None:
    """Write what the run is pinned to; it is on the disk when this returns."""
    with written(user.released, durable=True) as beside:
        beside.write_text(json.dumps(asdict(pins), indent=1) + "\n", encoding="utf-8")


def read_sums(user: UserFolder) -> dict[str, str]:
    """Read the SHA-256 of the masks by `<year>/MASK/<name>`; none before the first download.

    Raises:
        UserError: a line is no checksum of a mask.
    """
    if not user.released_sums.is_file():
        return {}
    lines = user.released_sums.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = [LINE.fullmatch(line) for line in lines]
    if wrong := [line for line, entry in zip(lines, entries, strict=True) if entry is None]:
        raise UserError(f"checksums of masks in {user.released_sums}", repr(wrong[0][:80]), remedy(user.released_sums))
    return {entry[2]: entry[1] for entry in entries if entry}


def require_sums(user: UserFolder, sums: Mapping[str, str]) -> None:
    """Hold masks against the pinned ones of their years, and pin those of other years.

    Args:
        sums: SHA-256 by `<year>/MASK/<name>` of all masks of some years.

    Raises:
        UserError: a mask has another content, is missing, or is new.
    """
    pinned = read_sums(user)
    own = {name.split("/")[0] for name in sums} & {name.split("/")[0] for name in pinned}
    old = {name: value for name, value in pinned.items() if name.split("/")[0] in own}
    new = {name: value for name, value in sums.items() if name.split("/")[0] in own}
    if old != new:
        name = min(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        raise another(user, f"{name} with SHA-256 {old.get(name, 'none')}", f"SHA-256 {new.get(name, 'none')}")
    if set(sums) - set(pinned):
        write_sums(user.released_sums, {**pinned, **sums})


def write_sums(path: Path, sums: Mapping[str, str]) -> None:
    """Write checksums as `sha256sum` does; they are on the disk when this returns."""
    with written(path, durable=True) as beside:
        beside.write_text("".join(f"{value}  {name}\n" for name, value in sorted(sums.items())), encoding="utf-8")
