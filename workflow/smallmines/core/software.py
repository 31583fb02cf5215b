"""Versions of the software that shapes products, as tags of rasters and tables; and whether a run was made with several versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

TAG = "SOFTWARE"
RASTERS = ("numpy", "odc-geo", "rasterio", "scipy")
"""Libraries that shape the pixels of rasters, besides GDAL, which comes with rasterio."""

TABLES = ("numpy", "pandas", "scipy")
"""Libraries that shape tables of segments and labels."""

FOREST = ("numpy", "scikit-learn")
"""Libraries that shape the probabilities of the forest."""


def of_rasters(**others: str) -> str:
    """The value of the tag of a raster: "gdal 3.10.3, numpy 2.3.5, …", names sorted; `others` are further names and versions."""
    import rasterio

    return _joined({"gdal": rasterio.__gdal_version__, **_versions(RASTERS), **others})


def of_packages(names: Iterable[str]) -> str:
    """The same for a table that some packages shape."""
    return _joined(_versions(names))


def _versions(names: Iterable[str]) -> dict[str, str]:
    return {name: version(name) for name in names}


def _joined(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))


def software_of(path: str | Path) -> str:
    """The tag of a raster or a Parquet table; empty where it has none."""
    if Path(path).suffix == ".parquet":
        import json

        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata or {}
        return str(json.loads(metadata.get(b"PANDAS_ATTRS", b"{}")).get(TAG, ""))
    import rasterio

    with rasterio.open(path) as source:
        return str(source.tags().get(TAG, ""))


def gathered(products: Mapping[str, Iterable[str | Path]]) -> dict[str, Any]:
    """What some products were made with.

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
