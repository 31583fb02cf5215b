"""UTM zones on WGS 84. Sentinel-2 delivers each of its tiles in the zone where the tile lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyproj import CRS

LATTICE_M = 20
"""Side in m of the lattice on which the pixels of all Sentinel-2 bands of 10 m and 20 m align, in every zone."""

HALF_ZONE = 3
"""Degrees of longitude from the central meridian of a zone to its borders."""


@dataclass(frozen=True)
class Zone:
    """A UTM zone: number from 1 (180° W to 174° W) to 60, and hemisphere."""

    number: int
    south: bool

    def __str__(self) -> str:
        """Return number and hemisphere, e.g. "19S"."""
        return f"{self.number}{'S' if self.south else 'N'}"

    @property
    def epsg(self) -> str:
        """Code of the zone, e.g. "EPSG:32719"."""
        return f"EPSG:{(32700 if self.south else 32600) + self.number}"

    @property
    def meridian(self) -> int:
        """Longitude of the central meridian in degrees."""
        return 6 * self.number - 183


def zone_at(longitude: float, latitude: float) -> Zone:
    """Return the zone of a place. The equator counts as north, and the exceptions of Norway and Svalbard are not made."""
    return Zone(int((longitude + 180) // 6) % 60 + 1, latitude < 0)


def zone_of(crs: CRS) -> Zone | None:
    """Return the zone that a CRS is; None where it is no UTM zone on WGS 84."""
    hemisphere, number = divmod(crs.to_epsg() or 0, 100)
    return Zone(number, hemisphere == 327) if hemisphere in (326, 327) and 1 <= number <= 60 else None


def on_lattice(x: float, y: float) -> tuple[int, int]:
    """Return the corner of the Sentinel-2 lattice at or next to the north-west of a point, (easting, northing) in m."""
    return int(x // LATTICE_M) * LATTICE_M, -int(-y // LATTICE_M) * LATTICE_M
