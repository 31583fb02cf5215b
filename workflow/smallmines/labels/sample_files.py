"""Read the features of a sample file as they are stored: GeoPackage, GeoJSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import flat

LAYER = "samples"
"""Layer that is read where a file has several."""

TEXTS = ("label", "subclass", "annotator")

LARGEST = 200_000_000
"""Most bytes of a sample file: a million points as GeoJSON. They are read whenever the workflow is planned."""

BEGINNINGS = {".gpkg": b"SQLite format 3\0", ".geojson": b"{"}
"""First bytes by suffix, after white space and byte order mark. GDAL would open other formats by their content, whatever the suffix."""

AXES = {"x": "y", "lon": "lat"}
"""Columns of a CSV with coordinates."""


class Raw(NamedTuple):
    """Features as stored.

    Attributes:
        geometry: shapely geometries; None where there is none.
        crs: CRS of each; "" where none.
        texts: columns `TEXTS`, stripped, "" where there is none.
    """

    geometry: NDArray[Any]
    crs: NDArray[Any]
    texts: dict[str, NDArray[Any]]


def rows(numbers: Iterable[int]) -> str:
    """Name rows: the first ten, and how many more."""
    listed = list(numbers)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return f"row{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:10]))}{more}"


def read_raw(path: Path, crs: str) -> Raw:
    """Read the features of a file; without pandas for vector files, which is fast.

    Args:
        crs: of CSV columns x, y where no column crs says otherwise.

    Raises:
        UserError: a file of another form, too large, without an attribute `label`, or with several layers.
        Exception: whatever a driver raises on a file that it cannot read.
    """
    import pyogrio
    import pyogrio.raw
    import shapely

    suffix = path.suffix.lower()
    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"a sample file at {path}", "something that is no file" if path.exists() else "no such file", "put the file there")
    if strange := [beside for beside in _beside(path) if beside.exists() and not beside.is_file()]:
        raise UserError(f"files beside {path}", f"{strange[0].name} is no file", "move it away")
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(
            f"a sample file of at most {LARGEST / 1e6:.0f} MB", f"{path} has {size / 1e6:.0f} MB", "keep labelled features only"
        )
    if suffix == ".csv":
        return _read_csv(path, crs)
    with path.open("rb") as file:
        beginning = file.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning.startswith(BEGINNINGS[suffix]):
        what = {".gpkg": "a GeoPackage", ".geojson": "GeoJSON in UTF-8"}[suffix]
        raise UserError(f"{what} at {path}", f"a file that begins with {beginning[:20]!r}", f"export the samples as {what}")
    layer, fields = _layer(path, {name: list(pyogrio.read_info(path, layer=name)["fields"]) for name in _spatial(path)})
    meta, _, wkb, columns = pyogrio.raw.read(path, layer=layer, columns=[name for name in TEXTS if name in fields], force_2d=True)
    texts = dict(zip(meta["fields"], columns, strict=True))
    empty = np.full(len(wkb), "", object)
    return Raw(
        np.asarray(shapely.from_wkb(wkb), object),
        np.full(len(wkb), meta["crs"] or "", object),
        {name: stripped(texts[name]) if name in texts else empty for name in TEXTS},
    )


def _beside(path: Path) -> list[Path]:
    """Return the files that SQLite keeps beside a GeoPackage while a program has it open."""
    return [path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")]


def how_to_restore(path: Path) -> str:
    """Say what to do with a file that cannot be read."""
    if any(beside.is_file() and beside.stat().st_size for beside in _beside(path)):
        return "close it in QGIS, or, if no program has it open, open and save it once there: a program was stopped while it saved"
    return "restore or correct the file"


def _spatial(path: Path) -> list[str]:
    import pyogrio

    return [name for name, kind in pyogrio.list_layers(path) if kind is not None]


def _layer(path: Path, fields: dict[str, list[str]]) -> tuple[str, list[str]]:
    """Return the layer to be read, and its attributes.

    Args:
        fields: attributes of the layers with geometries.

    Raises:
        UserError: several layers, of which none is named `samples` or another has labels too; or no attribute `label`.
    """
    if LAYER not in fields and len(fields) != 1:
        found = f"layers {', '.join(fields) or 'none'}"
        raise UserError(f"one layer, or a layer `{LAYER}`, in {path}", found, f"name the layer `{LAYER}`")
    layer = LAYER if LAYER in fields else next(iter(fields))
    if others := [name for name in fields if name != layer and "label" in fields[name]]:
        raise UserError(
            f"labels in the layer `{LAYER}` only, in {path}",
            f"an attribute `label` in the layer{'s' * (len(others) > 1)} {', '.join(others)} too, which would not be read",
            f"copy the labels of these layers to `{LAYER}`, or remove the layers",
        )
    if "label" not in fields[layer]:
        found = f"attributes {', '.join(fields[layer]) or 'none'}"
        raise UserError(f"an attribute `label` in {path}", found, "add it: mining or not_mining")
    return layer, fields[layer]


def _read_csv(path: Path, crs: str) -> Raw:
    import pandas as pd
    import shapely

    header, cells = _cells(path)
    axis = next((name for name in AXES if {name, AXES[name]} <= set(header)), None)
    if axis is None or "label" not in header:
        raise UserError(f"columns x, y or lon, lat, and label in {path}", f"columns {flat(', '.join(header))[:200]}", "correct the header")
    table = pd.DataFrame(cells, columns=header, dtype=object)
    texts = {name: stripped(table[name]) if name in table else np.full(len(table), "", object) for name in TEXTS}
    filled = texts["label"] != ""
    x, y = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in (axis, AXES[axis]))
    if (bad := filled & ~np.isfinite(x + y)).any():
        first = int(np.flatnonzero(bad)[0])
        found = f"{rows((np.flatnonzero(bad) + 1).tolist())}: {table[axis][first]!r}, {table[AXES[axis]][first]!r}"
        raise UserError(f"numbers in the columns {axis} and {AXES[axis]} of {path}", found, "correct these rows; decimals have a point")
    if axis == "lon":
        _require_degrees(x, y, filled, path)
    systems = np.full(len(table), "EPSG:4326" if axis == "lon" else crs, object)
    if axis == "x" and "crs" in table:
        named = stripped(table["crs"])
        systems = np.where(named != "", named, systems)
    return Raw(np.asarray(shapely.points(x, y), object), systems, texts)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read header and rows of a CSV; each row has as many cells as the header.

    Raises:
        UserError: not UTF-8, no commas, quotes that are not closed, names that occur twice, or rows with more cells than the header.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = next((name for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")) if content.startswith(mark)), "")
        line = content[: error.start].count(b"\n") + 1
        found = f"{encoding or 'another encoding'} in line {line} ({content[error.start : error.start + 10]!r})"
        raise UserError(f"a CSV in UTF-8 at {path}", found, "save it as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        lines = [[cell.strip() for cell in line] for line in reader if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise UserError(f"a CSV at {path}", f"line {reader.line_num}: {flat(error)}", "correct the line") from None
    header, cells = (lines[0], lines[1:]) if lines else ([], [])
    if len(header) == 1 and (mark := next((mark for mark in (";", "\t") if mark in header[0]), "")):
        do = "save it with commas between columns and points in decimals"
        raise UserError(f"columns with commas in {path}", f"{header[0][:80]!r}, columns with {mark!r}", do)
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise UserError(f"columns of different names in {path}", f"{', '.join(twice)} twice", "rename or remove one of them")
    count = len(header)
    if long := [number for number, line in enumerate(cells, 1) if any(line[count:])]:
        found = f"more cells than the header's {count} in {rows(long)}"
        raise UserError(f"rows as long as the header in {path}", found, "put texts with commas in quotes")
    names = [name or f"column {number}" for number, name in enumerate(header, 1)]
    return names, [line[:count] + [""] * (count - len(line)) for line in cells]


def _require_degrees(lon: NDArray[np.float64], lat: NDArray[np.float64], filled: NDArray[np.bool_], path: Path) -> None:
    """Refuse coordinates that are no longitudes and latitudes."""
    bad = filled & ((abs(lon) > 180) | (abs(lat) > 90))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        found = f"{rows((np.flatnonzero(bad) + 1).tolist())}: lon {lon[first]:g}, lat {lat[first]:g}"
        swapped = bool((abs(lat[bad]) <= 180).all() and (abs(lon[bad]) <= 90).all())
        do = "swap the columns" if swapped else "name the columns x and y if they are not degrees"
        raise UserError(f"degrees in the columns lon and lat of {path}", found, do)


def stripped(values: Iterable[Any]) -> NDArray[Any]:
    """Return values as texts without white space around them; "" where there is none."""
    texts: Sequence[str] = [str(value).strip() if value is not None and value == value else "" for value in values]
    return np.fromiter(texts, object, len(texts))
