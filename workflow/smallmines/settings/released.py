"""Keys of the rules that read the masks of a released dataset and draw labels from them."""

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


@dataclass(frozen=True)
class ReleasedSamples:
    """Keys of `released` that the rules `released_labels` and `released_agreement` read.

    Attributes:
        hold_out: share of the tiles that take nothing from the release.
        samples: segments of each class, block and year that are drawn as samples.
    """

    hold_out: float
    samples: int
