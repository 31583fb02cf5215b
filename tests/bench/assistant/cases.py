"""Cases for the prevalence: a place, a class that plays the mines, its share of the area, and how people sampled."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.labels import forest
from smallmines.labels.feature_table import PAPER, matrix
from smallmines.labels.tables import CLEAR
from smallmines.labels.threshold import ClearSegments

PARAMS = {"n_estimators": 100, "max_depth": 15, "min_samples_split": 5}
MODES = ("random", "by kind", "by kind, unnamed", "hard negatives")
"""Non-mining samples: a random draw; equally many of each kind of land, with and without its name as subclass; only look-alikes."""

SHARES = {"real": (None, 0.45, 0.25, 0.1, 0.05), "world": (0.005, 0.01, 0.02, 0.04), "block": (None,), "window": (None,)}
"""Shares of the class by kind of place; None: as it is. For lower ones whole regions of the class are taken out of the area."""

FEWEST = 95
"""Cases with fewer positive samples are left out."""

APART = 60.0
"""Positive segments nearer than this, in m, are one region."""


@dataclass(frozen=True)
class Ground:
    """Segments of a place with their truth.

    Attributes:
        kind: `real`, `block`, `world` (the blocks of a year together) or `window` (a part with much of the class).
        features: table of features.
        share: (segment,) share of each segment that is of the class.
        cover: (segment,) name of the kind of land, "" where there is no map of it.
    """

    name: str
    target: str
    kind: str
    features: pd.DataFrame
    share: NDArray[np.float64]
    cover: NDArray[np.object_]

    def part(self, kept: NDArray[np.bool_], name: str = "", kind: str = "") -> Ground:
        """Return the segments that are kept, under another name and kind if given."""
        features = self.features[kept].reset_index(drop=True)
        return Ground(name or self.name, self.target, kind or self.kind, features, self.share[kept], self.cover[kept])


@dataclass(frozen=True)
class Case:
    """What is asked: `prevalence` None is the share as it is."""

    prevalence: float | None
    mode: str
    number: int
    seed: int


@dataclass(frozen=True)
class Sampled:
    """A place sampled by a case.

    Attributes:
        training, clear: what the assistant has.
        mining: (segment,) whether most of the segment is of the class.
        truth: share of the area, by pixels.
    """

    training: forest.Training
    clear: ClearSegments
    mining: NDArray[np.bool_]
    truth: float


def together(grounds: list[Ground], name: str) -> Ground:
    """Return several places as one."""
    table = pd.concat([ground.features for ground in grounds], ignore_index=True)
    share, cover = (np.concatenate([getattr(ground, key) for ground in grounds]) for key in ("share", "cover"))
    return Ground(name, grounds[0].target, "world", table, share, cover)


def window(ground: Ground, side: float, share: float = 0.35, step: float = 200.0) -> Ground:
    """Return the square part of a place, `side` m wide, whose share of the class is nearest to `share`."""
    x, y, area = (ground.features[name].to_numpy(np.float64) for name in ("x", "y", "area"))
    best: tuple[float, NDArray[np.bool_]] = (np.inf, np.ones(len(x), bool))
    for west in np.arange(x.min(), x.max() - side, step):
        for south in np.arange(y.min(), y.max() - side, step):
            inside = (x >= west) & (x < west + side) & (y >= south) & (y < south + side)
            if area[inside].sum() < 0.95 * (side / 10) ** 2:
                continue
            away = abs(np.average(ground.share[inside], weights=area[inside]) - share)
            best = min(best, (away, inside), key=lambda pair: pair[0])
    return ground.part(best[1], f"{ground.name}, window", "window")


def cases(ground: Ground) -> Iterator[Case]:
    """Yield the cases of a place: shares of the class, ways of sampling and numbers of samples."""
    natural = float(np.average(ground.share, weights=ground.features["area"]))
    rng = np.random.default_rng(seed_of(ground.name, ground.target))
    for share in SHARES[ground.kind]:
        if (share is None and natural > 0.47) or (share is not None and share > 0.8 * natural):
            continue
        for mode in MODES:
            numbers = (100, 300, 1000) if mode == "random" and ground.kind != "block" else (int(rng.choice([100, 300, 1000])),)
            for number in numbers:
                yield Case(share, mode, number, seed_of(ground.name, ground.target, share, mode, number) % 1000)


def seed_of(*parts: object) -> int:
    """Return a number for anything that can be printed."""
    return zlib.crc32(repr(parts).encode())


def sample(ground: Ground, case: Case) -> Sampled | None:
    """Sample a place as a case asks; None where it has too little of the class."""
    rng = np.random.default_rng(seed_of(ground.name, ground.target, case))
    kept = ground.features["clear_share"].to_numpy() >= CLEAR
    if case.prevalence is not None:
        kept &= without_regions(ground, case.prevalence, rng)
    ground = ground.part(kept)
    truth = ground.share >= 0.5
    positive = np.flatnonzero(truth)
    number = min(case.number, int(0.6 * len(positive)))
    if number < FEWEST:
        return None
    x = matrix(ground.features, PAPER)
    cover = ground.cover if (ground.cover != "").all() else clusters(x, truth, case.seed)
    chosen = negatives(x, truth, cover, case, rng)
    rows = np.sort(np.concatenate([rng.choice(positive, number, replace=False), chosen]))
    y = truth[rows].astype(np.int8)
    names = np.where((y == 0) & (case.mode == "by kind"), cover[rows], "").astype(object)
    area = ground.features["area"].to_numpy(np.float64)
    training = forest.Training(x[rows], y, names, np.full(len(rows), "", object), area[rows], np.zeros((len(rows), 2)))
    label = np.full(len(x), -1, np.int8)
    label[rows] = y
    probabilities = forest.predict(forest.fit(training.x, y, PARAMS, case.seed, 1), x, [0, 1], 1)
    return Sampled(training, ClearSegments(x, area, probabilities, label), truth, float(np.average(ground.share, weights=area)))


def negatives(
    x: NDArray[np.float32], truth: NDArray[np.bool_], cover: NDArray[np.object_], case: Case, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose the non-mining samples of a case: rows."""
    negative = np.flatnonzero(~truth)
    number = min(case.number, int(0.6 * len(negative)))
    if case.mode == "random":
        return rng.choice(negative, number, replace=False)
    if case.mode == "hard negatives":  # of the fifth that a forest of the truth finds most like the class
        taught = np.concatenate([rng.choice(part, min(len(part), 2000), replace=False) for part in (np.flatnonzero(truth), negative)])
        score = forest.fit(x[taught], truth[taught].astype(np.int8), PARAMS, case.seed, 1).predict_proba(x[negative])[:, 1]
        hard = negative[np.argsort(-score, kind="stable")[: max(len(negative) // 5, 40)]]
        return rng.choice(hard, min(number, len(hard) * 2 // 3), replace=False)
    kinds = [negative[cover[negative] == name] for name in sorted(set(cover[negative].tolist()))]
    each = max(1, number // len(kinds))
    return np.concatenate([rng.choice(own, min(each, max(1, len(own) * 2 // 3)), replace=False) for own in kinds])


def clusters(x: NDArray[np.float32], truth: NDArray[np.bool_], seed: int) -> NDArray[np.object_]:
    """Return kinds of land where there is no map: seven clusters of the standardised features of what is not of the class."""
    from sklearn.cluster import KMeans

    rest = x[~truth].astype(np.float64)
    kind = KMeans(7, n_init=2, random_state=seed).fit_predict((rest - rest.mean(axis=0)) / rest.std(axis=0))
    names = np.full(len(x), "", object)
    names[~truth] = [f"kind {code}" for code in kind]
    return names


def without_regions(ground: Ground, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which segments stay when regions of the class are taken out in random order, until its share is near `share`.

    Where one region is left that is too large, it is cut by a random line.
    """
    area, truth = ground.features["area"].to_numpy(np.float64), ground.share >= 0.5
    positive = np.flatnonzero(truth)
    points = ground.features[["x", "y"]].to_numpy()[positive]
    region = regions(points)
    kept = np.ones(len(area), bool)
    wanted = share / (1 - share) * area[~truth].sum()
    left = area[positive].sum()
    for code in rng.permutation(region.max() + 1):
        own = positive[region == code]
        if left - area[own].sum() >= 0.95 * wanted:
            kept[own] = False
            left -= area[own].sum()
    if left > 1.3 * wanted:
        angle = rng.uniform(0, 2 * np.pi)
        order = np.argsort(points @ [np.cos(angle), np.sin(angle)])
        order = positive[order][kept[positive[order]]]
        kept[order[np.cumsum(area[order]) > wanted]] = False
    return kept


def regions(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the groups of points of which each is within `APART` of another."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(APART, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    return np.asarray(connected_components(graph, directed=False)[1])
