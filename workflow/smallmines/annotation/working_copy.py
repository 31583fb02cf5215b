"""Working copies: the GeoPackage that one person edits in QGIS, and its base, the record of what was checked out.

Copies lie at `resources/user/<run>/work/<annotator>/<year>-<block>.gpkg`, bases at `…/bases/<year>/<block>/<id>.parquet`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.annotation import qgis
from smallmines.core.files import digest, written
from smallmines.core.layout import PixelSample, UserFolder

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


def _shown(name: str, unset: str = "") -> str:
    """Return an expression that shows a field in HTML as it is written: notes of people are text, not markup."""
    escaped = f"""coalesce("{name}", '{unset}')"""
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        escaped = f"replace({escaped}, '{letter}', '{entity}')"
    return f"[% {escaped} %]"


TIP = (
    f'<b>{_shown("label", "unseen")}</b><br>predicted {_shown("prediction")}, probability [% round("probability", 2) %]<br>'
    f'asked for: {_shown("why")}, place [% "rank" %]<br>{_shown("opinions")}'
)
TASK_TIP = f'<b>tile {_shown("tile_id")}</b>: {_shown("status")}<br>[% "segments" %] segments'

AT_ONCE = 50_000
"""Segments that are vectorised at a time: the coordinates of all of a large block would take gigabytes."""

Kind = PixelSample | Literal["review", "adjudication"]


@dataclass(frozen=True)
class About:
    """Origin of a working copy.

    Attributes:
        base: id of the base; empty until it is written.
        kind: `review`; `adjudication` of disputed segments; others: pixels of a sample.
    """

    run: str
    year: int
    block: str
    annotator: str
    kind: Kind
    base: str = ""


def copy_path(user: Path, about: About) -> Path:
    """Return the path of a working copy."""
    name = f"{about.year}-{about.block}" + {"review": "", "adjudication": "-disputes"}.get(about.kind, f"-{about.kind}")
    return UserFolder(user).work / about.annotator / f"{name}.gpkg"


def events_folder(user: Path, about: About) -> Path:
    """Return the folder of the events of a copy."""
    folder, place = UserFolder(user), (str(about.year), about.block)
    return folder.events(*place) if about.kind == "review" or about.kind == "adjudication" else folder.references(about.kind, *place)


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


def styles() -> dict[str, str]:
    """Return the style of each layer of a working copy, see `qgis.style`."""
    return {
        "segments": qgis.style([*EDITABLE, "edited", *READ_ONLY], EDITABLE, "label", qgis.COLOURS, "unseen", TIP, RULE),
        "tasks": qgis.style(["tile_id", "segments", *TASK_EDITABLE, "edited"], TASK_EDITABLE, "status", qgis.STATES, "open", TASK_TIP),
    }


def write_copy(target: Path, about: About, segments: gpd.GeoDataFrame, tasks: gpd.GeoDataFrame, after: str = "") -> None:
    """Write the GeoPackage with styles, triggers that stamp the time of edits and count them, and its origin; at once or not at all.

    Args:
        after: time of the person's last event in the block; edits of the copy are later, whatever the clock says.
    """
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
            file.execute("CREATE TABLE history (edits INTEGER NOT NULL, after TEXT NOT NULL)")
            file.execute("INSERT INTO history VALUES (0, ?)", [after])
            for name, fields in (("segments", EDITABLE), ("tasks", TASK_EDITABLE)):
                # edits made without QGIS's form are stamped too, with the time of saving
                file.execute(
                    f"CREATE TRIGGER stamp_{name} AFTER UPDATE OF {', '.join(fields)} ON {name} WHEN NEW.edited IS OLD.edited BEGIN "
                    f"UPDATE {name} SET edited = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) WHERE fid = NEW.fid; END"
                )
                # tells a later state of the copy from an earlier one, which a clock that was set back does not
                file.execute(
                    f"CREATE TRIGGER count_{name} AFTER UPDATE OF {', '.join(fields)} ON {name} "
                    "BEGIN UPDATE history SET edits = edits + 1; END"
                )
