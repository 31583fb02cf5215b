"""Metrics of the mining class: counts per tile, and scores from their sums.

All models are scored by this module, from probabilities in steps of 1/255 (uint8). Pixels of masks with 255 never count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import MASK_NODATA

LEVELS = 256
HALF = 128
"""Least uint8 value that counts as mining at the threshold 0.5: probabilities above 0.5, see `to_uint8`."""

THRESHOLDS = ("half", "val")
"""Names of the two thresholds: 0.5, and the one of highest IoU on val."""

BOUNDARY_PX = 2
"""Width of the boundary in pixels for the boundary IoU (Cheng et al. 2021, doi 10.1109/CVPR46437.2021.01508): 20 m. Their 2 % of the
diagonal would be 4 px, more than half the width of most mines here."""

SIZES: Mapping[str, float] = MappingProxyType({"below_0_1_ha": 0.1, "0_1_to_1_ha": 1.0, "1_to_10_ha": 10.0, "above_10_ha": np.inf})
"""Classes of mine size by name, with their upper limit in ha. A mine is a connected area (8 neighbours) within a tile."""

FOUND_SHARE = 0.5
"""Share of a mine's pixels that must be predicted for it to count as found."""

SPECK_PX = 5
"""Predicted areas of fewer pixels are specks, and no false mines."""

BINS = 10
"""Bins of the reliability, of about equal numbers of pixels."""

Counts = dict[str, NDArray[np.float64]]


def to_uint8(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return probabilities in steps of 1/255; 0.5 itself falls below `HALF`, as a tie of a forest's votes does in scikit-learn."""
    return np.asarray(np.ceil(np.nan_to_num(probability).clip(0, 1) * 255 - 0.5).clip(0, 255), np.uint8)


def histograms(probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the histograms (tile, 256) of the probability over mining and over other pixels of tiles (tile, row, column)."""
    tile = np.broadcast_to(np.arange(len(mask))[:, None, None], mask.shape)
    key = tile * LEVELS + probability
    mining, other = (np.bincount(key[mask == value], minlength=len(mask) * LEVELS).reshape(-1, LEVELS) for value in (1, 0))
    return mining, other


def best_threshold(mining: NDArray[np.integer[Any]], other: NDArray[np.integer[Any]]) -> int:
    """Return the least uint8 value that counts as mining at the highest IoU, of equals the nearest to `HALF`; `HALF` without mining.

    Args:
        mining, other: pooled histograms (256,) of val.
    """
    if not mining.sum():
        return HALF
    tp, fp = (np.cumsum(np.asarray(values, np.float64)[::-1])[::-1] for values in (mining, other))
    iou = tp / (mining.sum() + fp)
    candidates = 1 + np.flatnonzero(iou[1:] >= iou[1:].max() - 1e-12)
    return int(candidates[np.argmin(np.abs(candidates - HALF))])


def count_tiles(
    probability: NDArray[np.uint8], mask: NDArray[np.uint8], thresholds: Mapping[str, int], pixel_area: float
) -> dict[str, NDArray[np.int64]]:
    """Count what the scores need in each tile.

    Args:
        probability, mask: (tile, row, column).
        thresholds: least uint8 value of mining, by name of `THRESHOLDS`.
        pixel_area: in m².

    Returns:
        (tile,) counts of pixels by column: tp, fp, fn, tn, boundary_and, boundary_or, false_mines (number), found_<size> (number), each
        with `_<threshold>`; mines_<size> (number); and `mining` and `other`, histograms (tile, 256).
    """
    hist_mining, hist_other = histograms(probability, mask)
    counts: dict[str, NDArray[np.int64]] = {"mining": hist_mining, "other": hist_other}
    for name, threshold in thresholds.items():
        counts[f"tp_{name}"] = hist_mining[:, threshold:].sum(axis=1)
        counts[f"fn_{name}"] = hist_mining[:, :threshold].sum(axis=1)
        counts[f"fp_{name}"] = hist_other[:, threshold:].sum(axis=1)
        counts[f"tn_{name}"] = hist_other[:, :threshold].sum(axis=1)
    rows = [
        _shapes(tile == 1, tile == MASK_NODATA, {name: value >= threshold for name, threshold in thresholds.items()}, pixel_area)
        for value, tile in zip(probability, mask, strict=True)
    ]
    names = shape_columns(tuple(thresholds))
    return counts | {name: np.array([row[name] for row in rows], np.int64) for name in names}


def shape_columns(thresholds: Sequence[str] = THRESHOLDS) -> list[str]:
    """Return the names of the counts that depend on shapes."""
    own = ["boundary_and", "boundary_or", "false_mines", *(f"found_{size}" for size in SIZES)]
    return [*(f"mines_{size}" for size in SIZES), *(f"{column}_{name}" for name in thresholds for column in own)]


def linear_columns() -> list[str]:
    """Return the names of all counts whose sums give scores."""
    pixels = [f"{column}_{name}" for name in THRESHOLDS for column in ("tp", "fp", "fn", "tn")]
    return [*pixels, *shape_columns()]


def boundary(mask: NDArray[np.bool_], outside: NDArray[np.bool_], width: int = BOUNDARY_PX) -> NDArray[np.bool_]:
    """Return the pixels of a mask within `width` pixels of its contour. The edge of the tile and unknown pixels are no contour."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask | outside, np.ones((3, 3), bool), width, border_value=1))


def _shapes(
    mine: NDArray[np.bool_], unknown: NDArray[np.bool_], predicted: Mapping[str, NDArray[np.bool_]], pixel_area: float
) -> dict[str, int]:
    """Count boundaries, mines found by size, and false mines of a tile."""
    from scipy.ndimage import label

    neighbours = np.ones((3, 3), bool)
    counts: dict[str, int] = {}
    mines, number = label(mine, neighbours)
    size = np.bincount(mines.ravel(), minlength=number + 1)[1:]
    kind = np.searchsorted(list(SIZES.values()), size * pixel_area / 10_000, side="right")
    counts |= {f"mines_{name}": int((kind == place).sum()) for place, name in enumerate(SIZES)}
    edge = boundary(mine, unknown)
    for name, whole in predicted.items():
        own = whole & ~unknown
        drawn = boundary(own, unknown)
        counts[f"boundary_and_{name}"], counts[f"boundary_or_{name}"] = int((edge & drawn).sum()), int((edge | drawn).sum())
        hit = np.bincount(mines[own], minlength=number + 1)[1:]
        detected = hit >= FOUND_SHARE * size
        counts |= {f"found_{size_name}_{name}": int((detected & (kind == place)).sum()) for place, size_name in enumerate(SIZES)}
        areas, areas_number = label(own, neighbours)
        true = np.bincount(areas[mine], minlength=areas_number + 1)[1:]
        pixels = np.bincount(areas.ravel(), minlength=areas_number + 1)[1:]
        counts[f"false_mines_{name}"] = int(((true == 0) & (pixels >= SPECK_PX)).sum())
    return counts


def scores(sums: Mapping[str, NDArray[np.float64]], threshold: str, pixel_area: float) -> dict[str, NDArray[np.float64]]:
    """Return scores of the mining class from sums of counts, of any shape; NaN where a score has no meaning.

    Args:
        sums: by name of `linear_columns`.
        threshold: of `THRESHOLDS`.

    Returns:
        precision, recall, iou, dice, boundary_iou, false_mines_km2 (number per km² of known pixels), area_ratio (predicted / true), and
        found_<size> (share of mines).
    """
    tp, fp, fn, tn = (np.asarray(sums[f"{name}_{threshold}"], np.float64) for name in ("tp", "fp", "fn", "tn"))
    area = (tp + fp + fn + tn) * pixel_area / 1e6
    return {
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "iou": ratio(tp, tp + fp + fn),
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "boundary_iou": ratio(sums[f"boundary_and_{threshold}"], sums[f"boundary_or_{threshold}"]),
        "false_mines_km2": ratio(sums[f"false_mines_{threshold}"], area),
        "area_ratio": ratio(tp + fp, tp + fn),
        **{f"found_{size}": ratio(sums[f"found_{size}_{threshold}"], sums[f"mines_{size}"]) for size in SIZES},
    }


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """Return part / whole, NaN where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    empty = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.asarray(np.divide(part, whole, out=empty, where=whole > 0))


def median_iou(counts: Mapping[str, NDArray[Any]], threshold: str) -> float:
    """Return the median over the tiles with mining of their IoU; NaN without any."""
    tp, fp, fn = (np.asarray(counts[f"{name}_{threshold}"], np.float64) for name in ("tp", "fp", "fn"))
    own = tp + fn > 0
    return float(np.median(tp[own] / (tp + fp + fn)[own])) if own.any() else float("nan")


def reliability(mining: NDArray[np.integer[Any]], other: NDArray[np.integer[Any]]) -> tuple[list[dict[str, float]], float]:
    """Return bins of about equal numbers of pixels, and the expected calibration error (Naeini et al. 2015).

    Args:
        mining, other: pooled histograms (256,).

    Returns:
        Bins with predicted (mean probability), observed (share of mining) and pixels; the mean of |predicted − observed| weighted by
        pixels, NaN without pixels.
    """
    both = np.asarray(mining + other, np.float64)
    total = both.sum()
    if not total:
        return [], float("nan")
    middle = np.cumsum(both) - both / 2
    place = np.minimum((middle / total * BINS).astype(np.int64), BINS - 1)
    pixels, mined, level = (np.bincount(place, of, BINS) for of in (both, np.asarray(mining, np.float64), both * np.arange(LEVELS) / 255))
    bins = [
        {"predicted": float(level[bin_] / pixels[bin_]), "observed": float(mined[bin_] / pixels[bin_]), "pixels": int(pixels[bin_])}
        for bin_ in range(BINS)
        if pixels[bin_]
    ]
    return bins, float(sum(entry["pixels"] * abs(entry["predicted"] - entry["observed"]) for entry in bins) / total)
