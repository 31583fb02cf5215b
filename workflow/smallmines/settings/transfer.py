"""Keys of the rule `decisions`: how labels move to a new segmentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """Keys of `labels.transfer` that the rule `decisions` reads."""

    covered: float
    purity: float
