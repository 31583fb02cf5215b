"""Tables of the report: acquisitions, class shares by split, confusion matrices, the forests' IoU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.json_products import read_product
from smallmines.core.product import BUFFER, SPLITS

SENSORS = {"s2": "Sentinel-2", "s1": "Sentinel-1"}
CLASSES = {1: "mining", 0: "not mining"}
MAPPED = {**CLASSES, 255: "no label (255)"}


EXAMPLES = 6
"""Tiles of the figure of examples."""


@dataclass(frozen=True)
class Acquisition:
    """A pass of a satellite that the composites of a year were made from.

    Attributes:
        time: of the first scene, UTC, to the minute.
        orbit: relative orbit and, for Sentinel-1, direction; empty where the manifest has none.
        scenes: number of scenes that the year's composites use.
        tiles: MGRS tiles of Sentinel-2.
        baselines: processing baselines of Sentinel-2.
        cloud: mean cloud cover in % by the metadata of the Sentinel-2 scenes.
    """

    year: str
    sensor: str
    time: str
    platform: str
    orbit: str
    scenes: int
    tiles: tuple[str, ...]
    baselines: tuple[str, ...]
    cloud: float | None


def acquisitions(manifests: Iterable[Mapping[str, Any]], used: Mapping[str, Sequence[str]]) -> list[Acquisition]:
    """The passes of each year and sensor in order of time.

    Args:
        manifests: contents of the manifests of Sentinel-2 and Sentinel-1; others are left out.
        used: ids of the Sentinel-2 scenes in the dataset by year; of Sentinel-1 all chosen scenes count.
    """
    passes = []
    for manifest in manifests:
        year, sensor = str(manifest["query"]["year"]), manifest["sensor"]
        if sensor not in SENSORS or year not in used:
            continue
        items: dict[str, list[Mapping[str, Any]]] = {}
        for item in manifest["chosen"]:
            if sensor != "s2" or item["id"] in used[year]:
                items.setdefault(item["datatake"], []).append(item)
        passes += [_acquisition(year, sensor, scenes) for scenes in items.values()]
    return sorted(passes, key=lambda acquisition: (acquisition.year, list(SENSORS.values()).index(acquisition.sensor), acquisition.time))


def _acquisition(year: str, sensor: str, items: Sequence[Mapping[str, Any]]) -> Acquisition:
    """The pass that some scenes of one data take belong to."""
    first = min(items, key=lambda item: item["datetime"])
    number = first.get("relative_orbit") or next(iter(re.findall(r"_R(\d{3})_", first["id"])), None)
    clouds = [item["cloud_cover"] for item in items if item.get("cloud_cover") is not None]
    baselines = {item["baseline"] for item in items if item.get("baseline") is not None}
    return Acquisition(
        year,
        SENSORS[sensor],
        first["datetime"][:16].replace("T", " "),
        str(first.get("platform", "")).upper().replace("SENTINEL", "Sentinel"),
        " ".join(str(part) for part in (number and int(number), first.get("orbit_state")) if part),
        len(items),
        tuple(sorted({item["tile"] for item in items if item.get("tile")})),
        tuple(f"{baseline // 100:02d}.{baseline % 100:02d}" for baseline in sorted(baselines)),
        float(np.mean(clouds)) if clouds else None,
    )


@dataclass(frozen=True)
class LeftOut:
    """A scene that is left out for another reason than its rank.

    Attributes:
        share: share of the area under its footprint, 0 to 1.
        reason: why, as in the manifest.
    """

    year: str
    sensor: str
    id: str
    share: float
    reason: str


def left_out(manifests: Iterable[Mapping[str, Any]]) -> list[LeftOut]:
    """The dropped scenes of manifests; those of earlier versions state none."""
    return [
        LeftOut(str(manifest["query"]["year"]), SENSORS[manifest["sensor"]], item["id"], item["share"], item["reason"])
        for manifest in manifests
        if manifest["sensor"] in SENSORS
        for item in manifest.get("dropped") or ()
    ]


@dataclass(frozen=True)
class SplitShare:
    """Class share of a split in a year.

    Attributes:
        pairs: image–mask pairs; with_mining: of them with a pixel of mining.
        mining_percent: mining in % of the labelled area.
        of_all_percent: the split's part of the year's mining in %.
    """

    split: str
    year: str
    pairs: int
    with_mining: int
    mining_percent: float
    of_all_percent: float


def split_shares(index: pd.DataFrame) -> list[SplitShare]:
    """Class share of each split and year.

    Args:
        index: the dataset's index.
    """
    labelled = 100 - index["mask_nodata_percent"].to_numpy()
    table = index[["split", "year", "mining_percent"]].assign(labelled=labelled, mining=index["mining_percent"].fillna(0) * labelled)
    shares = []
    for split in (*SPLITS, BUFFER):
        for year, rows in table[table["split"] == split].groupby("year"):
            mining, whole = float(rows["mining"].sum()), float(table.loc[table["year"] == year, "mining"].sum())
            share = mining / max(float(rows["labelled"].sum()), 1e-9)
            count = int((rows["mining_percent"] > 0).sum())
            shares.append(SplitShare(split, str(year), len(rows), count, share, 100 * mining / whole if whole else 0.0))
    return shares


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of a year's masks, estimated from the accuracy sample.

    Attributes:
        points: number of interpreted points by (map class, reference class).
        percent: estimated share of the area in % by (map class, reference class); see `confusion`.
    """

    year: str
    points: Mapping[tuple[str, str], int]
    percent: Mapping[tuple[str, str], float]

    @property
    def mapped(self) -> list[str]:
        """Classes of the map, "no label" only where a point fell on it."""
        return [
            name
            for name in MAPPED.values()
            if name in CLASSES.values() or any(self.points[name, reference] for reference in CLASSES.values())
        ]


def confusion(points: pd.DataFrame, years: Iterable[str]) -> list[Confusion]:
    """Confusion matrices of the years that have an accuracy sample.

    Each stratum's points stand for its pixels: a cell is Σ over strata of pixels · (points of the cell / points with a class), relative
    to all pixels (Stehman 2014, as in `labels.accuracy`). Points with two opinions or without a class do not count.

    Args:
        points: accuracy_points.csv.
        years: with an estimate of accuracy.
    """
    settled = points[points["reference"].isin(CLASSES)]
    matrices = []
    for year in years:
        rows = settled[settled["year"].astype(str) == year]
        weight = rows["pixels"] / rows.groupby("stratum")["pixels"].transform("size")
        cells = {
            (MAPPED[mapped], CLASSES[reference]): (rows["mapped"] == mapped) & (rows["reference"] == reference)
            for mapped in MAPPED
            for reference in CLASSES
        }
        number = {name: int(cell.sum()) for name, cell in cells.items()}
        matrices.append(Confusion(year, number, {name: 100 * float(weight[cell].sum() / weight.sum()) for name, cell in cells.items()}))
    return matrices


def forest_ious(metrics: Iterable[str | Path]) -> list[float]:
    """Out-of-fold IoU of each forest, re-weighted to the class shares of its block, at its threshold; forests without one are left out."""
    ious = []
    for forest in (read_product(path, dict[str, Any]) for path in metrics):
        scores = forest.get("out_of_fold", {}).get("at_class_shares_of_the_area", {})
        iou = scores.get(str(forest.get("threshold")), {}).get("iou")
        if iou is not None:
            ious.append(float(iou))
    return ious


def importances(metrics: Iterable[str | Path]) -> dict[str, float]:
    """Return the mean importance of each feature over the forests, the largest first; forests that name none are left out."""
    forests = [read_product(path, dict[str, Any]).get("importances", {}) for path in metrics]
    means = pd.DataFrame(forests).mean().sort_values(ascending=False, kind="stable")
    return {str(name): float(value) for name, value in means.items()}


@dataclass(frozen=True)
class ForestShare:
    """Prevalence and threshold of a forest, as its metrics state them; NaN where they do not."""

    year: str
    block: str
    share: float
    low: float
    high: float
    threshold: float
    source: str


def forest_shares(metrics: Iterable[str | Path]) -> list[ForestShare]:
    """List prevalence and threshold of the forests that state them, by year and block.

    Args:
        metrics: `assistant/<year>/<block>/metrics.json`.
    """
    rows = []
    for path in metrics:
        document = read_product(path, dict[str, Any])
        prevalence = document.get("prevalence", {})
        if {"share", "low", "high"} <= set(prevalence):
            year, block = Path(path).parts[-3:-1]
            source = prevalence.get("source", "") if prevalence.get("identifiable", True) else f"{prevalence.get('source', '')}, not known"
            share, low, high = (float(prevalence[key]) for key in ("share", "low", "high"))
            rows.append(ForestShare(year, block, share, low, high, float(document.get("threshold", np.nan)), source))
    return sorted(rows, key=lambda row: (row.year, row.block.zfill(9)))


def unknown_prevalences(metrics: Iterable[str | Path]) -> list[dict[str, Any]]:
    """List the blocks whose forests could not tell the share of mining from the samples: where, share, low, high, why, remedy.

    Args:
        metrics: `assistant/<year>/<block>/metrics.json`.
    """
    unknown = []
    for path in metrics:
        found = read_product(path, dict[str, Any]).get("prevalence", {})
        if not found.get("identifiable", True):
            year, block = Path(path).parts[-3:-1]
            unknown.append({"where": f"block {block}, {year}", **{key: found[key] for key in ("share", "low", "high", "why", "remedy")}})
    return unknown


def most_mining(index: pd.DataFrame) -> pd.DataFrame:
    """The rows of `EXAMPLES` tiles with most mining, each tile in its year with most."""
    ordered = index.sort_values(["mining_percent", "tile_id", "year"], ascending=[False, True, True])
    return ordered.drop_duplicates("tile_id").head(EXAMPLES)


def degrees(value: float, letters: str) -> str:
    """Write a coordinate in degrees, e.g. "2.05° W".

    Args:
        letters: of positive and of negative values.
    """
    return f"{abs(value):.6g}°" + (f" {letters[int(value < 0)]}" if round(value, 6) else "")
