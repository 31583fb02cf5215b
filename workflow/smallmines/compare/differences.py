"""What differs between two datasets, patch by patch: bands, masks, class shares; and the sums over tiles and years.

Differences are ours − published, over the pixels where both have data. Sums over tiles are weighted by pixels, so that they are those
of all pixels together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.compare.pairs import Pair, Patch
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.dataset.patches import IMAGE_NODATA, MASK_NODATA, UNITS
from smallmines.sensors.radiometry import OFFSET

if TYPE_CHECKING:
    import pandas as pd

Origin = Callable[[Pair], str]
"""Whether labels of a pair's tile came from the published masks, see `origin.py`."""

WRAPPED_NODATA = 55537.0
"""65536 − 9999: nodata that went through an unsigned integer, present in a build of the released dataset."""

S1 = slice(len(S2_BANDS), len(S2_BANDS) + 2)

OFFSET_SLACK = 150.0
"""DN by which the biases of all ten bands may miss ±1000 and still mean the offset of the radiometry."""


def compare_pairs(pairs: Sequence[Pair], origin: Origin, threads: int = 2, tell: Callable[[], None] = lambda: None) -> pd.DataFrame:
    """One row per tile and year, see `compare_pair`; at most `threads` pairs are in memory at a time.

    Args:
        tell: called after each pair.
    """
    import pandas as pd

    rows = []
    with ThreadPoolExecutor(threads) as pool:
        for row in pool.map(lambda pair: compare_pair(pair) | {"labels": origin(pair)}, pairs):
            rows.append(row)
            tell()
    return pd.DataFrame(rows)


def compare_pair(pair: Pair) -> dict[str, Any]:
    """The numbers of one pair.

    Returns:
        tile_id, published_id, year, left, top (of our tile), match, dx, dy, overlap; per band `<band>_n` (pixels where both have data),
        `_bias`, `_mae`, `_rmse`, `_max` (largest absolute), `_equal` (share of equal pixels); `s1_ours`, `s1_published` (`dB`, or
        `linear`, which is compared in dB all the same); image_nodata_ours, image_nodata_published (share of pixels in which only that
        image lacks Sentinel-2 data); both, only_ours, only_published, neither (pixels of mining where both masks say something);
        iou (NaN without mining in either); ours_percent, published_percent (mining in each whole tile), percent_difference.
        What cannot be compared is NaN: pixels where `match` is `other`, a missing image or mask.
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
    """Rows and columns that both patches have, in ours and in the published one, to the nearest pixel; None for `other` or none."""
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
    """The thirteen bands of a patch in the order of `PATCH_BANDS`, and whether its Sentinel-1 bands were linear power.

    Returns:
        (13, row, column) float64, NaN = no data; Sentinel-1 in dB. Bands are chosen by name where all are named, else by position.

    Raises:
        UserError: there are not thirteen bands.
    """
    assert patch.image is not None
    with raster.opened(patch.image) as source:
        if set(PATCH_BANDS) <= set(source.descriptions):
            numbers = raster.band_indices(source, PATCH_BANDS)
        elif source.count == len(PATCH_BANDS):
            numbers = list(source.indexes)
        else:
            raise UserError(
                f"the {len(PATCH_BANDS)} bands of the dataset in {patch.image}", f"{source.count}", "compare images of one form"
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
    """The mask of a patch, (row, column) uint8: 0, 1 and 255 = no data.

    Raises:
        UserError: it holds another value, or has another size than its image.
    """
    assert patch.mask is not None
    mask = raster.read(patch.mask)[0]
    size = (patch.header.height, patch.header.width)
    if mask.shape != size:
        raise UserError(
            f"a mask of {size[1]}×{size[0]} px like its image at {patch.mask}", f"{mask.shape[1]}×{mask.shape[0]}", "restore it"
        )
    known = np.isin(mask, (0, 1))
    if not (known | (mask == MASK_NODATA)).all():
        found = np.unique(mask[~known])[:5].tolist()
        raise UserError(f"mask values 0, 1 and {MASK_NODATA} in {patch.mask}", f"{found}", "compare masks of the dataset's form")
    return np.where(known, mask, MASK_NODATA).astype(np.uint8)


def _images(pair: Pair, parts: Parts | None) -> dict[str, Any]:
    measures = ("n", "bias", "mae", "rmse", "max", "equal")
    found: dict[str, Any] = {f"{band}_{name}": 0 if name == "n" else np.nan for band in PATCH_BANDS for name in measures}
    found |= {"s1_ours": "", "s1_published": "", "image_nodata_ours": np.nan, "image_nodata_published": np.nan}
    if pair.ours.image is None or pair.published.image is None:
        return found
    (ours, linear), (published, also) = read_image(pair.ours), read_image(pair.published)
    found["s1_ours"], found["s1_published"] = ("linear" if one else "dB" for one in (linear, also))
    if parts is None:
        return found
    ours, published = ours[:, *parts[0]], published[:, *parts[1]]
    difference = ours - published
    valid = np.isfinite(difference)
    count = valid.sum(axis=(1, 2))
    off = np.where(valid, difference, 0.0)
    some = np.where(count > 0, count, np.nan)
    values = {
        "n": count,
        "bias": off.sum(axis=(1, 2)) / some,
        "mae": abs(off).sum(axis=(1, 2)) / some,
        "rmse": np.sqrt((off**2).sum(axis=(1, 2)) / some),
        "max": np.where(count > 0, abs(off).max(axis=(1, 2)), np.nan),
        "equal": (valid & (difference == 0)).sum(axis=(1, 2)) / some,
    }
    found |= {f"{band}_{name}": values[name][number].item() for number, band in enumerate(PATCH_BANDS) for name in measures}
    gaps = [np.isnan(image[: len(S2_BANDS)]).any(axis=0) for image in (ours, published)]
    found["image_nodata_ours"], found["image_nodata_published"] = (
        float((one & ~other).mean()) for one, other in ((gaps[0], gaps[1]), (gaps[1], gaps[0]))
    )
    return found


def _masks(pair: Pair, parts: Parts | None) -> dict[str, Any]:
    found = {"both": 0, "only_ours": 0, "only_published": 0, "neither": 0, "iou": np.nan}
    found |= {"ours_percent": np.nan, "published_percent": np.nan, "percent_difference": np.nan}
    masks = [None if patch.mask is None else read_mask(patch) for patch in (pair.ours, pair.published)]
    for name, mask in zip(("ours_percent", "published_percent"), masks, strict=True):
        if mask is not None and (mask != MASK_NODATA).any():
            found[name] = 100 * float((mask == 1).sum() / (mask != MASK_NODATA).sum())
    found["percent_difference"] = found["ours_percent"] - found["published_percent"]
    if masks[0] is None or masks[1] is None or parts is None:
        return found
    ours, published = masks[0][parts[0]], masks[1][parts[1]]
    known = (ours != MASK_NODATA) & (published != MASK_NODATA)
    counts = np.bincount((2 * (ours[known] == 1) + (published[known] == 1)).astype(np.int64), minlength=4).tolist()
    found |= dict(zip(("neither", "only_published", "only_ours", "both"), counts, strict=True))
    found["iou"] = iou(counts[3], counts[2], counts[1])
    return found


def iou(both: float, only_ours: float, only_published: float) -> float:
    """Intersection over union, NaN where the union is empty."""
    union = both + only_ours + only_published
    return both / union if union else float("nan")


def pooled(rows: pd.DataFrame) -> dict[str, Any]:
    """The numbers of several tiles together: of all their pixels, not means over tiles.

    Returns:
        tiles, exact, shifted, other (tiles by match), shift (dx, dy of the shifted tiles, the median), bands (by name: unit, bias, mae,
        rmse, max, equal; None without pixels), s1_linear_ours, s1_linear_published (tiles), mask (see `mask_agreement`), class_share
        (mean % by tile: ours, published, difference, mean_absolute; None without masks).
    """
    bands = {}
    for band, unit in zip(PATCH_BANDS, UNITS, strict=True):
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


def offset_between(bands: Mapping[str, Mapping[str, Any]]) -> int:
    """+1000 where only ours carry the offset of the digital numbers, −1000 where only the published do, else 0; from `pooled`'s bands."""
    biases = [bands[name]["bias"] for name in S2_BANDS]
    for offset in (OFFSET, -OFFSET):
        if all(bias is not None and abs(bias - offset) < OFFSET_SLACK for bias in biases):
            return offset
    return 0


def mask_agreement(rows: pd.DataFrame) -> dict[str, Any]:
    """tiles (with both masks), iou of all their pixels together (None without mining), and mean_tile_iou over tiles with mining."""
    sums: Mapping[str, int] = {name: int(rows[name].sum()) for name in ("both", "only_ours", "only_published", "neither")}
    whole = iou(sums["both"], sums["only_ours"], sums["only_published"])
    mean = float(rows["iou"].mean())
    tiles = int((rows[list(sums)].sum(axis=1) > 0).sum())
    return {"tiles": tiles, "iou": None if np.isnan(whole) else whole, "mean_tile_iou": None if np.isnan(mean) else mean}
