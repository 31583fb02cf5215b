"""Write the dataset as SpatioTemporal Asset Catalog: an item per patch pair, a collection for the dataset; the index has the same, flat.

STAC 1.1 with the extensions projection, raster, eo, sar, classification, file and ml-aoi. The items state nothing that the index does not.

Bands and CRS are stated twice, as STAC 1.1 has them (`bands`, `proj:code`) and as readers of STAC 1.0 look for them (`eo:bands`,
`raster:bands`, `proj:epsg`): odc-stac names bands by `eo:bands` alone, stackstac finds the CRS in `proj:epsg` alone. The versions of the
extensions are the last ones whose schemas allow both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core.crs import reproject
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.core.product import BANDS, CLASSES, IMAGE, IMAGE_NODATA, MASK, MASK_NODATA, Band
from smallmines.settings.publish import Catalogue

if TYPE_CHECKING:
    import geopandas as gpd

VERSION = "1.1.0"
EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v1.2.0", "raster/v1.1.0", "eo/v1.1.0", "sar/v1.0.0", "classification/v2.0.0", "file/v2.1.0", "ml-aoi/v0.2.0")
]
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
MULTIHASH_SHA256 = "1220"
"""Prefix of a SHA-256 in the file extension: its code and length."""

SPLIT = {"train": "train", "val": "validate", "test": "test"}
"""Names of the splits in the extension ml-aoi; a tile of the buffer has none."""

EO_COMMON_NAMES = {"blue", "green", "red", "nir", "nir08", "swir16", "swir22"}
"""Those of our common names that the eo extension 1.1.0 allows in `eo:bands`; it has one name, rededge, for three bands."""

MASK_BANDS = [{"name": MASK.bands[0], "data_type": MASK.dtype, "nodata": MASK_NODATA}]
MASK_RASTER_BANDS = [{"data_type": MASK.dtype, "nodata": MASK_NODATA}]

Windows = Mapping[str, Sequence[str]]
"""First and last day of each year's acquisitions, YYYY-MM-DD."""


def items(index: gpd.GeoDataFrame, windows: Windows, run: str) -> Iterator[dict[str, Any]]:
    """Yield an item per row; hrefs are relative to the dataset's folder, `links` is empty.

    Args:
        index: as `index.read_index` returns it: the geometry is the tile's square on the grid.
    """
    import shapely

    projection = _projection(index.crs)
    outlines = shapely.orient_polygons(reproject(index.geometry, "OGC:CRS84").normalize().to_numpy())
    squares = index.geometry.bounds.to_numpy().tolist()
    side = index.attrs["tile_size"]
    rows = index.drop(columns=["geometry"]).to_dict("records")
    for row, outline, square in zip(rows, outlines, squares, strict=True):
        size = (square[2] - square[0]) / side
        start, end = windows[str(row["year"])]
        ring = [[round(x, 7), round(y, 7)] for x, y in outline.exterior.coords]
        yield {
            "type": "Feature",
            "stac_version": VERSION,
            "stac_extensions": EXTENSIONS,
            "id": Path(row["image"]).stem.removeprefix(f"{IMAGE.prefix}_"),
            "collection": run,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [min(x for x, _ in ring), min(y for _, y in ring), max(x for x, _ in ring), max(y for _, y in ring)],
            "properties": {
                "datetime": None,
                "start_datetime": f"{start}T00:00:00Z",
                "end_datetime": f"{end}T23:59:59Z",
                "gsd": size,
                **projection,
                "proj:shape": [side, side],
                "proj:bbox": square,
                "proj:transform": [size, 0.0, square[0], 0.0, -size, square[3]],
                "constellation": "sentinel-2",
                "sar:instrument_mode": "IW",
                "sar:frequency_band": "C",
                "sar:polarizations": ["VV", "VH"],
                "sar:product_type": "GRD",
                **({"ml-aoi:split": SPLIT[row["split"]]} if row["split"] in SPLIT else {}),
                **{key: _plain(value) for key, value in row.items()},
            },
            "assets": {"image": _image_asset(row, size), "mask": _mask_asset(row)},
            "links": [],
        }


def _image_asset(row: Mapping[str, Any], size: float) -> dict[str, Any]:
    return {
        "href": row["image"],
        "type": GEOTIFF,
        "title": "Sentinel-2 (DN), Sentinel-1 (dB), elevation (m)",
        "roles": ["data"],
        "file:checksum": f"{MULTIHASH_SHA256}{row['image_sha256']}",
        "ml-aoi:role": "feature",
        "ml-aoi:reference-grid": True,
        "bands": [_band(band, size) for band in BANDS],
        "eo:bands": _eo_bands(),
    }


def _mask_asset(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "href": row["mask"],
        "type": GEOTIFF,
        "title": "Mask of mining",
        "roles": ["labels", "data"],
        "file:checksum": f"{MULTIHASH_SHA256}{row['mask_sha256']}",
        "ml-aoi:role": "label",
        "bands": MASK_BANDS,
        "raster:bands": MASK_RASTER_BANDS,
        "classification:classes": classes(),
    }


def _projection(crs: Any) -> dict[str, Any]:
    """Return the fields of the projection extension that name a CRS; `proj:wkt2` only where no code does."""
    epsg = crs.to_epsg()
    authority = ("EPSG", str(epsg)) if epsg else crs.to_authority()
    fields: dict[str, Any] = {"proj:code": ":".join(authority) if authority else None, "proj:epsg": epsg}
    return fields if authority else {**fields, "proj:wkt2": crs.to_wkt()}


def _eo_bands() -> list[dict[str, str]]:
    """Return names and common names of an image's bands for readers of STAC 1.0.

    An image has no `raster:bands` in the items: stackstac refuses a whole item where an asset has several. The collection has them.
    """
    return [{"name": band.name, **({"common_name": band.common} if band.common in EO_COMMON_NAMES else {})} for band in BANDS]


def _raster_bands(size: float) -> list[dict[str, Any]]:
    """Return type, nodata, unit and resolution of an image's bands for readers of STAC 1.0; values are as in the file (scale 1)."""
    common = {"data_type": IMAGE.dtype, "nodata": IMAGE_NODATA, "scale": 1, "offset": 0, "spatial_resolution": size}
    return [{**common, "unit": band.unit} for band in BANDS]


def classes() -> list[dict[str, Any]]:
    """Return the values of a mask as objects of the classification extension."""
    named = [{"value": value, "name": name, "description": name.replace("_", " ")} for value, name in enumerate(CLASSES)]
    return [*named, {"value": MASK_NODATA, "name": "nodata", "description": "no Sentinel-2 data, or a label left open", "nodata": True}]


def _band(band: Band, size: float) -> dict[str, Any]:
    fields = {"name": band.name, "description": band.meaning, "data_type": IMAGE.dtype, "nodata": IMAGE_NODATA, "unit": band.unit}
    fields["raster:spatial_resolution"] = size
    if band.common:
        fields |= {
            "eo:common_name": band.common,
            "eo:center_wavelength": round(band.centre / 1000, 7),
            "eo:full_width_half_max": band.width / 1000,
        }
    return fields


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no numpy types, None for NaN."""
    if isinstance(value, list | tuple | np.ndarray):
        return [str(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if pd.isna(value) else value


def flat(index: gpd.GeoDataFrame, windows: Windows, run: str) -> gpd.GeoDataFrame:
    """Return the index as stac-geoparquet: an item's properties are columns beside id, bbox, links, assets; the geometry in degrees."""
    import geopandas as gpd
    import shapely

    rows = list(items(index, windows, run))
    corners = ("xmin", "ymin", "xmax", "ymax")
    columns: dict[str, Any] = {key: [item[key] for item in rows] for key in ("type", "stac_version", "stac_extensions", "id", "collection")}
    columns["bbox"] = [dict(zip(corners, item["bbox"], strict=True)) for item in rows]
    columns["links"] = [[{"rel": "collection", "href": "stac/collection.json", "type": "application/json"}] for _ in rows]
    columns["assets"] = [item["assets"] for item in rows]
    keys = [key for key in rows[0]["properties"] if key not in index.columns] if rows else []
    if rows and "ml-aoi:split" not in keys:  # the first tile may be in the buffer
        keys.append("ml-aoi:split")
    columns |= {key: [item["properties"].get(key) for item in rows] for key in keys}
    for key in ("datetime", "start_datetime", "end_datetime"):
        columns[key] = pd.to_datetime(pd.Series(columns[key], dtype=object), utc=True).astype("datetime64[ms, UTC]").to_numpy(object)
        columns[key] = pd.Series(columns[key], dtype="datetime64[ms, UTC]")
    extra = pd.DataFrame(columns, index=index.index)
    outlines = [shapely.Polygon(item["geometry"]["coordinates"][0]) for item in rows]
    table = pd.concat([extra, index.drop(columns=["geometry"])], axis=1)
    return gpd.GeoDataFrame(table, geometry=outlines, crs="OGC:CRS84")


def write_catalogue(
    index: gpd.GeoDataFrame, windows: Windows, run: str, about: Catalogue, facts: Mapping[str, Any], target: str | Path
) -> int:
    """Write `stac/collection.json` and an item per patch pair as `stac/<year>/<id>.json`; remove other items.

    Args:
        index: as `index.read_index` returns it.
        facts: as `facts.gather` returns them.
        target: the collection's file.

    Returns:
        Number of items.
    """
    return write_items(items(index, windows, run), windows, run, about, facts, target)


def write_items(
    of_dataset: Iterable[dict[str, Any]], windows: Windows, run: str, about: Catalogue, facts: Mapping[str, Any], target: str | Path
) -> int:
    """Write a catalogue of items as `items` yields them, see `write_catalogue`."""
    target = Path(target)
    links: list[dict[str, Any]] = []
    kept: set[Path] = set()
    boxes = []
    for item in of_dataset:
        path = target.parent / str(item["properties"]["year"]) / f"{item['id']}.json"
        href = f"./{path.relative_to(target.parent).as_posix()}"
        for asset in item["assets"].values():
            asset["href"] = f"../../{asset['href']}"
        item["links"] = [{"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in ("root", "parent", "collection")]
        with written(path, sweep=False) as beside:  # what killed jobs left is no item, and goes below
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
    """Return the collection: extent, licence, bands and classes, summaries."""
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
            "temporal": {"interval": [[min(start for start, _ in times), max(end for _, end in times)], *times]},
        },
        "summaries": {
            "proj:code": list(dict.fromkeys(region["crs"] for region in facts.get("regions", [facts]))),
            "gsd": [facts["resolution_m"]],
            "ml-aoi:split": sorted({SPLIT[name] for name in facts["splits"] if name in SPLIT}),
            "radiometry": [facts["radiometry"]],
        },
        "item_assets": {
            "image": {
                "type": GEOTIFF,
                "roles": ["data"],
                "bands": [_band(band, facts["resolution_m"]) for band in BANDS],
                "eo:bands": _eo_bands(),
                "raster:bands": _raster_bands(facts["resolution_m"]),
            },
            "mask": {
                "type": GEOTIFF,
                "roles": ["labels", "data"],
                "bands": MASK_BANDS,
                "raster:bands": MASK_RASTER_BANDS,
                "classification:classes": classes(),
            },
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
