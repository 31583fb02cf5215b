"""Images that people label on: composites of all years of a block, as true and false colour, radar and hillshade, and their contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.change_sample import earlier_year
from smallmines.core import raster
from smallmines.core.product import PATCH_BANDS, S1

if TYPE_CHECKING:
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.working_copy import Kind

Style = Literal["true", "false", "radar", "hillshade"]

BANDS: dict[Style, tuple[str, ...]] = {
    "true": ("B04", "B03", "B02"),
    "false": ("B11", "B08", "B04"),
    "radar": ("VV",),
    "hillshade": ("DEM",),
}
"""Bands shown as red, green and blue, or as grey."""

RADAR = PATCH_BANDS[S1]

TITLES: dict[Style, str] = {"true": "true colour", "false": "false colour", "radar": "radar VV", "hillshade": "hillshade"}

THUMBNAIL = 500
"""Least number of pixels along the longer side from which the contrast is measured."""


@dataclass(frozen=True)
class Image:
    """An image of a block.

    Attributes:
        year: of the composite; empty for elevation, which has none.
    """

    style: Style
    year: str
    path: Path

    @property
    def title(self) -> str:
        """Name as people see it, e.g. `2016 true colour`."""
        return f"{self.year} {TITLES[self.style]}".strip()


def images_of(block_year: BlockYear, first_year: str) -> list[Image]:
    """List the images of a block that exist: by style, in the order of `BANDS`, and in a style by year.

    Args:
        first_year: comes before the other years.
    """
    layout, block = block_year.layout, block_year.block
    years = sorted(block_year.config.year_names, key=lambda year: year != first_year)
    images = [Image("true", year, layout.s2(year, block)) for year in years]
    images += [Image("false", year, layout.s2(year, block)) for year in years]
    images += [Image("radar", year, layout.s1(year, block)) for year in years]
    images.append(Image("hillshade", "", layout.dem(block)))
    return [image for image in images if image.path.is_file()]


def year_to_label(block_year: BlockYear, kind: Kind) -> str:
    """Return the year that people label: that of the block and year, but for `change_before` the year before it."""
    return earlier_year(block_year) if kind == "change_before" else block_year.year


def limits_of(path: Path, bands: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """Return the values shown darkest and brightest of some bands of a raster, see `limits`.

    Raises:
        UserError: the raster cannot be read, or lacks a band.
    """
    with raster.opened(path) as source:
        shape = thumbnail_shape(source.shape)
        cube = source.read(raster.band_indices(source, bands), out_shape=(len(bands), *shape), masked=True)
    return tuple(limits(values.compressed(), band) for values, band in zip(cube, bands, strict=True))


def thumbnail_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of the thumbnail from which the contrast of a raster is measured."""
    step = max(1, max(shape) // THUMBNAIL)
    return shape[0] // step, shape[1] // step


def limits(values: NDArray[Any], band: str) -> tuple[float, float]:
    """Return the values of a band that are shown darkest and brightest.

    From the 2nd percentile to the median plus six times its distance to that: the upper percentiles of a composite may be cloud. Radar
    sees through clouds, and decibels lie evenly around their median: to the 98th percentile.
    """
    values = values[np.isfinite(values)]
    low, middle, high = np.percentile(values, [2, 50, 98]) if len(values) else (0, 1, 1)
    if band in RADAR:
        return float(low), float(max(high, low + 1))
    return float(low), float(middle + 6 * max(middle - low, 1))
