"""A made archive in the words of the real ones: items as each service lists them, and files as it stores them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio

FINE = ("B02", "B03", "B04", "B08")
EARTH_SEARCH = {
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B11": "swir16",
    "B12": "swir22",
    "SCL": "scl",
    "AOT": "aot",
}


def made_items(root: Path, collection: str) -> list[dict[str, Any]]:
    """The items of a made archive."""
    return [json.loads(path.read_text()) for path in sorted((root / collection).glob("*/*.json"))]


def _parts(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    platform, _, start, baseline, _, tile, _ = item["id"].split("_")
    return platform, start, baseline[1:], tile


def cdse_item(item: dict[str, Any], address: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A Sentinel-2 item as the Copernicus Data Space lists it, and the S3 key of each of our files."""
    _, start, baseline, tile = _parts(item)
    safe = f"{item['id']}.SAFE"
    folder = f"Sentinel-2/MSI/L2A_N{baseline}/{start[:4]}/{start[4:6]}/{start[6:8]}/{safe}"
    said, assets, keys = item["properties"], {}, {}
    for name in (*FINE, "B05", "B06", "B07", "B8A", "B11", "B12", "SCL", "AOT", "product_metadata"):
        if name == "product_metadata":
            key, asset, extra = "MTD_MSIL2A.xml", name, {"type": "application/xml"}
        else:
            size = 10 if name in FINE else 20
            asset = f"{name}_{size}m"
            key = f"GRANULE/L2A_{tile}_A{said['sat:relative_orbit']:06d}_{start}/IMG_DATA/R{size}m/{tile}_{start}_{asset}.jp2"
            extra = {"type": "image/jp2", "raster:offset": -0.1, "raster:scale": 0.0001, "proj:code": said["proj:code"]}
            extra |= {"proj:transform": item["assets"][name]["proj:transform"], "proj:shape": item["assets"][name]["proj:shape"]}
        nodes = "".join(f"/Nodes({part})" for part in (safe, *key.split("/")))
        https = {"href": f"{address}/odata/v1/Products({item['id'][-12:]}){nodes}/$value", "auth:refs": ["oidc"]}
        assets[asset] = {"href": f"s3://eodata/{folder}/{key}", "alternate": {"https": https}, **extra}
        keys[name] = f"{folder}/{key}"
    kept = ("datetime", "platform", "constellation", "eo:cloud_cover", "sat:relative_orbit", "sat:orbit_state", "grid:code")
    version = f"{baseline[:2]}.{baseline[2:]}"
    properties = {key: said[key] for key in kept} | {"processing:version": version, "product:type": "S2MSI2A"}
    return feature(item, item["id"], "sentinel-2-l2a", properties, assets), keys


def pc_item(item: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A Sentinel-2 item as the Planetary Computer lists it (its ids lack the baseline), and the blob of each of our files."""
    platform, start, baseline, tile = _parts(item)
    said = item["properties"]
    account = "http://sentinel2l2a01.blob.core.windows.net/sentinel2-l2"
    folder = f"{account}/{tile[1:3]}/{tile[3]}/{tile[4:]}/{start[:4]}/{start[4:6]}/{start[6:8]}/{item['id']}.SAFE"
    hrefs = {
        name: f"{folder}/{tile}_{start}_{name}.tif" if name != "product_metadata" else f"{folder}/MTD_MSIL2A.xml" for name in item["assets"]
    }
    assets = {name.replace("product_", "product-"): grid(item["assets"][name]) | {"href": href} for name, href in hrefs.items()}
    properties = {
        "datetime": said["datetime"],
        "platform": f"Sentinel-{platform[1:]}",
        "proj:epsg": int(said["proj:code"].split(":")[1]),
        "s2:mgrs_tile": tile[1:],
        "s2:product_uri": f"{item['id']}.SAFE",
        "s2:processing_baseline": said["s2:processing_baseline"],
        "s2:generation_time": said["s2:generation_time"],
        "s2:datatake_id": said["s2:datatake_id"],
        "eo:cloud_cover": said["eo:cloud_cover"],
        "sat:relative_orbit": said["sat:relative_orbit"],
    }
    return feature(item, item["id"].replace(f"_N{baseline}", ""), "sentinel-2-l2a", properties, assets), hrefs


def earth_search_item(item: dict[str, Any], address: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A Sentinel-2 item as Earth Search lists Collection 1, and the address of each of our files."""
    platform, start, baseline, tile = _parts(item)
    said = item["properties"]
    name = f"{platform}_{tile}_{start}_{baseline}_L2A"
    keys = EARTH_SEARCH | {"product_metadata": "product_metadata"}
    hrefs = {band: f"{address}/earth-search-data/{name}/{key}{Path(item['assets'][band]['href']).suffix}" for band, key in keys.items()}
    assets = {keys[band]: grid(item["assets"][band]) | {"href": href} for band, href in hrefs.items()}
    kept = (
        "datetime",
        "platform",
        "eo:cloud_cover",
        "s2:product_uri",
        "s2:processing_baseline",
        "s2:datatake_id",
        "grid:code",
        "proj:code",
    )
    properties = {key: said[key] for key in kept} | {"earthsearch:boa_offset_applied": False}
    return feature(item, name, "sentinel-2-c1-l2a", properties, assets), hrefs


def grid(asset: Mapping[str, Any]) -> dict[str, Any]:
    return {key: asset[key] for key in ("proj:transform", "proj:shape", "type") if key in asset}


def feature(
    item: Mapping[str, Any], name: str, collection: str, properties: Mapping[str, Any], assets: Mapping[str, Any]
) -> dict[str, Any]:
    known = {key: item[key] for key in ("type", "stac_version", "geometry", "bbox")}
    return known | {"id": name, "collection": collection, "properties": dict(properties), "assets": dict(assets), "links": []}


def as_jp2(source: Path, target: Path) -> Path:
    """A lossless JPEG 2000 in tiles of 1024 px without nodata, as the products have; made once."""
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.jp2")
        with rasterio.open(source) as opened:
            array, profile = opened.read(1), opened.profile
        profile = {key: profile[key] for key in ("height", "width", "count", "dtype", "crs", "transform")}
        options = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO", "BLOCKXSIZE": "1024", "BLOCKYSIZE": "1024"}
        with rasterio.open(beside, "w", driver="JP2OpenJPEG", **profile, **options) as made:
            made.write(array, 1)
        beside.with_name(f"{beside.name}.aux.xml").unlink(missing_ok=True)
        os.replace(beside, target)
    return target
