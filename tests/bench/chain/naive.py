"""The chain of public notebooks: each step is the first call that the documentation of its library shows, with its defaults.

What is not a default: `proj:epsg` is restored in the items and coordinates are those of pixel centres, since stackstac 0.5 needs both;
OTB gets the dataset's two radii and its minimum size, so that it makes the same task's segments.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from bench.chain.case import MIN_SIZE, RANGE_RADIUS, S2_BANDS, SPATIAL_RADIUS, Case

MAX_CLOUD_COVER = 40
"""In %, as notebooks ask the catalogue for it."""

CHUNK = 2000
"""Segments whose means of a band are computed between two savings."""


def stacked(case: Case, items: list[dict[str, Any]], assets: list[str]) -> Any:
    """Stack items with stackstac's defaults: float64, NaN outside, a layer an item."""
    import stackstac

    for item in items:
        item["properties"]["proj:epsg"] = int(item["properties"]["proj:code"].removeprefix("EPSG:"))
    return stackstac.stack(items, assets=assets, epsg=case.epsg, resolution=10, bounds=case.bounds, xy_coords="center")


def save(cube: Any, path: Path, case: Case) -> None:
    """Write with rioxarray's defaults."""
    import rioxarray  # noqa: F401  (gives arrays the attribute `rio`)

    cube.rio.write_crs(case.crs).rio.to_raster(path)


def composite_s2(case: Case) -> None:
    """Median of all items below a cloud cover."""
    items = [item for item in case.items("sentinel-2-l2a") if item["properties"]["eo:cloud_cover"] < MAX_CLOUD_COVER]
    save(stacked(case, items, list(S2_BANDS)).median(dim="time").compute(), case.out / "s2.tif", case)


def composite_s1(case: Case) -> None:
    """Mean of all items in power, then decibels."""
    with np.errstate(divide="ignore"):
        save(10 * np.log10(stacked(case, case.items("sentinel-1-rtc"), ["vv", "vh"]).mean(dim="time").compute()), case.out / "s1.tif", case)


def composite_dem(case: Case) -> None:
    """Mosaic of the tiles."""
    import stackstac

    save(stackstac.mosaic(stacked(case, case.items("cop-dem-glo-30"), ["data"])).compute(), case.out / "dem.tif", case)


def segment(case: Case) -> None:
    """One application from image to polygons."""
    subprocess.run(
        [
            "otbcli_LargeScaleMeanShift",
            "-in",
            str(case.out / "s2.tif"),
            "-spatialr",
            str(SPATIAL_RADIUS),
            "-ranger",
            str(RANGE_RADIUS),
            "-minsize",
            str(MIN_SIZE),
            "-mode",
            "vector",
            "-mode.vector.out",
            str(case.out / "segments.shp"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def features(case: Case) -> None:
    """Mean of each band over each polygon with rasterstats, which reads a window of the file for each polygon."""
    _zonal_means(case, "features", lambda name, band: ({"raster": str(case.out / f"{name}.tif"), "band": band}))


def features_arrays(case: Case) -> None:
    """The same on arrays in memory."""
    arrays: dict[tuple[str, int], dict[str, Any]] = {}

    def source(name: str, band: int) -> dict[str, Any]:
        if (name, band) not in arrays:
            with rasterio.open(case.out / f"{name}.tif") as file:
                arrays.clear()
                arrays[name, band] = {"raster": file.read(band), "affine": file.transform, "nodata": np.nan}
        return arrays[name, band]

    _zonal_means(case, "features_arrays", source)


def _zonal_means(case: Case, stage: str, source: Any) -> None:
    """Compute the means in chunks, which are saved with what each took; finished chunks are not computed again."""
    import geopandas as gpd
    import pyogrio
    from rasterstats import zonal_stats

    count = pyogrio.read_info(case.out / "segments.shp")["features"]
    for name, band in (*(("s2", number) for number in range(1, len(S2_BANDS) + 1)), ("dem", 1)):
        for start in range(0, count, CHUNK):
            path = case.out / stage / f"{name}{band:02d}-{start:07d}.json"
            if path.exists():
                continue
            polygons = gpd.read_file(case.out / "segments.shp", rows=slice(start, start + CHUNK), columns=[])
            read = source(name, band)
            wall, cpu = time.perf_counter(), time.process_time()
            means = [row["mean"] for row in zonal_stats(polygons, stats="mean", **read)]
            record = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "means": means}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_text(json.dumps(record), encoding="utf-8")
            path.with_suffix(".new").rename(path)


def chunks_of(case: Case, stage: str) -> tuple[int, int, float, float]:
    """Return how many chunks of a stage are finished, how many there are, and the wall and CPU seconds of the finished ones."""
    import pyogrio

    shapes = case.out / "segments.shp"
    total = (len(S2_BANDS) + 1) * -(-pyogrio.read_info(shapes)["features"] // CHUNK) if shapes.exists() else 0
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((case.out / stage).glob("*.json"))]
    return len(records), total, sum(record["wall"] for record in records), sum(record["cpu"] for record in records)


def means_of(case: Case, stage: str) -> Any:
    """Return the means of finished chunks, (segment, band); those of the polygons' own attributes where chunks are missing, without DEM."""
    import geopandas as gpd

    done, total, _, _ = chunks_of(case, stage)
    if done < total:
        table = gpd.read_file(case.out / "segments.shp", ignore_geometry=True)
        return table[[f"meanB{number}" for number in range(len(S2_BANDS))]].to_numpy(float)
    columns = []
    for name, band in (*(("s2", number) for number in range(1, len(S2_BANDS) + 1)), ("dem", 1)):
        parts = sorted((case.out / stage).glob(f"{name}{band:02d}-*.json"))
        columns.append([mean for path in parts for mean in json.loads(path.read_text(encoding="utf-8"))["means"]])
    return np.array(columns, float).T


def forest(case: Case) -> None:
    """Join the samples to the polygons and fit a forest with scikit-learn's defaults."""
    import geopandas as gpd
    from sklearn.ensemble import RandomForestClassifier

    polygons = gpd.read_file(case.out / "segments.shp", columns=["label"])
    means = np.nan_to_num(means_of(case, "features"))
    samples = gpd.read_file(case.samples).to_crs(case.crs).rename(columns={"label": "sample"})
    joined = samples.sjoin(polygons[["geometry"]], predicate="within")
    model = RandomForestClassifier(random_state=0).fit(means[joined["index_right"]], joined["sample"] == "mining")
    polygons["mining"] = model.predict(means).astype(np.uint8)
    polygons.to_file(case.out / "predicted.gpkg")


def mask(case: Case) -> None:
    """Burn the polygons."""
    import geopandas as gpd
    from rasterio.features import rasterize

    polygons = gpd.read_file(case.out / "predicted.gpkg")
    with rasterio.open(case.out / "s2.tif") as source:
        profile, shape, transform = source.profile, source.shape, source.transform
    values = rasterize(zip(polygons.geometry, polygons["mining"], strict=True), out_shape=shape, transform=transform, dtype="uint8")
    with rasterio.open(case.out / "mask.tif", "w", **{**profile, "count": 1, "dtype": "uint8", "nodata": 255}) as target:
        target.write(values, 1)


def patches(case: Case) -> None:
    """Cut each tile with `rasterio.mask`, file by file."""
    from rasterio.mask import mask as cut
    from shapely.geometry import box

    west, _, _, north = case.bounds
    for kind in ("IMG", "MASK"):
        case.patch(kind, "").parent.mkdir(parents=True, exist_ok=True)
    for tile, (row, col) in case.tiles.items():
        area = box(west + 1280 * col, north - 1280 * (row + 1), west + 1280 * (col + 1), north - 1280 * row)
        bands, transform = [], None
        for name in ("s2", "s1", "dem"):
            with rasterio.open(case.out / f"{name}.tif") as source:
                values, transform = cut(source, [area], crop=True)
                bands.append(values.astype(np.float32))
        image = np.nan_to_num(np.concatenate(bands), nan=-9999, neginf=-9999)
        with rasterio.open(case.out / "mask.tif") as source:
            mining, _ = cut(source, [area], crop=True)
        for kind, values, nodata in (("IMG", image, -9999), ("MASK", mining, 255)):
            profile = {"driver": "GTiff", "crs": case.crs, "transform": transform, "nodata": nodata, "dtype": values.dtype}
            count, height, width = values.shape
            with rasterio.open(case.patch(kind, tile), "w", count=count, height=height, width=width, **profile) as target:
                target.write(values)
