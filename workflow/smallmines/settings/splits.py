"""Keys of the rules `splits` and `leakage`: how tiles are assigned to train, val and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["spatial_block", "paper_histogram", "histogram_tile", "leave_block_out"]
"""Methods to assign tiles; config/README.md describes them."""

METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Splits:
    """Keys of `splits` that the rules `splits` and `leakage` read."""

    method: Method
    block_tiles: Literal["correlogram"] | int
    train: float
    val: float
    test: float
    test_block: str | None
    buffer_tiles: int
    seed: int
