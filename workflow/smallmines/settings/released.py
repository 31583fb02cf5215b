"""Keys of the rule `released`, which reads the masks of a released dataset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Released:
    """Keys of `released` that the rule reads.

    Attributes:
        repository, file: dataset and archive on the Hugging Face Hub.
        path: local folder or zip in place of the download.
        revision, sha256: pins; None as long as the Hub was not asked.
    """

    repository: str
    file: str
    path: str | None
    revision: str | None
    sha256: str | None
