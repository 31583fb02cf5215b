"""Check that every product of a run can be read. Snakemake compares times: damage to a finished file is unnoticed until a job reads it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smallmines.core import json_products as kinds
from smallmines.core.errors import UserError
from smallmines.core.readable import innermost, problem

SHAPES: Mapping[str, Any] = MappingProxyType(
    {
        "software.json": kinds.Software,
        "splits.json": kinds.SplitReport,
        "doctor.json": kinds.DoctorReport,
        "verify.json": dict[str, Any],
        "grid/grid.json": kinds.GridRemarks,
        "manifests/*/*.json": kinds.ManifestScenes,
        "coverage/coverage.json": dict[str, kinds.CoverageOfSensor],
        "composites/*/*/s2.json": kinds.Sentinel2Statistics,
        "composites/*/*/s1.json": kinds.Sentinel1Statistics,
        "composites/*/*/dem.json": kinds.CompositeStatistics,
        "compare_years/*.json": list[dict[str, Any]],
        "segments/*/*/segments.json": kinds.SegmentReport,
        "assistant/*/*/metrics.json": kinds.ForestThreshold,
        "statistics/*.json": dict[str, kinds.BandStatistics],
        "dataset/labels.json": kinds.LabelQuality,
        "dataset/facts.json": kinds.Facts,
    }
)
"""Keys and types of JSON products by path below the run's folder; other JSON files only have to be JSON."""

PNG_END = b"IEND\xaeB`\x82"
"""Last bytes of a whole PNG."""


def damaged(results: Path) -> Iterator[tuple[Path, str]]:
    """Yield the products that cannot be read to their end or have another shape, with the reason, sorted by path.

    Rasters are decoded, tables read, models decompressed but not loaded: a pickle runs code. Hidden files are no products.

    Args:
        results: folder of the run.
    """
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        if path.is_file() and not any(part.startswith(".") for part in name.parts) and (reason := _reason(path, name.as_posix())):
            yield path, reason


def _reason(path: Path, name: str) -> str:
    """Return why a product is damaged, empty where it is whole."""
    kind = next((kind for pattern, kind in SHAPES.items() if fnmatch(name, pattern)), None)
    check = BINARY.get(path.suffix)
    try:
        if check is not None:
            check(path)
        if kind is not None:
            kinds.read_product(path, kind)
            return ""
    except UserError as error:
        return error.found
    except (OSError, ValueError, zlib.error) as error:
        return innermost(error)
    return problem(path) if path.suffix else ""


def _picture(path: Path) -> None:
    if not path.read_bytes().endswith(PNG_END):
        raise ValueError("the end of the picture is missing")


def _model(path: Path) -> None:
    """Decompress a model; the stream ends with a checksum."""
    stream = zlib.decompressobj()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            stream.decompress(chunk)
    if not stream.eof:
        raise ValueError("its compressed content ends too early")


BINARY: Mapping[str, Callable[[Path], None]] = MappingProxyType({".png": _picture, ".joblib": _model})
"""Checks of kinds that `readable.CHECKS` leaves out, by suffix."""
