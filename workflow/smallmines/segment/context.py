"""Compute context features of the segments of a block: radar and spectral indices, of each segment and in windows around it.

A window is a square around the segment's interior point; it ends at the frame of the block's grid and leaves out pixels without data.
Sums over windows are differences of cumulative sums of a strip of rows with a margin: no step loops over segments, and memory does not
grow with the height of the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import LARGEST_DB, OFFSET
from smallmines.core.readable import read_parquet
from smallmines.core.software import TABLES, TAG, of_packages
from smallmines.grid.lattice import read_lattice
from smallmines.segment.features import read_features

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

Floats = NDArray[np.float64]

WINDOWS = (9, 21)
"""Sides of the windows in pixels, odd."""

RADAR = ("VV", "VH")
INDEX_BANDS = ("B02", "B03", "B04", "B08", "B11")
INDICES = ("NDVI", "MNDWI", "BSI")

CONTEXT = tuple(name if side is None else f"{name}_{side}" for side in (None, *WINDOWS) for name in (*RADAR, *INDICES))
"""Names of the context features: `NDVI` is of the segment, `NDVI_9` of the window of 9 pixels."""

DECIMALS = 4
"""Decimals of the features: logarithms and powers may differ in their last bits between processors."""


@dataclass(frozen=True)
class Inputs:
    """Products of a block and year that its context features are computed from.

    Attributes:
        segments: label raster, 0 outside.
        features: table of features, for means and interior points.
        s2: uint16 bands B02…B12, nodata 0; its tag RADIOMETRY says whether they have the offset (`native` counts as without).
        s1: float32 dB, VV and VH, nodata NaN.
        grid: `grid.json`.
    """

    segments: str | Path
    features: str | Path
    s2: str | Path
    s1: str | Path
    grid: str | Path


@dataclass(frozen=True)
class Points:
    """Interior points of segments: row and col of each in the block's grid, int64 (segment,)."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Positions of the segments from the northernmost point to the southernmost."""
        return np.argsort(self.row, kind="stable")

    @classmethod
    def of(cls, features: pd.DataFrame, geobox: GeoBox) -> Points:
        """Return the pixels of the points x, y of a table of features."""
        col, row = ~geobox.affine * (features["x"].to_numpy(np.float64), features["y"].to_numpy(np.float64))
        return cls(np.floor(row).astype(np.int64), np.floor(col).astype(np.int64))

    def within(self, window: Window) -> NDArray[np.int64]:
        """Return the positions of the segments whose point lies in a strip."""
        first, last = np.searchsorted(self.row, (window.row_off, window.row_off + window.height), sorter=self.order)
        return self.order[first:last]


def describe_context(inputs: Inputs, block: str, context_out: str | Path) -> None:
    """Write `context.parquet`: one row per segment in the order of the ids; the columns of `context_schema`.

    Raises:
        UserError: an input is missing, lacks a band, lies on another grid or is of another segmentation.
    """
    geobox = read_lattice(inputs.grid).block(block)
    labels, features = raster.read(inputs.segments, geobox)[0], read_features(inputs.features)
    if int(labels.max(initial=0)) != len(features):
        found = f"{int(labels.max(initial=0))} in {inputs.segments}"
        raise UserError(f"the {len(features)} segments of {inputs.features}", found, "delete both and run again")
    with raster.opened(inputs.s2) as s2, raster.opened(inputs.s1) as s1:
        for source in (s2, s1):
            raster.require_grid(source, geobox)
        table = context_features(labels, features, Points.of(features, geobox), s2, s1)
    table.insert(0, "segment", features["segment"])
    with written(context_out) as beside:
        validated = context_schema().validate(table)
        validated.attrs[TAG] = of_packages(TABLES)
        validated.to_parquet(beside, index=False)
    without = [int(table[name].isna().sum()) for name in ("VV", f"VV_{max(WINDOWS)}")]
    text = "block %s: context of %d segments; without Sentinel-1 %d of them, and %d windows of %d px"
    logger.info(text, block, len(table), *without, max(WINDOWS))


def context_features(labels: NDArray[np.uint32], means: pd.DataFrame, points: Points, s2: DatasetReader, s1: DatasetReader) -> pd.DataFrame:
    """Return the context features `CONTEXT`, one row per segment 1..n, float32; NaN where no pixel has data.

    Radar is averaged as linear power and given in dB. Indices are those of the mean reflectance: NDVI (Rouse et al. 1974), MNDWI (Xu
    2006, doi 10.1080/01431160600589179), bare-soil index (Rikimaru et al. 2002); NaN where the reflectances have no positive sum.

    Args:
        labels: label raster (row, column), 0 outside segments.
        means: means of the bands of s2, with its offset (segment,).
        points: interior points of the segments.
        s2, s1: see `Inputs`.
    """
    import pandas as pd

    count, offset = len(means), OFFSET if s2.tags().get("RADIOMETRY") == "dn_plus1000" else 0
    radar = {name: np.zeros(count + 1) for name in (*RADAR, "radar pixels")}
    sums = {(name, side): np.zeros(count) for name in (*INDEX_BANDS, *radar, "pixels") for side in WINDOWS}
    for window, wide in strips_with_margin((labels.shape[0], labels.shape[1]), max(WINDOWS) // 2):
        own = points.within(window)
        corners = {side: window_corners(points.row[own] - wide.row_off, points.col[own], side // 2, wide) for side in WINDOWS}
        inside = slice(int(window.row_off - wide.row_off), int(window.row_off - wide.row_off + window.height))
        segment = labels[window.toslices()].ravel()
        for name, values in _layers(s2, s1, wide):
            table = cumulative(values)
            for side in WINDOWS:
                sums[name, side][own] = window_sums(table, corners[side])
            if name in radar:
                part = np.bincount(segment, values[inside].ravel())
                radar[name][: len(part)] += part
    columns = _radar_columns({name: values[1:] for name, values in radar.items()}, "")
    columns |= _index_columns({band: means[band].to_numpy(np.float64) - offset for band in INDEX_BANDS}, "")
    for side in WINDOWS:
        columns |= _radar_columns({name: sums[name, side] for name in radar}, f"_{side}")
        columns |= _index_columns({band: sums[band, side] - offset * sums["pixels", side] for band in INDEX_BANDS}, f"_{side}")
    return pd.DataFrame({name: columns[name].round(DECIMALS).astype(np.float32) for name in CONTEXT})


def _layers(s2: DatasetReader, s1: DatasetReader, window: Window) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and values of each layer that is summed in a window (row, column), 0 where it has no data.

    Digital numbers and counts are uint32: cumulative sums may pass 2^32, and their differences are exact all the same, modulo 2^32.
    """
    cube = s2.read(raster.band_indices(s2, INDEX_BANDS), window=window).astype(np.uint32)
    yield "pixels", (cube[0] > 0).astype(np.uint32)
    yield from zip(INDEX_BANDS, cube, strict=True)
    decibel = s1.read(raster.band_indices(s1, RADAR), window=window)
    seen = (np.isfinite(decibel) & (np.abs(decibel) <= LARGEST_DB)).all(axis=0)  # beyond, no ground: it would drown the sums
    yield "radar pixels", seen.astype(np.uint32)
    for name, band in zip(RADAR, decibel, strict=True):
        yield name, np.where(seen, 10 ** (band.astype(np.float64) / 10), 0)


def strips_with_margin(shape: tuple[int, int], margin: int) -> Iterator[tuple[Window, Window]]:
    """Yield the strips of a raster, and each widened by `margin` rows above and below, as far as the raster goes."""
    for window in raster.strips(shape):
        top, bottom = max(0, window.row_off - margin), min(shape[0], window.row_off + window.height + margin)
        yield window, Window(0, top, window.width, bottom - top)


def cumulative(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sums of all pixels above and left of each corner of a pixel, (row + 1, column + 1), of the same dtype."""
    table: NDArray[Any] = np.zeros((values.shape[0] + 1, values.shape[1] + 1), values.dtype)
    np.cumsum(values, axis=0, out=table[1:, 1:])
    table[1:, 1:] = np.cumsum(table[1:, 1:], axis=1)
    return table


def window_sums(table: NDArray[Any], corners: tuple[NDArray[np.int64], ...]) -> NDArray[Any]:
    """Return sums over windows from cumulative sums and the flat indices of the corners (see `window_corners`)."""
    flat = table.ravel()
    north_west, north_east, south_west, south_east = corners
    sums: NDArray[Any] = flat[south_east] - flat[north_east] - flat[south_west] + flat[north_west]
    return sums


def window_corners(row: NDArray[np.int64], col: NDArray[np.int64], reach: int, wide: Window) -> tuple[NDArray[np.int64], ...]:
    """Return the flat indices of the four corners of windows of 2 · reach + 1 px in a table of cumulative sums, cut at its frame."""
    height, width = int(wide.height), int(wide.width)
    north, south = (np.clip(row + step, 0, height) * (width + 1) for step in (-reach, reach + 1))
    west, east = (np.clip(col + step, 0, width) for step in (-reach, reach + 1))
    return north + west, north + east, south + west, south + east


def _radar_columns(sums: dict[str, Floats], suffix: str) -> dict[str, Floats]:
    """Return dB of the mean power of VV and VH; NaN where no pixel has data."""
    count = np.where(sums["radar pixels"] > 0, sums["radar pixels"], np.nan)  # without pixels differences of sums leave a rest
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name + suffix: 10 * np.log10(sums[name] / count) for name in RADAR}


def _index_columns(bands: dict[str, Floats], suffix: str) -> dict[str, Floats]:
    """Return the spectral indices of reflectances in any unit."""
    pairs = {
        "NDVI": (bands["B08"], bands["B04"]),
        "MNDWI": (bands["B03"], bands["B11"]),
        "BSI": (bands["B11"] + bands["B04"], bands["B08"] + bands["B02"]),
    }
    return {f"{name}{suffix}": _normalised_difference(*pair) for name, pair in pairs.items()}


def _normalised_difference(a: Floats, b: Floats) -> Floats:
    """Return (a − b) / (a + b), at most 1 either way (a reflectance can be negative); NaN where the sum is not positive."""
    total = a + b
    ratio: Floats = np.divide(a - b, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.clip(ratio, -1, 1)


def context_schema() -> Any:
    """Return the schema of `context.parquet` (pandera): every column in order, with its type; no other columns.

    segment: id, 1..n. VV, VH: dB of the mean power. NDVI, MNDWI, BSI: of the mean reflectance, −1…1.
    `_9`, `_21`: of the window of so many pixels. Null where no pixel has data.
    """
    from smallmines.core.optional import pandera

    pa = pandera()
    columns = {"segment": pa.Column("uint32", pa.Check.gt(0), unique=True)}
    return pa.DataFrameSchema(columns | {name: pa.Column("float32", nullable=True) for name in CONTEXT}, strict=True, ordered=True)


def read_context(path: str | Path) -> pd.DataFrame:
    """Read and validate `context.parquet`.

    Raises:
        UserError: the file does not match `context_schema`.
    """
    import pandas as pd
    import pandera.errors

    try:
        table = pd.DataFrame(context_schema().validate(read_parquet(path)))
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors) as error:
        raise UserError(
            f"a table of context features at {path}", " ".join(str(error).split())[:300], "delete the file and run again"
        ) from error
    table.attrs.clear()
    return table
