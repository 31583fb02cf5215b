"""Simulated annotators, who fill in working copies as people do in QGIS: from the truth, with errors."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio.windows
from numpy.typing import NDArray

from miniature.noise import rng_of
from miniature.place import window_in
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.change_sample import earlier_year
from smallmines.annotation.checkin import CheckedIn, checkin
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.layout import Layout, PixelSample
from smallmines.labels.pixel_samples import read_design

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = dt.datetime(2024, 3, 4, 8, 0, tzinfo=dt.UTC)
SECONDS = 6
"""Time per label."""

ADJUDICATOR = "J01"


@dataclass(frozen=True)
class Errors:
    """Errors of a simulated annotator.

    Attributes:
        omit: share of mining segments that get the other label; commit: share of other segments that get the label mining.
        unsure: segments get the label unsure if their mined share is between this share and its complement; 0.5: never.
    """

    omit: float = 0.10
    commit: float = 0.02
    unsure: float = 0.45


def correct(config: Config, share: float = 0.1, seed: int = 0, root: str | Path = ".") -> list[Path]:
    """Run one round of corrections in every year and block: settle the disputes of the last round, then let each annotator label.

    The first annotator also interprets the accuracy sample, once, without error; where `assistant.prevalence` is `sample`, the
    prevalence sample first.

    Args:
        share: share of the segments with a predicted label that each annotator gets.

    Returns:
        The event files.

    Raises:
        UserError: the run has no labels yet, or there is no truth.
    """
    block_years = [BlockYear(config, year, block, Path(root)) for year in config.year_names for block in config.blocks]
    return [
        checked_in.file
        for block_year in block_years
        for checked_in in (
            *(look_at_sample(block_year, "prevalence") if config.assistant.prevalence == "sample" else []),
            *settle_disputes(block_year),
            *label(block_year, share, seed),
            *look_at_sample(block_year),
        )
        if checked_in.file
    ]


def settle_disputes(block_year: BlockYear) -> list[CheckedIn]:
    """Let a third person settle all disputes, without error."""
    if not (block_year.table()["provenance"] == "disputed").any():
        return []
    copy = checkout_disputed(block_year, ADJUDICATOR).path
    fill_in(block_year, copy, Errors(0, 0, 0.5), 0)
    return [checkin(block_year.user, copy)]


def label(block_year: BlockYear, share: float, seed: int, errors: Errors = Errors()) -> list[CheckedIn]:
    """Let every annotator of the configuration check out a working copy, label all of it, and check it in."""
    waiting = int((block_year.table()["provenance"] == "predicted").sum())
    copies = [checkout(block_year, who, max(1, round(share * waiting))).path for who in block_year.config.labels.annotators]
    for number, copy in enumerate(copies):
        fill_in(block_year, copy, errors, seed + 1000 * number)
    return [checkin(block_year.user, copy) for copy in copies]


def look_at_sample(block_year: BlockYear, kind: PixelSample = "accuracy") -> list[CheckedIn]:
    """Let the first annotator label every pixel of a sample, without error; does nothing if that was done before."""
    if block_year.references(kind):
        return []
    copy = checkout_pixel_sample(block_year, block_year.config.labels.annotators[0], kind).path
    design = read_design(block_year.layout.user.pixel_sample(kind, block_year.year, block_year.block), kind)
    points = design.set_index("key").loc[read_segments(copy)["key"].astype(np.uint64).tolist()]
    year = earlier_year(block_year) if kind == "change_before" else block_year.year
    with raster.opened(truth_path(block_year.config, year, block_year.root)) as source:
        mined = np.array([value[0] == 1 for value in source.sample(zip(points["x"], points["y"], strict=True))])
    write_labels(block_year, copy, np.where(mined, "mining", "not_mining"))
    return [checkin(block_year.user, copy)]


def fill_in(block_year: BlockYear, copy: Path, errors: Errors, seed: int) -> None:
    """Label every segment of a working copy by its true majority, with errors."""
    table = read_segments(copy)
    share = true_share_of(block_year, table["key"].to_numpy(np.uint64))
    events = block_year.events()
    rng = rng_of(seed, 110, int(block_year.year), int(block_year.block), len(events))
    chance = rng.uniform(size=len(table))
    mining = np.where(share >= 0.5, chance >= errors.omit, chance < errors.commit)
    names = np.where(np.minimum(share, 1 - share) > errors.unsure, "unsure", np.where(mining, "mining", "not_mining"))
    write_labels(block_year, copy, names)


def write_labels(block_year: BlockYear, copy: Path, names: NDArray[np.str_]) -> None:
    """Write labels into a working copy in the order of its queue; times begin a day after the last decision of the block."""
    table, events = read_segments(copy), block_year.events()
    begin = max([FIRST_DAY, *(event.instant + dt.timedelta(days=1) for event in events[-1:])])
    stamps = [int((begin.timestamp() + SECONDS * number) * 1000) for number in range(len(table))]
    day = f"{block_year.year}-01-15"
    rows = [(str(name), "simulated", day, stamp, fid) for name, stamp, fid in zip(names, stamps, table["fid"].tolist(), strict=True)]
    with contextlib.closing(sqlite3.connect(copy)) as file, file:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            file.create_function(name, 1, lambda shape: 0 if shape else 1)  # the triggers of the spatial index call these
        file.executemany("UPDATE segments SET label = ?, evidence = ?, evidence_date = ?, edited = ? WHERE fid = ?", rows)


def read_segments(copy: Path) -> pd.DataFrame:
    """Read fid and key of the segments of a working copy, in the order of the queue."""
    import pandas as pd

    with contextlib.closing(sqlite3.connect(copy)) as file:
        return pd.read_sql_query("SELECT fid, key FROM segments ORDER BY rank", file, dtype={"key": str})


def true_share_of(block_year: BlockYear, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the share of truly mined pixels in the segments with these content keys."""
    features = block_year.features()
    ids = features.set_index("key")["segment"].reindex(keys.tolist()).to_numpy(np.int64)
    return true_share(block_year.product(Layout.segments), truth_path(block_year.config, block_year.year, block_year.root), ids)


def true_share(segments: Path, truth: Path, ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the share of truly mined pixels in each of the segments `ids`."""
    with raster.opened(segments) as source, raster.opened(truth) as true:
        window = window_in(raster.geobox_of(true), raster.geobox_of(source))
        numbers = source.read(1).ravel()
        mined = true.read(1, window=rasterio.windows.Window.from_slices(*window)).ravel() == 1
    pixels = np.bincount(numbers)
    share = np.bincount(numbers, mined) / np.maximum(pixels, 1)
    return np.asarray(share[ids], np.float64)


def truth_path(config: Config, year: str, root: str | Path = ".") -> Path:
    """Return the path of the true mask of a year."""
    return Layout(config.run, Path(root)).true_mask(year)
