"""Compute every number that the documents of a dataset state, from its files: the content of `facts.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.archive.providers import PROVIDERS
from smallmines.core.crs import reproject
from smallmines.core.json_products import CompositeStatistics, Facts, read_product
from smallmines.dataset.band_statistics import merge_statistics
from smallmines.dataset.stac import Windows
from smallmines.labels.tables import PROVENANCES
from smallmines.sensors.manifest import Manifest
from smallmines.sensors.radiometry import VERDICTS
from smallmines.settings.publish import Documents

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class FactSources:
    """Tables and reports that the facts are computed from.

    Attributes:
        index: as `index.read_index` returns it.
        labels, splits: content of labels.json and splits.json.
        statistics: `band_statistics` by year.
        windows: first and last day of acquisitions by year.
        software: versions used by the run, as `software.gathered` returns them.
        manifests: manifests by year ("static" for the elevation) and sensor.
        composite_findings: as the function of this name returns them.
        grid: as `grid_facts` returns it; None: computed from the index.
    """

    index: gpd.GeoDataFrame
    labels: Mapping[str, Any]
    splits: Mapping[str, Any]
    statistics: Mapping[str, Mapping[str, Any]]
    windows: Windows
    software: Mapping[str, Any]
    manifests: Mapping[tuple[str, str], Manifest]
    composite_findings: Sequence[str] = ()
    grid: Mapping[str, Any] | None = None


def composite_findings(statistics: Iterable[str | Path]) -> list[str]:
    """Return the findings of the composites, each with its year, in the order of the files.

    Args:
        statistics: `composites/<year>/<block>/<sensor>.json`; files of earlier versions state no findings.
    """
    findings = []
    for path in map(Path, statistics):
        year = path.parts[-3]
        prefix = "" if year == "static" else f"{year}: "
        findings += [prefix + finding for finding in read_product(path, CompositeStatistics).get("findings", ())]
    return findings


def gather(sources: FactSources, about: Documents, run: str, country: str) -> dict[str, Any]:
    """Return all facts of a dataset.

    Args:
        about: the section `publish` of the configuration.
    """
    index, labels, windows = sources.index, sources.labels, sources.windows
    grid = sources.grid or grid_facts(index)
    side, size = grid["tile_size"], grid["resolution_m"]
    years = {year: _year(index[index["year"] == int(year)], labels["years"][year], windows[year], side, size) for year in sorted(windows)}
    statistics = {"all": [sources.statistics[year] for year in years], **{year: [sources.statistics[year]] for year in years}}
    return {
        "title": about.title or run,
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
        "class_definition": about.class_definition,
        **grid,
        "radiometry": " ".join(sorted(set(index["radiometry"]))),
        "radiometry_verdicts": {name: int(number) for name in VERDICTS if (number := (index["radiometry_verdict"] == name).sum())},
        "tiles": int(index["tile_id"].nunique()),
        "patches": len(index),
        "area_km2": round(index["tile_id"].nunique() * side * side * size**2 / 1e6, 4),
        "years": years,
        "composite_findings": list(sources.composite_findings),
        "bands": {name: merge_statistics(parts) for name, parts in statistics.items()},
        "splits": {str(name): int(number) for name, number in index["split"].value_counts().sort_index().items()},
        "split_method": sources.splits["source"],
        "leakage": sources.splits["leakage"],
        "split_reason": sources.splits["reason"],
        "split_advice": sources.splits["advice"],
        "software": dict(sources.software),
        "sources": image_sources(sources.manifests),
        **_released(labels),
    }


def grid_facts(index: gpd.GeoDataFrame) -> dict[str, Any]:
    """Return the facts of the grid: crs, resolution_m, tile_size (px), bounds (in the CRS), degrees.

    Args:
        index: as `index.read_index` returns it.
    """
    side = index.attrs["tile_size"]
    west, _, east, _ = index.geometry.iloc[0].bounds
    return {
        "crs": f"EPSG:{index.crs.to_epsg()}" if index.crs.to_epsg() else index.crs.name,
        "resolution_m": (east - west) / side,
        "tile_size": side,
        "bounds": [float(value) for value in index.total_bounds],
        "degrees": [round(float(value), 6) for value in reproject(index, "OGC:CRS84").total_bounds],
    }


def image_sources(manifests: Mapping[tuple[str, str], Manifest]) -> list[dict[str, Any]]:
    """Return the provider of each sensor and its years, and how its products differ from the source of the paper.

    Args:
        manifests: by year ("static" for the elevation) and sensor.

    Returns:
        sensor (s2, s1, dem), years (list of str), provider, edition (None where not stated), differs; one entry per sensor and provider.
    """
    years: dict[tuple[str, str, str | None], list[str]] = {}
    for (year, sensor), manifest in manifests.items():
        years.setdefault((sensor, manifest.provider, manifest.edition), []).append(year)
    order = ("s2", "s1", "dem")
    return [
        {
            "sensor": sensor,
            "years": sorted(own),
            "provider": provider,
            "edition": edition,
            "differs": PROVIDERS[sensor, provider].differs if (sensor, provider) in PROVIDERS else "",
        }
        for (sensor, provider, edition), own in sorted(years.items(), key=lambda entry: (order.index(entry[0][0]), entry[1]))
    ]


def _year(rows: pd.DataFrame, labels: Mapping[str, Any], window: Sequence[str], side: int, size: float) -> dict[str, Any]:
    """Return the facts of a year."""
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
        "looks": dict(labels.get("looks", {})),
        "doubtful_evidence": int(labels.get("doubtful_evidence", 0)),
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
        **({"unsupported_percent": _round(rows["unsupported_percent"].mean())} if "unsupported_percent" in rows else {}),
        **_released(labels),
    }


def _released(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `labels.json`, or a year of it, says about the release that labels come from; empty where they come from people."""
    return {"released": labels["released"]} if "released" in labels else {}


def _round(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def read_facts(path: str | Path) -> dict[str, Any]:
    """Read `facts.json`."""
    facts: dict[str, Any] = read_product(path, Facts)
    return facts
