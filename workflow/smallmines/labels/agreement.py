"""Measure the agreement of each two people on the segments of the blind overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.labels.event_files import LABELS, WITHDRAWN, Event

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 2000
"""Bootstrap samples of tiles."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two people on one block and year; NaN where undefined.

    Attributes:
        people: codes of the two.
        segments, tiles: labelled mining or not mining by both.
        unsure: segments of which one or both were unsure; not counted above.
        raw: share of the segments with the same label.
        kappa, low, high: Cohen's kappa (1960) of the segments as drawn, and its 95 % interval by bootstrap over tiles.
        ac1: Gwet's AC1 (2008), which is more robust to rare classes.
        area: share of the area with the same label, segments weighted by area over inclusion probability.
        iou: area that both label mining over area that either does, with the same weights; comparable with a model's IoU.
    """

    people: tuple[str, str]
    segments: int
    tiles: int
    unsure: int
    raw: float
    kappa: float
    low: float
    high: float
    ac1: float
    area: float
    iou: float


def read_overlap(path: str | Path) -> pd.DataFrame:
    """Read the blind overlap of a year and block: key, tile_id, stratum, inclusion, area (of each segment, in pixels).

    Raises:
        UserError: the file is not an overlap.
    """
    import pandas as pd

    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise OSError("no file")
        table = pd.read_csv(path, dtype={"key": np.uint64, "tile_id": str})
        missing = sorted({"key", "tile_id", "stratum", "inclusion", "area"} - set(table.columns))
    except (OSError, ValueError) as error:
        table, missing = pd.DataFrame(), [flat(error)]
    if missing:
        raise UserError(f"the overlap of a year and block in {path}", f"without {', '.join(missing)}", "restore the file")
    return table


def agreements(events: Sequence[Event], overlap: pd.DataFrame, seed: int) -> list[Agreement]:
    """Measure the agreement of each two people.

    Args:
        events: only blind ones count, of each person the latest about a segment, unless it is withdrawn.
        overlap: key, tile_id, area, inclusion of the segments of the overlap (see `read_overlap`).
    """
    import itertools

    import pandas as pd

    blind = sorted((event for event in set(events) if event.blind), key=lambda event: event.order)
    labels = pd.DataFrame(
        {
            "key": np.array([event.key for event in blind], np.uint64),
            "who": [event.annotator for event in blind],
            "label": [event.label for event in blind],
        }
    ).drop_duplicates(["key", "who"], keep="last")
    labels = labels[labels["label"] != WITHDRAWN].assign(label=lambda table: table["label"].map(LABELS))
    segments = overlap.drop_duplicates("key")[["key", "tile_id", "area", "inclusion"]]
    table = labels.pivot_table(index="key", columns="who", values="label").reset_index().merge(segments, on="key")
    results = []
    for first, second in itertools.combinations(sorted(set(labels["who"])), 2):
        both = table[table[first].notna() & table[second].notna()]
        if len(both):
            sure = both[(both[first] >= 0) & (both[second] >= 0)]
            results.append(_agreement((first, second), sure, len(both) - len(sure), seed))
    return results


def _agreement(people: tuple[str, str], sure: pd.DataFrame, unsure: int, seed: int) -> Agreement:
    a, b = (sure[who].to_numpy(np.int64) for who in people)
    tile_names, tile = np.unique(sure["tile_id"].astype(str), return_inverse=True)
    weight = (sure["area"] / sure["inclusion"]).to_numpy(np.float64)
    cell = 2 * a + b  # 0: neither, 1 and 2: one of them, 3: both label it mining
    per_tile = np.bincount(tile * 4 + cell, minlength=4 * len(tile_names)).reshape(-1, 4).astype(np.float64)
    whole = per_tile.sum(axis=0)
    by_area = np.bincount(cell, weight, minlength=4)
    low = high = float("nan")
    if len(tile_names) > 1:
        drawn = np.random.default_rng(seed).multinomial(len(tile_names), np.full(len(tile_names), 1 / len(tile_names)), DRAWS)
        values = kappa(drawn @ per_tile)
        if np.isfinite(values).any():
            low, high = (float(value) for value in np.nanpercentile(values, [2.5, 97.5]))
    return Agreement(
        people,
        len(sure),
        len(tile_names),
        unsure,
        _ratio(whole[0] + whole[3], whole.sum()),
        float(kappa(whole)),
        low,
        high,
        _ac1(whole),
        _ratio(by_area[0] + by_area[3], by_area.sum()),
        _ratio(by_area[3], by_area[1:].sum()),
    )


def kappa(cells: NDArray[np.float64]) -> Any:
    """Cohen's kappa (1960, doi 10.1177/001316446002000104) of counts (…, 4): neither, only b, only a, both; NaN where it is undefined."""
    total = cells.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = (cells[..., 0] + cells[..., 3]) / total
        a, b = (cells[..., 2] + cells[..., 3]) / total, (cells[..., 1] + cells[..., 3]) / total
        chance = a * b + (1 - a) * (1 - b)
        return (observed - chance) / (1 - chance)


def _ac1(cells: NDArray[np.float64]) -> float:
    """Gwet's AC1 (2008, doi 10.1348/000711006X126600) for two classes."""
    total = cells.sum()
    if not total:
        return float("nan")
    mean = (2 * cells[3] + cells[1] + cells[2]) / (2 * total)
    chance = 2 * mean * (1 - mean)
    return float(((cells[0] + cells[3]) / total - chance) / (1 - chance))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
