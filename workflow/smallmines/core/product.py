"""Bands and classes of the dataset."""

from __future__ import annotations

from typing import Literal, get_args

S2Band = Literal["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]

S2_BANDS: tuple[str, ...] = get_args(S2Band)
"""Sentinel-2 bands of a patch, in order; B02, B03, B04 and B08 are 10 m bands, the others 20 m."""

PATCH_BANDS = (*S2_BANDS, "VV", "VH", "DEM")
"""The thirteen bands of a patch, in the order of the released dataset."""

CLASSES = ("not_mining", "mining")
"""Class names; the position of a class is its value in the masks."""
