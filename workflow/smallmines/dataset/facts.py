"""Every number that the documents of a dataset state, computed from its files: `facts.json`, which the documents are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rasterio

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.core.log import logger
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.patches import IMAGE_NODATA
from smallmines.dataset.stac import Windows
from smallmines.labels.tables import PROVENANCES
from smallmines.settings.publish import Documents

if TYPE_CHECKING:
    import geopandas as gpd


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
START = np.array([0.0] * 10 + [-100.0, -100.0, -500.0])
STEP = np.array([1.0] * 10 + [0.01, 0.01, 0.25])
"""Least value and width of the bins that quantiles are read from: DN, dB, m."""


def band_statistics(images: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """Number, mean, standard deviation, minimum, maximum and quantiles of the valid pixels of each band over many images.

    Sums are float64 and in the order of the images, so that the result depends on nothing else; deviations are taken from each
    image's own mean and joined (Chan, Golub & LeVeque 1983).

    Returns:
        By band: count, mean, sd (of the population), min, max (the last four None without a valid pixel), quantiles (of `QUANTILES`,
        to `STEP`; empty without).

    Raises:
        UserError: an image has other bands.
    """
    count, mean, square = (np.zeros(len(PATCH_BANDS)) for _ in range(3))
    low, high = np.full(len(PATCH_BANDS), np.inf), np.full(len(PATCH_BANDS), -np.inf)
    histogram = np.zeros((len(PATCH_BANDS), 1 << 16), np.int64)
    for path in images:
        with rasterio.open(path) as source:
            array = source.read()
        if len(array) != len(PATCH_BANDS):
            raise UserError(f"{len(PATCH_BANDS)} bands in {path}", f"{len(array)}", "run again with --forcerun image_patches")
        for band, values in enumerate(array.reshape(len(array), -1)):
            valid = values[values != IMAGE_NODATA].astype(np.float64)
            if not valid.size:
                continue
            own, total = valid.mean(), count[band] + valid.size
            step = own - mean[band]
            square[band] += ((valid - own) ** 2).sum() + step**2 * count[band] * valid.size / total
            mean[band] += step * valid.size / total
            count[band] = total
            low[band], high[band] = min(low[band], valid.min()), max(high[band], valid.max())
            places = np.clip((valid - START[band]) / STEP[band], 0, histogram.shape[1] - 1).astype(np.int64)
            histogram[band] += np.bincount(places, minlength=histogram.shape[1])
    found: dict[str, dict[str, Any]] = {}
    for n, name in enumerate(PATCH_BANDS):
        at = np.searchsorted(histogram[n].cumsum(), np.array(QUANTILES) * count[n]) if count[n] else np.array([], np.int64)
        quantiles = (START[n] + STEP[n] * at).round(3).tolist()
        found[name] = {**_told(int(count[n]), mean[n], square[n], low[n], high[n]), "quantiles": quantiles}
    return found


def _told(count: int, mean: float, square: float, low: float, high: float) -> dict[str, float | int | None]:
    if not count:
        return {"count": 0, "mean": None, "sd": None, "min": None, "max": None}
    values = {"mean": mean, "sd": float(np.sqrt(square / count)), "min": low, "max": high}
    return {"count": count, **{name: round(float(value), 4) for name, value in values.items()}}


def together(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, float | int | None]]:
    """Statistics of several years as those of all their pixels."""
    found = {}
    for name in PATCH_BANDS:
        known = [part[name] for part in parts if part[name]["count"]]
        counts = np.array([one["count"] for one in known], np.float64)
        means, sds = (np.array([one[key] for one in known], np.float64) for key in ("mean", "sd"))
        total = counts.sum()
        mean = float((counts * means).sum() / total) if total else 0.0
        square = float((counts * (sds**2 + (means - mean) ** 2)).sum())
        low, high = (pick((one[key] for one in known), default=0.0) for pick, key in ((min, "min"), (max, "max")))
        found[name] = _told(int(total), mean, square, low, high)
    return found


def write_statistics(images: str | Path, target: str | Path) -> None:
    """Write the statistics of a folder of images."""
    paths = sorted(Path(images).glob("IMG_*.tif"))
    write_json(target, band_statistics(paths))
    logger.info("statistics of %d images", len(paths))


def gather(
    index: gpd.GeoDataFrame,
    labels: Mapping[str, Any],
    splits: Mapping[str, Any],
    statistics: Mapping[str, Mapping[str, Any]],
    windows: Windows,
    software: Mapping[str, Any],
    about: Documents,
    run: str,
    country: str,
) -> dict[str, Any]:
    """All facts of a dataset.

    Args:
        index: as `index.read_index` gives it.
        labels, splits: labels.json and splits.json.
        statistics: of the bands, by year.
        software: what the run was made with, as `software.gathered` gives it.
        windows: first and last day of acquisitions by year.
        about: the section `publish` of the configuration.
    """
    side = index.attrs["tile_size"]
    west, _, east, _ = index.geometry.iloc[0].bounds
    size = (east - west) / side
    crs = f"EPSG:{index.crs.to_epsg()}" if index.crs.to_epsg() else index.crs.name
    years = {year: _year(index[index["year"] == int(year)], labels["years"][year], windows[year], side, size) for year in sorted(windows)}
    title = about.title or run
    pixels = side * side
    return {
        "title": title,
        "description": about.description
        or f"Image patches of Sentinel-2, Sentinel-1 and elevation with masks of mining, {country}, {' and '.join(sorted(windows))}.",
        "keywords": [
            "Earth observation",
            "remote sensing",
            "semantic segmentation",
            "mining",
            "Sentinel-1",
            "Sentinel-2",
            "Copernicus DEM",
        ],
        "run": run,
        "country": country,
        "version": about.version,
        "crs": crs,
        "resolution_m": size,
        "tile_size": side,
        "radiometry": " ".join(sorted(set(index["radiometry"]))),
        "tiles": int(index["tile_id"].nunique()),
        "patches": len(index),
        "area_km2": round(index["tile_id"].nunique() * pixels * size**2 / 1e6, 4),
        "bounds": [float(value) for value in index.total_bounds],
        "degrees": [round(float(value), 6) for value in index.to_crs("OGC:CRS84").total_bounds],
        "years": years,
        "bands": {"all": together([statistics[year] for year in years]), **{year: together([statistics[year]]) for year in years}},
        "splits": {str(name): int(number) for name, number in index["split"].value_counts().sort_index().items()},
        "split_method": splits["source"],
        "leakage": splits["leakage"],
        "software": dict(software),
    }


def _year(rows: pd.DataFrame, labels: Mapping[str, Any], window: Sequence[str], side: int, size: float) -> dict[str, Any]:
    """The facts of a year."""
    valid = (100 - rows["mask_nodata_percent"]) / 100 * side * side
    mining = rows["mining_percent"].fillna(0) / 100 * valid
    percent = rows["mining_percent"].dropna()
    accuracy = labels["accuracy"]
    return {
        "start": str(window[0]),
        "end": str(window[1]),
        "patches": len(rows),
        "mining_percent_mean": _round(percent.mean()),
        "mining_percent_max": _round(percent.max()),
        "mining_ha": _round(mining.sum() * size**2 / 1e4),
        "empty": int((percent == 0).sum()),
        "mask_nodata_percent": _round(rows["mask_nodata_percent"].mean()),
        "image_nodata_percent": _round(rows["image_nodata_percent"].mean()),
        "s1_nodata_percent": _round(rows["s1_nodata_percent"].mean()),
        "clear_percent": _round(100 * rows["clear_share"].mean()),
        "validated_percent": _round(100 * labels["validated_share"]),
        "open_percent": _round(100 * labels["open_share"]),
        "provenance": {
            name: _round(100 * labels["provenance"][name]["area_share"]) for name in PROVENANCES if name in labels["provenance"]
        },
        "agreement": [
            {key: pair[key] for key in ("people", "segments", "kappa", "low", "high", "ac1", "iou")} for pair in labels["agreement"]["year"]
        ],
        "accuracy": None
        if accuracy is None
        else {
            "points": accuracy["settled"],
            "overall": accuracy["overall"],
            "users": accuracy["users"]["mining"],
            "producers": accuracy["producers"]["mining"],
            "iou": accuracy["iou"],
            "mining_ha": accuracy["mining_ha"],
        },
        "scenes": sorted({scene for scenes in rows["scenes"] for scene in scenes}),
        "baselines": sorted({baseline for baselines in rows["baselines"] for baseline in baselines}),
        "splits": {str(name): int(number) for name, number in rows["split"].value_counts().sort_index().items()},
    }


def _round(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def read_facts(path: str | Path) -> dict[str, Any]:
    """The content of `facts.json`."""
    known: dict[str, Any] = read_json(path)
    return known
