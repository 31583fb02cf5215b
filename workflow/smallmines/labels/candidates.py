"""Draw candidate points for the first samples: a GeoPackage per block and year, to be filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import S2_BANDS
from smallmines.grid.lattice import read_lattice
from smallmines.labels.feature_table import feature_names, matrix, read_table, usable
from smallmines.labels.tables import CLEAR
from smallmines.settings.candidates import Candidates

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


LEARNT = 50_000
"""Largest number of segments to which the clusters are fitted."""

EACH = 3
"""There are at most as many clusters as give each this many candidates."""

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


@dataclass(frozen=True)
class Inputs:
    """Tables of features and of context features (None for those of the paper) of a block, and `grid.json`."""

    features: str | Path
    context: str | Path | None
    grid: str | Path


def make_candidates(inputs: Inputs, block: str, settings: Candidates, save_as: str, target: str | Path) -> None:
    """Write candidate points (layer `samples`: label and subclass to be filled in) and the class list (layer `classes`).

    Args:
        save_as: path where people save the filled-in file, for the log.
    """
    names = feature_names("paper" if inputs.context is None else "context")
    table = read_table(inputs.features, inputs.context)
    points = draw(table, usable([table], names), settings)
    frame = to_frame(points, str(read_lattice(inputs.grid).geobox.crs))
    write(frame, target)
    logger.info(
        "%d candidates in %d tiles; fill in `label` (and `subclass`) and save the file as %s",
        len(points),
        points["tile_id"].nunique(),
        save_as,
    )


def draw(features: pd.DataFrame, names: Sequence[str], settings: Candidates) -> pd.DataFrame:
    """Draw segments: as many from each cluster of similar segments, spread over tiles.

    Common surfaces thus get few candidates and rare ones, as mines are, many: measured, 300 of them teach the forest more than 1000 that
    are drawn by area (docs/assistant.md). Within a cluster tiles take turns, and segments are drawn with chances by area.

    Args:
        features: table of features of a block.
        names: the features that say which segments are similar.

    Returns:
        Columns segment, key, tile_id, x, y, cluster (1.. by brightness), sorted by segment.
    """
    clear = features[features["clear_share"] >= CLEAR]
    table = (clear if len(clear) >= min(settings.candidates, len(features)) else features).reset_index(drop=True)
    cluster = clusters(table, names, settings)
    number = allocate(np.bincount(cluster)[1:], settings.candidates)
    # exponential races: a random order with chances by area (Efraimidis, Spirakis 2006)
    race = np.random.default_rng(settings.seed).exponential(size=len(table)) / table["area"].to_numpy(np.float64)
    tile = np.unique(table["tile_id"], return_inverse=True)[1]
    turn = rank_within(cluster * (int(tile.max(initial=0)) + 1) + tile, race)
    place = rank_within(cluster, turn + race / (race.max(initial=0) * 2 + 1))
    chosen = place < number[cluster - 1]
    kept = table.loc[chosen, ["segment", "key", "tile_id", "x", "y"]]
    return kept.assign(cluster=cluster[chosen]).sort_values("segment", ignore_index=True)


def clusters(table: pd.DataFrame, names: Sequence[str], settings: Candidates) -> NDArray[np.int64]:
    """Return the cluster 1.. of each segment (k-means on the standardised features), numbered from the darkest."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    if table.empty:
        return np.zeros(0, np.int64)
    values = matrix(table, names).astype(np.float64)
    values = ((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9)).round(6)
    learnt = values
    if len(values) > LEARNT:
        learnt = values[np.sort(np.random.default_rng(settings.seed).choice(len(values), LEARNT, replace=False))]
    number = min(settings.clusters, max(1, settings.candidates // EACH), len(np.unique(learnt, axis=0)))
    with threadpool_limits(1):  # sums of several threads differ in the last bits
        cluster = KMeans(number, n_init=1, random_state=settings.seed).fit(learnt).predict(values)
    brightness = table[list(S2_BANDS)].to_numpy(np.float64).mean(axis=1)
    size = np.maximum(np.bincount(cluster, minlength=number), 1)
    rank = np.empty(number, np.int64)
    rank[np.argsort(np.bincount(cluster, brightness, minlength=number) / size, kind="stable")] = np.arange(1, number + 1)
    numbered: NDArray[np.int64] = rank[cluster]
    return numbered


def allocate(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Allocate `total` draws to strata as evenly as their sizes allow; what is left over goes to the largest."""
    number = np.zeros_like(sizes)
    while (left := min(total, int(sizes.sum())) - int(number.sum())) > 0:
        unfilled = np.flatnonzero(number < sizes)
        if left < len(unfilled):
            unfilled = unfilled[np.argsort(-sizes[unfilled], kind="stable")[:left]]
        number[unfilled] += np.minimum(max(1, left // len(unfilled)), (sizes - number)[unfilled])
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
