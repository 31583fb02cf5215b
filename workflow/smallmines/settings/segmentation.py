"""Keys of the rule `segment`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Segmentation:
    """Keys of `segmentation` that the rule `segment` reads."""

    bands: tuple[str, ...]
    spatial_radius: int
    range_radius: float
    min_size: int
    max_iterations: int
    convergence: float
    backend: Literal["auto", "python", "cli"]
