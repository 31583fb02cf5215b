"""Compare two datasets patch by patch: bands, masks, class shares; and pool the numbers over tiles and years.

Differences are ours − published, over the pixels where both have data. Pooled numbers are weighted by pixels,
so that they are those of all pixels together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.compare.pairs import Pair, Patch
from smallmines.compare.radiometry import LEVELS, levels_of_image, offset_of_levels
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.product import BANDS, IMAGE_NODATA, MASK_NODATA, PATCH_BANDS, S1, S2

if TYPE_CHECKING:
    import pandas as pd

Origin = Callable[[Pair], str]
"""Returns where the labels of a pair's tile come from, see `origin.py`."""

WRAPPED_NODATA = 55537.0
"""65536 − 9999: nodata converted to an unsigned integer, present in a build of the released dataset."""


def compare_pairs(pairs: Sequence[Pair], origin: Origin, threads: int = 2, on_progress: Callable[[], None] = lambda: None) -> pd.DataFrame:
    """Compare all pairs: one row per tile and year, see `compare_pair`; at most `threads` pairs are in memory at a time.

    Args:
        on_progress: called after each pair.
    """
    import pandas as pd

    rows = []
    with ThreadPoolExecutor(threads) as pool:
        for row in pool.map(lambda pair: compare_pair(pair) | {"labels": origin(pair)}, pairs):
            rows.append(row)
            on_progress()
    return pd.DataFrame(rows)


def all_pixels_equal(rows: pd.DataFrame) -> bool:
    """Return whether images and masks of all pairs agree in every pixel, gaps of Sentinel-2 included.

    Args:
        rows: as `compare_pairs` returns them.
    """
    equal = rows[[f"{band}_equal" for band in PATCH_BANDS]].fillna(1).eq(1).all(axis=None)
    different = rows[["image_nodata_ours", "image_nodata_published", "only_ours", "only_published"]].sum().sum()
    compared = rows[[*(f"{band}_n" for band in PATCH_BANDS), "both", "neither"]].sum().sum()
    return bool((rows["match"] == "exact").all() and equal and different == 0 and compared > 0)


def compare_pair(pair: Pair) -> dict[str, Any]:
    """Compare one pair.

    Returns:
        tile_id, published_id, year, left, top (of our tile), match, dx, dy, overlap; per band `<band>_n` (pixels where both have data),
        `_bias`, `_mae`, `_rmse`, `_max` (largest absolute), `_equal` (share of equal pixels); `s1_ours`, `s1_published` (`dB`, or
        `linear`, which is converted to dB); the columns `LEVELS` of each side; image_nodata_ours, image_nodata_published (share of pixels
        in which only that image lacks Sentinel-2 data); both, only_ours, only_published, neither (pixels by which masks have mining,
        where both are 0 or 1); iou (NaN without mining in either); ours_percent, published_percent (mining in each whole tile),
        percent_difference.
        Numbers are NaN where `match` is `other` or an image or mask is missing.
    """
    row: dict[str, Any] = {
        "tile_id": pair.ours.header.tile_id,
        "published_id": pair.published.header.tile_id,
        "year": int(pair.ours.header.year),
        "left": pair.ours.header.left,
        "top": pair.ours.header.top,
        "match": pair.match,
        "dx": pair.dx,
        "dy": pair.dy,
        "overlap": pair.overlap,
    }
    parts = common_pixels(pair)
    return row | _images(pair, parts) | _masks(pair, parts)


Parts = tuple[tuple[slice, slice], tuple[slice, slice]]


def common_pixels(pair: Pair) -> Parts | None:
    """Return the rows and columns that both patches cover, in ours and in the published one, to the nearest pixel.

    None where `match` is `other` or the patches do not overlap.
    """
    if pair.match == "other":
        return None
    header = pair.ours.header
    right, down = round(pair.dx / header.resolution[0]), round(-pair.dy / header.resolution[1])
    ours, published = [], []
    for shift, size in ((down, header.height), (right, header.width)):
        if abs(shift) >= size:
            return None
        ours.append(slice(max(-shift, 0), size - max(shift, 0)))
        published.append(slice(max(shift, 0), size - max(-shift, 0)))
    return (ours[0], ours[1]), (published[0], published[1])


def read_image(patch: Patch) -> tuple[NDArray[np.float64], bool]:
    """Read the thirteen bands of a patch in the order of `PATCH_BANDS`, and tell whether Sentinel-1 was linear power.

    Returns:
        (13, row, column) float64, NaN = no data; Sentinel-1 in dB. Bands are chosen by name where all are named, else by position.

    Raises:
        UserError: the image has other bands.
    """
    assert patch.image is not None
    with raster.opened(patch.image) as source:
        if set(PATCH_BANDS) <= set(source.descriptions):
            numbers = raster.band_indices(source, PATCH_BANDS)
        elif source.count == len(PATCH_BANDS):
            numbers = list(source.indexes)
        else:
            raise UserError(
                f"the {len(PATCH_BANDS)} bands of the dataset in {patch.image}",
                f"{source.count}",
                "compare images with the bands of the dataset",
            )
        image = source.read(numbers).astype(np.float64)
        nodata = source.nodata
    gaps = [IMAGE_NODATA, WRAPPED_NODATA] if nodata is None or np.isnan(nodata) else [IMAGE_NODATA, WRAPPED_NODATA, nodata]
    image[~np.isfinite(image) | np.isin(image, gaps)] = np.nan
    power = image[S1]
    linear = bool(np.isfinite(power).any() and np.nanmin(power) >= 0)
    if linear:
        with np.errstate(divide="ignore"):
            power[...] = 10 * np.log10(power)
        power[~np.isfinite(power)] = np.nan
    return image, linear


def read_mask(patch: Patch) -> NDArray[np.uint8]:
    """Read the mask of a patch, (row, column) uint8: 0, 1 and 255 = no data.

    Raises:
        UserError: the mask has another value, or another size than its image.
    """
    assert patch.mask is not None
    mask = raster.read(patch.mask)[0]
    size = (patch.header.height, patch.header.width)
    if mask.shape != size:
        raise UserError(
            f"a mask of {size[1]}×{size[0]} px like its image at {patch.mask}", f"{mask.shape[1]}×{mask.shape[0]}", "restore it"
        )
    labelled = np.isin(mask, (0, 1))
    if not (labelled | (mask == MASK_NODATA)).all():
        values = np.unique(mask[~labelled])[:5].tolist()
        raise UserError(f"mask values 0, 1 and {MASK_NODATA} in {patch.mask}", f"{values}", "compare masks with the values of the dataset")
    return np.where(labelled, mask, MASK_NODATA).astype(np.uint8)


def _images(pair: Pair, parts: Parts | None) -> dict[str, Any]:
    measures = ("n", "bias", "mae", "rmse", "max", "equal")
    row: dict[str, Any] = {f"{band}_{name}": 0 if name == "n" else np.nan for band in PATCH_BANDS for name in measures}
    row |= {f"{name}_{side}": np.nan for name in LEVELS for side in ("ours", "published")}
    row |= {"s1_ours": "", "s1_published": "", "image_nodata_ours": np.nan, "image_nodata_published": np.nan}
    if pair.ours.image is None or pair.published.image is None:
        return row
    (ours, ours_linear), (published, published_linear) = read_image(pair.ours), read_image(pair.published)
    row["s1_ours"], row["s1_published"] = ("linear" if linear else "dB" for linear in (ours_linear, published_linear))
    if parts is None:
        return row
    ours, published = ours[:, *parts[0]], published[:, *parts[1]]
    for side, image in (("ours", ours), ("published", published)):
        if (levels := levels_of_image(image[S2])) is not None:
            row |= {f"{name}_{side}": value for name, value in zip(LEVELS, levels, strict=True)}
    difference = ours - published
    valid = np.isfinite(difference)
    count = valid.sum(axis=(1, 2))
    error = np.where(valid, difference, 0.0)
    divisor = np.where(count > 0, count, np.nan)
    values = {
        "n": count,
        "bias": error.sum(axis=(1, 2)) / divisor,
        "mae": abs(error).sum(axis=(1, 2)) / divisor,
        "rmse": np.sqrt((error**2).sum(axis=(1, 2)) / divisor),
        "max": np.where(count > 0, abs(error).max(axis=(1, 2)), np.nan),
        "equal": (valid & (difference == 0)).sum(axis=(1, 2)) / divisor,
    }
    row |= {f"{band}_{name}": values[name][number].item() for number, band in enumerate(PATCH_BANDS) for name in measures}
    ours_gap, published_gap = (np.isnan(image[S2]).any(axis=0) for image in (ours, published))
    row["image_nodata_ours"] = float((ours_gap & ~published_gap).mean())
    row["image_nodata_published"] = float((published_gap & ~ours_gap).mean())
    return row


def _masks(pair: Pair, parts: Parts | None) -> dict[str, Any]:
    row = {"both": 0, "only_ours": 0, "only_published": 0, "neither": 0, "iou": np.nan}
    row |= {"ours_percent": np.nan, "published_percent": np.nan, "percent_difference": np.nan}
    masks = [None if patch.mask is None else read_mask(patch) for patch in (pair.ours, pair.published)]
    for name, mask in zip(("ours_percent", "published_percent"), masks, strict=True):
        if mask is not None and (mask != MASK_NODATA).any():
            row[name] = 100 * float((mask == 1).sum() / (mask != MASK_NODATA).sum())
    row["percent_difference"] = row["ours_percent"] - row["published_percent"]
    if masks[0] is None or masks[1] is None or parts is None:
        return row
    ours, published = masks[0][parts[0]], masks[1][parts[1]]
    valid = (ours != MASK_NODATA) & (published != MASK_NODATA)
    counts = np.bincount((2 * (ours[valid] == 1) + (published[valid] == 1)).astype(np.int64), minlength=4).tolist()
    row |= dict(zip(("neither", "only_published", "only_ours", "both"), counts, strict=True))
    row["iou"] = iou(counts[3], counts[2], counts[1])
    return row


def iou(both: float, only_ours: float, only_published: float) -> float:
    """Return intersection over union, NaN where the union is empty."""
    union = both + only_ours + only_published
    return both / union if union else float("nan")


def pooled(rows: pd.DataFrame) -> dict[str, Any]:
    """Pool the rows of several tiles: numbers of all their pixels, not means over tiles.

    Returns:
        tiles, exact, shifted, other (tiles by match), shift (dx, dy of the shifted tiles, the median), bands (by name: unit, bias, mae,
        rmse, max, equal; None without pixels), offset_ours, offset_published (of Sentinel-2 by its pixels in DN; None: undecided),
        s1_linear_ours, s1_linear_published (tiles), mask (see `mask_agreement`), class_share
        (mean % by tile: ours, published, difference, mean_absolute; None without masks).
    """
    bands = {}
    for band, unit in ((band.name, band.unit) for band in BANDS):
        n = rows[f"{band}_n"].to_numpy(np.float64)
        if n.sum():
            values = {name: rows[f"{band}_{name}"].fillna(0.0).to_numpy(np.float64) for name in ("bias", "mae", "rmse", "equal")}
            means = {name: float((n * value).sum() / n.sum()) for name, value in values.items() if name != "rmse"}
            rmse = float(np.sqrt((n * values["rmse"] ** 2).sum() / n.sum()))
            bands[band] = {"unit": unit, **means, "rmse": rmse, "max": float(rows[f"{band}_max"].max())}
        else:
            bands[band] = {"unit": unit, **dict.fromkeys(("bias", "mae", "rmse", "max", "equal"))}
    moved = rows[rows["match"] == "shifted"]
    share = rows.dropna(subset=["percent_difference"])
    return {
        "tiles": len(rows),
        **{name: int((rows["match"] == name).sum()) for name in ("exact", "shifted", "other")},
        "shift": [float(moved["dx"].median()), float(moved["dy"].median())] if len(moved) else None,
        "bands": bands,
        **{f"offset_{side}": offset_of_levels(_levels(rows, side)) for side in ("ours", "published")},
        **{f"s1_linear_{side}": int((rows[f"s1_{side}"] == "linear").sum()) for side in ("ours", "published")},
        "mask": mask_agreement(rows),
        "class_share": {
            "ours": float(share["ours_percent"].mean()),
            "published": float(share["published_percent"].mean()),
            "difference": float(share["percent_difference"].mean()),
            "mean_absolute": float(share["percent_difference"].abs().mean()),
        }
        if len(share)
        else None,
    }


def _levels(rows: pd.DataFrame, side: str) -> NDArray[np.float64]:
    return rows[[f"{name}_{side}" for name in LEVELS]].to_numpy(np.float64)


def mask_agreement(rows: pd.DataFrame) -> dict[str, Any]:
    """Return tiles (with both masks), iou of all their pixels (None without mining), and mean_tile_iou over tiles with mining."""
    sums: Mapping[str, int] = {name: int(rows[name].sum()) for name in ("both", "only_ours", "only_published", "neither")}
    whole = iou(sums["both"], sums["only_ours"], sums["only_published"])
    mean = float(rows["iou"].mean())
    tiles = int((rows[list(sums)].sum(axis=1) > 0).sum())
    return {"tiles": tiles, "iou": None if np.isnan(whole) else whole, "mean_tile_iou": None if np.isnan(mean) else mean}
