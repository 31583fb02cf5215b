"""Statistics of the bands of many images: number, mean, deviation, extremes and quantiles, alone and merged over years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.core.log import logger
from smallmines.core.product import IMAGE, IMAGE_NODATA, PATCH_BANDS
from smallmines.dataset.measured import Measured, checksums_of, read_measured

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
START = np.array([0.0] * 10 + [-100.0, -100.0, -500.0])
STEP = np.array([1.0] * 10 + [0.01, 0.01, 0.25])
"""Lowest value and width of the bins from which quantiles are read: DN, dB, m."""


SUM = "histograms"
"""Name of kept sums of histograms, see `measured.Sum`."""

_KEYS = ("n", "mean", "square", "min", "max")


def band_statistics(images: Sequence[str | Path], kept: Measured | None = None) -> dict[str, dict[str, Any]]:
    """Return number, mean, standard deviation, minimum, maximum and quantiles of the valid pixels of each band over many images.

    Values that are not finite are left out here; `verify` and the doctor name the images that have them.

    Sums are float64 and in the order of the images, so that the result depends on nothing else. Deviations are taken from each
    image's own mean and merged (Chan, Golub & LeVeque 1983).

    Args:
        kept: measurements, which are used for files whose bytes have their checksum.

    Returns:
        By band: count, mean, sd (of the population), min, max (the last four None without a valid pixel), quantiles (`QUANTILES`, to
        `STEP`; empty without a valid pixel).

    Raises:
        UserError: an image cannot be read or has other bands.
    """
    count, mean, square = (np.zeros(len(PATCH_BANDS)) for _ in range(3))
    low, high = np.full(len(PATCH_BANDS), np.inf), np.full(len(PATCH_BANDS), -np.inf)
    kept = kept or Measured()
    names = [str(path) for path in images]
    checksums = checksums_of(Path(), names) if kept.patches else {}
    chosen, left = kept.usable(SUM, [checksums.get(name, name) for name in names])
    histogram = sum((own.array for own in chosen), np.zeros((len(PATCH_BANDS), 1 << 16), np.int64))
    for name in names:
        member = checksums.get(name, name)
        moments, array = _kept_moments(kept, member), None
        if moments is None or left[member]:
            array = read_bands(name)
        if array is not None and left[member]:
            add_histograms(array, histogram)
            left[member] -= 1
        for band, (number, image_mean, image_square, least, most) in enumerate(moments or _moments(array)):
            if not number:
                continue
            step, total = image_mean - mean[band], count[band] + number
            square[band] += image_square + step**2 * count[band] * number / total
            mean[band] += step * number / total
            count[band] = total
            low[band], high[band] = min(low[band], least), max(high[band], most)
    statistics: dict[str, dict[str, Any]] = {}
    for n, name in enumerate(PATCH_BANDS):
        at = np.searchsorted(histogram[n].cumsum(), np.array(QUANTILES) * count[n]) if count[n] else np.array([], np.int64)
        quantiles = (START[n] + STEP[n] * at).round(3).tolist()
        statistics[name] = {**_rounded(int(count[n]), mean[n], square[n], low[n], high[n]), "quantiles": quantiles}
    return statistics


def read_bands(path: str | Path) -> NDArray[Any]:
    """Read an image, (band, row, column).

    Raises:
        UserError: it cannot be read or has other bands.
    """
    array = raster.read(path)
    if len(array) != len(PATCH_BANDS):
        raise UserError(f"{len(PATCH_BANDS)} bands in {path}", f"{len(array)}", "run again with --forcerun image_patches")
    return array


def _kept_moments(kept: Measured, checksum: str) -> list[list[float]] | None:
    """Return the moments of the bands of a measured image; None without."""
    patch = kept.patch(checksum, "image")
    if patch is None or patch.form is None or patch.form.dtypes != (IMAGE.dtype,):
        return None
    return [[patch.values.get(f"{key}_{name}", 0.0) for key in _KEYS] for name in PATCH_BANDS]


def _moments(array: NDArray[Any] | None) -> list[list[float]]:
    """Return number, mean, sum of squared deviations, minimum and maximum of each band of an image; 0 without a value."""
    moments = []
    for values in () if array is None else array.reshape(len(array), -1):
        valid = _valid(values)
        if valid.size:
            mean = valid.mean()
            moments.append([valid.size, mean, ((valid - mean) ** 2).sum(), valid.min(), valid.max()])
        else:
            moments.append([0.0] * len(_KEYS))
    return moments


def _valid(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the values that are finite and not nodata."""
    valid: NDArray[np.float64] = values[(values != IMAGE_NODATA) & np.isfinite(values)].astype(np.float64)
    return valid


def add_histograms(array: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Add the valid values of an image, (band, row, column), to counts by bin, (band, 65536)."""
    for band, values in enumerate(array.reshape(len(array), -1)):
        part = np.bincount(np.clip((_valid(values) - START[band]) / STEP[band], 0, counts.shape[1] - 1).astype(np.int64))
        counts[band, : len(part)] += part


def _rounded(count: int, mean: float, square: float, low: float, high: float) -> dict[str, float | int | None]:
    if not count:
        return {"count": 0, "mean": None, "sd": None, "min": None, "max": None}
    values = {"mean": mean, "sd": float(np.sqrt(square / count)), "min": low, "max": high}
    return {"count": count, **{name: round(float(value), 4) for name, value in values.items()}}


def merge_statistics(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, float | int | None]]:
    """Merge statistics of several years into those of all their pixels."""
    merged = {}
    for name in PATCH_BANDS:
        with_pixels = [part[name] for part in parts if part[name]["count"]]
        counts = np.array([part["count"] for part in with_pixels], np.float64)
        means, sds = (np.array([part[key] for part in with_pixels], np.float64) for key in ("mean", "sd"))
        total = counts.sum()
        mean = float((counts * means).sum() / total) if total else 0.0
        square = float((counts * (sds**2 + (means - mean) ** 2)).sum())
        low, high = (pick((part[key] for part in with_pixels), default=0.0) for pick, key in ((min, "min"), (max, "max")))
        merged[name] = _rounded(int(total), mean, square, low, high)
    return merged


def write_statistics(images: str | Path, measured: Sequence[str | Path], target: str | Path) -> None:
    """Write the band statistics of the images in a folder.

    Args:
        measured: tables of measurements.
    """
    paths = sorted(Path(images).glob(f"{IMAGE.prefix}_*.tif"))
    write_json(target, band_statistics(paths, read_measured(measured, ["patch", SUM])))
    logger.info("statistics of %d images", len(paths))
