"""Estimate the share of the area that is mining from a forest trained on samples with other class shares.

A forest trained 1000 : 1000 over-predicts where mining is 6 %, so its threshold is set by the prevalence. The estimate is the
maximum likelihood of a mixture: the land consists of mining and of types of other land, each as its samples are, in unknown shares.

- **Types** of non-mining land are the samples' subclasses, else k-means clusters of their features: people sample look-alikes as much as
  forest, so that non-mining samples as a whole are no random draw.
- **Probabilities** come from a forest of the types. Those of a sample are out of bag; those of the land are of as many random trees
  (`forest.predict_by_some`), so that both are drawn alike and errors of the forest cancel. They are calibrated by a multinomial
  logistic regression on their logarithms (Alexandari et al. 2020, doi 10.48550/arXiv.1901.06852), each sample counting by its area.
- **Wrong labels**: three wrong in a hundred non-mining samples look like 3 % less mining. Samples that most out-of-bag votes give to the
  other class (`CONTESTED`, after Northcutt et al. 2021, doi 10.1613/jair.1.12125) are wrong, or they are the look-alikes that matter:
  the land is read with them and without. The share is that without them, the interval covers both.
- **Shares** of the types by expectation maximisation (Saerens et al. 2002, doi 10.1162/089976602753284446) over the land that was not
  sampled. Sampled segments are known and are added as they are.
- **Interval**: bootstrap of the samples (the forest stays), widened by `RELATIVE` and by what samples cannot show: `UNSEEN` look-alikes
  or mines of a kind that none of them is.
- **Check**: the samples, weighted by the shares found, must have the features of the land (`misfit`). Hard negatives alone do not. Then,
  and where a class has few samples, nearly all mining was sampled or the interval is too wide, the share is not identifiable, and the
  file says so.

Ratio of estimate and truth in 404 cases with right labels: two real images whose land cover plays the mines and five made-up worlds, 0.5 to
45 % mining, 100 to 1000 samples a class, forests of 100 trees. Typical samples are a random draw of each class, or equally many of each
kind of land, named or not. "Before" is the geometric mean of expectation maximisation and of the share at 0.5.

| samples, share, half of the places | cases | before: median, within 1.5 | now: median, within 1.5 | identifiable | interval holds |
| ---------------------------------- | ----- | -------------------------- | ----------------------- | ------------ | -------------- |
| typical, 2 % or more, chosen       | 140   | 1.24, 75 %                 | 1.07, 91 %              | 89 %         | 100 %          |
| typical, 2 % or more, held out     | 122   | 1.27, 69 %                 | 1.08, 89 %              | 89 %         | 100 %          |
| typical, below 2 %, chosen         | 42    | 1.87, 24 %                 | 1.21, 67 %              | 71 %         | 98 %           |
| typical, below 2 %, held out       | 20    | 2.04, 20 %                 | 0.94, 70 %              | 70 %         | 100 %          |
| hard negatives only, chosen        | 45    | 1.01, 82 %                 | 0.94, 76 %              | 0 %          | 96 %           |
| hard negatives only, held out      | 35    | 1.01, 91 %                 | 0.90, 86 %              | 11 %         | 100 %          |

With 100 or 300 samples a class and 2 % or more 80 to 98 % are within 1.5, with 1000 98 %. Method and constants were chosen on one half of
the places (also tried: two classes only; Platt, beta and isotonic calibration; adjusted count, median sweep, energy distance, likelihood
of score histograms). Only the use of effective numbers in `misfit` and that contested samples are read both ways came after a look at the
other half.

Contested samples are a compromise. Where labels are right, they are the look-alikes: with all samples, the held-out median of 2 % or more
is 1.04 (94 % within 1.5). Of the miniature's people 1.5 % of the labels are wrong; in 40 blocks and years of five worlds (context features)
the median is 0.84 with all samples (83 % within 1.5, the interval holds in 88 %), and 0.90 as it is (95 %, 98 %). A limit of 0.8 in place
of 0.95 gives 1.11 and 0.92, the geometric mean of both readings 1.08 and 0.89.
`tests/bench/assistant/prevalence.py` makes the table. A known share is better than any estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.core.log import logger
from smallmines.labels.forest import FLOOR, Params, Training, fit, out_of_bag, predict_by_some
from smallmines.labels.threshold import ClearSegments
from smallmines.settings.assistant import Assistant

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

CLUSTERS = 8
"""Clusters of the non-mining samples where they carry no subclasses."""

SMALLEST_TYPE = 10
"""Types with fewer samples are merged into one, or with the largest type where that one would still have fewer."""

ENOUGH = 50_000
"""Segments from which the shares are estimated, at even steps through the block: more change nothing and take minutes."""

REPLICATES = 40
"""Bootstrap replicates of the samples."""

ENOUGH_FOR_REPLICATES = 2_500
"""Segments from which the shares of each replicate are estimated."""

QUANTILE = 2.5
"""Half width of the interval in standard deviations of the bootstrap, which keeps the forest and so shows too little."""

RELATIVE = 0.3
"""Standard deviation added, relative to the share."""

CONTESTED = 0.95
"""Share of out-of-bag votes for the other class from which a sample is contested."""

MOST_CONTESTED = 0.04
"""Largest share of the samples of a class that people can have labelled wrongly; where more are contested, the classes overlap."""

UNSEEN = (2.0, 0.5)
"""Samples of a kind that none is of, added below (look-alikes taken for mines) and above (mines that no sample resembles)."""

WIDEST = 9.0
"""Ratio of the interval's ends above which the share is not identifiable."""

WIDEST_SPAN = 0.5
"""Difference of the interval's ends above which the share is not identifiable."""

FEWEST = 10
"""Samples of a class below which the share is not identifiable: they show too few kinds of mines or of land."""

MISFIT = (0.05, 0.45)
"""Largest misfit of samples that are typical: a constant, and a factor of the chance in samples and land (see `misfit`)."""

LEAST_NEW = 0.25
"""Least part of the share that must be found beyond the samples: where nearly all of it was sampled, they resemble nothing else."""

REMEDY = "set assistant.prevalence to a known share, or to `sample` and label the prevalence sample"


class Misfit(NamedTuple):
    """How far the samples are from the land, 0 to 0.5, and how far typical ones can be."""

    value: float
    limit: float


class Types(NamedTuple):
    """Type of each sample (0 mining, 1.. the non-mining types; int64), source of the types, and their number."""

    code: NDArray[np.int64]
    source: str
    number: int


@dataclass(frozen=True)
class Described:
    """Samples or segments as the mixture sees them.

    Attributes:
        log: (row, type) logarithm of the probabilities of the forest of types.
        area: (row,) pixels.
        x: (row, feature).
    """

    log: NDArray[np.float64]
    area: NDArray[np.float64]
    x: NDArray[np.float32]


@dataclass(frozen=True)
class Prevalence:
    """Share of the area that is mining, and how it was found.

    Attributes:
        share, low, high: 0 to 1; ends of a 90 % interval (of a sample: 95 %), the share itself where the configuration gives it.
        source: `configuration`, `estimate` or `sample`.
        identifiable: whether the samples tell the share.
        remedy: what to do where they do not, else "".
        details: the figures behind an estimate.
    """

    share: float
    low: float
    high: float
    source: str
    identifiable: bool
    remedy: str
    details: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the key `prevalence` of `metrics.json`."""
        fields = ("share", "low", "high", "source", "identifiable", "remedy")
        return {name: getattr(self, name) for name in fields if name != "remedy" or self.remedy} | self.details


def find_prevalence(training: Training, params: Params, clear: ClearSegments, settings: Assistant, threads: int) -> Prevalence:
    """Return the prevalence of the configuration, or estimate it from the samples; a warning where it is not identifiable."""
    if isinstance(settings.prevalence, str):  # `sample` before it is labelled, too
        estimated = estimate(training, params, clear, settings.seed, threads)
    else:
        estimated = Prevalence(settings.prevalence, settings.prevalence, settings.prevalence, "configuration", True, "", {})
    logger.info("prevalence %.4f (%.4f to %.4f, %s)", estimated.share, estimated.low, estimated.high, estimated.source)
    if not estimated.identifiable:
        logger.warning("the prevalence is not identifiable: %s; better %s", estimated.details["why"], estimated.remedy)
    return estimated


def estimate(training: Training, params: Params, clear: ClearSegments, seed: int, threads: int) -> Prevalence:
    """Estimate the share of the clear area that is mining; see the module."""
    total = clear.area.sum()
    sampled = float(clear.area[clear.label == 1].sum() / total)
    rest = np.flatnonzero(clear.label < 0)
    rest_share = float(clear.area[rest].sum() / total)
    if not len(rest):
        return Prevalence(sampled, sampled, sampled, "estimate", True, "", {"sampled_share": round(sampled, 4)})
    land = clear.of(rest[:: -(-len(rest) // ENOUGH)])
    types = types_of(training.x, training.y, training.subclass, seed)
    model = fit(training.x, types.code, params, seed, threads, oob=True)
    contested = is_contested(model, types.code)
    readings = [_read(training, types.code, model, land, seed, threads)]
    if contested.any():
        own = replace(training, x=training.x[~contested], y=training.y[~contested], area=training.area[~contested])
        code = types.code[~contested]
        readings.append(_read(own, code, fit(own.x, code, params, seed, threads, oob=True), land, seed, threads))
    shares = [sampled + rest_share * share for share, _, _ in readings]
    negatives = int((training.y == 0).sum())
    ends = [interval(share, rest_share * spread, sampled, negatives) for share, (_, spread, _) in zip(shares, readings, strict=True)]
    off = max((off for _, _, off in readings), key=lambda own: own.value - own.limit)
    whole = min(low for low, _ in ends), max(high for _, high in ends)
    estimated = judged(shares[-1], whole, off, types, sampled, int(np.bincount(training.y, minlength=2).min()))
    return replace(estimated, details=estimated.details | {"contested_samples": int(contested.sum())})


def _read(
    training: Training, code: NDArray[np.int64], model: RandomForestClassifier, rest: ClearSegments, seed: int, threads: int
) -> tuple[float, float, Misfit]:
    """Return the share of mining in land that was not sampled, its standard deviation over the bootstrap, and the misfit.

    Args:
        code: (sample,) type.
        model: forest of types, fitted to these samples with out-of-bag votes.
        rest: segments that were not sampled.
    """
    from threadpoolctl import threadpool_limits

    votes = np.nan_to_num(out_of_bag(model).round(4))
    out_once = votes.sum(axis=1) > 0  # with few trees a sample can be in all bags; a type needs one sample
    seen = out_once | ~np.isin(code, code[out_once])
    samples = Described(np.log(votes[seen] + FLOOR), training.area[seen], training.x[seen])
    land = Described(np.log(predict_by_some(model, rest.x, seed, threads) + FLOOR), rest.area, rest.x)
    with threadpool_limits(1):  # sums of several threads differ in the last bits
        shares, spread = shares_of(samples, code[seen], land, seed)
        return float(shares[0]), spread, misfit(samples, code[seen], land, shares)


def is_contested(model: RandomForestClassifier, code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which samples the others say to be of the other class, by at least `CONTESTED`.

    None of a class of which more than `MOST_CONTESTED` would be, and none at all where a type would be lost.

    Args:
        model: forest of types, fitted to these samples with out-of-bag votes.
        code: (sample,) type, 0 mining.
    """
    mining = np.nan_to_num(out_of_bag(model)[:, 0].round(4), nan=0.5)
    contested = np.where(code == 0, mining <= 1 - CONTESTED, mining >= CONTESTED)
    for own in (code == 0, code > 0):
        if contested[own].mean() > MOST_CONTESTED:
            contested[own] = False
    kept = np.bincount(code[~contested], minlength=int(code.max()) + 1)
    return np.asarray(contested & (kept.min() >= SMALLEST_TYPE // 2))


def judged(share: float, ends: tuple[float, float], off: Misfit, types: Types, sampled: float, fewest: int) -> Prevalence:
    """Return the estimate with a judgement whether it is identifiable.

    Args:
        ends: of the interval; sampled: share of the area that was sampled as mining.
        fewest: number of samples of the class with fewer.
    """
    low, high = ends
    why = ""
    if fewest < FEWEST:
        why = f"one class has {fewest} samples, fewer than {FEWEST}"
    elif off.value > off.limit:
        why = f"the samples are not typical of the land (misfit {off.value:.3f}, at most {off.limit:.3f})"
    elif share - sampled < LEAST_NEW * share:
        why = f"nearly all mining that the samples tell of was sampled ({sampled:.4f} of the area): others may look different"
    if why:
        low, high = sampled, min(1.0, 2 * high)
    elif high > WIDEST * low or high - low > WIDEST_SPAN:
        why = "the samples of the two classes are too few or too alike"
    low, share, high = (round(float(value), 4) for value in (low, share, high))
    details: dict[str, Any] = {
        "sampled_share": round(sampled, 4),
        "misfit": round(off.value, 4),
        "types_from": types.source,
        "types": types.number,
    }
    return Prevalence(share, low, high, "estimate", not why, REMEDY if why else "", details | ({"why": why} if why else {}))


def interval(share: float, spread: float, sampled: float, negatives: int) -> tuple[float, float]:
    """Return the ends of the interval: `share` ± the spreads of bootstrap, method and unseen kinds, at least what is sampled.

    Args:
        spread: standard deviation of the bootstrap.
        negatives: number of non-mining samples.
    """
    width = (QUANTILE * spread) ** 2 + (RELATIVE * share) ** 2
    below, above = (np.sqrt(width + (number / negatives) ** 2) for number in UNSEEN)
    return max(sampled, share - float(below)), min(1.0, share + float(above))


def types_of(features: NDArray[np.float32], label: NDArray[np.int8], subclass: NDArray[np.object_], seed: int) -> Types:
    """Split the non-mining samples into types: by subclass where at least two are named and nine in ten samples name one, else by k-means.

    Args:
        features: (sample, feature).
        label: 1 mining, 0 not.
        subclass: text, "" where none.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    negative = label == 0
    names = np.array([str(text).split("|")[0] for text in subclass[negative]], dtype=str)  # of several subclasses the first
    code = np.zeros(len(label), np.int64)
    if len(names) and (names != "").mean() >= 0.9 and len(set(names.tolist()) - {""}) >= 2:
        source, (_, types) = "subclass", np.unique(names, return_inverse=True)
    else:
        source, number = "clusters", max(1, min(CLUSTERS, int(negative.sum()) // SMALLEST_TYPE))
        with threadpool_limits(1):  # sums of several threads differ in the last bits
            types = KMeans(number, n_init=4, random_state=seed).fit_predict(features[negative].astype(np.float64).round(6))
    sizes = np.bincount(types)
    small = sizes < SMALLEST_TYPE
    other = len(sizes) if sizes[small].sum() >= SMALLEST_TYPE else int(np.argmax(sizes))
    merged = np.where(small[types], other, types)
    code[negative] = 1 + np.unique(merged, return_inverse=True)[1]
    return Types(code, source, int(code.max()))


def shares_of(samples: Described, code: NDArray[np.int64], land: Described, seed: int) -> tuple[NDArray[np.float64], float]:
    """Return the shares of the types in the area of the land (type,), and the standard deviation of the first over the bootstrap.

    Args:
        code: (sample,) type.
    """
    drawn_as = np.bincount(code) / len(code)
    calibrated = calibrate(samples, code, np.ones(len(code)))
    shares = maximise(calibrated.predict_proba(land.log) / drawn_as, land.area)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(len(land.area), min(ENOUGH_FOR_REPLICATES, len(land.area)), replace=False))
    start = np.maximum(shares, 1e-4)
    drawn = []
    for _ in range(REPLICATES):
        times = np.zeros(len(code))
        for own in (np.flatnonzero(code == kind) for kind in range(len(shares))):
            times[own] = np.bincount(rng.integers(0, len(own), len(own)), minlength=len(own))
        posterior = calibrate(samples, code, times).predict_proba(land.log[some])
        drawn.append(maximise(posterior / drawn_as, land.area[some], start)[0])
    return shares, float(np.std(drawn))


def calibrate(samples: Described, code: NDArray[np.int64], times: NDArray[np.float64]) -> LogisticRegression:
    """Fit the calibration at the types' shares of the samples; within a type samples count by their area.

    Args:
        times: (sample,) how often each counts.
    """
    from sklearn.linear_model import LogisticRegression

    weight = samples.area * times
    weight *= (np.bincount(code) / np.bincount(code, weight))[code]
    return LogisticRegression(C=1.0, solver="newton-cholesky").fit(samples.log, code, weight)


def maximise(
    likelihood: NDArray[np.float64], area: NDArray[np.float64], start: NDArray[np.float64] | None = None, tolerance: float = 1e-6
) -> NDArray[np.float64]:
    """Return the shares of the types in the area by expectation maximisation (Saerens et al. 2002), (type,).

    Args:
        likelihood: (segment, type), up to a factor for each segment: calibrated probabilities over the shares of the samples.
        area: (segment,).
        start: shares to begin with; equal ones where None.
        tolerance: iteration stops when no share changes by more.
    """
    number = likelihood.shape[1]
    share = np.full(number, 1 / number) if start is None else start / start.sum()
    weight = area / area.sum()
    for _ in range(500):
        joint = likelihood * share
        joint /= joint.sum(axis=1, keepdims=True)
        new = weight @ joint
        if np.abs(new - share).max() < tolerance:
            return np.asarray(new)
        share = new
    return share


def misfit(samples: Described, code: NDArray[np.int64], land: Described, shares: NDArray[np.float64]) -> Misfit:
    """Return how far the samples, weighted by the shares of their types, are from the land: the largest over the features.

    For each feature the difference from one half of the probability that a random part of the samples lies below one of the land (ties
    half): 0 where they are alike, 0.5 where all samples lie on one side. Chance goes with the root of 1 / n of samples and land, n being
    their effective number (Kish's): few large segments tell little.
    """
    weight = samples.area / np.bincount(code, samples.area)[code] * shares[code]
    differences = []
    for own, other in zip(samples.x.T, land.x.T, strict=True):
        order = np.argsort(other, kind="stable")
        ranks = np.concatenate([[0.0], np.cumsum(land.area[order])]) / land.area.sum()
        below, upto = (ranks[np.searchsorted(other[order], own, side=side)] for side in ("left", "right"))
        differences.append(abs(float(weight @ (below + upto) / 2) - 0.5))
    chance = np.sum(weight**2) + np.sum(land.area**2) / land.area.sum() ** 2
    return Misfit(max(differences), float(MISFIT[0] + MISFIT[1] * np.sqrt(chance)))
