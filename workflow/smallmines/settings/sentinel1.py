"""Keys of the rule `composite_s1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sentinel1:
    """Keys of `sentinel1` that the rule `composite_s1` reads."""

    border_erosion_px: int
    kernel: Literal["plus", "box"]
