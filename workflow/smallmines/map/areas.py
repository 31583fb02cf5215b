"""Areas of mining by unit and year: what the map says, and what the accuracy sample says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.optional import pandera
from smallmines.core.product import MASK_NODATA
from smallmines.core.schemas import text_column
from smallmines.grid.lattice import Lattice
from smallmines.map.estimates import domain_estimate
from smallmines.map.schemas import hectares_column, table_schema
from smallmines.map.units import Unit, inside

if TYPE_CHECKING:
    import pandas as pd

MEANINGS = {
    "layer": "Layer of the unit: run, aoi, or the name of a file of map.units.",
    "unit": "Name of the unit.",
    "year": "Year of the images.",
    "area_ha": "Area of the unit inside the tiles of the run, ha.",
    "mapped_ha": "Of this, mapped as mining.",
    "unmapped_ha": "Of this, without a class in the mask: no Sentinel-2 data, or a label left open.",
    "overlap_ha": "Of this, also in another unit of the layer; such pixels count in both.",
    "points": "Interpreted points of the accuracy sample in the unit.",
    "mining_points": "Of these, mining.",
    "mining_ha": "Area of mining estimated from the points, ha; empty where it cannot be estimated.",
    "low": "Lower end of its 95 % interval, ha.",
    "high": "Upper end, ha.",
    "why": "Why there is no estimate.",
}
"""Meaning of each column."""


def areas_schema() -> Any:
    """Return the schema of `areas.csv` (pandera): the columns of `MEANINGS` in order, with type and range."""
    pa = pandera()
    columns = {
        **{name: text_column() for name in ("layer", "unit", "year")},
        **{name: hectares_column() for name in ("area_ha", "mapped_ha", "unmapped_ha", "overlap_ha")},
        **{name: pa.Column("int64", pa.Check.ge(0)) for name in ("points", "mining_points")},
        **{name: hectares_column(nullable=True) for name in ("mining_ha", "low", "high")},
        "why": text_column(),
    }
    return table_schema(columns, MEANINGS)


@dataclass
class _Tally:
    """Pixels of a unit, counted strip by strip.

    Attributes:
        pixels: in the tiles of the run; overlap: of these, in another unit of the layer.
        blocks: pixels by number of the block.
        mapped, unmapped: by year.
        points: by year, which points of the sample lie in the unit.
    """

    blocks: NDArray[np.int64]
    points: dict[str, NDArray[np.bool_]]
    pixels: int = 0
    overlap: int = 0
    mapped: dict[str, int] = field(default_factory=dict)
    unmapped: dict[str, int] = field(default_factory=dict)


def write_areas(
    layers: Sequence[Sequence[Unit]], masks: Mapping[str, str], points: Mapping[str, pd.DataFrame], lattice: Lattice, target: str | Path
) -> None:
    """Write `areas.csv`, see `areas`."""
    table = areas_schema().validate(areas(layers, masks, points, lattice))
    with written(target) as beside:
        table.to_csv(beside, index=False, lineterminator="\n")
    logger.info("%d areas of %d units", len(table), len(table[["layer", "unit"]].drop_duplicates()))


def areas(layers: Sequence[Sequence[Unit]], masks: Mapping[str, str], points: Mapping[str, pd.DataFrame], lattice: Lattice) -> pd.DataFrame:
    """Return the areas of each unit in each year: the columns of `MEANINGS`.

    Units without a pixel in the tiles of the run are left out. A pixel is in a unit if its centre is.

    Args:
        layers: units of each layer.
        masks: mosaic of the masks by year.
        points: accuracy sample by year, see `estimates.read_points`; empty tables where there is none.

    Raises:
        UserError: no unit of a layer has a pixel in the tiles.
    """
    import pandas as pd

    rows = []
    pixel_ha = abs(lattice.geobox.transform.a * lattice.geobox.transform.e) / 10_000
    for units, tallies in zip(layers, _counted(layers, masks, points, lattice), strict=True):
        present = [(unit, tally) for unit, tally in zip(units, tallies, strict=True) if tally.pixels]
        if not present:
            layer = units[0].layer
            do = "give a layer of the area of the run, or check its CRS; or leave it out of map.units"
            raise UserError(f"units of the layer {layer} in the tiles of the run", f"none of {len(units)} has a pixel there", do)
        if overlap := [unit.name for unit, tally in present if tally.overlap]:
            logger.warning("layer %s: %d units overlap others (overlap_ha): %s", units[0].layer, len(overlap), ", ".join(overlap[:5]))
        if left_out := len(units) - len(present):
            logger.info("layer %s: %d units lie outside the tiles of the run and are left out", units[0].layer, left_out)
        rows += [_row(unit, tally, year, points[year], lattice, pixel_ha) for unit, tally in present for year in sorted(masks)]
    return pd.DataFrame(rows, columns=list(MEANINGS)).astype({"mining_ha": np.float64, "low": np.float64, "high": np.float64})


def _row(unit: Unit, tally: _Tally, year: str, points: pd.DataFrame, lattice: Lattice, pixel_ha: float) -> dict[str, Any]:
    blocks = [name for name, count in zip(lattice.windows, tally.blocks[1:], strict=True) if count]
    estimate = domain_estimate(points, tally.points[year], blocks)
    mining = estimate.pixels
    ends = (None, None, None) if mining is None else tuple(min(end, tally.pixels) for end in (mining.value, mining.low, mining.high))
    return {
        "layer": unit.layer,
        "unit": unit.name,
        "year": year,
        "area_ha": round(tally.pixels * pixel_ha, 4),
        "mapped_ha": round(tally.mapped[year] * pixel_ha, 4),
        "unmapped_ha": round(tally.unmapped[year] * pixel_ha, 4),
        "overlap_ha": round(tally.overlap * pixel_ha, 4),
        "points": estimate.points,
        "mining_points": estimate.mining_points,
        **{name: None if end is None else round(end * pixel_ha, 4) for name, end in zip(("mining_ha", "low", "high"), ends, strict=True)},
        "why": estimate.why,
    }


def _counted(
    layers: Sequence[Sequence[Unit]], masks: Mapping[str, str], points: Mapping[str, pd.DataFrame], lattice: Lattice
) -> list[list[_Tally]]:
    """Count the pixels of each unit of each layer, strip by strip."""
    tallies = [[_tally(masks, points, lattice) for _ in units] for units in layers]
    for window in raster.strips(lattice.geobox.shape):
        top, height = int(window.row_off), int(window.height)
        block = block_numbers(lattice, top, height)
        mask = {}
        for year, path in masks.items():
            with raster.opened(path) as source:
                raster.require_grid(source, lattice.geobox)
                mask[year] = source.read(1, window=window)
        part_of_grid = raster.window_geobox(lattice.geobox, window)
        at = {year: np.flatnonzero(table["row"].between(top, top + height - 1).to_numpy()) for year, table in points.items()}
        for units, own in zip(layers, tallies, strict=True):
            parts = [(number, place, pixels & (block[place] > 0)) for number, place, pixels in inside(units, part_of_grid)]
            times = np.zeros(block.shape, np.uint16)
            for _, place, pixels in parts:
                times[place] += pixels
            for number, place, pixels in parts:
                tally = own[number]
                tally.pixels += int(pixels.sum())
                tally.overlap += int((times[place][pixels] > 1).sum())
                tally.blocks += np.bincount(block[place][pixels], minlength=len(tally.blocks))
                for year, values in mask.items():
                    counts = np.bincount(values[place][pixels], minlength=256)
                    tally.mapped[year] += int(counts[1])
                    tally.unmapped[year] += int(counts[MASK_NODATA])
                    tally.points[year][at[year]] |= _hit(points[year].iloc[at[year]], pixels, place, top)
    return tallies


def _tally(masks: Mapping[str, str], points: Mapping[str, pd.DataFrame], lattice: Lattice) -> _Tally:
    zeros = dict.fromkeys(masks, 0)
    return _Tally(
        np.zeros(len(lattice.windows) + 1, np.int64),
        {year: np.zeros(len(table), bool) for year, table in points.items()},
        mapped=dict(zeros),
        unmapped=dict(zeros),
    )


def _hit(points: pd.DataFrame, pixels: NDArray[np.bool_], place: tuple[slice, slice], top: int) -> NDArray[np.bool_]:
    """Return which points lie in the pixels of a part of a strip."""
    rows, cols = place
    row, col = points["row"].to_numpy() - top - rows.start, points["col"].to_numpy() - cols.start
    within = (row >= 0) & (row < pixels.shape[0]) & (col >= 0) & (col < pixels.shape[1])
    hit = np.zeros(len(points), bool)
    hit[within] = pixels[row[within], col[within]]
    return hit


def block_numbers(lattice: Lattice, top: int, height: int) -> NDArray[np.int32]:
    """Return the place of each pixel's block in `lattice.windows`, from 1, in rows of the run's lattice; 0 outside the tiles."""
    side = lattice.tile_size
    number = {name: place for place, name in enumerate(lattice.windows, 1)}
    first, last = top // side, (top + height - 1) // side
    coarse = np.zeros((last - first + 1, lattice.geobox.shape.x // side), np.int32)
    for tile in lattice.tiles:
        if first <= tile.row <= last:
            coarse[tile.row - first, tile.col] = number[tile.block]
    fine = coarse.repeat(side, 0).repeat(side, 1)
    return fine[top - first * side : top - first * side + height]
