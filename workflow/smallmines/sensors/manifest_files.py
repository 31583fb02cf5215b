"""Read and write manifests and fetched lists. What people or a full disk changed in them is named, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.sensors.footprint import problem_of
from smallmines.sensors.manifest import (
    BANDS,
    ENTRIES,
    Datatake,
    Dropped,
    E,
    Entry,
    Fallback,
    Fetched,
    FetchedItem,
    Manifest,
    ManifestItem,
    Orbit,
    Query,
    Scene,
    Sentinel2Datatake,
    T,
)
from smallmines.sensors.scl import SCL
from smallmines.sensors.strict import is_identifier, read_object, record


@dataclass(frozen=True)
class _Place:
    """The keys of a chosen item beside its entry."""

    geometry: dict[str, Any] | None
    hrefs: dict[str, str]


@dataclass(frozen=True)
class _Rejection:
    """A rejected item in the file."""

    id: str
    reason: str


@dataclass(frozen=True)
class _ManifestTexts:
    """The keys of a manifest that hold plain values."""

    sensor: str
    provider: str
    catalogue: str | None
    asked: str
    edition: str | None


@dataclass(frozen=True)
class _FetchedTexts:
    """The keys of a fetched list that hold plain values."""

    sensor: str
    block: str
    provider: str
    edition: str | None


@dataclass(frozen=True)
class _Files:
    """The keys of a fetched item beside its entry."""

    files: dict[str, str]
    sizes: dict[str, int] | None = None


def manifest_of(content: Mapping[str, Any]) -> Manifest:
    """Return the manifest that a JSON value describes; unknown keys are ignored.

    Raises:
        ValueError: a key is missing, or a value is not what its field says; names the field, what came and what belongs there.
    """
    sensor = content.get("sensor")
    if not isinstance(sensor, str) or sensor not in ENTRIES:
        raise ValueError(f"sensor is {sensor!r} instead of one of {', '.join(ENTRIES)}")
    takes = Sentinel2Datatake if sensor == "s2" else Datatake
    lists = {key: _list(content, key) for key in ("chosen", "rejected", "datatakes", "orbits", "dropped") if key in content}
    nested: dict[str, Any] = {
        "query": record(Query, content.get("query"), "query"),
        "chosen": tuple(_chosen(item, sensor, f"chosen.{number}") for number, item in enumerate(lists.get("chosen", ()))),
        "rejected": {entry.id: entry.reason for entry in _records(_Rejection, lists.get("rejected", ()), "rejected")},
        "fallback": record(Fallback, content["fallback"], "fallback") if "fallback" in content else None,
        "datatakes": _records(takes, lists["datatakes"], "datatakes") if "datatakes" in lists else None,
        "notes": tuple(map(str, _list(content, "notes"))) if "notes" in content else None,
        "orbit": record(Orbit, content["orbit"], "orbit") if "orbit" in content else None,
        "orbits": _records(Orbit, lists["orbits"], "orbits") if "orbits" in lists else None,
        "dropped": _records(Dropped, lists["dropped"], "dropped") if "dropped" in lists else None,
    }
    _check_order([item.entry for item in nested["chosen"]])
    plain = record(_ManifestTexts, content, "the manifest")
    return Manifest(**asdict(plain), **nested)


def _chosen(item: Any, sensor: str, where: str) -> ManifestItem:
    """Return a chosen item; its id is one that can be the name of a folder, its bands are those of the sensor."""
    entry = record(ENTRIES[sensor], item, where)
    place = record(_Place, item, where)
    if not is_identifier(entry.id):
        raise ValueError(f"{where}.id is {entry.id!r} instead of 1 to 200 letters, digits, `.`, `_` and `-`")
    if place.geometry is not None and (problem := problem_of(place.geometry)):
        raise ValueError(f"{where}.geometry is {problem} instead of a polygon in degrees or null")
    bands = set(BANDS[sensor])
    if not bands <= set(place.hrefs) <= bands | {SCL}:
        raise ValueError(f"{where}.hrefs has {', '.join(sorted(place.hrefs)) or 'nothing'} instead of {', '.join(BANDS[sensor])}")
    return ManifestItem(entry, place.geometry, place.hrefs)


def _check_order(entries: Sequence[Entry]) -> None:
    """Check that ids are unique, that numbers rise from 1, and that ranks do not fall.

    Raises:
        ValueError: they do not; names the item.
    """
    ids = [entry.id for entry in entries]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"the id {twice[0]} is there twice")
    for before, entry in zip([None, *entries], entries, strict=False):
        if entry.index <= (before.index if before else 0) or entry.rank < (before.rank if before else 1):
            raise ValueError(f"index {entry.index} and rank {entry.rank} of {entry.id} are out of order: both rise from 1")


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content[key]
    if not isinstance(value, list):
        raise ValueError(f"{key} is {type(value).__name__} instead of a list")
    return value


def _records(kind: type[T], values: Sequence[Any], where: str) -> tuple[T, ...]:
    return tuple(record(kind, value, f"{where}.{number}") for number, value in enumerate(values))


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest.

    Raises:
        UserError: it is missing, cut, or no manifest; names the field.
    """
    do = f"delete {path} and run again: the search is repeated"
    content = read_object(path, "a manifest", do)
    try:
        return manifest_of(content)
    except ValueError as error:
        raise UserError(f"a manifest in {path}", str(error), do) from None


def write_manifest(path: str | Path, manifest: Manifest) -> None:
    """Write a manifest as JSON."""
    content = asdict(manifest)
    content["chosen"] = [_flat(item) for item in content["chosen"]]
    content["rejected"] = [{"id": name, "reason": reason} for name, reason in sorted(manifest.rejected.items())]
    write_json(path, {key: value for key, value in content.items() if value is not None or key in ("catalogue", "edition")})


def read_list(path: str | Path, kind: type[E]) -> Fetched[E]:
    """Read a fetched list with entries of type `kind`; unknown keys are ignored. Its files are not looked at.

    Raises:
        UserError: it is missing, cut, or no fetched list; names the field.
    """
    do = f"delete {path} and run again: what is in the cache is not fetched again"
    content = read_object(path, "a list of fetched files", do)
    try:
        items = tuple(
            FetchedItem(record(kind, item, f"items.{number}"), **asdict(record(_Files, item, f"items.{number}")))
            for number, item in enumerate(_list({"items": None} | content, "items"))
        )
        for item in items:
            if not is_identifier(item.entry.id):
                raise ValueError(f"the id {item.entry.id!r} has other characters than letters, digits, `.`, `_` and `-`")
        fallback = content.get("fallback")
        return Fetched(
            **asdict(record(_FetchedTexts, content, "the list")),
            fallback=record(Fallback, fallback, "fallback") if fallback else None,
            scenes=_records(Scene, _list({"scenes": None} | content, "scenes"), "scenes"),
            items=items,
        )
    except ValueError as error:
        raise UserError(f"a list of fetched files in {path}", str(error), do) from None


def read_fetched(path: str | Path, kind: type[E]) -> Fetched[E]:
    """Read a fetched list and check that its files exist and have the size that they had when they were fetched.

    Raises:
        UserError: the list cannot be read, or a cached file is missing, cut or longer.
    """
    fetched = read_list(path, kind)
    missing = [file for item in fetched.items for file in item.files.values() if not Path(file).is_file()]
    sizes = {item.files[band]: size for item in fetched.items for band, size in (item.sizes or {}).items() if band in item.files}
    changed = [f"{file} has {Path(file).stat().st_size} bytes instead of {size}" for file, size in sizes.items() if _differs(file, size)]
    if missing:
        found = f"{len(missing)} missing, first {missing[0]}"
        raise UserError(f"the pixels listed in {path}", found, f"delete {path} and run again to fetch them")
    if changed:
        found = f"{len(changed)} cut or changed, first {changed[0]}"
        raise UserError(f"the pixels listed in {path}", found, f"delete {path} and run again: broken files are fetched anew")
    return fetched


def read_cached(source: DatasetReader, window: Window, repeat: int = 1) -> NDArray[Any]:
    """Read a window of the first band of an open cached file, (row, column).

    Args:
        window: in pixels of the block's grid.
        repeat: pixels of the grid per pixel of the file, along rows and columns: 1 or 2.

    Raises:
        UserError: its pixels are damaged; names the file, also where many are open.
    """
    try:
        (top, bottom), (left, right) = window.toranges()
        row, col = top // repeat, left // repeat
        part = Window(col, row, -(-right // repeat) - col, -(-bottom // repeat) - row)
        pixels: NDArray[Any] = source.read(1, window=part)
    except RasterioError as error:
        raise UserError(
            f"readable pixels in the cached file {source.name}",
            str(error.__cause__ or error).replace("\n", " "),
            "delete it and its list below results/<run>/fetched/, and run again: it is fetched anew",
        ) from error
    if repeat == 1:
        return pixels
    repeated = np.empty((2 * pixels.shape[0], 2 * pixels.shape[1]), pixels.dtype)
    repeated[::2, ::2] = repeated[::2, 1::2] = pixels
    repeated[1::2] = repeated[::2]
    return repeated[top - 2 * row : bottom - 2 * row, left - 2 * col : right - 2 * col]


def _differs(file: str, size: int) -> bool:
    return Path(file).is_file() and Path(file).stat().st_size != size


def write_fetched(path: str | Path, fetched: Fetched[Any]) -> None:
    """Write a fetched list as JSON."""
    content = asdict(fetched)
    content["items"] = [{key: value for key, value in _flat(item).items() if key != "sizes" or value} for item in content["items"]]
    content["scenes"] = [{key: value for key, value in scene.items() if value is not None} for scene in content["scenes"]]
    write_json(path, content)


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    """Put the keys of `entry` beside the others."""
    return {**item["entry"], **{key: value for key, value in item.items() if key != "entry"}}
