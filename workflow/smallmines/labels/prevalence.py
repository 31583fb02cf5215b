"""Estimate the share of the area that is mining from a forest trained on samples with other class shares.

A forest trained 1000 : 1000 over-predicts where mining is 6 %, so its threshold is set by the prevalence. The classical
estimators (adjusted count; expectation maximisation, Saerens et al. 2002, doi 10.1162/089976602753284446) assume that
non-mining samples are a random draw of the non-mining area. They are not: people sample settlements, water and bare
land as much as forest, and these look most like mining. So the non-mining samples are split into types, each with an
unknown share of its own, and all shares are estimated together: a forest of the types, calibrated on its out-of-fold
probabilities (multinomial logistic regression on their logarithms, after Alexandari et al. 2020, arXiv 1901.06852), then
expectation maximisation over the area. Types are the samples' subclasses, else k-means clusters of their features.

Simulated (11 features, 40 000 segments, 6 % mining, 40 % mixed edges, forests with IoU 0.51 to 0.68 at the best
threshold; mean error in percentage points over 4 draws, IoU of the map at the threshold so found):

| samples                              | at 0.5      | adjusted | two classes | clusters    | subclasses  | true share |
| ------------------------------------ | ----------- | -------- | ----------- | ----------- | ----------- | ---------- |
| 1000 : 1000 random                   | +8.8, 0.39  | -0.5     | +0.8, 0.60  | +1.9, 0.59  | +2.9, 0.55  | 0.61       |
| 1000 : 1000, five types equally      | +3.7, 0.55  | -6.0     | -2.9, 0.48  | -1.6, 0.62  | +1.4, 0.64  | 0.68       |
| the same, only pure segments sampled | +1.8, 0.60  | -6.0     | -2.4, 0.56  | -1.9, 0.60  | -0.1, 0.65  | 0.65       |
| the same, 150 : 150                  | +3.3, 0.47  | -6.1     | -5.0, 0.17  | -3.0, 0.38  | +0.2, 0.50  | 0.51       |
| 120 : 1880 random                    | -3.2, 0.39  | +2.4     | +0.5, 0.51  | +1.3, 0.50  | +1.7, 0.49  | 0.51       |
| pure, 25 % mining                    | IoU 0.76    | -        | -7.4, 0.65  | -6.6, 0.67  | -2.8, 0.74  | 0.76       |

("at 0.5" is the share predicted at threshold 0.5, "two classes" the binary form with Platt calibration.) Bias: too low
where samples are purer than the map, too high by up to half where negatives were drawn at random. With out-of-fold
probabilities from folds that keep tiles whole, three of eight blocks of the miniature fell below 0.2 of the truth: such
folds are a harder test than the map, whose tiles were all sampled. So these folds split tiles.

Where classes overlap much, expectation maximisation errs towards 0, while the share predicted at 0.5 errs upwards. The
assistant uses the geometric mean of the two. On the eight blocks of the miniature and two real images whose land cover
plays the mines (shares of the area; forests of 200 trees):

| truth    | 0.019 | 0.125 | 0.041 | 0.045 | 0.037 | 0.159 | 0.054 | 0.070 | 0.431 | 0.066 |
| -------- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- |
| maximis. | 0.009 | 0.105 | 0.014 | 0.037 | 0.029 | 0.163 | 0.036 | 0.049 | 0.600 | 0.013 |
| at 0.5   | 0.035 | 0.119 | 0.053 | 0.049 | 0.047 | 0.149 | 0.084 | 0.069 | 0.476 | 0.115 |
| mean     | 0.018 | 0.112 | 0.028 | 0.043 | 0.037 | 0.156 | 0.055 | 0.058 | 0.534 | 0.038 |

In the simulation above the mean is too high by 0.8 to 5.5 points instead (too low by 1.4 in the fifth row). A known
share in the configuration is better than any estimate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 8
"""Clusters of the non-mining samples where they carry no subclasses."""

SMALLEST_TYPE = 10
"""Types with fewer samples are merged into one, or with the largest type where that one would still have fewer."""

FLOOR = 1 / 300
"""Added to probabilities before the logarithm: the resolution of 300 trees."""


class Types(NamedTuple):
    """Type of each sample (0 mining, 1.. the non-mining types; int64), source of the types, and their number."""

    code: NDArray[np.int64]
    source: str
    number: int


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


def estimate(
    out_of_fold: NDArray[np.float64], code: NDArray[np.int64], everywhere: NDArray[np.float64], area: NDArray[np.float64]
) -> float:
    """Estimate the share of the area that is of type 0 (mining).

    Args:
        out_of_fold: (sample, type) probabilities of the samples by forests that did not see them.
        code: (sample,) true type.
        everywhere: (segment, type) probabilities of all segments.
        area: (segment,) pixels.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model = LogisticRegression(C=1.0, max_iter=1000).fit(np.log(out_of_fold + FLOOR), code)
        trained = model.predict_proba(np.log(out_of_fold + FLOOR)).mean(axis=0)
        posterior = model.predict_proba(np.log(everywhere + FLOOR))
    return float(maximise(posterior, trained, area)[0])


def maximise(
    posterior: NDArray[np.float64], trained: NDArray[np.float64], weight: NDArray[np.float64], tolerance: float = 1e-6
) -> NDArray[np.float64]:
    """Return the class shares by expectation maximisation (Saerens et al. 2002), (type,).

    Args:
        posterior: (segment, type) calibrated probabilities at the shares `trained`.
        weight: (segment,) area.
        tolerance: iteration stops when no share changes by more.
    """
    likelihood = posterior / trained
    share = trained
    weight = weight / weight.sum()
    for _ in range(1000):
        joint = likelihood * share
        joint /= joint.sum(axis=1, keepdims=True)
        new = weight @ joint
        if np.abs(new - share).max() < tolerance:
            return np.asarray(new)
        share = new
    return share
