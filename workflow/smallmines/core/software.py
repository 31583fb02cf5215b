"""Versions of the software that products depend on: tags of rasters and tables, and a summary of a run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

TAG = "SOFTWARE"
RASTERS = ("numpy", "odc-geo", "rasterio", "scipy")
"""Libraries that the pixels of rasters depend on, besides GDAL, which rasterio contains."""

TABLES = ("numpy", "pandas", "scipy")
"""Libraries that tables of segments and labels depend on."""

FOREST = ("numpy", "scikit-learn")
"""Libraries that the probabilities of the forest depend on."""


def of_rasters(**others: str) -> str:
    """Return the software tag of a raster, names sorted: "gdal 3.10.3, numpy 2.3.5, …".

    Args:
        others: versions of further software by name.
    """
    import rasterio

    return _joined({"gdal": rasterio.__gdal_version__, **_versions(RASTERS), **others})


def of_packages(names: Iterable[str]) -> str:
    """Return the software tag of a table that depends on some packages."""
    return _joined(_versions(names))


def _versions(names: Iterable[str]) -> dict[str, str]:
    return {name: _version(name) for name in names}


@functools.cache
def _version(name: str) -> str:
    """Return the version of an installed package (cached: its metadata are parsed each time)."""
    return version(name)


def _joined(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))


def software_of(path: str | Path) -> str:
    """Read the software tag of a raster or a Parquet table; empty if it has none."""
    if Path(path).suffix == ".parquet":
        import json

        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata or {}
        return str(json.loads(metadata.get(b"PANDAS_ATTRS", b"{}")).get(TAG, ""))
    import rasterio

    with rasterio.open(path) as source:
        return str(source.tags().get(TAG, ""))


def gathered(products: Mapping[str, Iterable[str | Path]]) -> dict[str, Any]:
    """Summarise the software tags of products.

    Args:
        products: paths by kind of product.

    Returns:
        {"versions": {package: [version, …]}, "mixed": {package: {version: {kind: number of products}}}, "unknown": {kind: number of
        products without the tag}}. `mixed` has only packages with more than one version: in a sound run it is empty.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    unknown: dict[str, int] = {}
    for kind, paths in products.items():
        for path in paths:
            tag = software_of(path)
            unknown |= {} if tag else {kind: unknown.get(kind, 0) + 1}
            for entry in filter(None, tag.split(", ")):
                name, number = entry.rsplit(" ", 1)
                of_package = counts.setdefault(name, {}).setdefault(number, {})
                of_package[kind] = of_package.get(kind, 0) + 1
    return {
        "versions": {name: sorted(numbers) for name, numbers in sorted(counts.items())},
        "mixed": {name: numbers for name, numbers in sorted(counts.items()) if len(numbers) > 1},
        "unknown": unknown,
    }
