"""Fitted rows of the benchmark: kinds of models, and the file that a fitted row is kept in.

A kind of model is a module with `fit(pack, train, val, settings, seed, threads)`, which returns an object with
`on_pack(pack, rows, threads)` → uint8 (tile, row, column). Models of single pixels can predict any image, see `pixel_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark import boosting, controls, forest
from smallmines.benchmark.findings import stopping
from smallmines.benchmark.pack import Pack, Rows
from smallmines.core.errors import UserError
from smallmines.core.files import flat, written
from smallmines.core.log import logger
from smallmines.settings.benchmark import Boosting, Control, Forest, RowSettings


class Model(Protocol):
    """What a fitted row can do."""

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return the probability of mining of rows of a pack in steps of 1/255: uint8 (tile, row, column)."""


@dataclass(frozen=True)
class FitJob:
    """How a row is fitted.

    Attributes:
        stop: whether findings of the doctor in its bands stop it.
    """

    seed: int
    threads: int
    stop: bool


@dataclass(frozen=True)
class Fitted:
    """A fitted row.

    Attributes:
        model: None where findings stop the row.
        bands: that it reads.
        radiometry: of Sentinel-2 in the images of train, each once.
        statistics: count, mean and sd of its bands over train.
        stopped: findings of the doctor that stop it.
    """

    model: Model | None
    bands: tuple[str, ...]
    radiometry: tuple[str, ...]
    statistics: dict[str, dict[str, float]]
    stopped: tuple[str, ...]


class Fit(Protocol):
    """A function that fits a row: train trains, val is for choices."""

    def __call__(self, pack: Pack, train: Rows, val: Rows, settings: Any, seed: int, threads: int) -> Model:
        """Return the fitted model."""


def fit(pack: Pack, train: Rows, val: Rows, settings: RowSettings, seed: int, threads: int) -> Model:
    """Fit a row that is no network: `deep.train.fit` fits those, so that their code reruns no other row."""
    if isinstance(settings, Forest):
        return forest.fit(pack, train, val, settings, seed, threads)
    if isinstance(settings, Boosting):
        return boosting.fit(pack, train, val, settings, seed, threads)
    assert isinstance(settings, Control), "a network"
    return controls.fit(pack, train, val, settings, seed, threads)


def fitted(pack: Pack, train: Rows, val: Rows, settings: RowSettings, job: FitJob, function: Fit = fit) -> Fitted:
    """Fit a row, unless findings of the doctor in its bands stop it.

    Args:
        function: that fits it.
    """
    reasons = tuple(stopping(pack.about["findings"], settings.bands)) if job.stop else ()
    radiometry = tuple(sorted({pack.about["radiometry"][str(year)] for year in pack.years[train]}))
    if reasons:
        logger.warning("stopped by findings of the doctor: %s", "; ".join(reasons))
        return Fitted(None, settings.bands, radiometry, {}, reasons)
    statistics = pack.statistics(train, settings.bands) if settings.bands else {}
    model = function(pack, train, val, settings, job.seed, job.threads)
    return Fitted(model, settings.bands, radiometry, statistics, ())


def save(model: Fitted, path: str | Path) -> None:
    """Write a fitted row (joblib). Light compression: a forest as published has 19 GB."""
    import joblib

    with written(path) as beside:
        joblib.dump(model, beside, compress=("zlib", 1))


def load(path: str | Path) -> Fitted:
    """Read a fitted row. Such a file runs code when it is read: it must come from a run of one's own, or from someone trusted.

    Raises:
        UserError: no such file, or not a fitted row of this version.
    """
    import joblib

    expected = f"a model of the benchmark, benchmark/<row>/<variant>/<split>/<seed>/model.joblib, at {path}"
    try:
        model: Any = joblib.load(path)
    except Exception as error:  # unpickling raises anything
        raise UserError(expected, flat(error)[:200] or type(error).__name__, "name one, or fit the row again") from None
    if not isinstance(model, Fitted):
        raise UserError(expected, type(model).__name__, "name one, or fit the row again")
    return model
