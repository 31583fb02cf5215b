"""Input of a network: from digital numbers, decibels and metres to what it was made for.

| kind | value of a pixel |
| --- | --- |
| `standardised` | (value − mean) / sd of the band over train; an offset of the digital numbers changes nothing |
| `pretraining` | (value − mean) / sd of the data of the pretraining; Sentinel-2 as 10000 · reflectance: the offset is taken off first |
| `stretched` | reflectance 0 … `STRETCH` to 0 … 1, the same for all tiles, then ImageNet's mean and sd |
| `stored` | the digital number with ImageNet's mean and sd, as the released script of SAM-2 reads GeoTIFFs of numbers |

Gaps become 0 where they are masked (`mask_gaps`), which is the mean. Else they are the value 0 in place of the digital number, as in the
released scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.offsets import offsets_of
from smallmines.benchmark.pack import Pack, Rows
from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS
from smallmines.settings.benchmark import Network

STRETCH = 0.3
"""Reflectance that `stretched` makes 1."""

SCALE = 10_000.0
"""Digital numbers of a reflectance of 1."""

IMAGENET: Mapping[str, tuple[float, float]] = MappingProxyType({"B04": (0.485, 0.229), "B03": (0.456, 0.224), "B02": (0.406, 0.225)})
"""Mean and sd of ImageNet's red, green and blue between 0 and 1, as torchvision states them."""

PRITHVI: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "B02": (1087.0, 2248.0),
        "B03": (1342.0, 2179.0),
        "B04": (1433.0, 2178.0),
        "B8A": (2734.0, 1850.0),
        "B11": (1958.0, 1242.0),
        "B12": (1363.0, 1049.0),
    }
)
"""Mean and sd of the data of Prithvi-EO-2.0: 10000 · reflectance, without an offset (TerraTorch 1.2.11, `prithvi_vit`)."""

TERRAMIND: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "B02": (1503.317, 2141.107),
        "B03": (1718.197, 2038.973),
        "B04": (1853.91, 2134.138),
        "B05": (2199.1, 2085.321),
        "B06": (2779.975, 1889.926),
        "B07": (2987.011, 1820.257),
        "B08": (3083.234, 1871.918),
        "B8A": (3132.22, 1753.829),
        "B11": (2424.884, 1434.261),
        "B12": (1857.648, 1334.311),
        "VV": (-10.93, 4.391),
        "VH": (-17.329, 4.459),
        "DEM": (670.665, 951.272),
    }
)
"""Mean and sd of the data of TerraMind 1.0: 10000 · reflectance of level 2A without an offset, dB of RTC, m (TerraTorch 1.2.11,
`terramind_register`)."""

PRETRAINING: Mapping[str, Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"prithvi_300": PRITHVI, "prithvi_600": PRITHVI, "terramind_tiny": TERRAMIND, "terramind_base": TERRAMIND}
)
"""Statistics of the pretraining by architecture."""


@dataclass(frozen=True)
class Inputs:
    """How values become the input of a network.

    Attributes:
        bands: in order.
        mean, sd: by band, of the values after offset and stretch.
        reflectance: whether the offset of Sentinel-2 is taken off first.
        full: digital number that becomes 1, with limits 0 and 1, or None.
        mask_gaps: whether gaps become 0 in the end, or 0 in place of the digital number.
    """

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    reflectance: bool
    full: float | None
    mask_gaps: bool

    def values(self, image: NDArray[np.float32], offset: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the input of the network.

        Args:
            image: (tile, band, row, column) float32 of `bands`, NaN gaps.
            offset: (tile,) of the digital numbers; not used without `reflectance`.

        Returns:
            float32 of the same shape, finite.
        """
        values = image if self.mask_gaps else np.nan_to_num(image, nan=0.0)
        optical = np.array([band in S2_BANDS for band in self.bands])
        if self.reflectance:
            values = values - offset[:, None, None, None] * optical[:, None, None]
            values = np.where(optical[:, None, None], np.maximum(values, 0), values)
        if self.full is not None:
            values = (values / self.full).clip(0, 1)
        mean, sd = (np.array(column, np.float32)[:, None, None] for column in (self.mean, self.sd))
        return np.asarray(np.nan_to_num((values - mean) / sd, nan=0.0), np.float32)


def inputs_of(settings: Network, statistics: Mapping[str, Mapping[str, float]]) -> Inputs:
    """Return how a row takes the values of images.

    Args:
        statistics: mean and sd by band over train.

    Raises:
        UserError: bands for which this kind of input is not defined.
    """
    tables: dict[str, Mapping[str, tuple[float, float]]] = {
        "standardised": {band: (own["mean"], own["sd"]) for band, own in statistics.items()},
        "pretraining": PRETRAINING.get(settings.architecture, {}),
        "stretched": IMAGENET,
        "stored": IMAGENET,
    }
    table = tables[settings.inputs]
    if missing := [band for band in settings.bands if band not in table]:
        expected = f"bands {', '.join(table) or 'none'} with inputs: {settings.inputs} of {settings.architecture}"
        raise UserError(expected, ", ".join(missing), "correct config/benchmark/<row>.yaml")
    mean, sd = zip(*(table[band] for band in settings.bands), strict=True)
    reflectance = settings.inputs in ("pretraining", "stretched")
    full = STRETCH * SCALE if settings.inputs == "stretched" else None
    return Inputs(settings.bands, mean, sd, reflectance, full, settings.mask_gaps)


def offsets_by_row(pack: Pack, rows: Rows, inputs: Inputs) -> NDArray[np.int64]:
    """Return the offset of each row of a pack, 0 where the input needs none.

    Raises:
        UserError: the radiometry of a year is unknown, and the input is of reflectances.
    """
    if not inputs.reflectance:
        return np.zeros(len(rows), np.int64)
    by_year = offsets_of(pack, pack.years[rows].tolist())
    return np.array([by_year[int(year)] for year in pack.years[rows]], np.int64)
