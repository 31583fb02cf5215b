"""Describe the map as SpatioTemporal Asset Catalog: a collection for the run, an item a year with its files and the forest behind them.

STAC 1.1 with the extensions projection, raster, classification, file and, where the masks come from forests, machine-learning model (MLM
1.4). As in `dataset.stac`, bands and CRS are stated twice, for readers of STAC 1.0 too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.crs import DEGREES, reproject_shapes
from smallmines.core.files import read_json, sha256, write_json
from smallmines.core.log import logger
from smallmines.core.product import CLASSES, MASK_NODATA
from smallmines.dataset.columns import PROVENANCE_MEANINGS
from smallmines.dataset.stac import GEOTIFF, MULTIHASH_SHA256, VERSION, classes
from smallmines.grid.lattice import Lattice
from smallmines.labels.feature_table import SCALES
from smallmines.map.mosaics import PROBABILITY_NODATA, PROVENANCE_CODES, PROVENANCE_NODATA
from smallmines.settings.publish import Catalogue

EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v1.2.0", "raster/v1.1.0", "classification/v2.0.0", "file/v2.1.0")
]
MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"

PARQUET = "application/vnd.apache.parquet"

ASSETS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "mask.tif": (GEOTIFF, "Mining", ("data", "labels")),
    "probability.tif": (GEOTIFF, "Probability of mining by the forest", ("data",)),
    "provenance.tif": (GEOTIFF, "Where each label comes from", ("metadata",)),
    "mines.parquet": (PARQUET, "Mines as polygons (GeoParquet)", ("data", "labels")),
    "mines.fgb": ("application/vnd.flatgeobuf", "Mines as polygons (FlatGeobuf)", ("data", "labels")),
    "map.png": ("image/png", "Picture of the map", ("overview",)),
}
"""Media type, title and roles of the files of a year."""


@dataclass(frozen=True)
class Forest:
    """Files of the forest of a block and year.

    Attributes:
        metrics: its settings and features (JSON). model: the forest itself.
    """

    block: str
    metrics: str
    model: str


@dataclass(frozen=True)
class MapOfYear:
    """What the item of a year is made of.

    Attributes:
        files: paths of the files of `ASSETS` that the year has, beside the item.
        window: first and last day of acquisitions, YYYY-MM-DD.
        forests: of each block; none where the masks are released ones.
    """

    year: str
    files: Sequence[str]
    window: Sequence[str]
    forests: Sequence[Forest] = ()


def write_catalogue(
    years: Sequence[MapOfYear], lattice: Lattice, run: str, title: str, about: Catalogue, target: str | Path, items: Sequence[str]
) -> None:
    """Write the collection and the item of each year; all links are relative.

    Args:
        target: file of the collection. items: file of each year's item, below the collection's folder.
    """
    target, links, boxes = Path(target), [], []
    for year, path in zip(years, items, strict=True):
        content = item(year, lattice, run, Path(path))
        boxes.append(content["bbox"])
        links.append(
            {
                "rel": "item",
                "href": f"./{Path(path).relative_to(target.parent).as_posix()}",
                "type": "application/geo+json",
                "title": content["id"],
            }
        )
        write_json(path, content)
    write_json(target, collection(boxes[0], years, run, title, about, links, lattice))
    logger.info("%d items", len(items))


def files_of_years(files: Sequence[str], years: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each year, by the folder that they lie in."""
    return {year: [path for path in files if Path(path).parent.name == year] for year in years}


def item(year: MapOfYear, lattice: Lattice, run: str, path: Path) -> dict[str, Any]:
    """Return the item of a year.

    Args:
        path: of the item, from which links are relative.
    """
    ring = _ring(lattice)
    start, end = year.window
    assets = {_key(name): _asset(name, lattice) | {"file:checksum": f"{MULTIHASH_SHA256}{sha256(file)}"} for file, name in _named(year)}
    properties = {
        "datetime": None,
        "start_datetime": f"{start}T00:00:00Z",
        "end_datetime": f"{end}T23:59:59Z",
        "gsd": abs(lattice.geobox.transform.a),
        **_projection(lattice),
    }
    if year.forests:
        properties |= forest_properties(year.forests)
        assets |= {f"model_{forest.block}": _model_asset(forest, path) for forest in year.forests}
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [*EXTENSIONS, *([MLM] if year.forests else [])],
        "id": f"{run}_map_{year.year}",
        "collection": f"{run}_map",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": _bbox(ring),
        "properties": properties,
        "assets": assets,
        "links": [{"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in ("root", "parent", "collection")],
    }


def _named(year: MapOfYear) -> list[tuple[str, str]]:
    return [(file, Path(file).name) for file in year.files]


def _key(name: str) -> str:
    """Return the key of an asset: the name of a raster or picture, and for polygons with the format."""
    stem, _, suffix = name.partition(".")
    return f"{stem}_{suffix}" if stem == "mines" else stem


def _asset(name: str, lattice: Lattice) -> dict[str, Any]:
    kind, title, roles = ASSETS[name]
    asset: dict[str, Any] = {"href": f"./{name}", "type": kind, "title": title, "roles": list(roles)}
    if kind != GEOTIFF:
        return asset
    nodata = {"mask": MASK_NODATA, "probability": PROBABILITY_NODATA, "provenance": PROVENANCE_NODATA}[Path(name).stem]
    unit = {"unit": "%"} if name.startswith("probability") else {}
    band = {"data_type": "uint8", "nodata": nodata, **unit}
    asset["bands"] = [{"name": Path(name).stem, **band}]
    asset["raster:bands"] = [{**band, "spatial_resolution": abs(lattice.geobox.transform.a)}]
    if name.startswith("mask"):
        asset["classification:classes"] = classes()
    if name.startswith("provenance"):
        asset["classification:classes"] = [
            {"value": code, "name": name, "description": PROVENANCE_MEANINGS[name]} for name, code in PROVENANCE_CODES.items()
        ]
    return asset


def _model_asset(forest: Forest, path: Path) -> dict[str, Any]:
    version = read_json(forest.metrics)["versions"]["scikit-learn"]
    href = Path(forest.model).resolve().relative_to(path.resolve().parents[2]).as_posix()
    return {
        "href": f"../../{href}",
        "type": "application/octet-stream",
        "title": f"Random forest of block {forest.block} (scikit-learn {version}, joblib)",
        "roles": ["mlm:model"],
        "mlm:artifact_type": "joblib.dump",
        "file:checksum": f"{MULTIHASH_SHA256}{sha256(forest.model)}",
    }


def forest_properties(forests: Sequence[Forest]) -> dict[str, Any]:
    """Return the forests of a year in terms of the MLM extension; each block has a forest of its own, with the same kind of input.

    A forest predicts segments: its input is a row a segment, the means of bands over its pixels, scaled.
    """
    metrics = {forest.block: read_json(forest.metrics) for forest in forests}
    features = list(dict.fromkeys(name for content in metrics.values() for name in content["features"]))
    versions = sorted({content["versions"]["scikit-learn"] for content in metrics.values()})
    return {
        "bands": [{"name": name} for name in features],
        "mlm:name": "Random forests of segments",
        "mlm:architecture": "Random Forest",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "scikit-learn",
        **({"mlm:framework_version": versions[0]} if len(versions) == 1 else {}),
        "mlm:input": [
            {
                "name": "Segments",
                "bands": features,
                "input": {"shape": [-1, len(features)], "dim_order": ["batch", "channel"], "data_type": "float32"},
                "value_scaling": [{"type": "scale", "value": SCALES.get(name, 1.0)} for name in features],
                "description": "Mean of each band over a segment, divided by value_scaling. Each block has a forest of its own.",
            }
        ],
        "mlm:output": [
            {
                "name": "Mining",
                "tasks": ["semantic-segmentation"],
                "result": {"shape": [-1, len(CLASSES)], "dim_order": ["batch", "class"], "data_type": "float32"},
                "classification:classes": [
                    {"value": value, "name": name, "description": name.replace("_", " ")} for value, name in enumerate(CLASSES)
                ],
                "description": "Share of the votes for each class; mining from the threshold of the block on. People's labels win over it.",
            }
        ],
        "mlm:hyperparameters": {
            f"block_{block}": {**content["forest"], "threshold": content["threshold"]} for block, content in metrics.items()
        },
    }


def collection(
    bbox: Sequence[float],
    years: Sequence[MapOfYear],
    run: str,
    title: str,
    about: Catalogue,
    links: Sequence[Any],
    lattice: Lattice,
) -> dict[str, Any]:
    """Return the collection: extent, licence, the table of areas."""
    times = [[f"{year.window[0]}T00:00:00Z", f"{year.window[1]}T23:59:59Z"] for year in years]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": EXTENSIONS,
        "id": f"{run}_map",
        "title": f"Map of mining: {title}",
        "description": f"Masks of artisanal mining of {', '.join(year.year for year in years)} as mosaics and polygons. A mapped area is "
        "not an estimate of the area of mining: areas.csv has both.",
        "license": about.license,
        "providers": [{"name": name, "roles": ["producer"]} for name in about.authors],
        "extent": {
            "spatial": {"bbox": [list(bbox)]},
            "temporal": {"interval": [[min(start for start, _ in times), max(end for _, end in times)], *times]},
        },
        "summaries": {"gsd": [abs(lattice.geobox.transform.a)], "proj:code": [_projection(lattice)["proj:code"]]},
        "assets": {"areas": {"href": "./areas.csv", "type": "text/csv", "title": "Areas by unit and year", "roles": ["data"]}},
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *([{"rel": "cite-as", "href": f"https://doi.org/{about.doi}"}] if about.doi else []),
            *links,
        ],
    }


def _projection(lattice: Lattice) -> dict[str, Any]:
    crs, box = lattice.geobox.crs, lattice.geobox.boundingbox
    code = crs.to_epsg() if crs is not None else None
    return {
        "proj:code": f"EPSG:{code}" if code else None,
        "proj:epsg": code,
        **({} if code else {"proj:wkt2": crs.to_wkt() if crs is not None else None}),
        "proj:shape": [int(length) for length in lattice.geobox.shape],
        "proj:transform": [float(value) for value in tuple(lattice.geobox.transform)[:6]],
        "proj:bbox": [box.left, box.bottom, box.right, box.top],
    }


def _ring(lattice: Lattice) -> list[list[float]]:
    """Return the outline of the lattice in degrees, against the clock, closed."""
    import shapely

    outline = shapely.box(*lattice.geobox.boundingbox.bbox).segmentize(max(lattice.geobox.boundingbox.span_x, 1) / 8)
    degrees = shapely.orient_polygons(reproject_shapes(outline, str(lattice.geobox.crs), DEGREES).item())
    return [[round(x, 7), round(y, 7)] for x, y in degrees.exterior.coords]


def _bbox(ring: Sequence[Sequence[float]]) -> list[float]:
    x, y = zip(*ring, strict=True)
    return [min(x), min(y), max(x), max(y)]
