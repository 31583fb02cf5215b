"""Images that people label on: composites of all years of a block, as true and false colour, radar and hillshade, and their contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

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

SAMPLED = 6
"""Windows along each side from which the contrast is measured: a fifth of a large block says the same as all of it."""

EVERY = 4
"""Of the rows and columns of a window, every so manieth counts."""


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
    """Return the values shown darkest and brightest of some bands of a raster, see `limits`; measured in windows spread over it.

    Raises:
        UserError: the raster cannot be read, or lacks a band.
    """
    with raster.opened(path) as source:
        numbers = raster.band_indices(source, bands)
        cubes = [source.read(numbers, window=window, masked=True)[:, ::EVERY, ::EVERY] for window in sampled_windows(source.shape)]
    samples = (np.concatenate([cube[at].compressed() for cube in cubes]) for at in range(len(bands)))
    return tuple(limits(values, band) for values, band in zip(samples, bands, strict=True))


def sampled_windows(shape: tuple[int, int]) -> list[Window]:
    """Return at most `SAMPLED` × `SAMPLED` of the internal tiles of a raster, evenly spread, the first and the last among them."""
    rows, cols = (
        np.unique(np.linspace(0, number - 1, min(number, SAMPLED)).round()) for number in (-(-side // raster.STRIP) for side in shape)
    )
    starts = ((int(row) * raster.STRIP, int(col) * raster.STRIP) for row in rows for col in cols)
    return [Window(left, top, min(raster.STRIP, shape[1] - left), min(raster.STRIP, shape[0] - top)) for top, left in starts]


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
