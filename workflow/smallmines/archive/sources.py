"""Check the files of an archive by their header, against what the catalogue says of them, and read Sentinel-2 as digital numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS

from smallmines.archive.providers import AOT, Provider
from smallmines.archive.read import Source, read_asset, read_on_grid
from smallmines.core.errors import UserError
from smallmines.core.raster import geobox_of
from smallmines.sensors.footprint import SLACK, problem_of, projected
from smallmines.sensors.manifest import Item
from smallmines.sensors.scl import SCL

LEAST_OVERLAP = 0.95
"""Least share of the smaller of footprint and file that both cover. Footprints of 458 assets as the real archives state them lie to 98.8 %
or more in their files (their edges are straight in degrees); a tile of Sentinel-2 that is 6 km off its footprint has less than 95 %."""

LARGEST_PIXEL = 20.0 * 1.001
"""Largest pixel in m of a file of Sentinel-2. The archives hold the same bands in pixels of 60 m, and previews of them."""

DEGREE = 111_320.0
"""Metres of a degree of latitude."""

LAST_CLASS = 11
"""The last class of the scene classification."""

SCALES = ((1.0, 1e-4), (0.0, -0.1, -1000.0))
"""Scales and offsets that headers of Sentinel-2 may state: digital numbers are 10 000 times the reflectance, with or without the +1000
offset, about which the product's metadata decide. The values of other sensors are used as they are stored. The optical thickness
only ranks, and has a scale of its own."""

BAND = re.compile(r"(?<![A-Z0-9])(B\d[0-9A]|SCL|VV|VH)(?![A-Z0-9])")
"""Names of bands in names of files, such as `T30NXN_20160105T103422_B02_10m.jp2` and `iw-vv.rtc.tiff`."""

EXCLUDE = "restore the file, or leave the item out: name it in `{section}.exclude_items` in the config file, and run again"
SECTIONS = {"s2": "sentinel2", "s1": "sentinel1", "dem": "elevation"}

_TILE = re.compile(r"T(\d{2})([C-HJ-NP-X])[A-Z]{2}")


@dataclass(frozen=True)
class Claim:
    """What a catalogue says of a file.

    Attributes:
        sensor: s2, s1 or dem.
        item: id of the item.
        band: our name of the band.
        href: address, unsigned.
        footprint: of the item, GeoJSON in degrees; None: unknown.
        tile: MGRS tile with a leading T; None: not Sentinel-2.
    """

    sensor: str
    item: str
    band: str
    href: str
    footprint: Mapping[str, Any] | None
    tile: str | None = None

    def contradiction(self, expected: str, found: str) -> UserError:
        """Return the error of a file that is not what the catalogue says."""
        return UserError(
            f"{expected} for {self.item} {self.band}", f"{found} in {self.href}", EXCLUDE.format(section=SECTIONS[self.sensor])
        )


def zone_of(tile: str | None) -> str | None:
    """Return the CRS of an MGRS tile such as `T30NXN`, which is that of its files; None where the name is no tile."""
    name = _TILE.fullmatch(tile or "")
    if not name or not 1 <= int(name[1]) <= 60:
        return None
    return f"EPSG:{32600 if name[2] >= 'N' else 32700}".replace("00", name[1])


def check_source(source: Source, claim: Claim) -> None:
    """Check the header of a file: one band, type, CRS, zone of the tile, and place under the footprint.

    Types: Sentinel-2 whole numbers of 16 bits or more, its classification any whole numbers, Sentinel-1 floating point, elevation any
    real numbers.

    Raises:
        UserError: it is not what the catalogue says.
    """
    import shapely

    if getattr(source, "count", 1) != 1:
        raise claim.contradiction("one band", f"{source.count} bands")
    kind = np.dtype(source.dtypes[0])
    wanted = {"s2": "whole numbers of 16 or 32 bits", "s1": "floating-point numbers", "dem": "real numbers"}[claim.sensor]
    if claim.band == SCL:
        wanted, right = "whole numbers", kind.kind in "iu"
    else:
        right = {"s2": kind.kind in "iu" and kind.itemsize > 1, "s1": kind.kind == "f", "dem": kind.kind in "iuf"}[claim.sensor]
    if not right:
        raise claim.contradiction(wanted, str(kind))
    scale, offset = (getattr(source, "scales", None) or (1.0,))[0], (getattr(source, "offsets", None) or (0.0,))[0]
    scales, offsets = SCALES if claim.sensor == "s2" and claim.band != SCL else ((1.0,), (0.0,))
    if claim.band != AOT and not (
        any(abs(scale / value - 1) < 1e-6 for value in scales) and any(abs(offset - value) < 1e-9 for value in offsets)
    ):
        raise claim.contradiction("values as they are stored", f"a scale of {scale:g} and an offset of {offset:g}")
    if source.crs is None:
        raise claim.contradiction("a CRS", "none")
    t = source.transform
    if t.b or t.d or t.a <= 0 or t.e >= 0:
        raise claim.contradiction("a north-up grid", f"{tuple(t[:6])}")
    if claim.sensor == "s2" and claim.band != AOT and max(t.a, -t.e) > LARGEST_PIXEL and not source.crs.is_geographic:
        raise claim.contradiction("pixels of 10 or 20 m", f"pixels of {max(t.a, -t.e):g} m")
    zone = zone_of(claim.tile)
    if zone and source.crs != CRS.from_string(zone):
        raise claim.contradiction(f"{zone}, the zone of {claim.tile},", str(source.crs))
    if claim.footprint is None or problem_of(claim.footprint):
        return
    grid = geobox_of(source)
    west, south, east, north = grid.boundingbox.bbox
    slack = SLACK / (DEGREE if source.crs.is_geographic else 1)
    outline, footprint = shapely.box(west, south, east, north), projected(claim.footprint, grid)
    smaller = min(outline.area, footprint.area)
    share = shapely.box(west - slack, south - slack, east + slack, north + slack).intersection(footprint).area / smaller if smaller else 0.0
    if share < LEAST_OVERLAP:
        raise claim.contradiction(
            f"a file under the footprint that the catalogue states (at least {100 * LEAST_OVERLAP:g} %)",
            f"{100 * share:.0f} % of it at x {west:.10g} to {east:.10g}, y {south:.10g} to {north:.10g} of {source.crs}",
        )


def misplaced_bands(hrefs: Mapping[str, str]) -> str | None:
    """Return what is wrong with the addresses of an item's bands, or None: a file named after another band, or one for two bands."""
    names = {band: set(BAND.findall(href.split("?")[0].rpartition("/")[2].upper())) for band, href in hrefs.items()}
    wrong = [f"{band} is {hrefs[band].split('?')[0].rpartition('/')[2]}" for band, named in names.items() if named and band not in named]
    by_href: dict[str, list[str]] = {}
    for band, href in hrefs.items():
        by_href.setdefault(href, []).append(band)
    wrong += [f"{' and '.join(bands)} are one file" for bands in by_href.values() if len(bands) > 1]
    return ", ".join(wrong) or None


def require_own_files(items: Sequence[Item], bands: Sequence[str], section: str) -> None:
    """Check that no two items of different times have a file in common.

    Raises:
        UserError: they have; names them.
    """
    first: dict[str, Item] = {}
    for item in items:
        for band in bands:
            other = first.setdefault(item.hrefs[band], item)
            if other.datetime != item.datetime:
                raise UserError(
                    f"files of its own for each item, since {other.id} and {item.id} are of different times",
                    f"{item.hrefs[band]} as {band} of both",
                    f"correct the catalogue, or name the wrong item in `{section}.exclude_items` in the config file",
                )


def read_checked(claim: Claim, provider: Provider, work: Any) -> Any:
    """Open the file of a claim, check its header and return `work(source)`, see `read_asset`."""

    def checked(source: Source) -> Any:
        check_source(source, claim)
        return work(source)

    return read_asset(claim.item, claim.band, claim.href, provider, checked)


def read_numbers(source: Source, geobox: GeoBox, resampling: str, claim: Claim) -> NDArray[Any]:
    """Read a band of Sentinel-2 on `geobox`: uint16 digital numbers, or uint8 scene classes; 0 = no data.

    Other whole numbers are converted exactly, and the file's own nodata value becomes 0.

    Raises:
        UserError: a value is negative, above 65535, or no scene class.
    """
    limits = np.iinfo(source.dtypes[0])
    nodata = 0 if source.nodata is None or not limits.min <= source.nodata <= limits.max else int(source.nodata)
    values = read_on_grid(source, geobox, resampling, nodata)
    if nodata:
        values[values == nodata] = 0
    dtype, last = (np.uint8, LAST_CLASS) if claim.band == SCL else (np.uint16, 65535)
    if values.dtype != np.uint16 or claim.band == SCL:
        wrong = values[(values < 0) | (values > last)]
        if wrong.size:
            what = "scene classes" if claim.band == SCL else "digital numbers"
            raise claim.contradiction(f"{what} from 0 to {last}", f"{wrong.size} other values, such as {int(wrong[0])},")
    return values.astype(dtype, copy=False)


def is_plain(source: Source, band: str) -> bool:
    """Return whether `read_numbers` changes no value of a file, whatever it holds."""
    return source.dtypes[0] == "uint16" and source.nodata in (None, 0) and band != SCL


def header_of(source: Source) -> dict[str, Any]:
    """Return the grid of a file in the words of catalogues."""
    return {"proj:transform": list(source.transform[:6]), "proj:shape": list(source.shape), "proj:code": str(source.crs)}


def grid_notes(item: str, band: str, stated: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """Return where the catalogue's grid contradicts the file's own header, which is used."""
    notes = []
    for key, value in stated.items():
        if key not in header:
            continue
        same = value == header[key] if key != "proj:transform" else np.allclose(value[:6], header[key], rtol=1e-9, atol=1e-6)
        if not same:
            notes.append(f"{item} {band}: {key} of the catalogue {value} contradicts the file's header {header[key]}, which is used")
    return notes
