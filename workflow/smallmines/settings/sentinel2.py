"""Keys of the rule `composite_s2`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sentinel2:
    """Keys of `sentinel2` that the rule `composite_s2` reads."""

    radiometry: Literal["dn_plus1000", "dn_harmonised", "native"]
    method: str
    undecided: str
    clouds: str
    masked_classes: tuple[int, ...]
    cloud_dilation_px: int
    cloud_opening_px: int
    stable_tolerance: float
    unclear: str
    haze: str
