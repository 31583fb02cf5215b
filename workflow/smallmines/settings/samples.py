"""Keys that people's samples are held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Keys of `assistant` that the rule `labels` reads."""

    folds: int
    on_missing_class: str
