"""Keys of the rule `composite_dem`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Elevation:
    """Keys of `elevation` that the rule `composite_dem` reads."""

    resampling: Literal["bilinear", "nearest"]
