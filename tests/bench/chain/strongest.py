"""The chain of an expert who knows the rules of the dataset: odc-stac, chained OTB applications, bincount, windows cut in threads.

It writes the same products as the workflow, from the same archive, and nothing else: no checks, no provenance, no way to resume.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import windows

from bench.chain.case import MIN_SIZE, RANGE_RADIUS, S2_BANDS, SPATIAL_RADIUS, Case

THREADS = 2
MASKED, CLOUDS = (0, 1, 3, 8, 9, 10, 11), (3, 8, 9, 10)
DILATION, OPENING = 6, 4
MARGIN = DILATION + 2 * OPENING
"""Dilation and opening of clouds in px of 10 m, and the margin that both need."""
NONE, CLOUDY, NEAR, CLEAR = 0, 1, 2, 3
RAM_MB, TILE_PX, MERGING_TILE_PX = 2000, 1280, 512
"""Memory and tiles of OTB."""


def save(path: Path, array: NDArray[Any], case: Case, nodata: float | None, **profile: Any) -> None:
    """Write a raster on the block's grid: tiled, deflated by all threads."""
    cube = array if array.ndim == 3 else array[np.newaxis]
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "predictor": 3 if cube.dtype.kind == "f" else 2} | profile
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(cube),
        height=cube.shape[1],
        width=cube.shape[2],
        dtype=cube.dtype,
        nodata=nodata,
        crs=case.crs,
        transform=case.geobox.transform,
        compress="deflate",
        num_threads=THREADS,
        **options,
    ) as target:
        target.write(cube)


def read(path: Path) -> NDArray[Any]:
    """Read all bands."""
    with rasterio.open(path, num_threads=THREADS) as source:
        array: NDArray[Any] = source.read()
        return array


def load(items: list[dict[str, Any]], bands: list[str], geobox: Any, dtype: str, nodata: float) -> Any:
    """Load items of one date with odc-stac; where they overlap the first with data wins."""
    import odc.stac
    import pystac

    config = {items[0]["collection"]: {"assets": {"*": {"data_type": dtype, "nodata": nodata}}}}
    return odc.stac.load(
        [pystac.Item.from_dict(item) for item in items],
        bands=bands,
        geobox=geobox,
        groupby=lambda *_: 0,
        stac_cfg=config,
        pool=THREADS,
    ).isel(time=0)


# --- composites -----------------------------------------------------------------------------------------------------------


def composite_s2(case: Case) -> None:
    """Fill each pixel from the first clear date, dates ranked by their clear share; of pixels never clear accept those that are stable."""
    by_datatake: dict[str, list[dict[str, Any]]] = {}
    for item in sorted(case.items("sentinel-2-l2a"), key=lambda item: item["properties"]["grid:code"]):
        by_datatake.setdefault(item["properties"]["s2:datatake_id"], []).append(item)
    padded = case.geobox.pad(MARGIN)
    with ThreadPoolExecutor(THREADS) as pool:
        scenes = list(pool.map(lambda items: graded(load(items, ["SCL"], padded, "uint8", 0)["SCL"].values), by_datatake.values()))
    order = sorted(zip(scenes, by_datatake.values(), strict=True), key=lambda pair: -(pair[0][0] >= NEAR).mean())
    order.sort(key=lambda pair: -pair[0][2])
    takes = []
    for (grade, bright, _), items in order:
        offset = 1000 * (float(items[0]["properties"]["s2:processing_baseline"]) >= 4)
        cube = load(items, list(S2_BANDS), case.geobox, "uint16", 0)
        dn = np.stack([cube[band].values for band in S2_BANDS])
        grade[(dn <= (1 if offset else 0)).any(axis=0)] = NONE
        takes.append((dn if offset else np.where(dn > 0, dn + np.uint16(1000), 0).astype(np.uint16), grade, bright))
    dn, grade = takes[0][0].copy(), takes[0][1].copy()
    dn[:, grade == NONE] = 0
    for take, take_grade, _ in takes[1:]:
        better = take_grade > grade
        np.copyto(dn, take, where=better)
        np.copyto(grade, take_grade, where=better)
    stable(dn, grade, takes)
    save(case.out / "s2.tif", dn, case, 0)
    save(case.out / "clear.tif", (grade == CLEAR).astype(np.uint8), case, None)


def graded(scl: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], float]:
    """Return the grade of each pixel, where it is classified as bright cloud, and the clear share, from classes with the margin."""
    from scipy import ndimage

    core = ndimage.distance_transform_edt(np.isin(scl, CLOUDS)) > OPENING
    near = ndimage.distance_transform_edt(~core) <= DILATION + OPENING if core.any() else core
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    classes = scl[inner]
    clear = ~np.isin(classes, MASKED)
    grade = np.select([classes == 0, ~clear, near[inner]], [NONE, CLOUDY, NEAR], CLEAR).astype(np.uint8)
    return grade, np.isin(classes, CLOUDS[1:]), float(clear[::8, ::8].mean())


def stable(dn: NDArray[np.uint16], grade: NDArray[np.uint8], takes: list[tuple[Any, Any, Any]]) -> None:
    """Accept pixels that are never clear where two dates agree in all bands; in place."""
    row, col = np.nonzero((grade < CLEAR) & (np.sum([take[1] > NONE for take in takes], axis=0) > 1))
    values = np.stack([take[0][:, row, col] for take in takes]).astype(np.int32) - 1000
    soil = values[:, S2_BANDS.index("B11")] > 1.5 * values[:, S2_BANDS.index("B02")]
    grades = np.stack([take[1][row, col] for take in takes])
    bright = np.stack([take[2][row, col] for take in takes])
    usable = (grades == NEAR) | (bright & (grades > NONE) & soil)
    agreed = np.zeros(usable.shape, bool)
    for first, second in combinations(range(len(takes)), 2):
        both = np.flatnonzero(usable[first] & usable[second])
        a, b = values[first][:, both], values[second][:, both]
        same = (np.abs(a - b) <= 0.15 * np.minimum(a, b) + 60).all(axis=0)
        agreed[np.ix_((first, second), both[same])] = True
    best = np.where(agreed.any(axis=0), agreed.argmax(axis=0), -1)
    for rank, take in enumerate(takes):
        y, x = row[best == rank], col[best == rank]
        dn[:, y, x], grade[y, x] = take[0][:, y, x], CLEAR


def composite_s1(case: Case) -> None:
    """Average the passes of the orbit that covers most, in power; mean of each pixel and its four neighbours; decibels."""
    from scipy import ndimage
    from shapely import union_all
    from shapely.geometry import shape

    by_orbit: dict[int, list[dict[str, Any]]] = {}
    for item in case.items("sentinel-1-rtc"):
        by_orbit.setdefault(item["properties"]["sat:relative_orbit"], []).append(item)
    area = shape(case.geobox.extent.to_crs("EPSG:4326").json)

    def covered(orbit: int) -> float:
        return round(float(union_all([shape(item["geometry"]) for item in by_orbit[orbit]]).intersection(area).area / area.area), 3)

    items = by_orbit[max(by_orbit, key=lambda orbit: (covered(orbit), len(by_orbit[orbit])))]
    halo = case.geobox.pad(1)
    total, count = np.zeros((2, *halo.shape), np.float64), np.zeros(tuple(halo.shape), np.uint8)
    for orbit in sorted({item["properties"]["sat:absolute_orbit"] for item in items}):
        own = [item["assets"] for item in items if item["properties"]["sat:absolute_orbit"] == orbit]
        slices = [[assets[band]["href"] for assets in own] for band in ("vv", "vh")]
        with ThreadPoolExecutor(THREADS) as pool:
            power = np.stack(list(pool.map(lambda paths: merged(paths, halo, 0), slices)))
        valid = (power > 0).all(axis=0)
        np.add(total, power, out=total, where=valid)
        count += valid
    plus, valid = ndimage.generate_binary_structure(2, 1).astype(float), count > 0
    weight = np.maximum(ndimage.convolve(valid.astype(float), plus, mode="constant"), 1)
    decibel = []
    for band in total:
        mean = np.where(valid, band / np.maximum(count, 1), 0)
        with np.errstate(divide="ignore"):
            smooth = 10 * np.log10(ndimage.convolve(mean, plus, mode="constant") / weight)
        decibel.append(np.where(valid, smooth, np.nan)[1:-1, 1:-1])
    save(case.out / "s1.tif", np.stack(decibel).astype(np.float32), case, np.nan)


def composite_dem(case: Case) -> None:
    """Merge the tiles, then resample once."""
    save(case.out / "dem.tif", merged([item["assets"]["data"]["href"] for item in case.items("cop-dem-glo-30")], case.geobox), case, np.nan)


def merged(paths: list[str], geobox: Any, above: float = -np.inf) -> NDArray[np.float32]:
    """Merge files of one lattice around the block, then resample once (bilinear), so that no seam opens between them.

    Args:
        above: values up to this one are no data.
    """
    from rasterio.warp import Resampling, reproject, transform_bounds

    with rasterio.open(paths[0]) as first:
        lattice, crs = first.transform, first.crs
    west, south, east, north = transform_bounds(str(geobox.crs), crs, *geobox.boundingbox.bbox)
    left, top = (np.floor(value) - 3 for value in ~lattice * (west, north))
    right, bottom = (np.ceil(value) + 3 for value in ~lattice * (east, south))
    bounds = (*(lattice * (left, bottom)), *(lattice * (right, top)))
    mosaic = np.full((int(bottom - top), int(right - left)), np.nan, np.float32)
    for path in paths:
        with rasterio.open(path, num_threads=THREADS) as source:
            window = windows.from_bounds(*bounds, source.transform)
            window = windows.Window(*(round(value) for value in window.flatten()))
            values = source.read(1, window=window, boundless=True, fill_value=np.nan)
            np.copyto(mosaic, values, where=np.isnan(mosaic) & (values > above) & (values != source.nodata))
    values = np.full(tuple(geobox.shape), np.nan, np.float32)
    nan, onto = np.nan, geobox.transform
    reproject(
        mosaic,
        values,
        src_transform=lattice * lattice.translation(left, top),
        src_crs=crs,
        src_nodata=nan,
        dst_transform=onto,
        dst_crs=str(geobox.crs),
        dst_nodata=nan,
        resampling=Resampling.bilinear,
        num_threads=THREADS,
    )
    return values


# --- segments and labels --------------------------------------------------------------------------------------------------


def segment(case: Case) -> None:
    """Chain OTB's three applications with enough memory for large tiles."""
    out = case.out
    radii = ["-spatialr", str(SPATIAL_RADIUS), "-ranger", str(RANGE_RADIUS)]
    smooth, position, split, segments = (str(out / f"{name}.tif") for name in ("smooth", "position", "split", "segments"))
    otb(
        "MeanShiftSmoothing",
        "-in",
        str(out / "s2.tif"),
        "-fout",
        smooth,
        "-foutpos",
        position,
        *radii,
        "-maxiter",
        "10",
        "-thres",
        "0.1",
        "-modesearch",
        "false",
        "-ram",
        str(RAM_MB),
    )
    otb(
        "LSMSSegmentation",
        "-in",
        smooth,
        "-inpos",
        position,
        "-out",
        split,
        "uint32",
        *radii,
        "-minsize",
        "0",
        "-tilesizex",
        str(TILE_PX),
        "-tilesizey",
        str(TILE_PX),
        "-tmpdir",
        str(out),
    )
    otb(
        "LSMSSmallRegionsMerging",
        "-in",
        smooth,
        "-inseg",
        split,
        "-out",
        segments,
        "uint32",
        "-minsize",
        str(MIN_SIZE),
        "-tilesizex",
        str(MERGING_TILE_PX),
        "-tilesizey",
        str(MERGING_TILE_PX),
        "-ram",
        str(RAM_MB),
    )
    for path in (smooth, position, split):
        Path(path).unlink()


def otb(application: str, *arguments: str) -> None:
    """Run an application of OTB as a program."""
    environment = {**os.environ, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS), "OTB_LOGGER_LEVEL": "WARNING"}
    subprocess.run([f"otbcli_{application}", *arguments, "-progress", "false"], check=True, env=environment, stdout=subprocess.DEVNULL)


def features(case: Case) -> None:
    """Average bands and heights of each segment with bincount."""
    import pandas as pd

    labels = read(case.out / "segments.tif")[0].ravel()
    area = np.bincount(labels)
    ids = np.flatnonzero(area)
    columns: dict[str, Any] = {"segment": ids.astype(np.uint32), "area": area[ids]}
    with rasterio.open(case.out / "s2.tif", num_threads=THREADS) as source:
        for number, band in enumerate(S2_BANDS, 1):
            columns[band] = (np.bincount(labels, weights=source.read(number).ravel())[ids] / area[ids]).astype(np.float32)
    dem = read(case.out / "dem.tif")[0].ravel()
    valid = np.isfinite(dem)
    counted = np.bincount(labels, weights=valid)[ids]
    with np.errstate(invalid="ignore"):
        columns["DEM"] = (np.bincount(labels, weights=np.where(valid, dem, 0))[ids] / counted).astype(np.float32)
    pd.DataFrame(columns).to_parquet(case.out / "features.parquet", index=False)


def features_exactextract(case: Case) -> None:
    """Average bands and heights over polygons of the segments with exactextract, the alternative for chains that keep vectors."""
    import geopandas as gpd
    from exactextract import exact_extract
    from rasterio.features import shapes
    from shapely.geometry import shape

    labels = read(case.out / "segments.tif")[0]
    pairs = list(shapes(labels.astype(np.int32), transform=case.geobox.transform))
    polygons = gpd.GeoDataFrame({"segment": [int(value) for _, value in pairs]}, geometry=[shape(form) for form, _ in pairs], crs=case.crs)
    files = {"s2": S2_BANDS, "dem": ("DEM",)}
    tables = []
    for name, bands in files.items():
        with rasterio.open(case.out / f"{name}.tif") as source:
            options = {
                "include_cols": ["segment"],
                "output": "pandas",
                "strategy": "raster-sequential",
            }  # the default takes 14 times as long
            table = exact_extract(source, polygons, ["mean"], **options)
        tables.append(table.set_index("segment").set_axis(bands, axis=1))
    tables[0].join(tables[1]).reset_index().to_parquet(case.out / "features_exactextract.parquet", index=False)


def forest(case: Case) -> None:
    """Fit one forest to the samples' segments and predict all segments."""
    import geopandas as gpd
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    table = pd.read_parquet(case.out / "features.parquet")
    labels = read(case.out / "segments.tif")[0]
    points = gpd.read_file(case.samples).to_crs(case.crs)
    col, row = (~case.geobox.transform) @ np.stack([points.geometry.x, points.geometry.y])
    sampled = pd.Series((points["label"] == "mining").to_numpy(), labels[row.astype(int), col.astype(int)])
    sampled = sampled[~sampled.index.duplicated() & (sampled.index > 0)]
    x = (table[[*S2_BANDS, "DEM"]].fillna(table["DEM"].median()) / ([10000.0] * len(S2_BANDS) + [500.0])).to_numpy(np.float32)
    model = RandomForestClassifier(300, max_depth=15, min_samples_split=5, random_state=0, n_jobs=THREADS)
    model.fit(x[np.searchsorted(table["segment"], sampled.index)], sampled)
    table[["segment"]].assign(probability=model.predict_proba(x)[:, 1]).to_parquet(case.out / "probabilities.parquet", index=False)


def mask(case: Case) -> None:
    """Draw the mask by a lookup table; what was never seen clearly is not mining."""
    import pandas as pd

    table = pd.read_parquet(case.out / "probabilities.parquet")
    save(case.out / "mask.tif", drawn(table["segment"].to_numpy(), (table["probability"] >= 0.5).to_numpy(), case), case, 255)


def drawn(segments: NDArray[np.uint32], mining: NDArray[np.bool_], case: Case) -> NDArray[np.uint8]:
    """Return the mask of labels of segments: 1 mining and seen clearly, 0 not, 255 outside."""
    labels, clear = read(case.out / "segments.tif")[0], read(case.out / "clear.tif")[0]
    table = np.full(int(labels.max()) + 1, 255, np.uint8)
    table[segments] = mining
    values = table[labels]
    values[(values == 1) & (clear == 0)] = 0
    return values


def patches(case: Case) -> None:
    """Cut windows of arrays in memory, and write images and masks in threads."""
    s2, s1, dem, mining = (read(case.out / f"{name}.tif") for name in ("s2", "s1", "dem", "mask"))

    def write(tile: str, row: int, col: int) -> None:
        window = np.s_[:, 128 * row : 128 * (row + 1), 128 * col : 128 * (col + 1)]
        image = np.concatenate([s2[window].astype(np.float32), s1[window], dem[window]])
        image[:10, (s2[window] == 0).any(axis=0)] = -9999
        image[~np.isfinite(image)] = -9999
        transform = case.geobox[window[1:]].transform
        for kind, values, nodata in (("IMG", image, -9999.0), ("MASK", mining[window], 255)):
            predictor = 3 if kind == "IMG" else 2
            with rasterio.open(
                case.patch(kind, tile),
                "w",
                driver="GTiff",
                count=len(values),
                height=128,
                width=128,
                dtype=values.dtype,
                nodata=nodata,
                crs=case.crs,
                transform=transform,
                compress="deflate",
                predictor=predictor,
                interleave="band",
                blockysize=128,
            ) as target:
                target.write(values)

    for kind in ("IMG", "MASK"):
        case.patch(kind, "").parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda pair: write(pair[0], *pair[1]), case.tiles.items()))
