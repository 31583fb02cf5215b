"""Keys that shape the elevation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Elevation:
    """Keys of `elevation` that the rule `composite_dem` reads."""

    resampling: Literal["bilinear", "nearest"]
