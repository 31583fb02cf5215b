"""Offset of the digital numbers of Sentinel-2 in a pack, for what needs reflectances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from smallmines.benchmark.pack import Pack
from smallmines.core.errors import UserError
from smallmines.core.product import OFFSET

OFFSETS: Mapping[str, int] = MappingProxyType({"dn_plus1000": OFFSET, "dn_harmonised": 0})
"""Offset of the digital numbers by radiometry; other radiometries have none that holds for all pixels."""


def offset_of(radiometry: str, where: str) -> int:
    """Return the offset of a radiometry: the reflectance of a digital number is (DN − offset) / 10000.

    Args:
        where: what has this radiometry, for the message.

    Raises:
        UserError: one that `OFFSETS` does not name, as `unknown`.
    """
    if radiometry not in OFFSETS:
        remedy = "state it in benchmark.radiometry (of another dataset), or leave the rows out that need reflectances"
        raise UserError(f"radiometry {' or '.join(OFFSETS)} of {where}", radiometry, remedy)
    return OFFSETS[radiometry]


def offsets_of(pack: Pack, years: Iterable[int]) -> dict[int, int]:
    """Return the offset of some years of a pack.

    Raises:
        UserError: see `offset_of`.
    """
    return {year: offset_of(pack.about["radiometry"][str(year)], f"the images of {year}") for year in sorted(set(years))}
