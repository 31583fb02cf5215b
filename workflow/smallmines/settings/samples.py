"""Keys of the rule `samples`, which checks people's samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Keys of `assistant` that the rule `samples` reads."""

    folds: int
    on_missing_class: str
