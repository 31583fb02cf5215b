"""Pretrained weights from the Hugging Face Hub, at a commit and with a checksum that the first run pins."""

from __future__ import annotations

import fcntl
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.archive.hub import endpoint, library, of_the_hub, token
from smallmines.core.errors import UserError
from smallmines.core.files import flat, read_json, remedy, sha256, write_json
from smallmines.core.log import logger
from smallmines.core.redaction import redacted
from smallmines.settings.benchmark import Weights

COMMIT = re.compile("[0-9a-f]{40}")
BRANCH = "main"


@dataclass(frozen=True)
class Pin:
    """What a run is pinned to for a file of weights.

    Attributes:
        revision: commit.
        sha256: checksum of the file.
    """

    revision: str
    sha256: str


def fetch(weights: Weights, pins: Path) -> Path:
    """Return a file of pretrained weights in the cache of `huggingface_hub`; download it where it is not there yet.

    Without a revision in the settings the first run takes the newest commit and writes it to `pins`; later runs, and other jobs that
    began meanwhile, take the same one. With `HF_HUB_OFFLINE=1` only the cache is asked.

    Args:
        pins: JSON file of the run, by `<repository>/<file>`.

    Raises:
        UserError: the Hub refuses or does not answer, or the file is another one than the pinned one.
    """
    name = f"{weights.repository}/{weights.file}"
    pin = read_pins(pins).get(name)
    if pin and weights.revision not in (None, pin.revision):
        found = f"{weights.revision} in the row's file"
        raise UserError(f"revision {pin.revision} of {name}, which {pins} pins", found, f"go back to it, or take {name} out of {pins}")
    path = _downloaded(weights, pin.revision if pin else weights.revision or BRANCH)
    own = Pin(_commit_of(path), sha256(path))
    pin = pin or pinned(pins, name, own)
    if pin.revision != own.revision:
        return fetch(weights, pins)
    if own != pin:
        do = f"delete {path.resolve()}: it is downloaded again"
        raise UserError(f"{name} with SHA-256 {pin.sha256}, which {pins} pins", f"SHA-256 {own.sha256} in {path}", do)
    logger.info("pretrained weights: %s at %s, SHA-256 %s", name, own.revision, own.sha256)
    return path


def origin_of(weights: Weights, path: Path) -> dict[str, str]:
    """Return where a file of weights in the cache comes from: repository, file, revision and sha256."""
    return {"repository": weights.repository, "file": weights.file, "revision": _commit_of(path), "sha256": sha256(path)}


def pinned(pins: Path, name: str, own: Pin) -> Pin:
    """Pin a file of weights unless another job did meanwhile; return the pin that holds. Jobs take turns, so that each one's pin stays."""
    pins.parent.mkdir(parents=True, exist_ok=True)
    with open(pins.with_name(f".{pins.name}.lock"), "w", encoding="utf-8") as lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        before = read_pins(pins)
        if name not in before:
            write_json(pins, {other: vars(pin) for other, pin in {**before, name: own}.items()})
            logger.info("%s is pinned to %s in %s", name, own.revision, pins)
    return before.get(name, own)


def read_pins(path: Path) -> dict[str, Pin]:
    """Read pins by `<repository>/<file>`; none before the first download.

    Raises:
        UserError: the file has other content.
    """
    if not path.is_file():
        return {}
    try:
        return {name: Pin(**values) for name, values in read_json(path).items()}
    except (TypeError, AttributeError):
        raise UserError(f"revision and sha256 of each file of weights in {path}", "other content", remedy(path)) from None


def _commit_of(path: Path) -> str:
    """Return the commit of a file of the cache, `…/snapshots/<commit>/<file>`."""
    return next(part for part in reversed(path.parts) if COMMIT.fullmatch(part))


def _downloaded(weights: Weights, revision: str) -> Path:
    """Return a file in the cache; the library downloads it, and asks a Hub that is busy again."""
    hub: Any = library()
    try:
        return Path(hub.hf_hub_download(weights.repository, weights.file, revision=revision, token=token(), endpoint=endpoint()))
    except Exception as error:
        if not (isinstance(error, OSError | hub.errors.HFValidationError) or of_the_hub(error)):
            raise
        wanted = f"{weights.file} of {weights.repository} at {revision} from {endpoint()} or the cache"
        message = flat(redacted(str(error)))[:200] or type(error).__name__
        do = "run it once where the Hub can be reached, accept the repository's conditions there, or set benchmark.allow_unpretrained"
        raise UserError(wanted, message, do) from None
