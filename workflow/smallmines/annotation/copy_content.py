"""Read what a working copy holds, whatever people and programs have made of it, and list all that is wrong with it at once."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.working_copy import EDITABLE, TASK_EDITABLE, About
from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.layout import UserFolder
from smallmines.labels.event_files import ANNOTATOR

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

LONGEST = 10_000
"""Most characters of a text that people fill in. A page of print has about 3000."""

HEADER = {0: 8, 1: 40, 2: 56, 3: 56, 4: 72}
"""Bytes before the WKB in a geometry of a GeoPackage, by the kind of its envelope (GeoPackage 1.3, clause 2.1.3)."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "about": tuple(field.name for field in fields(About)),
    "segments": (*EDITABLE, "edited", "key", "geom"),
    "tasks": ("tile_id", *TASK_EDITABLE, "edited"),
}
"""Tables and columns of a working copy that are read."""

AGAIN = "check out again and copy the edits over"


@dataclass(frozen=True)
class Edited:
    """Present content of a working copy.

    Attributes:
        about: origin, as its base has it.
        base: table of the base, see `working_copy.write_base`.
        segments: EDITABLE (texts), edited (object: int in ms since 1970, None, or what else is there), key (uint64, 0 where unreadable),
            row (its fid), geometry.
        tasks: tile_id, status, evidence, evidence_date, note, edited.
        revision: number of edits that the copy has seen; -1 where it does not count them.
        after: time of the person's last event in the block when the copy was checked out; empty where there was none.
        faults: what is wrong with origin and texts.
    """

    about: About
    base: pd.DataFrame
    segments: gpd.GeoDataFrame
    tasks: pd.DataFrame
    revision: int
    after: str
    faults: tuple[str, ...]


def snapshot(path: Path, target: Path) -> None:
    """Copy a GeoPackage consistently, with everything that a program which has it open has saved.

    Raises:
        UserError: no such file, not a database, left half saved, locked for longer than ten seconds, or no room for the copy.
    """
    if not path.is_file():
        found = "something that is no file" if path.exists() else "no such file"
        raise UserError(f"a working copy at {path}", found, "name the .gpkg that `smallmines labels checkout` wrote")
    beside = [path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")]
    if strange := [other for other in beside if other.exists() and not other.is_file()]:  # a pipe would be waited for
        raise UserError(f"files beside {path}", f"{strange[0].name} is no file", "move it away")
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
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR"):
            do = "free some disk space and check in again; the working copy is as it was"
            raise UserError(f"disks that can be read and written: {path}, {target.parent.parent}", flat(error), do) from None
        if any(other.is_file() and other.stat().st_size for other in beside[:2]) and name != "SQLITE_BUSY":
            raise UserError(
                f"a working copy that was saved to the end at {path}",
                f"{flat(error)}: a program was stopped while it saved (the file {path.name}-journal or -wal is there)",
                "close the copy in QGIS, or, if no program has it open, open it once in QGIS, which completes or undoes that; then "
                "check in again; keep the files beside it",
            ) from None
        do = "save and close it in QGIS, and try again; if it is damaged, restore it from a backup or check out again"
        raise UserError(f"a GeoPackage at {path}", flat(error), do) from None


def was_edited(path: Path) -> bool:
    """Return whether anybody has filled in anything in a working copy; True where it does not tell."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as file:
            return bool(file.execute("SELECT edits FROM history").fetchone()[0] != 0)
    except (sqlite3.Error, TypeError):
        return True


def read_copy(user: Path, path: Path, name: str) -> Edited:
    """Read a snapshot of a working copy, and its base.

    Args:
        user: `resources/user/<run>`.
        name: path of the working copy, for messages.

    Raises:
        UserError: the database is damaged; tables, columns or the base are missing.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.text_factory = bytearray  # texts as bytearray, blobs as bytes
            if (state := bytes(file.execute("PRAGMA quick_check(1)").fetchone()[0])) != b"ok":
                raise UserError(f"a working copy without damage at {name}", flat(state.decode(errors="replace")), f"restore it, or {AGAIN}")
            missing = _missing(file)
            about = _table(file, "about", NEEDED["about"]) if not any("about" in part for part in missing) else {}
            faults, own, base = _origin(user, about)
            if missing or base is None or own is None:
                parts = [*([f"without {', '.join(missing)}"] if missing else []), *faults]
                raise UserError(f"a working copy of this run at {name}", "; ".join(parts), AGAIN)
            segments, tasks = (_table(file, table, NEEDED[table]) for table in ("segments", "tasks"))
            history = file.execute("SELECT edits, after FROM history").fetchone() if _has_history(file) else None
    except sqlite3.Error as error:
        raise UserError(f"a working copy without damage at {name}", flat(error), f"restore it, or {AGAIN}") from None
    faults += [fault for kind, table in (("row", segments), ("task", tasks)) for fault in _decode(kind, table)]
    edits, after = history or (-1, None)
    return Edited(
        own,
        base,
        _segments(segments),
        _frame(tasks),
        edits if isinstance(edits, int) else -1,
        _text(after),
        tuple(faults),
    )


def _missing(file: sqlite3.Connection) -> list[str]:
    """List the tables and columns that a working copy lacks."""
    tables = {bytes(row[0]).decode(errors="replace") for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [f"table {table}" for table in NEEDED if table not in tables]
    for table in NEEDED:
        columns = {bytes(row[1]).decode(errors="replace") for row in file.execute(f"PRAGMA table_info({table})")}
        missing += [f"column {column} of {table}" for column in NEEDED[table] if table in tables and column not in columns]
    return missing


def _has_history(file: sqlite3.Connection) -> bool:
    """Return whether a copy counts its edits; those of older versions do not."""
    return {bytes(row[1]) for row in file.execute("PRAGMA table_info(history)")} >= {b"edits", b"after"}


def _table(file: sqlite3.Connection, table: str, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Read a table by column as it is stored, with `row`, the number that QGIS shows as fid."""
    rows = file.execute(f"SELECT rowid, {', '.join(columns)} FROM {table} ORDER BY rowid").fetchall()
    return {name: [row[at] for row in rows] for at, name in enumerate(("row", *columns))}


def _origin(user: Path, table: Mapping[str, Sequence[Any]]) -> tuple[list[str], About | None, pd.DataFrame | None]:
    """Hold the table `about` against the base that it names: return all differences, and origin and table of the base."""
    if len(table.get("row", ())) != 1:
        return ([f"table about has {len(table['row'])} rows, not one"] if table else []), None, None
    values = {name: _text(table[name][0]) for name in NEEDED["about"]}
    base = values["base"]
    paths = sorted(UserFolder(user).bases.glob(f"*/*/{base}.parquet")) if re.fullmatch(r"[0-9a-f]{16}", base) else []
    if not paths:
        return [f"base is {base!r}: no such record of a check-out in {UserFolder(user).bases}"], None, None
    own, records = read_base(paths[0])
    right = {name: str(value) for name, value in asdict(own).items()}
    if "footprint" not in records:
        return [f"base is {base!r}: the record of a session in the browser, not of a check-out"], None, None
    faults = [f"{name} in the table about is {values[name]!r}, not {right[name]!r}" for name in right if values[name] != right[name]]
    if not ANNOTATOR.fullmatch(own.annotator):
        faults.append(f"annotator {own.annotator!r} is no code (at most 40 letters, digits and _ . -)")
    return faults, own, records


def read_base(path: Path) -> tuple[About, pd.DataFrame]:
    """Read the base of a working copy: its origin, and the table of what was checked out.

    Raises:
        UserError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        return About(**json.loads((table.schema.metadata or {})[b"about"])), table.to_pandas()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(
            f"the record of a check-out at {path}", flat(error), "restore it from a backup or another computer, and check in again"
        ) from None


def _text(value: Any) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, bytearray | bytes) else "" if value is None else str(value)


def _decode(kind: str, table: dict[str, list[Any]]) -> list[str]:
    """Replace the texts of a table by str, stripped, "" where there are none; return what is no text, row by row."""
    faults = []
    for column in table.keys() & {*EDITABLE, *TASK_EDITABLE, "tile_id"}:
        for at, value in enumerate(table[column]):
            if value is None:
                table[column][at] = ""
                continue
            text, fault = _text(value).strip(), ""
            if isinstance(value, bytes):
                fault = f"{column} is no text but {len(value)} bytes"
            elif isinstance(value, bytearray) and value.decode(errors="ignore").encode() != value:
                fault = f"{column} is not in UTF-8 ({text[:20]!r})"
            elif len(text) > LONGEST:
                fault = f"{column} has {len(text)} characters, more than {LONGEST}"
            if fault:
                faults.append(f"{kind} {table['row'][at]}: {fault}")
            table[column][at] = "" if fault else text
    return sorted(faults)


def _frame(table: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Make a table of columns; `edited` is an int, None, or the text or number that is there instead."""
    import pandas as pd

    frame = pd.DataFrame({name: np.fromiter(values, object, len(values)) for name, values in table.items()})
    frame["edited"] = np.fromiter(map(_stamp, table["edited"]), object, len(frame))
    day = frame["evidence_date"].str.extract(r"^(\d{4}-\d{2}-\d{2})T[\d:.]*Z?$")[0] if len(frame) else frame["evidence_date"]
    return frame.assign(evidence_date=day.fillna(frame["evidence_date"]))


def _stamp(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, int | float) else _text(value)


def _segments(table: dict[str, list[Any]]) -> gpd.GeoDataFrame:
    """Make the table of segments: keys as numbers, outlines as geometries, None where unreadable."""
    import geopandas as gpd
    import shapely

    wkb: NDArray[np.object_] = np.fromiter(map(_wkb, table.pop("geom")), object, len(table["row"]))
    keys = [_text(key) for key in table["key"]]
    numbers = [int(key) if re.fullmatch(r"[0-9]{1,20}", key) and int(key) < 2**64 else 0 for key in keys]
    frame = _frame(table).assign(key=np.array(numbers, np.uint64))
    return gpd.GeoDataFrame(frame, geometry=np.asarray(shapely.from_wkb(wkb, on_invalid="ignore"), object))


def _wkb(blob: Any) -> bytes | None:
    """Return the WKB of a geometry of a GeoPackage; None where there is none."""
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
        return None
    return blob[HEADER.get(blob[3] >> 1 & 7, len(blob)) :] or None
