"""Working copies: the GeoPackage that one person edits in QGIS, and its base, the record of what was checked out.

Copies lie at `resources/user/<run>/work/<annotator>/<year>-<block>.gpkg`, bases at `…/bases/<year>/<block>/<id>.parquet`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.annotation import qgis
from smallmines.core.errors import UserError
from smallmines.core.files import digest, written
from smallmines.core.layout import UserFolder
from smallmines.core.readable import read_parquet

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

EDITABLE = ("label", "confidence", "reason", "evidence", "evidence_date", "note")
"""Fields of a segment that people fill in."""

READ_ONLY = ("key", "tile_id", "rank", "why", "prediction", "probability", "entropy", "previous", "opinions")
"""Fields of a segment that people see: content key (text), tile, rank in the queue, reason, prediction, label in force, and, in an
adjudication, the decisions of the others."""

TASK_EDITABLE = ("status", "evidence", "evidence_date", "note")
"""Fields of a task (a tile) that people fill in."""

RULE = (
    '"label" IS NULL OR "label" = \'unsure\' OR "label" = "prediction" OR '
    "(coalesce(\"evidence\", '') <> '' AND regexp_match(coalesce(\"evidence_date\", ''), '^[0-9]{4}-[0-9]{2}-[0-9]{2}$') > 0)"
)
"""A correction needs evidence and its date; those of its task count too, so QGIS only warns."""

TIP = (
    '<b>[% coalesce("label", \'unseen\') %]</b><br>predicted [% "prediction" %], probability [% round("probability", 2) %]<br>'
    'asked for: [% "why" %], place [% "rank" %]<br>[% coalesce("opinions", \'\') %]'
)
TASK_TIP = '<b>tile [% "tile_id" %]</b>: [% "status" %]<br>[% "segments" %] segments'


AT_ONCE = 50_000
"""Segments that are vectorised at a time: the coordinates of all of a large block would take gigabytes."""

Kind = Literal["review", "adjudication", "accuracy"]


@dataclass(frozen=True)
class About:
    """Origin of a working copy.

    Attributes:
        base: id of the base; empty until it is written.
        kind: `review`; `adjudication` of disputed segments; `accuracy`: pixels of the accuracy sample.
    """

    run: str
    year: int
    block: str
    annotator: str
    kind: Kind
    base: str = ""


def copy_path(user: Path, about: About) -> Path:
    """Return the path of a working copy."""
    name = f"{about.year}-{about.block}" + {"review": "", "adjudication": "-disputes", "accuracy": "-accuracy"}[about.kind]
    return UserFolder(user).work / about.annotator / f"{name}.gpkg"


def events_folder(user: Path, about: About) -> Path:
    """Return the folder of the events of a copy."""
    folder = UserFolder(user)
    return (folder.references if about.kind == "accuracy" else folder.events)(str(about.year), about.block)


def base_path(user: Path, about: About) -> Path:
    """Return the path of the base of a copy."""
    return UserFolder(user).base(str(about.year), about.block, about.base)


def polygons_of(segments: NDArray[np.uint32], ids: NDArray[np.integer[Any]], geobox: GeoBox) -> NDArray[np.object_]:
    """Vectorise some segments of a label raster as multipolygons, in the order of `ids`, which are distinct and occur in the raster."""
    count = int(segments.max(initial=0)) + 1
    rows = np.repeat(np.arange(segments.shape[0], dtype=np.int32), segments.shape[1])
    first, last = np.zeros(count, np.int32), np.zeros(count, np.int32)
    last[segments.ravel()] = rows  # of several assignments the last stands
    first[segments.ravel()[::-1]] = rows[::-1]
    order = np.argsort(ids, kind="stable")
    polygons = np.empty(len(ids), object)
    for start in range(0, len(ids), AT_ONCE):
        some = order[start : start + AT_ONCE]
        top, bottom = int(first[ids[some]].min()), int(last[ids[some]].max()) + 1
        polygons[some] = _outlines(segments[top:bottom], ids[some], geobox[top:bottom, :])
    return polygons


def _outlines(segments: NDArray[np.uint32], ids: NDArray[np.integer[Any]], geobox: GeoBox) -> NDArray[np.object_]:
    import rasterio.features
    import shapely

    place = np.zeros(max(int(segments.max(initial=0)), int(ids.max(initial=0))) + 1, np.int32)
    place[ids] = np.arange(1, len(ids) + 1)
    wanted = place[segments]
    lines, sizes, rings, owner = [], [], [], []
    for shape, value in rasterio.features.shapes(wanted, mask=wanted > 0, connectivity=4, transform=geobox.transform):
        outline = shape["coordinates"]
        lines += outline
        sizes += [len(line) for line in outline]
        rings.append(len(outline))
        owner.append(int(value) - 1)
    corners = np.fromiter((number for line in lines for corner in line for number in corner), np.float64, 2 * sum(sizes)).reshape(-1, 2)
    outlines = np.asarray(shapely.linearrings(corners, indices=np.repeat(np.arange(len(sizes)), sizes)), object)
    parts = np.asarray(shapely.polygons(outlines, indices=np.repeat(np.arange(len(rings)), rings)), object)  # the first ring is the outer
    order = np.argsort(owner, kind="stable")
    return np.asarray(shapely.multipolygons(parts[order], indices=np.array(owner, np.int64)[order]), object)


def shapes(geometry: NDArray[Any]) -> list[str]:
    """Digest each outline, to detect whether it was edited."""
    import shapely

    return [hashlib.sha256(wkb).hexdigest()[:16] if wkb else "" for wkb in shapely.to_wkb(shapely.normalize(geometry), byte_order=1)]


def write_base(user: Path, about: About, table: pd.DataFrame) -> About:
    """Write the base, the record of what is checked out; return `about` with the id of the base.

    Args:
        table: columns of `READ_ONLY` without opinions, and x, y, blind, inclusion, footprint, shape.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()
    named = About(**{**asdict(about), "base": digest([asdict(about), list(table.columns), content])})
    target = base_path(user, named)
    if not target.is_file():
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), "about": json.dumps(asdict(named))})
        with written(target) as beside:
            pq.write_table(arrow, beside)
    return named


def read_base(user: Path, about: About) -> pd.DataFrame:
    """Read the base of a working copy.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = base_path(user, about)
    if not path.is_file():
        raise UserError(
            f"a working copy of this run, checked out here ({path})", "no such record", "check out again and copy the edits over"
        )
    return read_parquet(path)


def styles() -> dict[str, str]:
    """Return the style of each layer of a working copy, see `qgis.style`."""
    return {
        "segments": qgis.style([*EDITABLE, "edited", *READ_ONLY], EDITABLE, "label", qgis.COLOURS, "unseen", TIP, RULE),
        "tasks": qgis.style(["tile_id", "segments", *TASK_EDITABLE, "edited"], TASK_EDITABLE, "status", qgis.STATES, "open", TASK_TIP),
    }


def write_copy(target: Path, about: About, segments: gpd.GeoDataFrame, tasks: gpd.GeoDataFrame) -> None:
    """Write the GeoPackage with styles, triggers that stamp the time of edits, and its origin; at once or not at all."""
    import pandas as pd
    import pyogrio

    origin = pd.DataFrame([{key: str(value) for key, value in asdict(about).items()}])
    layer_styles = pd.DataFrame(
        [
            {
                "f_table_catalog": "",
                "f_table_schema": "",
                "f_table_name": name,
                "f_geometry_column": "geom",
                "styleName": "labelling",
                "styleQML": qgis.qml(style),
                "styleSLD": "",
                "useAsDefault": True,
                "description": "",
                "owner": "",
                "update_time": "2024-01-01T00:00:00Z",
            }
            for name, style in styles().items()
        ]
    )
    with written(target) as beside:
        for name, frame in (("segments", segments), ("tasks", tasks)):
            pyogrio.write_dataframe(
                frame, beside, layer=name, driver="GPKG", geometry_type="MultiPolygon", promote_to_multi=True, SPATIAL_INDEX="YES"
            )
        for name, table in (("about", origin), ("layer_styles", layer_styles)):
            pyogrio.write_dataframe(table, beside, layer=name, driver="GPKG")
        with contextlib.closing(sqlite3.connect(beside)) as file, file:
            for name, fields in (("segments", EDITABLE), ("tasks", TASK_EDITABLE)):
                # edits made without QGIS's form are stamped too, with the time of saving
                file.execute(
                    f"CREATE TRIGGER stamp_{name} AFTER UPDATE OF {', '.join(fields)} ON {name} WHEN NEW.edited IS OLD.edited BEGIN "
                    f"UPDATE {name} SET edited = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) WHERE fid = NEW.fid; END"
                )


@dataclass(frozen=True)
class Edited:
    """Present content of a working copy.

    Attributes:
        segments: EDITABLE, edited, key (uint64, 0 where unreadable), row (its fid), geometry.
        tasks: tile_id, status, evidence, evidence_date, note, edited.
    """

    about: About
    segments: gpd.GeoDataFrame
    tasks: pd.DataFrame


def snapshot(path: Path, target: Path) -> None:
    """Copy a GeoPackage consistently, with everything that a program which has it open has saved.

    Raises:
        UserError: no such file, not a database, or locked for longer than ten seconds.
    """
    if not path.is_file():
        raise UserError(f"a working copy at {path}", "no such file", "name the .gpkg that `smallmines labels checkout` wrote")
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchall()  # waits for a lock with a timeout, unlike `backup`
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise UserError(
            f"a GeoPackage at {path}", str(error), "save and close it in QGIS, and try again; if it is damaged, check out again"
        ) from error


def read_copy(path: Path, name: str) -> Edited:
    """Read a snapshot of a working copy.

    Args:
        name: path of the working copy, for messages.

    Raises:
        UserError: tables or columns are missing.
    """
    import pandas as pd
    import pyogrio

    needed: Mapping[str, tuple[str, ...]] = {
        "about": tuple(About.__dataclass_fields__),
        "segments": (*EDITABLE, "edited", "key"),
        "tasks": ("tile_id", *TASK_EDITABLE, "edited"),
    }
    try:
        layers = {layer for layer, _ in pyogrio.list_layers(path)}
        missing = [f"table {layer}" for layer in needed if layer not in layers]
        for layer in layers & set(needed):
            fields = set(pyogrio.read_info(path, layer=layer)["fields"])
            missing += [f"column {column} of {layer}" for column in needed[layer] if column not in fields]
        if missing:
            raise UserError(
                f"the tables and columns of a working copy in {name}",
                f"without {', '.join(missing)}",
                "check out again and copy the edits over",
            )
        about = pyogrio.read_dataframe(path, layer="about").iloc[0].to_dict()
        segments = pyogrio.read_dataframe(path, layer="segments", fid_as_index=True)
        tasks = pyogrio.read_dataframe(path, layer="tasks", read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise UserError(f"a working copy at {name}", str(error), "check out again and copy the edits over") from None
    text = segments["key"].fillna("").astype(str)
    digits = text.str.fullmatch(r"\d{1,20}")
    segments["key"] = np.array([int(key) if valid and int(key) < 2**64 else 0 for key, valid in zip(text, digits, strict=True)], np.uint64)
    for table, columns in ((segments, EDITABLE), (tasks, TASK_EDITABLE)):
        for column in columns:
            values = (
                pd.to_datetime(table[column], errors="coerce").dt.strftime("%Y-%m-%d") if table[column].dtype.kind == "M" else table[column]
            )
            table[column] = values.fillna("").astype(str).str.strip()
    origin: dict[str, Any] = {name: about[name] for name in About.__dataclass_fields__}
    return Edited(About(**{**origin, "year": int(origin["year"])}), segments.assign(row=segments.index).reset_index(drop=True), tasks)
