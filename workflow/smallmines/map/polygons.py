"""Mines of a year as polygons: connected pixels of the mosaic of the masks, with their area, probability, review and dates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.core import raster
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.optional import pandera
from smallmines.grid.lattice import Lattice
from smallmines.labels.tables import VALIDATED
from smallmines.map.dates import NEVER, ImageDates, day_text
from smallmines.map.mosaics import PROBABILITY_NODATA, PROVENANCE_CODES
from smallmines.map.schemas import day_column, table_schema, tiles_column

if TYPE_CHECKING:
    import geopandas as gpd

STRIP = 512
"""Rows of a strip in pixels, at least; strips are whole rows of tiles."""

EIGHT = np.ones((3, 3), np.uint8)
"""Neighbours of a pixel: also those that it touches with a corner."""

HECTARE = 10_000.0
"""Square metres."""


@dataclass(frozen=True)
class MapFiles:
    """Mosaics of a year.

    Attributes:
        mask, probability, provenance: paths; the last two are None where the masks are released ones.
        value: of the mask whose pixels become polygons.
    """

    mask: str
    probability: str | None = None
    provenance: str | None = None
    value: int = 1


MEANINGS = {
    "mine": "Number of the mine, from 1, by its first pixel, row by row from the north-west.",
    "year": "Year of the images.",
    "area_ha": "Area in ha: number of pixels times the area of a pixel.",
    "probability": "Mean probability of mining of its pixels by the forest, 0 to 1; empty without a forest.",
    "seen_share": "Share of its pixels whose label people of this run decided, 0 to 1.",
    "image_date_first": "Day of the earliest Sentinel-2 image that its pixels come from, YYYY-MM-DD; empty where none has data.",
    "image_date_last": "Day of the latest one.",
    "tile_ids": "Tiles that it has pixels in, sorted.",
}
"""Meaning of each column beside the outline (multipolygon in the CRS of the run)."""


def mines_schema() -> Any:
    """Return the schema of `mines.parquet` (pandera) without its geometry: the columns of `MEANINGS` in order, with type and range."""
    pa = pandera()
    share = pa.Check.in_range(0, 1)
    columns = {
        "mine": pa.Column("int32", pa.Check.gt(0), unique=True),
        "year": pa.Column("int32"),
        "area_ha": pa.Column("float64", pa.Check.gt(0)),
        "probability": pa.Column("float32", share, nullable=True),
        "seen_share": pa.Column("float32", share),
        "image_date_first": day_column(),
        "image_date_last": day_column(),
        "tile_ids": tiles_column(),
    }
    return table_schema(columns, MEANINGS)


def write_mines(
    files: MapFiles, lattice: Lattice, year: str, dates: ImageDates, smallest_px: int, parquet: str | Path, flatgeobuf: str | Path
) -> None:
    """Write the mines of a year as GeoParquet and FlatGeobuf, see `mines` and `write_table`."""
    table = mines(files, lattice, year, dates, smallest_px)
    write_table(table, mines_schema(), "mines", parquet, flatgeobuf)
    logger.info("%s: %d mines, %.1f ha", year, len(table), table["area_ha"].sum())


def write_table(table: gpd.GeoDataFrame, schema: Any, layer: str, parquet: str | Path, flatgeobuf: str | Path) -> None:
    """Write polygons as GeoParquet and FlatGeobuf; in the latter `tile_ids` is a text joined by blanks.

    Args:
        schema: of the columns beside the geometry (pandera).
        layer: name of the layer of FlatGeobuf.
    """
    schema.validate(table.drop(columns="geometry"))
    with written(parquet) as beside:
        table.to_parquet(beside, index=False)
    flat = table.assign(tile_ids=[" ".join(names) for names in table["tile_ids"]])
    with written(flatgeobuf) as beside:
        flat.to_file(beside, driver="FlatGeobuf", engine="pyogrio", layer=layer, geometry_type="MultiPolygon", promote_to_multi=True)


def mines(files: MapFiles, lattice: Lattice, year: str, dates: ImageDates, smallest_px: int) -> gpd.GeoDataFrame:
    """Return the mines of a year: groups of pixels of mining that touch with a side or a corner.

    The mosaics are read in strips; what is kept grows with the number of mines and their outlines, not with the area.

    Args:
        smallest_px: mines of fewer pixels are left out.

    Returns:
        A row a mine in the order of `mine`: the columns of `mines_schema` and the outline (multipolygon, in the CRS of the run).
    """
    import geopandas as gpd
    import pandas as pd

    strips = list(_strips(files, lattice, dates))
    number = _numbers(strips)
    pixels = _sum(number, strips, "pixels")
    first_pixel = _least(number, strips, "first_pixel")
    order = np.argsort(first_pixel, kind="stable")
    kept = order[pixels[order] >= smallest_px]
    counted = _sum(number, strips, "with_probability")
    with np.errstate(invalid="ignore"):
        probability = _sum(number, strips, "percent") / counted / 100
    pixel_ha = abs(lattice.geobox.transform.a * lattice.geobox.transform.e) / HECTARE
    first, last = _least(number, strips, "first_day"), -_least(number, strips, "last_day", -1)
    outlines, tiles = _outlines(number, strips), _tiles(number, strips, lattice)
    return gpd.GeoDataFrame(
        {
            "mine": np.arange(1, len(kept) + 1, dtype=np.int32),
            "year": np.full(len(kept), int(year), np.int32),
            "area_ha": np.round(pixels[kept] * pixel_ha, 6),
            "probability": probability[kept].round(4).astype(np.float32),
            "seen_share": (_sum(number, strips, "seen")[kept] / pixels[kept]).round(4).astype(np.float32),
            "image_date_first": np.array([day_text(int(day)) for day in first[kept]], object),
            "image_date_last": np.array([day_text(int(day)) for day in last[kept]], object),
            "tile_ids": pd.Series([tiles[mine] for mine in kept.tolist()], dtype=object),
        },
        geometry=gpd.GeoSeries([outlines[mine] for mine in kept.tolist()], crs=str(lattice.geobox.crs)),
        crs=str(lattice.geobox.crs),
    )


@dataclass(frozen=True)
class _Strip:
    """Parts of mines in a strip, numbered from 0 by their first pixel.

    Attributes:
        sums: by name, a number a part: pixels, percent (sum), with_probability, seen, first_pixel (on the run's lattice), first_day,
            last_day.
        top, bottom: number of the part in each pixel of the first and last row, -1 outside.
        tiles: pairs of part and column of tiles, (pair, 2); tile_row: row of tiles of each pair.
        shapes: outline and number of each part; a part may have several.
    """

    sums: Mapping[str, NDArray[Any]]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    tiles: NDArray[np.int64]
    shapes: Sequence[tuple[int, Any]]

    @property
    def parts(self) -> int:
        return len(self.sums["pixels"])


def _strips(files: MapFiles, lattice: Lattice, dates: ImageDates) -> Iterator[_Strip]:
    """Yield the parts of mines of each strip, from the north."""
    geobox, side = lattice.geobox, lattice.tile_size
    for window in raster.strips(geobox.shape, max(1, STRIP // side) * side):
        mining = _window(files.mask, lattice, window) == files.value
        percent = None if files.probability is None else _window(files.probability, lattice, window)
        provenance = None if files.provenance is None else _window(files.provenance, lattice, window)
        yield _strip(mining, percent, provenance, dates, lattice, window)


def _window(path: str, lattice: Lattice, window: Window) -> NDArray[np.uint8]:
    with raster.opened(path) as source:
        raster.require_grid(source, lattice.geobox)
        pixels: NDArray[np.uint8] = source.read(1, window=window)
        return pixels


def _strip(
    mining: NDArray[np.bool_],
    percent: NDArray[np.uint8] | None,
    provenance: NDArray[np.uint8] | None,
    dates: ImageDates,
    lattice: Lattice,
    window: Window,
) -> _Strip:
    """Number the parts of mines in a strip and sum up their pixels."""
    import shapely
    from rasterio.features import shapes
    from scipy.ndimage import label

    numbered, count = label(mining, EIGHT)
    numbered = numbered.astype(np.int32) - 1
    row, col = np.nonzero(mining)
    part = numbered[row, col]
    place = (row + int(window.row_off)).astype(np.int64) * lattice.geobox.shape.x + col
    days = [image[row, col] for image in dates.read(window)] if count else [np.zeros(0, np.int32)] * 2
    share = np.full(len(part), PROBABILITY_NODATA, np.uint8) if percent is None else percent[row, col]
    valid = share != PROBABILITY_NODATA
    codes = [PROVENANCE_CODES[name] for name in VALIDATED]
    seen = np.zeros(len(part), bool) if provenance is None else np.isin(provenance[row, col], codes)
    sums: dict[str, NDArray[Any]] = {
        "pixels": np.bincount(part, minlength=count),
        "percent": np.bincount(part[valid], share[valid], minlength=count),
        "with_probability": np.bincount(part[valid], minlength=count),
        "seen": np.bincount(part[seen], minlength=count),
        "first_pixel": np.full(count, np.iinfo(np.int64).max),
        "first_day": np.full(count, NEVER[0], np.int64),
        "last_day": np.full(count, NEVER[1], np.int64),
    }
    np.minimum.at(sums["first_pixel"], part, place)
    np.minimum.at(sums["first_day"], part, days[0])
    np.maximum.at(sums["last_day"], part, days[1])
    side = lattice.tile_size
    tiles = np.unique(np.column_stack([part, (row + int(window.row_off)) // side, col // side]).astype(np.int64), axis=0)
    transform = rasterio.windows.transform(window, lattice.geobox.transform)
    outlines = [(int(number), shapely.geometry.shape(shape)) for shape, number in shapes(numbered, mining, 4, transform)]
    return _Strip(sums, numbered[0], numbered[-1], tiles, outlines)


def _numbers(strips: Sequence[_Strip]) -> NDArray[np.int64]:
    """Return the number of the mine, from 0, of each part of all strips: parts that touch across two strips are one mine."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    starts = _starts(strips)
    pairs = [np.zeros((2, 0), np.int64)]
    for number, (above, below) in enumerate(pairwise(strips)):
        upper, lower = (np.pad(line.astype(np.int64), 1, constant_values=-1) for line in (above.bottom, below.top))
        for shift in (-1, 0, 1):
            moved = np.roll(lower, shift)
            meet = (upper >= 0) & (moved >= 0)
            pairs.append(np.stack([upper[meet] + starts[number], moved[meet] + starts[number + 1]]))
    total, (upper, lower) = int(starts[-1]), np.concatenate(pairs, axis=1)
    if not total:
        return np.zeros(0, np.int64)
    _, number_of = connected_components(coo_array((np.ones(len(upper), np.int8), (upper, lower)), (total, total)), directed=False)
    return np.asarray(number_of, np.int64)


def _starts(strips: Sequence[_Strip]) -> NDArray[np.int64]:
    """Return the number of the first part of each strip among those of all, and of all parts."""
    return np.concatenate([[0], np.cumsum([strip.parts for strip in strips])]).astype(np.int64)


def _all(strips: Sequence[_Strip], name: str) -> NDArray[Any]:
    return np.concatenate([strip.sums[name] for strip in strips])


def _sum(number: NDArray[np.int64], strips: Sequence[_Strip], name: str) -> NDArray[np.float64]:
    """Return a sum over the parts of each mine."""
    return np.asarray(np.bincount(number, _all(strips, name)), np.float64)


def _least(number: NDArray[np.int64], strips: Sequence[_Strip], name: str, sign: int = 1) -> NDArray[np.int64]:
    """Return the least of the numbers of the parts of each mine, times `sign`."""
    least = np.full(int(number.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, number, sign * _all(strips, name))
    return least


def _outlines(number: NDArray[np.int64], strips: Sequence[_Strip]) -> dict[int, Any]:
    """Return the outline of each mine as a multipolygon, without points on straight lines: it does not tell the strips."""
    import shapely

    shapes: dict[int, list[Any]] = {}
    for start, strip in zip(_starts(strips), strips, strict=False):
        for part, shape in strip.shapes:
            shapes.setdefault(int(number[start + part]), []).append(shape)
    return {mine: _joined(shapely.make_valid(np.array(parts, object))) for mine, parts in shapes.items()}


def _joined(parts: NDArray[Any]) -> Any:
    import shapely

    joined = shapely.simplify(shapely.normalize(shapely.union_all(parts)), 0)
    return shapely.normalize(shapely.multipolygons(shapely.get_parts(joined)))


def _tiles(number: NDArray[np.int64], strips: Sequence[_Strip], lattice: Lattice) -> dict[int, list[str]]:
    """Return the sorted ids of the tiles of each mine."""
    ids = {(tile.row, tile.col): tile.tile_id for tile in lattice.tiles}
    tiles: dict[int, set[str]] = {}
    for start, strip in zip(_starts(strips), strips, strict=False):
        for part, row, col in strip.tiles.tolist():
            tiles.setdefault(int(number[start + part]), set()).add(ids[row, col])
    return {mine: sorted(names) for mine, names in tiles.items()}
