"""The section of the configuration about a released dataset whose labels a run uses."""

from __future__ import annotations

from pydantic import Field

from smallmines.config.section import PathText, Section


class Released(Section):
    """The released dataset, with `labels.source` `released_samples` or `released_masks` (docs/regenerate.md)."""

    repository: str = Field(
        "ellaampy/SmallMinesDS", pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", description="Dataset on the Hugging Face Hub, `owner/name`."
    )
    file: str = Field(
        "SmallMinesDS.zip",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\.zip$",
        description="The archive in the dataset.",
    )
    path: PathText | None = Field(
        None, description="A folder or zip of the release, relative to the repository, in place of the download. Empty: download."
    )
    revision: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the dataset (40 digits). Empty: the first run asks the Hub, and writes it to "
        "`resources/user/<run>/released.json`.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the archive. Empty: as the Hub states it on the first run."
    )
    hold_out: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="With `released_samples`: share of the tiles that take nothing from the release, so that the forest is measured there.",
    )
    samples: int = Field(
        1000, ge=1, description="With `released_samples`: segments of each class, block and year that are drawn as samples."
    )
