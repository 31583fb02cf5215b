"""Keys of the rule `assistant`, which trains the random forest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Assistant:
    """Keys of `assistant` that the rule `assistant` reads."""

    features: Literal["paper", "context"]
    folds: int
    trees: tuple[int, ...]
    max_depth: tuple[int, ...]
    min_samples_split: tuple[int, ...]
    threshold: Literal["match_prevalence"] | float
    prevalence: Literal["estimate", "sample"] | float
    on_missing_class: str
    seed: int
