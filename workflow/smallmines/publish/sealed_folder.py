"""The folder that is sent: shards or a sealed dataset, with proof that it is whole and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.dataset.seal import SUMS, read_sums
from smallmines.publish.made_from import MADE_FROM, require_made_from

SHOWN = 3
LAST = ("README.md", SUMS)
"""Files that are sent last: a card names configurations, and the seal says that all is there."""


@dataclass(frozen=True)
class LocalFile:
    """A file to send.

    Attributes:
        path: of the file; name: in the repository.
        size: in bytes.
        sha256: of its bytes.
    """

    path: Path
    name: str
    size: int
    sha256: str


def sealed_files(folder: Path) -> list[LocalFile]:
    """Return the files of a folder in the order in which they are sent, after a look whether it is sealed, whole and verified.

    Every file is hashed. Shards must be made of the dataset beside them, if there is one. Beside a dataset must lie a `verify.json` that is
    not older than its seal; a merged dataset has none.

    Raises:
        UserError: it is not.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise UserError(f"a sealed folder with {SUMS} at {folder}", "none", "run snakemake huggingface, or name the folder of a dataset")
    of_shards = (folder / MADE_FROM).is_file()
    try:
        listed = read_sums(sums)
    except UserError as error:
        if not of_shards:
            raise
        raise UserError(error.expected, error.found, "run snakemake huggingface with --forcerun huggingface") from None
    files = [LocalFile(folder / name, name, (folder / name).stat().st_size, sha256(folder / name)) for name in [*listed, SUMS]]
    if wrong := [file.name for file in files if file.name in listed and file.sha256 != listed[file.name]]:
        found = f"{len(wrong)} others, e.g. {', '.join(wrong[:SHOWN])}"
        raise UserError(f"files as {sums} lists them", found, "make the folder again; a published folder is not edited by hand")
    if of_shards:
        require_made_from(folder)
    else:
        _require_verified(folder)
    return sorted(files, key=lambda file: (file.name in LAST, file.name))


def _require_verified(dataset: Path) -> None:
    """Check that a dataset was verified after it was sealed.

    Raises:
        UserError: it was not.
    """
    facts = read_json(dataset / "facts.json")
    if "regions" in facts:
        return
    verified = dataset.parent / "verify.json"
    if not verified.is_file():
        raise UserError(f"a verified dataset: {verified} beside {dataset}", "none", "run the workflow up to verify")
    if verified.stat().st_mtime < (dataset / SUMS).stat().st_mtime:
        raise UserError(f"{verified} made after the seal of {dataset}", "an older one", "run the workflow again up to verify")
