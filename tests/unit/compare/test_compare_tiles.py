"""The verdict on the images of each tile, and the rows of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from smallmines.compare.tiles import image_verdicts, percent, tile_rows
from smallmines.core.product import PATCH_BANDS


def pair(tile: str, match: str = "exact", **changes: Any) -> dict[str, Any]:
    """Return a row of a pair whose images are equal, but for the changes."""
    row: dict[str, Any] = {"tile_id": tile, "published_id": f"9{tile[1:]}", "year": 2016, "match": match, "dx": 0.0, "dy": 0.0}
    row |= {f"{band}_n": 100 for band in PATCH_BANDS} | {f"{band}_equal": 1.0 for band in PATCH_BANDS}
    row |= {
        "image_nodata_ours": 0.0,
        "image_nodata_published": 0.0,
        "s1_ours": "dB",
        "s1_published": "dB",
        "iou": 0.5,
        "labels": "held_out",
    }
    return row | changes


NOTHING = {f"{band}_n": 0 for band in PATCH_BANDS} | {f"{band}_equal": np.nan for band in PATCH_BANDS}
GAPS = {"image_nodata_ours": np.nan, "image_nodata_published": np.nan}
PAIRS = [
    pair("0001"),
    pair("0002", B03_equal=0.5),
    pair("0003", image_nodata_ours=0.1),
    pair("0004", "shifted", dx=-10.0),
    pair("0005", "other", iou=np.nan, **NOTHING, **GAPS),
    pair("0006", s1_published="", **NOTHING, **GAPS),
    pair("0007", B02_n=0, B02_equal=np.nan),
]


def test_verdicts() -> None:
    rows = pd.DataFrame(PAIRS)
    assert image_verdicts(rows).tolist() == ["equal", "other values", "other values", "shifted", "other grid", "missing", "equal"]


def test_rows_of_the_page() -> None:
    pairs = pd.DataFrame(PAIRS)
    alone = [
        {"tile_id": "0008", "year": 2016, "match": "only ours", "images": "only ours"},
        {"tile_id": "0000", "year": 2016, "match": "only published", "images": "only published"},
    ]
    rows = tile_rows(pd.concat([pairs.assign(images=image_verdicts(pairs)), pd.DataFrame(alone)], ignore_index=True))
    assert [row["tile"] for row in rows] == ["–", "0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008"]
    assert [row["in the release"] for row in rows] == ["0000", "9001", "9002", "9003", "9004", "9005", "9006", "9007", "–"]
    assert rows[2] == {
        "year": 2016,
        "tile": "0002",
        "in the release": "9002",
        "images": "other values",
        "shift, m": "–",
        "Sentinel-2": "95.0\u00a0%",
        "Sentinel-1": "100.0\u00a0%",
        "elevation": "100.0\u00a0%",
        "labels": "held out",
        "IoU": "0.500",
    }
    assert rows[4]["shift, m"] == "−10, 0"
    assert (rows[5]["Sentinel-2"], rows[5]["IoU"]) == ("–", "–")
    assert (rows[0]["labels"], rows[0]["elevation"]) == ("–", "–")
    assert rows[7]["Sentinel-2"] == "100.0\u00a0%"


def test_shares_near_all_and_none_are_not_rounded_to_them() -> None:
    shown = [percent(share).replace("\u00a0", " ") for share in (0.0, 0.0001, 0.5, 0.9999, 1.0)]
    assert shown == ["0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"]
