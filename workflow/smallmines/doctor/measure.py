"""Measure all patches in one pass: numbers of each pair, pixels for the forest and for unchanged ground, spectra for the shifts.

A tile's years are read together, so that they can be compared; a process holds one tile in memory, and the sums.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.core.product import IMAGE_NODATA, MASK_NODATA, OFFSET, PATCH_BANDS, S2, SUGGESTS_OFFSET
from smallmines.dataset.patches import read_patch
from smallmines.dataset.pixel_counts import count_image, count_mask, count_pair
from smallmines.doctor.phase_correlation import Floats, Spectra, centred, cross_power, spectrum
from smallmines.sensors.dark_pixels import levels_of
from smallmines.settings.doctor import Doctor

B02, B04, B08, B8A, B11, VH, DEM = (PATCH_BANDS.index(name) for name in ("B02", "B04", "B08", "B8A", "B11", "VH", "DEM"))
BANDS = len(PATCH_BANDS)

SAMPLE = 64
"""Number of pixels of a patch that are kept, on a regular grid."""

LEAST_VALID = 0.8
"""Minimum share of valid pixels of a patch that is correlated."""

LEAST_EDGE = 60
"""Minimum number of pixels on the edge of mines for a mask to be correlated."""

LEAST_LINE = 64
"""Minimum length in pixels of a line that is checked for stripes."""

LINE_PIECE = 32
"""Length in pixels of the pieces of a line that must all show a stripe."""

CHUNK = 24
"""Number of tiles in one task of a process."""


@dataclass
class Measured:
    """Results of the pass.

    Attributes:
        table: a row per pair, see `measure_pair`.
        pixels: SAMPLE rows per pair with an image of all bands: tile, year, place, mask (float, NaN without), and the bands by name (NaN
            without data).
        changes: per tile and successive years: tile, before, after, mined, lost (px mining before; of these, not mining after), alike
            (correlation of red).
        spectra: sums of cross-power spectra by kind and group.
    """

    table: pd.DataFrame
    pixels: pd.DataFrame
    changes: pd.DataFrame
    spectra: Spectra


@dataclass(frozen=True)
class Task:
    """Some tiles to measure: id and records of the pairs of each."""

    root: Path
    tiles: Sequence[tuple[str, list[dict[str, Any]]]]
    groups: Mapping[tuple[str, int], str]
    limits: Doctor


@dataclass
class Part:
    """Results of a task, in the order of its tiles; see `Measured`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pixels: list[pd.DataFrame] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    spectra: Spectra = field(default_factory=Spectra)


@dataclass(frozen=True)
class Epoch:
    """A tile in one year; the image is None unless it has all bands, the mask unless it has one."""

    year: int
    image: NDArray[np.float32] | None
    mask: NDArray[np.uint8] | None


def measure(
    root: Path,
    pairs: pd.DataFrame,
    groups: Mapping[tuple[str, int], str],
    limits: Doctor,
    threads: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Read and measure all pairs.

    Args:
        pairs: as in `folder.Folder`.
        groups: by tile and year the group whose shifts are measured together.
        on_progress: called with the number of pairs done since the last call.
    """
    tiles: list[tuple[str, list[Any]]] = [(str(tile), rows.to_dict("records")) for tile, rows in pairs.groupby("tile", sort=True)]
    tasks = [Task(root, tiles[start : start + CHUNK], groups, limits) for start in range(0, len(tiles), CHUNK)]
    whole = Part()
    for part in _mapped(tasks, threads):
        whole.rows += part.rows
        whole.pixels += part.pixels
        whole.changes += part.changes
        whole.spectra.merge(part.spectra)
        on_progress(len(part.rows))
    pixels = pd.concat(whole.pixels, ignore_index=True) if whole.pixels else None
    return Measured(
        pd.DataFrame(whole.rows).sort_values(["year", "tile"], ignore_index=True),
        pd.DataFrame(columns=["tile", "year", "place", "mask", *PATCH_BANDS]) if pixels is None else pixels,
        pd.DataFrame(whole.changes, columns=["tile", "before", "after", "mined", "lost", "alike"]),
        whole.spectra,
    )


def _mapped(tasks: Sequence[Task], threads: int) -> Iterator[Part]:
    """Yield the parts in the order of the tasks, so that sums do not depend on the number of processes."""
    if threads <= 1 or len(tasks) <= 1:
        yield from map(_measure_tiles, tasks)
        return
    with ProcessPoolExecutor(threads, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_measure_tiles, tasks)


def _measure_tiles(task: Task) -> Part:
    part = Part()
    for tile, records in task.tiles:
        epochs: list[Epoch] = []
        for record in records:
            row, image, mask = measure_pair(task.root, record, task.limits)
            part.rows.append(row)
            epoch = Epoch(
                record["year"],
                image if image is not None and len(image) == BANDS else None,
                mask[0] if mask is not None and len(mask) == 1 else None,
            )
            epochs.append(epoch)
            if epoch.image is not None:
                part.pixels.append(sample(tile, epoch.year, epoch.image, epoch.mask))
                fits = epoch.mask is not None and epoch.mask.shape == epoch.image.shape[1:]
                correlate(epoch.image, epoch.mask if fits else None, task.groups[tile, epoch.year], part.spectra)
        for before, after in pairwise(epochs):
            part.changes.append({"tile": tile, **_change(before, after)})
            _correlate_years(before, after, task.groups[tile, after.year], part.spectra)
    return part


def measure_pair(
    root: Path, record: Mapping[str, Any], limits: Doctor
) -> tuple[dict[str, Any], NDArray[np.float32] | None, NDArray[np.uint8] | None]:
    """Measure a pair and return its row and its arrays, None where they cannot be read.

    Returns:
        A row: tile, year, image, mask; of each file `<kind>_error`, _count, _dtype, _nodata, _crs, _transform, _shape, _bands, _tags
        (the tags' text); of the image `hash`, partial (pixels with Sentinel-2 in some bands only), fraction (share of the valid
        Sentinel-2 values that are not whole), nonfinite, wrapped, and by band n_, mean_, sd_, low_ (0.1 percentile), median_, high_
        (99.9 percentile), min_, max_, plateau_ (pixels at the greatest value); stripe_row, stripe_col (greatest of the Sentinel-2
        bands, DN), dark_level, green_level (DN, see `levels_of`), cloud (share); of the mask mining, background, none, other, specks,
        holes (px), strange (values); of both `unsupported` (a class without Sentinel-2 data), unused (Sentinel-2 data without a class).
    """
    row: dict[str, Any] = {key: record[key] for key in ("tile", "year", "image", "mask")}
    image, mask = (_read(root, record[kind], kind, row) for kind in ("image", "mask"))
    if image is not None and len(image) == BANDS:
        _measure_image(image.astype(np.float32, copy=False), row)
    if mask is not None and len(mask) == 1:
        _measure_mask(mask[0], row, limits)
        if image is not None and len(image) == BANDS and image.shape[1:] == mask.shape[1:]:
            counts = count_pair(image, mask[0])
            row["unsupported"], row["unused"] = counts.unsupported, counts.unused
    return row, image, mask


def _read(root: Path, name: str | None, kind: str, row: dict[str, Any]) -> NDArray[Any] | None:
    """Read a patch and add its form to the row."""
    row[f"{kind}_error"] = ""
    if name is None:
        return None
    patch = read_patch(root / name)
    row[f"{kind}_error"] = patch.error
    if (form := patch.form) is not None:
        values = {
            "count": len(form.bands),
            "dtype": " ".join(form.dtypes),
            "nodata": form.nodata,
            "crs": str(form.geobox.crs) if form.geobox.crs else "",
            "transform": tuple(form.geobox.transform)[:6],
            "shape": tuple(form.geobox.shape),
            "bands": form.bands,
            "tags": " ".join(f"{key}={value}" for key, value in sorted(form.tags.items())),
        }
        row |= {f"{kind}_{key}": value for key, value in values.items()}
    if patch.array is not None and np.iscomplexobj(patch.array):
        row[f"{kind}_error"] = "complex numbers"
        return None
    return patch.array


def _measure_image(image: NDArray[np.float32], row: dict[str, Any]) -> None:
    counts = count_image(image)
    row |= {"nonfinite": counts.nonfinite, "partial": counts.partial, "fraction": counts.fraction}
    row["hash"] = hashlib.blake2b(np.ascontiguousarray(image[S2]).tobytes(), digest_size=12).hexdigest()
    row["wrapped"] = int((np.abs(image - (65536 + IMAGE_NODATA)) < 0.5).sum())
    for name, band, usable in zip(PATCH_BANDS, image, counts.valid, strict=True):
        row |= {f"{key}_{name}": value for key, value in _measure_band(band[usable].astype(np.float64)).items()}
    valid = np.asarray(counts.valid[S2].all(axis=0))
    long_enough = valid.mean() >= LEAST_VALID and min(valid.shape) >= LEAST_LINE
    row["stripe_row"], row["stripe_col"] = stripes(image[S2], valid) if long_enough else (0.0, 0.0)
    row["dark_level"], row["green_level"] = levels_of(image[S2][:, valid])
    row["cloud"] = cloud(image[S2][:, valid]) if valid.any() else 0.0


def _measure_band(values: Floats) -> dict[str, Any]:
    if not values.size:
        return {"n": 0}
    ordered = np.sort(values)
    low, median, high = ordered[((len(ordered) - 1) * np.array([0.001, 0.5, 0.999])).round().astype(int)].tolist()
    plateau = int((ordered == ordered[-1]).sum())
    moments = {"n": values.size, "mean": values.mean(), "sd": values.std()}
    return {**moments, "low": low, "median": median, "high": high, "min": ordered[0], "max": ordered[-1], "plateau": plateau}


def stripes(bands: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how much lines differ from the lines two pixels beside them, along rows and along columns, in the unit of the bands.

    Each line is cut into pieces of `LINE_PIECE` px. The difference of a piece is its median, on which short objects have little effect.
    That of the line is the smallest of its pieces, if all have one sign, else 0: a stripe of the sensor is there in all pieces, while a
    river or a road that follows the line leaves it in one of them. Returned is the 95th percentile over the lines, the greatest of the
    bands.

    Without pieces, rivers that run along a line by chance gave 3 of 840 false stripes in the miniature. With pieces the ground gives 56 DN
    at most there, and 110 in 61 real patches, in both directions; of added stripes of 100 DN in every sixth line, 86 % are found instead
    of 3 %.
    """
    strongest = []
    cube = np.where(valid, bands, np.nan).astype(np.float32)
    for axis in (1, 2):
        lines = np.moveaxis(cube, axis, 1)
        difference = lines[:, 2:-2] - (lines[:, :-4] + lines[:, 4:]) / 2
        pieces = np.array_split(difference, max(1, difference.shape[2] // LINE_PIECE), axis=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a piece without data
            medians = np.stack([np.nanmedian(piece, axis=2) for piece in pieces])
            brighter, darker = np.nanmin(medians, axis=0), -np.nanmax(medians, axis=0)
            difference_of_line = np.maximum(np.maximum(brighter, darker), 0)
            strongest.append(float(np.nanquantile(difference_of_line, 0.95, axis=1).max(initial=0)))
    return strongest[0], strongest[1]


def cloud(pixels: NDArray[np.float32]) -> float:
    """Return the share of bright, white pixels, as clouds are in all bands: (10, pixel) DN with or without the offset.

    White: blue above 0.8 of the near infrared, both less the offset, and bright shortwave infrared.
    """
    base = OFFSET if np.quantile(pixels.min(axis=0), 0.01) >= SUGGESTS_OFFSET else 0
    blue, near, short = (pixels[band] - base for band in (B02, B8A, B11))
    return float(((blue > 2500) & (blue > 0.8 * near) & (short > 1500)).mean())


def _measure_mask(mask: NDArray[Any], row: dict[str, Any], limits: Doctor) -> None:
    from scipy.ndimage import label

    counts = count_mask(mask)
    row |= {"mining": counts.mining, "background": counts.background, "none": counts.unlabelled}
    row["other"] = mask.size - counts.mining - counts.background - counts.unlabelled
    row["strange"] = " ".join(map(str, counts.strange))
    for name, value in (("specks", 1), ("holes", 0)):
        parts, count = label(mask == value, np.ones((3, 3)) if value else None)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        sizes[0] = limits.speck_px
        at_edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
        sizes[at_edge] = limits.speck_px  # may continue in the next tile
        row[name] = int(sizes[sizes < limits.speck_px].sum())


def sample(tile: str, year: int, image: NDArray[np.float32], mask: NDArray[np.uint8] | None) -> pd.DataFrame:
    """Return pixels on a regular grid of a patch, the same places in every year."""
    height, width = image.shape[1:]
    across = int(np.sqrt(SAMPLE))
    y, x = (((np.arange(across) + 0.5) * size / across).astype(int) for size in (height, width))
    rows, columns = (indices.ravel() for indices in np.meshgrid(y, x, indexing="ij"))
    values = image[:, rows, columns].astype(np.float32)
    values[~np.isfinite(values) | (values == IMAGE_NODATA)] = np.nan
    labels = np.full(len(rows), np.nan)
    if mask is not None and mask.shape == image.shape[1:]:
        labels = np.where(np.isin(mask[rows, columns], (0, 1)), mask[rows, columns], np.nan)
    return pd.DataFrame(dict(zip(PATCH_BANDS, values, strict=True))).assign(tile=tile, year=year, place=np.arange(len(rows)), mask=labels)


def correlate(image: NDArray[np.float32], mask: NDArray[np.uint8] | None, group: str, spectra: Spectra) -> None:
    """Add a pair to the spectra of its group: radar on vegetation, slopes on near infrared, edges of the mask on edges of the image."""
    valid = (image != IMAGE_NODATA) & np.isfinite(image)
    if valid[S2].all(axis=0).mean() < LEAST_VALID or min(image.shape[1:]) < 2:
        return
    filled = np.where(valid, image, 0).astype(np.float64)
    green = centred(filled[B08] - filled[B04], valid[B08] & valid[B04])
    if valid[VH].mean() >= LEAST_VALID:
        spectra.add(("radar", group), cross_power(spectrum(green), spectrum(centred(filled[VH], valid[VH]))))
    if valid[DEM].mean() >= LEAST_VALID:
        near = spectrum(centred(filled[B08], valid[B08]))
        down, right = np.gradient(np.where(valid[DEM], filled[DEM], filled[DEM][valid[DEM]].mean()))
        for kind, slope in (("slope east", right), ("slope south", down)):
            spectra.add((kind, group), cross_power(near, spectrum(slope - slope.mean())))
    if mask is not None:
        edges = _steepness((mask == 1).astype(np.float64))
        if (edges > 0).sum() >= LEAST_EDGE:
            image_edges = spectrum(centred(_steepness(green), valid[B08]))
            spectra.add(("mask", group), cross_power(image_edges, spectrum(edges - edges.mean())))


def _steepness(values: Floats) -> Floats:
    down, right = np.gradient(values)
    steepness: Floats = np.hypot(down, right)
    return steepness


def _correlate_years(before: Epoch, after: Epoch, group: str, spectra: Spectra) -> None:
    """Add the near infrared of two years to the spectra of the group, where both have enough data on one grid."""
    if before.image is None or after.image is None or before.image.shape != after.image.shape:
        return
    both = []
    for image in (before.image, after.image):
        valid = (image[B08] != IMAGE_NODATA) & np.isfinite(image[B08])
        if valid.mean() < LEAST_VALID:
            return
        both.append(spectrum(centred(image[B08].astype(np.float64), valid)))
    spectra.add((f"years {before.year} {after.year}", group), cross_power(*both))


def _change(before: Epoch, after: Epoch) -> dict[str, Any]:
    """Compare two years of a tile, see `Measured.changes`."""
    change: dict[str, Any] = {"before": before.year, "after": after.year, "mined": 0, "lost": 0, "alike": np.nan}
    if before.mask is not None and after.mask is not None and before.mask.shape == after.mask.shape:
        mined = (before.mask == 1) & (after.mask != MASK_NODATA)
        change |= {"mined": int(mined.sum()), "lost": int((mined & (after.mask == 0)).sum())}
    if before.image is not None and after.image is not None and before.image.shape == after.image.shape:
        valid = (before.image[B04] != IMAGE_NODATA) & (after.image[B04] != IMAGE_NODATA)
        first, second = (image[B04][valid].astype(np.float64) for image in (before.image, after.image))
        if valid.sum() > 100 and first.std() > 0 and second.std() > 0:
            change["alike"] = float(np.corrcoef(first, second)[0, 1])
    return change
