"""The products that a session in the browser shows, kept as hard links so that a run that makes them again does not take them away."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.annotation.block_year import BlockYear
from smallmines.core import memory, raster
from smallmines.core.errors import UserError
from smallmines.core.files import digest, link_or_copy, remove, sha256, written
from smallmines.core.json_products import ForestThreshold, read_product
from smallmines.core.layout import Layout
from smallmines.core.readable import read_parquet
from smallmines.labels import decide
from smallmines.labels.tables import PROVENANCES

if TYPE_CHECKING:
    import pandas as pd

JUDGED = {
    "segments.tif": Layout.segments,
    "features.parquet": Layout.features,
    "probabilities.parquet": Layout.probabilities,
    "labels.parquet": Layout.labels,
}
"""Products whose content makes a snapshot another one, by the names they have in it; and so does the threshold in `METRICS`."""

METRICS = "metrics.json"

OPTIONAL = {"context.parquet": Layout.context, "model.joblib": Layout.forest, "samples.parquet": Layout.samples}
"""Products that a snapshot keeps where they exist."""

COLUMNS = ("segment", "key", "area", "x", "y", "tile_id", "probability", "entropy", "label", "provenance", "predicted")
"""Columns that the table of a snapshot keeps of `BlockYear.table`."""

KEPT_S = 30 * 86_400.0
"""Seconds for which a snapshot stays that no session has opened again: a page that is still open may send edits."""

AT_ONCE = 2
"""Snapshots whose raster and table stay in memory; those of a large block take about 250 MB."""

_OPEN: dict[Path, Snapshot] = {}
_LOCK = threading.Lock()
_TAKING = threading.Lock()


@dataclass(frozen=True)
class Snapshot:
    """Products of a block and year at the opening of a session.

    Attributes:
        digest: of their content; the name of the folder.
        folder: holds the products under the names in `JUDGED`, `METRICS` and `OPTIONAL`.
    """

    block_year: BlockYear
    digest: str
    folder: Path

    @cached_property
    def threshold(self) -> float:
        """Probability from which a segment is predicted to be mining."""
        return float(read_product(self.folder / METRICS, ForestThreshold)["threshold"])

    @cached_property
    def segments(self) -> NDArray[np.uint32]:
        """Label raster (row, column); 0 is outside."""
        with memory.alone():
            labels: NDArray[np.uint32] = raster.read(self.folder / "segments.tif")[0]
        return labels

    @cached_property
    def geobox(self) -> GeoBox:
        """Grid of the label raster."""
        with raster.opened(self.folder / "segments.tif") as source:
            return raster.geobox_of(source)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per segment in the order of ids, from 1: `COLUMNS`, see `BlockYear.table`.

        Raises:
            UserError: a table is missing or damaged, or they are of different segmentations.
        """
        with memory.alone():
            return _read_table(self.folder, self.threshold)

    @cached_property
    def predicted(self) -> NDArray[np.object_]:
        """Prediction of each of the segments 1…n as text."""
        predicted: NDArray[np.object_] = np.array(["not_mining", "mining"], object)[self.table["predicted"].to_numpy()]
        return predicted

    @cached_property
    def by_key(self) -> NDArray[np.int64]:
        """Places of the segments 1…n in the order of their keys, from 0, to search them."""
        return np.argsort(self.table["key"].to_numpy(np.uint64), kind="stable")


def present_digest(block_year: BlockYear) -> str:
    """Return the digest of the present products; quick where their files are the same as last time.

    Raises:
        UserError: a product is missing, or cannot be read.
    """
    sums = [content_digest(block_year.product(path_of)) for path_of in JUDGED.values()]
    threshold = read_product(block_year.product(Layout.forest_metrics), ForestThreshold)["threshold"]
    return _digest(block_year, sums, threshold)


def take(block_year: BlockYear) -> Snapshot:
    """Keep the present products of a block and year; the same products give the same snapshot.

    Raises:
        UserError: a product is missing, or the products are of different runs.
    """
    folder = block_year.layout.user.shown_products(present_digest(block_year))
    with _TAKING:  # the list of work and an opening may ask at once
        if not folder.is_dir():
            with written(folder) as beside:
                beside.mkdir()
                for name, path_of in (JUDGED | {METRICS: Layout.forest_metrics}).items():
                    link_or_copy(block_year.product(path_of), beside / name)
                for name, path_of in OPTIONAL.items():
                    if (path := path_of(block_year.layout, block_year.year, block_year.block)).is_file():
                        link_or_copy(path, beside / name)
                sums = [sha256(beside / name) for name in JUDGED]
                kept = _digest(block_year, sums, read_product(beside / METRICS, ForestThreshold)["threshold"])
                if kept != folder.name:
                    raise UserError(
                        "products that do not change while a session is opened", "a run is making them again", "wait for its end"
                    )
                with memory.alone():
                    table = _read_table(beside, read_product(beside / METRICS, ForestThreshold)["threshold"])
            memory.release()
            open_snapshot(block_year, folder.name).__dict__["table"] = table  # read once, not again
    os.utime(folder)
    return open_snapshot(block_year, folder.name)


def open_snapshot(block_year: BlockYear, name: str) -> Snapshot:
    """Return a snapshot that was taken; the same object while its files are the same.

    Raises:
        UserError: it is gone.
    """
    folder = block_year.layout.user.shown_products(name)
    if not folder.is_dir():
        expected = f"the products that the session shows in {folder}"
        raise UserError(expected, "no such folder", "restore it from a backup, or open the block again")
    with _LOCK:
        snapshot = _OPEN.pop(folder, None) or Snapshot(block_year, name, folder)
        _OPEN[folder] = snapshot
        for oldest in list(_OPEN)[:-AT_ONCE]:
            del _OPEN[oldest]
    return snapshot


def prune(block_year: BlockYear, needed: Collection[str]) -> list[Path]:
    """Remove the snapshots of a run that no session has opened for `KEPT_S`; return their folders.

    Args:
        needed: digests that stay: those of sessions with edits that are not handed in.
    """
    folders = [folder for folder in block_year.layout.user.shown_products("x").parent.glob("[0-9a-f]*") if folder.is_dir()]
    old = [folder for folder in folders if folder.name not in needed and time.time() - folder.stat().st_mtime > KEPT_S]
    for folder in old:
        remove(folder)
    return old


def _read_table(folder: Path, threshold: float) -> pd.DataFrame:
    """Read and check `COLUMNS`, and no other columns: all features of a large block would take as much memory again.

    Raises:
        UserError: a table is missing or damaged, or they are of different segmentations.
    """
    import pandas as pd

    features = read_parquet(folder / "features.parquet", ["segment", "key", "area", "x", "y", "tile_id", "clear_share"])
    probabilities = read_parquet(folder / "probabilities.parquet", ["segment", "probability", "entropy"])
    labels = read_parquet(folder / "labels.parquet", ["key", "label", "provenance"])
    if not features["key"].equals(labels["key"]) or not features["segment"].equals(probabilities["segment"]):
        raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
    faults = {
        "segments are 1..n in order": (features["segment"].to_numpy() != np.arange(1, len(features) + 1)).any(),
        "probabilities from 0 to 1": not probabilities["probability"].between(0, 1).all(),
        "labels 1, 0 or -1": not labels["label"].isin([1, 0, -1]).all(),
        f"provenance {', '.join(PROVENANCES)}": not labels["provenance"].isin(PROVENANCES).all(),
    }
    if wrong := [expected for expected, fault in faults.items() if fault]:
        raise UserError("; ".join(wrong), "other values", "run the workflow up to the masks again")
    mining, _ = decide.predicted(probabilities["probability"].to_numpy(), features["clear_share"].to_numpy(), threshold)
    columns = {name: features[name] for name in ("segment", "key", "area", "x", "y", "tile_id")}
    columns |= {name: probabilities[name] for name in ("probability", "entropy")}
    columns |= {name: labels[name] for name in ("label", "provenance")}
    columns["predicted"] = pd.Series(mining.astype(np.int8))
    return pd.DataFrame(columns, columns=list(COLUMNS), copy=False)  # copies would take as much memory again


def _digest(block_year: BlockYear, sums: list[str], threshold: float) -> str:
    return digest([block_year.year, block_year.block, sums, threshold])


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file, remembered while its size, time and inode stay."""
    state = path.stat()
    return _content(path, state.st_size, state.st_mtime_ns, state.st_ino)


@functools.lru_cache(maxsize=256)
def _content(path: Path, size: int, changed: int, inode: int) -> str:
    return sha256(path)
