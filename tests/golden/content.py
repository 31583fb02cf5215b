"""Content of a product as named arrays, its checksum, and the differences of two versions.

Content is pixels, cells, values and text, but not tags, compression, file times and file bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Content:
    """Content of one file.

    Attributes:
        unit: elements of the arrays: pixels, cells, values or lines.
        arrays: values by name: bands of a raster, columns of a table, keys of a JSON, arrays of a model.
        header: properties as text by name: grid and nodata of a raster, types of columns.
    """

    unit: str
    arrays: dict[str, Array]
    header: dict[str, str] = field(default_factory=dict)

    def checksum(self) -> str:
        """Return 16 hex digits of the SHA-256 of header and arrays; all NaN are equal, and -0 is 0."""
        digest = hashlib.sha256(json.dumps(self.header, sort_keys=True).encode())
        for name in sorted(self.arrays):
            array = self.arrays[name]
            digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
            if array.dtype == object:
                digest.update(json.dumps(array.tolist()).encode())
            elif array.dtype.kind == "f":
                digest.update(np.where(np.isnan(array), np.array(np.nan, array.dtype), array + array.dtype.type(0)).tobytes())
            else:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class LeftOut:
    """Values of a JSON or a model that are not content.

    Attributes:
        product: pattern of the product's name.
        key: pattern of the key's path, as `a.b[0].c`.
        reason: reason why they are not compared.
    """

    product: str
    key: str
    reason: str


LEFT_OUT = (
    LeftOut("world/truth/world.json", "recipe", "digest of the code that makes the world"),
    LeftOut("manifests/*.json", "asked", "time of the search"),
    LeftOut("assistant/*/metrics.json", "versions.*", "versions of Python and libraries"),
    LeftOut("*", "software*", "versions of libraries and OTB"),
    LeftOut("software.json", "versions.*", "versions of libraries and OTB"),
    LeftOut("segments/*/segments.json", "backend", "otbApplication or otbcli, which give the same pixels"),
)

REPLACED = (
    # Checksums of files cover tags and compression. The files are products of their own.
    (re.compile(r"\b(1220)?[0-9a-f]{64}\b"), "<sha256>"),
    # Versions of libraries and OTB.
    (re.compile(r"(?<=Made with )(?:[\w-]+ [\w.]+(?:, )?)+"), "<versions>"),
    # Names in the pixel cache hold a digest of the path and time of the source.
    (re.compile(r"(pixels/[^/\s]+/\w+)-[0-9a-f]{16}\.tif"), r"\1.tif"),
    # The pictures in a page are products of their own; the report's seal is a checksum of checksums.
    (re.compile(r"data:image/\w+;base64,[A-Za-z0-9+/=]+"), "<picture>"),
    (re.compile(r"\bseal [0-9a-f]{16}\b"), "seal <sha256>"),
)
"""Replacements of text that depends on file bytes, times or folders."""


def read(path: Path, name: str) -> Content:
    """Read the content of a file; the name of its product decides what is left out."""
    suffix = path.suffix.lower()
    if suffix == ".tif":
        return _raster(path)
    if suffix == ".png":
        return _picture(path)
    if suffix in (".parquet", ".gpkg", ".csv"):
        return _table(path)
    if suffix in (".json", ".geojson"):
        return _values(json.loads(path.read_text(encoding="utf-8")), name)
    if suffix == ".joblib":
        return _model(path, name)
    lines = _replaced(path.read_text(encoding="utf-8")).splitlines()
    return Content("lines", {"text": _texts(lines)})


def together(contents: Mapping[str, Content]) -> Content:
    """Join the contents of several files, with the names of the files before those of arrays."""
    arrays = {f"{name} {part}": array for name, content in contents.items() for part, array in content.arrays.items()}
    header = {f"{name} {key}": text for name, content in contents.items() for key, text in content.header.items()}
    return Content("values", arrays, header)


def _raster(path: Path) -> Content:
    import rasterio

    with rasterio.open(path) as source:
        arrays = {f"band {number}": source.read(number) for number in source.indexes}
        header = {
            "shape": f"{source.height} rows, {source.width} columns",
            "transform": json.dumps(list(source.transform[:6])),
            "crs": source.crs.to_string() if source.crs else "none",
            "nodata": str(source.nodata),
            "bands": ", ".join(name or "unnamed" for name in source.descriptions),
        }
    return Content("pixels", arrays, header)


def _picture(path: Path) -> Content:
    from PIL import Image

    with Image.open(path) as picture:
        return Content("pixels", {"picture": np.asarray(picture.convert("RGBA"))})


def _table(path: Path) -> Content:
    import geopandas as gpd
    import pandas as pd
    import pyarrow.parquet as pq

    if path.suffix == ".csv":
        frames = {"": pd.read_csv(path, dtype=str, keep_default_na=False)}  # the text of a CSV counts, since types are guessed
    elif path.suffix == ".gpkg":
        frames = {f"{layer}: ": gpd.read_file(path, layer=layer) for layer in gpd.list_layers(path)["name"]}
    else:
        geographic = b"geo" in (pq.read_schema(path).metadata or {})
        frames = {"": gpd.read_parquet(path) if geographic else pd.read_parquet(path)}
    arrays, header = {}, {}
    for layer, frame in frames.items():
        for column in frame.columns:
            if "measured" in path.parts[-4:] and column == "tags":  # tags are not compared
                continue
            series = frame[column]
            numbers = isinstance(series.dtype, np.dtype) and series.dtype.kind in "iufb"
            header[f"type of {layer}{column}"] = str(series.dtype)
            arrays[f"{layer}{column}"] = series.to_numpy() if numbers else _texts(_cell(value) for value in series)
        if isinstance(frame, gpd.GeoDataFrame):
            header[f"{layer}crs"] = frame.crs.to_string() if frame.crs else "none"
    return Content("cells", arrays, header)


def _cell(value: Any) -> str:
    import shapely

    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=12).hexdigest()
    if isinstance(value, shapely.Geometry):
        return str(shapely.to_wkt(value, rounding_precision=-1))
    return _replaced(value if isinstance(value, str) else json.dumps(value, default=_as_json, sort_keys=True, ensure_ascii=False))


def _as_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _values(document: Any, name: str) -> Content:
    left_out = [entry.key for entry in LEFT_OUT if fnmatchcase(name, entry.product)]
    values = {key: value for key, value in _flat(document) if not any(fnmatchcase(key, pattern) for pattern in left_out)}
    return Content("values", {key: _texts([_replaced(json.dumps(value, ensure_ascii=False))]) for key, value in values.items()})


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a nested document with the path of its key; empty lists and mappings are values."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{key}[{number}]")
    else:
        yield key, value


def _model(path: Path, name: str) -> Content:
    """Read the trees of a forest as arrays, and the values stored with it; the bytes of the pickle depend on versions."""
    import joblib

    stored = joblib.load(path)
    forest = stored.pop("model")
    other = _values(json.loads(json.dumps({key: value for key, value in stored.items() if key != "versions"}, default=_as_json)), name)
    arrays = dict(other.arrays)
    names = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    for number, tree in enumerate(forest.estimators_):
        arrays |= {f"tree {number} {part}": getattr(tree.tree_, part) for part in names}
        arrays[f"tree {number} value"] = tree.tree_.value
    return Content("values", arrays, {"classes": json.dumps(forest.classes_.tolist())})


def _texts(values: Iterable[str]) -> Array:
    return np.array(list(values), dtype=object)


def _replaced(text: str) -> str:
    for pattern, replacement in REPLACED:
        text = pattern.sub(replacement, text)
    return text


@dataclass(frozen=True)
class Difference:
    """Differences of two versions of a product.

    Attributes:
        unit: elements: pixels, cells, values or lines.
        differing, compared: numbers of elements. A pixel counts once, even if several bands differ.
        rows: number of table rows in which a cell differs.
        largest: largest absolute difference of two numbers, 0 if no numbers differ.
        place: name of the array with the largest difference, or of the first that differs.
        notes: differences that are not counted: shapes, types, grids, arrays in one version only.
    """

    unit: str
    differing: int
    compared: int
    rows: int
    largest: float
    place: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        rows = f" in {self.rows} rows" if self.unit == "cells" and self.rows else ""
        counted = f"{self.differing} of {self.compared} {self.unit} differ{rows}"
        if self.differing:
            counted += f", largest difference {self.largest:.9g}" if self.largest else ", none of them by a number"
            counted += f" ({self.place})"
        return "; ".join([counted, *self.notes])


def compare(old: Content, new: Content) -> Difference:
    """Compare two contents of a product."""
    keys = sorted({*old.header, *new.header})
    notes = [f"{key}: {old.header.get(key)} → {new.header.get(key)}" for key in keys if old.header.get(key) != new.header.get(key)]
    shared = [name for name in old.arrays if name in new.arrays]
    for side, content, other in (("gone", old, new), ("new", new, old)):
        alone = [name for name in content.arrays if name not in other.arrays]
        if alone:
            notes.append(f"{len(alone)} {side}: {_some(alone)}")
    masks: dict[str, Array] = {}
    largest, place, compared = 0.0, "", 0
    for name in shared:
        a, b = old.arrays[name], new.arrays[name]
        if a.shape != b.shape:
            notes.append(f"shape of {name}: {_shape(a)} → {_shape(b)}" if old.unit != "lines" else _changed_lines(a, b))
            continue
        mask = _unequal(a, b)
        masks[name] = mask
        if mask.any():
            step = _largest(a[mask], b[mask])
            if not place or step > largest:
                largest, place = max(step, largest), name
    if old.unit == "pixels" and len({mask.shape for mask in masks.values()}) == 1:
        stacked = np.stack([mask if mask.ndim == 2 else mask.any(axis=-1) for mask in masks.values()])
        differing, compared = int(stacked.any(axis=0).sum()), stacked[0].size
    else:
        differing, compared = sum(int(mask.sum()) for mask in masks.values()), sum(mask.size for mask in masks.values())
    rows = 0
    if old.unit == "cells" and len({mask.shape for mask in masks.values()}) == 1:
        rows = int(np.stack(list(masks.values())).any(axis=0).sum())
    return Difference(old.unit, differing, compared, rows, largest, place, tuple(notes))


def _unequal(a: Array, b: Array) -> Array:
    unequal: Array = np.asarray(a != b)
    if a.dtype.kind == b.dtype.kind == "f":
        unequal &= ~(np.isnan(a) & np.isnan(b))
    return unequal


def _largest(a: Array, b: Array) -> float:
    """Return the largest absolute difference of pairs of numbers."""
    pairs = zip(map(_number, a.ravel().tolist()), map(_number, b.ravel().tolist()), strict=True)
    steps = [abs(x - y) for x, y in pairs if x is not None and y is not None]
    return float(max((step for step in steps if step == step), default=0.0))


def _number(value: Any) -> float | int | None:
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _changed_lines(a: Array, b: Array) -> str:
    import difflib

    kept = sum(block.size for block in difflib.SequenceMatcher(a=a.tolist(), b=b.tolist(), autojunk=False).get_matching_blocks())
    return f"{len(a) - kept} of {len(a)} lines gone, {len(b) - kept} new"


def _shape(array: Array) -> str:
    return " × ".join(map(str, array.shape)) or "one value"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
