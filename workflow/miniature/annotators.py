"""Simulated annotators: they fill in working copies as people do in QGIS, by the truth, and err."""

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
from smallmines.annotation.block_year import Place
from smallmines.annotation.checkin import CheckedIn, checkin
from smallmines.annotation.checkout import checkout, disputes, sample
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.layout import Layout
from smallmines.labels.accuracy import read_design

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = dt.datetime(2024, 3, 4, 8, 0, tzinfo=dt.UTC)
SECONDS = 6
"""A label takes them this long."""

ADJUDICATOR = "J01"


@dataclass(frozen=True)
class Errors:
    """How a simulated annotator errs.

    Attributes:
        omit: share of mines that are called something else; commit: the other way round.
        unsure: a segment is left unsure where between this share and its complement of it is mined; 0.5: never.
    """

    omit: float = 0.10
    commit: float = 0.02
    unsure: float = 0.45


def correct(config: Config, share: float = 0.1, seed: int = 0, root: str | Path = ".") -> list[Path]:
    """One round of corrections in every year and block: disputes of the last round are settled, then each annotator labels his part.

    The first annotator also looks at the accuracy sample, once, without error.

    Args:
        share: of the segments that only the forest has labelled, over all annotators.

    Returns:
        The event files.

    Raises:
        UserError: the run has no labels yet, or there is no truth.
    """
    places = [Place(config, year, block, Path(root)) for year in config.year_names for block in config.blocks]
    done = [one for place in places for one in [*settle_disputes(place), *label(place, share, seed), *look_at_sample(place)]]
    return [one.file for one in done if one.file]


def settle_disputes(place: Place) -> list[CheckedIn]:
    """A third person settles what people disagree about, without error."""
    if not (place.table()["provenance"] == "disputed").any():
        return []
    given = disputes(place, ADJUDICATOR)
    fill_in(place, given.path, Errors(0, 0, 0.5), 0)
    return [checkin(place.user, given.path)]


def label(place: Place, share: float, seed: int, errors: Errors = Errors()) -> list[CheckedIn]:
    """Every annotator of the configuration checks out, labels all he got, and checks in."""
    waiting = int((place.table()["provenance"] == "predicted").sum())
    copies = [checkout(place, who, max(1, round(share * waiting))).path for who in place.config.labels.annotators]
    for number, copy in enumerate(copies):
        fill_in(place, copy, errors, seed + 1000 * number)
    return [checkin(place.user, copy) for copy in copies]


def look_at_sample(place: Place) -> list[CheckedIn]:
    """The first annotator says of every pixel of the accuracy sample what it truly is; nothing where he has done so before."""
    if place.given()["references"]:
        return []
    given = sample(place, place.config.labels.annotators[0])
    points = read_design(place.given()["design"][0]).set_index("key").loc[read_segments(given.path)["key"].astype(np.uint64).tolist()]
    with raster.opened(truth_path(place.config, place.year, place.root)) as source:
        mined = np.array([value[0] == 1 for value in source.sample(zip(points["x"], points["y"], strict=True))])
    write_labels(place, given.path, np.where(mined, "mining", "not_mining"))
    return [checkin(place.user, given.path)]


def fill_in(place: Place, copy: Path, errors: Errors, seed: int) -> None:
    """Label every segment of a working copy by its true majority, with errors."""
    table = read_segments(copy)
    share = true_share_of(place, table["key"].to_numpy(np.uint64))
    events = place.events()
    rng = rng_of(seed, 110, int(place.year), int(place.block), len(events))
    chance = rng.uniform(size=len(table))
    says = np.where(share >= 0.5, chance >= errors.omit, chance < errors.commit)
    names = np.where(np.minimum(share, 1 - share) > errors.unsure, "unsure", np.where(says, "mining", "not_mining"))
    write_labels(place, copy, names)


def write_labels(place: Place, copy: Path, names: NDArray[np.str_]) -> None:
    """Write labels into a working copy, in the order of its queue; the times follow the last decision of the block."""
    table, events = read_segments(copy), place.events()
    begin = max([FIRST_DAY, *(event.instant + dt.timedelta(days=1) for event in events[-1:])])
    stamps = [int((begin.timestamp() + SECONDS * number) * 1000) for number in range(len(table))]
    day = f"{place.year}-01-15"
    rows = [(str(name), "simulated", day, stamp, fid) for name, stamp, fid in zip(names, stamps, table["fid"].tolist(), strict=True)]
    with contextlib.closing(sqlite3.connect(copy)) as file, file:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            file.create_function(name, 1, lambda shape: 0 if shape else 1)  # the triggers of the spatial index name them
        file.executemany("UPDATE segments SET label = ?, evidence = ?, evidence_date = ?, edited = ? WHERE fid = ?", rows)


def read_segments(copy: Path) -> pd.DataFrame:
    """fid and key of the segments of a working copy, in the order of the queue."""
    import pandas as pd

    with contextlib.closing(sqlite3.connect(copy)) as file:
        return pd.read_sql_query("SELECT fid, key FROM segments ORDER BY rank", file, dtype={"key": str})


def true_share_of(place: Place, keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Share of truly mined pixels in the segments of these content keys."""
    features = place.features()
    ids = features.set_index("key")["segment"].reindex(keys.tolist()).to_numpy(np.int64)
    return true_share(place.product(Layout.segments), truth_path(place.config, place.year, place.root), ids)


def true_share(segments: Path, truth: Path, ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of truly mined pixels in each of the segments `ids`."""
    with raster.opened(segments) as source, raster.opened(truth) as true:
        window = window_in(raster.geobox_of(true), raster.geobox_of(source))
        numbers = source.read(1).ravel()
        mined = true.read(1, window=rasterio.windows.Window.from_slices(*window)).ravel() == 1
    pixels = np.bincount(numbers)
    share = np.bincount(numbers, mined) / np.maximum(pixels, 1)
    return np.asarray(share[ids], np.float64)


def truth_path(config: Config, year: str, root: str | Path = ".") -> Path:
    """Where the true mask of a year lies."""
    return Layout(config.run, Path(root)).true_mask(year)
