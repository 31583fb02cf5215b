"""Write the files of a check-out: working copy and base, QGIS project, files for Google Earth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation import qgis
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.change_sample import earlier_year
from smallmines.annotation.checkin import pending
from smallmines.annotation.working_copy import EDITABLE, About, Kind, copy_path, polygons_of, shapes, styles, write_base, write_copy
from smallmines.core import raster
from smallmines.core.crs import DEGREES, reproject
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.grid.lattice import Lattice
from smallmines.labels import footprint
from smallmines.labels.event_files import ANNOTATOR

if TYPE_CHECKING:
    import pandas as pd


OUTLINES = 100_000
"""A working copy of more segments gets no files for Google Earth; check out tiles instead."""


@dataclass(frozen=True)
class CheckedOut:
    """Result of a check-out: path and size of the working copy, number of segments by reason."""

    path: Path
    base: str
    segments: int
    tasks: int
    reasons: dict[str, int]
    megabytes: float


def require_annotator(block_year: BlockYear, annotator: str) -> Sequence[str]:
    """Return the annotators of the run; refuse others."""
    people = block_year.config.labels.annotators
    if annotator not in people:
        raise UserError(
            f"one of labels.annotators ({', '.join(people)})", annotator, "use one of them, or add the code to the configuration"
        )
    return people


def write_checkout(
    block_year: BlockYear, rows: pd.DataFrame, segments: Callable[[], NDArray[np.uint32]], annotator: str, kind: Kind, dry: bool
) -> CheckedOut:
    """Write base, working copy, project and task files.

    Args:
        rows: segments that are checked out, in the order of the queue: segment, key, tile_id, x, y, rank, why, prediction (text),
            probability, entropy (NaN: not shown), previous, opinions (texts), blind, inclusion.
        segments: returns the label raster (row, column) of their ids.
        dry: write nothing.

    Raises:
        UserError: there is a working copy with edits that are not checked in, or the code of the person is none.
    """
    import geopandas as gpd

    if not ANNOTATOR.fullmatch(annotator):
        raise UserError("the code of a person (at most 40 letters, digits and _ . -)", f"{annotator!r}", "use a code, e.g. J01")
    about = About(block_year.config.run, int(block_year.year), block_year.block, annotator, kind)
    target = copy_path(block_year.user, about)
    if target.is_file() and (left := pending(block_year.user, target)):
        raise UserError(f"no working copy with edits at {target}", f"{left} edits not checked in", "check it in first, or move it away")
    reasons = {str(name): int(number) for name, number in rows["why"].value_counts().items()}
    if dry:
        return CheckedOut(target, "", len(rows), rows["tile_id"].nunique(), reasons, 0.0)
    lattice = block_year.lattice
    geobox, crs = lattice.block(block_year.block), str(lattice.geobox.crs)
    labels, ids = segments(), rows["segment"].to_numpy(np.int64)
    geometry = polygons_of(labels, ids, geobox)
    shown = rows[["rank", "why"]].assign(
        key=rows["key"].astype(str),
        tile_id=rows["tile_id"].astype(str),
        prediction=rows["prediction"],
        probability=rows["probability"].astype(float).round(4),
        entropy=rows["entropy"].astype(float).round(4),
        previous=rows["previous"],
    )
    base = shown.assign(
        probability=shown["probability"].fillna(-1.0),
        x=rows["x"].astype(float),
        y=rows["y"].astype(float),
        blind=rows["blind"].astype(bool),
        inclusion=rows["inclusion"].astype(float),
        footprint=footprint.encode(footprint.runs_of(labels, ids), len(ids), geobox),
        shape=shapes(geometry),
    )
    about = write_base(block_year.user, about, base)
    empty = {name: np.full(len(shown), None, object) for name in EDITABLE}
    frame = gpd.GeoDataFrame({**empty, "edited": np.nan, **shown, "opinions": rows["opinions"]}, geometry=geometry, crs=crs)
    text = dict.fromkeys([*empty, "key", "tile_id", "why", "prediction", "previous", "opinions"], "string")
    frame = frame.astype({**text, "edited": "Int64", "rank": "int32"})
    tasks = _tasks(lattice, block_year.block, base, crs)
    earlier = block_year.events() if kind == "review" or kind == "adjudication" else block_year.references(kind)
    write_copy(target, about, frame, tasks, max((event.time for event in earlier if event.annotator == annotator), default=""))
    _project(block_year, target, tasks, year_to_label(block_year, kind))
    shutil.rmtree(_tasks_folder(target), ignore_errors=True)  # of the previous copy
    if len(frame) <= OUTLINES:
        _google_earth(target, frame, tasks)
    return CheckedOut(target, about.base, len(frame), len(tasks), reasons, round(target.stat().st_size / 1e6, 1))


def _tasks(lattice: Lattice, block: str, base: pd.DataFrame, crs: str) -> Any:
    """Return one row per tile with segments of the copy, the most urgent first."""
    import geopandas as gpd
    import shapely

    cells = lattice.cells_of(block).set_index("tile_id")
    urgent = base.groupby("tile_id")["rank"].agg(["min", "size"]).sort_values("min")
    x, y = cells.loc[urgent.index, "x"].to_numpy(), cells.loc[urgent.index, "y"].to_numpy()
    side, transform = lattice.tile_size, lattice.block(block).transform
    (left, top), (right, bottom) = transform @ (x, y), transform @ (x + side, y + side)
    empty = {name: np.full(len(urgent), None, object) for name in ("evidence", "evidence_date", "note")}
    frame = gpd.GeoDataFrame(
        {"tile_id": urgent.index.astype(str), "segments": urgent["size"].to_numpy(np.int32), "status": "open", **empty, "edited": np.nan},
        geometry=shapely.box(left, bottom, right, top),
        crs=crs,
    )
    return frame.astype({**dict.fromkeys(["tile_id", "status", *empty], "string"), "edited": "Int64"})


def year_to_label(block_year: BlockYear, kind: Kind) -> str:
    """Return the year that people label in a working copy: its own, but for `change_before` the year before it."""
    return earlier_year(block_year) if kind == "change_before" else block_year.year


def _project(block_year: BlockYear, target: Path, tasks: Any, shown_year: str) -> None:
    """Write the QGIS project of a working copy: true and false colour of every year, radar, hillshade, layers of the configuration.

    Args:
        shown_year: whose images lie on top.
    """
    images = []
    for year in sorted(block_year.config.year_names, key=lambda name: name != shown_year):
        s2, s1 = block_year.layout.s2(year, block_year.block), block_year.layout.s1(year, block_year.block)
        for name, path, bands in (
            ("true colour", s2, (3, 2, 1)),
            ("false colour", s2, (9, 7, 3)),
            ("radar VV", s1, (1,)),
        ):
            if path.is_file():
                images.append(qgis.Image(f"{year} {name}", path, bands, tuple(_limits(path, band) for band in bands)))
    images.sort(key=lambda image: ("radar" in image.name, "false" in image.name))
    if (dem := block_year.layout.dem(block_year.block)).is_file():
        images.append(qgis.Image("hillshade", dem))
    first = tasks.geometry.iloc[0].bounds
    with written(target.with_suffix(".qgs")) as beside:
        qgis.write_project(
            beside,
            target,
            styles(),
            images,
            block_year.config.labels.map_layers,
            str(block_year.lattice.geobox.crs),
            (first[0] - 200, first[1] - 200, first[2] + 200, first[3] + 200),
        )


def _limits(path: Path, band: int) -> tuple[float, float]:
    """Return the values shown darkest and brightest: 2nd percentile of a thumbnail, and median plus six times its distance to that."""
    with raster.opened(path) as source:
        step = max(1, max(source.shape) // 500)
        values = source.read(band, out_shape=(source.height // step, source.width // step), masked=True).compressed()
    values = values[np.isfinite(values)]
    low, middle = np.percentile(values, [2, 50]) if len(values) else (0, 1)  # the upper percentiles may be cloud
    return float(low), float(middle + 6 * max(middle - low, 1))


def _tasks_folder(target: Path) -> Path:
    return target.with_name(f"{target.stem}-tasks")


def _google_earth(target: Path, frame: Any, tasks: Any) -> None:
    """Write a KMZ per task beside the copy (`<year>-<block>-tasks/<tile>.kmz`): outlines only, so that the imagery is visible."""
    import pandas as pd
    import pyogrio

    lines = reproject(frame, DEGREES)
    lines["geometry"] = lines.geometry.boundary
    squares = reproject(tasks, DEGREES)
    squares["geometry"] = squares.geometry.boundary
    with written(_tasks_folder(target)) as beside:
        beside.mkdir()
        by_tile = dict(tuple(lines.groupby("tile_id")))
        for number in range(len(squares)):
            tile = squares.iloc[[number]]
            own = by_tile[tile["tile_id"].iloc[0]]
            named = pd.concat(
                [
                    tile.assign(Name="tile " + tile["tile_id"])[["Name", "geometry"]],
                    own.assign(Name=[f"{rank}: {prediction}" for rank, prediction in zip(own["rank"], own["prediction"], strict=True)])[
                        ["Name", "geometry"]
                    ],
                ]
            )
            pyogrio.write_dataframe(named, beside / f"{tile['tile_id'].iloc[0]}.kmz", driver="LIBKML", layer="task")
