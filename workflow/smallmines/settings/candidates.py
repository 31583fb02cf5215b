"""Keys of the rule `candidates`, which draws candidate points for the first labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidates:
    """Keys of `annotate` that the rule `candidates` reads."""

    candidates: int
    clusters: int
    seed: int
