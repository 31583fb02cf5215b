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
from smallmines.annotation.checkin import pending
from smallmines.annotation.google_earth import write_kmz
from smallmines.annotation.images import BANDS, Image, images_of, limits_of, year_to_label
from smallmines.annotation.server.edits.journal_file import waiting
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


class NothingToLabel(UserError):
    """Nothing is left to label."""


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
    _require_no_edits(block_year.user, about, target)
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


def _require_no_edits(user: Path, about: About, copy: Path) -> None:
    """Refuse a check-out while the person has edits of the same work that are not in events, in the browser or in a working copy."""
    if edits := waiting(user, about):
        do = "hand in on the page first (smallmines labels serve)"
        place = f"{about.year}, block {about.block}, by {about.annotator} ({about.kind})"
        raise UserError(f"no edits in the browser of {place}", f"{edits} edits that are not handed in", do)
    if copy.is_file() and (left := pending(user, copy)):
        raise UserError(f"no working copy with edits at {copy}", f"{left} edits not checked in", "check it in first, or move it away")


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


def _project(block_year: BlockYear, target: Path, tasks: Any, shown_year: str) -> None:
    """Write the QGIS project of a working copy: true and false colour of every year, radar, hillshade, layers of the configuration.

    Args:
        shown_year: whose images lie on top.
    """
    images = [_layer(image) for image in images_of(block_year, shown_year)]
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


def _layer(image: Image) -> qgis.Image:
    """Return an image as a layer of the project; QGIS computes hillshade itself."""
    if image.style == "hillshade":
        return qgis.Image(image.title, image.path)
    bands = BANDS[image.style]
    with raster.opened(image.path) as source:
        numbers = tuple(raster.band_indices(source, bands))
    return qgis.Image(image.title, image.path, numbers, limits_of(image.path, bands))


def _tasks_folder(target: Path) -> Path:
    return target.with_name(f"{target.stem}-tasks")


def _google_earth(target: Path, frame: Any, tasks: Any) -> None:
    """Write a KMZ per task beside the copy (`<year>-<block>-tasks/<tile>.kmz`): outlines only, so that the imagery is visible."""
    import geopandas as gpd

    lines, squares = reproject(frame, DEGREES), reproject(tasks, DEGREES)
    with written(_tasks_folder(target)) as beside:
        beside.mkdir()
        by_tile = dict(tuple(lines.groupby("tile_id")))
        for tile_id, square in zip(squares["tile_id"], squares.geometry, strict=True):
            write_kmz(beside / f"{tile_id}.kmz", tile_id, gpd.GeoSeries([square], crs=DEGREES), by_tile[tile_id])
