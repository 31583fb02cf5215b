"""Codes that stand for the provenance of the label of each pixel, to be counted tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.product import MASK_NODATA
from smallmines.core.readable import read_parquet
from smallmines.labels.tables import PROVENANCES, RELEASED

if TYPE_CHECKING:
    import pandas as pd

OPEN = 16
"""Added to the code of a provenance (see `label_codes`) where the label is left open."""

LabelReader = Callable[[rasterio.windows.Window, NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]
"""Return the codes of the labels in a window, given its mask and the pixels with Sentinel-2 data."""


def label_reader(labels: str | None, segments: rasterio.DatasetReader | None) -> LabelReader:
    """Return a function that gives the code of each pixel's label, see `label_codes`.

    The mask of a release has provenance `released` where it has a class, and is open where only the image has data.

    Args:
        labels, segments: table of labels and label raster; None where the mask is a released one.
    """
    if labels is None or segments is None:
        released = PROVENANCES.index(RELEASED) + 1
        return lambda _, mask, data: np.where(mask != MASK_NODATA, released, np.where(data, OPEN, 0)).astype(np.uint8)
    codes = label_codes(read_parquet(labels, columns=["segment", "label", "provenance"]), labels)

    def of_segments(window: rasterio.windows.Window, _: NDArray[np.uint8], __: NDArray[np.bool_]) -> NDArray[np.uint8]:
        numbers = segments.read(1, window=window)
        if int(numbers.max()) >= len(codes):
            found = f"segment {numbers.max()} without one"
            raise UserError(f"a label for each segment in {labels}", found, "run again with --forcerun labels")
        of_pixels: NDArray[np.uint8] = codes[numbers]
        return of_pixels

    return of_segments


def label_codes(labels: pd.DataFrame, name: str) -> NDArray[np.uint8]:
    """Return a code by segment id: 0 = no segment, 1.. = provenance in the order of `PROVENANCES`, plus `OPEN` where left open.

    Raises:
        UserError: a provenance is unknown.
    """
    number = labels["provenance"].map({name: code for code, name in enumerate(PROVENANCES, 1)})
    if number.isna().any():
        unknown = sorted(set(labels.loc[number.isna(), "provenance"].astype(str)))
        raise UserError(
            f"a provenance among {', '.join(PROVENANCES)}", f"{', '.join(unknown)} in {name}", "run again with --forcerun labels"
        )
    segments = labels["segment"].to_numpy(np.int64)
    codes = np.zeros(int(segments.max(initial=0)) + 1, np.uint8)
    codes[segments] = number.to_numpy(np.uint8) + np.where(labels["label"] < 0, OPEN, 0).astype(np.uint8)
    return codes
