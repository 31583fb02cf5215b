"""The dataset as SpatioTemporal Asset Catalog: a patch pair is an item, the dataset a collection; the index holds the same, flat.

STAC 1.1 with the extensions projection, raster, eo, sar, classification, file and ml-aoi. The items say nothing that the index does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES
from smallmines.dataset.bands import BANDS, DTYPE, NODATA, Band
from smallmines.dataset.patches import MASK_NODATA
from smallmines.settings.publish import Catalogue

if TYPE_CHECKING:
    import geopandas as gpd

VERSION = "1.1.0"
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "eo/v2.0.0", "sar/v1.0.0", "classification/v2.0.0", "file/v2.1.0", "ml-aoi/v0.2.0")
]
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
SPLIT = {"train": "train", "val": "validate", "test": "test"}
"""ml-aoi's names of the splits; a tile of the buffer has none."""

Windows = Mapping[str, Sequence[str]]
"""First and last day of each year's acquisitions, YYYY-MM-DD."""


def items(index: gpd.GeoDataFrame, windows: Windows, run: str) -> Iterator[dict[str, Any]]:
    """An item per row; hrefs are relative to the dataset's folder, links are left out.

    Args:
        index: as `index.read_index` gives it: the geometry is the tile's square on the grid.
    """
    import shapely

    code = f"EPSG:{index.crs.to_epsg()}" if index.crs.to_epsg() else index.crs.to_wkt()
    around = shapely.orient_polygons(index.geometry.to_crs("OGC:CRS84").normalize().to_numpy())
    squares = index.geometry.bounds.to_numpy()
    sides = index.attrs["tile_size"]
    properties = index.drop(columns=["geometry"]).to_dict("records")
    for row, outline, square in zip(properties, around, squares.tolist(), strict=True):
        size = (square[2] - square[0]) / sides
        start, end = windows[str(row["year"])]
        name = Path(row["image"]).stem.removeprefix("IMG_")
        place = {
            "proj:code": code,
            "proj:shape": [sides, sides],
            "proj:bbox": square,
            "proj:transform": [size, 0.0, square[0], 0.0, -size, square[3]],
        }
        ring = [[round(x, 7), round(y, 7)] for x, y in outline.exterior.coords]
        yield {
            "type": "Feature",
            "stac_version": VERSION,
            "stac_extensions": EXTENSIONS,
            "id": name,
            "collection": run,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [min(x for x, _ in ring), min(y for _, y in ring), max(x for x, _ in ring), max(y for _, y in ring)],
            "properties": {
                "datetime": None,
                "start_datetime": f"{start}T00:00:00Z",
                "end_datetime": f"{end}T23:59:59Z",
                "gsd": size,
                **place,
                "constellation": "sentinel-2",
                "sar:instrument_mode": "IW",
                "sar:frequency_band": "C",
                "sar:polarizations": ["VV", "VH"],
                "sar:product_type": "GRD",
                **({"ml-aoi:split": SPLIT[row["split"]]} if row["split"] in SPLIT else {}),
                **{key: _plain(value) for key, value in row.items()},
            },
            "assets": {
                "image": {
                    "href": row["image"],
                    "type": GEOTIFF,
                    "title": "Sentinel-2 (DN), Sentinel-1 (dB), elevation (m)",
                    "roles": ["data"],
                    "file:checksum": f"1220{row['image_sha256']}",
                    "ml-aoi:role": "feature",
                    "ml-aoi:reference-grid": True,
                    "bands": [_band(one, size) for one in BANDS],
                },
                "mask": {
                    "href": row["mask"],
                    "type": GEOTIFF,
                    "title": "Mask of mining",
                    "roles": ["labels", "data"],
                    "file:checksum": f"1220{row['mask_sha256']}",
                    "ml-aoi:role": "label",
                    "bands": [{"name": "mask", "data_type": "uint8", "nodata": MASK_NODATA}],
                    "classification:classes": classes(),
                },
            },
            "links": [],
        }


def classes() -> list[dict[str, Any]]:
    """The values of a mask, as the classification extension says it."""
    known = [{"value": value, "name": name, "description": name.replace("_", " ")} for value, name in enumerate(CLASSES)]
    return [*known, {"value": MASK_NODATA, "name": "nodata", "description": "no Sentinel-2 data, or a label left open", "nodata": True}]


def _band(band: Band, size: float) -> dict[str, Any]:
    told: dict[str, Any] = {"name": band.name, "description": band.meaning, "data_type": DTYPE, "nodata": NODATA, "unit": band.unit}
    told["raster:spatial_resolution"] = size
    if band.common:
        told |= {"eo:common_name": band.common, "eo:center_wavelength": band.centre / 1000, "eo:full_width_half_max": band.width / 1000}
    return told


def _plain(value: Any) -> Any:
    """A value as JSON has it: no numpy types, no NaN."""
    if isinstance(value, list | tuple | np.ndarray):
        return [str(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if pd.isna(value) else value


def flat(index: gpd.GeoDataFrame, windows: Windows, run: str) -> gpd.GeoDataFrame:
    """The index as stac-geoparquet has it: an item's properties are columns beside id, bbox, links, assets; the geometry in degrees."""
    import geopandas as gpd
    import shapely

    rows = list(items(index, windows, run))
    corners = ("xmin", "ymin", "xmax", "ymax")
    columns: dict[str, Any] = {
        "type": [one["type"] for one in rows],
        "stac_version": [one["stac_version"] for one in rows],
        "stac_extensions": [one["stac_extensions"] for one in rows],
        "id": [one["id"] for one in rows],
        "collection": [one["collection"] for one in rows],
        "bbox": [dict(zip(corners, one["bbox"], strict=True)) for one in rows],
        "links": [[{"rel": "collection", "href": "stac/collection.json", "type": "application/json"}] for _ in rows],
        "assets": [one["assets"] for one in rows],
    }
    told = [key for key in rows[0]["properties"] if key not in index.columns] if rows else []
    for key in (*told, *(() if "ml-aoi:split" in told or not rows else ("ml-aoi:split",))):
        columns[key] = [one["properties"].get(key) for one in rows]
    for key in ("datetime", "start_datetime", "end_datetime"):
        columns[key] = pd.to_datetime(pd.Series(columns[key], dtype=object), utc=True).astype("datetime64[ms, UTC]").to_numpy(object)
        columns[key] = pd.Series(columns[key], dtype="datetime64[ms, UTC]")
    extra = pd.DataFrame(columns, index=index.index)
    outlines = [shapely.Polygon(one["geometry"]["coordinates"][0]) for one in rows]
    table = pd.concat([extra, index.drop(columns=["geometry"])], axis=1)
    return gpd.GeoDataFrame(table, geometry=outlines, crs="OGC:CRS84")


def write_catalogue(
    index: gpd.GeoDataFrame, windows: Windows, run: str, about: Catalogue, facts: Mapping[str, Any], target: str | Path
) -> int:
    """Write `stac/collection.json` and an item per patch pair as `stac/<year>/<id>.json`, and remove items that are not of it any more.

    Args:
        index: as `index.read_index` gives it.
        facts: as `facts.gather` gives them.
        target: the collection's file.

    Returns:
        Number of items.
    """
    target = Path(target)
    links: list[dict[str, Any]] = []
    kept: set[Path] = set()
    boxes = []
    for item in items(index, windows, run):
        path = target.parent / str(item["properties"]["year"]) / f"{item['id']}.json"
        href = f"./{path.relative_to(target.parent).as_posix()}"
        for asset in item["assets"].values():
            asset["href"] = f"../../{asset['href']}"
        item["links"] = [{"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in ("root", "parent", "collection")]
        with written(path) as beside:
            beside.write_text(json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8")
        kept.add(path)
        boxes.append(item["bbox"])
        links.append({"rel": "item", "href": href, "type": "application/geo+json", "title": item["id"]})
    for path in sorted(target.parent.glob("*/*.json")):
        if path not in kept:
            path.unlink()
    write_json(target, collection(boxes, windows, run, about, facts, links))
    logger.info("%d items", len(kept))
    return len(kept)


def collection(
    boxes: Sequence[Sequence[float]], windows: Windows, run: str, about: Catalogue, facts: Mapping[str, Any], links: Sequence[Any]
) -> dict[str, Any]:
    """The collection: extent, licence, bands and classes, summaries."""
    corners = np.array(boxes)
    whole = [*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist()]
    times = [[f"{start}T00:00:00Z", f"{end}T23:59:59Z"] for start, end in windows.values()]
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
    licence = {"rel": "license", "href": "../LICENSE", "type": "text/plain"}
    cite = [{"rel": "cite-as", "href": f"https://doi.org/{about.doi}"}] if about.doi else []
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": EXTENSIONS,
        "id": run,
        "title": facts["title"],
        "description": facts["description"],
        "license": about.license,
        "keywords": facts["keywords"],
        "providers": [{"name": name, "roles": ["producer"]} for name in about.authors],
        "extent": {
            "spatial": {"bbox": [whole]},
            "temporal": {"interval": [[min(one[0] for one in times), max(one[1] for one in times)], *times]},
        },
        "summaries": {
            "proj:code": [facts["crs"]],
            "gsd": [facts["resolution_m"]],
            "ml-aoi:split": sorted({SPLIT[name] for name in facts["splits"] if name in SPLIT}),
            "radiometry": [facts["radiometry"]],
        },
        "item_assets": {
            "image": {"type": GEOTIFF, "roles": ["data"], "bands": [_band(one, facts["resolution_m"]) for one in BANDS]},
            "mask": {"type": GEOTIFF, "roles": ["labels", "data"], "classification:classes": classes()},
        },
        "assets": {
            "index": {
                "href": "../index.parquet",
                "type": "application/vnd.apache.parquet",
                "title": "All items as stac-geoparquet",
                "roles": ["collection-mirror"],
            }
        },
        "links": [root, licence, *cite, *links],
    }
