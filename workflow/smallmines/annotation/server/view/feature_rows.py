"""Features of a snapshot's segments by row, on disk and mapped into memory: one segment is read without the table of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.server.view.pyramid import preparation_lock
from smallmines.core import memory
from smallmines.core.files import read_json, write_json, written
from smallmines.core.readable import read_parquet
from smallmines.labels.feature_table import PAPER, feature_names

if TYPE_CHECKING:
    from smallmines.annotation.server.edits.snapshot import Snapshot

VERSION = 2
"""Raised by hand whenever the files of the cache change."""


@dataclass(frozen=True)
class FeatureRows:
    """Features of the segments of a snapshot.

    Attributes:
        path: of the file with the values.
        names: of the features.
        values: (segment, feature) float32 in their own units, NaN without a value; on disk one feature after the other.
        spread: (feature,) float64, half of the range between the 16th and the 84th percentile: the standard deviation of most segments.
        medians: by predicted class 0 and 1, (class, feature) float64; NaN where no segment has the class.
    """

    path: Path
    names: tuple[str, ...]
    values: NDArray[np.float32]
    spread: NDArray[np.float64]
    medians: NDArray[np.float64]

    def standardised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows divided by the spread; features that are the same everywhere are 0."""
        scale = np.where(self.spread > 0, self.spread, np.inf)
        return np.asarray(self.values[rows] / scale, np.float32)


def cache_of(snapshot: Snapshot) -> Path:
    """Return the folder of the cache for a snapshot."""
    return snapshot.block_year.layout.browser / snapshot.digest


def feature_rows(snapshot: Snapshot) -> FeatureRows:
    """Return the features of a snapshot's segments; the first time they are read from its tables and written to the cache."""
    folder = cache_of(snapshot)
    values, about = folder / f"features-{VERSION}.npy", folder / f"features-{VERSION}.json"
    with preparation_lock(folder):
        if not (values.is_file() and about.is_file()):
            _write(snapshot, values, about)
            _mapped.cache_clear()
        return _mapped(values, about)


@lru_cache(maxsize=8)
def _mapped(values: Path, about: Path) -> FeatureRows:
    content = read_json(about)
    medians = np.array([[np.nan if value is None else value for value in row] for row in content["medians"]], np.float64)
    return FeatureRows(values, tuple(content["names"]), np.load(values, mmap_mode="r"), np.array(content["spread"], np.float64), medians)


def _write(snapshot: Snapshot, values_out: Path, about_out: Path) -> None:
    """Write the features column by column, so that neither the table nor the file is ever in memory as a whole."""
    names = feature_names(snapshot.block_year.config.assistant.features)
    predicted = snapshot.table["predicted"].to_numpy() == 1
    spread, medians = [], []
    with memory.alone(), written(values_out, sweep=False) as beside, beside.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": True, "shape": (len(predicted), len(names))}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]  # of numpy
        for values in _columns(snapshot.folder, names):
            file.write(values.astype("<f4", copy=False).data)
            finite = np.isfinite(values)
            low, high = np.percentile(values[finite], [16, 84]) if finite.any() else (0.0, 0.0)
            spread.append(round(float(high - low) / 2, 9))
            medians.append([_median(values[finite & (predicted == mining)]) for mining in (False, True)])
    by_class = [[feature[mining] for feature in medians] for mining in (0, 1)]
    write_json(about_out, {"names": names, "spread": spread, "medians": by_class})


def _median(values: NDArray[np.float32]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _columns(folder: Path, names: tuple[str, ...]) -> Iterator[NDArray[np.float32]]:
    """Yield the columns of the tables of features of a snapshot, in the order of `names`."""
    for name in names:
        path = folder / ("features.parquet" if name in PAPER else "context.parquet")
        yield read_parquet(path, [name])[name].to_numpy(np.float32)
