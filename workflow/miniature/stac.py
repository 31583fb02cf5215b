"""A static STAC catalogue of Cloud-Optimised GeoTIFFs, in the layout of the public archives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter

from smallmines.core.files import write_json

VERSION = "1.0.0"
EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "sat": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
    "grid": "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
}
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
LICENCE = "other"
NOTE = "Made up: a miniature Earth for tests and demonstrations, not an observation."


@dataclass(frozen=True)
class Raster:
    """A one-band file to write; `continuous` values may be averaged in overviews."""

    geobox: GeoBox
    dtype: str
    nodata: float | None
    continuous: bool = True


@contextmanager
def cogs(files: Mapping[Path, Raster]) -> Iterator[dict[Path, DatasetWriter]]:
    """Open files to be written window by window; each becomes a COG when the block succeeds.

    COGs have 256 px tiles, deflate and two overviews (nearest for classes). Until then the pixels are in uncompressed files beside them.
    """
    import rasterio

    plain = {path: path.with_name(f".{path.stem}.plain.tif") for path in files}
    try:
        with ExitStack() as stack:
            opened = {}
            for path, file in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                height, width = file.geobox.shape
                profile = {"height": height, "width": width, "count": 1, "dtype": file.dtype, "nodata": file.nodata}
                profile |= {"crs": str(file.geobox.crs), "transform": file.geobox.transform, "driver": "GTiff", "BIGTIFF": "IF_SAFER"}
                if min(height, width) >= 256:
                    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
                opened[path] = stack.enter_context(rasterio.open(plain[path], "w", **profile))
            yield opened
        for path, file in files.items():
            _to_cog(plain[path], path, file.continuous)
    finally:
        for path in plain.values():
            path.unlink(missing_ok=True)


def _to_cog(source: Path, target: Path, continuous: bool) -> None:
    import rasterio.shutil

    rasterio.shutil.copy(
        str(source),
        str(target),
        driver="COG",
        COMPRESS="DEFLATE",
        LEVEL="1",
        PREDICTOR="YES",
        BLOCKSIZE="256",
        OVERVIEW_COUNT="2",
        OVERVIEW_RESAMPLING="AVERAGE" if continuous else "NEAREST",
        NUM_THREADS="1",
    )


def write_cog(path: Path, array: NDArray[Any], geobox: GeoBox, nodata: float | None, continuous: bool = True) -> None:
    """Write one band, (row, column), as a COG, see `cogs`."""
    with cogs({path: Raster(geobox, str(array.dtype), nodata, continuous)}) as opened:
        opened[path].write(array, 1)


def lonlat(points: NDArray[np.float64], crs: str) -> list[list[float]]:
    """Return a ring of projected points (n, 2) as [longitude, latitude], closed, rounded to seven digits."""
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(points[:, 0], points[:, 1])
    ring = np.round(np.column_stack([lon, lat]), 7).tolist()
    return [*ring, ring[0]]


def corners(geobox: GeoBox) -> NDArray[np.float64]:
    """Return the four corners of a grid, (4, 2), counter-clockwise from the north-west."""
    west, south, east, north = geobox.boundingbox.bbox
    return np.array([[west, north], [west, south], [east, south], [east, north]])


@dataclass
class Catalogue:
    """A static catalogue below `root`: items are written when added, collections and catalog.json at the end.

    Attributes:
        collections: time and bounds of each item, by collection and item id.
    """

    root: Path
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def folder(self, collection: str, item: str) -> Path:
        """Return the folder of an item."""
        return self.root / collection / item

    def add(
        self,
        collection: str,
        item: str,
        when: dt.datetime,
        ring: list[list[float]],
        properties: Mapping[str, Any],
        assets: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write the JSON of an item beside its assets; hrefs are file names."""
        lon, lat = zip(*ring, strict=True)
        bbox = [min(lon), min(lat), max(lon), max(lat)]
        stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        prefixes = sorted({key.split(":")[0] for key in properties} | {"proj"})
        document = {
            "type": "Feature",
            "stac_version": VERSION,
            "stac_extensions": [EXTENSIONS[prefix] for prefix in prefixes if prefix in EXTENSIONS],
            "id": item,
            "collection": collection,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": bbox,
            "properties": {"datetime": stamp, **properties},
            "assets": {
                key: {"href": f"./{key}.tif", "type": COG_TYPE, "roles": ["data"], "title": key, **extra} for key, extra in assets.items()
            },
            "links": [
                _link("root", "../../catalog.json"),
                _link("parent", "../collection.json"),
                _link("collection", "../collection.json"),
            ],
        }
        write_json(self.folder(collection, item) / f"{item}.json", document)
        self.collections.setdefault(collection, {})[item] = {"bbox": bbox, "datetime": stamp}

    @property
    def items(self) -> int:
        """Number of items."""
        return sum(map(len, self.collections.values()))

    def join(self, part: Catalogue) -> list[str]:
        """Take over the items that another process has added; return their ids."""
        for collection, items in part.collections.items():
            self.collections.setdefault(collection, {}).update(items)
        return [item for items in part.collections.values() for item in items]

    def close(self) -> None:
        """Write the collections and, last, catalog.json."""
        for name, items in sorted(self.collections.items()):
            boxes = np.array([items[item]["bbox"] for item in sorted(items)])
            times = sorted(item["datetime"] for item in items.values())
            write_json(
                self.root / name / "collection.json",
                {
                    "type": "Collection",
                    "stac_version": VERSION,
                    "id": name,
                    "description": f"{name}. {NOTE}",
                    "license": LICENCE,
                    "extent": {
                        "spatial": {"bbox": [[*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]]},
                        "temporal": {"interval": [[times[0], times[-1]]]},
                    },
                    "links": [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
                    + [_link("item", f"./{item}/{item}.json", "application/geo+json") for item in sorted(items)],
                },
            )
        write_json(
            self.root / "catalog.json",
            {
                "type": "Catalog",
                "stac_version": VERSION,
                "id": "miniature-earth",
                "description": NOTE,
                "links": [
                    _link("root", "./catalog.json"),
                    *(_link("child", f"./{name}/collection.json") for name in sorted(self.collections)),
                ],
            },
        )


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}
