"""Keys that the candidates for the first labels are drawn by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidates:
    """Keys of `annotate` that the rule `candidates` reads."""

    candidates: int
    spectral_clusters: int
    elevation_bins: int
    seed: int
