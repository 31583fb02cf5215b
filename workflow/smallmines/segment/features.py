"""Compute the table of features of a block: one row per segment of the label raster, by raster arithmetic.

Labels are uint32, 1..n in row-major order of each segment's first pixel, 0 outside, and each segment is connected (see
`smallmines.segment.segmentation`). No step loops over segments or pixels; rasters are read in strips.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.core.readable import read_parquet
from smallmines.core.software import TABLES, TAG, of_packages
from smallmines.grid.lattice import Lattice, read_lattice

if TYPE_CHECKING:
    import pandas as pd


Labels = NDArray[np.uint32]

COLUMNS_ASIDE = 12
"""Columns on each side that are searched for the outline of a segment, pixel by pixel."""


def describe(
    labels_path: str | Path,
    composite: str | Path,
    clear: str | Path,
    dem: str | Path,
    grid: str | Path,
    block: str,
    features_out: str | Path,
) -> None:
    """Write `features.parquet`: one row per segment in the order of the ids; the columns of `features_schema`.

    Args:
        labels_path: the label raster of `segment`.
        composite: uint16 Sentinel-2 bands B02…B12, nodata 0.
        clear: uint8, 0 = not clear.
        dem: float32 m, nodata NaN.

    Raises:
        UserError: an input is missing, lacks a band or lies on another grid.
    """
    lattice = read_lattice(grid)
    labels = raster.read(labels_path, lattice.block(block))[0]
    with raster.opened(composite) as s2, raster.opened(clear) as clear_source, raster.opened(dem) as heights:
        for source in (s2, clear_source, heights):
            raster.require_grid(source, lattice.block(block))
        table = features(labels, s2, clear_source, heights, lattice, block)
    with written(features_out) as beside:
        validated = features_schema().validate(table)
        validated.attrs[TAG] = of_packages(TABLES)
        validated.to_parquet(beside, index=False)
    logger.info("block %s: %d segments described, %d without elevation", block, len(table), int(table["DEM"].isna().sum()))


def features(labels: Labels, s2: DatasetReader, clear: DatasetReader, dem: DatasetReader, lattice: Lattice, block: str) -> pd.DataFrame:
    """Return the rows of `describe`, from labels (row, column) and open rasters on the block's grid."""
    import pandas as pd

    count = int(labels.max(initial=0))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    sums = strip_sums(labels, count, s2, clear, dem)
    point = interior_points(labels, count)
    row, col = np.divmod(point, labels.shape[1])
    step_x, _, left, _, step_y, top = tuple(lattice.block(block).transform)[:6]
    columns: dict[str, Any] = {"segment": np.arange(1, count + 1, dtype=np.uint32), "area": area.astype(np.uint32)}
    columns |= {band: (sums[band] / area).astype(np.float32) for band in S2_BANDS}
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["DEM"] = (sums["DEM"] / sums["DEM pixels"]).astype(np.float32)
    columns |= {"x": left + (col + 0.5) * step_x, "y": top + (row + 0.5) * step_y}
    columns |= {"key": content_keys(labels, count, lattice, block), "tile_id": tiles_at(lattice, block, row, col)}
    return pd.DataFrame(columns | {"clear_share": (sums["clear"] / area).astype(np.float32)})


def strip_sums(labels: Labels, count: int, s2: DatasetReader, clear: DatasetReader, dem: DatasetReader) -> dict[str, NDArray[np.float64]]:
    """Return, per segment 1..count, the sums of each Sentinel-2 band, of clear pixels, of heights and of pixels with a height, (count,).

    Sums are float64 in raster order, strip by strip: exact for integers, and the same on every machine for heights.
    """
    bands = dict(zip(S2_BANDS, raster.band_indices(s2, S2_BANDS), strict=True))
    sums = {name: np.zeros(count + 1) for name in (*S2_BANDS, "clear", "DEM", "DEM pixels")}
    for window in raster.strips(labels.shape):
        segment = labels[window.toslices()].ravel()

        def add(name: str, values: NDArray[Any], segment: Labels = segment) -> None:
            part = np.bincount(segment, weights=values)
            sums[name][: len(part)] += part

        cube = s2.read(list(bands.values()), window=window)
        for name, values in zip(bands, cube, strict=True):
            add(name, values.ravel())
        add("clear", clear.read(1, window=window).ravel() > 0)
        height = dem.read(1, window=window).ravel()
        valid = np.isfinite(height)
        add("DEM", np.where(valid, height, 0))
        add("DEM pixels", valid)
    return {name: values[1:] for name, values in sums.items()}


def interior_points(labels: Labels, count: int) -> NDArray[np.int64]:
    """Return the row-major index of each segment's pixel whose centre is farthest from the segment's edge; of equals the first, (count,).

    The edge is the outline of the segment's pixels, the raster's frame included.
    """
    distance = squared_distances(labels).ravel()
    flat = labels.ravel()
    farthest = np.zeros(count + 1, distance.dtype)
    np.maximum.at(farthest, flat, distance)
    return first_index(flat, np.flatnonzero(distance == farthest[flat]), count)[1:]


def first_index(flat: NDArray[Any], indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the first of the ascending `indices` at which each label 0..count occurs in `flat` (-1 where it does not), (count + 1,)."""
    first = np.full(count + 1, -1, np.int64)
    first[flat[indices][::-1]] = indices[::-1]  # the last assignment wins
    return first


def squared_distances(labels: Labels) -> NDArray[np.int32]:
    """Return the squared distance of each pixel's centre to the outline of its segment, in half pixels, (row, column); 0 outside segments.

    The nearest point of an outline is the middle or the end of a pixel side, so squares are whole numbers. Each column tells how far its
    own outline is above or below; then columns farther and farther aside are asked, for those pixels alone that may still find a nearer
    point. What is not decided within `COLUMNS_ASIDE` lies in wide segments, which get a distance transform each. The outline of other
    segments does not matter: a straight line to it leaves the own segment first.
    """
    height, width = labels.shape
    segment = np.zeros((height, width + 1), np.uint32)  # the last column stands beside the first one, too
    segment[:, :-1] = labels
    flat, vertical = segment.ravel(), (_vertical_distances(segment) ** 2).ravel()
    squared = np.where(flat > 0, vertical, 0)
    pixel = np.flatnonzero(squared > 1)
    own, nearest = flat[pixel], squared[pixel]
    for aside in range(1, COLUMNS_ASIDE + 1):
        for other in (pixel - aside, pixel + aside):
            np.minimum(nearest, np.where(flat[other] == own, vertical[other], 0) + (2 * aside - 1) ** 2, out=nearest)
        squared[pixel] = nearest
        undecided = nearest > (2 * aside + 1) ** 2
        pixel, own, nearest = pixel[undecided], own[undecided], nearest[undecided]
    result = squared.reshape(segment.shape)[:, :-1]
    if pixel.size:
        _measure_wide(labels, np.unique(own), result)
    return result


def _vertical_distances(segment: Labels) -> NDArray[np.int32]:
    """Return the distance of each pixel's centre to the nearest change of segment in its column, or the frame, in half pixels."""
    distance = np.ones(segment.shape, np.int32)
    for row in range(1, len(segment)):
        np.copyto(distance[row], distance[row - 1] + 2, where=segment[row] == segment[row - 1])
    distance[-1] = 1
    below = distance[-1]
    for row in range(len(segment) - 2, -1, -1):
        below = np.where(segment[row] == segment[row + 1], below + 2, 1)
        np.minimum(distance[row], below, out=distance[row])
    return distance


def _measure_wide(labels: Labels, wide: Labels, squared: NDArray[np.int32]) -> None:
    """Put the squared distances in some segments into `squared`, by the distance transform of a raster of half pixels."""
    from scipy import ndimage

    number = np.zeros(int(labels.max()) + 1, np.int32)
    number[wide] = np.arange(1, len(wide) + 1)
    numbers = number[labels]
    for position, window in enumerate(ndimage.find_objects(numbers), 1):
        inside = numbers[window] == position
        doubled = np.pad(inside, 1).repeat(2, 0).repeat(2, 1)
        tall = doubled[1:-2] & doubled[2:-1]
        free = tall[:, 1:-2] & tall[:, 2:-1]  # points of half a pixel that touch nothing but the segment
        distance = ndimage.distance_transform_edt(free)[1::2, 1::2]
        squared[window][inside] = np.rint(distance[inside] ** 2)


def content_keys(labels: Labels, count: int, lattice: Lattice, block: str) -> NDArray[np.uint64]:
    """Sum, modulo 2^64, `splitmix64` over the segment's pixel indices row · W + column on the run's whole lattice, (count,)."""
    top, left = lattice.offset(block)
    width = np.uint64(lattice.geobox.shape.x)
    keys = np.zeros(count + 1, np.uint64)
    columns = np.arange(left, left + labels.shape[1], dtype=np.uint64)
    for window in raster.strips(labels.shape):
        first = top + int(window.row_off)
        lines = np.arange(first, first + int(window.height), dtype=np.uint64)
        np.add.at(keys, labels[window.toslices()].ravel(), splitmix64(lines[:, np.newaxis] * width + columns).ravel())
    return keys[1:]


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195) at state `values`, modulo 2^64."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def tiles_at(lattice: Lattice, block: str, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return the tile_id at each pixel (row, column in the block's grid); None outside the block's own cells."""
    _, _, height, width = lattice.windows[block]
    cells = lattice.cells_of(block)
    names = np.full((height, width), None, object)
    names[cells["y"] // lattice.tile_size, cells["x"] // lattice.tile_size] = cells["tile_id"]
    tile_ids: NDArray[np.object_] = names[row // lattice.tile_size, col // lattice.tile_size]
    return tile_ids


def features_schema() -> Any:
    """Return the schema of `features.parquet` (pandera): every column in order, with type and range; no other columns.

    segment: id, 1..n. area: in pixels. B02…B12: mean of the band. DEM: mean height in m, null without a height. x, y: interior point
    in the grid's CRS. key: content key. tile_id: tile of the interior point. clear_share: share of the pixels seen clearly.
    """
    from smallmines.core.optional import pandera
    from smallmines.core.schemas import text_column

    pa = pandera()

    def positive(dtype: str, **more: Any) -> Any:
        return pa.Column(dtype, pa.Check.gt(0), **more)

    return pa.DataFrameSchema(
        {
            "segment": positive("uint32", unique=True),
            "area": positive("uint32"),
            **{band: positive("float32") for band in S2_BANDS},
            "DEM": pa.Column("float32", nullable=True),
            "x": pa.Column("float64"),
            "y": pa.Column("float64"),
            "key": pa.Column("uint64", unique=True),
            "tile_id": text_column(),
            "clear_share": pa.Column("float32", pa.Check.in_range(0, 1)),
        },
        checks=pa.Check(lambda table: (table["segment"] == range(1, len(table) + 1)).all(), error="segments are 1..n in order"),
        strict=True,
        ordered=True,
    )


def read_features(path: str | Path) -> pd.DataFrame:
    """Read and validate `features.parquet`.

    Raises:
        UserError: the file does not match `features_schema`.
    """
    import pandas as pd
    import pandera.errors

    try:
        table = pd.DataFrame(features_schema().validate(read_parquet(path)))
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors) as error:
        raise UserError(f"a table of segments at {path}", " ".join(str(error).split())[:300], "delete the file and run again") from error
    table.attrs.clear()
    return table
