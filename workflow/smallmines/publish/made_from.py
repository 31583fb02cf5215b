"""The record of the dataset that shards are made from."""

from __future__ import annotations

from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256, write_json
from smallmines.dataset.seal import SUMS

MADE_FROM = "made_from.json"
"""File beside the shards: SHA-256 of the dataset's `SHA256SUMS`, and number of rows."""


def write_made_from(dataset: Path, rows: int, folder: Path) -> None:
    """Write the record into the folder of the shards."""
    write_json(folder / MADE_FROM, {"sha256sums": sha256(dataset / SUMS), "rows": rows})


def require_made_from(folder: Path) -> None:
    """Check that shards are made of the dataset beside them, where one is.

    Raises:
        UserError: the dataset was sealed anew since.
    """
    sums = folder.parent / "dataset" / SUMS
    if not sums.is_file():
        return
    stated, own = str(read_json(folder / MADE_FROM)["sha256sums"]), sha256(sums)
    if stated != own:
        expected = f"shards in {folder} made of the dataset beside them, whose {SUMS} has the SHA-256 {own}"
        raise UserError(expected, f"made of one with {stated}", "run snakemake huggingface again")
