"""Review queue of a round, mixed from several reasons and spread over tiles, and blind overlap for all annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.config.sections import Queue
from smallmines.core.crs import reproject_shapes
from smallmines.core.errors import UserError
from smallmines.labels.candidates import rank_within
from smallmines.labels.tables import RELEASED, VALIDATED

if TYPE_CHECKING:
    import pandas as pd

NEAR_M = 300.0
"""Distance in m within which a segment is near a mine (audit), or near water and settlements (overlap)."""

CELL_M = 50.0
"""Side in m of the cells in which mines are looked for first."""

CONFIDENT = 0.5
"""A prediction with less entropy (in bits) is confident."""

CROWDED = 4.0
"""No tile gives more than this many times its even share of a reason's segments, unless there are too few others."""


def review_queue(
    table: pd.DataFrame,
    settings: Queue,
    seed: int,
    again: NDArray[np.int64],
    others: NDArray[np.float64] | None,
    mined_before: NDArray[np.float64] | None,
) -> pd.DataFrame:
    """Return the segments of one round, in order.

    Args:
        table: segment, key, area, x, y, tile_id, label, provenance, probability, entropy of a block, in segment order.
        again: segments whose decisions could not be transferred to the present segmentation; they always come first.
        others: by segment, probability by the forests of the other blocks, NaN where not predicted; None: no other block.
        mined_before: by segment, share that is mining in the mask of the year before; None: no earlier year.

    Returns:
        segment and why (transfer, uncertainty, disagreement, unmined, audit), at most `settings.size` rows; where a
        reason has too few segments, uncertainty fills the rest. Segments with the label of a release count as looked at.
    """
    import pandas as pd

    parts = {name: getattr(settings, name) for name in ("uncertainty", "disagreement", "unmined", "audit")}
    number = {name: round(settings.size * share / sum(parts.values())) for name, share in parts.items()}
    tile = pd.factorize(table["tile_id"])[0]
    left = ~table["provenance"].isin(VALIDATED).to_numpy()
    released = (table["provenance"] == RELEASED).to_numpy()
    chosen: list[pd.DataFrame] = []
    for name in ("transfer", "unmined", "disagreement", "audit", "uncertainty"):
        wanted = settings.size if name == "transfer" else number[name]
        if name == "uncertainty":
            wanted = settings.size - sum(len(rows) for rows in chosen)
        open_to = left if name == "transfer" else left & ~released
        score = _score(name, table, seed, again, others, mined_before)
        own = _best(np.where(open_to, score, -np.inf), wanted, tile)
        left[own] = False
        chosen.append(
            pd.DataFrame({"segment": table["segment"].to_numpy()[own], "why": name, "turn": (np.arange(len(own)) + 0.5) / max(len(own), 1)})
        )
    queue = pd.concat(chosen, ignore_index=True).head(settings.size)
    first = (queue["why"] != "transfer").to_numpy()
    return queue.iloc[np.lexsort((queue["segment"], queue["turn"], first))][["segment", "why"]].reset_index(drop=True)


def _score(
    why: str,
    table: pd.DataFrame,
    seed: int,
    again: NDArray[np.int64],
    others: NDArray[np.float64] | None,
    mined_before: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the score of each segment for one reason of the queue, (segment,); −∞ where it does not hold. Arguments as of `review_queue`.

    Reasons are scored one by one, since a large block has a million segments.
    """
    entropy, area, label = table["entropy"].to_numpy(np.float64), table["area"].to_numpy(np.float64), table["label"].to_numpy()
    if why == "transfer":
        return np.where(table["segment"].isin(again), area, -np.inf)
    if why == "uncertainty":
        return np.where(entropy > 0, entropy * area, -np.inf)
    if why == "audit":
        confident = entropy < CONFIDENT
        race = np.random.default_rng(seed).exponential(size=len(table)) / area
        return np.where(confident, -_turns(_near_mines(table, confident & (label == 0)), race).astype(np.float64), -np.inf)
    if why == "disagreement" and others is not None:
        difference = np.abs(others - table["probability"].to_numpy(np.float64))
        return np.where(difference >= 0.25, difference * area, -np.inf)
    if why == "unmined" and mined_before is not None:
        return np.where((mined_before >= 0.5) & (label == 0), area, -np.inf)
    return np.full(len(table), -np.inf)


def _turns(beside: NDArray[np.bool_], race: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each segment's turn in the audit, from 0: every other one is a negative near a mine (`beside`), in the order of `race`."""
    order = np.argsort(race, kind="stable")
    drawn = beside[order]
    turn = np.empty(len(race), np.int64)
    turn[order] = np.where(drawn, 2 * np.cumsum(drawn) - 2, 2 * np.cumsum(~drawn) - 1)
    return turn


def _best(score: NDArray[np.float64], number: int, tile: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the highest scores, best first, spread over tiles (`CROWDED`); -inf is never chosen."""
    order = np.flatnonzero(np.isfinite(score))
    order = order[np.argsort(-score[order].round(6), kind="stable")]
    if not len(order) or number <= 0:
        return order[:0]
    most = int(np.ceil(CROWDED * number / len(np.unique(tile[order]))))
    looked_at = 0
    spread = order[:0]
    while len(spread) < number and looked_at < len(order):  # the first few of a million are enough nearly always
        looked_at = max(4 * number, 2 * looked_at)
        first = order[:looked_at]
        place = rank_within(tile[first], np.arange(len(first), dtype=np.float64))
        spread = first[place < most]
    return np.concatenate([spread, first[place >= most]])[:number]


def _near_mines(table: pd.DataFrame, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the segments asked for have their interior point within `NEAR_M` of one of a segment labelled mining.

    A grid of cells answers for most of them; a search tree is asked about the others.
    """
    near = asked.copy()
    x, y = table["x"].to_numpy(np.float64), table["y"].to_numpy(np.float64)
    mining = (table["label"] == 1).to_numpy()
    if not mining.any():
        return np.zeros(len(table), bool)
    col, row = ((values - values.min()) // CELL_M for values in (x, y))
    cell = (row * (col.max() + 1) + col).astype(np.int64)
    mines = np.zeros((int(row.max()) + 1, int(col.max()) + 1), bool)
    mines.ravel()[cell[mining]] = True
    surely, maybe = _reached(mines)
    near &= maybe.ravel()[cell]
    left = np.flatnonzero(near & ~surely.ravel()[cell])
    near[left] = _within(x[left], y[left], x[mining], y[mining])
    return near


def _reached(mines: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the cells all of whose points, and those any of whose points, are within `NEAR_M` of a point of a cell with a mine."""
    reach = int(NEAR_M // CELL_M) + 1
    rows, cols = mines.shape
    padded = np.pad(mines, reach)
    surely, maybe = np.zeros_like(mines), np.zeros_like(mines)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            moved = padded[reach + down : reach + down + rows, reach + right : reach + right + cols]
            if CELL_M * np.hypot(abs(down) + 1, abs(right) + 1) < NEAR_M:
                surely |= moved
            if CELL_M * np.hypot(max(abs(down) - 1, 0), max(abs(right) - 1, 0)) < NEAR_M:
                maybe |= moved
    return surely, maybe


def _within(x: NDArray[np.float64], y: NDArray[np.float64], to_x: NDArray[np.float64], to_y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points have another point within `NEAR_M`."""
    from scipy.spatial import cKDTree

    if not len(x):
        return np.zeros(0, bool)
    distance, _ = cKDTree(np.stack([to_x, to_y], axis=1)).query(np.stack([x, y], axis=1), distance_upper_bound=NEAR_M)
    return np.asarray(np.isfinite(distance), bool)


def draw_overlap(table: pd.DataFrame, number: int, seed: int, near: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Draw the segments that all annotators label blind: equal numbers by predicted class, third of the entropy, and nearness.

    Args:
        near: whether each segment lies near water or settlements (see `near_features`); None: not known.

    Returns:
        segment, stratum and inclusion (its probability of being drawn), in segment order.
    """
    import pandas as pd

    undecided = ~table["provenance"].isin(VALIDATED).to_numpy()
    rows = table.loc[undecided, ["segment", "entropy", "label"]]
    entropy = rows["entropy"].to_numpy(np.float64)
    thirds = np.quantile(entropy, [1 / 3, 2 / 3]) if len(entropy) else np.zeros(2)
    stratum = (rows["label"] == 1).to_numpy(np.int64) * 3 + np.searchsorted(thirds, entropy, side="left")
    stratum += 6 * (near[undecided] if near is not None else np.zeros(len(rows), bool))
    lots = np.random.default_rng(seed).uniform(size=len(rows))
    turn = rank_within(stratum, lots)
    drawn = np.sort(np.lexsort((stratum, turn))[:number])
    count, taken = np.bincount(stratum, minlength=12), np.bincount(stratum[drawn], minlength=12)
    overlap = pd.DataFrame({"segment": rows["segment"].to_numpy()[drawn], "stratum": stratum[drawn]})
    return overlap.assign(inclusion=taken[stratum[drawn]] / count[stratum[drawn]])


def near_features(table: pd.DataFrame, path: Path, crs: str) -> NDArray[np.bool_]:
    """Return which segments have their interior point within `NEAR_M` of a feature of a vector file (rivers, settlements …).

    Raises:
        UserError: the file cannot be read, or has no CRS.
    """
    import pyogrio
    import shapely

    try:
        layers = [pyogrio.read_dataframe(path, layer=layer, columns=[]) for layer, kind in pyogrio.list_layers(path) if kind is not None]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise UserError(f"a vector file at {path} (labels.overlap_near)", str(error), "restore the file or remove the key") from None
    if any(layer.crs is None for layer in layers):
        raise UserError(f"a CRS in {path}", "none", "write it with its CRS")
    shapes = (
        np.concatenate([reproject_shapes(layer.geometry.to_numpy(), layer.crs, crs, file=path) for layer in layers])
        if layers
        else np.array([], object)
    )
    points = np.asarray(shapely.points(table["x"].to_numpy(np.float64), table["y"].to_numpy(np.float64)), object)
    near = np.zeros(len(table), bool)
    if len(shapes):
        near[shapely.STRtree(points).query(shapes, predicate="dwithin", distance=NEAR_M)[1]] = True
    return near
