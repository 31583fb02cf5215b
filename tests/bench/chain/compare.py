"""Check that the chains compute the same as the workflow: `python -m bench.chain.compare CASE` writes `checks.json` beside it.

Where a chain differs by design (the median of all dates instead of the best one), the difference is stated and nothing is required.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from bench.chain import naive, strongest
from bench.chain.case import BLOCK, S2_BANDS, YEAR, Case, read_case

S1_DB, DEM_M, RELATIVE, APART = 0.01, 2.5, 1e-5, 1e-4
"""Tolerances: backscatter, dB. Height, m: GDAL's warper differs by 0.5 m on 100 tiles, 1.9 m on 400 (cause open). Means, relative. Share
of the segments: OTB's merging decides ties by the ids of the pieces, which depend on tiles (this workflow makes them canonical before)."""


@dataclass(frozen=True)
class Check:
    """A comparison of a chain with the workflow.

    Attributes:
        holds: None where nothing is required.
    """

    chain: str
    what: str
    found: str
    holds: bool | None


def read(path: Path) -> NDArray[Any]:
    """Read all bands."""
    with rasterio.open(path) as source:
        array: NDArray[Any] = source.read()
        return array


def largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest absolute difference; infinite where only one of two values is a number."""
    if (np.isfinite(a) != np.isfinite(b)).any():
        return float("inf")
    both = np.isfinite(a)
    return float(np.abs(a[both].astype(np.float64) - b[both]).max(initial=0))


def shared(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Compare two label rasters up to the numbers.

    Returns:
        The numbers of `a`, ascending, and whether the set of pixels of each is a segment of `b` too.
    """
    numbers_a, index_a = np.unique(a, return_inverse=True)
    numbers_b, index_b = np.unique(b, return_inverse=True)
    pairs = np.unique(index_a.ravel().astype(np.int64) * len(numbers_b) + index_b.ravel())
    of_a, of_b = np.divmod(pairs, len(numbers_b))
    alone = (np.bincount(of_a)[of_a] == 1) & (np.bincount(of_b)[of_b] == 1)
    same = np.zeros(len(numbers_a), bool)
    same[of_a[alone]] = True
    return numbers_a, same


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return intersection over union; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def relative(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest difference relative to the first value."""
    return float(np.nanmax(np.abs(a.astype(np.float64) - b) / np.maximum(np.abs(a), 1e-9)))


def composites(case: Case, chain: str) -> Iterator[Check]:
    """Compare composites."""
    ours, own, required = case.results / "composites", case.out, chain == "strongest"
    a, b = read(ours / YEAR / BLOCK / "s2.tif"), read(own / "s2.tif")
    count = int((a != b).any(axis=0).sum())
    usual = float(np.nanmedian(np.abs(a.astype(float) - b)))
    yield Check(chain, "Sentinel-2", f"{count} of {a[0].size} px differ, median {usual:.0f} DN", count == 0 if required else None)
    if required:
        count = int(((read(ours / YEAR / BLOCK / "clear.tif") > 0) != read(own / "clear.tif")).sum())
        yield Check(chain, "clear pixels", f"{count} px differ", count == 0)
    for name, path, tolerance, unit in (
        ("Sentinel-1", f"{YEAR}/{BLOCK}/s1", S1_DB, "dB"),
        ("elevation", f"static/{BLOCK}/dem", DEM_M, "m"),
    ):
        a, b = read(ours / f"{path}.tif"), read(own / f"{path[-3:].strip('/')}.tif")
        most, usual = largest(a, b), float(np.nanmedian(np.abs(a - b)))
        yield Check(chain, name, f"differs by at most {most:.2g} {unit}, median {usual:.2g}", most <= tolerance if required else None)


def labelled(case: Case) -> Iterator[Check]:
    """Compare segments, features, forest and masks of the strongest chain."""
    import pandas as pd

    results, chain = case.results, "strongest"
    ours, own = read(results / f"segments/{YEAR}/{BLOCK}/segments.tif")[0], read(case.out / "segments.tif")[0]
    numbers, same = shared(ours, own)
    apart = int((~same).sum())
    found = f"{apart} of {len(numbers)} are no segment there ({len(np.unique(own))})"
    yield Check(chain, "segments", found, apart <= APART * len(numbers))
    table = pd.read_parquet(results / f"segments/{YEAR}/{BLOCK}/features.parquet")
    theirs = pd.read_parquet(case.out / "features.parquet").set_index("segment")
    flat, first = np.unique(ours, return_index=True)
    matching = own.ravel()[first[flat > 0]]
    matched = theirs.loc[matching]
    of_table = same[numbers > 0]
    columns = list(S2_BANDS)
    error = relative(table.loc[of_table, columns].to_numpy(), matched[columns].to_numpy()[of_table])
    height = largest(table.loc[of_table, "DEM"].to_numpy(), matched["DEM"].to_numpy()[of_table])
    yield Check(chain, "features", f"bands within {error:.1e}, heights within {height:.2f} m", error <= RELATIVE and height <= DEM_M)
    if (case.out / "features_exactextract.parquet").exists():
        exact = pd.read_parquet(case.out / "features_exactextract.parquet").set_index("segment").loc[theirs.index]
        error = relative(theirs[columns].to_numpy(), exact[columns].to_numpy())
        yield Check(chain, "features (exactextract)", f"bands within {error:.1e} of bincount", error <= RELATIVE)
    labels = pd.read_parquet(results / f"labels/{YEAR}/{BLOCK}.parquet")
    mask = read(results / f"masks/{YEAR}/{BLOCK}.tif")[0]
    drawn = strongest.drawn(np.asarray(matching), (labels["label"] == 1).to_numpy(), case)
    certain = np.isin(ours, numbers[same]) & ~np.isin(
        ours, labels.loc[(labels["label"] == 1) & (labels["provenance"] != "predicted"), "segment"]
    )
    count = int(((drawn != mask) & certain).sum())
    yield Check(chain, "mask of the same labels", f"{count} px differ", count == 0)
    threshold = json.loads((results / f"assistant/{YEAR}/{BLOCK}/metrics.json").read_text(encoding="utf-8"))["threshold"]
    probabilities = pd.read_parquet(case.out / "probabilities.parquet")
    at_ours = strongest.drawn(probabilities["segment"].to_numpy(), (probabilities["probability"] >= threshold).to_numpy(), case)
    yield Check(chain, "mask of the own forest", f"IoU {iou(at_ours == 1, mask == 1):.3f} with ours at our threshold {threshold:.3f}", None)


def vectors(case: Case) -> Iterator[Check]:
    """Compare segments, features and masks of the naive chain, with themselves where they differ from ours by design."""
    import geopandas as gpd
    from rasterio.features import rasterize

    polygons = gpd.read_file(case.out / "segments.shp")
    with rasterio.open(case.out / "s2.tif") as source:
        shape, transform, cube = source.shape, source.transform, source.read()
    numbers = rasterize(
        zip(polygons.geometry, range(1, len(polygons) + 1), strict=True), out_shape=shape, transform=transform, dtype="uint32"
    )
    ours = int(read(case.results / f"segments/{YEAR}/{BLOCK}/segments.tif").max())
    yield Check("naive", "segments", f"{len(polygons)}, ours {ours}", None)
    done, total, _, _ = naive.chunks_of(case, "features")
    if total and done == total:
        count = np.bincount(numbers.ravel(), minlength=len(polygons) + 1)[1:]
        sums = np.stack([np.bincount(numbers.ravel(), band.ravel(), len(polygons) + 1)[1:] for band in cube], axis=1)
        error = relative(sums / count[:, np.newaxis], naive.means_of(case, "features")[:, : len(cube)])
        yield Check("naive", "features", f"bands within {error:.1e} of bincount over the same polygons", error <= RELATIVE)
    predicted = gpd.read_file(case.out / "predicted.gpkg", ignore_geometry=True)["mining"].to_numpy()
    count = int((np.concatenate([[0], predicted]).astype(np.uint8)[numbers] != read(case.out / "mask.tif")[0]).sum())
    yield Check("naive", "mask of the same labels", f"{count} px differ from a lookup table", count == 0)


def masks(case: Case, chain: str) -> Iterator[Check]:
    """Compare masks with the truth of the made-up world, and patches with those of the workflow."""
    ours, own = read(case.results / f"masks/{YEAR}/{BLOCK}.tif")[0], read(case.out / "mask.tif")[0]
    with rasterio.open(case.world / "resources/automatic" / case.run / "truth" / f"{YEAR}.tif") as source:
        window = rasterio.windows.from_bounds(*case.bounds, source.transform).round_offsets().round_lengths()
        truth = source.read(1, window=window, boundless=True, fill_value=0)
    with_ours, own_true, ours_true = iou(own == 1, ours == 1), iou(own == 1, truth == 1), iou(ours == 1, truth == 1)
    found = f"IoU {with_ours:.3f} with ours, {own_true:.3f} with the truth (ours {ours_true:.3f})"
    yield Check(chain, "mask", found, None)
    folder, shapes, same = case.results / f"patches/{YEAR}/{BLOCK}/IMAGE", set(), 0
    for tile in case.tiles:
        a, b = read(next(folder.glob(f"*_{tile}_*.tif"))), read(case.patch("IMG", tile))
        shapes.add(b.shape)
        same += (
            a.shape == b.shape
            and bool((a[:10] == b[:10]).all())
            and largest(a[10:12], b[10:12]) <= S1_DB
            and largest(a[12], b[12]) <= DEM_M
        )
    required = chain == "strongest"
    yield Check(
        chain, "images", f"{same} of {len(case.tiles)} the same within the tolerances", same == len(case.tiles) if required else None
    )


def checks(case: Case) -> Iterator[Check]:
    """Compare the chains whose products are there."""
    for chain in ("strongest", "naive"):
        own = replace(case, out=case.out.parent / chain)
        if own.patch("IMG", next(reversed(own.tiles))).exists():
            yield from composites(own, chain)
            yield from labelled(own) if chain == "strongest" else vectors(own)
            yield from masks(own, chain)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    found = [asdict(check) for check in checks(read_case(document, "strongest"))]
    document.with_name("checks.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
