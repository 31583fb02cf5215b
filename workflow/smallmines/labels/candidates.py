"""Draw candidate points for the first samples: a GeoPackage per block and year, to be filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import read_lattice
from smallmines.labels.tables import CLEAR
from smallmines.segment.features import read_features
from smallmines.settings.candidates import Candidates

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


LEARNT = 50_000
"""Largest number of segments to which the spectral clusters are fitted."""

CLASS_LIST = (
    ("mining", "", "Surface mining for gold: pits, spoil heaps, washing ponds and the bare ground between them; polluted water "
     "and small vegetation inside a mine belong to it."),
    ("not_mining", "settlement", "Villages and towns; bright roofs look like tailings."),
    ("not_mining", "vegetation", "Crops, shrubs and grass, fallow land; near mines too."),
    ("not_mining", "clear water", "Rivers, lakes and reservoirs without mine sediment."),
    ("not_mining", "bare land", "Roads, fields after harvest, sand winning and other bare ground that is no mine."),
    ("not_mining", "forest", "Closed forest and tree crops such as cocoa."),
)  # fmt: skip
"""Label, subclass and definition (after the SmallMinesDS paper, doi 10.1109/LGRS.2025.3566356)."""


def make_candidates(features: str | Path, grid: str | Path, block: str, settings: Candidates, save_as: str, target: str | Path) -> None:
    """Write candidate points (layer `samples`: label and subclass to be filled in) and the class list (layer `classes`).

    Args:
        features: the block's table of features.
        save_as: path where people save the filled-in file, for the log.
    """
    points = draw(read_features(features), settings)
    frame = to_frame(points, str(read_lattice(grid).geobox.crs))
    write(frame, target)
    logger.info(
        "%d candidates in %d tiles; fill in `label` (and `subclass`) and save the file as %s",
        len(points),
        points["tile_id"].nunique(),
        save_as,
    )


def draw(features: pd.DataFrame, settings: Candidates) -> pd.DataFrame:
    """Draw segments, stratified by spectral cluster and elevation, spread over tiles.

    Each stratum gets a share by its area, but at least a floor (a tenth of an equal share), so that rare surfaces are
    included. Within a stratum tiles take turns, and segments are drawn with chances by area.

    Returns:
        Columns segment, key, tile_id, x, y, cluster (1.. by brightness), elevation_bin (1.. from the lowest), sorted by segment.
    """
    clear = features[features["clear_share"] >= CLEAR]
    table = (clear if len(clear) >= min(settings.candidates, len(features)) else features).reset_index(drop=True)
    cluster = clusters(table, settings)
    elevation = elevation_bins(table["DEM"].to_numpy(np.float64), settings.elevation_bins)
    stratum = np.unique(cluster * (settings.elevation_bins + 1) + elevation, return_inverse=True)[1]
    area = table["area"].to_numpy(np.float64)
    number = allocate(np.bincount(stratum), np.bincount(stratum, weights=area), settings.candidates)
    # exponential races: a random order with chances by area (Efraimidis, Spirakis 2006)
    race = np.random.default_rng(settings.seed).exponential(size=len(table)) / area
    tile = np.unique(table["tile_id"], return_inverse=True)[1]
    turn = rank_within(stratum * (int(tile.max(initial=0)) + 1) + tile, race)
    place = rank_within(stratum, turn + race / (race.max(initial=0) * 2 + 1))
    chosen = place < number[stratum]
    kept = table.loc[chosen, ["segment", "key", "tile_id", "x", "y"]]
    return kept.assign(cluster=cluster[chosen], elevation_bin=elevation[chosen]).sort_values("segment", ignore_index=True)


def clusters(features: pd.DataFrame, settings: Candidates) -> NDArray[np.int64]:
    """Return the spectral cluster 1.. of each segment (k-means on the standardised bands), numbered from the darkest."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    bands = features[list(S2_BANDS)].to_numpy(np.float64)
    bands = ((bands - bands.mean(axis=0)) / (bands.std(axis=0) + 1e-9)).round(6)
    learnt = bands
    if len(bands) > LEARNT:
        learnt = bands[np.sort(np.random.default_rng(settings.seed).choice(len(bands), LEARNT, replace=False))]
    with threadpool_limits(1):  # sums of several threads differ in the last bits
        model = KMeans(min(settings.spectral_clusters, len(np.unique(learnt, axis=0))), n_init=3, random_state=settings.seed).fit(learnt)
        cluster = model.predict(bands)
    rank = np.empty(len(model.cluster_centers_), np.int64)
    rank[np.argsort(model.cluster_centers_.mean(axis=1), kind="stable")] = np.arange(1, len(rank) + 1)
    numbered: NDArray[np.int64] = rank[cluster]
    return numbered


def elevation_bins(height: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the quantile bin 1.. of each height; 0 where there is none."""
    valid = np.isfinite(height)
    result = np.zeros(len(height), np.int64)
    if valid.any():
        edges = np.quantile(height[valid], np.linspace(0, 1, bins + 1)[1:-1])
        result[valid] = 1 + np.searchsorted(edges, height[valid], side="right")
    return result


def allocate(sizes: NDArray[np.int64], areas: NDArray[Any], total: int) -> NDArray[np.int64]:
    """Allocate `total` draws to strata: a floor each, the rest by area, never more than a stratum has."""
    number = np.minimum(sizes, max(1, total // (10 * len(sizes))))
    if number.sum() > total:  # more strata than candidates: the largest
        number = np.zeros_like(sizes)
        number[np.argsort(-areas, kind="stable")[:total]] = 1
    while (left := min(total, int(sizes.sum())) - int(number.sum())) > 0:
        unfilled = number < sizes
        share = np.where(unfilled, areas, 0.0)
        ideal = left * share / share.sum()
        more = np.minimum(np.floor(ideal).astype(np.int64), sizes - number)
        if not more.any():  # fewer left than strata: the largest remainders
            more = np.zeros_like(number)
            more[np.argsort(-np.where(unfilled, ideal, -1.0), kind="stable")[: min(left, int(unfilled.sum()))]] = 1
        number = number + more
    return number


def rank_within(group: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rank 0.. of each element within its group, by value."""
    order = np.lexsort((value, group))
    ordered = group[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    position = np.arange(len(ordered))
    rank = np.empty(len(ordered), np.int64)
    rank[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return rank


def to_frame(points: pd.DataFrame, crs: str) -> gpd.GeoDataFrame:
    """Add empty columns `label`, `subclass`, `annotator` and `note`; keys become text: GeoPackage has no unsigned 64-bit integers."""
    import geopandas as gpd

    table = points.astype({"segment": "int64", "key": str}).reset_index(drop=True)
    for place, column in enumerate(("label", "subclass", "annotator", "note")):
        table.insert(place, column, np.full(len(table), None, object))
    return gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(table["x"], table["y"]), crs=crs)


def write(frame: gpd.GeoDataFrame, target: str | Path) -> None:
    """Write the layers `samples` and `classes`; the same content gives the same bytes."""
    import pandas as pd
    import pyogrio

    text = {"label": str, "subclass": str, "annotator": str, "note": str}
    classes = pd.DataFrame(CLASS_LIST, columns=["label", "subclass", "description"])
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})  # the time of writing stays out
    try:
        with written(target) as beside:
            pyogrio.write_dataframe(frame.astype(dict.fromkeys(text, "string")), beside, layer="samples", driver="GPKG")
            pyogrio.write_dataframe(classes, beside, layer="classes", driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
