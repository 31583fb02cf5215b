"""Say tile by tile whether the images of two datasets are equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.core.product import PATCH_BANDS, S1, S2

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"Sentinel-2": PATCH_BANDS[S2], "Sentinel-1": PATCH_BANDS[S1], "elevation": ("DEM",)}
"""Bands whose shares of equal pixels are shown as one."""

VERDICTS = {
    "equal": "equal in every value",
    "other values": "on the same pixels with other values",
    "shifted": "shifted",
    "other grid": "on another grid",
    "missing": "missing in one of the two",
}
"""Verdicts on the images of a tile and year, in words."""


def image_verdicts(rows: pd.DataFrame) -> pd.Series[str]:
    """Return whether the images of each pair are equal.

    Args:
        rows: as `differences.compare_pairs` returns them.

    Returns:
        `equal`: same grid, values and gaps; `other values`: on the same grid; `shifted`; `other grid`; `missing`: one has no image.
    """
    import pandas as pd

    equal = rows[[f"{band}_equal" for band in PATCH_BANDS]].fillna(1).eq(1).all(axis=1)
    equal &= rows[["image_nodata_ours", "image_nodata_published"]].eq(0).all(axis=1)
    cases = {
        "missing": (rows["s1_ours"] == "") | (rows["s1_published"] == ""),
        "other grid": rows["match"] == "other",
        "shifted": rows["match"] == "shifted",
        "equal": equal,
    }
    return pd.Series(np.select(list(cases.values()), list(cases), "other values"), index=rows.index, dtype="object")


def tile_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `compare.csv` for readers, by year and tile.

    Args:
        rows: of pairs, with `images`, and of tiles without a partner.
    """
    shown = []
    for row in rows.sort_values(["year", "tile_id"], kind="stable").to_dict("records"):
        moved = row["match"] == "shifted"
        paired = row["match"] in ("exact", "shifted", "other")
        shown.append(
            {
                "year": row["year"],
                "tile": "–" if row["match"] == "only published" else row["tile_id"],
                "in the release": row["published_id"] if paired else "–" if row["match"] == "only ours" else row["tile_id"],
                "images": row["images"],
                "shift, m": f"{row['dx']:g}, {row['dy']:g}".replace("-", "−") if moved else "–",
                **{name: _equal_share(row, bands) for name, bands in GROUPS.items()},
                "labels": str(row["labels"]).replace("_", " ") if paired else "–",
                "IoU": "–" if np.isnan(row["iou"]) else f"{row['iou']:.3f}",
            }
        )
    return shown


def _equal_share(row: Mapping[Any, Any], bands: tuple[str, ...]) -> str:
    """Return the share of equal values in all bands of a row that are compared."""
    counts = np.array([row[f"{band}_n"] for band in bands], np.float64)
    shares = np.array([row[f"{band}_equal"] for band in bands], np.float64)
    compared = np.nan_to_num(counts) > 0
    if not compared.any():
        return "–"
    return percent(float((counts * shares)[compared].sum() / counts[compared].sum()))


def percent(share: float) -> str:
    """Return a share in %; one that is not 0 or 1 never reads as such."""
    return "< 0.1\u00a0%" if 0 < share < 0.001 else "> 99.9\u00a0%" if 0.999 < share < 1 else f"{100 * share:.1f}\u00a0%"
